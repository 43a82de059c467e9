//! When a guest floods, and by how much its frames are thinned before they are taken from the link.

use std::time::{Duration, Instant};

use crate::link::{MAX_SHIFT, Thinning};

/// How long is counted before anything changes.
const WINDOW: Duration = Duration::from_millis(50);

/// Refused in one window: a flood, whose frames cost more than they are worth.
const MANY: u64 = 500;

/// What is left of it: enough to see that it goes on.
const AIM: u64 = 100;

/// Refused in one window: the flood is over, or weaker than it was.
const FEW: u64 = 20;

/// What begins something, by what bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Syn,
    Datagram,
    Echo,
    Fragment,
}

/// Counts what was refused, and says how a link is to be thinned so that little has to be.
///
/// Whatever is refused has cost a wake-up, a system call and a look at its headers. What is above a rate is
/// refused anyway, and is drawn at random among all of its kind instead. What is of that kind and would not have been
/// refused is drawn too: datagrams of flows that are open, for one, unless the caller spares their ports.
pub(crate) struct Thinner {
    /// Refused since the window began, each kind.
    refused: [u64; 4],
    shifts: [u8; 4],
    /// When the window ends; none runs while nothing is refused or thinned.
    ends: Option<Instant>,
}

impl Thinner {
    pub(crate) fn new() -> Self {
        Self { refused: [0; 4], shifts: [0; 4], ends: None }
    }

    /// Notes that so many frames of a kind were refused, of those that thinning leaves away.
    pub(crate) fn note_refused(&mut self, kind: Kind, count: u64, now: Instant) {
        if count > 0 {
            self.refused[Self::slot(kind)] += count;
            self.ends.get_or_insert(now + WINDOW);
        }
    }

    /// When [`poll`](Self::poll) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.ends
    }

    /// How the link is to be thinned from now on, where that is to be said; ports are the caller's to spare.
    #[must_use]
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Thinning> {
        if self.ends.is_none_or(|ends| ends > now) {
            return None;
        }
        let was_thinned = self.is_thinning();
        for (refused, shift) in self.refused.iter().zip(&mut self.shifts) {
            *shift = next(*shift, *refused);
        }
        self.refused = [0; 4];
        self.ends = self.is_thinning().then_some(now + WINDOW);
        if !was_thinned && !self.is_thinning() {
            return None;
        }
        // Said again while it goes on: the ports that are spared change.
        let [syns, datagrams, echoes, fragments] = self.shifts;
        let mut thinning = Thinning::default();
        (thinning.syns, thinning.datagrams) = (syns, datagrams);
        (thinning.echoes, thinning.fragments) = (echoes, fragments);
        Some(thinning)
    }

    fn is_thinning(&self) -> bool {
        self.shifts != [0; 4]
    }

    const fn slot(kind: Kind) -> usize {
        match kind {
            Kind::Syn => 0,
            Kind::Datagram => 1,
            Kind::Echo => 2,
            Kind::Fragment => 3,
        }
    }
}

/// The shift of a kind of which so many were refused at this one.
fn next(shift: u8, refused: u64) -> u8 {
    if refused > MANY {
        // Below it by as many halvings as leave about what is aimed at.
        let halvings = u8::try_from((refused / AIM).ilog2()).unwrap_or(MAX_SHIFT);
        return shift.saturating_add(halvings).min(MAX_SHIFT);
    }
    if refused < FEW { shift.saturating_sub(1) } else { shift }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "any instant will do: the test moves it from here on")]
    fn start() -> Instant {
        Instant::now()
    }

    /// A flood of SYNs of which `allowed` in a window are refused nothing, through a link that is thinned so; what was
    /// taken from the link in each window, and the last thinning.
    fn flood(thinner: &mut Thinner, now: &mut Instant, sent: u64, windows: usize) -> Vec<u64> {
        const ALLOWED: u64 = 200;
        let mut shift = thinner.shifts[0];
        let mut taken = Vec::new();
        for _ in 0..windows {
            let passed = sent >> shift;
            thinner.note_refused(Kind::Syn, passed.saturating_sub(ALLOWED), *now);
            taken.push(passed);
            *now += WINDOW;
            if let Some(thinning) = thinner.poll(*now) {
                shift = thinning.syns;
                assert_eq!((thinning.datagrams, thinning.echoes, thinning.fragments), (0, 0, 0));
            }
        }
        taken
    }

    #[test]
    fn a_flood_is_thinned_to_what_shows_it_and_forgotten_when_it_is_over() {
        let (mut thinner, mut now) = (Thinner::new(), start());
        for sent in [1_000, 25_000, 500_000] {
            let taken = flood(&mut thinner, &mut now, sent, 40);
            assert_eq!(taken[0], sent, "nothing is known of it");
            // As many as are allowed pass all the time, or little less.
            for passed in &taken[2..] {
                assert!((100..=700).contains(passed), "{sent}: {taken:?}");
            }
            // A weaker one is found out too.
            let weaker = flood(&mut thinner, &mut now, sent / 10, 40);
            assert!(weaker[30..].iter().all(|passed| *passed >= 100.min(sent / 10)), "{weaker:?}");
            // Over: within a second everything passes, and no timer is left.
            flood(&mut thinner, &mut now, 0, 20);
            assert!(!thinner.is_thinning());
            assert_eq!((thinner.poll_timeout(), thinner.poll(now)), (None, None));
        }
    }

    #[test]
    fn what_is_refused_now_and_then_thins_nothing() {
        let (mut thinner, mut now) = (Thinner::new(), start());
        for kind in [Kind::Syn, Kind::Datagram, Kind::Echo, Kind::Fragment] {
            for _ in 0..100 {
                thinner.note_refused(kind, MANY, now);
                assert_eq!(thinner.poll(now), None, "the window has just begun");
                now += WINDOW;
                assert_eq!(thinner.poll(now), None, "{kind:?}");
            }
        }
    }

    #[test]
    fn each_kind_has_its_own_share_and_none_is_shut_out() {
        let (mut thinner, now) = (Thinner::new(), start());
        thinner.note_refused(Kind::Echo, 1_000, now);
        thinner.note_refused(Kind::Fragment, u64::MAX / 2, now);
        let thinning = thinner.poll(now + WINDOW).expect("there is a flood");
        let shares = (thinning.syns, thinning.datagrams, thinning.echoes, thinning.fragments);
        assert_eq!(shares, (0, 0, 3, MAX_SHIFT));
    }
}
