use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A method of HTTP: a token, whose case matters (RFC 9110, section 9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(Box<str>);

/// Why text is no [`Method`] of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MethodError {
    /// It has characters a method cannot have, or none, or more than 32.
    #[error("not a method: a method is a token of 1 to 32 characters, such as `GET`")]
    NotAToken,
    /// A registered one in another case, which no server takes for it.
    #[error("methods are case-sensitive: write `{0}`")]
    Case(&'static str),
}

const MAX_BYTES: usize = 32;

/// The registry of RFC 9110, section 16.1.1, as it was in 2025.
const REGISTERED: &[&str] = &[
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

impl Method {
    /// As it is written in a request.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The registered method that text is in another case.
pub(super) fn miscased(text: &str) -> Option<&'static str> {
    let same = |known: &&&'static str| known.eq_ignore_ascii_case(text);
    REGISTERED.iter().find(same).copied().filter(|known| *known != text)
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        if text.is_empty() || text.len() > MAX_BYTES || !text.bytes().all(is_token) {
            return Err(MethodError::NotAToken);
        }
        miscased(text).map_or_else(|| Ok(Self(text.into())), |known| Err(MethodError::Case(known)))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        const CASES: &[(&str, Result<(), &str>)] = &[
            ("GET", Ok(())),
            ("VERSION-CONTROL", Ok(())),
            ("brew", Ok(())),
            ("M-SEARCH", Ok(())),
            ("get", Err("methods are case-sensitive: write `GET`")),
            ("Delete", Err("methods are case-sensitive: write `DELETE`")),
            ("", Err("not a method: a method is a token of 1 to 32 characters, such as `GET`")),
            ("GET ", Err("not a method: a method is a token of 1 to 32 characters, such as `GET`")),
            ("*,GET", Err("not a method: a method is a token of 1 to 32 characters, such as `GET`")),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456",
                Err("not a method: a method is a token of 1 to 32 characters, such as `GET`"),
            ),
        ];
        for (text, expected) in CASES {
            let parsed = text.parse::<Method>();
            let shown = parsed.as_ref().map(|method| assert_eq!(method.as_str(), *text));
            assert_eq!(shown.map_err(ToString::to_string), expected.map_err(str::to_owned), "{text}");
        }
    }
}
