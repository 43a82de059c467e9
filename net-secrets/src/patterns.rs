/// Texts that are looked for in a stream: which of its ends may grow into one of them?
pub(crate) struct Patterns {
    sorted: Vec<Vec<u8>>,
    longest: usize,
    /// Whether some pattern begins with the byte.
    begins: [bool; 256],
    /// A bit for the first two bytes of each: few places in a text are the beginning of one by those.
    pairs: Box<[u64]>,
}

/// A bit for each two bytes.
const PAIR_WORDS: usize = (1 << 16) / 64;

fn pair(first: u8, second: u8) -> (usize, u64) {
    let number = u16::from_le_bytes([second, first]);
    (usize::from(number / 64), 1 << (number % 64))
}

impl Patterns {
    pub(crate) fn new(mut patterns: Vec<Vec<u8>>) -> Self {
        patterns.sort_unstable();
        let mut begins = [false; 256];
        for first in patterns.iter().filter_map(|pattern| pattern.first()) {
            begins[usize::from(*first)] = true;
        }
        let mut pairs = vec![0; PAIR_WORDS].into_boxed_slice();
        for pattern in &patterns {
            if let [first, second, ..] = pattern[..] {
                let (word, bit) = pair(first, second);
                pairs[word] |= bit;
            }
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        Self { sorted: patterns, longest, begins, pairs }
    }

    /// The length of the longest.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Where the longest suffix of `bytes` begins that may grow into a pattern: `bytes.len()` when
    /// none does. Suffixes shorter than `min_bytes` do not count.
    pub(crate) fn open_suffix(&self, bytes: &[u8], min_bytes: usize) -> usize {
        let first = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        let last = bytes.len().saturating_sub(min_bytes.saturating_sub(1));
        (first..last)
            .find(|start| self.begins_with(&bytes[*start..]) && self.is_open(&bytes[*start..]))
            .unwrap_or(bytes.len())
    }

    /// Whether some pattern may begin as `text`, by its first two bytes.
    fn begins_with(&self, text: &[u8]) -> bool {
        match *text {
            [first, second, ..] => {
                let (word, bit) = pair(first, second);
                self.pairs[word] & bit != 0
            }
            [first] => self.begins[usize::from(first)],
            [] => false,
        }
    }

    /// Whether `text` is the beginning of a longer pattern: those follow it in order.
    fn is_open(&self, text: &[u8]) -> bool {
        let next = self.sorted.partition_point(|pattern| pattern.as_slice() <= text);
        self.sorted.get(next).is_some_and(|pattern| pattern.starts_with(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_tells_what_every_pattern_would(
            patterns in proptest::collection::vec("[ab]{1,6}", 0..8),
            text in "[abc]{0,12}",
            min_bytes in 1usize..4,
        ) {
            let patterns: Vec<Vec<u8>> = patterns.into_iter().map(String::into_bytes).collect();
            let bytes = text.as_bytes();
            let grows = |suffix: &[u8]| {
                patterns.iter().any(|pattern| pattern.len() > suffix.len() && pattern.starts_with(suffix))
            };
            let expected = (0..bytes.len())
                .find(|start| bytes.len() - start >= min_bytes && grows(&bytes[*start..]))
                .unwrap_or(bytes.len());
            prop_assert_eq!(Patterns::new(patterns.clone()).open_suffix(bytes, min_bytes), expected);
        }
    }
}
