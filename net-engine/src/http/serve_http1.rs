//! A guest's end of HTTP/1: hyper reads requests, and writes what becomes of them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use http::{Request, Response};
use hyper::body::Incoming as HyperIncoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::forward::forward;
use super::guest_body::GuestBody;
use super::incoming::Incoming;
use super::sender::header_bytes;
use super::serve::Stream;
use super::tunnel::{TunnelEnd, close_lingering, tunnel};

/// Serves a connection to its end, and what follows HTTP on it.
pub(super) async fn serve_http1<G>(served: &Rc<Stream>, guest: G)
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut connection = http1::Builder::new()
        .preserve_header_case(true)
        .auto_date_header(false)
        .half_close(true)
        .max_buf_size(header_bytes(&served.context))
        .timer(TokioTimer::new())
        // A guest may keep a connection for as long as any other.
        .header_read_timeout(served.context.limits.tcp_idle_timeout)
        .serve_connection(TokioIo::new(guest), Answerer(Rc::clone(served)));
    let ended = tokio::select! {
        ended = poll_fn(|task| connection.poll_without_shutdown(task)) => ended,
        () = served.over.notified() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|task| connection.poll_without_shutdown(task)).await
        }
    };
    served.note_end(ended.as_ref().is_err_and(hyper::Error::is_parse));
    // A guest that breaks HTTP has been answered by hyper; what it did wrong is its own affair.
    let switched = ended.is_ok() && served.exchange.has_switched();
    let parts = connection.into_parts();
    let guest = TunnelEnd { stream: Box::new(parts.io.into_inner()), unread: parts.read_buf };
    if !switched {
        close_lingering(guest.stream).await;
    } else if let Some(upstream) = served.upstream.take_tunnel().await {
        // An error on either side ends both.
        let id = served.exchange.id();
        match served.exchange.take_websocket() {
            Some(websocket) => websocket.carry(id, guest, upstream).await,
            None => tunnel(&served.context.stack, id, guest, upstream, &served.context.limits).await,
        }
    }
}

/// hyper's view of the stream: a request in, a response out.
struct Answerer(Rc<Stream>);

impl Service<Request<HyperIncoming>> for Answerer {
    type Response = Response<GuestBody>;
    type Error = Infallible;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<HyperIncoming>) -> Self::Future {
        let served = Rc::clone(&self.0);
        Box::pin(async move {
            let form = served.exchange.form(request.headers());
            let response = forward(&served, request.map(Incoming::from), None)
                .await
                .unwrap_or_else(|failed| served.exchange.answer(&failed.refusal(&served.exchange), form));
            if served.exchange.has_ended() {
                served.over.notify_one();
            }
            Ok(response)
        })
    }
}
