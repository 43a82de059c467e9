use std::collections::HashMap;
use std::net::SocketAddr;

use net_core::Limits;

/// How many TCP flows of the guest may lead to one destination.
///
/// Those of DNS and of published ports are none of them. A destination is kept while flows lead to it, so that
/// there are no more of them than flows.
pub(crate) struct FlowCaps {
    max_per_destination: usize,
    open: HashMap<SocketAddr, usize>,
    over_destination: u64,
}

/// A flow is one too many, by this field of [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capped(pub(crate) &'static str);

impl FlowCaps {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_per_destination: limits.max_flows_per_destination,
            open: HashMap::new(),
            over_destination: 0,
        }
    }

    /// Whether one more may begin.
    ///
    /// # Errors
    /// [`Capped`], by the bound that has refused it.
    pub(crate) fn admit(&mut self, destination: SocketAddr) -> Result<(), Capped> {
        if self.open.get(&destination).is_some_and(|count| *count >= self.max_per_destination) {
            self.over_destination += 1;
            return Err(Capped("max_flows_per_destination"));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 7], port))
    }

    #[test]
    fn a_destination_has_room_again_when_one_leaves_and_others_have_their_own() {
        let limits = Limits { max_flows_per_destination: 2, ..Limits::default() };
        let mut caps = FlowCaps::new(&limits);
        for _ in 0..2 {
            caps.admit(to(80)).expect("there is room");
            caps.enter(to(80));
        }
        assert_eq!(caps.admit(to(80)), Err(Capped("max_flows_per_destination")));
        assert_eq!(caps.admit(to(81)), Ok(()));
        caps.leave(to(80));
        assert_eq!(caps.admit(to(80)), Ok(()));
        assert_eq!(caps.over_destination(), 1);
        caps.leave(to(80));
        assert!(caps.open.is_empty(), "what nobody uses is forgotten");
    }
}
