use std::time::{Duration, Instant};

use super::{Ping, Udp};
use crate::core::{Gateway, Kind, Thinner};
use crate::guest::{Stack, now};
use crate::link::{Link, MAX_SPARED_PORTS, Thinning};

/// How long a link spares the same ports, while all else stays.
const PORTS_STAY: Duration = Duration::from_secs(1);

/// Counts what of a guest's frames is refused, and has its link leave that away while it is a lot.
pub(super) struct FloodWatch {
    thinner: Thinner,
    /// What the link was told last.
    thinned: Thinning,
    /// When it may be told of other ports to spare.
    ports_due: Option<Instant>,
}

impl FloodWatch {
    pub(super) fn new() -> Self {
        Self { thinner: Thinner::new(), thinned: Thinning::default(), ports_due: None }
    }

    /// Notes datagrams that were refused as they came; of all else its owner is asked.
    pub(super) fn note_refused(&mut self, kind: Kind, count: u64, now: Instant) {
        self.thinner.note_refused(kind, count, now);
    }

    /// When [`poll`](Self::poll) has something to do, whether or not more is refused.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.thinner.poll_timeout()
    }

    /// Has the link leave away what would be refused, while that is a lot.
    pub(super) fn poll(&mut self, stack: &Stack, udp: &Udp, ping: &Ping, link: &mut dyn Link) {
        let [syns, fragments] = stack.with(Gateway::take_refused);
        // Datagrams were noted as they came.
        let all = [syns, fragments, (Kind::Echo, ping.take_refused())];
        // Most of the time there is no reason to ask for the time.
        if self.thinner.poll_timeout().is_none() && all.iter().all(|(_, count)| *count == 0) {
            return;
        }
        let now = now();
        for (kind, count) in all {
            self.thinner.note_refused(kind, count, now);
        }
        if let Some(thinning) = self.thinner.poll(now) {
            if thinning.syns > 0 {
                // What a burst lets begin now is drawn from a flood, and open flows wait behind it for seconds.
                stack.with(|gateway| gateway.forgo_burst(now));
            }
            self.thin(thinning, udp, link, now);
        }
    }

    /// Has the link thin frames so, and says which ports it spares. The kernel changes a TAP's filter under a lock that
    /// all of its interfaces share: where the ports alone would be others, they wait for their second.
    pub(super) fn thin(&mut self, mut thinning: Thinning, udp: &Udp, link: &mut dyn Link, now: Instant) {
        thinning.spared_ports.clone_from(&self.thinned.spared_ports);
        if thinning == self.thinned && self.ports_due.is_none_or(|due| now < due) {
            return;
        }
        thinning.spared_ports.clear();
        if thinning.datagrams > 0 {
            thinning.spared_ports = udp.spared_ports(MAX_SPARED_PORTS, now);
        }
        self.ports_due = (thinning.datagrams > 0).then_some(now + PORTS_STAY);
        if thinning != self.thinned {
            link.thin(&thinning);
            self.thinned = thinning;
        }
    }
}
