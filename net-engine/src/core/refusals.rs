//! What a gateway refuses by its header alone, and how often it says so.

use std::time::Instant;

use net_core::{Limits, TokenBucket};

/// The rates of flows that begin and of what the guest is told unasked, and what they have refused.
pub(super) struct Refusals {
    new_flows: TokenBucket,
    max_held_syns: usize,
    /// Of answers to segments of no flow.
    resets: TokenBucket,
    icmp_errors: TokenBucket,
    /// The bound that has refused a flow since this was last asked.
    reached: Option<&'static str>,
    /// SYNs that were refused since this was last asked.
    syns: u64,
}

impl Refusals {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            new_flows: TokenBucket::new(limits.new_flows_per_second, limits.new_flow_burst),
            max_held_syns: limits.max_held_syns,
            resets: TokenBucket::new(limits.resets_per_second, limits.resets_per_second),
            icmp_errors: TokenBucket::new(limits.icmp_errors_per_second, limits.icmp_errors_per_second),
            reached: None,
            syns: 0,
        }
    }

    /// Whether another flow may begin beside so many SYNs that wait.
    ///
    /// # Errors
    /// The field of [`Limits`] by which none may.
    pub(super) fn admit(&self, held_syns: usize, now: Instant) -> Result<(), &'static str> {
        if held_syns >= self.max_held_syns {
            return Err("max_held_syns");
        }
        if self.new_flows.has(now) { Ok(()) } else { Err("new_flows_per_second") }
    }

    /// Notes that a flow begins which was admitted.
    pub(super) fn note_begun(&mut self, now: Instant) {
        // There is a token: it was just looked for.
        let _ = self.new_flows.take(now);
    }

    /// Notes that a flow was refused by a bound; whether it was by the rate.
    pub(super) fn note_refused(&mut self, limit: &'static str) -> bool {
        self.reached = Some(limit);
        self.syns += 1;
        limit == "new_flows_per_second"
    }

    /// Has flows begin at their rate alone from now on: a burst is for who bursts.
    pub(super) fn forgo_burst(&mut self, now: Instant) {
        self.new_flows.forgo(now);
    }

    /// Whether a segment of no flow, or of one too many, may be answered.
    pub(super) fn may_reset(&mut self, now: Instant) -> bool {
        self.resets.take(now)
    }

    /// Whether the guest may be sent an error of ICMP.
    pub(super) fn may_tell(&mut self, now: Instant) -> bool {
        self.icmp_errors.take(now)
    }

    pub(super) fn take_reached(&mut self) -> Option<&'static str> {
        self.reached.take()
    }

    pub(super) fn take_syns(&mut self) -> u64 {
        std::mem::take(&mut self.syns)
    }
}
