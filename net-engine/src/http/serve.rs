//! The guest's end of HTTP: hyper reads requests, and writes what becomes of them.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming as HyperIncoming;
use hyper::server::conn::{http1 as server1, http2 as server2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::body::BodyError;
use super::exchange::Exchange;
use super::guest_body::GuestBody;
use super::incoming::Incoming;
use super::refusal::Refusal;
use super::sender::{LocalTasks, Upstream, header_bytes, window_bytes};
use super::tunnel::{Duplex, TunnelEnd, tunnel};
use crate::guest::{Activity, Context, FAREWELL, HttpVersion};

/// What waits in a stream of HTTP/2 for the guest's connection to take it: a few frames.
const HTTP2_SEND_BYTES: usize = 64 << 10;

/// What a stream that was served turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    Http,
    /// Not one request could be read.
    Junk,
}

/// Serves the guest until it leaves or is `gone`, upstream leaves, nothing moves any more, or the exchange says
/// that it is over.
pub(super) async fn serve<G>(
    context: &Rc<Context>,
    guest: G,
    upstream: Upstream,
    exchange: Exchange,
    gone: impl Future<Output = ()>,
) -> Served
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let activity = Activity::starts_now();
    let guest = TokioIo::new(activity.watch(guest));
    let served = Stream {
        context: Rc::clone(context),
        exchange,
        upstream,
        over: Rc::default(),
        is_junk: Cell::new(false),
    };
    let served = Rc::new(served);
    served.upstream.when_gone(&served.over);
    let work = async {
        match served.exchange.sides().guest {
            HttpVersion::Http1 => serve_http1(&served, guest).await,
            HttpVersion::Http2 => serve_http2(&served, guest).await,
        }
    };
    tokio::select! {
        biased;
        () = work => {}
        // While a response is pending hyper does not read, and a client that goes away must not keep
        // upstream busy.
        () = gone => {}
        () = activity.quiet_for(context.limits.tcp_idle_timeout) => {}
    }
    if served.is_junk.get() { Served::Junk } else { Served::Http }
}

/// What the requests of one stream share.
struct Stream {
    context: Rc<Context>,
    exchange: Exchange,
    upstream: Upstream,
    /// Notified when the stream must end: upstream has gone, or the exchange is over.
    over: Rc<Notify>,
    is_junk: Cell<bool>,
}

impl Stream {
    /// Notes whether the guest's first words were no HTTP.
    fn note_end(&self, ended: &hyper::Result<()>) {
        let is_broken = ended.as_ref().is_err_and(hyper::Error::is_parse);
        self.is_junk.set(is_broken && !self.exchange.has_begun());
    }
}

async fn serve_http1<G>(served: &Rc<Stream>, guest: TokioIo<G>)
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut connection = server1::Builder::new()
        .preserve_header_case(true)
        .auto_date_header(false)
        .half_close(true)
        .max_buf_size(header_bytes(&served.context))
        .timer(TokioTimer::new())
        // A guest may keep a connection for as long as any other.
        .header_read_timeout(served.context.limits.tcp_idle_timeout)
        .serve_connection(guest, Answerer(Rc::clone(served)));
    let ended = tokio::select! {
        ended = poll_fn(|task| connection.poll_without_shutdown(task)) => ended,
        () = served.over.notified() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|task| connection.poll_without_shutdown(task)).await
        }
    };
    served.note_end(&ended);
    // A guest that breaks HTTP has been answered by hyper; what it did wrong is its own affair.
    let switched = ended.is_ok() && served.exchange.has_switched();
    let parts = connection.into_parts();
    let guest = TunnelEnd { stream: Box::new(parts.io.into_inner()), unread: parts.read_buf };
    if !switched {
        let _ = timeout(FAREWELL, close_lingering(guest.stream)).await;
    } else if let Some(upstream) = served.upstream.take_tunnel().await {
        // An error on either side ends both.
        let id = served.exchange.id();
        tunnel(&served.context.stack, id, guest, upstream, &served.context.limits).await;
    }
}

/// Closes our half and reads on until the guest closes its own: a reset for what it still sends
/// would take the last response from it (RFC 9112, section 9.6).
async fn close_lingering(mut guest: Box<dyn Duplex>) {
    if guest.shutdown().await.is_err() {
        return;
    }
    let mut ignored = [0; 4096];
    while guest.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
}

async fn serve_http2<G>(served: &Rc<Stream>, guest: TokioIo<G>)
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = &served.context.limits;
    let max_bytes = u32::try_from(header_bytes(&served.context)).unwrap_or(u32::MAX);
    let connection = server2::Builder::new(LocalTasks)
        .auto_date_header(false)
        .max_header_list_size(max_bytes)
        .max_concurrent_streams(limits.max_http2_streams)
        .initial_stream_window_size(window_bytes(limits.http2_stream_window_bytes))
        .initial_connection_window_size(window_bytes(limits.http2_window_bytes))
        // Per stream, towards a guest that states windows without end and then reads nothing.
        .max_send_buf_size(HTTP2_SEND_BYTES)
        .timer(TokioTimer::new())
        .serve_connection(guest, Answerer(Rc::clone(served)));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => return served.note_end(&ended),
        () = served.over.notified() => connection.as_mut().graceful_shutdown(),
    }
    // See `serve_http1` about errors.
    let _ = connection.await;
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
            let response = answer(&served, request.map(Incoming::from)).await;
            if served.exchange.has_ended() {
                served.over.notify_one();
            }
            Ok(response)
        })
    }
}

async fn answer(served: &Stream, request: Request<Incoming>) -> Response<GuestBody> {
    let form = served.exchange.form(request.headers());
    match forward(served, request).await {
        Ok(response) => response,
        Err(refusal) => served.exchange.answer(&refusal, form),
    }
}

/// Sends a request on; what comes back.
async fn forward(served: &Stream, request: Request<Incoming>) -> Result<Response<GuestBody>, Refusal> {
    let Stream { context, exchange, upstream, over, .. } = served;
    let refuse = |status, why: &str| exchange.refuse(status, why);
    let settled = exchange.admit(request)?.settle(&context.limits, &context.held_bytes).await;
    let (request, found, rest) = settled.map_err(|error| match error {
        // It was reported where it was found.
        BodyError::Violation(violation) => refuse(StatusCode::FORBIDDEN, &violation.to_string()),
        BodyError::Digest(error) => exchange.refuse_one(StatusCode::FORBIDDEN, &error.to_string()),
        BodyError::Http(_) => exchange.refuse_one(StatusCode::BAD_REQUEST, "the request's body broke off"),
    })?;
    // A guest that takes its request back drops this: the sender does not go with it.
    let mut sender = upstream
        .sender(context, rest.shown(), exchange.sides().upstream)
        .await
        .map_err(|error| refuse(StatusCode::BAD_GATEWAY, &error.to_string()))?;
    sender.when_gone(over);
    let response = sender.send(request).await;
    drop(sender);
    match (response, found.get()) {
        (_, Some(why)) => Err(refuse(StatusCode::FORBIDDEN, why)),
        (Ok(response), None) => exchange.finish(response, rest),
        (Err(error), None) if error.is_user() => {
            Err(exchange.refuse_one(StatusCode::BAD_REQUEST, "the request's body broke off"))
        }
        // Where its connection has ended, that ends the guest's.
        (Err(_), None) => Err(exchange.refuse_one(StatusCode::BAD_GATEWAY, "upstream gave no response")),
    }
}
