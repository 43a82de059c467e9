use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often the owner is told of one kind of thing at one port, where nothing else is said.
const INTERVAL: Duration = Duration::from_secs(1);

/// Telling of what outsiders cause, who can do so as often as they like and must not fill the owner's queue.
pub(super) struct Seldom {
    interval: Duration,
    told: Cell<Option<Instant>>,
}

impl Default for Seldom {
    fn default() -> Self {
        Self::every(INTERVAL)
    }
}

impl Seldom {
    /// Once in so long.
    pub(super) fn every(interval: Duration) -> Self {
        Self { interval, told: Cell::new(None) }
    }

    /// Whether it is to be told now; if so, it was.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_due = self.told.get().is_none_or(|told| now.saturating_duration_since(told) >= self.interval);
        if is_due {
            self.told.set(Some(now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_an_interval() {
        let (seldom, now) = (Seldom::default(), crate::guest::now());
        let told = (0..50).filter(|tenth| seldom.is_due(now + INTERVAL * *tenth / 10)).count();
        assert_eq!(told, 5);
    }
}
