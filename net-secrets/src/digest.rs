//! Fields that say what the content's hash is: they are wrong once a value was put into it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};
use thiserror::Error;

/// Why a digest cannot be made anew; the request is refused then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a digest of the content in a form that cannot be made anew")]
pub struct DigestError;

const NAMES: &[&str] = &["content-md5", "content-digest", "digest", "repr-digest", "x-amz-content-sha256"];

/// Whether a field, in any case, holds a digest of the content.
pub fn is_digest(name: &str) -> bool {
    NAMES.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// The value of a digest field for other content: that of Content-Digest and Repr-Digest (RFC 9530),
/// Digest (RFC 3230) and x-amz-content-sha256, with SHA-256 and SHA-512.
///
/// Where the content is not all there, or the hash is one that nobody should rely on (MD5, SHA-1), there
/// is none. Signatures over the field are not made anew.
///
/// # Errors
/// [`DigestError`], also for a field that is no digest.
pub fn renew_digest(name: &str, value: &[u8], content: &[u8]) -> Result<String, DigestError> {
    let text = std::str::from_utf8(value).map_err(|_| DigestError)?.trim();
    match name.to_ascii_lowercase().as_str() {
        "content-digest" | "repr-digest" => renew_each(text, content, ":"),
        "digest" => renew_each(text, content, ""),
        // What is signed as not covered stays so.
        "x-amz-content-sha256" if text == "UNSIGNED-PAYLOAD" => Ok(text.to_owned()),
        "x-amz-content-sha256" if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let mut hex = String::with_capacity(64);
            for byte in Sha256::digest(content) {
                // Writing to a string cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            Ok(hex)
        }
        _ => Err(DigestError),
    }
}

/// Each member of a list of `algorithm=hash`, where the hash stands in `quote`s.
fn renew_each(text: &str, content: &[u8], quote: &str) -> Result<String, DigestError> {
    let members = text.split(',').map(|member| {
        let (algorithm, _) = member.trim().split_once('=').ok_or(DigestError)?;
        let hash = match algorithm.to_ascii_lowercase().as_str() {
            "sha-256" => STANDARD.encode(Sha256::digest(content)),
            "sha-512" => STANDARD.encode(Sha512::digest(content)),
            _ => return Err(DigestError),
        };
        Ok(format!("{algorithm}={quote}{hash}{quote}"))
    });
    Ok(members.collect::<Result<Vec<_>, _>>()?.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_known_content() {
        // RFC 9530, appendix B, and FIPS 180-2 ("abc").
        let hello = b"{\"hello\": \"world\"}\n";
        const HELLO: &str = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=";
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let cases: &[(&str, &str, &[u8], Option<String>)] = &[
            ("Content-Digest", "sha-256=:AAAA:", hello, Some(format!("sha-256=:{HELLO}:"))),
            ("digest", "SHA-256=AAAA", hello, Some(format!("SHA-256={HELLO}"))),
            ("x-amz-content-sha256", &"0".repeat(64), b"abc", Some(ABC.to_owned())),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD", b"abc", Some("UNSIGNED-PAYLOAD".to_owned())),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"abc", None),
            ("content-md5", "rL0Y20zC+Fzt72VPzMSk2A==", b"abc", None),
            ("digest", "md5=rL0Y20zC+Fzt72VPzMSk2A==", b"abc", None),
            ("content-digest", "sha-256=:AAAA:, md5=:AAAA:", b"abc", None),
            ("content-digest", "", b"abc", None),
            ("content-length", "3", b"abc", None),
        ];
        for (name, value, content, expected) in cases {
            assert_eq!(renew_digest(name, value.as_bytes(), content).ok(), *expected, "{name}: {value}");
        }
        let both = renew_digest("content-digest", b"sha-512=:x:,sha-256=:x:", hello).expect("both");
        assert!(both.starts_with("sha-512=:") && both.ends_with(&format!(", sha-256=:{HELLO}:")), "{both}");
        assert!(is_digest("Content-MD5") && is_digest("x-amz-content-sha256") && !is_digest("content-type"));
    }
}
