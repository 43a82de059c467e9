use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input, Match, MatchKind};
use net_core::{HostName, HostPattern};
use zeroize::Zeroizing;

use crate::forms::{encodings, escapes, forms};
use crate::patterns::Patterns;
use crate::prefilter::Prefilter;
use crate::{Binding, CompileError};

/// A value shorter than this is not looked for in responses: it occurs by chance.
const MIN_SCRUB_BYTES: usize = 6;

/// How far the automaton looks behind the place where a value may begin.
const STEP_BYTES: usize = 4 << 10;

/// What the responses of some hosts are cleaned of.
///
/// The patterns are zeroed when dropped; the automaton and the prefilter are made of copies that
/// their library does not zero.
pub(crate) struct Scrub {
    automaton: AhoCorasick,
    prefilter: Prefilter,
    patterns: Patterns,
    /// In the patterns' order.
    replacements: Vec<Vec<u8>>,
}

impl Scrub {
    /// `None` when no value is long enough.
    fn compile<'b>(bindings: impl Iterator<Item = &'b Binding>) -> Result<Option<Self>, CompileError> {
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for binding in bindings.filter(|binding| binding.value.expose().len() >= MIN_SCRUB_BYTES) {
            let value = binding.value.expose();
            let placeholder = binding.placeholder.as_str().as_bytes();
            // Each form of the value becomes the same form of the placeholder.
            let wanted = forms(value);
            let replacements = encodings(placeholder);
            for (form, replacement) in encodings(value).into_iter().zip(replacements) {
                if wanted.contains(&form) {
                    pairs.push((form.to_vec(), replacement.to_vec()));
                }
            }
            pairs.extend(escapes(value).iter().map(|form| (form.to_vec(), placeholder.to_vec())));
        }
        if pairs.is_empty() {
            return Ok(None);
        }
        // Stable: of one pattern the first binding's replacement stays.
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
        pairs.dedup_by(|later, first| {
            let is_same = later.0 == first.0;
            if is_same {
                drop(Zeroizing::new(std::mem::take(&mut later.0)));
            }
            is_same
        });
        let (patterns, replacements): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let patterns = Patterns::new(patterns);
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.as_slice())
            .map_err(|_| CompileError::TooMany)?;
        let prefilter = Prefilter::new(patterns.as_slice());
        Ok(Some(Self { automaton, prefilter, patterns, replacements }))
    }

    /// Where the end of `bytes` begins that may grow into a value.
    pub(crate) fn open_suffix(&self, bytes: &[u8]) -> usize {
        self.patterns.open_suffix(bytes, 1)
    }

    /// Replaces the matches that begin before `open`: the result, `None` when there are none, and
    /// how much of `bytes` it is for.
    pub(crate) fn replace(&self, bytes: &[u8], open: usize) -> (Option<Vec<u8>>, usize) {
        let mut clean: Option<Vec<u8>> = None;
        let mut done = 0;
        while let Some(found) = self.find(bytes, done, open) {
            let clean = clean.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
            clean.extend_from_slice(&bytes[done..found.start()]);
            clean.extend_from_slice(&self.replacements[found.pattern().as_usize()]);
            done = found.end();
        }
        let end = open.max(done);
        if let Some(clean) = &mut clean {
            clean.extend_from_slice(&bytes[done..end]);
        }
        (clean, end)
    }

    /// The first match at or behind `from` that begins before `open`.
    fn find(&self, bytes: &[u8], mut from: usize, open: usize) -> Option<Match> {
        while let Some(begin) = self.prefilter.find(bytes, from).filter(|begin| *begin < open) {
            // Whatever begins within the step also ends within the window.
            let step = begin + STEP_BYTES;
            let window = begin..bytes.len().min(step + self.patterns.longest());
            let found = self.automaton.find(Input::new(bytes).span(window));
            if let Some(found) = found.filter(|found| found.start() < step) {
                return (found.start() < open).then_some(found);
            }
            from = step;
        }
        None
    }
}

/// Which hosts' responses are cleaned of what, compiled once.
#[derive(Default)]
pub(crate) struct Scrubs(HashMap<String, Around>);

/// Around a name that patterns are built on.
struct Around {
    /// For the name itself.
    at: Option<Arc<Scrub>>,
    /// For the names below it, as far as they have no entry of their own on the way.
    below: Option<Arc<Scrub>>,
}

impl Scrubs {
    /// Work and memory grow with the names the patterns are built on, and with the bindings that
    /// cover each.
    pub(crate) fn compile(bindings: &[&Binding]) -> Result<Self, CompileError> {
        let mut compiled: HashMap<Vec<usize>, Option<Arc<Scrub>>> = HashMap::new();
        let mut compile = |covers: &dyn Fn(&HostPattern) -> bool| {
            let covering: Vec<usize> =
                (0..bindings.len()).filter(|index| bindings[*index].hosts.iter().any(covers)).collect();
            if let Some(scrub) = compiled.get(&covering) {
                return Ok(scrub.clone());
            }
            let scrub = Scrub::compile(covering.iter().map(|index| bindings[*index]))?.map(Arc::new);
            compiled.insert(covering, scrub.clone());
            Ok(scrub)
        };
        let mut scrubs = HashMap::new();
        for apex in bindings.iter().flat_map(|binding| &binding.hosts).map(HostPattern::apex) {
            if scrubs.contains_key(apex.as_str()) {
                continue;
            }
            let at = compile(&|pattern| pattern.matches(apex))?;
            let below = compile(&|pattern| covers_below(pattern, apex))?;
            scrubs.insert(apex.as_str().to_owned(), Around { at, below });
        }
        Ok(Self(scrubs))
    }

    /// Whether nothing is looked for in any response.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(|around| around.at.is_none() && around.below.is_none())
    }

    /// What responses of `host` are cleaned of. Work is bounded by the name's labels.
    pub(crate) fn of(&self, host: &HostName) -> Option<&Arc<Scrub>> {
        if let Some(around) = self.0.get(host.as_str()) {
            return around.at.as_ref();
        }
        let mut name = host.as_str();
        while let Some((_, parent)) = name.split_once('.') {
            if let Some(around) = self.0.get(parent) {
                return around.below.as_ref();
            }
            name = parent;
        }
        None
    }
}

/// Whether `pattern` covers the names below `apex` that no pattern is built on.
fn covers_below(pattern: &HostPattern, apex: &HostName) -> bool {
    match pattern {
        HostPattern::Exact(_) => false,
        HostPattern::Subdomains(own) | HostPattern::Suffix(own) => apex == own || apex.is_subdomain_of(own),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Placeholder, SecretValue};

    fn bindings(hosts: &[Vec<String>]) -> Vec<Binding> {
        let binding = |(index, hosts): (usize, &Vec<String>)| Binding {
            env: format!("TOKEN_{index}"),
            placeholder: Placeholder::from_user(&format!("placeholder-{index}")).expect("a placeholder"),
            value: SecretValue::new(format!("value-number-{index}").into_bytes()),
            hosts: hosts.iter().map(|host| host.parse().expect("a pattern")).collect(),
        };
        hosts.iter().enumerate().map(binding).collect()
    }

    proptest! {
        #[test]
        fn a_host_is_cleaned_of_what_is_bound_to_it_and_of_nothing_else(
            hosts in proptest::collection::vec(
                proptest::collection::vec("(\\*\\.|\\.|)([ab]\\.){0,3}test", 1..3), 1..5),
            host in "([ab]\\.){0,4}test",
        ) {
            let bindings = bindings(&hosts);
            let scrubs = Scrubs::compile(&bindings.iter().collect::<Vec<_>>()).expect("scrubs");
            let host = HostName::parse(&host).expect("a name");
            for (index, binding) in bindings.iter().enumerate() {
                let text = format!("value-number-{index}");
                let clean = scrubs.of(&host).and_then(|scrub| scrub.replace(text.as_bytes(), text.len()).0);
                let expected = binding.covers(&host).then(|| format!("placeholder-{index}").into_bytes());
                prop_assert_eq!(clean, expected, "{} for {}", index, &host);
            }
        }
    }
}
