use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use net_core::Fault;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::core::{Refusal, Unreachable};
use crate::proxy::{ProxyError, connect_tcp};

/// Why upstream was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialError {
    /// Upstream answered with RST.
    #[error("upstream refused the connection")]
    Refused,
    /// No route to the network.
    #[error("upstream's network is unreachable")]
    NetworkUnreachable,
    /// No answer to address resolution, or an ICMP error.
    #[error("upstream is unreachable")]
    HostUnreachable,
    /// Nothing came back within [`Limits::connect_timeout`](net_core::Limits::connect_timeout).
    #[error("upstream did not answer")]
    TimedOut,
    /// The host lets this process ask nobody for an echo: `net.ipv4.ping_group_range` leaves its group out, and it has
    /// no CAP_NET_RAW.
    #[error(
        "this host does not let the engine ping: put its group into net.ipv4.ping_group_range, or give it CAP_NET_RAW"
    )]
    EchoForbidden,
    /// The policy does not allow it, now that it is to be dialled.
    #[error("the policy does not allow it any more")]
    Denied,
    /// A proxy did not connect.
    #[error("by its proxy: {0}")]
    Proxy(ProxyError),
    /// The host ran out of something, or forbids the connection.
    #[error("this host could not dial: {0}")]
    Host(io::ErrorKind),
}

impl DialError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused | Self::NetworkUnreachable | Self::HostUnreachable | Self::TimedOut => {
                Fault::Upstream
            }
            Self::Proxy(_) => Fault::Upstream,
            Self::Denied => Fault::Guest,
            Self::EchoForbidden | Self::Host(_) => Fault::Host,
        }
    }

    /// What the guest is told, so that it sees what it would have seen without us.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Refused | Self::Denied | Self::EchoForbidden | Self::Host(_) => Refusal::Reset,
            Self::NetworkUnreachable => Refusal::Unreachable(Unreachable::Network),
            Self::HostUnreachable => Refusal::Unreachable(Unreachable::Host),
            Self::TimedOut => Refusal::Silence,
            Self::Proxy(error) => refusal_by_proxy(error),
        }
    }
}

/// What a guest is told that knows of no proxy: what it would have seen had it been told by the network.
#[allow(clippy::wildcard_enum_match_arm, reason = "every other error is the proxy's own")]
fn refusal_by_proxy(error: ProxyError) -> Refusal {
    match error {
        ProxyError::TimedOut | ProxyError::Http(504) => Refusal::Silence,
        ProxyError::Unreached(_) | ProxyError::Socks(3) => Refusal::Unreachable(Unreachable::Network),
        ProxyError::Socks(5) => Refusal::Reset,
        ProxyError::Socks(2 | 7 | 8)
        | ProxyError::Http(400..500)
        | ProxyError::CredentialsWanted
        | ProxyError::CredentialsRefused
        | ProxyError::Unknown => Refusal::Unreachable(Unreachable::Prohibited),
        _ => Refusal::Unreachable(Unreachable::Host),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other error is this host's")]
impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Self::Refused,
            io::ErrorKind::NetworkUnreachable => Self::NetworkUnreachable,
            io::ErrorKind::HostUnreachable => Self::HostUnreachable,
            io::ErrorKind::TimedOut => Self::TimedOut,
            kind => Self::Host(kind),
        }
    }
}

/// Connects to `address`.
///
/// # Errors
/// [`DialError`]; `TimedOut` after `timeout`.
pub(crate) async fn dial(address: SocketAddr, timeout: Duration) -> Result<TcpStream, DialError> {
    Ok(connect_tcp(address, timeout).await?)
}
