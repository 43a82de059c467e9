//! Values, written so that they do not break what they are put into.

use crate::media::BodyKind;

/// What a value is put into.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Escape<'e> {
    /// A field value (RFC 9110, section 5.5).
    Header,
    /// The user-id of Basic credentials: a colon would end it (RFC 7617, section 2).
    BasicUser,
    /// The password.
    BasicPassword,
    /// A path, a query, a form: everything but unreserved characters is escaped (RFC 3986, section
    /// 2.3).
    Percent,
    /// A segment of a path: the same, and no dots alone.
    Path,
    /// Content.
    Body(&'e BodyKind),
}

/// The value cannot stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit;

impl Escape<'_> {
    /// How many bytes are written for one of a value, at most.
    pub(crate) fn most_bytes(self) -> usize {
        match self {
            Self::Header | Self::BasicUser | Self::BasicPassword => 1,
            Self::Body(BodyKind::Text | BodyKind::Multipart { .. } | BodyKind::Binary) => 1,
            Self::Percent | Self::Path | Self::Body(BodyKind::Form) => 3,
            Self::Body(BodyKind::Json | BodyKind::Xml) => 6,
        }
    }

    /// Writes `value` to the end of `out`, which is of no use after an error.
    pub(crate) fn write(self, value: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Self::Header => raw_if(value.iter().all(|byte| *byte == b'\t' || !is_control(*byte)), value, out),
            Self::BasicUser => {
                raw_if(!value.iter().any(|byte| is_control(*byte) || *byte == b':'), value, out)
            }
            Self::BasicPassword => raw_if(!value.iter().any(|byte| is_control(*byte)), value, out),
            Self::Path if value.iter().all(|byte| *byte == b'.') => Err(Unfit),
            Self::Percent | Self::Path | Self::Body(BodyKind::Form) => {
                percent(value, out);
                Ok(())
            }
            Self::Body(BodyKind::Json) => json(value, out),
            Self::Body(BodyKind::Xml) => xml(value, out),
            Self::Body(BodyKind::Text) => raw_if(std::str::from_utf8(value).is_ok(), value, out),
            Self::Body(BodyKind::Multipart { boundary }) => raw_if(!ends_part(value, boundary), value, out),
            Self::Body(BodyKind::Binary) => raw_if(true, value, out),
        }
    }
}

fn raw_if(fits: bool, value: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    if !fits {
        return Err(Unfit);
    }
    out.extend_from_slice(value);
    Ok(())
}

fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}

fn percent(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
            out.extend([b'%', digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
}

/// The inside of a string (RFC 8259, section 7), which is UTF-8.
fn json(value: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    std::str::from_utf8(value).map_err(|_| Unfit)?;
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend(b"\\u00");
                out.extend([digit(byte >> 4), digit(byte & 0xf)]);
            }
            _ => out.push(*byte),
        }
    }
    Ok(())
}

/// Character data or an attribute's value (XML 1.0, section 2.4), which knows few control characters.
fn xml(value: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    std::str::from_utf8(value).map_err(|_| Unfit)?;
    for byte in value {
        match byte {
            b'&' => out.extend(b"&amp;"),
            b'<' => out.extend(b"&lt;"),
            b'>' => out.extend(b"&gt;"),
            b'"' => out.extend(b"&quot;"),
            b'\'' => out.extend(b"&#39;"),
            b'\t' | b'\n' | b'\r' => out.push(*byte),
            0..0x20 => return Err(Unfit),
            _ => out.push(*byte),
        }
    }
    Ok(())
}

/// Whether a line of `value`, with what the guest puts behind it, could end a part (RFC 2046, section
/// 5.1.1). The first line is the end of the guest's own.
fn ends_part(value: &[u8], boundary: &[u8]) -> bool {
    let delimiter = [b"--", boundary].concat();
    let could_be = |line: &[u8]| {
        let shared = line.len().min(delimiter.len());
        line[..shared] == delimiter[..shared]
    };
    let is_end = |at: &usize| matches!(value[*at], b'\r' | b'\n');
    could_be(value) || (0..value.len()).filter(is_end).any(|at| could_be(&value[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_their_places() {
        let multipart = BodyKind::Multipart { boundary: b"xyz".to_vec() };
        let cases: &[(Escape<'_>, &str, Option<&str>)] = &[
            (Escape::Header, "a\tb c", Some("a\tb c")),
            (Escape::Header, "a\r\nx: 1", None),
            (Escape::Header, "a\0", None),
            (Escape::Header, "a\x7f", None),
            (Escape::BasicUser, "a:b", None),
            (Escape::BasicUser, "ab", Some("ab")),
            (Escape::BasicPassword, "a:b", Some("a:b")),
            (Escape::BasicPassword, "a\nb", None),
            (Escape::Percent, "a b/c?d&e=%2f+é", Some("a%20b%2Fc%3Fd%26e%3D%252f%2B%C3%A9")),
            (Escape::Path, "..", None),
            (Escape::Path, "../a", Some("..%2Fa")),
            (Escape::Body(&BodyKind::Form), "a&b=c", Some("a%26b%3Dc")),
            (Escape::Body(&BodyKind::Json), "a\"b\\c\n\r\t\x01é", Some("a\\\"b\\\\c\\n\\r\\t\\u0001é")),
            (Escape::Body(&BodyKind::Xml), "<a href='x'>&\"", Some("&lt;a href=&#39;x&#39;&gt;&amp;&quot;")),
            (Escape::Body(&BodyKind::Xml), "a\x01", None),
            (Escape::Body(&BodyKind::Xml), "\"\"", Some("&quot;&quot;")),
            (Escape::Body(&BodyKind::Json), "\x01\x1f", Some("\\u0001\\u001f")),
            (Escape::Percent, "%&", Some("%25%26")),
            (Escape::Body(&BodyKind::Text), "a\r\nb", Some("a\r\nb")),
            (Escape::Body(&multipart), "a\r\n--xyz--\r\n", None),
            (Escape::Body(&multipart), "a\n--xy", None),
            (Escape::Body(&multipart), "a\r\n", None),
            (Escape::Body(&multipart), "--x", None),
            (Escape::Body(&multipart), "-----BEGIN\n-----END", Some("-----BEGIN\n-----END")),
            (Escape::Body(&BodyKind::Binary), "a\r\n\0", Some("a\r\n\0")),
        ];
        for (escape, value, expected) in cases {
            let mut out = b"> ".to_vec();
            let written = escape.write(value.as_bytes(), &mut out).ok().map(|()| out);
            let most = "> ".len() + value.len() * escape.most_bytes();
            assert!(written.as_ref().is_none_or(|written| written.len() <= most), "{value:?} in {escape:?}");
            let expected = expected.map(|text| format!("> {text}").into_bytes());
            assert_eq!(written, expected, "{value:?} in {escape:?}");
        }
        for kind in [BodyKind::Json, BodyKind::Xml, BodyKind::Text] {
            assert_eq!(Escape::Body(&kind).write(b"\xff", &mut Vec::new()), Err(Unfit), "{kind:?}");
        }
    }
}
