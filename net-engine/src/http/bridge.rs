use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::{http1 as client1, http2 as client2};
use hyper::server::conn::{http1 as server1, http2 as server2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::body::BodyError;
use super::exchange::{Exchange, GuestBody, UpstreamBody};
use crate::shell::{Context, DialError, GuestStream, HttpVersion, Prefixed, dial, relay};
use crate::tls::{InterceptError, StreamInfo};

/// hyper does not start with less.
const MIN_BUFFER_BYTES: usize = 8 << 10;

/// Carries a stream whose TLS was opened on both sides.
pub(crate) async fn bridge_tls<G, U>(
    context: &Rc<Context>,
    info: StreamInfo,
    mut guest: G,
    mut upstream: U,
    version: HttpVersion,
) -> Result<(), InterceptError>
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    if version == HttpVersion::Http1 && nothing_at_stake(context, &info) {
        // It need not even be HTTP. An error on either side ends both.
        let _ = copy_bidirectional(&mut guest, &mut upstream).await;
        let _ = guest.shutdown().await;
        return Ok(());
    }
    let sender =
        Sender::handshake(upstream, version, context).await.map_err(|_| InterceptError::UpstreamHttp)?;
    let upstream = Upstream { sender: RefCell::new(Some(sender)), address: None };
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
        Some(mut upstream) if nothing_at_stake(context, &info) => {
            if upstream.write_all(&prefix).await.is_ok() {
                relay(&guest, &mut upstream, &context.limits).await;
            } else {
                guest.abort();
            }
            return Ok(());
        }
        Some(upstream) => {
            let sender = Sender::handshake(upstream, version, context).await;
            let sender = sender.map_err(|_| InterceptError::UpstreamHttp)?;
            Upstream { sender: RefCell::new(Some(sender)), address: None }
        }
        None => Upstream { sender: RefCell::new(None), address: Some(context.dial_address(&info.flow)) },
    };
    serve(context, info, Prefixed::new(prefix, guest), upstream, version).await;
    Ok(())
}

/// Whether the content of a stream can change nothing: it was allowed by address, and there are no
/// secrets.
fn nothing_at_stake(context: &Context, info: &StreamInfo) -> bool {
    let by_address =
        info.rule.is_some_and(|rule| !context.with_policy(|policy, _, _| policy.rests_on_name(rule)));
    by_address && context.secrets().is_empty()
}

/// Serves the guest until it leaves, upstream leaves, or the exchange says that it is over.
async fn serve<G>(context: &Rc<Context>, info: StreamInfo, guest: G, upstream: Upstream, version: HttpVersion)
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let exchange = Rc::new(Exchange::new(Rc::clone(context), info, version));
    let upstream = Rc::new(upstream);
    let over = Rc::new(Notify::new());
    let service = service_fn({
        let (context, over) = (Rc::clone(context), Rc::clone(&over));
        move |request| {
            let (exchange, upstream) = (Rc::clone(&exchange), Rc::clone(&upstream));
            let (context, over) = (Rc::clone(&context), Rc::clone(&over));
            async move {
                let response = answer(&context, &exchange, &upstream, request, version, &over).await;
                if exchange.has_ended() {
                    over.notify_one();
                }
                Ok::<_, Infallible>(response)
            }
        }
    });
    let header_bytes = context.limits.max_header_bytes.max(MIN_BUFFER_BYTES);
    // A guest that breaks HTTP has been answered by hyper; what it did wrong is its own affair.
    match version {
        HttpVersion::Http1 => {
            let connection = server1::Builder::new()
                .preserve_header_case(true)
                .auto_date_header(false)
                .half_close(true)
                .max_buf_size(header_bytes)
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(guest), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = &mut connection => return,
                () = over.notified() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
        HttpVersion::Http2 => {
            let connection = server2::Builder::new(LocalTasks)
                .auto_date_header(false)
                .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(guest), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = &mut connection => return,
                () = over.notified() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
    }
}

async fn answer(
    context: &Rc<Context>,
    exchange: &Exchange,
    upstream: &Upstream,
    request: Request<Incoming>,
    version: HttpVersion,
    over: &Rc<Notify>,
) -> Response<GuestBody> {
    let admitted = match exchange.admit(request) {
        Ok(admitted) => admitted,
        Err(refusal) => return *refusal,
    };
    let settled = admitted.settle(context.limits.max_held_body_bytes).await;
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
    let mut sender = match upstream.sender(context, version).await {
        Ok(sender) => sender,
        Err(error) => return *exchange.refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
    };
    sender.when_gone(over);
    let response = sender.send(request).await;
    upstream.put_back(sender);
    match (response, found.get()) {
        (_, Some(why)) => *exchange.refuse(StatusCode::FORBIDDEN, why),
        (Ok(response), None) => exchange.finish(response, rest),
        (Err(_), None) => *exchange.refuse(StatusCode::BAD_GATEWAY, "upstream gave no response"),
    }
}

/// Upstream's end of a stream, connected now or with the first request.
struct Upstream {
    sender: RefCell<Option<Sender>>,
    address: Option<SocketAddr>,
}

impl Upstream {
    async fn sender(&self, context: &Rc<Context>, version: HttpVersion) -> Result<Sender, InterceptError> {
        let ready = {
            let mut kept = self.sender.borrow_mut();
            match &*kept {
                Some(Sender { requests: Requests::Http2(requests), task, .. }) => {
                    Some(Sender { requests: Requests::Http2(requests.clone()), task: Rc::clone(task) })
                }
                Some(_) | None => kept.take(),
            }
        };
        if let Some(sender) = ready {
            return Ok(sender);
        }
        let address = self.address.ok_or(InterceptError::Dial(DialError::Refused))?;
        let stream = dial(address, context.limits.connect_timeout).await?;
        Sender::handshake(stream, version, context).await.map_err(|_| InterceptError::UpstreamHttp)
    }

    fn put_back(&self, sender: Sender) {
        *self.sender.borrow_mut() = Some(sender);
    }
}

/// Sends requests; the connection behind it is driven by a task that ends with the last sender.
struct Sender {
    requests: Requests,
    task: Rc<Task>,
}

enum Requests {
    Http1(client1::SendRequest<UpstreamBody>),
    Http2(client2::SendRequest<UpstreamBody>),
}

struct Task {
    handle: AbortHandle,
    gone: Rc<RefCell<Vec<Rc<Notify>>>>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Sender {
    async fn handshake<U>(stream: U, version: HttpVersion, context: &Context) -> hyper::Result<Self>
    where
        U: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let stream = TokioIo::new(stream);
        let header_bytes = context.limits.max_header_bytes.max(MIN_BUFFER_BYTES);
        let gone: Rc<RefCell<Vec<Rc<Notify>>>> = Rc::default();
        let (requests, handle) = match version {
            HttpVersion::Http1 => {
                let (requests, connection) = client1::Builder::new()
                    .preserve_header_case(true)
                    .max_buf_size(header_bytes)
                    .handshake(stream)
                    .await?;
                (Requests::Http1(requests), drive(connection, &gone))
            }
            HttpVersion::Http2 => {
                let (requests, connection) = client2::Builder::new(LocalTasks)
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
                    .handshake(stream)
                    .await?;
                (Requests::Http2(requests), drive(connection, &gone))
            }
        };
        Ok(Self { requests, task: Rc::new(Task { handle, gone }) })
    }

    /// Has `over` notified when upstream's connection ends.
    fn when_gone(&self, over: &Rc<Notify>) {
        let mut waiting = self.task.gone.borrow_mut();
        if waiting.is_empty() {
            waiting.push(Rc::clone(over));
        }
    }

    async fn send(&mut self, request: Request<UpstreamBody>) -> hyper::Result<Response<Incoming>> {
        match &mut self.requests {
            Requests::Http1(requests) => {
                requests.ready().await?;
                requests.send_request(request).await
            }
            Requests::Http2(requests) => {
                requests.ready().await?;
                requests.send_request(request).await
            }
        }
    }
}

fn drive(
    connection: impl Future<Output = hyper::Result<()>> + 'static,
    gone: &Rc<RefCell<Vec<Rc<Notify>>>>,
) -> AbortHandle {
    let gone = Rc::clone(gone);
    let task = tokio::task::spawn_local(async move {
        // How the connection ended shows in the response that was waited for.
        let _ = connection.await;
        for over in gone.borrow_mut().drain(..) {
            over.notify_one();
        }
    });
    task.abort_handle()
}

/// Runs what hyper's HTTP/2 needs on the guest's own thread.
#[derive(Clone, Copy)]
struct LocalTasks;

impl<F> hyper::rt::Executor<F> for LocalTasks
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
