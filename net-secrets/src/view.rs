use memchr::{memchr, memchr2};

/// A way to read a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// As it is.
    Raw,
    /// Percent-decoded (RFC 3986, section 2.1).
    Percent,
    /// The same, and a plus is a space, as in forms.
    Form,
    /// With the escapes of JSON strings undone (RFC 8259, section 7), wherever they stand.
    Json,
}

/// An escape at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// So many bytes stand for these; one that stands for itself is its own unit.
    Whole { bytes: [u8; 4], count: usize, used: usize },
    /// More must be seen.
    Partial,
}

impl Unit {
    fn byte(byte: u8, used: usize) -> Self {
        Self::Whole { bytes: [byte, 0, 0, 0], count: 1, used }
    }

    fn character(character: char, used: usize) -> Self {
        let mut bytes = [0; 4];
        let count = character.encode_utf8(&mut bytes).len();
        Self::Whole { bytes, count, used }
    }
}

impl View {
    /// The first place in `text` where a unit may stand that is not a byte for itself.
    pub(crate) fn sign(self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Raw => None,
            Self::Percent => memchr(b'%', text),
            Self::Form => memchr2(b'%', b'+', text),
            Self::Json => memchr(b'\\', text),
        }
    }

    /// The unit that begins with the sign `text` begins with.
    pub(crate) fn unit(self, text: &[u8]) -> Unit {
        match (self, text) {
            (Self::Form, [b'+', ..]) => Unit::byte(b' ', 1),
            (Self::Percent | Self::Form, [b'%', rest @ ..]) => match hex_digits(rest, 2) {
                Digits::All(value) => Unit::byte(value.to_le_bytes()[0], 3),
                Digits::Partial => Unit::Partial,
                Digits::None => Unit::byte(b'%', 1),
            },
            (Self::Json, [b'\\', rest @ ..]) => json_escape(rest),
            (_, [first, ..]) => Unit::byte(*first, 1),
            (_, []) => Unit::Partial,
        }
    }
}

/// Half a character, which stands for nothing.
const ALONE: Unit = Unit::Whole { bytes: [0xff, 0, 0, 0], count: 1, used: 6 };

enum Digits {
    All(u32),
    /// So far they are.
    Partial,
    None,
}

/// A number of so many hexadecimal digits at the beginning of `text`.
fn hex_digits(text: &[u8], count: usize) -> Digits {
    let seen = &text[..text.len().min(count)];
    let mut value = 0;
    for byte in seen {
        match char::from(*byte).to_digit(16) {
            Some(digit) => value = value << 4 | digit,
            None => return Digits::None,
        }
    }
    if seen.len() == count { Digits::All(value) } else { Digits::Partial }
}

/// What stands behind a backslash.
fn json_escape(rest: &[u8]) -> Unit {
    let Some(first) = rest.first() else { return Unit::Partial };
    match first {
        b'"' | b'\\' | b'/' => Unit::byte(*first, 2),
        b'b' => Unit::byte(0x08, 2),
        b'f' => Unit::byte(0x0c, 2),
        b'n' => Unit::byte(b'\n', 2),
        b'r' => Unit::byte(b'\r', 2),
        b't' => Unit::byte(b'\t', 2),
        b'u' => match hex_digits(&rest[1..], 4) {
            Digits::All(high @ 0xd800..0xdc00) => low_surrogate(high, &rest[5..]),
            // A low surrogate alone stands for nothing.
            Digits::All(code) => char::from_u32(code).map_or(ALONE, |one| Unit::character(one, 6)),
            Digits::Partial => Unit::Partial,
            Digits::None => Unit::byte(b'\\', 1),
        },
        _ => Unit::byte(b'\\', 1),
    }
}

/// The second half of a character beyond the first plane.
fn low_surrogate(high: u32, rest: &[u8]) -> Unit {
    match rest {
        [] | [b'\\'] => Unit::Partial,
        [b'\\', b'u', digits @ ..] => match hex_digits(digits, 4) {
            Digits::All(low @ 0xdc00..0xe000) => {
                let code = 0x1_0000 + ((high - 0xd800) << 10 | (low - 0xdc00));
                char::from_u32(code).map_or(ALONE, |one| Unit::character(one, 12))
            }
            Digits::Partial => Unit::Partial,
            Digits::All(_) | Digits::None => ALONE,
        },
        _ => ALONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(view: View, text: &[u8]) -> Vec<u8> {
        let (mut decoded, mut at) = (Vec::new(), 0);
        while at < text.len() {
            match view.unit(&text[at..]) {
                Unit::Whole { bytes, count, used } => {
                    decoded.extend(&bytes[..count]);
                    at += used;
                }
                Unit::Partial => {
                    decoded.extend(b"<");
                    decoded.extend(&text[at..]);
                    break;
                }
            }
        }
        decoded
    }

    #[test]
    fn units() {
        const CASES: &[(View, &str, &str)] = &[
            (View::Raw, "%41\\n+", "%41\\n+"),
            (View::Percent, "%41+%zz%4", "A+%zz<%4"),
            (View::Percent, "%%41%", "%A<%"),
            (View::Form, "a+b%2b", "a b+"),
            (View::Json, r#"\"\\\/\n\x\u0041\u00e9"#, "\"\\/\n\\xAé"),
            (View::Json, r"\ud83d\ude00z", "😀z"),
            (View::Json, r"\ud83d\ud", r"<\ud83d\ud"),
            (View::Json, r"\ud83d", r"<\ud83d"),
            (View::Json, r"\u004g\u00", r"\u004g<\u00"),
        ];
        for (view, text, expected) in CASES {
            assert_eq!(
                String::from_utf8_lossy(&decode(*view, text.as_bytes())),
                *expected,
                "{view:?} {text}"
            );
        }
        assert_eq!(decode(View::Json, br"\ud83dx\ude00\ud83d\u0041"), b"\xffx\xff\xffA");
    }
}
