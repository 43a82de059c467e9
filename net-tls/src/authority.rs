use std::fmt;
use std::time::{Duration, SystemTime};

use pem::Pem;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::{Zeroize as _, Zeroizing};

use crate::authority_key::AuthorityKey;
use crate::leaf::{self, Leaf, LeafSubject, MintError};
use crate::{AuthorityCertificate, AuthorityError, NameConstraints};

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
    /// What it may sign for; `None` for everything.
    pub constraints: Option<NameConstraints>,
}

impl Default for AuthorityParams {
    fn default() -> Self {
        Self {
            common_name: "net-engine sandbox authority".to_owned(),
            backdate: 48 * HOUR,
            lifetime: 30 * DAY,
            constraints: None,
        }
    }
}

impl AuthorityParams {
    /// The default life under another common name.
    pub fn named(common_name: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), ..Self::default() }
    }
}

/// The authority that signs what guests are shown. It alone holds its key.
pub struct Authority {
    issuer: Issuer<'static, AuthorityKey>,
    certificate: AuthorityCertificate,
    /// What the key's encoding is called in PEM (RFC 7468, section 10; RFC 5915, section 4).
    key_label: &'static str,
}

impl Authority {
    /// Makes a new authority with a P-256 key: path length 0, for signing certificates only.
    ///
    /// # Errors
    /// `Lifetime` and `Crypto`.
    pub fn generate(params: &AuthorityParams, now: SystemTime) -> Result<Self, AuthorityError> {
        let key = AuthorityKey::new(KeyPair::generate().map_err(|_| AuthorityError::Crypto)?);
        let not_before = now.checked_sub(params.backdate).ok_or(AuthorityError::Lifetime)?;
        let not_after = now.checked_add(params.lifetime).filter(|at| leaf::is_date(*at));
        let not_after = not_after.ok_or(AuthorityError::Lifetime)?;
        let mut certificate = CertificateParams::default();
        certificate.distinguished_name = DistinguishedName::new();
        certificate.distinguished_name.push(DnType::CommonName, params.common_name.as_str());
        certificate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        certificate.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        certificate.use_authority_key_identifier_extension = true;
        certificate.name_constraints = params.constraints.as_ref().map(NameConstraints::to_rcgen);
        leaf::set_validity(&mut certificate, not_before, not_after);
        certificate.serial_number = Some(random_serial()?);
        let signed = certificate.self_signed(&key).map_err(|_| AuthorityError::Crypto)?;
        Ok(Self {
            // What it says of itself is read from it, as a verifier will.
            certificate: AuthorityCertificate::from_der(signed.der().clone(), now)?,
            issuer: Issuer::new(certificate, key),
            key_label: PKCS8_LABEL,
        })
    }

    /// Takes an authority the owner brings: one certificate and its key, both PEM.
    ///
    /// # Errors
    /// Every variant of [`AuthorityError`] but `Lifetime`, `TooManySubtrees` and `Crypto`. There is
    /// no fallback.
    pub fn from_pem(certificate_pem: &str, key_pem: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let certificate = AuthorityCertificate::from_pem(certificate_pem, now)?;
        let key = match PrivateKeyDer::from_pem_slice(key_pem.as_bytes()) {
            // RFC 1421, section 4.6.1.1, which OpenSSL still writes, and RFC 7468, section 11.
            _ if key_pem.contains("Proc-Type: 4,ENCRYPTED") => return Err(AuthorityError::EncryptedKey),
            Err(_) if key_pem.contains("BEGIN ENCRYPTED PRIVATE KEY") => {
                return Err(AuthorityError::EncryptedKey);
            }
            Err(_) => return Err(AuthorityError::Key),
            Ok(key) => key,
        };
        let key_label = match key {
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Pkcs8(_) => PKCS8_LABEL,
            _ => return Err(AuthorityError::Key),
        };
        let pair = KeyPair::try_from(&key).map(AuthorityKey::new);
        let mut key = key;
        key.zeroize();
        let key = pair.map_err(|_| AuthorityError::Key)?;
        if !certificate.has_key(key.der_bytes()) {
            return Err(AuthorityError::Mismatch);
        }
        let issuer =
            Issuer::from_ca_cert_der(certificate.der(), key).map_err(|_| AuthorityError::Certificate)?;
        Ok(Self { issuer, certificate, key_label })
    }

    /// The certificate, and what it says.
    pub fn certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// The certificate, for the guest to trust.
    pub fn certificate_pem(&self) -> &str {
        self.certificate.pem()
    }

    /// The certificate in DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// The key, for the owner to keep; zeroed when dropped.
    pub fn key_pem(&self) -> Zeroizing<String> {
        let mut der = self.issuer.key().to_der();
        let key = Pem::new(self.key_label, std::mem::take(&mut *der));
        let text = Zeroizing::new(pem::encode(&key));
        drop(Zeroizing::new(key.into_contents()));
        text
    }

    /// Signs a certificate for `subject`: valid from 24 hours ago to 24 hours ahead, within the
    /// authority's own life.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, subject: &LeafSubject, now: SystemTime) -> Result<Leaf, MintError> {
        let not_before = (now - DAY).max(self.certificate.not_before());
        let not_after = (now + DAY).min(self.certificate.not_after());
        if now >= self.certificate.not_after() || not_before >= not_after {
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
        if !self.certificate.permits(subject) {
            return Err(MintError::NotPermitted);
        }
        leaf::sign(&self.issuer, self.certificate.der(), subject, not_before, not_after)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate.fingerprint())
            .finish_non_exhaustive()
    }
}

/// 128 random bits; the first is cleared, since a serial is a positive number (RFC 5280, 4.1.2.2).
pub(crate) fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    crate::provider::provider().secure_random.fill(&mut bytes).map_err(|_| AuthorityError::Crypto)?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}
