use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::TokenBucket;

/// A [`TokenBucket`] with a line in front of it: who finds no token waits, first come first served, and is
/// turned away where the line is so long that its turn would come after `max_wait`.
///
/// `W` is what wakes somebody who waits; it is kept with the place. Entering and leaving cost O(log n) of
/// those who wait, of whom there are never more than `max_wait` gives tokens for.
#[derive(Debug)]
pub struct Turnstile<W> {
    bucket: TokenBucket,
    max_waiting: usize,
    waiting: BTreeMap<Ticket, W>,
    next: u64,
}

/// A place in the line of a [`Turnstile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What becomes of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Entry {
    /// There was a token, and nobody before it.
    Passed,
    /// It has a place, which is given back by [`Turnstile::leave`] if it does not pass.
    Waits(Ticket),
    /// The line is full.
    Full,
}

/// What becomes of somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// It has passed, and the place is gone.
    Passed,
    /// It is the first, and its token is there at this time.
    At(Instant),
    /// Others are before it, or it has no place any more.
    Behind,
}

impl<W> Turnstile<W> {
    /// A full bucket, and nobody before it. A rate or a burst of 0 lets nobody pass.
    pub fn new(per_second: u32, burst: u32, max_wait: Duration) -> Self {
        let waits = max_wait.as_nanos().saturating_mul(u128::from(per_second)) / 1_000_000_000;
        Self {
            bucket: TokenBucket::new(per_second, burst),
            max_waiting: if burst == 0 { 0 } else { usize::try_from(waits).unwrap_or(usize::MAX) },
            waiting: BTreeMap::new(),
            next: 0,
        }
    }

    /// Somebody comes, who is woken by `waker` if it must wait.
    pub fn enter(&mut self, waker: W, now: Instant) -> Entry {
        if self.waiting.is_empty() && self.bucket.take(now) {
            return Entry::Passed;
        }
        if self.waiting.len() >= self.max_waiting {
            return Entry::Full;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, waker);
        Entry::Waits(ticket)
    }

    /// Lets `ticket` pass if it is its turn. Whoever is the first afterwards must be woken.
    pub fn handle_turn(&mut self, ticket: Ticket, now: Instant) -> Turn {
        if !self.is_first(ticket) {
            return Turn::Behind;
        }
        match self.bucket.due(now) {
            Some(due) if due > now => Turn::At(due),
            Some(_) if self.bucket.take(now) => {
                self.waiting.remove(&ticket);
                Turn::Passed
            }
            Some(_) | None => Turn::Behind,
        }
    }

    /// Somebody who waits goes, or passes without a token; nothing happens where it has no place any more.
    /// Whoever is the first afterwards must be woken.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// Whether it is the first of those who wait.
    pub fn is_first(&self, ticket: Ticket) -> bool {
        self.waiting.first_key_value().is_some_and(|(first, _)| *first == ticket)
    }

    /// What wakes the first of those who wait.
    pub fn first(&self) -> Option<&W> {
        self.waiting.first_key_value().map(|(_, waker)| waker)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn those_without_a_token_pass_in_the_order_they_came_and_at_the_rate() {
        let (mut line, now) = (Turnstile::new(10, 2, ms(300)), start());
        assert_eq!([line.enter('a', now), line.enter('b', now)], [Entry::Passed; 2]);
        let Entry::Waits(c) = line.enter('c', now) else { panic!("no token") };
        let Entry::Waits(d) = line.enter('d', now) else { panic!("no token") };
        let Entry::Waits(e) = line.enter('e', now) else { panic!("no token") };
        // The fourth would wait for 400 ms.
        assert_eq!((line.enter('f', now), line.len()), (Entry::Full, 3));

        assert_eq!(line.handle_turn(d, now + ms(500)), Turn::Behind);
        assert_eq!(line.handle_turn(c, now), Turn::At(now + ms(100)));
        assert_eq!(line.handle_turn(c, now + ms(100)), Turn::Passed);
        assert_eq!((line.handle_turn(c, now + ms(100)), line.first()), (Turn::Behind, Some(&'d')));
        // One who comes when there is a token does not overtake.
        let Entry::Waits(f) = line.enter('f', now + ms(200)) else { panic!("others are before it") };
        // One who goes leaves its turn to the next.
        line.leave(d);
        line.leave(d);
        assert_eq!(line.handle_turn(e, now + ms(200)), Turn::Passed);
        assert_eq!(line.handle_turn(f, now + ms(200)), Turn::At(now + ms(300)));
        line.leave(f);
        assert!(line.is_empty());
        assert_eq!(line.enter('g', now + ms(300)), Entry::Passed);
    }

    #[test]
    fn a_line_that_never_moves_lets_nobody_in() {
        for (per_second, burst) in [(0, 5), (5, 0), (0, 0)] {
            let mut line = Turnstile::new(per_second, burst, ms(10_000));
            assert_eq!(line.enter((), start()), Entry::Full, "{per_second} {burst}");
        }
        // Without patience there is a bucket and no line.
        let (mut line, now) = (Turnstile::new(1, 1, Duration::ZERO), start());
        assert_eq!((line.enter((), now), line.enter((), now)), (Entry::Passed, Entry::Full));
    }

    proptest! {
        /// Whatever comes and goes: nobody overtakes or waits too long, and no stretch of time lets more pass
        /// than its burst and rate.
        #[test]
        fn nobody_overtakes_or_waits_too_long(
            per_second in 1u32..500,
            burst in 1u32..20,
            steps in prop::collection::vec((0u64..30, 0usize..4, 0usize..40), 1..300),
        ) {
            const MAX_WAIT: Duration = Duration::from_millis(100);
            let (mut line, first) = (Turnstile::new(per_second, burst, MAX_WAIT), start());
            let mut model: Vec<(Ticket, Instant)> = Vec::new();
            let (mut now, mut passed) = (first, 0u32);
            for (step, what, which) in steps {
                // Those who wait are woken when their turn comes, as by a shell.
                let mut at = now;
                now += ms(step);
                while let Some((ticket, came)) = model.first().copied() {
                    match line.handle_turn(ticket, at) {
                        Turn::Passed => {
                            prop_assert!(at - came <= MAX_WAIT, "{:?}", at - came);
                            passed += 1;
                            model.remove(0);
                        }
                        Turn::At(due) if due <= now => at = due,
                        Turn::At(_) => break,
                        Turn::Behind => prop_assert!(false, "it is the first"),
                    }
                }
                if what > 0 {
                    match line.enter((), now) {
                        Entry::Passed => { prop_assert!(model.is_empty()); passed += 1; }
                        Entry::Waits(ticket) => model.push((ticket, now)),
                        Entry::Full => {}
                    }
                } else if which < model.len() {
                    line.leave(model.remove(which).0);
                }
                prop_assert_eq!(line.len(), model.len());
                let most = f64::from(burst) + (now - first).as_secs_f64() * f64::from(per_second);
                prop_assert!(f64::from(passed) <= most + 1e-3, "{} of {}", passed, most);
            }
        }
    }
}
