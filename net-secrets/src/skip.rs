/// No less and no more of a text's beginning is looked at.
const MIN_WINDOW_BYTES: usize = 8;
const MAX_WINDOW_BYTES: usize = 32;
/// What is hashed at once: the end of a window.
const BLOCK_BYTES: usize = 3;
const TABLE_BITS: u32 = 14;
/// As many blocks leave the table sparse.
const MAX_BLOCKS: usize = 1 << (TABLE_BITS - 2);
/// Lower and upper case are one.
const FOLD: u32 = 0x0020_2020;

/// Finds where one of many texts may begin, several bytes a step, after Wu and Manber ("A fast
/// algorithm for multi-pattern searching", 1994).
///
/// The table has no byte of a text: blocks are hashed with a key.
pub(crate) struct Skip {
    key: u32,
    window_bytes: usize,
    shifts: Box<[u8]>,
}

impl Skip {
    /// For `count` texts, the shortest of which has `shortest` bytes, at least eight; `byte` tells those
    /// of each.
    pub(crate) fn new(count: usize, shortest: usize, key: u64, byte: impl Fn(usize, usize) -> u8) -> Self {
        // A multiplier must be odd.
        let [a, b, c, d, ..] = key.to_le_bytes();
        let key = u32::from_le_bytes([a | 1, b, c, d]) ^ 0x9e37_79b8;
        let sparse = MAX_BLOCKS / count.max(1) + BLOCK_BYTES - 1;
        let window_bytes = shortest.min(sparse).clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
        let last = window_bytes.saturating_sub(BLOCK_BYTES);
        // Where a block says nothing, the next window that can hold one of the texts begins so far on.
        let most = u8::try_from(last + 1).unwrap_or(1);
        let mut shifts = vec![most; 1 << TABLE_BITS].into_boxed_slice();
        for text in 0..count {
            for (shift, at) in (0..most).zip((0..=last).rev()) {
                let block = [byte(text, at), byte(text, at + 1), byte(text, at + 2), 0];
                let entry = &mut shifts[slot(key, u32::from_le_bytes(block))];
                *entry = shift.min(*entry);
            }
        }
        Self { key, window_bytes, shifts }
    }

    /// How much of a text must be there for it to be found.
    pub(crate) fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    /// The first place at or behind `from` where a text may begin. `None` where none does, one of
    /// which less than a window is there apart.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let block = text.get(at + self.window_bytes - 4..)?.first_chunk()?;
            let shift = self.shifts[slot(self.key, u32::from_le_bytes(*block) >> 8)];
            if shift == 0 {
                return Some(at);
            }
            at += usize::from(shift);
        }
    }
}

fn slot(key: u32, block: u32) -> usize {
    ((block | FOLD).wrapping_mul(key) >> (32 - TABLE_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skip(texts: &[Vec<u8>], key: u64) -> Skip {
        let shortest = texts.iter().map(Vec::len).min().unwrap_or(8);
        Skip::new(texts.len(), shortest, key, |text, at| texts[text][at])
    }

    proptest! {
        #[test]
        fn no_text_is_skipped(
            texts in proptest::collection::vec("[abc]{8,40}", 0..6),
            pieces in proptest::collection::vec("[abcABC]{0,30}", 4),
            which in proptest::collection::vec(0usize..6, 3),
            key: u64,
            from in 0usize..20,
        ) {
            let texts: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
            let skip = skip(&texts, key);
            let mut bytes = Vec::new();
            for (piece, which) in pieces.iter().zip(which.iter().map(Some).chain([None])) {
                bytes.extend_from_slice(piece.as_bytes());
                bytes.extend(which.and_then(|which| texts.get(*which)).into_iter().flatten());
            }
            let folded = bytes.to_ascii_lowercase();
            let first = (from..folded.len()).find(|at| texts.iter().any(|text| folded[*at..].starts_with(text)));
            let found = skip.find(&bytes, from);
            if let Some(first) = first {
                prop_assert!(found.is_some_and(|found| (from..=first).contains(&found)), "{:?} {}", found, first);
            }
        }
    }

    #[test]
    fn what_has_nothing_is_mostly_skipped() {
        for (count, bytes) in [(10, 8), (90, 24), (900, 40)] {
            let text = |number: u64| {
                let words =
                    (0..bytes / 8).map(|word| (number * 8 + word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
            };
            let skip = skip(&(0..count).map(text).collect::<Vec<_>>(), 7);
            let text = b"{\"key\": \"some value\", ".repeat(1000);
            let found = std::iter::successors(skip.find(&text, 0), |at| skip.find(&text, at + 1)).count();
            assert!(found < text.len() / 8, "{found} candidates for {count}");
        }
    }
}
