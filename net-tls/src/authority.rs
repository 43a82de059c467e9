use std::fmt;
use std::time::{Duration, SystemTime};

use pem::Pem;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::leaf::{self, Leaf, LeafSubject, MintError};

const PKCS8_LABEL: &str = "PRIVATE KEY";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a generated authority is called and how long it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorityParams {
    /// The common name of its subject.
    pub common_name: String,
    /// How long before `now` it is valid: room for a guest whose clock is slow.
    pub backdate: Duration,
    /// How long after `now` it is valid.
    pub lifetime: Duration,
}

impl Default for AuthorityParams {
    fn default() -> Self {
        Self {
            common_name: "net-engine sandbox authority".to_owned(),
            backdate: 48 * HOUR,
            lifetime: 30 * DAY,
        }
    }
}

impl AuthorityParams {
    /// The default life under another common name.
    pub fn named(common_name: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), ..Self::default() }
    }
}

/// Why there is no authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The certificate is no PEM certificate.
    #[error("the certificate is not a pem certificate")]
    Certificate,
    /// The key is no PEM private key of a supported kind.
    #[error("the key is not a supported pem private key")]
    Key,
    /// The key does not belong to the certificate.
    #[error("the key does not belong to the certificate")]
    Mismatch,
    /// The certificate may not sign others: not a CA, or without keyCertSign.
    #[error("the certificate is not one of a certificate authority")]
    NotAuthority,
    /// The certificate is not valid now.
    #[error("the certificate is expired or not valid yet")]
    NotValidNow,
    /// The life asked for begins before any time, or ends after the year 9999.
    #[error("the lifetime is out of range")]
    Lifetime,
    /// The crypto provider failed.
    #[error("the key or certificate could not be made")]
    Crypto,
}

/// The authority that signs what guests are shown. It alone holds its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    /// What the key's encoding is called in PEM (RFC 7468, section 10; RFC 5915, section 4).
    key_label: &'static str,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Authority {
    /// Makes a new authority with a P-256 key: path length 0, for signing certificates only.
    ///
    /// # Errors
    /// `Lifetime` and `Crypto`.
    pub fn generate(params: &AuthorityParams, now: SystemTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(|_| AuthorityError::Crypto)?;
        let not_before = now.checked_sub(params.backdate).ok_or(AuthorityError::Lifetime)?;
        let not_after = now.checked_add(params.lifetime).filter(|at| leaf::is_date(*at));
        let not_after = not_after.ok_or(AuthorityError::Lifetime)?;
        let mut certificate = CertificateParams::default();
        certificate.distinguished_name = DistinguishedName::new();
        certificate.distinguished_name.push(DnType::CommonName, params.common_name.as_str());
        certificate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        certificate.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        leaf::set_validity(&mut certificate, not_before, not_after);
        certificate.serial_number = Some(random_serial()?);
        let signed = certificate.self_signed(&key).map_err(|_| AuthorityError::Crypto)?;
        Ok(Self {
            certificate_pem: signed.pem(),
            certificate: signed.der().clone(),
            issuer: Issuer::new(certificate, key),
            key_label: PKCS8_LABEL,
            not_before,
            not_after,
        })
    }

    /// Takes an authority the owner brings: one certificate and its key, both PEM.
    ///
    /// # Errors
    /// Every variant of [`AuthorityError`] but `Lifetime` and `Crypto`. There is no fallback.
    pub fn from_pem(certificate_pem: &str, key_pem: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let mut parsed =
            crate::parse_ca_pem(certificate_pem.as_bytes()).map_err(|_| AuthorityError::Certificate)?;
        if parsed.len() != 1 {
            return Err(AuthorityError::Certificate);
        }
        let der = parsed.remove(0);
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| AuthorityError::Key)?;
        let key_label = match key {
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Pkcs8(_) => PKCS8_LABEL,
            _ => return Err(AuthorityError::Key),
        };
        let key = KeyPair::try_from(&key).map_err(|_| AuthorityError::Key)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| AuthorityError::Certificate)?;
        if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(AuthorityError::Mismatch);
        }
        let may_sign = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !certificate.is_ca() || !may_sign {
            return Err(AuthorityError::NotAuthority);
        }
        let at = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        let validity = certificate.validity();
        let (not_before, not_after) =
            (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
        if now < not_before || now >= not_after {
            return Err(AuthorityError::NotValidNow);
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| AuthorityError::Certificate)?;
        // Written anew: the owner's text may hold the key as well, and this one goes to the guest.
        let certificate_pem = pem::encode(&Pem::new("CERTIFICATE", der.to_vec()));
        let certificate = der.into_owned();
        Ok(Self { issuer, certificate_pem, certificate, key_label, not_before, not_after })
    }

    /// The certificate, for the guest to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The certificate in DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key, for the owner to keep; zeroed when dropped.
    pub fn key_pem(&self) -> Zeroizing<String> {
        let key = Pem::new(self.key_label, self.issuer.key().serialize_der());
        Zeroizing::new(pem::encode(&key))
    }

    /// Signs a certificate for `subject`: valid from 24 hours ago to 24 hours ahead, within the
    /// authority's own life.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, subject: &LeafSubject, now: SystemTime) -> Result<Leaf, MintError> {
        let not_before = (now - DAY).max(self.not_before);
        let not_after = (now + DAY).min(self.not_after);
        if not_before >= not_after {
            return Err(MintError::AuthorityExpired);
        }
        self.mint_valid(subject, not_before, not_after)
    }

    pub(crate) fn mint_valid(
        &self,
        subject: &LeafSubject,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<Leaf, MintError> {
        leaf::sign(&self.issuer, &self.certificate, subject, not_before, not_after)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// 128 random bits; the first is cleared, since a serial is a positive number (RFC 5280, 4.1.2.2).
pub(crate) fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    crate::provider::provider().secure_random.fill(&mut bytes).map_err(|_| AuthorityError::Crypto)?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}
