//! Upstream's end of a stream of HTTP: where requests go.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::client::conn::http1;
use hyper::ext::on_informational;
use hyper_util::rt::TokioIo;
use net_core::{Flow, HostName};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OnceCell, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::exchange::UpstreamBody;
use super::headers;
use super::http2_sender::Http2Sender;
use super::incoming::Incoming;
use super::send_error::SendError;
use super::tunnel::TunnelEnd;
use crate::guest::{Context, DialError, HttpVersion, InterceptError, dial_flow};

/// hyper does not start with less.
const MIN_BUFFER_BYTES: usize = 8 << 10;

/// Where answers before the answer go, if the guest can have them.
pub(super) type Inform<'i> = Option<&'i mut dyn FnMut(Response<()>)>;

/// Answers before the answer that wait for their turn.
const INTERIMS: usize = 8;

/// The bytes of a header block that either side may send.
pub(super) fn header_bytes(context: &Context) -> usize {
    context.limits.max_header_bytes.max(MIN_BUFFER_BYTES)
}

/// A window as SETTINGS and WINDOW_UPDATE may state it (RFC 9113, section 6.9.1).
pub(super) fn window_bytes(limit: usize) -> u32 {
    const MAX: u32 = (1 << 31) - 1;
    u32::try_from(limit).unwrap_or(MAX).min(MAX)
}

/// Upstream's end of a stream, connected now or with the first request.
pub(super) struct Upstream {
    sender: RefCell<Option<Sender>>,
    /// The flow that is not dialled yet.
    undialled: Option<Flow>,
    /// How the one dial went. Requests that come first at the same time wait for it together.
    dialled: OnceCell<Result<(), InterceptError>>,
    /// One, which a request of HTTP/1.1 has until its response begins. Then hyper sees to the rest.
    turns: Semaphore,
}

impl Upstream {
    /// A connection that stands.
    pub(super) fn connected(sender: Sender) -> Self {
        Self::new(Some(sender), None)
    }

    /// A connection to make when the first request was admitted.
    pub(super) fn unconnected(flow: Flow) -> Self {
        Self::new(None, Some(flow))
    }

    /// None at all.
    pub(super) fn nowhere() -> Self {
        Self::new(None, None)
    }

    fn new(sender: Option<Sender>, undialled: Option<Flow>) -> Self {
        let (dialled, turns) = (OnceCell::new(), Semaphore::new(1));
        Self { sender: RefCell::new(sender), undialled, dialled, turns }
    }

    /// Who sends the next request, which shows `shown`: over HTTP/1.1 one after the other.
    pub(super) async fn sender(
        &self,
        context: &Context,
        shown: Option<&HostName>,
        version: HttpVersion,
    ) -> Result<Lent<'_>, InterceptError> {
        if let Some(flow) = &self.undialled {
            let dialled = self.dialled.get_or_init(|| self.dial(flow, shown, context, version)).await;
            (*dialled)?;
        }
        let turn = match version {
            HttpVersion::Http1 => self.turns.acquire().await.ok(),
            HttpVersion::Http2 => None,
        };
        let sender = self.ready().ok_or(InterceptError::Dial(DialError::Refused))?;
        Ok(Lent { sender: Some(sender), upstream: self, _turn: turn })
    }

    async fn dial(
        &self,
        flow: &Flow,
        shown: Option<&HostName>,
        context: &Context,
        version: HttpVersion,
    ) -> Result<(), InterceptError> {
        let stream = dial_flow(context, flow, shown).await?;
        self.put_back(Sender::handshake(stream, version, context).await?);
        Ok(())
    }

    fn ready(&self) -> Option<Sender> {
        let mut kept = self.sender.borrow_mut();
        match &*kept {
            Some(Sender { requests: Requests::Http2(requests), connection }) => Some(Sender {
                requests: Requests::Http2(requests.clone()),
                connection: Rc::clone(connection),
            }),
            Some(_) | None => kept.take(),
        }
    }

    fn put_back(&self, sender: Sender) {
        *self.sender.borrow_mut() = Some(sender);
    }

    /// Has `over` notified when the connection that stands ends, before its first request too: a guest must not send
    /// one into it.
    pub(super) fn when_gone(&self, over: &Rc<Notify>) {
        if let Some(sender) = &*self.sender.borrow() {
            sender.when_gone(over);
        }
    }

    /// The stream below, once upstream has switched to another protocol.
    pub(super) async fn take_tunnel(&self) -> Option<TunnelEnd> {
        let sender = self.sender.borrow_mut().take()?;
        let freed = sender.connection.freed.borrow_mut().take()?;
        freed.await.ok()
    }
}

/// A sender that goes back to its place, whatever becomes of the request.
pub(super) struct Lent<'u> {
    /// `None` while it is dropped.
    sender: Option<Sender>,
    upstream: &'u Upstream,
    /// Given up after the sender is back.
    _turn: Option<SemaphorePermit<'u>>,
}

impl Lent<'_> {
    /// Has `over` notified when upstream's connection ends.
    pub(super) fn when_gone(&self, over: &Rc<Notify>) {
        if let Some(sender) = &self.sender {
            sender.when_gone(over);
        }
    }

    /// Sends a request; `inform` is given the answers before the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<UpstreamBody>,
        inform: Inform<'_>,
    ) -> Result<Response<Incoming>, SendError> {
        let sender = self.sender.as_mut().expect("it is taken by drop only");
        sender.send(request, inform).await
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.upstream.put_back(sender);
        }
    }
}

/// Sends requests; the connection behind it is driven by a task that ends with the last sender.
pub(super) struct Sender {
    requests: Requests,
    connection: Rc<Connection>,
}

enum Requests {
    Http1(http1::SendRequest<UpstreamBody>),
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
                let (requests, driven) = http1::Builder::new()
                    .preserve_header_case(true)
                    .max_buf_size(header_bytes(context))
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(|_| InterceptError::UpstreamHttp)?;
                connection.drive(drive_http1(driven, free), farewell);
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

    fn when_gone(&self, over: &Rc<Notify>) {
        *self.connection.listener.borrow_mut() = Some(Rc::clone(over));
    }

    async fn send(
        &mut self,
        request: Request<UpstreamBody>,
        inform: Inform<'_>,
    ) -> Result<Response<Incoming>, SendError> {
        match &mut self.requests {
            Requests::Http1(requests) => send_http1(requests, request, inform).await,
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

async fn send_http1(
    requests: &mut http1::SendRequest<UpstreamBody>,
    mut request: Request<UpstreamBody>,
    inform: Inform<'_>,
) -> Result<Response<Incoming>, SendError> {
    headers::frame_body(&mut request);
    requests.ready().await?;
    let Some(inform) = inform else {
        return Ok(requests.send_request(request).await?.map(Incoming::from));
    };
    let (tell, mut told) = mpsc::channel(INTERIMS);
    on_informational(&mut request, move |head| {
        let mut own = Response::new(());
        *own.status_mut() = head.status();
        *own.headers_mut() = head.headers().clone();
        // More of them than anybody has read so far say nothing new.
        let _ = tell.try_send(own);
    });
    let mut sent = std::pin::pin!(requests.send_request(request));
    loop {
        tokio::select! {
            biased;
            Some(head) = told.recv() => inform(head),
            response = &mut sent => return Ok(response?.map(Incoming::from)),
        }
    }
}

/// Drives an HTTP/1.1 connection; what is below it goes to `free` if anybody waits for it.
async fn drive_http1<U>(
    mut connection: http1::Connection<TokioIo<U>, UpstreamBody>,
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
