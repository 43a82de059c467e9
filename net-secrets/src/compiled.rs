use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use memchr::memmem;

use crate::finder::Finder;
use crate::forms::forms;
use crate::hits::Hits;
use crate::json;
use crate::levels::Levels;
use crate::patterns::Patterns;
use crate::place::Place;
use crate::prefilter::Prefilter;
use crate::{Action, Binding, CompileError, Destination, Violation, ViolationKind};

/// One generation of secrets, shared by all streams.
pub(crate) struct Compiled {
    pub(crate) bindings: Vec<Binding>,
    /// The placeholders, each once.
    pub(crate) texts: Vec<Text>,
    /// Placeholders as they are; the pattern's number is the text's.
    pub(crate) raw: Finder,
    /// Every form of every placeholder's core, for streams.
    pub(crate) detect: NFA,
    /// Where a scan starts, and is again once what may have begun has turned out to be no form.
    pub(crate) detect_start: StateID,
    pub(crate) detect_prefilter: Prefilter,
    /// The length of the longest pattern of `detect`.
    pub(crate) detect_longest: usize,
    /// Whether a pattern of `detect` has the byte.
    in_forms: [bool; 256],
    /// Whether the byte, behind a backslash, stands for one that no pattern of `detect` has.
    plain_escapes: [bool; 256],
    /// Whether they all do, and no pattern has a backslash: only an escape by number can hide a form then.
    are_short_escapes_plain: bool,
    /// Finds an escape by number.
    unicode_escape: memmem::Finder<'static>,
    /// Every form of every placeholder, the parts before the core included.
    pub(crate) detect_forms: Patterns,
    /// The text of each pattern of `detect`.
    pub(crate) detect_owner: Vec<usize>,
    has_passthrough: bool,
}

/// One placeholder.
pub(crate) struct Text {
    /// The bindings that have it, by number. Not empty.
    bindings: Vec<usize>,
    /// The strictest of theirs.
    pub(crate) action: Action,
}

/// What becomes of a placeholder that stands as it is.
pub(crate) enum Outcome<'c> {
    /// It becomes the binding's value.
    Replace(&'c Binding),
    /// It stays.
    Pass,
}

impl Compiled {
    pub(crate) fn compile(bindings: Vec<Binding>) -> Result<Self, CompileError> {
        let mut texts: Vec<Text> = Vec::new();
        for (index, binding) in bindings.iter().enumerate() {
            let is_same = |text: &&mut Text| {
                bindings[text.bindings[0]].placeholder.as_str() == binding.placeholder.as_str()
            };
            match texts.iter_mut().find(is_same) {
                Some(text) => {
                    text.bindings.push(index);
                    text.action = text.action.max(binding.on_violation);
                }
                None => texts.push(Text { bindings: vec![index], action: binding.on_violation }),
            }
        }
        let placeholders: Vec<_> = texts.iter().map(|text| &bindings[text.bindings[0]].placeholder).collect();
        let raw = Finder::compile(&placeholders)?;
        let (mut patterns, mut detect_owner, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for (owner, placeholder) in placeholders.iter().enumerate() {
            for form in forms(placeholder.core().as_bytes()) {
                patterns.push(form);
                detect_owner.push(owner);
            }
            whole.extend(forms(placeholder.as_str().as_bytes()));
        }
        let too_many = |_| CompileError::TooMany;
        let detect = NFA::builder().match_kind(MatchKind::Standard).build(&patterns).map_err(too_many)?;
        let detect_start = detect.start_state(Anchored::No).map_err(|_| CompileError::TooMany)?;
        let detect_prefilter = Prefilter::new(patterns.iter().map(Vec::as_slice));
        let detect_longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        let mut in_forms = [false; 256];
        patterns.iter().flatten().for_each(|byte| in_forms[usize::from(*byte)] = true);
        let mut plain_escapes = [false; 256];
        for (kind, is_plain) in (0..=u8::MAX).zip(&mut plain_escapes) {
            *is_plain = json::character(kind).is_some_and(|byte| !in_forms[usize::from(byte)]);
        }
        let are_short_escapes_plain =
            (0..=u8::MAX).filter_map(json::character).all(|byte| !in_forms[usize::from(byte)]);
        whole.extend(patterns);
        Ok(Self {
            has_passthrough: bindings.iter().any(|binding| !binding.passthrough.is_empty()),
            texts,
            raw,
            detect,
            detect_start,
            detect_prefilter,
            detect_longest,
            in_forms,
            plain_escapes,
            are_short_escapes_plain,
            unicode_escape: memmem::Finder::new(b"\\u"),
            detect_forms: Patterns::new(whole),
            detect_owner,
            bindings,
        })
    }

    /// Where the last whole escape of JSON ends in `bytes`, which begin behind the backslash of one if so told; `None`
    /// where one stands for a byte that is in a form, begins an escape of another kind, or goes on behind them but for
    /// a backslash at the end.
    pub(crate) fn behind_plain_escapes(&self, bytes: &[u8], is_within: bool) -> Option<usize> {
        let is_character = |at: usize| bytes.get(at).is_some_and(|kind| json::character(*kind).is_some());
        if self.are_short_escapes_plain && self.unicode_escape.find(bytes).is_none() {
            if is_within && bytes.first() == Some(&b'u') {
                return None;
            }
            // All of the others are two bytes, or a backslash that is in no form either: only the last is of interest.
            let first = usize::from(is_within && is_character(0));
            let Some(last) = memchr::memrchr(b'\\', &bytes[first..]).map(|at| first + at) else {
                return Some(first);
            };
            let run = bytes[first..last].iter().rev().take_while(|byte| **byte == b'\\').count();
            if run % 2 == 1 {
                return Some(last + 1);
            }
            if last + 1 == bytes.len() {
                return self.behind_plain_escapes(&bytes[..last], is_within);
            }
            return Some(last + 1 + usize::from(is_character(last + 1)));
        }
        if is_within {
            return None;
        }
        let mut behind = 0;
        for at in memchr::memchr_iter(b'\\', bytes) {
            // The second backslash of an escape is none of its own.
            if at >= behind {
                behind = at + self.plain_escape(&bytes[at..])?;
            }
        }
        Some(behind)
    }

    /// The length of the escape of JSON that `text` begins with, if it stands for a byte that is in no form, nor begins
    /// an escape of another kind.
    fn plain_escape(&self, text: &[u8]) -> Option<usize> {
        if text.get(1).is_some_and(|kind| self.plain_escapes[usize::from(*kind)]) {
            return Some(2);
        }
        let (byte, used) = json::escape(text)?;
        (byte != b'%' && !self.in_forms[usize::from(byte)]).then_some(used)
    }

    /// Where the first form may begin in `bytes`, at or behind `from`: the placeholder as it is and what encodes it.
    /// One the beginning of which is cut off at the end does not count.
    pub(crate) fn clean_bytes(&self, bytes: &[u8], from: usize) -> usize {
        self.detect_prefilter.find(bytes, from).unwrap_or(bytes.len())
    }

    fn bindings_of(&self, text: usize) -> impl Iterator<Item = &Binding> {
        self.texts[text].bindings.iter().map(|index| &self.bindings[*index])
    }

    /// Which placeholders may go there as they are, wherever they stand; empty where none may. What one
    /// of its bindings does not permit does not pass.
    pub(crate) fn passing(&self, to: Option<&Destination<'_>>) -> Vec<bool> {
        let Some(to) = to.filter(|_| self.has_passthrough) else { return Vec::new() };
        let passes = |text| self.bindings_of(text).all(|binding| binding.passes(to) && !binding.covers(to));
        (0..self.texts.len()).map(passes).collect()
    }

    /// What becomes of a placeholder in this place.
    pub(crate) fn resolve(
        &self,
        text: usize,
        to: &Destination<'_>,
        place: Place<'_>,
    ) -> Result<Outcome<'_>, Violation> {
        // What came closest to being permitted says best what is wrong.
        let mut kind = ViolationKind::Host;
        for binding in self.bindings_of(text).filter(|binding| binding.covers(to)) {
            if !binding.permits(place) {
                if kind == ViolationKind::Host {
                    kind = ViolationKind::Place;
                }
            } else if binding.requires_tls_identity && !to.is_verified {
                kind = ViolationKind::Identity;
            } else {
                return Ok(Outcome::Replace(binding));
            }
        }
        if kind == ViolationKind::Host && self.bindings_of(text).all(|binding| binding.passes(to)) {
            return Ok(Outcome::Pass);
        }
        Err(self.violation(text, kind))
    }

    pub(crate) fn violation(&self, text: usize, kind: ViolationKind) -> Violation {
        let action = self.texts[text].action;
        let strictest = self.bindings_of(text).find(|binding| binding.on_violation == action);
        Violation { env: strictest.map(|binding| binding.env.clone()).unwrap_or_default(), kind, action }
    }

    /// What a search has found, if anything: not bound to the destination, or hidden.
    pub(crate) fn verdict(&self, hits: &Hits<'_>, to: Option<&Destination<'_>>) -> Result<(), Violation> {
        let Some(text) = hits.worst() else { return Ok(()) };
        let is_bound = to.is_none_or(|to| self.bindings_of(text).any(|binding| binding.covers(to)));
        let kind = if is_bound { ViolationKind::Place } else { ViolationKind::Host };
        Err(self.violation(text, kind))
    }

    /// Whether a whole text holds a placeholder in any form.
    pub(crate) fn check(&self, text: &[u8], to: Option<&Destination<'_>>) -> Result<(), Violation> {
        let passing = self.passing(to);
        let mut hits = Hits::new(self, &passing);
        self.scan(text, &mut hits);
        self.verdict(&hits, to)
    }

    /// Searches a whole text.
    pub(crate) fn scan(&self, text: &[u8], hits: &mut Hits<'_>) {
        if self.may_hold(text) {
            Levels::new(self).feed(self, text, 0, hits);
        }
    }

    /// Whether a whole text has a form's beginning, or an escape that could hide one. Most have neither.
    pub(crate) fn may_hold(&self, text: &[u8]) -> bool {
        self.detect_prefilter.find(text, 0).is_some() || memchr::memchr2(b'%', b'\\', text).is_some()
    }
}
