use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use net_core::{Flow, Protocol};
use thiserror::Error;

use super::nameservers::{DNS_OVER_TLS_PORT, DNS_PORT, OTHER_NAME_PORTS};

/// Where a port of the gateway's leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTarget {
    /// To this port of the host's loopback, in the family the guest has asked in.
    Loopback(u16),
    /// To this address of the host's loopback, in whatever family the guest has asked.
    Address(SocketAddr),
    /// To any address, which the policy takes for the host's all the same.
    DangerousElsewhere(SocketAddr),
}

/// Why a port of the gateway's cannot lead where it is said to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostPortError {
    /// One of the two is no port.
    #[error("0 is no port")]
    Zero,
    /// Names are asked for there, whatever else is said.
    #[error("port {0} is for names, which the engine answers itself")]
    Names(u16),
    /// Datagrams there ask for names elsewhere than of the engine, and go nowhere.
    #[error("udp port {0} is for names, which are asked for on port 53 alone")]
    OtherNames(u16),
    /// It leads somewhere already.
    #[error("port {0} leads somewhere already")]
    Taken(u16),
    /// The address is none of the loopback's: [`HostTarget::DangerousElsewhere`] says that it is meant.
    #[error("{0} is no address of this machine's loopback")]
    NotLoopback(IpAddr),
}

/// Ports of the gateway's that lead to other ports of the host: a guest that connects to one of them is decided by the
/// port it has asked for. Every other port leads to the same of the host's loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPorts {
    /// No port is zero, nor one of names; over UDP, of no service for them.
    tcp: BTreeMap<u16, HostTarget>,
    udp: BTreeMap<u16, HostTarget>,
}

impl HostPorts {
    /// Has connections to a port of the gateway's lead elsewhere.
    ///
    /// # Errors
    /// [`HostPortError`].
    pub fn tcp(mut self, port: u16, to: HostTarget) -> Result<Self, HostPortError> {
        enter(&mut self.tcp, port, to)?;
        Ok(self)
    }

    /// Has datagrams to a port of the gateway's lead elsewhere.
    ///
    /// # Errors
    /// [`HostPortError`].
    pub fn udp(mut self, port: u16, to: HostTarget) -> Result<Self, HostPortError> {
        if OTHER_NAME_PORTS.contains(&port) {
            return Err(HostPortError::OtherNames(port));
        }
        enter(&mut self.udp, port, to)?;
        Ok(self)
    }

    /// Those of TCP, then those of UDP, each by its port.
    #[cfg(feature = "cli")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Protocol, u16, HostTarget)> {
        let of = |protocol| move |(port, to): (&u16, &HostTarget)| (protocol, *port, *to);
        self.tcp.iter().map(of(Protocol::Tcp)).chain(self.udp.iter().map(of(Protocol::Udp)))
    }

    /// Those that lead to where a host's own resolver is asked, which no rule on names decides about.
    #[cfg(feature = "cli")]
    pub(crate) fn to_resolvers(&self) -> impl Iterator<Item = (Protocol, u16, HostTarget)> {
        self.iter().filter(|(_, _, to)| match to {
            HostTarget::Loopback(port) => [DNS_PORT, DNS_OVER_TLS_PORT].contains(port),
            HostTarget::Address(to) | HostTarget::DangerousElsewhere(to) => {
                [DNS_PORT, DNS_OVER_TLS_PORT].contains(&to.port())
            }
        })
    }

    /// Where this flow to the gateway is dialled.
    pub(crate) fn dialled(&self, flow: &Flow) -> SocketAddr {
        let port = flow.upstream.port();
        let led = [(Protocol::Tcp, &self.tcp), (Protocol::Udp, &self.udp)];
        let own = led.into_iter().find(|(protocol, _)| *protocol == flow.protocol);
        let found = own.and_then(|(_, ports)| ports.get(&port));
        match found.copied().unwrap_or(HostTarget::Loopback(port)) {
            HostTarget::Loopback(port) if flow.upstream.is_ipv4() => (Ipv4Addr::LOCALHOST, port).into(),
            HostTarget::Loopback(port) => (Ipv6Addr::LOCALHOST, port).into(),
            HostTarget::Address(address) | HostTarget::DangerousElsewhere(address) => address,
        }
    }
}

fn enter(ports: &mut BTreeMap<u16, HostTarget>, port: u16, to: HostTarget) -> Result<(), HostPortError> {
    let (host_port, address) = match to {
        HostTarget::Loopback(port) => (port, None),
        HostTarget::Address(address) => (address.port(), Some(address.ip())),
        HostTarget::DangerousElsewhere(address) => (address.port(), None),
    };
    if port == 0 || host_port == 0 {
        return Err(HostPortError::Zero);
    }
    if [DNS_PORT, DNS_OVER_TLS_PORT].contains(&port) {
        return Err(HostPortError::Names(port));
    }
    if let Some(address) = address.filter(|address| !address.is_loopback()) {
        return Err(HostPortError::NotLoopback(address));
    }
    if ports.contains_key(&port) {
        return Err(HostPortError::Taken(port));
    }
    ports.insert(port, to);
    Ok(())
}

impl fmt::Display for HostTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(port) => write!(f, "port {port} of this machine's loopback"),
            Self::Address(address) | Self::DangerousElsewhere(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_port_is_said() {
        let at = |address: &str| address.parse::<SocketAddr>().expect(address);
        let nowhere = at("192.0.2.7:9");
        let cases = [
            (0, HostTarget::Loopback(9), Err(HostPortError::Zero)),
            (9, HostTarget::Loopback(0), Err(HostPortError::Zero)),
            (9, HostTarget::Address(at("127.0.0.1:0")), Err(HostPortError::Zero)),
            (9, HostTarget::DangerousElsewhere(at("192.0.2.7:0")), Err(HostPortError::Zero)),
            (53, HostTarget::Loopback(9), Err(HostPortError::Names(53))),
            (853, HostTarget::Loopback(9), Err(HostPortError::Names(853))),
            (9, HostTarget::Address(nowhere), Err(HostPortError::NotLoopback(nowhere.ip()))),
            // What most systems take for the loopback where it is dialled.
            (9, HostTarget::Address(at("0.0.0.0:9")), Err(HostPortError::NotLoopback([0; 4].into()))),
            (7, HostTarget::Loopback(9), Err(HostPortError::Taken(7))),
            (9, HostTarget::Loopback(9), Ok(())),
            (9, HostTarget::Address(at("127.9.9.9:9")), Ok(())),
            (9, HostTarget::Address(at("[::1]:9")), Ok(())),
            (9, HostTarget::DangerousElsewhere(nowhere), Ok(())),
        ];
        for (port, to, expected) in cases {
            let own = || HostPorts::default().tcp(7, HostTarget::Loopback(1)).expect("a port");
            assert_eq!(own().tcp(port, to).map(drop), expected, "{port} {to}");
            // What is said of one protocol says nothing of the other.
            let expected = if expected == Err(HostPortError::Taken(7)) { Ok(()) } else { expected };
            assert_eq!(own().udp(port, to).map(drop), expected, "{port} {to} over UDP");
        }
    }

    #[test]
    fn a_port_whose_datagrams_go_nowhere_leads_nowhere_else() {
        for port in OTHER_NAME_PORTS {
            let to = HostTarget::Loopback(9);
            assert_eq!(HostPorts::default().udp(port, to), Err(HostPortError::OtherNames(port)));
            assert!(HostPorts::default().tcp(port, to).is_ok(), "{port}");
            assert!(HostPorts::default().udp(9, HostTarget::Loopback(port)).is_ok(), "{port}");
        }
    }

    #[test]
    fn a_port_leads_where_it_is_said_to_and_others_to_themselves() {
        let elsewhere: SocketAddr = ([192, 0, 2, 7], 5).into();
        let own = HostPorts::default()
            .tcp(80, HostTarget::Loopback(8080))
            .and_then(|own| own.udp(80, HostTarget::Address(([127, 0, 0, 2], 81).into())))
            .and_then(|own| own.tcp(90, HostTarget::DangerousElsewhere(elsewhere)))
            .expect("ports");
        const CASES: &[(Protocol, &str, &str)] = &[
            (Protocol::Tcp, "172.16.0.1:80", "127.0.0.1:8080"),
            (Protocol::Tcp, "[fd6e::1]:80", "[::1]:8080"),
            (Protocol::Udp, "172.16.0.1:80", "127.0.0.2:81"),
            (Protocol::Udp, "[fd6e::1]:80", "127.0.0.2:81"),
            (Protocol::Tcp, "[fd6e::1]:90", "192.0.2.7:5"),
            (Protocol::Udp, "172.16.0.1:90", "127.0.0.1:90"),
            (Protocol::Tcp, "[fd6e::1]:8080", "[::1]:8080"),
            // The identifier of an echo is no port.
            (Protocol::IcmpV4, "172.16.0.1:80", "127.0.0.1:80"),
        ];
        for (protocol, upstream, expected) in CASES {
            let guest = SocketAddr::from(([172, 16, 0, 2], 40_000));
            let flow = Flow { protocol: *protocol, guest, upstream: upstream.parse().expect(upstream) };
            assert_eq!(own.dialled(&flow).to_string(), *expected, "{protocol:?} {upstream}");
        }
    }
}
