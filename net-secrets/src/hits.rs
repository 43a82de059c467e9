use crate::Action;
use crate::compiled::Compiled;

/// What a search has found: of several placeholders, the one with the strictest action.
pub(crate) struct Hits<'c> {
    compiled: &'c Compiled,
    /// Placeholders that may pass, by number; none where it is empty.
    passing: &'c [bool],
    worst: Option<(Action, usize)>,
}

impl<'c> Hits<'c> {
    pub(crate) fn new(compiled: &'c Compiled, passing: &'c [bool]) -> Self {
        Self { compiled, passing, worst: None }
    }

    pub(crate) fn note(&mut self, text: usize) {
        if self.passing.get(text).is_some_and(|passes| *passes) {
            return;
        }
        let action = self.compiled.texts[text].action;
        if self.worst.is_none_or(|(worst, _)| worst < action) {
            self.worst = Some((action, text));
        }
    }

    /// The number of the placeholder.
    pub(crate) fn worst(&self) -> Option<usize> {
        self.worst.map(|(_, text)| text)
    }
}
