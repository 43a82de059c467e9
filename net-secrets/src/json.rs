use crate::levels::Decoder;

/// What stands for every character beyond ASCII: no form of a placeholder has it.
const BEYOND_ASCII: u8 = 0xff;

/// Decodes the escapes of JSON strings in a stream (RFC 8259, section 7), wherever a backslash
/// stands; what is no escape passes unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum JsonDecoder {
    /// Outside an escape.
    #[default]
    Plain,
    /// Behind its backslash.
    Backslash,
    /// Behind `\u` and so many of its digits.
    Unicode { digits: [u8; 3], count: u8 },
}

/// The byte that the escape stands for which `text` begins with, and its length; `None` where it is none, or not whole.
pub(crate) fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let [b'\\', kind, behind @ ..] = text else { return None };
    if *kind != b'u' {
        return character(*kind).map(|byte| (byte, 2));
    }
    let digits = behind.first_chunk::<4>()?;
    digits.iter().all(u8::is_ascii_hexdigit).then(|| (code(digits), 6))
}

/// What stands for itself, or another character, behind a backslash.
pub(crate) fn character(kind: u8) -> Option<u8> {
    Some(match kind {
        b'"' | b'\\' | b'/' => kind,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// What four digits stand for.
fn code(digits: &[u8; 4]) -> u8 {
    let code = digits.iter().fold(0, |code, digit| code << 4 | value(*digit));
    u8::try_from(code).ok().filter(u8::is_ascii).unwrap_or(BEYOND_ASCII)
}

impl Decoder for JsonDecoder {
    const SIGN: u8 = b'\\';

    /// Decodes `bytes` to the end of `decoded`: at most five more than there are, which were kept from
    /// the piece before.
    fn feed(&mut self, bytes: &[u8], decoded: &mut Vec<u8>) {
        let mut rest = bytes;
        loop {
            if *self == Self::Plain {
                let Some(at) = memchr::memchr(b'\\', rest) else { return decoded.extend_from_slice(rest) };
                decoded.extend_from_slice(&rest[..at]);
                rest = &rest[at + 1..];
                *self = Self::Backslash;
            }
            let Some((byte, behind)) = rest.split_first() else { return };
            self.push(*byte, decoded);
            rest = behind;
        }
    }
}

impl JsonDecoder {
    /// One byte within an escape.
    fn push(&mut self, byte: u8, decoded: &mut Vec<u8>) {
        match *self {
            Self::Plain => self.pass(byte, decoded),
            Self::Backslash => {
                if byte == b'u' {
                    *self = Self::Unicode { digits: [0; 3], count: 0 };
                    return;
                }
                let Some(character) = character(byte) else {
                    decoded.push(b'\\');
                    return self.pass(byte, decoded);
                };
                *self = Self::Plain;
                decoded.push(character);
            }
            Self::Unicode { mut digits, count } => {
                let seen = &digits[..usize::from(count)];
                if !byte.is_ascii_hexdigit() {
                    decoded.extend_from_slice(b"\\u");
                    decoded.extend_from_slice(seen);
                    return self.pass(byte, decoded);
                }
                if let Some(place) = digits.get_mut(usize::from(count)) {
                    *place = byte;
                    *self = Self::Unicode { digits, count: count + 1 };
                    return;
                }
                let [first, second, third] = digits;
                *self = Self::Plain;
                decoded.push(code(&[first, second, third, byte]));
            }
        }
    }

    /// One byte that is in no escape, or begins the next.
    fn pass(&mut self, byte: u8, decoded: &mut Vec<u8>) {
        if byte == b'\\' {
            *self = Self::Backslash;
        } else {
            *self = Self::Plain;
            decoded.push(byte);
        }
    }
}

/// The value of a hexadecimal digit.
fn value(digit: u8) -> u32 {
    char::from(digit).to_digit(16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_at_every_split() {
        const CASES: &[(&str, &[u8])] = &[
            ("plain", b"plain"),
            (r"\u0041\u0062", b"Ab"),
            (r"a\u005fb\u005F\/", b"a_b_/"),
            (r#"\"\\\b\f\n\r\t"#, b"\"\\\x08\x0c\n\r\t"),
            (r"\\u0041", b"\\u0041"),
            (r"\\\u0041", b"\\A"),
            (r"\u004\u0041", b"\\u004A"),
            (r"\u00\\", b"\\u00\\"),
            (r"\u00g1\x41\s", b"\\u00g1\\x41\\s"),
            (r"\u00e9\ud83d\ude00z", b"\xff\xff\xffz"),
            (r"a\u0025", b"a%"),
            (r"the end \u00", b"the end "),
            ("the end \\", b"the end "),
        ];
        for (text, expected) in CASES {
            for split in 0..=text.len() {
                let (mut decoder, mut decoded) = (JsonDecoder::default(), Vec::new());
                decoder.feed(&text.as_bytes()[..split], &mut decoded);
                decoder.feed(&text.as_bytes()[split..], &mut decoded);
                assert_eq!(decoded, *expected, "{text} split at {split}");
            }
            // Where a whole one stands, it is the same alone.
            for at in memchr::memchr_iter(b'\\', text.as_bytes()) {
                let Some((byte, used)) = escape(&text.as_bytes()[at..]) else { continue };
                let mut decoded = Vec::new();
                JsonDecoder::default().feed(&text.as_bytes()[at..at + used], &mut decoded);
                assert_eq!(decoded, [byte], "{text} at {at}");
            }
        }
    }
}
