//! The guest's end of HTTP: requests are read, and what becomes of them is written.

use std::cell::Cell;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::exchange::Exchange;
use super::sender::Upstream;
use super::serve_http1::serve_http1;
use super::serve_http2::serve_http2;
use crate::guest::{Activity, Context, HttpVersion};

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
    let guest = activity.watch(guest);
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
pub(super) struct Stream {
    pub(super) context: Rc<Context>,
    pub(super) exchange: Exchange,
    pub(super) upstream: Upstream,
    /// Notified when the stream must end: upstream has gone, or the exchange is over.
    pub(super) over: Rc<Notify>,
    is_junk: Cell<bool>,
}

impl Stream {
    /// Notes whether the guest's first words were no HTTP, now that what it has said is, or is not.
    pub(super) fn note_end(&self, is_broken: bool) {
        self.is_junk.set(is_broken && !self.exchange.has_begun());
    }
}
