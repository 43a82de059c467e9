//! The finite forms in which a text hides: itself, base64 at three alignments, hex.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LOWER_HEX: &[u8; 16] = b"0123456789abcdef";
const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

/// How a text is written. Any byte of the form is told from the text without making the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Raw,
    /// The characters that do not depend on the text's neighbours.
    Base64 {
        /// How many bytes of a group of three stand before the text.
        alignment: u8,
        is_url_safe: bool,
    },
    Hex {
        is_upper: bool,
    },
}

impl Form {
    /// Every form, the text itself first.
    pub(crate) const ALL: [Self; 9] = [
        Self::Raw,
        Self::Base64 { alignment: 0, is_url_safe: false },
        Self::Base64 { alignment: 1, is_url_safe: false },
        Self::Base64 { alignment: 2, is_url_safe: false },
        Self::Base64 { alignment: 0, is_url_safe: true },
        Self::Base64 { alignment: 1, is_url_safe: true },
        Self::Base64 { alignment: 2, is_url_safe: true },
        Self::Hex { is_upper: false },
        Self::Hex { is_upper: true },
    ];

    /// How long the form of a text of so many bytes is.
    pub(crate) fn bytes_of(self, text_bytes: usize) -> usize {
        match self {
            Self::Raw => text_bytes,
            Self::Base64 { alignment, .. } => (text_bytes * 8).saturating_sub(first_bit(alignment)) / 6,
            Self::Hex { .. } => text_bytes * 2,
        }
    }

    /// The form's byte at `at`.
    pub(crate) fn byte(self, text: &[u8], at: usize) -> Option<u8> {
        match self {
            Self::Raw => text.get(at).copied(),
            Self::Base64 { alignment, is_url_safe } => {
                let bit = first_bit(alignment) + at * 6;
                if bit + 6 > text.len() * 8 {
                    return None;
                }
                let high = u16::from(*text.get(bit / 8)?) << 8;
                let low = u16::from(text.get(bit / 8 + 1).copied().unwrap_or(0));
                let index = usize::from((high | low) >> (10 - bit % 8) & 0x3f);
                Some(if is_url_safe { URL_SAFE[index] } else { STANDARD[index] })
            }
            Self::Hex { is_upper } => {
                let byte = *text.get(at / 2)?;
                let nibble = usize::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 0xf });
                Some(if is_upper { UPPER_HEX[nibble] } else { LOWER_HEX[nibble] })
            }
        }
    }

    /// The form of a text that is no value.
    pub(crate) fn of(self, text: &[u8]) -> Vec<u8> {
        (0..self.bytes_of(text.len())).filter_map(|at| self.byte(text, at)).collect()
    }

    /// How many bytes at the beginning of `found` are those of the form; hex in either case.
    pub(crate) fn common_bytes(self, text: &[u8], found: &[u8]) -> usize {
        let is_same = |own: u8, byte: u8| match self {
            Self::Raw | Self::Base64 { .. } => own == byte,
            Self::Hex { .. } => own.eq_ignore_ascii_case(&byte),
        };
        let pairs = found.iter().enumerate();
        pairs.take_while(|(at, byte)| self.byte(text, *at).is_some_and(|own| is_same(own, **byte))).count()
    }
}

/// The first bit of the text that begins a character of its own.
fn first_bit(alignment: u8) -> usize {
    match alignment {
        0 => 0,
        1 => 4,
        _ => 2,
    }
}

/// The forms of a placeholder that are looked for, without duplicates: the text as it is, in either
/// case (names of hosts and fields lose theirs), and encoded.
pub(crate) fn forms(text: &[u8]) -> Vec<Vec<u8>> {
    let cased = [text.to_ascii_lowercase(), text.to_ascii_uppercase()];
    let mut unique: Vec<Vec<u8>> = Vec::new();
    for form in Form::ALL.into_iter().map(|form| form.of(text)).chain(cased) {
        if !unique.contains(&form) {
            unique.push(form);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_form_stands_in_what_an_encoder_writes(
            before in proptest::collection::vec(any::<u8>(), 0..7),
            text in proptest::collection::vec(any::<u8>(), 0..40),
            behind in proptest::collection::vec(any::<u8>(), 0..5),
        ) {
            let whole = [&before[..], &text, &behind].concat();
            let alignment = u8::try_from(before.len() % 3).expect("0 to 2");
            for (is_url_safe, encoded) in
                [(false, STANDARD_NO_PAD.encode(&whole)), (true, URL_SAFE_NO_PAD.encode(&whole))]
            {
                let form = Form::Base64 { alignment, is_url_safe };
                let start = (before.len() * 8).div_ceil(6);
                let own = form.of(&text);
                prop_assert_eq!(own.len(), form.bytes_of(text.len()));
                // All characters but those at the edges are the text's own.
                prop_assert_eq!(own.len(), (text.len() * 8).saturating_sub(first_bit(alignment)) / 6);
                prop_assert_eq!(&encoded.as_bytes()[start..start + own.len()], &own[..]);
            }
            let hex: String = text.iter().map(|byte| format!("{byte:02X}")).collect();
            prop_assert_eq!(Form::Hex { is_upper: true }.of(&text), hex.clone().into_bytes());
            let lower = Form::Hex { is_upper: false };
            prop_assert_eq!(lower.common_bytes(&text, hex.as_bytes()), hex.len());
            prop_assert_eq!(Form::Raw.of(&text), text);
        }
    }
}
