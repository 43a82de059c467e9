use std::time::{Duration, Instant};

use crate::fifo_map::FifoMap;
use crate::{Alpn, AlpnOffer, LeafSubject};

/// Whom and what a choice was made for: another name, port or offer is another choice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlpnQuestion {
    /// The name that was asked for, or the address.
    pub subject: LeafSubject,
    /// Upstream's port.
    pub port: u16,
    /// What was offered.
    pub offer: AlpnOffer,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    chosen: Alpn,
    at: Instant,
}

/// What upstreams chose of an offer the last time: a guess at what they will choose.
///
/// At most `capacity` choices are kept, each for `lifetime` since it was made; the one that was learnt
/// first yields.
#[derive(Debug)]
pub struct AlpnMemory {
    lifetime: Duration,
    answers: FifoMap<AlpnQuestion, Answer>,
}

impl AlpnMemory {
    /// Remembers nothing yet.
    pub fn new(capacity: usize, lifetime: Duration) -> Self {
        Self { lifetime, answers: FifoMap::new(capacity) }
    }

    /// What upstream chose, if that is not too long ago.
    pub fn recall(&self, question: &AlpnQuestion, now: Instant) -> Option<Alpn> {
        let answer = self.answers.get(question)?;
        (now.saturating_duration_since(answer.at) < self.lifetime).then_some(answer.chosen)
    }

    /// Notes what upstream, verified, has chosen.
    pub fn learn(&mut self, question: AlpnQuestion, chosen: Alpn, now: Instant) {
        self.answers.insert(question, Answer { chosen, at: now });
    }

    /// Forgets what upstream chose: it is not what it was.
    pub fn forget(&mut self, question: &AlpnQuestion) {
        self.answers.remove(question);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    fn question(name: &str, port: u16, offer: AlpnOffer) -> AlpnQuestion {
        AlpnQuestion { subject: LeafSubject::Name(name.parse().expect(name)), port, offer }
    }

    #[test]
    fn a_choice_is_for_one_name_port_and_offer_and_for_a_while() {
        let now = crate::fuzzing::instant();
        let own = question("a.example", 443, AlpnOffer::Http2First);
        let others = [
            question("b.example", 443, AlpnOffer::Http2First),
            question("a.example", 8443, AlpnOffer::Http2First),
            question("a.example", 443, AlpnOffer::Http1First),
            AlpnQuestion { subject: LeafSubject::Address([9, 9, 9, 1].into()), ..own.clone() },
        ];
        let mut memory = AlpnMemory::new(8, LIFETIME);
        assert_eq!(memory.recall(&own, now), None);
        memory.learn(own.clone(), Alpn::Http2, now);
        assert_eq!(memory.recall(&own, now + LIFETIME / 2), Some(Alpn::Http2));
        assert_eq!(memory.recall(&own, now + LIFETIME), None);
        assert!(others.iter().all(|other| memory.recall(other, now).is_none()));
        // Learnt again, it lives again, as what it is now.
        memory.learn(own.clone(), Alpn::Http1, now + LIFETIME);
        assert_eq!(memory.recall(&own, now + LIFETIME), Some(Alpn::Http1));
        memory.forget(&own);
        assert_eq!(memory.recall(&own, now + LIFETIME), None);
    }
}
