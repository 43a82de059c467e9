use std::net::IpAddr;

use net_core::HostName;
use net_policy::{Destination, Target};
use net_tls::UpstreamTrust;
use thiserror::Error;

/// Whom some upstreams' certificates must lead to, in place of [`GuestConfig::upstream_trust`], and who
/// we are to them.
///
/// [`GuestConfig::upstream_trust`]: crate::GuestConfig::upstream_trust
#[derive(Clone, Debug)]
pub struct HostTrust {
    hosts: Vec<Target>,
    trust: UpstreamTrust,
}

/// Why a [`HostTrust`] is for no hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostTrustError {
    /// Trust that is not everybody's is of hosts that are named.
    #[error("neither a name, an address nor a prefix: say which hosts")]
    NotHosts,
}

impl HostTrust {
    /// Trust for these hosts: names, on the ports given with them, and addresses and prefixes, which count
    /// where a stream shows no name.
    ///
    /// # Errors
    /// `NotHosts`, for a group of addresses and for `any`.
    pub fn new(hosts: Vec<Target>, trust: UpstreamTrust) -> Result<Self, HostTrustError> {
        let is_host =
            |target: &Target| matches!(target.destination, Destination::Domain(_) | Destination::Cidr(_));
        if hosts.iter().all(is_host) { Ok(Self { hosts, trust }) } else { Err(HostTrustError::NotHosts) }
    }

    pub(crate) fn trust(&self) -> &UpstreamTrust {
        &self.trust
    }

    /// Whether it is that of an upstream; what shows a name is known by it, not by its address.
    pub(crate) fn is_of(&self, name: Option<&HostName>, address: IpAddr, port: u16) -> bool {
        self.hosts.iter().filter(|target| target.ports.contains(port)).any(|target| {
            match (&target.destination, name) {
                (Destination::Domain(pattern), Some(name)) => pattern.matches(name),
                (Destination::Cidr(prefix), None) => prefix.contains(&address),
                (Destination::Domain(_), None) | (Destination::Cidr(_), Some(_)) => false,
                (Destination::Any | Destination::Group(_) | _, _) => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use net_policy::parse_target;

    use super::*;

    fn of(hosts: &[&str]) -> Result<HostTrust, HostTrustError> {
        let hosts = hosts.iter().map(|text| parse_target(text).expect(text)).collect();
        HostTrust::new(hosts, UpstreamTrust::default())
    }

    #[test]
    fn an_upstream_is_known_by_its_name_or_without_one_by_its_address() {
        let trust = of(&["a.example", "*.b.example:443", "10.0.0.0/8", "[fd00::1]:8443"]).expect("hosts");
        // The name shown, the address, the port.
        const CASES: &[(Option<&str>, &str, u16, bool)] = &[
            (Some("a.example"), "9.9.9.9", 443, true),
            (Some("a.example"), "9.9.9.9", 8443, true),
            (Some("x.a.example"), "9.9.9.9", 443, false),
            (Some("x.b.example"), "9.9.9.9", 443, true),
            (Some("x.b.example"), "9.9.9.9", 8443, false),
            (Some("c.example"), "10.0.0.1", 443, false),
            (None, "10.0.0.1", 443, true),
            (None, "11.0.0.1", 443, false),
            (None, "fd00::1", 8443, true),
            (None, "fd00::1", 443, false),
            (None, "fd00::2", 8443, false),
        ];
        for (name, address, port, expected) in CASES {
            let shown: Option<HostName> = name.map(|name| name.parse().expect(name));
            let address = address.parse().expect(address);
            assert_eq!(trust.is_of(shown.as_ref(), address, *port), *expected, "{name:?} {address} {port}");
        }
    }

    #[test]
    fn nobody_is_a_host_who_is_not_named() {
        for text in ["any", "public", "private:443", "host"] {
            assert_eq!(of(&["a.example", text]).map(drop), Err(HostTrustError::NotHosts), "{text}");
        }
        let none = of(&[]).expect("no hosts");
        assert!(!none.is_of(None, IpAddr::from([10, 0, 0, 1]), 443));
    }
}
