use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, SupportedCipherSuite};

/// The one crypto provider, shared by every configuration.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider { cipher_suites: cipher_suites(), ..aws_lc_rs::default_provider() })
    });
    Arc::clone(&PROVIDER)
}

/// rustls's own, AES-128 before AES-256: its hash is SHA-256, for which processors have instructions, while
/// SHA-384 is a tenth of what a handshake takes. It is what every implementation has (RFC 8446, section 9.1).
fn cipher_suites() -> Vec<SupportedCipherSuite> {
    let mut suites = aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec();
    suites.sort_by_key(|suite| (suite.tls13().is_none(), !is_aes_128(suite.suite())));
    suites
}

fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_change_places_and_none_is_lost() {
        let ours = cipher_suites();
        let first = ours.iter().find(|suite| suite.tls13().is_none()).expect("suites of TLS 1.2");
        assert_eq!(ours[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(first.suite(), CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        assert_eq!(ours.len(), aws_lc_rs::DEFAULT_CIPHER_SUITES.len());
        assert!(aws_lc_rs::DEFAULT_CIPHER_SUITES.iter().all(|suite| ours.contains(suite)));
    }
}
