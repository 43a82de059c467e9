//! Upstream's end of a stream: the connection that stands, and others in its place.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use http::{Request, Response};
use net_core::HostName;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::admitted::UpstreamBody;
use super::exchange::Exchange;
use super::incoming::Incoming;
use super::send_error::SendError;
use super::sender::{Inform, Sender};
use super::tunnel::{Duplex, TunnelEnd};
use crate::guest::{Context, DialError, HttpVersion, InterceptError};

/// Makes another connection to where a stream leads, verified as the first one was. Whether a request may go there is
/// decided before, as for any. It is told the name that the request shows, where the session is not for one.
pub(crate) type Dialler =
    Box<dyn Fn(Option<&HostName>) -> LocalBoxFuture<'static, Result<Box<dyn Duplex>, InterceptError>>>;

/// Why a request has no connection to go on.
pub(super) enum NoSender {
    /// There is none, for it or for any behind it.
    Failed(InterceptError),
    /// The one that stands took another way than the request's host has to be reached.
    Elsewhere,
}

/// Upstream's end of a stream: one connection at a time.
pub(super) struct Upstream {
    sender: RefCell<Option<Sender>>,
    /// For the first request, or for those that upstream's connection has ended before.
    dialler: Option<Dialler>,
    /// Why there is no other connection any more.
    failed: Cell<Option<InterceptError>>,
    /// One: a request of HTTP/1.1 has it until its response begins, when hyper sees to the rest, one of HTTP/2 while
    /// it looks for the connection.
    turns: Semaphore,
}

impl Upstream {
    /// A connection that stands, and where others come from.
    pub(super) fn connected(sender: Sender, dialler: Option<Dialler>) -> Self {
        Self::new(Some(sender), dialler)
    }

    /// A connection to make when the first request was admitted.
    pub(super) fn unconnected(dialler: Dialler) -> Self {
        Self::new(None, Some(dialler))
    }

    /// None at all.
    pub(super) fn nowhere() -> Self {
        Self::new(None, None)
    }

    fn new(sender: Option<Sender>, dialler: Option<Dialler>) -> Self {
        Self { sender: RefCell::new(sender), dialler, failed: Cell::new(None), turns: Semaphore::new(1) }
    }

    /// Who sends the next request, which shows `shown`, over HTTP/1.1 one after the other; over another connection
    /// where the last one has ended, or took another way than this request has to take. Once there is none, there is
    /// none for the requests behind either.
    ///
    /// # Errors
    /// [`NoSender`].
    pub(super) async fn sender(
        &self,
        context: &Context,
        exchange: &Exchange,
        shown: Option<&HostName>,
    ) -> Result<Lent<'_>, NoSender> {
        let version = exchange.sides().upstream;
        let turn = self.turns.acquire().await.ok();
        let mut lent = Lent { sender: self.ready(), upstream: self, turn };
        let mut stands = match &mut lent.sender {
            Some(sender) => sender.is_ready().await,
            None => false,
        };
        if stands && exchange.goes_otherwise(shown) {
            if version == HttpVersion::Http2 {
                // Others are on it, and each request in turn could want another.
                return Err(NoSender::Elsewhere);
            }
            // Its end is not upstream's doing, and says nothing of what comes.
            if let Some(sender) = &lent.sender {
                sender.when_gone_tell_nobody();
            }
            stands = false;
        }
        if !stands {
            lent.sender = None;
            let connected = self.dial(context, shown, version).await;
            let connected = connected.inspect_err(|error| self.failed.set(Some(*error)));
            lent.sender = Some(connected.map_err(NoSender::Failed)?);
        }
        if version == HttpVersion::Http2 {
            *self.sender.borrow_mut() = lent.sender.as_ref().and_then(Sender::shared);
            lent.turn = None;
        }
        Ok(lent)
    }

    async fn dial(
        &self,
        context: &Context,
        shown: Option<&HostName>,
        version: HttpVersion,
    ) -> Result<Sender, InterceptError> {
        if let Some(error) = self.failed.get() {
            return Err(error);
        }
        let dialler = self.dialler.as_ref().ok_or(InterceptError::Dial(DialError::Refused))?;
        Sender::handshake(dialler(shown).await?, version, context).await
    }

    fn ready(&self) -> Option<Sender> {
        let mut kept = self.sender.borrow_mut();
        kept.as_ref().and_then(Sender::shared).or_else(|| kept.take())
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
        sender.free().await
    }
}

/// A sender that goes back to its place, whatever becomes of the request.
pub(super) struct Lent<'u> {
    /// `None` while it is dropped, or looked for.
    sender: Option<Sender>,
    upstream: &'u Upstream,
    /// Given up after the sender is back.
    turn: Option<SemaphorePermit<'u>>,
}

impl Lent<'_> {
    /// Has `over` notified when upstream's connection ends.
    pub(super) fn when_gone(&self, over: &Rc<Notify>) {
        if let Some(sender) = &self.sender {
            sender.when_gone(over);
        }
    }

    /// Sends a request; `inform` is given the interim responses.
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
        // What is shared has kept its place.
        if let Some(sender) = self.sender.take().filter(|sender| sender.shared().is_none()) {
            *self.upstream.sender.borrow_mut() = Some(sender);
        }
    }
}
