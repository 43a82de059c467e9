use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;

use crate::UpstreamTrust;
use crate::provider::provider;
use crate::upstream_sessions::UpstreamSessions;
use crate::upstream_verifier::UpstreamVerifier;

/// Upstream's end of an intercepted stream: TLS 1.2 and 1.3, offering these protocols.
///
/// Sessions are taken up again by the name of the server, so a configuration is for one port and one
/// trust. An identity is shown to servers that ask for one, where `trust` has one.
pub fn upstream_config(
    trust: &UpstreamTrust,
    alpn: Vec<Vec<u8>>,
    clock: Arc<dyn TimeProvider>,
) -> Arc<ClientConfig> {
    let sessions = Arc::new(UpstreamSessions::new(Arc::clone(&clock)));
    let verifier = Arc::new(UpstreamVerifier::new(trust.clone(), Arc::clone(&sessions)));
    let builder = ClientConfig::builder_with_details(provider(), clock)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the versions it was built with")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &trust.identity {
        Some(identity) => {
            let identity = SingleCertAndKey::from(Arc::clone(&identity.0));
            builder.with_client_cert_resolver(Arc::new(identity))
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::store(sessions);
    config.alpn_protocols = alpn;
    Arc::new(config)
}
