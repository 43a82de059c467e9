use std::time::{Duration, SystemTime};

use pem::Pem;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::{AuthorityError, LeafSubject, NameConstraints};

/// Clients refuse RSA keys that are shorter.
const MIN_RSA_BITS: usize = 2_048;

/// The public half of an authority: a certificate that may sign others, and was valid when it was
/// read.
#[derive(Clone, Debug)]
pub struct AuthorityCertificate {
    der: CertificateDer<'static>,
    pem: String,
    subject: String,
    public_key: Vec<u8>,
    not_before: SystemTime,
    not_after: SystemTime,
    constraints: Option<NameConstraints>,
}

impl AuthorityCertificate {
    /// Reads one PEM certificate. Other PEM sections, such as its key, are passed over.
    ///
    /// # Errors
    /// Those of [`AuthorityError`] that name the certificate, `WeakKey` and `Constraints`.
    pub fn from_pem(pem: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let mut parsed = crate::parse_ca_pem(pem.as_bytes()).map_err(|_| AuthorityError::Certificate)?;
        if parsed.len() > 1 {
            return Err(AuthorityError::SeveralCertificates);
        }
        Self::from_der(parsed.pop().ok_or(AuthorityError::Certificate)?, now)
    }

    pub(crate) fn from_der(der: CertificateDer<'static>, now: SystemTime) -> Result<Self, AuthorityError> {
        let (rest, certificate) = X509Certificate::from_der(&der).map_err(|_| AuthorityError::Certificate)?;
        if !rest.is_empty() {
            return Err(AuthorityError::Certificate);
        }
        check_key(certificate.public_key())?;
        let may_sign = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !certificate.is_ca() || !may_sign {
            return Err(AuthorityError::NotAuthority);
        }
        let at = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        let validity = certificate.validity();
        let not_before = at(validity.not_before.timestamp());
        let not_after = at(validity.not_after.timestamp());
        if now < not_before {
            return Err(AuthorityError::NotValidYet);
        }
        if now >= not_after {
            return Err(AuthorityError::Expired);
        }
        if !certificate.subject().iter_attributes().all(|attribute| is_writable(attribute.attr_type())) {
            return Err(AuthorityError::Subject);
        }
        let constraints = NameConstraints::of(&certificate)?;
        let subject = certificate.subject().to_string();
        let public_key = certificate.public_key().subject_public_key.data.to_vec();
        // Written anew: the owner's text may hold the key as well, and this one goes to the guest.
        let pem = pem::encode(&Pem::new("CERTIFICATE", der.to_vec()));
        Ok(Self { pem, subject, public_key, not_before, not_after, constraints, der })
    }

    /// The certificate, for the guest to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Its subject, readable.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The SHA-256 of its DER, as pairs of hex digits with colons between them.
    pub fn fingerprint(&self) -> String {
        let pairs: Vec<String> = Sha256::digest(&self.der).iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    /// When its validity begins.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When its validity ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// When it needs a successor: a day before its end, with which its leaves end too.
    pub fn renew_at(&self) -> SystemTime {
        const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
        self.not_after.checked_sub(AHEAD).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// What it may sign for; `None` for everything.
    pub fn constraints(&self) -> Option<&NameConstraints> {
        self.constraints.as_ref()
    }

    /// Whether it may sign for `subject`.
    pub fn permits(&self, subject: &LeafSubject) -> bool {
        self.constraints.as_ref().is_none_or(|constraints| constraints.permits(subject))
    }

    pub(crate) fn has_key(&self, public_key: &[u8]) -> bool {
        self.public_key == public_key
    }
}

/// Whether an object identifier can be written again as it was read: the first of its numbers is 0, 1 or 2, and
/// under the first two there are forty (X.690, section 8.19.4). Its reader takes what lies above for others.
fn is_writable(kind: &Oid<'_>) -> bool {
    let numbers: Option<Vec<u64>> = kind.iter().map(Iterator::collect);
    match numbers.as_deref() {
        Some([0 | 1, second, ..]) => *second < 40,
        Some([2, second, ..]) => *second < 40,
        Some(_) | None => false,
    }
}

fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), AuthorityError> {
    const CURVES: [Oid<'_>; 3] = [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521];
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if rsa.key_size() >= MIN_RSA_BITS => Ok(()),
            Ok(PublicKey::RSA(_)) => Err(AuthorityError::WeakKey),
            Ok(_) | Err(_) => Err(AuthorityError::Certificate),
        };
    }
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let is_known = curve.is_some_and(|curve| CURVES.contains(&curve));
        return if is_known { Ok(()) } else { Err(AuthorityError::UnsupportedKey) };
    }
    if *algorithm == OID_SIG_ED25519 { Ok(()) } else { Err(AuthorityError::UnsupportedKey) }
}
