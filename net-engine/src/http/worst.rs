use net_secrets::Violation;

/// The strictest of what was found in one head: of several violations it alone counts.
#[derive(Default)]
pub(super) struct Worst(Option<Violation>);

impl Worst {
    /// What was found in a part of it, unless that is a violation.
    pub(super) fn note<T>(&mut self, found: Result<T, Violation>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(violation) => {
                if self.0.as_ref().is_none_or(|worst| worst.action < violation.action) {
                    self.0 = Some(violation);
                }
                None
            }
        }
    }

    /// Whether all of it may leave.
    ///
    /// # Errors
    /// The strictest violation.
    pub(super) fn verdict(self) -> Result<(), Violation> {
        self.0.map_or(Ok(()), Err)
    }
}
