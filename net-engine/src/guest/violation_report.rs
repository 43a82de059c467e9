use std::fmt;

use net_core::{Flow, HostName};
use net_secrets::Violation;

use super::event::Target;

/// Where a placeholder was found that may not go where it was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeakPlace {
    /// The target or a header of a request.
    Head,
    /// The body or the trailers of a request.
    Body,
    /// A message of a WebSocket.
    WebSocket,
    /// A stream of another protocol, or after HTTP was left.
    Stream,
    /// A datagram.
    Datagram,
    /// An echo request.
    Echo,
    /// The name that TLS or QUIC shows.
    ServerName,
    /// A name that was to be resolved.
    DnsName,
}

/// A violation, where it was found and towards whom. `Display` is one readable line, without the placeholder and
/// without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViolationReport {
    /// Which secret, and what is wrong.
    pub violation: Violation,
    /// Where.
    pub place: LeakPlace,
    /// The flow; none for a name that was to be resolved.
    pub flow: Option<Flow>,
    /// The name it was for, where one is known and holds no placeholder itself.
    pub name: Option<HostName>,
}

impl fmt::Display for LeakPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the head of a request",
            Self::Body => "the body of a request",
            Self::WebSocket => "a WebSocket message",
            Self::Stream => "a stream",
            Self::Datagram => "a datagram",
            Self::Echo => "an echo request",
            Self::ServerName => "a server name",
            Self::DnsName => "a name to be resolved",
        })
    }
}

impl fmt::Display for ViolationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { violation, place, flow, name } = self;
        write!(f, "{violation}: in {place}")?;
        match flow {
            Some(flow) => write!(f, " to {}", Target(flow, name.as_ref(), None)),
            None => Ok(()),
        }
    }
}
