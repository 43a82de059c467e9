use aho_corasick::packed::{Config, MatchKind, Searcher};

use crate::MARKER;
use crate::skip::Skip;

/// Beginnings of this length tell patterns from text; a marker in each makes one of many.
const NEEDLE_BYTES: usize = MARKER.len();
/// As many are looked for at once without loss.
const MAX_NEEDLES: usize = 16;

/// Finds where a pattern may begin, many bytes at a time: the first bytes of all patterns are looked
/// for at once where they are few, else parts of them that tell how far to skip.
pub(crate) enum Prefilter {
    Packed(Searcher),
    Skip(Skip),
}

impl Prefilter {
    /// Every pattern has at least eight bytes.
    pub(crate) fn new<'p>(patterns: impl Iterator<Item = &'p [u8]> + Clone) -> Self {
        let mut needles: Vec<&[u8]> =
            patterns.clone().filter_map(|pattern| pattern.get(..NEEDLE_BYTES)).collect();
        needles.sort_unstable();
        needles.dedup();
        if needles.len() <= MAX_NEEDLES {
            let mut builder = Config::new().match_kind(MatchKind::LeftmostFirst).builder();
            builder.extend(needles);
            if let Some(searcher) = builder.build() {
                return Self::Packed(searcher);
            }
        }
        // Placeholders are no secret: any key will do.
        let patterns: Vec<&[u8]> = patterns.collect();
        let shortest = patterns.iter().map(|pattern| pattern.len()).min().unwrap_or(0);
        Self::Skip(Skip::new(patterns.len(), shortest, 0, |pattern, at| patterns[pattern][at]))
    }

    /// How much of a pattern's beginning must be there for it to be found.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Packed(_) => NEEDLE_BYTES,
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
            Self::Packed(searcher) => {
                searcher.find_in(text, (from..text.len()).into()).map(|found| found.start())
            }
            Self::Skip(skip) => skip.find(text, from),
        }
    }
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
        let marked = numbered(MARKER, 1_000);
        let marked = Prefilter::new(marked.iter().map(Vec::as_slice));
        assert!(matches!(marked, Prefilter::Packed(_)));
        let text = [b"x".repeat(100), MARKER.into(), b"x".repeat(100)].concat();
        assert_eq!(marked.find(&text, 0), Some(100));
        assert_eq!(marked.find(&text, 101), None);
        assert_eq!(marked.find(&MARKER.as_bytes()[1..], 0), None);
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
