/// How much of a text's beginning is looked at, at most and at least: with less, fewer bytes are left out.
const MAX_WINDOW_BYTES: usize = 32;
const MIN_WINDOW_BYTES: usize = 24;
/// What is hashed at once.
const BLOCK_BYTES: usize = 4;
/// One of so many blocks that no text has is taken for one, where the table may be as large, and at least.
const SPARSE: usize = 128;
const LEAST_SPARSE: usize = 16;
/// The table of as many bits stays in a core's cache.
const MAX_TABLE_BITS: u32 = 22;
const MIN_TABLE_BITS: u32 = 14;

/// Tells where none of some texts begins, from one block of four bytes in each stretch as long as their beginnings:
/// every beginning that is there as a whole has one of those blocks in it.
///
/// No block depends on what another one was, so that many are looked up at once.
pub(crate) struct Sample {
    window_bytes: usize,
    table_bits: u32,
    /// A bit for each hash of a block in the beginning of a text.
    table: Box<[u64]>,
}

impl Sample {
    /// `None` where the texts are too short or too many for it.
    pub(crate) fn new(texts: &[&[u8]]) -> Option<Self> {
        let shortest = texts.iter().map(|text| text.len()).min()?;
        let window_bytes = shortest.min(MAX_WINDOW_BYTES);
        let blocks = texts.len() * (window_bytes + 1).saturating_sub(BLOCK_BYTES);
        if window_bytes < MIN_WINDOW_BYTES || blocks > (1 << MAX_TABLE_BITS) / LEAST_SPARSE {
            return None;
        }
        let table_bits = (blocks * SPARSE).next_power_of_two().trailing_zeros();
        let table_bits = table_bits.clamp(MIN_TABLE_BITS, MAX_TABLE_BITS);
        let mut table = vec![0; 1 << (table_bits - u64::BITS.trailing_zeros())].into_boxed_slice();
        for block in texts.iter().flat_map(|text| text[..window_bytes].windows(BLOCK_BYTES)) {
            if let Some(block) = block.first_chunk() {
                let (word, bit) = place(table_bits, *block);
                table[word] |= bit;
            }
        }
        Some(Self { window_bytes, table_bits, table })
    }

    /// The first stretch of `text`, at or behind `from`, in which one of the texts may begin: from where on, and where
    /// to look on behind it. `None` where none begins, one of which less than a window is there apart; where those may
    /// begin is told instead.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Result<(usize, usize), usize> {
        let step = self.step();
        // The stretches before and behind a block, in which a beginning that has it may begin.
        let before = |at: usize| (at + 1).saturating_sub(step).max(from);
        let stretches = text.get(from..).unwrap_or_default().chunks_exact(step);
        let end = from + stretches.len() * step;
        for (number, stretch) in stretches.enumerate() {
            if stretch.first_chunk().is_some_and(|block| self.has(*block)) {
                let at = from + number * step;
                return Ok((before(at), at + step));
            }
        }
        Err(before(end))
    }

    fn step(&self) -> usize {
        self.window_bytes - BLOCK_BYTES + 1
    }

    fn has(&self, block: [u8; BLOCK_BYTES]) -> bool {
        let (word, bit) = place(self.table_bits, block);
        self.table.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

/// The word of a table of so many bits, and the bit in it. Placeholders are no secret: the multiplier is that of the
/// golden ratio.
fn place(table_bits: u32, block: [u8; BLOCK_BYTES]) -> (usize, u64) {
    let hash = u32::from_le_bytes(block).wrapping_mul(0x9e37_79b1) >> (u32::BITS - table_bits);
    ((hash / u64::BITS) as usize, 1 << (hash % u64::BITS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_is_left_out(
            texts in proptest::collection::vec("[a-d]{24,40}", 1..6),
            pieces in proptest::collection::vec("[a-d]{0,90}", 3),
            which in proptest::collection::vec(0usize..6, 2),
            from in 0usize..40,
        ) {
            let refs: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
            let sample = Sample::new(&refs).expect("few of them, and long ones");
            let mut bytes = Vec::new();
            for (piece, which) in pieces.iter().zip(which.iter().map(Some).chain([None])) {
                bytes.extend_from_slice(piece.as_bytes());
                bytes.extend(which.and_then(|which| texts.get(*which)).into_iter().flat_map(|text| text.bytes()));
            }
            let begins = |at: &usize| refs.iter().any(|text| bytes[*at..].starts_with(text));
            let mut at = from;
            while at <= bytes.len() {
                let (left_out, behind) = match sample.find(&bytes, at) {
                    Ok((first, behind)) => (at..first, behind),
                    Err(first) => (at..first, usize::MAX),
                };
                prop_assert!(!left_out.clone().any(|at| begins(&at)), "{left_out:?}");
                prop_assert!(behind > at);
                at = behind;
            }
        }
    }

    #[test]
    fn what_has_nothing_is_mostly_left_out() {
        let text = |number: u64| {
            let words = (0..5).map(|word| (number * 8 + word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
        };
        let texts: Vec<_> = (0..900).map(text).collect();
        let sample = Sample::new(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("few enough");
        let bytes = b"{\"key\": \"some value\", ".repeat(1000);
        let found =
            std::iter::successors(sample.find(&bytes, 0).ok(), |(_, at)| sample.find(&bytes, *at).ok());
        assert!(found.count() < bytes.len() / 29 / 8);
        let too_many: Vec<_> = (0..10_000).map(text).collect();
        assert!(Sample::new(&too_many.iter().map(Vec::as_slice).collect::<Vec<_>>()).is_none());
        assert!(Sample::new(&[b"too short"]).is_none());
    }
}
