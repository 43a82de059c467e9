use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// The protocols a policy can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 792.
    IcmpV4,
    /// RFC 4443.
    IcmpV6,
}

impl Protocol {
    /// Every protocol, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::IcmpV4, Self::IcmpV6];

    /// The name used in rules and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::IcmpV4 => "icmpv4",
            Self::IcmpV6 => "icmpv6",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which side opened a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the guest towards the network.
    Egress,
    /// From the network towards the guest.
    Ingress,
}

impl Direction {
    /// The name used in rules and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A 5-tuple as the guest sees it.
///
/// `upstream` is the address the guest used, before a host alias or a virtual address is
/// translated; for ICMP echo both ports are the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The guest's end.
    pub guest: SocketAddr,
    /// The far end, as the guest addressed it.
    pub upstream: SocketAddr,
}

/// In one piece, unlike a derived one: each segment of a guest is looked up by its flow.
impl Hash for Flow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let ports = [self.guest.port(), self.upstream.port()].map(u16::to_be_bytes);
        let mut packed = [0; 37];
        let (guest, rest) = packed.split_at_mut(16);
        let (upstream, rest) = rest.split_at_mut(16);
        guest.copy_from_slice(&octets(self.guest.ip()).to_be_bytes());
        upstream.copy_from_slice(&octets(self.upstream.ip()).to_be_bytes());
        rest.copy_from_slice(&[ports[0][0], ports[0][1], ports[1][0], ports[1][1], self.protocol as u8]);
        state.write(&packed);
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.protocol, self.guest, self.upstream)
    }
}
