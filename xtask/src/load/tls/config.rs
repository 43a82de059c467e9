//! What either end of TLS needs to know.

use std::env;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Where a program finds whom to trust.
const TRUST: &str = "SSL_CERT_FILE";

/// A client that trusts the certificates of [`TRUST`].
pub(super) fn client(resumes: bool) -> Result<Arc<ClientConfig>> {
    let file = env::var_os(TRUST).with_context(|| format!("{TRUST} is not set"))?;
    client_trusting(Path::new(&file), resumes)
}

/// A client that trusts the certificates of this file.
pub(super) fn client_trusting(file: &Path, resumes: bool) -> Result<Arc<ClientConfig>> {
    let certificates = CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// A server that resumes whom it has met.
pub(super) fn server(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}
