use std::fmt;
use std::net::SocketAddr;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The guest's end.
    pub guest: SocketAddr,
    /// The far end, as the guest addressed it.
    pub upstream: SocketAddr,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.protocol, self.guest, self.upstream)
    }
}
