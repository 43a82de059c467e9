use std::fmt;
use std::net::SocketAddr;

use net_core::HostName;

use super::connect::Connect;
use super::socks::Socks;
use super::{ProxyCredentials, ProxyError, ProxyScheme, Secret};

/// Where a proxy is to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyTarget<'t> {
    /// What it resolves itself.
    Name(&'t HostName, u16),
    Address(SocketAddr),
}

impl fmt::Display for ProxyTarget<'_> {
    /// As an authority (RFC 3986, section 3.2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// What is said to a proxy, as a value: [`opening`](Self::opening) is sent, then
/// [`handle`](Self::handle) is fed with what has come until it is done.
pub(super) enum Dialogue {
    Socks(Socks),
    Connect(Connect),
}

/// How a dialogue goes on.
#[must_use]
pub(super) enum Step {
    /// With more bytes than these.
    Partial,
    /// So many bytes were read, and these are to be sent.
    Say { consumed: usize, bytes: Secret },
    /// So many bytes were read; what follows them is upstream's.
    Connected { consumed: usize },
}

impl Dialogue {
    pub(super) fn new(
        scheme: ProxyScheme,
        target: ProxyTarget<'_>,
        credentials: Option<&ProxyCredentials>,
    ) -> Self {
        match scheme {
            ProxyScheme::Socks5 | ProxyScheme::Socks5h => Self::Socks(Socks::new(target, credentials)),
            ProxyScheme::Http | ProxyScheme::Https => Self::Connect(Connect::new(target, credentials)),
        }
    }

    /// What is said first.
    pub(super) fn opening(&self) -> Secret {
        match self {
            Self::Socks(socks) => socks.opening(),
            Self::Connect(connect) => connect.opening(),
        }
    }

    /// Reads what has come since the last bytes that were consumed, and is given the same ones again with more
    /// behind them where it wants more. What it has is bounded: by 257 bytes, or by
    /// [`MAX_REPLY_BYTES`](super::connect::MAX_REPLY_BYTES).
    ///
    /// # Errors
    /// [`ProxyError`]: there is no connection, and the dialogue is over.
    pub(super) fn handle(&mut self, received: &[u8]) -> Result<Step, ProxyError> {
        match self {
            Self::Socks(socks) => socks.handle(received),
            Self::Connect(connect) => connect.handle(received),
        }
    }
}
