//! What happened, for the embedder: one value per decision worth telling.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use net_core::{Flow, HostName};
use tokio::sync::Notify;

use super::{Denial, DeniedRequest, DialError, InboundError, InterceptError, LeakPlace, now};
use crate::proxy::ProxyError;

/// Something the embedder may want to know.
///
/// `Display` is one readable line. No event carries a secret or a byte of content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A flow was connected and is carried, if the owner wants to know.
    Opened {
        /// Its 5-tuple.
        flow: Flow,
        /// The name it shows, where it shows one, or that its address stands for.
        name: Option<HostName>,
        /// The name's real address, where the flow's own stands for the name.
        real: Option<IpAddr>,
        /// The rule, readable.
        why: String,
    },
    /// A flow was refused by policy.
    Denied {
        /// Its 5-tuple.
        flow: Flow,
        /// The name it was for, where one is known.
        name: Option<HostName>,
        /// The name's real address, where the flow's own stands for the name.
        real: Option<IpAddr>,
        /// The rule or the reason.
        why: Denial,
    },
    /// A request was refused by policy, on a stream that goes on.
    RequestDenied {
        /// The flow's 5-tuple.
        flow: Flow,
        /// The name it was for, where it was for one.
        name: Option<HostName>,
        /// The name's real address, where the flow's own stands for the name.
        real: Option<IpAddr>,
        /// What was asked.
        request: DeniedRequest,
        /// The rule or the reason.
        why: Denial,
    },
    /// A name was not resolved, by policy or because of what it resolved to.
    NameRefused {
        /// The name.
        name: String,
        /// The rule and the reason, readable.
        why: String,
    },
    /// An allowed flow could not be dialled.
    DialFailed {
        /// Its 5-tuple.
        flow: Flow,
        /// The name that its address stands for, if it is one of those.
        name: Option<HostName>,
        /// The name's real address that was tried last.
        real: Option<IpAddr>,
        /// What went wrong.
        error: DialError,
    },
    /// A proxy did not connect an allowed flow.
    ProxyFailed {
        /// The flow's 5-tuple.
        flow: Flow,
        /// The name it was for, where one is known.
        name: Option<HostName>,
        /// The proxy's name and its url, without credentials.
        proxy: String,
        /// What it answered.
        error: ProxyError,
    },
    /// Somebody was connected to a port of the guest's that is published, if the owner wants to know.
    InboundOpened {
        /// Who.
        peer: IpAddr,
        /// To which port.
        guest_port: u16,
    },
    /// Somebody was refused a port that is published, by policy; told once a second for each port.
    InboundDenied {
        /// Who.
        peer: IpAddr,
        /// Which port.
        guest_port: u16,
        /// The rule or the reason.
        why: Denial,
    },
    /// Somebody could not be connected to a port that is published; told once a second for each port.
    InboundFailed {
        /// Which port.
        guest_port: u16,
        /// What went wrong.
        error: InboundError,
    },
    /// A stream that was to be looked into ended.
    InterceptFailed {
        /// Its 5-tuple.
        flow: Flow,
        /// The name it was for, where one is known.
        name: Option<HostName>,
        /// What went wrong.
        error: InterceptError,
    },
    /// Upstream's certificate was not looked at, since the owner wants it so of this host
    /// ([`HostTrust`](super::HostTrust)): whoever answered has what the guest sends it.
    Unverified {
        /// The flow's 5-tuple.
        flow: Flow,
        /// The name it shows, where it shows one.
        name: Option<HostName>,
    },
    /// The authority that signs where TLS is opened ends within a day: it needs a successor, and whoever
    /// trusts it must come to trust that.
    AuthorityEnds {
        /// When.
        at: SystemTime,
    },
    /// A stream that was carried as bytes ended: secrets have come, and what it carries would have had to
    /// be searched for them.
    EndedUnread {
        /// Its 5-tuple.
        flow: Flow,
        /// The name it was for, where one is known.
        name: Option<HostName>,
    },
    /// A request would have carried a secret's placeholder where it may not go.
    Violation {
        /// The flow's 5-tuple.
        flow: Flow,
        /// The name it was for, where one is known.
        name: Option<HostName>,
        /// Where in what the guest sent.
        place: LeakPlace,
        /// The environment variable of the secret and what is wrong, readable.
        why: String,
    },
    /// A limit refused a newcomer, or made the one that was not used for longest yield. Said again after a second,
    /// if it still does: a flood is told of, not each of its packets.
    LimitReached {
        /// The field of [`net_core::Limits`].
        limit: &'static str,
    },
    /// A limit makes newcomers wait. Said again after ten seconds, if they still do.
    LimitHolds {
        /// The field of [`net_core::Limits`].
        limit: &'static str,
    },
    /// The link ended; the guest is gone.
    LinkClosed {
        /// What the link said.
        reason: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { flow, name, real, why } => {
                write!(f, "opened {} {}: {why}", flow.protocol, Target(flow, name.as_ref(), *real))
            }
            Self::Denied { flow, name, real, why } => {
                write!(f, "denied {} {}: {why}", flow.protocol, Target(flow, name.as_ref(), *real))
            }
            Self::RequestDenied { flow, name, real, request, why } => {
                let target = Target(flow, name.as_ref(), *real);
                write!(f, "denied {} {target}: {request}: {why}", flow.protocol)
            }
            Self::NameRefused { name, why } => write!(f, "denied dns {name}: {why}"),
            Self::DialFailed { flow, name, real, error } => {
                write!(f, "failed {}: {error}", Target(flow, name.as_ref(), *real))
            }
            Self::ProxyFailed { flow, name, proxy, error } => {
                write!(f, "failed {}: proxy {proxy}: {error}", Target(flow, name.as_ref(), None))
            }
            Self::InboundOpened { peer, guest_port } => write!(f, "opened {peer} to port {guest_port}"),
            Self::InboundDenied { peer, guest_port, why } => {
                write!(f, "denied {peer} to port {guest_port}: {why}")
            }
            Self::InboundFailed { guest_port, error } => write!(f, "failed to port {guest_port}: {error}"),
            Self::InterceptFailed { flow, name, error } => {
                write!(f, "ended {}: {}: {error}", Target(flow, name.as_ref(), None), error.name())
            }
            Self::Unverified { flow, name } => {
                let target = Target(flow, name.as_ref(), None);
                write!(f, "warning {target}: its certificate is not verified: dangerous_skip_verification")
            }
            Self::AuthorityEnds { at } => {
                let at = humantime::format_rfc3339_seconds(*at);
                write!(f, "warning: the certificate authority ends at {at}: start anew, or give another one")
            }
            Self::EndedUnread { flow, name } => {
                write!(
                    f,
                    "ended {}: it was not searched when secrets came",
                    Target(flow, name.as_ref(), None)
                )
            }
            Self::Violation { flow, name, place, why } => {
                write!(f, "violation {}: {why}, in {place}", Target(flow, name.as_ref(), None))
            }
            Self::LimitReached { limit } => write!(f, "refused: limit {limit} is reached"),
            Self::LimitHolds { limit } => write!(f, "held: limit {limit} is reached, newcomers wait"),
            Self::LinkClosed { reason } => write!(f, "link closed: {reason}"),
        }
    }
}

/// The far end: its name, the address the guest uses and the real one where that is another.
pub(super) struct Target<'t>(pub(super) &'t Flow, pub(super) Option<&'t HostName>, pub(super) Option<IpAddr>);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Flow { upstream, .. }, name, real) = self;
        match (name, real) {
            (Some(name), Some(real)) => write!(f, "{name} ({upstream}, which stands for {real})"),
            (Some(name), None) => write!(f, "{name} ({upstream})"),
            (None, _) => write!(f, "{upstream}"),
        }
    }
}

/// Events on their way to the embedder: bounded, the oldest yields.
#[derive(Clone)]
pub(crate) struct EventQueue(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Notify,
    capacity: usize,
}

/// Between two events about one limit.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// When each limit was told of last: as many as there are limits.
    reached: HashMap<&'static str, Instant>,
    lost: u64,
    closed: bool,
}

impl Waiting {
    /// Whether nobody was told of the limit lately.
    fn is_news(&mut self, limit: &'static str, now: Instant) -> bool {
        let told = self.reached.get(limit);
        if told.is_some_and(|told| now.saturating_duration_since(*told) < PAUSE) {
            return false;
        }
        self.reached.insert(limit, now);
        true
    }
}

impl EventQueue {
    pub(crate) fn new(capacity: usize) -> Self {
        let waiting = Mutex::new(Waiting::default());
        Self(Arc::new(Shared { waiting, changed: Notify::new(), capacity: capacity.max(1) }))
    }

    pub(crate) fn push(&self, event: Event) {
        let now = now();
        self.change(|waiting, capacity| {
            if let Event::LimitReached { limit } = &event
                && !waiting.is_news(limit, now)
            {
                return false;
            }
            if waiting.events.len() >= capacity {
                waiting.events.pop_front();
                waiting.lost += 1;
            }
            waiting.events.push_back(event);
            true
        });
    }

    /// Says that nothing follows.
    pub(crate) fn close(&self) {
        self.change(|waiting, _| {
            waiting.closed = true;
            true
        });
    }

    /// The next event; `None` once the queue is closed and empty.
    pub(crate) async fn next(&self) -> Option<Event> {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(event) = waiting.events.pop_front() {
                    return Some(event);
                }
                if waiting.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// How many events yielded to newer ones.
    pub(crate) fn lost(&self) -> u64 {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).lost
    }

    /// Changes what waits, and wakes the reader where `change` says that there is something for it.
    fn change(&self, change: impl FnOnce(&mut Waiting, usize) -> bool) {
        let is_news =
            change(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner), self.0.capacity);
        if is_news {
            // One reader at a time: the permit is kept for it when it is between two looks.
            self.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_oldest_yields_and_the_loss_is_counted() {
        let queue = EventQueue::new(2);
        for limit in ["a", "b", "c"] {
            queue.push(Event::LimitReached { limit });
        }
        queue.close();
        let mut seen = Vec::new();
        while let Some(Event::LimitReached { limit }) = queue.next().await {
            seen.push(limit);
        }
        assert_eq!((seen, queue.lost()), (vec!["b", "c"], 1));
    }

    #[test]
    fn a_limit_that_is_no_news_wakes_nobody() {
        let queue = EventQueue::new(9);
        for (limit, expected) in [("a", true), ("a", false), ("b", true), ("a", false)] {
            queue.push(Event::LimitReached { limit });
            let woken = queue.0.changed.notified().now_or_never();
            assert_eq!(woken.is_some(), expected, "{limit}");
        }
    }

    #[test]
    fn a_limit_is_told_of_once_a_second() {
        let (mut waiting, first) = (Waiting::default(), now());
        let later = |millis| first + Duration::from_millis(millis);
        for (limit, at, expected) in
            [("a", 0, true), ("a", 999, false), ("b", 999, true), ("a", 1_000, true), ("a", 1_500, false)]
        {
            assert_eq!(waiting.is_news(limit, later(at)), expected, "{limit} {at}");
        }
    }
}
