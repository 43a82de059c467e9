//! Upstream's end of a stream of HTTP: where requests go.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::admitted::UpstreamBody;
use super::http1_sender::{Http1Sender, drive};
use super::http2_sender::Http2Sender;
use super::incoming::Incoming;
use super::send_error::SendError;
use super::tunnel::TunnelEnd;
use crate::guest::{Context, HttpVersion, InterceptError};

/// hyper does not start with less.
const MIN_BUFFER_BYTES: usize = 8 << 10;

/// What waits in a stream of HTTP/2 for its connection to take it, whatever windows the other side states and does not
/// read: a few frames.
pub(super) const HTTP2_SEND_BYTES: usize = 64 << 10;

/// Where interim responses go, if the guest can have them.
pub(super) type Inform<'i> = Option<&'i mut dyn FnMut(Response<()>)>;

/// The bytes of a header block that either side may send.
pub(super) fn header_bytes(context: &Context) -> usize {
    context.limits.max_header_bytes.max(MIN_BUFFER_BYTES)
}

/// A window as SETTINGS and WINDOW_UPDATE may state it (RFC 9113, section 6.9.1).
pub(super) fn window_bytes(limit: usize) -> u32 {
    const MAX: u32 = (1 << 31) - 1;
    u32::try_from(limit).unwrap_or(MAX).min(MAX)
}

/// Sends requests; the connection behind it is driven by a task that ends with the last sender.
pub(super) struct Sender {
    requests: Requests,
    connection: Rc<Connection>,
}

enum Requests {
    Http1(Http1Sender),
    Http2(Http2Sender),
}

/// What is shared with the task that drives the connection.
struct Connection {
    /// Notified when the connection has ended.
    listener: Rc<RefCell<Option<Rc<Notify>>>>,
    /// Notified when the last sender is gone.
    dropped: Rc<Notify>,
    /// The stream below, after HTTP/1.1 has switched to another protocol.
    freed: RefCell<Option<oneshot::Receiver<TunnelEnd>>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.dropped.notify_one();
    }
}

impl Sender {
    pub(super) async fn handshake<U>(
        stream: U,
        version: HttpVersion,
        context: &Context,
    ) -> Result<Self, InterceptError>
    where
        U: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (free, freed) = oneshot::channel();
        let connection = Rc::new(Connection {
            listener: Rc::default(),
            dropped: Rc::default(),
            freed: RefCell::new(Some(freed)),
        });
        let farewell = context.limits.drain_timeout;
        let requests = match version {
            HttpVersion::Http1 => {
                let (requests, driven) = Http1Sender::handshake(stream, context).await?;
                connection.drive(drive(driven, free), farewell);
                Requests::Http1(requests)
            }
            HttpVersion::Http2 => {
                let (requests, driven) = Http2Sender::handshake(stream, context).await?;
                // How the connection ended shows in the response that was waited for.
                connection.drive(async move { drop(driven.await) }, farewell);
                Requests::Http2(requests)
            }
        };
        Ok(Self { requests, connection })
    }

    /// Another one for the same connection, where requests need not wait for each other.
    pub(super) fn shared(&self) -> Option<Self> {
        match &self.requests {
            Requests::Http1(_) => None,
            Requests::Http2(requests) => Some(Self {
                requests: Requests::Http2(requests.clone()),
                connection: Rc::clone(&self.connection),
            }),
        }
    }

    /// Waits until the connection takes a request; whether it ever does.
    pub(super) async fn is_ready(&mut self) -> bool {
        match &mut self.requests {
            Requests::Http1(requests) => requests.is_ready().await,
            Requests::Http2(requests) => requests.is_ready().await,
        }
    }

    /// The stream below, once upstream has switched to another protocol.
    pub(super) async fn free(self) -> Option<TunnelEnd> {
        let freed = self.connection.freed.borrow_mut().take()?;
        freed.await.ok()
    }

    pub(super) fn when_gone(&self, over: &Rc<Notify>) {
        *self.connection.listener.borrow_mut() = Some(Rc::clone(over));
    }

    /// Has nobody notified when the connection ends.
    pub(super) fn when_gone_tell_nobody(&self) {
        *self.connection.listener.borrow_mut() = None;
    }

    pub(super) async fn send(
        &mut self,
        request: Request<UpstreamBody>,
        inform: Inform<'_>,
    ) -> Result<Response<Incoming>, SendError> {
        match &mut self.requests {
            Requests::Http1(requests) => Ok(requests.send(request, inform).await?.map(Incoming::from)),
            Requests::Http2(requests) => Ok(requests.send(request, inform).await?.map(Incoming::from)),
        }
    }
}

impl Connection {
    /// Runs `connection` until it ends, and for `farewell` at most after the last sender is gone.
    fn drive(&self, connection: impl Future<Output = ()> + 'static, farewell: Duration) {
        let (listener, dropped) = (Rc::clone(&self.listener), Rc::clone(&self.dropped));
        spawn_local(async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                () = &mut connection => {}
                () = dropped.notified() => drop(timeout(farewell, connection).await),
            }
            if let Some(over) = listener.borrow_mut().take() {
                over.notify_one();
            }
        });
    }
}
