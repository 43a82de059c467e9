use aho_corasick::{AhoCorasick, MatchKind};
use zeroize::Zeroizing;

use crate::forms::open_suffix;

/// Turns real values back into placeholders in a stream of bytes, however it is cut.
///
/// Holds back at most the longest form of a value. A longer value wins over one it starts with.
pub struct Scrubber {
    automaton: AhoCorasick,
    patterns: Zeroizing<Vec<Vec<u8>>>,
    replacements: Vec<Vec<u8>>,
    held: Zeroizing<Vec<u8>>,
}

impl Scrubber {
    /// `None` when there is nothing to look for.
    pub(crate) fn new(patterns: Vec<Vec<u8>>, replacements: Vec<Vec<u8>>) -> Option<Self> {
        if patterns.is_empty() {
            return None;
        }
        let patterns = Zeroizing::new(patterns);
        let automaton =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns.iter()).ok()?;
        Some(Self { automaton, patterns, replacements, held: Zeroizing::default() })
    }

    /// Takes the next bytes; what may go to the guest now.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        let open = open_suffix(&bytes, &self.patterns, 1);
        let (clean, used) = self.replace(&bytes, open);
        self.held = Zeroizing::new(bytes[used..].to_vec());
        clean
    }

    /// The stream has ended: what was held back, cleaned.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.held);
        self.replace(&bytes, bytes.len()).0
    }

    /// Cleans a whole text; `None` when nothing was found.
    pub fn scrub(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.automaton.is_match(text).then(|| self.replace(text, text.len()).0)
    }

    /// Replaces the matches that begin before `open`; the result and how much it covers.
    fn replace(&self, bytes: &[u8], open: usize) -> (Vec<u8>, usize) {
        let mut clean = Vec::with_capacity(bytes.len());
        let mut done = 0;
        for found in self.automaton.find_iter(bytes).take_while(|found| found.start() < open) {
            clean.extend_from_slice(&bytes[done..found.start()]);
            clean.extend_from_slice(&self.replacements[found.pattern().as_usize()]);
            done = found.end();
        }
        let end = open.max(done);
        clean.extend_from_slice(&bytes[done..end]);
        (clean, end)
    }
}
