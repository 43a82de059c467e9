use std::future::poll_fn;

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::client::SendRequest;
use h2::{Reason, SendStream};
use tokio::task::{AbortHandle, spawn_local};

use super::admitted::UpstreamBody;
use super::http2_send::{Cut, send_body};

/// A request's body on its way upstream, beside the response. When this is dropped, so is what has not gone, and
/// with the last end of the stream its reset goes upstream.
pub(super) struct Upload(Option<AbortHandle>);

impl Upload {
    /// Sends `body` once upstream lets the stream begin; `None` where all of it has gone already.
    pub(super) fn start(
        body: UpstreamBody,
        mut to: SendStream<Bytes>,
        mut requests: SendRequest<Bytes>,
    ) -> Option<Self> {
        let mut sending = Box::pin(async move {
            // Upstream may have as many streams as it wants for now.
            if poll_fn(|task| requests.poll_ready(task)).await.is_err() {
                return;
            }
            drop(requests);
            match send_body(body, &mut to).await {
                Ok(()) | Err(Cut::Reset) => {}
                Err(Cut::Body(_)) => to.send_reset(Reason::CANCEL),
            }
        });
        match sending.as_mut().now_or_never() {
            Some(()) => None,
            None => Some(Self(Some(spawn_local(sending).abort_handle()))),
        }
    }

    /// Lets it go on to its end, whatever becomes of the response.
    pub(super) fn go_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(sending) = &self.0 {
            sending.abort();
        }
    }
}
