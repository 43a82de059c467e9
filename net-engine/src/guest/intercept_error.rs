use std::fmt;
use std::io;

use net_core::Fault;
use rustls::AlertDescription;
use thiserror::Error;

use super::{ACCESS_DENIED, DialError};

/// Why a stream that was to be looked into ended.
///
/// Each has one reply on the wire: an alert (see [`InterceptError::alert`]), an answer of HTTP, or a
/// reset.
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
    /// The guest hides a name behind the one it shows, or may do so
    /// ([`Interception::refuse_ech`](crate::Interception::refuse_ech)).
    #[error("the guest's hello has an encrypted one inside: turn ech off in the guest, or refuse_ech")]
    EncryptedHello,
    /// The guest ended the connection first.
    #[error("the guest closed the connection before the first flight was complete")]
    GuestClosed,
    /// The guest did not finish its TLS handshake within
    /// [`Limits::guest_handshake_timeout`](net_core::Limits::guest_handshake_timeout).
    #[error("the guest did not finish its tls handshake in time")]
    HandshakeTimeout,
    /// The guest ended its TLS handshake: most often it does not trust the authority.
    #[error("the guest refused the tls handshake: {0}")]
    HandshakeRefused(GuestAlert),
    /// Upstream was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Upstream's TLS handshake or certificate failed.
    #[error("upstream tls failed: {0}")]
    UpstreamTls(net_tls::UpstreamFault),
    /// A request would have carried a placeholder where it may not go.
    #[error("a secret's placeholder was on its way where it may not go")]
    Violation,
    /// What is inside of TLS must be HTTP, and is not.
    #[error("what is inside of tls is no http: `inner = \"opaque\"` on its rule would have it passed on")]
    NotHttp,
    /// Upstream does not speak HTTP.
    #[error("upstream did not speak http")]
    UpstreamHttp,
    /// No certificate could be minted for the name.
    #[error("no certificate could be minted")]
    Mint,
    /// The guest asks for more new names than may wait:
    /// [`Limits::max_leaf_wait`](net_core::Limits::max_leaf_wait).
    #[error("the guest asks for certificates of too many names at once")]
    MintLimit,
    /// The authority's name constraints do not permit the name: the policy has grown since it was made,
    /// or the stream shows a name no rule is about.
    #[error(
        "the authority is not permitted to sign for the name: it needs a new one, or name_constraints off"
    )]
    NeedsNewAuthority,
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
            Self::EncryptedHello => "EncryptedHello",
            Self::GuestClosed => "GuestClosed",
            Self::HandshakeTimeout => "HandshakeTimeout",
            Self::HandshakeRefused(_) => "HandshakeRefused",
            Self::Dial(_) => "Dial",
            Self::UpstreamTls(_) => "UpstreamTls",
            Self::Violation => "Violation",
            Self::NotHttp => "NotHttp",
            Self::UpstreamHttp => "UpstreamHttp",
            Self::Mint => "Mint",
            Self::MintLimit => "MintLimit",
            Self::NeedsNewAuthority => "NeedsNewAuthority",
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
            | Self::EncryptedHello
            | Self::GuestClosed
            | Self::HandshakeTimeout
            | Self::HandshakeRefused(_)
            | Self::Violation
            | Self::NotHttp
            | Self::MintLimit => Fault::Guest,
            Self::Dial(error) => error.fault(),
            Self::UpstreamTls(_) | Self::UpstreamHttp => Fault::Upstream,
            Self::NeedsNewAuthority => Fault::Host,
            Self::Mint => Fault::Internal,
        }
    }

    /// The TLS alert a guest gets that has sent its ClientHello and no more, or that has finished its
    /// handshake while upstream's went on (RFC 8446, section 6.2). Without one the stream is reset, or was
    /// over before.
    pub fn alert(&self) -> Option<u8> {
        match self {
            Self::NoName | Self::InvalidName | Self::NeedsNewAuthority => Some(112), // unrecognized_name
            Self::EncryptedHello => Some(ACCESS_DENIED),
            Self::HelloTooLarge => Some(50),          // decode_error
            Self::Mint | Self::MintLimit => Some(80), // internal_error
            Self::UpstreamTls(_) => Some(40),         // handshake_failure
            Self::HelloTimeout
            | Self::NotTls
            | Self::GuestClosed
            | Self::HandshakeTimeout
            | Self::HandshakeRefused(_)
            | Self::Dial(_)
            | Self::Violation
            | Self::NotHttp
            | Self::UpstreamHttp => None,
        }
    }
}

/// What a guest said when it ended its TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestAlert(Option<u8>);

impl GuestAlert {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => Self(Some(u8::from(*alert))),
            _ => Self(None),
        }
    }

    /// The alert (RFC 8446, section 6.2); `None` for a guest that closed the connection or broke the
    /// protocol.
    pub fn description(self) -> Option<u8> {
        self.0
    }
}

impl fmt::Display for GuestAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // bad_certificate, certificate_unknown and unknown_ca: what verifiers say that do not know
        // the issuer.
        match self.0 {
            Some(42 | 46 | 48) => {
                f.write_str("it does not trust the certificate: install the authority in it, or bypass the name")
            }
            Some(alert) => write!(f, "alert {:?}", AlertDescription::from(alert)),
            // What some clients do that do not know the issuer, and what a pin looks like.
            None => f.write_str(
                "it sent no alert: if it does not trust the certificate, install the authority in it, or bypass the name",
            ),
        }
    }
}
