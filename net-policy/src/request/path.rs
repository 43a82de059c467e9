/// The longest path that rules are asked about, as it came and in its normal form.
pub const MAX_PATH_BYTES: usize = 8 << 10;

/// The normal form of a path (RFC 3986, section 6.2.2): what needs no escape has none, what does has one
/// in upper case, and dot segments are resolved. An empty path is `/` (section 6.2.3).
///
/// `None` for what is no path, and, stricter than the RFC, for what one server reads as another path than
/// the next: a NUL, a backslash, an empty segment before the last, and dot segments that show only once an
/// escape is undone that is none of the RFC's (`%2F`, `%5C`, one inside another) or parameters are cut
/// off. An escaped slash stays one, and a path that is in its normal form already stays as it is.
pub(crate) fn normal_path(path: &str) -> Option<String> {
    if path.is_empty() {
        return Some("/".to_owned());
    }
    if path.len() > MAX_PATH_BYTES {
        return None;
    }
    let escaped = normal_escapes(path.as_bytes())?;
    let mut segments = escaped.strip_prefix('/')?.split('/').peekable();
    let mut kept: Vec<&str> = Vec::new();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            // The last of these stands for the directory itself.
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            "" if !is_last => return None,
            segment if hides_dots(segment.as_bytes()) => return None,
            segment => kept.push(segment),
        }
    }
    let normal = format!("/{}", kept.join("/"));
    (normal.len() <= MAX_PATH_BYTES).then_some(normal)
}

/// Every byte that needs an escape with one, in upper case, and no other.
fn normal_escapes(path: &[u8]) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'%' => {
                let (value, behind) = escape(behind)?;
                rest = behind;
                match value {
                    0 => return None,
                    value if is_unreserved(value) => normal.push(char::from(value)),
                    value => push_escape(&mut normal, value),
                }
            }
            // Some servers take a backslash for a slash, and none of these is of a path.
            b'?' | b'#' | b'\\' | 0..=0x20 | 0x7f => return None,
            byte if is_unreserved(*byte) || b"/!$&'()*+,;=:@".contains(byte) => {
                normal.push(char::from(*byte));
            }
            byte => push_escape(&mut normal, *byte),
        }
    }
    Some(normal)
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn push_escape(normal: &mut String, value: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    normal.push('%');
    for digit in [value >> 4, value & 15] {
        normal.push(char::from(DIGITS[usize::from(digit)]));
    }
}

/// The two digits behind a `%`, and what is behind them.
fn escape(digits: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = digits.split_first_chunk()?;
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(((value(*high)? << 4) | value(*low)?, rest))
}

/// Whether a segment that is no dot segment is one to a server that undoes more escapes than it should,
/// or cuts off parameters.
fn hides_dots(segment: &[u8]) -> bool {
    let mut part = Part::default();
    let mut rest = segment;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let mut byte = *first;
        // However many escapes are inside one another: the last of them counts.
        while byte == b'%' {
            let Some((value, behind)) = escape(rest) else { break };
            (byte, rest) = (value, behind);
            if value == b'%' && rest.first().is_some_and(u8::is_ascii_hexdigit) {
                continue;
            }
            break;
        }
        match byte {
            b'/' | b'\\' if part.is_dots() => return true,
            0 => return true,
            b'/' | b'\\' => part = Part::default(),
            b';' => part.is_cut = true,
            _ if part.is_cut => {}
            b'.' => part.dots += 1,
            _ => part.others += 1,
        }
    }
    part.is_dots()
}

/// What lies between two separators.
#[derive(Default)]
struct Part {
    dots: usize,
    others: usize,
    /// Whether parameters have begun.
    is_cut: bool,
}

impl Part {
    fn is_dots(&self) -> bool {
        self.others == 0 && (1..=2).contains(&self.dots)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_path_has_one_form(path in "(/([a.]{0,3}|%2[eEfF5]|%61|[;%\\\\u{fc}*]){0,4}){0,5}") {
            crate::fuzzing::paths_have_one_form(&path);
        }
    }

    #[test]
    fn normal_forms() {
        const CASES: &[(&str, Option<&str>)] = &[
            ("", Some("/")),
            ("/", Some("/")),
            ("/v1/models", Some("/v1/models")),
            ("/v1/", Some("/v1/")),
            ("/%7euser/%61", Some("/~user/a")),
            ("/a%2fb", Some("/a%2Fb")),
            ("/a%20b", Some("/a%20b")),
            ("/a:b@c;d=e,f!$&'()*+", Some("/a:b@c;d=e,f!$&'()*+")),
            ("/\u{fc}{x}|", Some("/%C3%BC%7Bx%7D%7C")),
            ("/v1/../admin", Some("/admin")),
            ("/v1/%2e%2e/admin", Some("/admin")),
            ("/v1/%2E./admin", Some("/admin")),
            ("/v1/./models", Some("/v1/models")),
            ("/v1/..", Some("/")),
            ("/v1/x/..", Some("/v1/")),
            ("/v1/.", Some("/v1/")),
            ("/../../x", Some("/x")),
            ("/..", Some("/")),
            ("/.", Some("/")),
            ("/...", Some("/...")),
            ("/.git/..x", Some("/.git/..x")),
            ("/a;b/c", Some("/a;b/c")),
            ("v1", None),
            ("*", None),
            ("//", None),
            ("//admin", None),
            ("/v1//admin", None),
            ("/v1/..//admin", None),
            ("/%", None),
            ("/%2", None),
            ("/%zz", None),
            ("/%+1", None),
            ("/a%00", None),
            ("/a%2500", None),
            ("/a\0", None),
            ("/a b", None),
            ("/a\r\n", None),
            ("/a?b", None),
            ("/a#b", None),
            ("/v1\\..\\admin", None),
            ("/v1/..%2fadmin", None),
            ("/v1/x%2F..%2Fadmin", None),
            ("/v1/..%5Cadmin", None),
            ("/v1/%252e%252e/admin", None),
            ("/v1/%25252e%25252e%25252fadmin", None),
            ("/v1/..;/admin", None),
            ("/v1/..%3Bx/admin", None),
            ("/v1/.;x", None),
            ("/v1/100%25", Some("/v1/100%25")),
            ("/v1/100%25/x", Some("/v1/100%25/x")),
        ];
        for (path, expected) in CASES {
            assert_eq!(normal_path(path).as_deref(), *expected, "{path}");
        }
        assert_eq!(normal_path(&format!("/{}", "a".repeat(MAX_PATH_BYTES))), None);
        // Not too long before its escapes.
        assert_eq!(normal_path(&format!("/{}", "\u{fc}".repeat(MAX_PATH_BYTES / 3))), None);
    }
}
