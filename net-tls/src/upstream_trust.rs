use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::{ClientIdentity, SpkiPin};

/// Whom upstream certificates must lead to, and who we are to those that ask. The default trusts nobody
/// and is nobody. Clones share the anchors.
#[derive(Clone, Debug)]
pub struct UpstreamTrust {
    pub(crate) roots: Arc<RootCertStore>,
    /// Where there are any, the server's own key must be one of them.
    pub(crate) pins: Vec<SpkiPin>,
    pub(crate) identity: Option<ClientIdentity>,
    pub(crate) dangerous_skip_verification: bool,
}

impl Default for UpstreamTrust {
    fn default() -> Self {
        Self {
            roots: Arc::new(RootCertStore::empty()),
            pins: Vec::new(),
            identity: None,
            dangerous_skip_verification: false,
        }
    }
}

impl UpstreamTrust {
    /// Adds trust anchors; how many of them were usable.
    ///
    /// Platform stores hold certificates that are no anchors by today's rules; those are left out.
    pub fn add(&mut self, certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> usize {
        Arc::make_mut(&mut self.roots).add_parsable_certificates(certificates).0
    }

    /// The number of anchors.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Wants the server's own certificate to have one of these keys, besides all else. Without any, every
    /// key will do.
    #[must_use]
    pub fn with_pins(mut self, pins: impl IntoIterator<Item = SpkiPin>) -> Self {
        self.pins.extend(pins);
        self
    }

    /// Shows this identity to servers that ask for one.
    #[must_use]
    pub fn with_identity(mut self, identity: ClientIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Believes every certificate of every server, pins or not. What is sent upstream is then anybody's,
    /// and a certificate proves nothing.
    #[must_use]
    pub fn dangerous_skip_verification(mut self) -> Self {
        self.dangerous_skip_verification = true;
        self
    }

    /// Whether a handshake that succeeded proves who upstream is.
    pub fn verifies(&self) -> bool {
        !self.dangerous_skip_verification
    }
}
