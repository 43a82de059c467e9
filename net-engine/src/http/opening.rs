use bytes::{Bytes, BytesMut};
use net_core::Limits;
use net_sni::{FirstFlight, Status};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::guest::{HttpVersion, InterceptError};

/// What a stream begins with that may be HTTP or anything else.
pub(super) struct Opening {
    /// What the guest has sent; at most what one read gives beyond what tells protocols apart.
    pub(super) guest: Bytes,
    /// What upstream has sent, which spoke first; no more than one read gives.
    pub(super) upstream: Bytes,
    /// The HTTP it is.
    pub(super) version: Option<HttpVersion>,
}

impl Opening {
    /// Reads until the guest's first bytes tell, or upstream speaks: a server that speaks first waits for
    /// nothing.
    ///
    /// # Errors
    /// A guest that is silent for [`Limits::tcp_idle_timeout`], or breaks off within a first word for
    /// [`Limits::hello_timeout`], and streams that fail.
    pub(super) async fn read<G, U>(
        guest: &mut G,
        upstream: &mut U,
        limits: &Limits,
    ) -> Result<Self, InterceptError>
    where
        G: AsyncRead + Unpin,
        U: AsyncRead + Unpin,
    {
        let (mut said, mut answered) = (BytesMut::new(), BytesMut::new());
        let mut deadline = Instant::now() + limits.tcp_idle_timeout;
        let version = loop {
            let was_silent = said.is_empty();
            let read = async {
                tokio::select! {
                    biased;
                    read = guest.read_buf(&mut said) => read.map(|count| (count, true)),
                    read = upstream.read_buf(&mut answered) => read.map(|count| (count, false)),
                }
            };
            match timeout_at(deadline, read).await {
                Err(_elapsed) => return Err(InterceptError::HelloTimeout),
                Ok(Err(_)) => return Err(InterceptError::GuestClosed),
                // An end is passed on like bytes.
                Ok(Ok((0, _) | (_, false))) => break None,
                Ok(Ok((_, true))) => {}
            }
            if was_silent {
                deadline = deadline.min(Instant::now() + limits.hello_timeout);
            }
            match net_sni::classify(&said) {
                Status::Partial { .. } => {}
                Status::Complete(FirstFlight::Http1) => break Some(HttpVersion::Http1),
                Status::Complete(FirstFlight::Http2) => break Some(HttpVersion::Http2),
                Status::Complete(_) | Status::Fragmented(_) => break None,
            }
        };
        Ok(Self { guest: said.freeze(), upstream: answered.freeze(), version })
    }
}
