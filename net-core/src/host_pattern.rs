use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{HostName, HostNameError};

/// A set of host names: one name, the names below an apex, or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `a.b`: that name alone.
    Exact(HostName),
    /// `*.a.b`: every name strictly below the apex, however deep.
    Subdomains(HostName),
    /// `.a.b`: the apex and every name below it.
    Suffix(HostName),
}

/// Why text is no [`HostPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum HostPatternError {
    /// A `*` that is not the whole first label.
    #[error("a `*` stands only as the whole first label, as in `*.example.com`")]
    MisplacedWildcard,
    /// A wildcard or suffix without a name behind it.
    #[error("a wildcard needs a name behind it, as in `*.example.com`")]
    BareWildcard,
    /// The name part is no host name.
    #[error(transparent)]
    Name(#[from] HostNameError),
}

impl HostPattern {
    /// Parses `a.b`, `*.a.b` or `.a.b`.
    ///
    /// # Errors
    /// [`HostPatternError`]; the name part is parsed as [`HostName`] (with feature `idna`, names
    /// outside ASCII too).
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let (wrap, name): (fn(HostName) -> Self, _) = match (text.strip_prefix("*."), text.strip_prefix('.'))
        {
            (Some(rest), _) => (Self::Subdomains, rest),
            (None, Some(rest)) => (Self::Suffix, rest),
            (None, None) if text == "*" => return Err(HostPatternError::BareWildcard),
            (None, None) => (Self::Exact, text),
        };
        if name.is_empty() && !text.is_empty() {
            return Err(HostPatternError::BareWildcard);
        }
        if name.contains('*') {
            return Err(HostPatternError::MisplacedWildcard);
        }
        #[cfg(feature = "idna")]
        let name = HostName::parse_unicode(name)?;
        #[cfg(not(feature = "idna"))]
        let name = HostName::parse(name)?;
        Ok(wrap(name))
    }

    /// Whether `name` is in the set.
    pub fn matches(&self, name: &HostName) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Subdomains(apex) => name.is_subdomain_of(apex),
            Self::Suffix(apex) => name == apex || name.is_subdomain_of(apex),
        }
    }

    /// Whether some name is in both sets.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => pattern.matches(name),
            // Below the deeper of two apexes there are names of both.
            (Self::Subdomains(one) | Self::Suffix(one), Self::Subdomains(two) | Self::Suffix(two)) => {
                one == two || one.is_subdomain_of(two) || two.is_subdomain_of(one)
            }
        }
    }

    /// The name the pattern is built on: the exact name, or the apex.
    pub fn apex(&self) -> &HostName {
        match self {
            Self::Exact(name) | Self::Subdomains(name) | Self::Suffix(name) => name,
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Subdomains(apex) => write!(f, "*.{apex}"),
            Self::Suffix(apex) => write!(f, ".{apex}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_sets() {
        const CASES: &[(&str, &str, bool)] = &[
            ("a.b", "a.b", true),
            ("a.b", "c.b", false),
            ("a.b", "*.b", true),
            ("b.c", "*.b.c", false),
            ("b.c", ".b.c", true),
            ("*.b.c", ".b.c", true),
            ("*.a.b.c", "*.b.c", true),
            ("*.a.c", "*.b.c", false),
        ];
        for (one, two, expected) in CASES {
            let (left, right) = (HostPattern::parse(one).unwrap(), HostPattern::parse(two).unwrap());
            assert_eq!(left.overlaps(&right), *expected, "{one} {two}");
            assert_eq!(right.overlaps(&left), *expected, "{two} {one}");
        }
    }

    #[test]
    fn matching() {
        const CASES: &[(&str, &str, bool)] = &[
            ("example.com", "example.com", true),
            ("Example.COM.", "EXAMPLE.com", true),
            ("example.com", "a.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "b.a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "evilexample.com", false),
            (".example.com", "example.com", true),
            (".example.com", "a.example.com", true),
            (".example.com", "evilexample.com", false),
        ];
        for (pattern, name, expected) in CASES {
            let parsed = HostPattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.matches(&HostName::parse(name).expect(name)), *expected, "{pattern} {name}");
            assert_eq!(HostPattern::parse(&parsed.to_string()).as_ref(), Ok(&parsed), "{pattern}");
        }
    }

    #[test]
    fn refuses() {
        const CASES: &[(&str, HostPatternError)] = &[
            ("", HostPatternError::Name(HostNameError::Empty)),
            ("*", HostPatternError::BareWildcard),
            ("*.", HostPatternError::BareWildcard),
            (".", HostPatternError::BareWildcard),
            ("a.*.com", HostPatternError::MisplacedWildcard),
            ("*a.com", HostPatternError::MisplacedWildcard),
            ("*.*.com", HostPatternError::MisplacedWildcard),
            ("*.10.0.0.1", HostPatternError::Name(HostNameError::IpAddress)),
        ];
        for (pattern, expected) in CASES {
            assert_eq!(HostPattern::parse(pattern), Err(*expected), "{pattern}");
        }
    }
}
