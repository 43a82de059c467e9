use crate::levels::Decoder;

/// Percent-decodes a stream (RFC 3986, section 2.1); what is no escape passes unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PercentDecoder {
    /// Outside an escape.
    #[default]
    Plain,
    /// Behind its sign.
    Percent,
    /// Behind its first digit.
    Digit(u8),
}

impl Decoder for PercentDecoder {
    const SIGN: u8 = b'%';

    /// Decodes `bytes` to the end of `decoded`: at most two more than there are, which were kept
    /// from the piece before.
    fn feed(&mut self, bytes: &[u8], decoded: &mut Vec<u8>) {
        let mut rest = bytes;
        loop {
            if *self != Self::Plain {
                let Some((byte, behind)) = rest.split_first() else { return };
                self.push(*byte, decoded);
                rest = behind;
                continue;
            }
            let Some(at) = memchr::memchr(b'%', rest) else { return decoded.extend_from_slice(rest) };
            decoded.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            match rest {
                [high, low, behind @ ..] if let (Some(high), Some(low)) = (digit(*high), digit(*low)) => {
                    decoded.push(high << 4 | low);
                    rest = behind;
                }
                _ => *self = Self::Percent,
            }
        }
    }
}

impl PercentDecoder {
    /// One byte within an escape.
    fn push(&mut self, byte: u8, decoded: &mut Vec<u8>) {
        *self = match *self {
            Self::Percent if digit(byte).is_some() => Self::Digit(byte),
            Self::Plain | Self::Percent if byte == b'%' => {
                if *self == Self::Percent {
                    decoded.push(b'%');
                }
                Self::Percent
            }
            Self::Percent => {
                decoded.extend([b'%', byte]);
                Self::Plain
            }
            Self::Plain => {
                decoded.push(byte);
                Self::Plain
            }
            Self::Digit(high) => match (digit(high), digit(byte)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    Self::Plain
                }
                _ if byte == b'%' => {
                    decoded.extend([b'%', high]);
                    Self::Percent
                }
                _ => {
                    decoded.extend([b'%', high, byte]);
                    Self::Plain
                }
            },
        };
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_at_every_split() {
        const CASES: &[(&str, &str)] = &[
            ("plain", "plain"),
            ("%41%62", "Ab"),
            ("a%5fb%5F", "a_b_"),
            ("%2541", "%41"),
            ("%%41", "%A"),
            ("%4%41", "%4A"),
            ("%4g%g1", "%4g%g1"),
            ("100% sure%", "100% sure"),
            ("%4", ""),
        ];
        for (text, expected) in CASES {
            for split in 0..=text.len() {
                let (mut decoder, mut decoded) = (PercentDecoder::default(), Vec::new());
                decoder.feed(&text.as_bytes()[..split], &mut decoded);
                decoder.feed(&text.as_bytes()[split..], &mut decoded);
                assert_eq!(String::from_utf8_lossy(&decoded), *expected, "{text} split at {split}");
            }
        }
    }
}
