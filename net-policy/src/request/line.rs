use super::method::miscased;
use super::path::normal_path;

/// What rules are asked of a request: its method, and its path in the normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    pub(super) method: Box<str>,
    /// `None` where the request is one that servers read in different ways.
    path: Option<Box<str>>,
}

impl RequestLine {
    /// A request by its method and the path of its target (RFC 9110, section 7.1), without the query.
    ///
    /// The target `*` of OPTIONS (RFC 9112, section 3.2.4) has a path that no pattern matches.
    pub fn new(method: &str, path: &str) -> Self {
        let path = match (method, path) {
            // What servers make of `get` differs.
            _ if miscased(method).is_some() => None,
            ("OPTIONS", "*") => Some("*".into()),
            (_, path) => normal_path(path).map(String::into_boxed_str),
        };
        Self { method: method.into(), path }
    }

    /// As it came.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path in the normal form (RFC 3986, section 6.2.2), by which it is decided and as which it
    /// should go on: without dot segments, nor escapes that change nothing.
    ///
    /// `None` where the request is malformed, or one that servers read in different ways: that matches no
    /// rule, and is denied wherever requests are decided.
    pub fn normal_path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        const CASES: &[(&str, &str, Option<&str>)] = &[
            ("GET", "/a/%62", Some("/a/b")),
            ("GET", "", Some("/")),
            ("BREW", "/a", Some("/a")),
            ("OPTIONS", "*", Some("*")),
            ("GET", "*", None),
            ("get", "/a", None),
            ("Delete", "/a", None),
            ("GET", "a.example:443", None),
        ];
        for (method, path, expected) in CASES {
            assert_eq!(RequestLine::new(method, path).normal_path(), *expected, "{method} {path}");
        }
    }
}
