use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
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
    /// Servers that have shown a chain and have yet to prove its key, one a thread at most: rustls asks about
    /// the signature right after the chain, with nothing between (RFC 8446, section 4.4.3). Were it
    /// otherwise, no session would be taken up again.
    unproved: Mutex<HashMap<ThreadId, Unproved>>,
}

/// See [`UpstreamVerifier::unproved`].
#[derive(Debug)]
struct Unproved {
    server: ServerName<'static>,
    end_entity: CertificateDer<'static>,
    since: UnixTime,
    /// When the first of its certificates ends.
    until: UnixTime,
}

impl UpstreamVerifier {
    pub(crate) fn new(trust: UpstreamTrust, sessions: Arc<UpstreamSessions>) -> Self {
        Self { trust, provider: provider(), sessions, unproved: Mutex::default() }
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

    fn take_unproved(&self) -> Option<Unproved> {
        self.unproved.lock().unwrap_or_else(PoisonError::into_inner).remove(&thread::current().id())
    }

    /// Begins a line of sessions once the server has signed by the key of the chain it has shown: anybody can
    /// show a chain.
    fn settle(
        &self,
        certificate: &CertificateDer<'_>,
        verified: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let proved =
            self.take_unproved().filter(|shown| verified.is_ok() && shown.end_entity == *certificate);
        if let Some(Unproved { server, since, until, .. }) = proved {
            self.sessions.begin(server, since, until);
        }
        verified
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
        drop(self.take_unproved());
        if self.trust.verifies() {
            self.verify(end_entity, intermediates, server, now)?;
        }
        let unproved = Unproved {
            server: server.to_owned(),
            end_entity: end_entity.clone().into_owned(),
            since: now,
            until: end_of(end_entity, intermediates),
        };
        let mut all = self.unproved.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(thread::current().id(), unproved);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.settle(certificate, verify_tls12_signature(message, certificate, signature, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.settle(certificate, verify_tls13_signature(message, certificate, signature, algorithms))
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
