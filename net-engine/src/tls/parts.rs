use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use net_tls::{Authority, FaultMirror, LeafCache, LeafSubject, UpstreamFault, UpstreamTrust, system_clock};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};

use super::InterceptError;

/// What TLS of one guest is made of: its authority, its leaves, and whom it trusts upstream.
pub(crate) struct TlsParts {
    authority: Option<Authority>,
    leaves: RefCell<LeafCache>,
    trust: UpstreamTrust,
    /// By ALPN offer. Only two protocols are ever passed on, so there are five offers at most.
    upstream_configs: RefCell<HashMap<Vec<Vec<u8>>, Arc<ClientConfig>>>,
    /// The issuer of faulty leaves, made when the first fault is mirrored.
    mirror: RefCell<Option<FaultMirror>>,
}

impl TlsParts {
    pub(crate) fn new(authority: Option<Authority>, trust: UpstreamTrust, max_leaves: usize) -> Self {
        Self {
            authority,
            leaves: RefCell::new(LeafCache::new(max_leaves)),
            trust,
            upstream_configs: RefCell::default(),
            mirror: RefCell::default(),
        }
    }

    /// Whether TLS can be opened at all.
    pub(crate) fn has_authority(&self) -> bool {
        self.authority.is_some()
    }

    /// What the guest is shown for `subject`.
    pub(crate) fn leaf(&self, subject: &LeafSubject) -> Result<Arc<CertifiedKey>, InterceptError> {
        let authority = self.authority.as_ref().ok_or(InterceptError::Mint)?;
        self.leaves.borrow_mut().get_or_mint(authority, subject, now()).map_err(|_| InterceptError::Mint)
    }

    /// A certificate with the fault upstream's had, from an issuer the guest does not trust.
    pub(crate) fn faulty_leaf(
        &self,
        subject: &LeafSubject,
        fault: UpstreamFault,
    ) -> Result<Arc<CertifiedKey>, InterceptError> {
        let authority = self.authority.as_ref().ok_or(InterceptError::Mint)?;
        let mut mirror = self.mirror.borrow_mut();
        let mirror = match &mut *mirror {
            Some(mirror) => mirror,
            none => none.insert(FaultMirror::generate(now()).map_err(|_| InterceptError::Mint)?),
        };
        mirror.leaf(authority, subject, fault, now()).map_err(|_| InterceptError::Mint)
    }

    /// The guest's end: this leaf, and the protocol upstream chose.
    pub(crate) fn guest_config(&self, leaf: Arc<CertifiedKey>, alpn: Option<&[u8]>) -> Arc<ServerConfig> {
        net_tls::guest_config(leaf, alpn.map(<[u8]>::to_vec).into_iter().collect(), system_clock())
    }

    /// Upstream's end: offering these protocols.
    pub(crate) fn upstream_config(&self, alpn: &[Vec<u8>]) -> Arc<ClientConfig> {
        let mut configs = self.upstream_configs.borrow_mut();
        if let Some(config) = configs.get(alpn) {
            return Arc::clone(config);
        }
        let config = net_tls::upstream_config(&self.trust, alpn.to_vec(), system_clock());
        configs.insert(alpn.to_vec(), Arc::clone(&config));
        config
    }
}

#[allow(clippy::disallowed_methods, reason = "the shell owns the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
