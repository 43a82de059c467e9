use std::collections::HashMap;
use std::sync::Arc;

use net_core::{HostName, HostPattern};

use crate::index::Index;
use crate::{Binding, CompileError, Hosts};

/// A value shorter than this is not looked for in responses: it occurs by chance.
pub(crate) const MIN_SCRUB_BYTES: usize = 8;

/// Which hosts' responses are cleaned of what, compiled once.
#[derive(Default)]
pub(crate) struct Scrubs {
    named: HashMap<String, Around>,
    /// For whoever no pattern covers.
    others: Option<Arc<Index>>,
}

/// Around a name that patterns are built on.
struct Around {
    /// For the name itself.
    at: Option<Arc<Index>>,
    /// For the names below it, as far as they have no entry of their own on the way.
    below: Option<Arc<Index>>,
}

impl Scrubs {
    /// Work and memory grow with the names the patterns are built on, and with the bindings that
    /// cover each.
    pub(crate) fn compile(bindings: &[&Binding], key: [u8; 8]) -> Result<Self, CompileError> {
        let mut compiled: HashMap<Vec<usize>, Option<Arc<Index>>> = HashMap::new();
        let mut compile = |covers: &dyn Fn(&HostPattern) -> bool| {
            let is_covering = |index: &usize| match &bindings[*index].hosts {
                Hosts::Named(patterns) => patterns.iter().any(covers),
                Hosts::DangerousAny => true,
            };
            let covering: Vec<usize> = (0..bindings.len()).filter(is_covering).collect();
            if let Some(scrub) = compiled.get(&covering) {
                return Ok(scrub.clone());
            }
            let scrub = Index::compile(covering.iter().map(|index| bindings[*index]), key)?.map(Arc::new);
            compiled.insert(covering, scrub.clone());
            Ok(scrub)
        };
        let mut named = HashMap::new();
        for apex in bindings.iter().flat_map(|binding| binding.hosts.patterns()).map(HostPattern::apex) {
            if named.contains_key(apex.as_str()) {
                continue;
            }
            let at = compile(&|pattern| pattern.matches(apex))?;
            let below = compile(&|pattern| covers_below(pattern, apex))?;
            named.insert(apex.as_str().to_owned(), Around { at, below });
        }
        Ok(Self { named, others: compile(&|_| false)? })
    }

    /// Whether nothing is looked for in any response.
    pub(crate) fn is_empty(&self) -> bool {
        self.others.is_none()
            && self.named.values().all(|around| around.at.is_none() && around.below.is_none())
    }

    /// What responses of `host` are cleaned of. Work is bounded by the name's labels.
    pub(crate) fn of(&self, host: Option<&HostName>) -> Option<&Arc<Index>> {
        let Some(host) = host else { return self.others.as_ref() };
        if let Some(around) = self.named.get(host.as_str()) {
            return around.at.as_ref();
        }
        let mut name = host.as_str();
        while let Some((_, parent)) = name.split_once('.') {
            if let Some(around) = self.named.get(parent) {
                return around.below.as_ref();
            }
            name = parent;
        }
        self.others.as_ref()
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
    use crate::{Placeholder, Scrubber, SecretValue};

    fn bindings(hosts: &[Vec<String>]) -> Vec<Binding> {
        let binding = |(index, hosts): (usize, &Vec<String>)| {
            let placeholder = Placeholder::from_user(&format!("placeholder-{index}")).expect("a placeholder");
            let value = SecretValue::new(format!("value-number-{index}").into_bytes());
            let patterns = hosts.iter().filter_map(|host| host.parse().ok()).collect();
            let mut binding = Binding::new(format!("TOKEN_{index}"), placeholder, value, patterns);
            if hosts.iter().any(|host| host == "any") {
                binding.hosts = Hosts::DangerousAny;
            }
            binding
        };
        hosts.iter().enumerate().map(binding).collect()
    }

    proptest! {
        #[test]
        fn a_host_is_cleaned_of_what_is_bound_to_it_and_of_nothing_else(
            hosts in proptest::collection::vec(
                proptest::collection::vec("any|(\\*\\.|\\.|)([ab]\\.){0,3}test", 1..3), 1..5),
            host in "([ab]\\.){0,4}test",
        ) {
            let bindings = bindings(&hosts);
            let scrubs = Scrubs::compile(&bindings.iter().collect::<Vec<_>>(), [7; 8]).expect("scrubs");
            let host = HostName::parse(&host).expect("a name");
            for (index, binding) in bindings.iter().enumerate() {
                let text = format!("value-number-{index}");
                let clean = scrubs.of(Some(&host)).and_then(|index| Scrubber::new(Arc::clone(index)).scrub(text.as_bytes()));
                let expected = binding.hosts.contain(Some(&host)).then(|| format!("placeholder-{index}").into_bytes());
                prop_assert_eq!(clean, expected, "{} for {}", index, &host);
            }
        }
    }
}
