use std::cell::{OnceCell, RefCell};
use std::sync::Arc;
use std::time::SystemTime;

use net_tls::{Authority, FaultMirror, LeafCache, LeafSubject, UpstreamFault, UpstreamTrust, system_clock};
use rustls::{ClientConfig, ServerConfig};

use super::{InterceptError, Offer};

/// What TLS of one guest is made of: its authority, its leaves, and whom it trusts upstream.
pub(crate) struct TlsParts {
    authority: Option<Authority>,
    leaves: RefCell<LeafCache>,
    trust: UpstreamTrust,
    /// One for each offer, with the sessions that may be resumed on the guest's behalf.
    upstream_configs: [OnceCell<Arc<ClientConfig>>; Offer::COUNT],
    /// The issuer of faulty leaves, made when the first fault is mirrored.
    mirror: RefCell<Option<FaultMirror>>,
}

impl TlsParts {
    pub(crate) fn new(authority: Option<Authority>, trust: UpstreamTrust, max_leaves: usize) -> Self {
        Self {
            authority,
            leaves: RefCell::new(LeafCache::new(max_leaves)),
            trust,
            upstream_configs: Default::default(),
            mirror: RefCell::default(),
        }
    }

    /// Whether TLS can be opened at all.
    pub(crate) fn has_authority(&self) -> bool {
        self.authority.is_some()
    }

    /// Whether a handshake with upstream proves who it is.
    pub(crate) fn verifies(&self) -> bool {
        self.trust.verifies()
    }

    /// The guest's end: a leaf for `subject`, and the protocol upstream chose.
    pub(crate) fn guest_config(
        &self,
        subject: &LeafSubject,
        alpn: Option<&[u8]>,
    ) -> Result<Arc<ServerConfig>, InterceptError> {
        let authority = self.authority.as_ref().ok_or(InterceptError::Mint)?;
        let mut leaves = self.leaves.borrow_mut();
        let config = leaves.get_or_mint_config(authority, subject, alpn, system_clock(), now());
        config.map_err(|_| InterceptError::Mint)
    }

    /// The guest's end with the fault upstream's certificate had, from an issuer the guest does not
    /// trust where that is the fault.
    pub(crate) fn faulty_config(
        &self,
        subject: &LeafSubject,
        fault: UpstreamFault,
    ) -> Result<Arc<ServerConfig>, InterceptError> {
        let authority = self.authority.as_ref().ok_or(InterceptError::Mint)?;
        let mut mirror = self.mirror.borrow_mut();
        let mirror = match &mut *mirror {
            Some(mirror) => mirror,
            none => none.insert(FaultMirror::generate(now()).map_err(|_| InterceptError::Mint)?),
        };
        let leaf = mirror.leaf(authority, subject, fault, now()).map_err(|_| InterceptError::Mint)?;
        Ok(net_tls::guest_config(leaf, Vec::new(), system_clock()))
    }

    /// Upstream's end: offering these protocols.
    pub(crate) fn upstream_config(&self, offer: Offer) -> Arc<ClientConfig> {
        let config = self.upstream_configs[offer.index()].get_or_init(|| {
            let protocols = offer.protocols().iter().map(|protocol| protocol.to_vec()).collect();
            net_tls::upstream_config(&self.trust, protocols, system_clock())
        });
        Arc::clone(config)
    }

    /// Our end towards resolvers that are asked over TLS, who speak no other protocol.
    pub(crate) fn resolver_config(&self) -> ClientConfig {
        net_tls::upstream_config(&self.trust, Vec::new(), system_clock()).as_ref().clone()
    }
}

#[allow(clippy::disallowed_methods, reason = "the shell owns the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
