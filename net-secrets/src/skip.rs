/// How much of a text's beginning is looked at.
pub(crate) const WINDOW_BYTES: usize = 8;
/// What is hashed at once: the end of a window.
const BLOCK_BYTES: usize = 3;
const TABLE_BITS: u32 = 14;
/// Where a block says nothing, the next window that can hold one of the texts begins so far on.
const MAX_SHIFT: u8 = (WINDOW_BYTES - BLOCK_BYTES) as u8 + 1;
/// Lower and upper case are one.
const FOLD: u32 = 0x0020_2020;

/// Finds where one of many texts may begin, several bytes a step, after Wu and Manber ("A fast
/// algorithm for multi-pattern searching", 1994).
///
/// The table has no byte of a text: blocks are hashed with a key.
pub(crate) struct Skip {
    key: u32,
    shifts: Box<[u8]>,
}

impl Skip {
    /// For the first bytes of each text.
    pub(crate) fn new(windows: impl Iterator<Item = [u8; WINDOW_BYTES]>, key: u64) -> Self {
        // A multiplier must be odd.
        let [a, b, c, d, ..] = key.to_le_bytes();
        let key = u32::from_le_bytes([a | 1, b, c, d]) ^ 0x9e37_79b8;
        let mut shifts = vec![MAX_SHIFT; 1 << TABLE_BITS].into_boxed_slice();
        for window in windows {
            for (shift, block) in (0u8..).zip(window.windows(BLOCK_BYTES).rev()) {
                let [one, two, three] = *block else { continue };
                let entry = &mut shifts[slot(key, u32::from_le_bytes([one, two, three, 0]))];
                *entry = shift.min(*entry);
            }
        }
        Self { key, shifts }
    }

    /// The first place at or behind `from` where a text may begin. `None` where none does, one of
    /// which less than a window is there apart.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let block = text.get(at + WINDOW_BYTES - 4..)?.first_chunk()?;
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

    proptest! {
        #[test]
        fn no_window_is_skipped(
            windows in proptest::collection::vec(proptest::array::uniform8(b'a'..=b'c'), 0..6),
            text in "[abcABC]{0,60}",
            key: u64,
            from in 0usize..20,
        ) {
            let skip = Skip::new(windows.iter().copied(), key);
            let bytes = text.to_ascii_lowercase().into_bytes();
            let first = (from..bytes.len()).find(|at| {
                windows.iter().any(|window| bytes[*at..].starts_with(window))
            });
            let found = skip.find(text.as_bytes(), from);
            if let Some(first) = first {
                prop_assert!(found.is_some_and(|found| (from..=first).contains(&found)), "{:?} {}", found, first);
            }
        }
    }

    #[test]
    fn what_has_nothing_is_mostly_skipped() {
        let windows = (0..90u64).map(|number| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes());
        let skip = Skip::new(windows, 7);
        let text = b"{\"key\": \"some value\", ".repeat(1000);
        let mut found = 0;
        let mut at = 0;
        while let Some(place) = skip.find(&text, at) {
            found += 1;
            at = place + 1;
        }
        assert!(found < text.len() / 4, "{found} candidates");
    }
}
