use std::fmt;
use std::num::NonZeroU32;

/// What a placeholder did where it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The environment variable the guest knows the secret by.
    pub env: String,
    /// What is wrong.
    pub kind: ViolationKind,
    /// What it leads to.
    pub action: Action,
}

/// Why a placeholder ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ViolationKind {
    /// It was on its way to a host it is not bound to.
    Host,
    /// It stood where it is not replaced: a target, a body, an encoded form.
    Place,
    /// Upstream has not proved who it is.
    Identity,
    /// The real value cannot stand there: it would break what it is put into.
    Value,
}

/// What a violation leads to, the mildest first; the request is refused in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Nothing more.
    Block,
    /// An event.
    #[default]
    BlockAndLog,
    /// An event, and the end of the guest.
    BlockAndTerminate,
}

/// Counts violations of one guest up to the one that ends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViolationCount {
    terminate_after: Option<NonZeroU32>,
    seen: u32,
}

impl ViolationCount {
    /// `None` leaves termination to [`Action::BlockAndTerminate`].
    pub fn new(terminate_after: Option<NonZeroU32>) -> Self {
        Self { terminate_after, seen: 0 }
    }

    /// Takes the next violation; what is due.
    #[must_use]
    pub fn handle_violation(&mut self, violation: &Violation) -> Action {
        self.seen = self.seen.saturating_add(1);
        match self.terminate_after {
            Some(limit) if self.seen >= limit.get() => Action::BlockAndTerminate,
            Some(_) | None => violation.action,
        }
    }

    /// How many there were.
    pub fn seen(&self) -> u32 {
        self.seen
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            ViolationKind::Host => "was on its way to a host it is not bound to",
            ViolationKind::Place => "stood in a place it is not bound to",
            ViolationKind::Identity => "was on its way to a server that has not proved its identity",
            ViolationKind::Value => "has a value that cannot stand where its placeholder did",
        };
        write!(f, "secret {} {why}", self.env)
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_ends_the_guest_and_so_does_the_action() {
        let violation = |action| Violation { env: "A".to_owned(), kind: ViolationKind::Host, action };
        let mut count = ViolationCount::new(NonZeroU32::new(3));
        let mild = violation(Action::Block);
        let due: Vec<Action> = (0..4).map(|_| count.handle_violation(&mild)).collect();
        let end = Action::BlockAndTerminate;
        assert_eq!((due, count.seen()), (vec![Action::Block, Action::Block, end, end], 4));
        let mut count = ViolationCount::new(None);
        assert_eq!(count.handle_violation(&violation(end)), end);
        assert_eq!((0..9).map(|_| count.handle_violation(&mild)).max(), Some(Action::Block));
    }
}
