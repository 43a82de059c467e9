use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use crate::Alpn;
use crate::provider::provider;

/// The guest's end of an intercepted stream: TLS 1.2 and 1.3, this leaf, these protocols.
///
/// Early data is not accepted, and sessions are not resumed: whoever meets this leaf looks at it.
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

/// The same, which takes its own sessions up again by tickets (RFC 5077; RFC 8446, section 4.6.1).
///
/// The tickets' keys are its own and live in it, so there is nothing to bound, and a session is never
/// that of another leaf. It can be told to end with an alert: see [`fatal_alert`](crate::fatal_alert).
pub(crate) fn resuming_guest_config(
    leaf: Arc<CertifiedKey>,
    alpn: Alpn,
    clock: Arc<dyn TimeProvider>,
) -> Arc<ServerConfig> {
    /// Each connection brings one, so a client has as many as it had connections, each for one use (RFC 8446,
    /// appendix C.4). More are paid for in every handshake and seldom used.
    const TICKETS: usize = 1;
    let mut config = guest_config(leaf, alpn.protocols(), clock);
    let own = Arc::make_mut(&mut config);
    // Without randomness there is no handshake either.
    if let Ok(ticketer) = Ticketer::new() {
        own.ticketer = ticketer;
        own.send_tls13_tickets = TICKETS;
    }
    own.enable_secret_extraction = true;
    config
}

/// The one leaf of a stream: which it is was decided before the handshake.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
