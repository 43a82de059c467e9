use std::fmt::{self, Write as _};

use net_policy::RequestLine;

/// A request that was denied, as far as it may be shown: paths can hold secrets, and queries do.
///
/// `Display` is the method, and the path in its normal form, escaped where a terminal would obey; a path
/// that has none is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedRequest {
    /// At most 32 bytes of it.
    pub method: Box<str>,
    /// At most 128 bytes of it, without the query.
    pub path: Option<Box<str>>,
}

const MAX_METHOD_BYTES: usize = 32;
const MAX_PATH_BYTES: usize = 128;

impl DeniedRequest {
    pub(crate) fn of(request: &RequestLine) -> Self {
        let shortened = |text: &str, max_bytes: usize| {
            let mut end = max_bytes.min(text.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Box::from(text.get(..end).unwrap_or_default())
        };
        Self {
            method: shortened(request.method(), MAX_METHOD_BYTES),
            path: request.normal_path().map(|path| shortened(path, MAX_PATH_BYTES)),
        }
    }
}

impl fmt::Display for DeniedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = |text: &str| {
            text.chars().try_for_each(|it| match it {
                ' '..='~' => f.write_char(it),
                _ => write!(f, "{}", it.escape_default()),
            })
        };
        shown(&self.method)?;
        match &self.path {
            Some(path) => {
                shown(" ")?;
                shown(path)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_of_a_request_is_shown() {
        let shown = |method: &str, path: &str| DeniedRequest::of(&RequestLine::new(method, path)).to_string();
        assert_eq!(shown("GET", "/v1/../%61"), "GET /a");
        assert_eq!(shown("GET", "/\u{1b}[31m"), "GET");
        assert_eq!(shown("GET", "/\u{202e}"), "GET /%E2%80%AE");
        assert_eq!(shown("G\u{1b}", "/"), "G\\u{1b} /");
        assert_eq!(shown("GET", &format!("/{}", "a".repeat(500))), format!("GET /{}", "a".repeat(127)));
        assert_eq!(shown(&"\u{fc}".repeat(20), "/").chars().count(), 16 * "\\u{fc}".len() + 2);
    }
}
