use std::time::{Duration, Instant};

use crate::Rate;

/// What has passed of a [`Rate`], as a value: a token bucket that may go into debt.
///
/// Who comes while there is anything left may take all it has, and those behind it wait for longer: what passes
/// has a size that nobody can choose to fit. In the long run the rate holds exactly. Two numbers and a point in
/// time, whatever the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    rate: Rate,
    /// When the bucket is full again.
    full_at: Option<Instant>,
}

impl Meter {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: None }
    }

    /// What is left at `now`; 0 in debt.
    #[must_use]
    pub fn available(&self, now: Instant) -> u64 {
        let missing = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let tokens = (missing.as_nanos() * u128::from(self.rate.per_second.get())).div_ceil(NANOS);
        self.rate.burst.get().saturating_sub(u64::try_from(tokens).unwrap_or(u64::MAX))
    }

    /// Takes `tokens`, whether they are there or not.
    pub fn spend(&mut self, tokens: u64, now: Instant) {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        // Where no clock counts that far there is no more to take either.
        self.full_at = full_at.checked_add(self.time_of(tokens, u128::div_ceil)).or(self.full_at);
    }

    /// When `tokens` are there, or as many as ever are; `None` where they are now.
    #[must_use]
    pub fn ready_at(&self, tokens: u64, now: Instant) -> Option<Instant> {
        let wanted = tokens.clamp(1, self.rate.burst.get());
        let spare = self.time_of(self.rate.burst.get() - wanted, |all, part| all / part);
        let full_at = self.full_at?;
        // What is before any clock is over.
        let ready_at = full_at.checked_sub(spare)?;
        (ready_at > now).then_some(ready_at)
    }

    /// The rate it keeps.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    fn time_of(&self, tokens: u64, divide: impl FnOnce(u128, u128) -> u128) -> Duration {
        let nanos = divide(u128::from(tokens) * NANOS, u128::from(self.rate.per_second.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU64;

    fn rate(per_second: u64, burst: u64) -> Rate {
        let number = |number| NonZeroU64::new(number).expect("a rate");
        Rate { per_second: number(per_second), burst: number(burst) }
    }

    #[test]
    fn a_burst_then_debt_then_the_rate() {
        let (mut meter, start) = (Meter::new(rate(1_000, 100)), Instant::now());
        assert_eq!((meter.available(start), meter.ready_at(100, start)), (100, None));
        meter.spend(1_100, start);
        assert_eq!(meter.available(start), 0);
        let (first, full) = (start + Duration::from_millis(1_001), start + Duration::from_millis(1_100));
        assert_eq!((meter.ready_at(1, start), meter.ready_at(500, start)), (Some(first), Some(full)));
        assert_eq!(meter.available(first - Duration::from_nanos(1)), 0);
        assert_eq!((meter.available(first), meter.ready_at(1, first)), (1, None));
        assert_eq!(meter.available(start + Duration::from_secs(60)), 100);
        // Nothing overflows.
        meter.spend(u64::MAX, start);
        meter.spend(u64::MAX, start);
        assert_eq!(meter.available(start), 0);
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_gives_more_than_burst_rate_and_the_last_one(
            per_second in 1u64..1_000_000_000,
            burst in 1u64..1_000_000,
            steps in prop::collection::vec((0u64..20_000_000, 1u64..70_000), 1..200),
        ) {
            let (mut meter, first) = (Meter::new(rate(per_second, burst)), Instant::now());
            let (mut now, mut taken, mut largest) = (first, 0u64, 0u64);
            for (step, size) in steps {
                now += Duration::from_nanos(step);
                if meter.available(now) > 0 {
                    prop_assert_eq!(meter.ready_at(1, now), None);
                    meter.spend(size, now);
                    (taken, largest) = (taken + size, largest.max(size));
                } else {
                    let ready = meter.ready_at(1, now).expect("a time");
                    prop_assert!(meter.available(ready) > 0);
                    prop_assert_eq!(meter.available(ready - Duration::from_nanos(1)), 0);
                }
                let most = u128::from(burst + largest)
                    + (now - first).as_nanos() * u128::from(per_second) / NANOS + 1;
                prop_assert!(u128::from(taken) <= most, "{} of {}", taken, most);
            }
        }
    }
}
