use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use net_core::HostName;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::authority_key::AuthorityKey;

/// Whom a leaf certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeafSubject {
    /// A name.
    Name(HostName),
    /// An address, where the client named none.
    Address(IpAddr),
}

/// Why no leaf was minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MintError {
    /// The authority's own validity is over.
    #[error("the authority has expired")]
    AuthorityExpired,
    /// The name cannot be written into a certificate.
    #[error("the name does not fit a certificate")]
    Subject,
    /// The authority's certificate does not permit the subject.
    #[error("the authority's name constraints do not permit the name: it needs another authority")]
    NotPermitted,
    /// The crypto provider failed.
    #[error("the certificate could not be signed")]
    Crypto,
}

/// A leaf certificate with its key.
pub struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: Zeroizing<Vec<u8>>,
    /// When it stops being valid.
    pub not_after: SystemTime,
}

impl Leaf {
    /// The leaf and its issuer, in the order TLS sends them.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The leaf as rustls wants it.
    ///
    /// # Errors
    /// `Crypto`, when the provider does not take its own key back.
    pub fn certified_key(&self) -> Result<Arc<CertifiedKey>, MintError> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.as_slice()));
        let signer = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).map_err(|_| MintError::Crypto)?;
        Ok(Arc::new(CertifiedKey::new(self.chain.clone(), signer)))
    }
}

/// Signs a P-256 server certificate with everything strict verifiers look for.
pub(crate) fn sign(
    issuer: &Issuer<'_, AuthorityKey>,
    issuer_certificate: &CertificateDer<'static>,
    subject: &LeafSubject,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<Leaf, MintError> {
    let key = KeyPair::generate().map_err(|_| MintError::Crypto)?;
    let mut params = CertificateParams::default();
    // Names live in the SAN; a CN has room for 64 bytes only, and an empty subject would need a
    // critical SAN, which some clients do not read. No CN at all: a verifier may hold one against
    // the name constraints where the SAN has no name.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "net-engine leaf");
    params.subject_alt_names = vec![match subject {
        LeafSubject::Name(name) => {
            SanType::DnsName(name.as_str().try_into().map_err(|_| MintError::Subject)?)
        }
        LeafSubject::Address(address) => SanType::IpAddress(*address),
    }];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, not_before, not_after);
    params.serial_number = Some(crate::authority::random_serial().map_err(|_| MintError::Crypto)?);
    let signed = params.signed_by(&key, issuer).map_err(|_| MintError::Crypto)?;
    Ok(Leaf {
        chain: vec![signed.der().clone(), issuer_certificate.clone()],
        key: Zeroizing::new(key.serialize_der()),
        not_after,
    })
}

/// Whether a certificate can state the time (RFC 5280, section 4.1.2.5: years of four digits).
pub(crate) fn is_date(at: SystemTime) -> bool {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    at.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000)
}

/// Sets the validity; times before 1970 become 1970.
pub(crate) fn set_validity(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let date = |at: SystemTime| {
        let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + since_epoch
    };
    params.not_before = date(not_before);
    params.not_after = date(not_after);
}
