use crate::ParseError;
use crate::reader::Reader;

pub(crate) const SERVER_NAME: u16 = 0;
pub(crate) const SUPPORTED_GROUPS: u16 = 10;
pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(crate) const ALPN: u16 = 16;
pub(crate) const RECORD_SIZE_LIMIT: u16 = 28;
pub(crate) const SESSION_TICKET: u16 = 35;
pub(crate) const PRE_SHARED_KEY: u16 = 41;
pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
pub(crate) const KEY_SHARE: u16 = 51;
pub(crate) const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// One extension of a ClientHello, as the client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The type, GREASE included.
    pub kind: u16,
    /// The contents, unchecked.
    pub body: &'a [u8],
}

/// Extensions in the client's order. No type comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a>(Reader<'a>);

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        Some(Extension { kind: self.0.u16()?, body: self.0.vector_u16()?.rest() })
    }
}

/// The types that have a bit of their own while duplicates are looked for.
const LOW_KINDS: u16 = 64;
/// Types above those that are remembered one by one; a browser sends six.
const HIGH_KINDS: usize = 16;

/// Extensions that are known to fill their block, each of a type of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtensionBlock<'a> {
    block: &'a [u8],
    /// A bit for each type below [`LOW_KINDS`] that is there.
    low: u64,
}

impl<'a> ExtensionBlock<'a> {
    pub(crate) const EMPTY: Self = Self { block: &[], low: 0 };

    pub(crate) fn parse(block: &'a [u8]) -> Result<Self, ParseError> {
        let mut low = 0u64;
        let mut high = [0u16; HIGH_KINDS];
        let mut high_count = 0;
        let mut crowded = false;
        let mut rest = block;
        while let Some(([kind_0, kind_1, length_0, length_1], tail)) = rest.split_first_chunk::<4>() {
            let kind = u16::from_be_bytes([*kind_0, *kind_1]);
            let length = usize::from(u16::from_be_bytes([*length_0, *length_1]));
            rest = tail.get(length..).ok_or(ParseError::Malformed)?;
            if kind < LOW_KINDS {
                let bit = 1 << kind;
                if low & bit != 0 {
                    return Err(ParseError::DuplicateExtension);
                }
                low |= bit;
            } else if let Some(free) = high.get_mut(high_count) {
                *free = kind;
                if high[..high_count].contains(&kind) {
                    return Err(ParseError::DuplicateExtension);
                }
                high_count += 1;
            } else {
                crowded = true;
            }
        }
        if !rest.is_empty() {
            return Err(ParseError::Malformed);
        }
        let found = Self { block, low };
        if crowded && found.has_duplicates() { Err(ParseError::DuplicateExtension) } else { Ok(found) }
    }

    /// For more types than a client sends: sixteen passes over the block, so that the work stays
    /// linear with little stack.
    #[cold]
    fn has_duplicates(&self) -> bool {
        (0..16).any(|pass| {
            let mut seen = [0u64; 64];
            self.iter().filter(|extension| extension.kind >> 12 == pass).any(|extension| {
                let word = &mut seen[usize::from(extension.kind >> 6 & 63)];
                let bit = 1 << (extension.kind & 63);
                let twice = *word & bit != 0;
                *word |= bit;
                twice
            })
        })
    }

    pub(crate) fn iter(&self) -> Extensions<'a> {
        Extensions(Reader::new(self.block))
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        if kind < LOW_KINDS {
            self.low & 1 << kind != 0
        } else {
            self.iter().any(|extension| extension.kind == kind)
        }
    }

    pub(crate) fn find(&self, kind: u16) -> Option<Reader<'a>> {
        if kind < LOW_KINDS && !self.has(kind) {
            return None;
        }
        self.iter().find(|extension| extension.kind == kind).map(|extension| Reader::new(extension.body))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn block(kinds: impl Iterator<Item = u16>) -> Vec<u8> {
        kinds.flat_map(|kind| [kind.to_be_bytes(), [0, 0]].concat()).collect()
    }

    #[test]
    fn a_type_that_comes_twice_is_found_wherever_it_is() {
        for count in [3u16, 20, 200, 4000] {
            let spread = |index: u16| index.wrapping_mul(40_503);
            let distinct = block((0..count).map(spread));
            assert!(ExtensionBlock::parse(&distinct).is_ok(), "{count}");
            for (first, second) in [(0, 1), (0, count - 1), (count / 2, count - 1)] {
                let twice =
                    block((0..count).map(|index| spread(if index == second { first } else { index })));
                let found = ExtensionBlock::parse(&twice);
                assert_eq!(found, Err(ParseError::DuplicateExtension), "{first} and {second} of {count}");
            }
        }
    }
}
