use std::cell::RefCell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use net_core::Nat64Prefix;
use net_policy::HostAddresses;

/// How old what was read may be: flows, which the guest opens, are no reason to read more often.
const REREAD: Duration = Duration::from_secs(1);

/// The addresses that are the host's own, the group `host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostInterfaces {
    /// Those of its interfaces, as they change: of the network namespace the engine's thread is in.
    #[default]
    System,
    /// These.
    Fixed(Vec<IpAddr>),
}

impl HostInterfaces {
    /// The addresses as they are now; `None` where the system does not say.
    pub fn addresses(&self) -> Option<Vec<IpAddr>> {
        match self {
            Self::Fixed(addresses) => Some(addresses.clone()),
            Self::System => Some(
                nix::ifaddrs::getifaddrs()
                    .ok()?
                    .filter_map(|interface| interface.address)
                    .filter_map(|address| {
                        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
                        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
                    })
                    .collect(),
            ),
        }
    }
}

/// What is known of the host's addresses at one moment.
pub(crate) struct Hosts {
    /// Those of the gateway, whatever the interfaces.
    own: Vec<IpAddr>,
    interfaces: HostInterfaces,
    nat64: Vec<Nat64Prefix>,
    known: RefCell<Known>,
}

struct Known {
    at: Instant,
    addresses: HostAddresses,
}

impl Hosts {
    pub(crate) fn new(
        own: impl Iterator<Item = IpAddr>,
        interfaces: HostInterfaces,
        nat64: Vec<Nat64Prefix>,
        now: Instant,
    ) -> Self {
        let known = RefCell::new(Known { at: now, addresses: HostAddresses::default() });
        let hosts = Self { own: own.collect(), interfaces, nat64, known };
        // Where nothing can be read the gateway is known all the same.
        let read = hosts.interfaces.addresses().unwrap_or_default();
        hosts.known.borrow_mut().addresses = hosts.joined(read);
        hosts
    }

    /// Runs `work` on the addresses as they are now, or were a second ago. Never nested.
    pub(crate) fn with<R>(&self, now: Instant, work: impl FnOnce(&HostAddresses) -> R) -> R {
        let mut known = self.known.borrow_mut();
        if self.interfaces == HostInterfaces::System && now.saturating_duration_since(known.at) >= REREAD {
            known.at = now;
            // What was known stays where nothing can be read: an address is not given away for that.
            if let Some(read) = self.interfaces.addresses() {
                known.addresses = self.joined(read);
            }
        }
        work(&known.addresses)
    }

    fn joined(&self, read: Vec<IpAddr>) -> HostAddresses {
        let all = self.own.iter().copied().chain(read);
        all.collect::<HostAddresses>().with_nat64(self.nat64.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_and_the_interfaces_are_the_host() {
        let now = crate::guest::now();
        let gateway = IpAddr::from([100, 64, 0, 1]);
        let other = IpAddr::from([9, 9, 9, 9]);
        let system = Hosts::new([gateway].into_iter(), HostInterfaces::System, Vec::new(), now);
        let fixed = Hosts::new([gateway].into_iter(), HostInterfaces::Fixed(vec![other]), Vec::new(), now);
        for at in [now, now + REREAD] {
            // Every machine has a loopback interface.
            let found = system.with(at, |hosts| {
                [gateway, [127, 0, 0, 1].into(), other].map(|address| hosts.contains(address))
            });
            assert_eq!(found, [true, true, false]);
            let found = fixed.with(at, |hosts| {
                [gateway, [127, 0, 0, 1].into(), other].map(|address| hosts.contains(address))
            });
            assert_eq!(found, [true, false, true]);
        }
    }
}
