use std::borrow::Borrow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Longest name in its text form without the trailing dot (RFC 1035, section 2.3.4).
pub const MAX_HOST_NAME_BYTES: usize = 253;

const MAX_LABEL_BYTES: usize = 63;

/// A DNS name of a host: lower-case A-labels, no trailing dot, never an IP address.
///
/// Cloning shares the text. Underscores are accepted (service labels use them on the wire);
/// a leading or trailing hyphen is not (RFC 952, RFC 1123 section 2.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// Why bytes are no [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum HostNameError {
    /// No bytes, or only the root dot.
    #[error("a host name must not be empty")]
    Empty,
    /// More than [`MAX_HOST_NAME_BYTES`].
    #[error("a host name has at most 253 bytes")]
    TooLong,
    /// Two dots in a row, or a dot at the start.
    #[error("a host name must not have an empty label")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("a label of a host name has at most 63 bytes")]
    LabelTooLong,
    /// A byte that no host name has, NUL and spaces included.
    #[error("a host name has only letters, digits, hyphens, underscores and dots")]
    InvalidByte,
    /// A label that starts or ends with a hyphen.
    #[error("a label of a host name must not start or end with a hyphen")]
    Hyphen,
    /// An IPv4 or IPv6 literal, or a name whose last label is a number and which some resolvers
    /// would therefore read as an address (`1.2.3`, `0x7f.1`).
    #[error("an ip address is not a host name")]
    IpAddress,
    /// A name outside ASCII that has no A-label form (UTS 46).
    #[cfg(feature = "idna")]
    #[error("an international name that idna does not permit")]
    Idna,
}

impl HostName {
    /// Parses ASCII text: case is folded and one trailing dot dropped.
    ///
    /// # Errors
    /// Every variant of [`HostNameError`] but `Idna`; text outside ASCII is `InvalidByte`.
    pub fn parse(text: &str) -> Result<Self, HostNameError> {
        Self::from_ascii(text.as_bytes())
    }

    /// Parses the bytes of a wire field, such as a TLS server_name (RFC 6066, section 3).
    ///
    /// # Errors
    /// As [`HostName::parse`].
    pub fn from_ascii(bytes: &[u8]) -> Result<Self, HostNameError> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        check(bytes)?;
        let mut text = String::with_capacity(bytes.len());
        text.extend(bytes.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        Ok(Self(text.into()))
    }

    /// Parses text a person wrote: names outside ASCII become A-labels (UTS 46).
    ///
    /// # Errors
    /// As [`HostName::parse`], and `Idna`.
    #[cfg(feature = "idna")]
    pub fn parse_unicode(text: &str) -> Result<Self, HostNameError> {
        if text.is_ascii() {
            return Self::parse(text);
        }
        // Bounds the work on text nobody means as a name: a character takes at most four bytes, and
        // what is mapped away (soft hyphens, joiners) does not fill three quarters of a name.
        if text.len() > 4 * MAX_HOST_NAME_BYTES {
            return Err(HostNameError::TooLong);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| HostNameError::Idna)?;
        Self::parse(&ascii)
    }

    /// The name in lower case, without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether this name lies strictly below `apex`.
    pub fn is_subdomain_of(&self, apex: &Self) -> bool {
        self.0.strip_suffix(apex.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }
}

fn check(bytes: &[u8]) -> Result<(), HostNameError> {
    if bytes.is_empty() {
        return Err(HostNameError::Empty);
    }
    if bytes.contains(&b':') && std::str::from_utf8(bytes).is_ok_and(is_ip_literal) {
        return Err(HostNameError::IpAddress);
    }
    if bytes.len() > MAX_HOST_NAME_BYTES {
        return Err(HostNameError::TooLong);
    }
    let mut last: &[u8] = b"";
    for label in bytes.split(|byte| *byte == b'.') {
        match label {
            [] => return Err(HostNameError::EmptyLabel),
            _ if label.len() > MAX_LABEL_BYTES => return Err(HostNameError::LabelTooLong),
            [b'-', ..] | [.., b'-'] => return Err(HostNameError::Hyphen),
            _ => {}
        }
        if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(HostNameError::InvalidByte);
        }
        last = label;
    }
    if is_number(last) { Err(HostNameError::IpAddress) } else { Ok(()) }
}

fn is_ip_literal(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok()
}

/// Whether inet_aton would take the last label for part of an address ("ends in a number" in the
/// WHATWG URL standard): such a name means one thing to us and another to a resolver.
fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', hex @ ..] => hex.iter().all(u8::is_ascii_hexdigit),
        _ => label.iter().all(u8::is_ascii_digit),
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_and_normalises() {
        const CASES: &[(&str, &str)] = &[
            ("example.com", "example.com"),
            ("EXAMPLE.Com.", "example.com"),
            ("localhost", "localhost"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1.example", "1.example"),
            ("3com.net", "3com.net"),
        ];
        for (input, expected) in CASES {
            assert_eq!(
                HostName::parse(input).map(|name| name.to_string()).as_deref(),
                Ok(*expected),
                "{input}"
            );
        }
    }

    #[test]
    fn refuses() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}.example", "a.".repeat(123));
        let cases: &[(&str, HostNameError)] = &[
            ("", HostNameError::Empty),
            (".", HostNameError::Empty),
            ("..", HostNameError::EmptyLabel),
            ("a..b", HostNameError::EmptyLabel),
            (".example.com", HostNameError::EmptyLabel),
            ("exa mple.com", HostNameError::InvalidByte),
            ("example.com\0", HostNameError::InvalidByte),
            ("example.com:443", HostNameError::InvalidByte),
            ("bücher.example", HostNameError::InvalidByte),
            ("-a.example", HostNameError::Hyphen),
            ("a-.example", HostNameError::Hyphen),
            ("10.0.0.1", HostNameError::IpAddress),
            ("10.0.0.1.", HostNameError::IpAddress),
            ("127.1", HostNameError::IpAddress),
            ("0x7f000001", HostNameError::IpAddress),
            ("example.0x10", HostNameError::IpAddress),
            ("::1", HostNameError::IpAddress),
            (&long_label, HostNameError::LabelTooLong),
            (&long_name, HostNameError::TooLong),
        ];
        for (input, expected) in cases {
            assert_eq!(HostName::parse(input), Err(*expected), "{input:?}");
        }
    }

    #[cfg(feature = "idna")]
    #[test]
    fn international_names_become_a_labels() {
        assert_eq!(HostName::parse_unicode("Bücher.Example").unwrap().as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn subdomain_needs_a_dot() {
        let apex = HostName::parse("example.com").unwrap();
        for (name, expected) in [("a.example.com", true), ("evilexample.com", false), ("example.com", false)]
        {
            assert_eq!(HostName::parse(name).unwrap().is_subdomain_of(&apex), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_a_fixed_point(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(name) = HostName::from_ascii(&bytes) {
                prop_assert_eq!(HostName::parse(name.as_str()), Ok(name.clone()));
                prop_assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
            }
        }
    }
}
