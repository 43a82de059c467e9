use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use net_core::Fault;
use thiserror::Error;
use tokio::net::{TcpSocket, TcpStream};

use crate::core::{Refusal, Unreachable};

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
    /// The host lets this process ask nobody for an echo: `net.ipv4.ping_group_range` leaves its group out.
    #[error("this host lets nobody ping: put the engine's group into net.ipv4.ping_group_range")]
    EchoForbidden,
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
            Self::EchoForbidden | Self::Host(_) => Fault::Host,
        }
    }

    /// What the guest is told, so that it sees what it would have seen without us.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Refused | Self::EchoForbidden | Self::Host(_) => Refusal::Reset,
            Self::NetworkUnreachable => Refusal::Unreachable(Unreachable::Network),
            Self::HostUnreachable => Refusal::Unreachable(Unreachable::Host),
            Self::TimedOut => Refusal::Silence,
        }
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
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A peer that vanished without a word is noticed by the kernel, not by the idle timeout alone.
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    match tokio::time::timeout(timeout, socket.connect(address)).await {
        Ok(connected) => Ok(connected?),
        Err(_elapsed) => Err(DialError::TimedOut),
    }
}
