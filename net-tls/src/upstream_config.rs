use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::provider::provider;

/// Whom upstream certificates must lead to. The default trusts nobody. Clones share the anchors.
#[derive(Clone, Debug)]
pub struct UpstreamTrust {
    roots: Arc<RootCertStore>,
    dangerous_skip_verification: bool,
}

impl Default for UpstreamTrust {
    fn default() -> Self {
        Self { roots: Arc::new(RootCertStore::empty()), dangerous_skip_verification: false }
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

    /// Believes every certificate of every server. What is sent upstream is then anybody's, and a
    /// certificate proves nothing.
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

/// Upstream's end of an intercepted stream: TLS 1.2 and 1.3, offering these protocols.
pub fn upstream_config(
    trust: &UpstreamTrust,
    alpn: Vec<Vec<u8>>,
    clock: Arc<dyn TimeProvider>,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(provider(), clock)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the versions it was built with");
    let mut config = if trust.dangerous_skip_verification {
        let verifier = Arc::new(BelievesEverything(provider()));
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    } else {
        builder.with_root_certificates(Arc::clone(&trust.roots)).with_no_client_auth()
    };
    config.alpn_protocols = alpn;
    Arc::new(config)
}

/// See [`UpstreamTrust::dangerous_skip_verification`].
#[derive(Debug)]
struct BelievesEverything(Arc<CryptoProvider>);

impl ServerCertVerifier for BelievesEverything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
