//! Targets of requests, as they go on.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::Uri;
use http::uri::PathAndQuery;

/// The same target with another path and query.
pub(super) fn with_target(target: Uri, path_and_query: &[u8]) -> Option<Uri> {
    let mut parts = target.into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

/// A path and query as RFC 3986 has them: hyper takes bytes beyond ASCII, which servers read in more than one way,
/// and their escapes in one (RFC 3987, section 3.1).
pub(super) fn escaped(target: &str) -> Cow<'_, str> {
    if target.is_ascii() {
        return Cow::Borrowed(target);
    }
    let mut escaped = String::with_capacity(target.len() * 2);
    for byte in target.bytes() {
        if byte.is_ascii() {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    Cow::Owned(escaped)
}

/// The same target with another path.
pub(super) fn with_path(target: Uri, path: &str) -> Option<Uri> {
    if target.path() == path {
        return Some(target);
    }
    let with_query = match target.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = target.into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(with_query).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ascii_is_escaped_and_nothing_else() {
        const CASES: &[(&str, &str)] = &[
            ("/", "/"),
            ("/a%20b?c=%C3%BC&d={}", "/a%20b?c=%C3%BC&d={}"),
            ("/\u{fc}?q=\u{1f980}", "/%C3%BC?q=%F0%9F%A6%80"),
        ];
        for (target, expected) in CASES {
            assert_eq!(escaped(target), *expected, "{target}");
        }
    }
}
