//! Trust anchors: whom we believe upstream, and whom the command believes.

use std::fs;

use anyhow::{Context as _, Result};
use net_tls::{UpstreamTrust, bundle, key_store, parse_ca_pem};

use super::config::Written;

/// Where systems keep the bundle that programs without a setting of their own read.
pub(super) const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The host's anchors and the ones the owner adds.
pub(super) struct Anchors {
    pub(super) upstream: UpstreamTrust,
    /// PEM of the added ones.
    added: String,
}

impl Anchors {
    pub(super) fn read(files: &[Written]) -> Result<Self> {
        let mut upstream = UpstreamTrust::default();
        // A host without a store trusts nobody: upstream TLS fails, and says why.
        upstream.add(rustls_native_certs::load_native_certs().certs);
        let mut added = String::new();
        for file in files {
            let pem = fs::read(&file.text).with_context(|| format!("{}: cannot be read", file.named()))?;
            let certificates = parse_ca_pem(&pem)
                .with_context(|| format!("{}: give a PEM file of certificates", file.named()))?;
            upstream.add(certificates);
            added.push_str(&String::from_utf8_lossy(&pem));
            added.push('\n');
        }
        Ok(Self { upstream, added })
    }

    /// What the command trusts: what the host does, and the engine's authority.
    pub(super) fn for_command(&self, authority_pem: &str) -> Result<TrustFiles> {
        TrustFiles::new(&bundle(&system_bundle(), &self.added), authority_pem)
    }
}

/// What the host trusts, in PEM; empty on a host without a store.
pub(super) fn system_bundle() -> String {
    SYSTEM_BUNDLES.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default()
}

/// The files of the trust kit: the same anchors for whoever reads PEM, and for Java; and the authority
/// alone, for who keeps anchors one by one.
pub(super) struct TrustFiles {
    pub(super) bundle: String,
    pub(super) key_store: Vec<u8>,
    pub(super) authority: String,
}

impl TrustFiles {
    pub(super) fn new(others: &str, authority_pem: &str) -> Result<Self> {
        let bundle = bundle(others, authority_pem);
        let key_store = key_store(&bundle)?;
        Ok(Self { bundle, key_store, authority: authority_pem.to_owned() })
    }
}
