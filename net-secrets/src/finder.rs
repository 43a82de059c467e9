use aho_corasick::{AhoCorasick, Input, Match, MatchKind};

use crate::patterns::Patterns;
use crate::prefilter::Prefilter;
use crate::{CompileError, Placeholder};

/// How far is looked behind the place where a placeholder may stand.
const STEP_BYTES: usize = 64;

/// Finds placeholders as they are; of two that begin in one place, the longer.
pub(crate) struct Finder {
    automaton: AhoCorasick,
    /// Over their cores.
    prefilter: Prefilter,
    /// How far before its core a placeholder begins, at most.
    lookbehind: usize,
    patterns: Patterns,
}

impl Finder {
    pub(crate) fn compile(placeholders: &[&Placeholder]) -> Result<Self, CompileError> {
        let texts: Vec<Vec<u8>> = placeholders.iter().map(|one| one.as_str().into()).collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&texts)
            .map_err(|_| CompileError::TooMany)?;
        let lookbehind = placeholders.iter().map(|one| one.as_str().len() - one.core().len()).max();
        Ok(Self {
            automaton,
            prefilter: Prefilter::new(placeholders.iter().map(|one| one.core().as_bytes())),
            lookbehind: lookbehind.unwrap_or(0),
            patterns: Patterns::new(texts),
        })
    }

    /// Where the end of `bytes` begins that may grow into a placeholder.
    pub(crate) fn open_suffix(&self, bytes: &[u8]) -> usize {
        self.patterns.open_suffix(bytes, 1)
    }

    /// The first match at or behind `from` that begins before `open`; no core begins between `from` and `clean`. The
    /// pattern is the placeholder's number.
    pub(crate) fn find(&self, bytes: &[u8], from: usize, clean: usize, open: usize) -> Option<Match> {
        let (mut first, mut at) = (from, from.max(clean));
        while let Some(core) = self.prefilter.find(bytes, at) {
            let begin = core.saturating_sub(self.lookbehind).max(first);
            if begin >= open {
                return None;
            }
            // Whatever begins within the step also ends within the window.
            let step = core + STEP_BYTES;
            let window = begin..bytes.len().min(step + self.patterns.longest());
            let found = self.automaton.find(Input::new(bytes).span(window));
            if let Some(found) = found.filter(|found| found.start() < step) {
                return (found.start() < open).then_some(found);
            }
            (first, at) = (step, step);
        }
        None
    }
}
