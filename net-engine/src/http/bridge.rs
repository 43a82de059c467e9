use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1 as server1, http2 as server2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use net_core::Flow;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::body::BodyError;
use super::exchange::Exchange;
use super::guarded::Guarded;
use super::guest_body::GuestBody;
use super::sender::{LocalTasks, Sender, Upstream, header_bytes, window_bytes};
use super::tunnel::{Duplex, TunnelEnd, carry, pass_on_end, tunnel};
use crate::core::FlowId;
use crate::guest::{
    Activity, Context, FAREWELL, GuestStream, HttpVersion, InterceptError, Prefixed, StreamInfo,
};

/// What waits in a stream of HTTP/2 for the guest's connection to take it: a few frames.
const HTTP2_SEND_BYTES: usize = 64 << 10;

/// Carries a stream whose TLS was opened on both sides.
pub(crate) async fn bridge_tls<G, U>(
    context: &Rc<Context>,
    info: StreamInfo,
    guest: G,
    mut upstream: U,
    version: HttpVersion,
) -> Result<(), InterceptError>
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    if version == HttpVersion::Http1 && nothing_at_stake(context, &info) {
        // It need not even be HTTP.
        context.note_unread(info.id);
        let mut guest = guest;
        let carried = tokio::select! {
            biased;
            carried = carry(&mut guest, &mut upstream, &context.limits) => carried,
            () = context.stack.guest_reset(info.id) => return Ok(()),
        };
        // A stream that breaks off upstream must not end as if it were whole (RFC 8446, section 6.1).
        pass_on_end(&context.stack, info.id, &mut guest, carried, &context.limits).await;
        return Ok(());
    }
    let upstream = Upstream::connected(Sender::handshake(upstream, version, context).await?);
    serve(context, info, guest, upstream, version).await;
    Ok(())
}

/// Carries a plain stream that begins with an HTTP request. `upstream` is dialled when the first
/// request is admitted, where the flow's address alone did not tell that it may be.
pub(crate) async fn bridge_plain(
    context: &Rc<Context>,
    info: StreamInfo,
    guest: GuestStream,
    upstream: Option<TcpStream>,
    prefix: Bytes,
    version: HttpVersion,
) -> Result<(), InterceptError> {
    let upstream = match upstream {
        Some(upstream) => Upstream::connected(Sender::handshake(upstream, version, context).await?),
        None => Upstream::unconnected(context.dial_address(&info.flow)),
    };
    serve(context, info, Prefixed::new(prefix, guest), upstream, version).await;
    Ok(())
}

/// Carries a plain stream that is neither TLS nor HTTP beside secrets: no placeholder passes.
pub(crate) async fn bridge_opaque(
    context: &Context,
    (id, flow): (FlowId, &Flow),
    guest: GuestStream,
    mut upstream: TcpStream,
    prefix: Bytes,
) -> Result<(), InterceptError> {
    let mut guest = Guarded::new(Prefixed::new(prefix, guest), context.secrets().detector());
    let carried = tokio::select! {
        // What a read has found is not lost over what ends the stream besides.
        biased;
        carried = carry(&mut guest, &mut upstream, &context.limits) => carried.is_ok(),
        () = context.stack.guest_reset(id) => false,
    };
    if !carried {
        // An error on either side resets both. Failing to set it means a FIN: less exact, equally
        // final.
        let _ = upstream.set_zero_linger();
    }
    let Some(violation) = guest.violation() else { return Ok(()) };
    context.report_violation(flow, None, violation.to_string());
    Err(InterceptError::Violation)
}

/// Whether the content of a stream can change nothing: it was allowed by address whatever names it
/// shows, and there are no secrets, nor were there a short while ago.
pub(crate) fn nothing_at_stake(context: &Context, info: &StreamInfo) -> bool {
    info.rule.is_some_and(|rule| !rule.names_matter) && context.secrets().looks_for_nothing()
}

/// Serves the guest until it leaves, upstream leaves, nothing moves any more, or the exchange says
/// that it is over.
async fn serve<G>(context: &Rc<Context>, info: StreamInfo, guest: G, upstream: Upstream, version: HttpVersion)
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (activity, id) = (Activity::starts_now(), info.id);
    let guest = TokioIo::new(activity.watch(guest));
    let served = Served {
        context: Rc::clone(context),
        exchange: Exchange::new(Rc::clone(context), info, version),
        upstream,
        over: Rc::default(),
    };
    let served = Rc::new(served);
    let work = async {
        match version {
            HttpVersion::Http1 => serve_http1(&served, guest).await,
            HttpVersion::Http2 => serve_http2(&served, guest).await,
        }
    };
    tokio::select! {
        biased;
        () = work => {}
        // While a response is pending hyper does not read, and a client that goes away must not keep
        // upstream busy.
        () = context.stack.guest_reset(id) => {}
        () = activity.quiet_for(context.limits.tcp_idle_timeout) => {}
    }
}

/// What the requests of one stream share.
struct Served {
    context: Rc<Context>,
    exchange: Exchange,
    upstream: Upstream,
    /// Notified when the stream must end: upstream has gone, or the exchange is over.
    over: Rc<Notify>,
}

async fn serve_http1<G>(served: &Rc<Served>, guest: TokioIo<G>)
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

async fn serve_http2<G>(served: &Rc<Served>, guest: TokioIo<G>)
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
        _ = &mut connection => return,
        () = served.over.notified() => connection.as_mut().graceful_shutdown(),
    }
    // See `serve_http1` about errors.
    let _ = connection.await;
}

/// hyper's view of the stream: a request in, a response out.
struct Answerer(Rc<Served>);

impl Service<Request<Incoming>> for Answerer {
    type Response = Response<GuestBody>;
    type Error = Infallible;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let served = Rc::clone(&self.0);
        Box::pin(async move {
            let response = answer(&served, request).await;
            if served.exchange.has_ended() {
                served.over.notify_one();
            }
            Ok(response)
        })
    }
}

async fn answer(served: &Served, request: Request<Incoming>) -> Response<GuestBody> {
    let Served { context, exchange, upstream, over } = served;
    let admitted = match exchange.admit(request) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let settled = admitted.settle(&context.limits, &context.held_bytes).await;
    let (request, found, rest) = match settled {
        Ok(settled) => settled,
        // It was reported where it was found.
        Err(BodyError::Violation(violation)) => {
            return *exchange.refuse(StatusCode::FORBIDDEN, &violation.to_string());
        }
        Err(BodyError::Http(_)) => {
            return *exchange.refuse(StatusCode::BAD_REQUEST, "the request's body broke off");
        }
    };
    let mut sender = match upstream.sender(context, exchange.version()).await {
        Ok(sender) => sender,
        Err(error) => return *exchange.refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
    };
    sender.when_gone(over);
    let response = sender.send(request).await;
    upstream.put_back(sender);
    match (response, found.get()) {
        (_, Some(why)) => *exchange.refuse(StatusCode::FORBIDDEN, why),
        (Ok(response), None) => exchange.finish(response, rest),
        (Err(error), None) if error.is_user() => {
            *exchange.refuse(StatusCode::BAD_REQUEST, "the request's body broke off")
        }
        (Err(_), None) => *exchange.refuse(StatusCode::BAD_GATEWAY, "upstream gave no response"),
    }
}
