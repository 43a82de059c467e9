use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use crate::provider::provider;

/// The guest's end of an intercepted stream: TLS 1.2 and 1.3, this leaf, these protocols.
///
/// Early data is not accepted, and sessions are not resumed: every connection is decided anew.
pub fn guest_config(
    leaf: Arc<CertifiedKey>,
    alpn: Vec<Vec<u8>>,
    clock: Arc<dyn TimeProvider>,
) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_details(provider(), clock)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the versions it was built with")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Only(leaf)));
    // Guest and engine run on one processor: what is quick for us is for the guest.
    config.ignore_client_order = true;
    config.alpn_protocols = alpn;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// The one leaf of a stream: which it is was decided before the handshake.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
