use std::future::poll_fn;
use std::pin::pin;

use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming as Http1Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::ext::on_informational;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::admitted::UpstreamBody;
use super::headers;
use super::held::HeldBody;
use super::send_error::SendError;
use super::sender::{Inform, header_bytes};
use super::tunnel::TunnelEnd;
use crate::guest::{Context, InterceptError};

/// Sends requests over a connection of HTTP/1.1, one after the other.
pub(super) struct Http1Sender {
    requests: SendRequest<UpstreamBody>,
    /// Whether there was a request before: only then may upstream have ended the connection for want of one.
    is_used: bool,
    /// Interim responses that wait for their turn.
    max_interims: usize,
}

impl Http1Sender {
    /// The connection is to be driven beside, by [`drive`]; it ends with the sender.
    pub(super) async fn handshake<U>(
        stream: U,
        context: &Context,
    ) -> Result<(Self, Connection<TokioIo<U>, UpstreamBody>), InterceptError>
    where
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = Builder::new()
            .preserve_header_case(true)
            .max_buf_size(header_bytes(context))
            .handshake(TokioIo::new(stream));
        let (requests, connection) = handshake.await.map_err(|_| InterceptError::UpstreamHttp)?;
        let max_interims = context.limits.max_interim_responses.max(1);
        Ok((Self { requests, is_used: false, max_interims }, connection))
    }

    /// Waits until the last response is over; whether the connection stands then.
    pub(super) async fn is_ready(&mut self) -> bool {
        self.requests.ready().await.is_ok()
    }

    /// Sends a request; `inform` is given the interim responses.
    pub(super) async fn send(
        &mut self,
        mut request: Request<UpstreamBody>,
        inform: Inform<'_>,
    ) -> Result<Response<Http1Incoming>, SendError> {
        headers::frame_body(&mut request);
        // What crosses an end that upstream has made meanwhile may be sent again where that changes nothing (RFC 9112,
        // section 9.3.1).
        let may_repeat = std::mem::replace(&mut self.is_used, true)
            && request.method().is_safe()
            && request.body().is_end_stream();
        let copy = may_repeat.then(|| copy(&request));
        let mut is_answered = false;
        let sent = match inform {
            None => self.requests.try_send_request(request).await,
            Some(inform) => self.send_informed(request, inform, &mut is_answered).await,
        };
        sent.map_err(|mut error| {
            let copy = copy.filter(|_| !is_answered && !error.error().is_parse());
            match error.take_message().or(copy) {
                Some(request) => SendError::Again(Box::new(request)),
                None if error.error().is_user() => SendError::Body,
                None => SendError::Upstream,
            }
        })
    }

    async fn send_informed(
        &mut self,
        mut request: Request<UpstreamBody>,
        inform: &mut dyn FnMut(Response<()>),
        is_answered: &mut bool,
    ) -> Result<Response<Http1Incoming>, hyper::client::conn::TrySendError<Request<UpstreamBody>>> {
        let (tell, mut told) = mpsc::channel(self.max_interims);
        on_informational(&mut request, move |head| {
            let mut own = Response::new(());
            *own.status_mut() = head.status();
            *own.headers_mut() = head.headers().clone();
            // More of them than may pass say nothing new.
            let _ = tell.try_send(own);
        });
        let mut sent = pin!(self.requests.try_send_request(request));
        loop {
            tokio::select! {
                biased;
                Some(head) = told.recv() => {
                    *is_answered = true;
                    inform(head);
                }
                response = &mut sent => return response,
            }
        }
    }
}

/// The same request, which has no body.
fn copy(request: &Request<UpstreamBody>) -> Request<UpstreamBody> {
    let mut copy = Request::new(HeldBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    // How the guest has written names.
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

/// Drives a connection; what is below it goes to `free` if anybody waits for it.
pub(super) async fn drive<U>(
    mut connection: Connection<TokioIo<U>, UpstreamBody>,
    free: oneshot::Sender<TunnelEnd>,
) where
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    if poll_fn(|context| connection.poll_without_shutdown(context)).await.is_err() {
        return;
    }
    let parts = connection.into_parts();
    let end = TunnelEnd { stream: Box::new(parts.io.into_inner()), unread: parts.read_buf };
    if let Err(mut end) = free.send(end) {
        // Upstream may be gone already.
        let _ = end.stream.shutdown().await;
    }
}
