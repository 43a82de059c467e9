//! What holds for every input: called by the fuzz target and by the tests that replay its corpus.

use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime};

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::{
    Authority, AuthorityCertificate, AuthorityError, LeafSubject, MintError, UpstreamTrust, parse_ca_pem,
};

/// In January 2027 most authorities of the corpus are valid.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// Some instant: nothing here depends on which.
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests need some instant")]
pub(crate) fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

/// Any text is an authority or an error, an authority signs leaves and survives its own PEM, and
/// what passes for a CA file has certificates in it.
pub fn authorities_sign(text: &str) {
    if let Ok(certificates) = parse_ca_pem(text.as_bytes()) {
        let count = certificates.len();
        assert!(count > 0 && UpstreamTrust::default().add(certificates) <= count);
    }
    let (Ok(authority), Ok(name)) = (load(text), "www.example.com".parse()) else { return };
    for subject in [LeafSubject::Name(name), LeafSubject::Address(Ipv6Addr::LOCALHOST.into())] {
        let minted = authority.mint(&subject, now());
        if !authority.certificate().permits(&subject) {
            assert_eq!(minted.map(drop), Err(MintError::NotPermitted));
            continue;
        }
        let leaf = minted.expect("an authority that is valid now signs");
        assert!(leaf.not_after >= now() && leaf.certified_key().is_ok());
        assert_eq!(leaf.chain().last(), Some(authority.certificate_der()));
    }
    // What it is constrained to survives being written, and can be shown.
    let certificate = AuthorityCertificate::from_pem(authority.certificate_pem(), now());
    let constraints = certificate.expect("its own PEM").constraints().map(ToString::to_string);
    assert_eq!(constraints, authority.certificate().constraints().map(ToString::to_string));
    assert!(!constraints.is_some_and(|text| text.contains(char::is_control)));
    // The certificate goes to the guest; the key must be readable by others than us.
    assert!(!authority.certificate_pem().contains("PRIVATE"));
    assert!(
        PrivateKeyDer::from_pem_slice(authority.key_pem().as_bytes())
            .is_ok_and(|key| { rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).is_ok() })
    );
    let again = Authority::from_pem(authority.certificate_pem(), &authority.key_pem(), now());
    assert_eq!(again.map(|again| again.certificate_der().clone()), Ok(authority.certificate_der().clone()));
}

/// The certificate's PEM, an empty line, the key's.
fn load(text: &str) -> Result<Authority, AuthorityError> {
    let (certificate, key) = text.split_once("\n\n").unwrap_or((text, ""));
    Authority::from_pem(certificate, key, now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn corpus(file: &str) -> String {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/authority_pem").join(file);
        std::fs::read_to_string(path).expect(file)
    }

    #[test]
    fn the_corpus_holds() {
        use AuthorityError as E;
        const CASES: &[(&str, Result<(), AuthorityError>)] = &[
            ("throw-away-p256", Ok(())),
            ("throw-away-p384-sec1", Ok(())),
            ("throw-away-ed25519", Ok(())),
            ("throw-away-constrained", Ok(())),
            ("throw-away-several", Err(E::SeveralCertificates)),
            ("throw-away-encrypted", Err(E::EncryptedKey)),
            ("throw-away-weak", Err(E::WeakKey)),
            ("throw-away-secp256k1", Err(E::UnsupportedKey)),
            ("throw-away-holes", Err(E::Constraints)),
            ("throw-away-truncated", Err(E::Certificate)),
            ("throw-away-mismatch", Err(E::Mismatch)),
            ("throw-away-leaf", Err(E::NotAuthority)),
            ("throw-away-expired", Err(E::Expired)),
            ("throw-away-odd-subject", Err(E::Subject)),
            ("empty", Err(E::Certificate)),
            ("garbage", Err(E::Certificate)),
        ];
        for (file, expected) in CASES {
            let text = corpus(file);
            assert_eq!(load(&text).map(drop), *expected, "{file}");
            authorities_sign(&text);
        }
        let files = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/authority_pem");
        assert_eq!(files.read_dir().expect("a corpus").count(), CASES.len(), "every file has its case");
    }

    #[test]
    fn the_certificate_s_text_may_hold_the_key_and_the_key_s_its_curve() {
        let text = corpus("throw-away-p384-sec1");
        let (certificate, key) = text.split_once("\n\n").expect("two sections");
        let parameters = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n";
        let key = format!("{parameters}{key}");
        let authority = Authority::from_pem(&format!("{certificate}\n{key}"), &key, now()).expect("both");
        assert!(!authority.certificate_pem().contains("PRIVATE"));
    }

    proptest! {
        #[test]
        fn a_damaged_authority_is_no_danger(at in 0usize..900, byte in 0u8..128) {
            let mut text = corpus("throw-away-p256").into_bytes();
            let length = text.len();
            text[at % length] = byte;
            authorities_sign(std::str::from_utf8(&text).expect("ASCII"));
        }
    }
}
