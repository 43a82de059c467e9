use std::time::{Duration, Instant};

/// How often something may happen, as a value: `burst` times at once, and `per_second` times in the long run.
///
/// Two numbers and a point in time, whatever the rates: the bucket is kept as the moment at which it will be
/// full again (the generic cell rate algorithm of ITU-T I.371).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// What one token takes to come back.
    interval: Duration,
    /// What `burst` tokens take.
    depth: Duration,
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// A full bucket. A rate or a burst of 0 never gives anything.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second).unwrap_or(Duration::MAX);
        Self { interval, depth: interval.saturating_mul(burst), full_at: None }
    }

    /// Whether there is a token to take at `now`.
    #[must_use]
    pub fn has(&self, now: Instant) -> bool {
        let missing = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        self.interval <= self.depth.saturating_sub(missing)
    }

    /// When there is a token to take: `now` where there is one, `None` where there never is.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let room = self.depth.checked_sub(self.interval)?;
        let due = self.full_at.and_then(|at| at.checked_sub(room)).map_or(now, |at| at.max(now));
        due.checked_add(self.interval).map(|_| due)
    }

    /// Takes one token; whether there was one. `now` that goes back counts as no time.
    #[must_use]
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        if !self.has(now) {
            return false;
        }
        // At most `depth` after `now`; where no clock counts that far there is no more to give.
        let Some(full_at) = full_at.checked_add(self.interval) else { return false };
        self.full_at = Some(full_at);
        true
    }

    /// Lets go of what has come together but for one token: from `now` on there is the rate alone, until nobody takes
    /// for a while. What is on its way is kept, so that the rate is had however often this is done.
    pub fn forgo(&mut self, now: Instant) {
        let at_least = self.depth.saturating_sub(self.interval);
        // Where no clock counts that far it stays as it is.
        self.full_at = self.full_at.max(now.checked_add(at_least));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[allow(clippy::disallowed_methods, reason = "any instant will do: the test moves it from here on")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut bucket, now) = (TokenBucket::new(10, 3), start());
        let taken = |bucket: &mut TokenBucket, now| (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, now), 3);
        assert!(!bucket.has(now + Duration::from_millis(99)) && bucket.has(now + Duration::from_millis(100)));
        assert_eq!(bucket.due(now), Some(now + Duration::from_millis(100)));
        assert_eq!(bucket.due(now + Duration::from_secs(1)), Some(now + Duration::from_secs(1)));
        assert_eq!(taken(&mut bucket, now + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut bucket, now + Duration::from_millis(100)), 1);
        assert_eq!(taken(&mut bucket, now + Duration::from_secs(3_600)), 3);
        // A clock that goes back gives nothing.
        assert_eq!(taken(&mut bucket, now), 0);
    }

    #[test]
    fn what_was_let_go_of_comes_back_at_the_rate() {
        let (mut bucket, now) = (TokenBucket::new(10, 3), start());
        let taken = |bucket: &mut TokenBucket, now| (0..10).filter(|_| bucket.take(now)).count();
        bucket.forgo(now);
        assert_eq!(taken(&mut bucket, now), 1);
        assert!(
            !bucket.has(now + Duration::from_millis(99)) && bucket.take(now + Duration::from_millis(100))
        );
        assert!(!bucket.has(now + Duration::from_millis(100)));
        // Whole again after as long as the rest of the burst takes.
        bucket.forgo(now + Duration::from_secs(1));
        assert_eq!(taken(&mut bucket, now + Duration::from_millis(1_200)), 3);
        // However often it is done: ten a second.
        let later = now + Duration::from_secs(60);
        let often = (0..1_000).map(|nth| later + nth * Duration::from_millis(10));
        let count = often.map(|at| {
            bucket.forgo(at);
            taken(&mut bucket, at)
        });
        assert_eq!(count.sum::<usize>(), 100);
        // Rates that never give anything, or hardly ever, still do not.
        for (per_second, burst) in [(0, 5), (5, 0), (0, u32::MAX)] {
            let mut bucket = TokenBucket::new(per_second, burst);
            bucket.forgo(now);
            assert!(!bucket.take(now + Duration::from_secs(9)), "{per_second} {burst}");
        }
    }

    #[test]
    fn nothing_is_never_something() {
        let now = start();
        for (per_second, burst) in [(0, 5), (5, 0), (0, 0), (0, u32::MAX)] {
            let mut bucket = TokenBucket::new(per_second, burst);
            assert!(!bucket.take(now) && !bucket.take(now + Duration::from_secs(9)), "{per_second} {burst}");
            assert_eq!(bucket.due(now), None, "{per_second} {burst}");
        }
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_gives_more_than_burst_and_rate(
            per_second in 1u32..1_000,
            burst in 1u32..50,
            steps in prop::collection::vec(0u64..20_000_000, 1..200),
        ) {
            let (mut bucket, first) = (TokenBucket::new(per_second, burst), start());
            let (mut now, mut taken) = (first, 0u32);
            for step in steps {
                now += Duration::from_nanos(step);
                taken += u32::from(bucket.take(now));
                let most = f64::from(burst) + (now - first).as_secs_f64() * f64::from(per_second);
                prop_assert!(f64::from(taken) <= most + 1e-6 * f64::from(per_second) + 1e-6);
            }
        }
    }
}
