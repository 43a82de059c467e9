use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::provider::provider;
use crate::upstream_sessions::UpstreamSessions;
use crate::{SpkiPin, UpstreamTrust};

/// The server has a certificate that is good, of a key that is not pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the server's key is not one that is pinned")]
pub(crate) struct NotPinned;

/// Holds a server against an [`UpstreamTrust`].
#[derive(Debug)]
pub(crate) struct UpstreamVerifier {
    trust: UpstreamTrust,
    provider: Arc<CryptoProvider>,
    sessions: Arc<UpstreamSessions>,
}

impl UpstreamVerifier {
    pub(crate) fn new(trust: UpstreamTrust, sessions: Arc<UpstreamSessions>) -> Self {
        Self { trust, provider: provider(), sessions }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let roots = &self.trust.roots;
        verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        verify_server_name(&certificate, server)?;
        // Of the server's own key alone: of what else it sends, anything may be left out of the path.
        let is_pinned =
            self.trust.pins.is_empty() || self.trust.pins.contains(&SpkiPin::of_parsed(&certificate));
        if !is_pinned {
            return Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into());
        }
        Ok(())
    }
}

impl ServerCertVerifier for UpstreamVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trust.verifies() {
            self.verify(end_entity, intermediates, server, now)?;
        }
        self.sessions.begin(server, now, end_of(end_entity, intermediates));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// When the first of a chain's certificates ends; at once where one cannot be read.
fn end_of(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> UnixTime {
    let ends = std::iter::once(end_entity).chain(intermediates).map(|certificate| {
        let parsed = X509Certificate::from_der(certificate).ok();
        parsed
            .and_then(|(_, parsed)| u64::try_from(parsed.validity().not_after.timestamp()).ok())
            .unwrap_or(0)
    });
    UnixTime::since_unix_epoch(Duration::from_secs(ends.min().unwrap_or(0)))
}
