use p12_keystore::{Certificate, KeyStore, KeyStoreEntry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a runtime reads its trust anchors from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustFile {
    /// PEM: what the system trusts, and the authority.
    Bundle,
    /// PKCS#12 of the same, under [`KEY_STORE_PASSWORD`].
    KeyStore,
}

/// An environment variable by which programs find their trust anchors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustVariable {
    /// Its name.
    pub name: &'static str,
    /// Who reads it, in lower case.
    pub runtimes: &'static [&'static str],
    /// What it leads to.
    pub file: TrustFile,
}

/// The variables of common programs. What links OpenSSL reads the first; Go and Ruby do too.
pub const TRUST_VARIABLES: &[TrustVariable] = &[
    pem("SSL_CERT_FILE", &["openssl", "python", "go", "ruby", "rust"]),
    pem("CURL_CA_BUNDLE", &["curl"]),
    pem("REQUESTS_CA_BUNDLE", &["python"]),
    pem("PIP_CERT", &["python"]),
    pem("NODE_EXTRA_CA_CERTS", &["node"]),
    pem("DENO_CERT", &["deno"]),
    pem("GIT_SSL_CAINFO", &["git"]),
    pem("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &["grpc", "python"]),
    pem("AWS_CA_BUNDLE", &["aws"]),
    pem("CARGO_HTTP_CAINFO", &["rust"]),
    pem("NIX_SSL_CERT_FILE", &["nix"]),
    TrustVariable { name: "JAVA_TOOL_OPTIONS", runtimes: &["java"], file: TrustFile::KeyStore },
];

const fn pem(name: &'static str, runtimes: &'static [&'static str]) -> TrustVariable {
    TrustVariable { name, runtimes, file: TrustFile::Bundle }
}

/// The password of a key store without keys: it keeps nothing from anybody, and Java's own has it.
pub const KEY_STORE_PASSWORD: &str = "changeit";

impl TrustVariable {
    /// What the variable holds where the file is at `path`.
    pub fn value(&self, path: &str) -> String {
        match self.file {
            TrustFile::Bundle => path.to_owned(),
            TrustFile::KeyStore => {
                let quote = if path.contains(char::is_whitespace) { "\"" } else { "" };
                format!(
                    "{quote}-Djavax.net.ssl.trustStore={path}{quote} -Djavax.net.ssl.trustStoreType=PKCS12 \
                     -Djavax.net.ssl.trustStorePassword={KEY_STORE_PASSWORD}"
                )
            }
        }
    }
}

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

/// The PKCS#12 could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the key store could not be made")]
pub struct KeyStoreError;

/// The certificates of a bundle as a PKCS#12 key store that Java takes for trust anchors; what is no
/// certificate is left out, as the readers of the bundle leave it out.
///
/// # Errors
/// [`KeyStoreError`].
pub fn key_store(bundle_pem: &str) -> Result<Vec<u8>, KeyStoreError> {
    let mut store = KeyStore::new();
    let certificates = CertificateDer::pem_slice_iter(bundle_pem.as_bytes()).flatten();
    for (index, certificate) in certificates.take(MAX_CERTIFICATES).enumerate() {
        if let Ok(certificate) = Certificate::from_der(&certificate) {
            store.add_entry(&format!("anchor-{index:04}"), KeyStoreEntry::Certificate(certificate));
        }
    }
    // Nothing in it is secret: work on the password would be work at each start, and for each reader.
    let writer = store.writer(KEY_STORE_PASSWORD).encryption_iterations(1_000).mac_iterations(1_000);
    writer.write().map_err(|_| KeyStoreError)
}
