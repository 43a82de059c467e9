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
        if !compiled.may_hold(text) {
            return None;
        }
        let (mut result, mut done): (Option<Wiped>, _) = (None, 0);
        let passing = std::mem::take(&mut self.passing);
        // What is left without the placeholders that stand as they are must hold no other.
        let mut hits = Hits::new(compiled, &passing);
        while let Some(found) = compiled.raw.find(text, done, done, text.len()) {
            let before = &text[done..found.start()];
            if compiled.may_hold(before) {
                // What begins in it does not go on behind what stood there.
                compiled.scan(&[before, &[0]].concat(), &mut hits);
            }
            let number = found.pattern().as_usize();
            let outcome = compiled.resolve(number, self.to, place);
            let value = match outcome {
                Ok(Outcome::Replace(binding)) => binding.value.expose(),
                Ok(Outcome::Pass) | Err(_) => &[],
            };
            let more = value.len() * escape.most_bytes() + text.len() - done;
            // No more than is needed: all of it is wiped, byte by byte.
            let result = result.get_or_insert_with(|| Zeroizing::new(Vec::with_capacity(more)));
            reserve(result, more);
            result.extend_from_slice(before);
            match outcome {
                Ok(Outcome::Replace(_)) => {
                    if escape.write(value, result).is_err() {
                        self.note(compiled.violation(number, ViolationKind::Value));
                    }
                }
                Ok(Outcome::Pass) => result.extend_from_slice(&text[found.range()]),
                Err(violation) => self.note(violation),
            }
            done = found.end();
        }
        compiled.scan(&text[done..], &mut hits);
        if let Err(violation) = compiled.verdict(&hits, Some(self.to)) {
            self.note(violation);
        }
        self.passing = passing;
        if let Some(result) = &mut result {
            result.extend_from_slice(&text[done..]);
        }
        result
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
