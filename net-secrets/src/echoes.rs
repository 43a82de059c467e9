use std::collections::VecDeque;
use std::time::Instant;

use crate::scrub::Scrubs;
use crate::{Binding, CompileError};

/// Sets whose values are, the last ones.
const MAX_GENERATIONS: usize = 8;

/// What is looked for in responses: the values of a set, and those of sets before it.
pub(crate) struct Echoes {
    pub(crate) scrubs: Scrubs,
    /// The newest first.
    retired: VecDeque<Generation>,
    key: [u8; 8],
}

/// What one set had and the next one has not.
#[derive(Clone)]
struct Generation {
    bindings: Vec<Binding>,
    until: Instant,
}

impl Echoes {
    pub(crate) fn compile(bindings: &[Binding], key: [u8; 8]) -> Result<Self, CompileError> {
        Self::with_retired(bindings, VecDeque::new(), key)
    }

    /// What follows on `self`, whose set had `previous`: those of `bindings`, and until `until` what was
    /// replaced.
    pub(crate) fn successor(
        &self,
        previous: &[Binding],
        bindings: &[Binding],
        until: Instant,
        now: Instant,
    ) -> Result<Self, CompileError> {
        let replaced = previous.iter().filter(|old| !bindings.iter().any(|new| old.is_same_echo(new)));
        let replaced: Vec<Binding> = replaced.cloned().collect();
        let mut retired = self.retired.clone();
        if !replaced.is_empty() {
            retired.push_front(Generation { bindings: replaced, until });
            retired.truncate(MAX_GENERATIONS);
        }
        retired.retain(|generation| now < generation.until);
        Self::with_retired(bindings, retired, self.key)
    }

    fn with_retired(
        bindings: &[Binding],
        retired: VecDeque<Generation>,
        key: [u8; 8],
    ) -> Result<Self, CompileError> {
        let replaced = retired.iter().flat_map(|generation| &generation.bindings);
        // Of one value the newest placeholder comes back.
        let all: Vec<&Binding> = bindings.iter().chain(replaced).collect();
        Ok(Self { scrubs: Scrubs::compile(&all, key)?, retired, key })
    }

    /// When the next value is looked for no more.
    pub(crate) fn retired_until(&self) -> Option<Instant> {
        self.retired.iter().map(|generation| generation.until).min()
    }
}
