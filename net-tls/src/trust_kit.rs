use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The environment variables by which common programs find their trust anchors, each holding the
/// path of a PEM bundle: OpenSSL and most of what links it, curl, Python's requests, Node, git.
pub const TRUST_VARIABLES: &[&str] =
    &["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"];

/// Most certificates of one CA file; a platform's whole store has a few hundred.
const MAX_CERTIFICATES: usize = 4_096;

/// Why bytes are no CA file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CaFileError {
    /// No PEM certificate in it.
    #[error("it holds no pem certificate")]
    Empty,
    /// A PEM section is cut short or not base64.
    #[error("its pem is broken")]
    Pem,
    /// A certificate is no X.509 certificate.
    #[error("it holds something that is no x.509 certificate")]
    Certificate,
    /// More than 4,096 certificates.
    #[error("it holds too many certificates")]
    TooMany,
}

/// Parses a PEM file of trust anchors.
///
/// # Errors
/// [`CaFileError`]; one bad certificate refuses the file.
pub fn parse_ca_pem(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|_| CaFileError::Pem)?;
        X509Certificate::from_der(&certificate).map_err(|_| CaFileError::Certificate)?;
        if certificates.len() == MAX_CERTIFICATES {
            return Err(CaFileError::TooMany);
        }
        certificates.push(certificate);
    }
    if certificates.is_empty() { Err(CaFileError::Empty) } else { Ok(certificates) }
}

/// The guest's bundle: what its system trusts, and the authority.
pub fn bundle(system_pem: &str, authority_pem: &str) -> String {
    let gap = if system_pem.is_empty() || system_pem.ends_with('\n') { "" } else { "\n" };
    format!("{system_pem}{gap}{authority_pem}")
}
