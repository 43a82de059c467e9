use aho_corasick::packed::{Config, MatchKind, Searcher};

use crate::MARKER;
use crate::sample::Sample;
use crate::skip::Skip;

/// Beginnings of this length tell patterns from text; a marker in each makes one of many.
const NEEDLE_BYTES: usize = MARKER.len();
/// As many are looked for at once without loss.
const MAX_NEEDLES: usize = 16;

/// What a searcher is given at once, at least: it is slow with less.
const PACKED_BYTES: usize = 128;
/// A text that is no longer, as most headers are, is not worth a sample; what tests and fuzzes make is short.
const SHORT_BYTES: usize = if cfg!(any(test, fuzzing)) { 0 } else { 2 * PACKED_BYTES };

/// Finds where a pattern may begin, many bytes at a time: the first bytes of all patterns are looked
/// for at once where they are few, else parts of them that tell how far to skip.
pub(crate) enum Prefilter {
    /// Where a sample does not tell that there are none, if the patterns are long enough for one.
    Packed(Box<Searcher>, Option<Sample>),
    Skip(Skip),
}

impl Prefilter {
    /// Every pattern has at least eight bytes.
    pub(crate) fn new<'p>(patterns: impl Iterator<Item = &'p [u8]> + Clone) -> Self {
        let mut needles: Vec<&[u8]> =
            patterns.clone().filter_map(|pattern| pattern.get(..NEEDLE_BYTES)).collect();
        needles.sort_unstable();
        needles.dedup();
        let patterns: Vec<&[u8]> = patterns.collect();
        if needles.len() <= MAX_NEEDLES {
            let mut builder = Config::new().match_kind(MatchKind::LeftmostFirst).builder();
            builder.extend(needles);
            if let Some(searcher) = builder.build() {
                return Self::Packed(Box::new(searcher), Sample::new(&patterns));
            }
        }
        // Placeholders are no secret: any key will do.
        let shortest = patterns.iter().map(|pattern| pattern.len()).min().unwrap_or(0);
        Self::Skip(Skip::new(patterns.len(), shortest, 0, |pattern, at| patterns[pattern][at]))
    }

    /// How much of a pattern's beginning must be there for it to be found.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Packed(..) => NEEDLE_BYTES,
            Self::Skip(skip) => skip.window_bytes(),
        }
    }

    /// The first place at or behind `from` where a pattern may begin. `None` when none does, a
    /// beginning of less than [`bytes`](Self::bytes) at the end apart.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        if from >= text.len() {
            return None;
        }
        match self {
            Self::Packed(searcher, Some(sample)) if text.len() - from > SHORT_BYTES => {
                let mut at = from;
                loop {
                    match sample.find(text, at) {
                        Ok((first, behind)) => {
                            let end = text.len().min(behind.max(first + PACKED_BYTES) + NEEDLE_BYTES);
                            if let Some(found) = packed(searcher, text, first, end) {
                                return Some(found);
                            }
                            // A needle that begins before it would have been there as a whole.
                            at = behind.max((end + 1).saturating_sub(NEEDLE_BYTES));
                        }
                        Err(first) => {
                            let least = text.len().saturating_sub(PACKED_BYTES).max(from);
                            return packed(searcher, text, first.min(least), text.len());
                        }
                    }
                }
            }
            Self::Packed(searcher, _) => packed(searcher, text, from, text.len()),
            Self::Skip(skip) => skip.find(text, from),
        }
    }
}

/// The first needle in a part of a text.
fn packed(searcher: &Searcher, text: &[u8], from: usize, to: usize) -> Option<usize> {
    searcher.find_in(text, (from..to).into()).map(|found| found.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(text: &str, count: u64) -> Vec<Vec<u8>> {
        let number = |number: u64| format!("{text}{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..count).map(|at| number(at).into_bytes()).collect()
    }

    #[test]
    fn many_marked_patterns_are_one_needle() {
        for (count, after) in [(1_000, ""), (1_000, "0123456789"), (100_000, "0123456789")] {
            let marked: Vec<_> =
                numbered(MARKER, count).iter().map(|one| [one, after.as_bytes()].concat()).collect();
            let prefilter = Prefilter::new(marked.iter().map(Vec::as_slice));
            let is_sampled = !after.is_empty() && count < 10_000;
            assert!(
                matches!(&prefilter, Prefilter::Packed(_, sample) if sample.is_some() == is_sampled),
                "{count}{after}"
            );
            for (before, pattern) in marked.iter().take(300).enumerate() {
                let text = [b"x".repeat(before), pattern.clone(), b"x".repeat(300 - before)].concat();
                assert_eq!(prefilter.find(&text, 0), Some(before), "{count}{after}");
                assert_eq!(prefilter.find(&text, before), Some(before), "{count}{after}");
                assert_eq!(prefilter.find(&text, before + 1), None, "{count}{after}");
                // Of one that is cut off, the first bytes do.
                let cut = before + NEEDLE_BYTES;
                assert_eq!(prefilter.find(&text[..cut], 0), Some(before), "{count}{after}");
            }
            assert_eq!(prefilter.find(&MARKER.as_bytes()[1..], 0), None);
        }
    }

    #[test]
    fn many_unmarked_patterns_are_found_all_the_same() {
        let patterns = numbered("", 100);
        let prefilter = Prefilter::new(patterns.iter().map(Vec::as_slice));
        assert!(matches!(prefilter, Prefilter::Skip(_)));
        for pattern in &patterns {
            let text = [b"x".repeat(50), pattern.clone()].concat();
            let found = std::iter::successors(prefilter.find(&text, 0), |at| prefilter.find(&text, at + 1));
            assert!(found.take_while(|at| *at <= 50).any(|at| at == 50));
        }
    }
}
