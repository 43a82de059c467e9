use aho_corasick::packed::{Config, MatchKind, Searcher};

/// Beginnings of this length tell patterns from text; a marker in each makes one of many.
const LONG_BYTES: usize = crate::MARKER.len();
/// Shorter beginnings are more often shared, and there are fewer of them to look for.
const SHORT_BYTES: usize = 4;

/// Finds where a pattern may begin, many bytes at a time: the first bytes of all patterns are
/// looked for at once.
///
/// Where there are too many different beginnings for that, a pattern may begin anywhere.
pub(crate) struct Prefilter {
    searcher: Option<Searcher>,
    bytes: usize,
}

impl Prefilter {
    pub(crate) fn new(patterns: &[Vec<u8>]) -> Self {
        let shortest = patterns.iter().map(Vec::len).min().unwrap_or(0);
        let found = [LONG_BYTES, SHORT_BYTES].into_iter().find_map(|bytes| {
            let bytes = bytes.min(shortest);
            searcher(patterns, bytes).map(|searcher| (searcher, bytes))
        });
        match found {
            Some((searcher, bytes)) => Self { searcher: Some(searcher), bytes },
            None => Self { searcher: None, bytes: 1 },
        }
    }

    /// How much of a pattern's beginning must be there for it to be found.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first place at or behind `from` where a pattern may begin. `None` when none does, a
    /// beginning of less than [`bytes`](Self::bytes) at the end apart.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        if from >= text.len() {
            return None;
        }
        match &self.searcher {
            Some(searcher) => searcher.find_in(text, (from..text.len()).into()).map(|found| found.start()),
            None => Some(from),
        }
    }
}

fn searcher(patterns: &[Vec<u8>], bytes: usize) -> Option<Searcher> {
    let mut beginnings: Vec<&[u8]> = patterns.iter().filter_map(|pattern| pattern.get(..bytes)).collect();
    beginnings.sort_unstable();
    beginnings.dedup();
    let mut builder = Config::new().match_kind(MatchKind::LeftmostFirst).builder();
    builder.extend(beginnings).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_marked_patterns_are_few_beginnings() {
        let numbered = |text: &str, count: u32| -> Vec<Vec<u8>> {
            (0..count).map(|number| format!("{text}{number:08}").into_bytes()).collect()
        };
        let marked = Prefilter::new(&numbered(crate::MARKER, 1_000));
        let text = [b"x".repeat(100), b"netsec_1".to_vec(), b"x".repeat(100)].concat();
        assert_eq!(marked.find(&text, 0), Some(100));
        assert_eq!(marked.find(&text, 101), None);
        assert_eq!(marked.find(b"netsec", 0), None);
        let unmarked: Vec<Vec<u8>> =
            numbered("", 1_000).into_iter().map(|text| text.into_iter().rev().collect()).collect();
        assert_eq!(Prefilter::new(&unmarked).find(&text, 7), Some(7), "it may begin anywhere");
    }
}
