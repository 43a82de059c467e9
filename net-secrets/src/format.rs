use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::placeholder::is_plain;
use crate::{MARKER, Placeholder};

/// What is drawn behind the marker, at least, in bits.
const MIN_RANDOM_BITS: u32 = 48;
const MAX_BYTES: usize = 512;
/// A prefix of a sample, its separators included, is no longer.
const MAX_PREFIX_BYTES: usize = 16;

const DIGITS: &[u8] = b"0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const UPPER_HEX: &[u8] = b"0123456789ABCDEF";
const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const BASE62: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Formats by name: what each begins with, the alphabet and the number of what follows.
const NAMED: &[(&str, &str, &[u8], usize)] = &[
    ("plain", "netsec_", HEX, MARKER.len() + 32),
    ("openai", "sk-", BASE62, 48),
    ("anthropic", "sk-ant-api03-", BASE62, 95),
    ("github", "ghp_", BASE62, 36),
    ("gitlab", "glpat-", BASE62, 20),
    ("stripe", "sk_live_", BASE62, 24),
    ("google", "AIza", BASE62, 35),
    ("aws-access-key", "AKIA", BASE32, 16),
    ("aws-secret-key", "", BASE62, 40),
    // No claims: clients that read them find none.
    ("jwt", "eyJhbGciOiJIUzI1NiJ9.e30.", BASE62, 43),
];

/// Prefixes of keys that no separator ends.
const BARE_PREFIXES: &[&str] = &["AKIA", "ASIA", "AIza", "eyJ"];

/// How a generated placeholder is written: as long as the real thing, beginning like it and in its
/// alphabet, so that clients that look at it are content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceholderFormat {
    slots: Vec<Slot>,
    /// Where the marker stands.
    marker: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Fixed(u8),
    Drawn(&'static [u8]),
}

/// Why there is no such format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// No format has the name.
    #[error(
        "formats are plain, openai, anthropic, github, gitlab, stripe, google, aws-access-key, aws-secret-key \
         and jwt"
    )]
    Name,
    /// Too short for the marker and enough randomness, or longer than 512 bytes.
    #[error("a sample has room for six digits and another 48 random bits, and at most 512 bytes")]
    Length,
    /// Something that is in no key.
    #[error("a sample is visible ASCII")]
    Alphabet,
}

impl Default for PlaceholderFormat {
    fn default() -> Self {
        Self::of("netsec_", HEX, MARKER.len() + 32)
    }
}

impl PlaceholderFormat {
    /// A format by its name.
    ///
    /// # Errors
    /// `Name`.
    pub fn named(name: &str) -> Result<Self, FormatError> {
        let found = NAMED.iter().find(|(own, ..)| *own == name).ok_or(FormatError::Name)?;
        let (_, prefix, alphabet, count) = *found;
        Ok(Self::of(prefix, alphabet, count))
    }

    /// The format of a sample: its length, its prefix (what a hyphen or underscore ends near its
    /// beginning, and some that are well known), its separators and its alphabet, where digits are
    /// added to letters alone.
    ///
    /// # Errors
    /// `Length` and `Alphabet`.
    pub fn like(sample: &str) -> Result<Self, FormatError> {
        if !sample.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(FormatError::Alphabet);
        }
        if sample.len() > MAX_BYTES {
            return Err(FormatError::Length);
        }
        let (prefix, body) = sample.as_bytes().split_at(prefix_bytes(sample));
        let alphabet = alphabet(body);
        let is_separator = |byte: u8| is_plain(byte) && !byte.is_ascii_alphanumeric();
        let drawn = body
            .iter()
            .map(|byte| if is_separator(*byte) { Slot::Fixed(*byte) } else { Slot::Drawn(alphabet) });
        let slots: Vec<Slot> = prefix.iter().map(|byte| Slot::Fixed(*byte)).chain(drawn).collect();
        let is_drawn = |slot: &Slot| matches!(slot, Slot::Drawn(_));
        let marker = slots.windows(MARKER.len()).position(|slots| slots.iter().all(is_drawn));
        let marker = marker.ok_or(FormatError::Length)?;
        let format = Self { slots, marker };
        if format.random_bits() < MIN_RANDOM_BITS { Err(FormatError::Length) } else { Ok(format) }
    }

    fn of(prefix: &str, alphabet: &'static [u8], count: usize) -> Self {
        let fixed = prefix.bytes().map(Slot::Fixed);
        let slots = fixed.chain(std::iter::repeat_n(Slot::Drawn(alphabet), count)).collect();
        Self { slots, marker: prefix.len() }
    }

    /// What is drawn behind the marker, rounded down.
    fn random_bits(&self) -> u32 {
        let bits = |slot: &Slot| match slot {
            Slot::Fixed(_) => 0,
            Slot::Drawn(alphabet) => alphabet.len().ilog2(),
        };
        self.slots.iter().skip(self.marker + MARKER.len()).map(bits).sum()
    }

    /// A placeholder of this format from 128 bits the caller drew: whoever does not have them cannot
    /// tell it.
    pub fn generate(&self, random: [u8; 16]) -> Placeholder {
        let mut draw = Draw { random, block: 0, left: Vec::new() };
        let marker = self.marker..self.marker + MARKER.len();
        let text = self.slots.iter().enumerate().map(|(at, slot)| match slot {
            Slot::Fixed(byte) => char::from(*byte),
            Slot::Drawn(_) if marker.contains(&at) => char::from(MARKER.as_bytes()[at - marker.start]),
            Slot::Drawn(alphabet) => char::from(draw.one_of(alphabet)),
        });
        Placeholder::marked(text.collect(), self.marker)
    }
}

/// The 128 bits made as many as are needed, by hashing them with a counter.
struct Draw {
    random: [u8; 16],
    block: u64,
    left: Vec<u8>,
}

impl Draw {
    /// Every letter is as likely as any other.
    fn one_of(&mut self, alphabet: &[u8]) -> u8 {
        let fair = 256 - 256 % alphabet.len();
        loop {
            let index = usize::from(self.next());
            if index < fair {
                return alphabet[index % alphabet.len()];
            }
        }
    }

    fn next(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.left.pop() {
                return byte;
            }
            let hash = Sha256::new().chain_update(self.random).chain_update(self.block.to_le_bytes());
            self.left = hash.finalize().to_vec();
            self.block += 1;
        }
    }
}

/// How much of a sample is the same in every key of its kind.
fn prefix_bytes(sample: &str) -> usize {
    if let Some(bare) = BARE_PREFIXES.iter().find(|bare| sample.starts_with(*bare)) {
        return bare.len();
    }
    let mut end = 0;
    for (at, byte) in sample.bytes().enumerate().take(MAX_PREFIX_BYTES) {
        match byte {
            b'-' | b'_' if is_word(&sample[end..at]) => end = at + 1,
            b'a'..=b'z' | b'0'..=b'9' => {}
            _ => break,
        }
    }
    end
}

/// Letters and at most two digits at their end, as in `api03`: more of them are a number, or drawn.
fn is_word(text: &str) -> bool {
    let letters = text.trim_end_matches(|last: char| last.is_ascii_digit());
    (1..=8).contains(&letters.len())
        && text.len() - letters.len() <= 2
        && letters.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// The smallest alphabet that has all letters and digits of `body`.
fn alphabet(body: &[u8]) -> &'static [u8] {
    let fits = |alphabet: &&&'static [u8]| {
        body.iter().filter(|byte| byte.is_ascii_alphanumeric()).all(|byte| alphabet.contains(byte))
    };
    [DIGITS, HEX, UPPER_HEX, BASE32, LOWER, UPPER].iter().find(fits).copied().unwrap_or(BASE62)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The shape of a text: letters of one case, digits and the rest.
    fn is_in(text: &str, alphabet: &[u8]) -> bool {
        text.bytes().all(|byte| alphabet.contains(&byte) || !byte.is_ascii_alphanumeric())
    }

    #[test]
    fn samples_keep_prefix_length_alphabet_and_separators() {
        // The sample, its prefix, and the alphabet of the rest.
        const CASES: &[(&str, &str, &[u8])] = &[
            ("sk-proj-Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8", "sk-proj-", BASE62),
            ("sk-ant-api03-Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8", "sk-ant-api03-", BASE62),
            ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_", BASE62),
            ("AKIAIOSFODNN7EXAMPLE", "AKIA", BASE32),
            ("0123456789abcdef0123456789abcdef", "", HEX),
            ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "", HEX),
            ("123456789012345678901234567890", "", DIGITS),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.aaaaBBBBcccc", "eyJ", BASE62),
            ("xoxb-123456789012-ABCDEF0123456789ABCD", "xoxb-", UPPER),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", BASE62),
        ];
        for (sample, prefix, alphabet) in CASES {
            let format = PlaceholderFormat::like(sample).expect(sample);
            let placeholder = format.generate([7; 16]);
            let text = placeholder.as_str();
            assert_eq!(text.len(), sample.len(), "{sample}");
            assert!(text.starts_with(prefix), "{text} for {sample}");
            assert!(is_in(&text[prefix.len()..], alphabet), "{text} for {sample}");
            assert!(placeholder.core().starts_with(MARKER), "{text}");
            assert!(Placeholder::from_user(text).is_ok(), "{text}");
            for (own, theirs) in text.bytes().zip(sample.bytes()).filter(|(_, byte)| b"-_.".contains(byte)) {
                assert_eq!(own, theirs, "{text} for {sample}");
            }
            let shared = text.bytes().zip(sample.bytes()).skip(prefix.len()).filter(|(one, two)| one == two);
            assert!(shared.count() < sample.len() / 2, "{text} tells {sample}");
        }
    }

    #[test]
    fn samples_without_room_are_refused() {
        for sample in ["", "short", "sk-abcdef0123", "AKIA0123456789", "ab-cd-ef-gh-ij-kl-mn-op-qr-st"] {
            assert_eq!(PlaceholderFormat::like(sample), Err(FormatError::Length), "{sample}");
        }
        assert_eq!(PlaceholderFormat::like(&"a".repeat(513)), Err(FormatError::Length));
        assert_eq!(PlaceholderFormat::like("a key with spaces in it"), Err(FormatError::Alphabet));
        assert_eq!(PlaceholderFormat::named("aws"), Err(FormatError::Name));
    }

    #[test]
    fn named_formats_are_random_and_marked() {
        for (name, prefix, alphabet, count) in NAMED {
            let format = PlaceholderFormat::named(name).expect(name);
            assert!(format.random_bits() >= MIN_RANDOM_BITS, "{name}");
            let (one, two) = (format.generate([1; 16]), format.generate([2; 16]));
            assert_eq!(one, format.generate([1; 16]), "{name}: the bits alone tell");
            assert_eq!(one.as_str().len(), prefix.len() + count, "{name}");
            let text = one.as_str().strip_prefix(prefix).and_then(|rest| rest.strip_prefix(MARKER));
            assert!(text.is_some_and(|rest| is_in(rest, alphabet)), "{one} for {name}");
            let shared = one.core().bytes().zip(two.core().bytes()).skip(MARKER.len());
            assert!(shared.filter(|(one, two)| one == two).count() <= count / 3, "{one} {two}");
        }
        assert_eq!(PlaceholderFormat::named("plain"), Ok(PlaceholderFormat::default()));
    }

    proptest! {
        #[test]
        fn whatever_the_sample_the_placeholder_is_one(sample in "[!-~]{0,80}", random: [u8; 16]) {
            if let Ok(format) = PlaceholderFormat::like(&sample) {
                let placeholder = format.generate(random);
                prop_assert_eq!(placeholder.as_str().len(), sample.len());
                prop_assert!(Placeholder::from_user(placeholder.as_str()).is_ok(), "{}", placeholder);
                prop_assert!(placeholder.core().len() >= MARKER.len() + 8);
            }
        }
    }
}
