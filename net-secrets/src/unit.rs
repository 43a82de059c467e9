use zeroize::Zeroizing;

use crate::compiled::{Compiled, Outcome};
use crate::escape::Escape;
use crate::hits::Hits;
use crate::place::Place;
use crate::wiped::{Wiped, reserve};
use crate::{Destination, Violation, ViolationKind};

/// Rewrites texts of which all or nothing leaves: a header value, a target.
pub(crate) struct UnitRewriter<'u> {
    compiled: &'u Compiled,
    to: &'u Destination<'u>,
    passing: Vec<bool>,
    /// The strictest of what was found.
    worst: Option<Violation>,
}

impl<'u> UnitRewriter<'u> {
    pub(crate) fn new(compiled: &'u Compiled, to: &'u Destination<'u>) -> Self {
        Self { compiled, to, passing: compiled.passing(Some(to)), worst: None }
    }

    /// Replaces the placeholders of a text in one pass (what was put in is not looked at again); `None`
    /// where it has none.
    pub(crate) fn rewrite(&mut self, place: Place<'_>, escape: Escape<'_>, text: &[u8]) -> Option<Wiped> {
        let compiled = self.compiled;
        // A placeholder as it is has its core in it, which is one of the forms.
        let mut hits = Hits::new(compiled, &[]);
        compiled.scan(text, &mut hits);
        hits.worst()?;
        let mut result = Zeroizing::new(Vec::with_capacity(text.len()));
        // The text without the placeholders that stand as they are: what is left must hold no other.
        let mut left = Vec::with_capacity(text.len());
        let mut done = 0;
        while let Some(found) = compiled.raw.find(text, done, done, text.len()) {
            result.extend_from_slice(&text[done..found.start()]);
            left.extend_from_slice(&text[done..found.start()]);
            left.push(0);
            let number = found.pattern().as_usize();
            match compiled.resolve(number, self.to, place) {
                Ok(Outcome::Replace(binding)) => {
                    let value = binding.value.expose();
                    // An escape makes six bytes of one at most; the rest of the text comes behind.
                    reserve(&mut result, value.len() * 6 + text.len());
                    if escape.write(value, &mut result).is_err() {
                        self.note(compiled.violation(number, ViolationKind::Value));
                    }
                }
                Ok(Outcome::Pass) => result.extend_from_slice(&text[found.range()]),
                Err(violation) => self.note(violation),
            }
            done = found.end();
        }
        left.extend_from_slice(&text[done..]);
        let passing = std::mem::take(&mut self.passing);
        let mut hits = Hits::new(compiled, &passing);
        compiled.scan(&left, &mut hits);
        if let Err(violation) = compiled.verdict(&hits, Some(self.to)) {
            self.note(violation);
        }
        self.passing = passing;
        result.extend_from_slice(&text[done..]);
        (done > 0).then_some(result)
    }

    fn note(&mut self, violation: Violation) {
        if self.worst.as_ref().is_none_or(|worst| worst.action < violation.action) {
            self.worst = Some(violation);
        }
    }

    /// Whether all of what was rewritten may leave.
    pub(crate) fn finish(self) -> Result<(), Violation> {
        self.worst.map_or(Ok(()), Err)
    }
}
