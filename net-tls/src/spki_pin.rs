use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

const PREFIX: &str = "sha256/";

/// The SHA-256 of a server's public key, by which it is known besides its certificate: over the
/// SubjectPublicKeyInfo, as in RFC 7469, section 2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpkiPin([u8; 32]);

/// Why text is no [`SpkiPin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a pin of a key: write it as sha256/ and the 44 characters of base64 of its SHA-256")]
pub struct SpkiPinError;

impl SpkiPin {
    /// That of a certificate's key; `None` for what is no certificate of a server.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        ParsedCertificate::try_from(certificate).ok().map(|parsed| Self::of_parsed(&parsed))
    }

    pub(crate) fn of_parsed(certificate: &ParsedCertificate<'_>) -> Self {
        Self(Sha256::digest(certificate.subject_public_key_info()).into())
    }
}

impl FromStr for SpkiPin {
    type Err = SpkiPinError;

    fn from_str(text: &str) -> Result<Self, SpkiPinError> {
        let digest = text.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        digest.and_then(|digest| digest.try_into().ok()).map(Self).ok_or(SpkiPinError)
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_what_it_is_written_as() {
        let text = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(text.parse::<SpkiPin>().map(|pin| pin.to_string()), Ok(text.to_owned()));
        let wrong = [
            "",
            "sha256/",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuA==",
            "sha1/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        ];
        assert!(wrong.iter().all(|text| text.parse::<SpkiPin>() == Err(SpkiPinError)));
        assert_eq!(SpkiPin::of(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
