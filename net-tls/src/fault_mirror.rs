use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use net_core::HostName;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, OtherError};

use crate::upstream_verifier::NotPinned;
use crate::{Authority, AuthorityError, AuthorityParams, LeafSubject, MintError, NameConstraints};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A name nobody asks for (RFC 6761, section 6.4).
const WRONG_NAME: &str = "upstream-certificate-is-for-another-name.invalid";

/// Its first label, below a name that a constrained authority may sign for.
const WRONG_LABEL: &str = "upstream-certificate-is-for-another-name";

fn wrong_name(authority: &Authority) -> Result<HostName, MintError> {
    let parent = authority.certificate().constraints().and_then(NameConstraints::some_name);
    let below = parent.and_then(|parent| HostName::parse(&format!("{WRONG_LABEL}.{parent}")).ok());
    below.map_or_else(|| HostName::parse(WRONG_NAME).map_err(|_| MintError::Subject), Ok)
}

/// What is wrong with upstream's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpstreamFault {
    /// Its certificate has expired.
    Expired,
    /// Its certificate is not valid yet.
    NotYetValid,
    /// Its certificate is for another name.
    WrongName,
    /// Its certificate leads to nobody we trust.
    UnknownIssuer,
    /// Its certificate was revoked.
    Revoked,
    /// Its key is not one that is pinned.
    WrongKey,
    /// Its certificate is wrong in another way.
    BadCertificate,
    /// The handshake failed before or apart from the certificate.
    HandshakeFailed,
    /// The handshake took too long.
    TimedOut,
}

#[allow(clippy::wildcard_enum_match_arm, reason = "rustls may tell more faults apart than a guest can")]
impl From<&rustls::Error> for UpstreamFault {
    fn from(error: &rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(certificate) = error else { return Self::HandshakeFailed };
        match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::Other(OtherError(other)) if other.is::<NotPinned>() => Self::WrongKey,
            _ => Self::BadCertificate,
        }
    }
}

impl fmt::Display for UpstreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::WrongName => "its certificate is for another name",
            Self::UnknownIssuer => "its certificate leads to no trusted issuer",
            Self::Revoked => "its certificate was revoked",
            Self::WrongKey => "its key is not one that is pinned",
            Self::BadCertificate => "its certificate is invalid",
            Self::HandshakeFailed => "the handshake failed",
            Self::TimedOut => "the handshake took too long",
        })
    }
}

/// Makes leaves with upstream's fault, so that the guest's own verifier reports it.
///
/// A leaf whose dates or name are wrong is signed by the guest's authority: a verifier looks at
/// them only once it trusts the issuer. Every other fault is an issuer nobody trusts, made for the
/// purpose. Whatever the guest makes of it, the caller relays nothing.
pub struct FaultMirror {
    stranger: Authority,
}

impl FaultMirror {
    /// Makes the issuer nobody trusts.
    ///
    /// # Errors
    /// `Crypto`.
    pub fn generate(now: SystemTime) -> Result<Self, AuthorityError> {
        let params = AuthorityParams::named("upstream's issuer, which is not trusted");
        Ok(Self { stranger: Authority::generate(&params, now)? })
    }

    /// A leaf for `subject` with `fault`.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn leaf(
        &self,
        authority: &Authority,
        subject: &LeafSubject,
        fault: UpstreamFault,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, MintError> {
        let leaf = match fault {
            UpstreamFault::Expired => authority.mint_valid(subject, now - 48 * HOUR, now - 24 * HOUR)?,
            UpstreamFault::NotYetValid => authority.mint_valid(subject, now + 24 * HOUR, now + 48 * HOUR)?,
            UpstreamFault::WrongName => {
                let wrong = LeafSubject::Name(wrong_name(authority)?);
                match authority.mint(&wrong, now) {
                    // A constrained authority without a name to spare: refused too, in other words.
                    Err(MintError::NotPermitted) => self.stranger.mint(&wrong, now)?,
                    minted => minted?,
                }
            }
            UpstreamFault::UnknownIssuer
            | UpstreamFault::Revoked
            | UpstreamFault::WrongKey
            | UpstreamFault::BadCertificate
            | UpstreamFault::HandshakeFailed
            | UpstreamFault::TimedOut => self.stranger.mint(subject, now)?,
        };
        leaf.certified_key()
    }
}
