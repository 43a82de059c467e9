use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use net_core::{Limits, TokenBucket};

/// How many TCP flows the guest may begin, and how many may lead to one destination.
///
/// Those of DNS and of published ports are none of them. A destination is kept while flows lead to it, so that
/// there are no more of them than flows.
pub(crate) struct FlowCaps {
    max_per_destination: usize,
    open: HashMap<SocketAddr, usize>,
    bucket: TokenBucket,
    over_destination: u64,
    over_rate: u64,
}

/// A flow is one too many, by this field of [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capped(pub(crate) &'static str);

impl FlowCaps {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_per_destination: limits.max_flows_per_destination,
            open: HashMap::new(),
            bucket: TokenBucket::new(limits.new_flows_per_second, limits.new_flow_burst),
            over_destination: 0,
            over_rate: 0,
        }
    }

    /// Whether one more may begin; what is refused takes no token.
    ///
    /// # Errors
    /// [`Capped`], by the bound that has refused it.
    pub(crate) fn admit(&mut self, destination: SocketAddr, now: Instant) -> Result<(), Capped> {
        if self.open.get(&destination).is_some_and(|count| *count >= self.max_per_destination) {
            self.over_destination += 1;
            return Err(Capped("max_flows_per_destination"));
        }
        if !self.bucket.take(now) {
            self.over_rate += 1;
            return Err(Capped("new_flows_per_second"));
        }
        Ok(())
    }

    /// Notes a flow that was admitted, until it [leaves](Self::leave).
    pub(crate) fn enter(&mut self, destination: SocketAddr) {
        *self.open.entry(destination).or_default() += 1;
    }

    pub(crate) fn leave(&mut self, destination: SocketAddr) {
        if let Some(count) = self.open.get_mut(&destination) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&destination);
            }
        }
    }

    /// How many the destination's bound has refused.
    pub(crate) fn over_destination(&self) -> u64 {
        self.over_destination
    }

    /// How many the rate has refused.
    pub(crate) fn over_rate(&self) -> u64 {
        self.over_rate
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn caps(max_flows_per_destination: usize, new_flows_per_second: u32) -> FlowCaps {
        let limits = Limits {
            max_flows_per_destination,
            new_flows_per_second,
            new_flow_burst: new_flows_per_second,
            ..Limits::default()
        };
        FlowCaps::new(&limits)
    }

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 7], port))
    }

    #[allow(clippy::disallowed_methods, reason = "any instant will do: the test moves it from here on")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_destination_has_room_again_when_one_leaves_and_others_have_their_own() {
        let (mut caps, now) = (caps(2, 1_000), start());
        for _ in 0..2 {
            caps.admit(to(80), now).expect("there is room");
            caps.enter(to(80));
        }
        assert_eq!(caps.admit(to(80), now), Err(Capped("max_flows_per_destination")));
        assert_eq!(caps.admit(to(81), now), Ok(()));
        caps.leave(to(80));
        assert_eq!(caps.admit(to(80), now), Ok(()));
        assert_eq!((caps.over_destination(), caps.over_rate()), (1, 0));
        caps.leave(to(80));
        assert!(caps.open.is_empty(), "what nobody uses is forgotten");
    }

    #[test]
    fn a_scan_is_as_many_as_the_burst_and_then_the_rate() {
        let (mut caps, now) = (caps(10, 100), start());
        let scan = |caps: &mut FlowCaps, now| {
            (1..=u16::MAX).filter(|port| caps.admit(to(*port), now).is_ok()).count()
        };
        assert_eq!(scan(&mut caps, now), 100);
        assert_eq!(scan(&mut caps, now + Duration::from_millis(500)), 50);
        assert_eq!(caps.over_rate(), 2 * u64::from(u16::MAX) - 150);
    }
}
