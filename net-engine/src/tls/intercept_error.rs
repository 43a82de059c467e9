use net_core::Fault;
use thiserror::Error;

use crate::shell::DialError;

/// Why a stream that was to be looked into ended.
///
/// Each has one reply on the wire: an alert (see [`InterceptError::alert`]) or a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InterceptError {
    /// The first flight did not come within [`Limits::hello_timeout`](net_core::Limits::hello_timeout).
    #[error("the guest sent no complete first flight in time")]
    HelloTimeout,
    /// The first flight is longer than [`Limits::max_hello_bytes`](net_core::Limits::max_hello_bytes).
    #[error("the guest's first flight is too large")]
    HelloTooLarge,
    /// The stream must be TLS or HTTP to be allowed, and is neither.
    #[error("the stream is neither tls nor http, and its rule rests on a name")]
    NotTls,
    /// Only a name could allow the stream, and none was shown.
    #[error("the guest showed no name, and only a name could allow the stream")]
    NoName,
    /// The name shown is no host name.
    #[error("the guest showed an invalid name")]
    InvalidName,
    /// The guest ended the connection first.
    #[error("the guest closed the connection before the first flight was complete")]
    GuestClosed,
    /// The guest did not finish its TLS handshake, in time or at all.
    #[error("the tls handshake with the guest failed")]
    HandshakeTimeout,
    /// Upstream was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Upstream's TLS handshake or certificate failed.
    #[error("upstream tls failed: {0}")]
    UpstreamTls(net_tls::UpstreamFault),
    /// A request would have carried a placeholder where it may not go.
    #[error("a secret's placeholder was on its way where it may not go")]
    Violation,
    /// Upstream does not speak HTTP.
    #[error("upstream did not speak http")]
    UpstreamHttp,
    /// No certificate could be minted for the name.
    #[error("no certificate could be minted")]
    Mint,
}

impl InterceptError {
    /// The variant's name: the word that logs and metrics know the error by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HelloTimeout => "HelloTimeout",
            Self::HelloTooLarge => "HelloTooLarge",
            Self::NotTls => "NotTls",
            Self::NoName => "NoName",
            Self::InvalidName => "InvalidName",
            Self::GuestClosed => "GuestClosed",
            Self::HandshakeTimeout => "HandshakeTimeout",
            Self::Dial(_) => "Dial",
            Self::UpstreamTls(_) => "UpstreamTls",
            Self::Violation => "Violation",
            Self::UpstreamHttp => "UpstreamHttp",
            Self::Mint => "Mint",
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::HelloTimeout
            | Self::HelloTooLarge
            | Self::NotTls
            | Self::NoName
            | Self::InvalidName
            | Self::GuestClosed
            | Self::HandshakeTimeout
            | Self::Violation => Fault::Guest,
            Self::Dial(error) => error.fault(),
            Self::UpstreamTls(_) | Self::UpstreamHttp => Fault::Upstream,
            Self::Mint => Fault::Internal,
        }
    }

    /// The TLS alert the guest gets where it has begun TLS (RFC 8446, section 6.2); a reset
    /// follows in any case.
    pub fn alert(&self) -> Option<u8> {
        match self {
            Self::NoName | Self::InvalidName => Some(112), // unrecognized_name
            Self::HelloTooLarge => Some(50),               // decode_error
            Self::Violation => Some(49),                   // access_denied
            Self::Mint => Some(80),                        // internal_error
            Self::UpstreamTls(_) => Some(40),              // handshake_failure
            Self::HelloTimeout
            | Self::NotTls
            | Self::GuestClosed
            | Self::HandshakeTimeout
            | Self::Dial(_)
            | Self::UpstreamHttp => None,
        }
    }
}
