//! Flows that share what a rule lets them carry.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::task::Waker;
use std::time::{Duration, Instant};

use net_core::{Direction, Shaping, TimerQueue};

use super::FlowId;
use super::shaper::Gate;

/// How long a stream whose turn it is may take to use it.
const TURN: Duration = Duration::from_millis(5);

/// What rules with the keys `K` let their flows carry.
///
/// Streams that find nothing left wait in a line and take a bounded amount each when their turn comes, so that
/// none starves; while they wait, nothing is read from them, and their senders find their windows closed.
/// Datagrams do not wait: those that are too many are lost, and where streams wait datagrams get no more than
/// streams do.
///
/// Memory is bounded by the rules and the flows. After any call see [`poll_timeout`](Self::poll_timeout).
pub(crate) struct Shapers<K> {
    /// Counts the times that everything was forgotten.
    generation: u64,
    by_key: HashMap<K, usize>,
    lanes: Vec<Lanes>,
    flows: HashMap<FlowId, usize>,
    /// Who waits, other than for its turn to be used.
    wakers: HashMap<(FlowId, Direction), Waker>,
    timers: TimerQueue<(usize, Direction)>,
    waits: u64,
}

struct Lanes {
    egress: Lane,
    ingress: Lane,
}

struct Lane {
    gate: Gate,
    waiting: VecDeque<FlowId>,
    /// Whether it is the first one's turn.
    is_granted: bool,
    /// Bytes of datagrams that may pass although streams wait: as many as streams have had.
    credit: usize,
}

/// The bound a flow is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShapedBy {
    generation: u64,
    lanes: usize,
}

impl<K: Copy + Eq + Hash> Shapers<K> {
    pub(crate) fn new() -> Self {
        Self {
            generation: 0,
            by_key: HashMap::new(),
            lanes: Vec::new(),
            flows: HashMap::new(),
            wakers: HashMap::new(),
            timers: TimerQueue::new(),
            waits: 0,
        }
    }

    /// Whether any flow may be under a bound.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// How often a stream had to wait so far.
    pub(crate) fn waits(&self) -> u64 {
        self.waits
    }

    /// The bound of a rule.
    pub(crate) fn bound(&mut self, key: K, shaping: &Shaping) -> ShapedBy {
        let lanes = *self.by_key.entry(key).or_insert_with(|| {
            let Shaping { upload, download } = *shaping;
            let (egress, ingress) = (Lane::new(Gate::new(upload)), Lane::new(Gate::new(download)));
            self.lanes.push(Lanes { egress, ingress });
            self.lanes.len() - 1
        });
        ShapedBy { generation: self.generation, lanes }
    }

    /// Puts a stream under a bound, or under none.
    pub(crate) fn bind(&mut self, id: FlowId, shaped: Option<ShapedBy>, now: Instant) {
        let shaped = shaped.filter(|shaped| shaped.generation == self.generation).map(|shaped| shaped.lanes);
        if self.flows.get(&id).copied() == shaped {
            return;
        }
        if let Some(lanes) = self.flows.remove(&id) {
            for direction in [Direction::Egress, Direction::Ingress] {
                self.leave(id, lanes, direction, now);
            }
        }
        if let Some(lanes) = shaped {
            self.flows.insert(id, lanes);
        }
    }

    /// Forgets every bound and every stream under one: the rules have changed. Who waited looks again.
    pub(crate) fn clear(&mut self) {
        let wakers = std::mem::take(&mut self.wakers);
        let (generation, waits) = (self.generation + 1, self.waits);
        *self = Self { generation, waits, ..Self::new() };
        wakers.into_values().for_each(Waker::wake);
    }

    /// How much a stream may carry now; `None` where it has to wait, and then `waker` is woken. What it has
    /// carried is [noted](Self::spend) before anything else is asked.
    pub(crate) fn poll(
        &mut self,
        id: FlowId,
        direction: Direction,
        waker: &Waker,
        now: Instant,
    ) -> Option<usize> {
        let Some(index) = self.flows.get(&id).copied() else { return Some(usize::MAX) };
        let Some(lanes) = self.lanes.get_mut(index) else { return Some(usize::MAX) };
        let lane = lanes.lane(direction);
        let Some(available) = lane.gate.available_bytes(now) else { return Some(usize::MAX) };
        let has_turn = lane.is_granted && lane.waiting.front() == Some(&id);
        let quantum = lane.gate.quantum();
        // The crumbs that each moment brings are left to gather: they are not worth a system call each.
        if (has_turn && available > 0) || (lane.waiting.is_empty() && available >= quantum) {
            return Some(available.min(quantum));
        }
        let known = self.wakers.insert((id, direction), waker.clone());
        if has_turn {
            // It stays the first.
            lane.is_granted = false;
        } else if known.is_none() {
            lane.waiting.push_back(id);
            self.waits += 1;
        }
        self.advance(index, direction, now);
        None
    }

    /// Notes what a stream has carried after [`poll`](Self::poll), be it nothing.
    pub(crate) fn spend(&mut self, id: FlowId, direction: Direction, bytes: usize, now: Instant) {
        let Some(index) = self.flows.get(&id).copied() else { return };
        let Some(lanes) = self.lanes.get_mut(index) else { return };
        let lane = lanes.lane(direction);
        lane.gate.spend(bytes, 0, now);
        // What one burst holds is enough: it is spent at once.
        lane.credit = (lane.credit + bytes).min(lane.gate.burst_bytes().unwrap_or(0));
        if lane.is_granted && lane.waiting.front() == Some(&id) {
            lane.waiting.pop_front();
            lane.is_granted = false;
            self.advance(index, direction, now);
        }
    }

    /// Whether a datagram may pass; one that may is noted.
    #[must_use]
    pub(crate) fn take_datagram(
        &mut self,
        shaped: ShapedBy,
        direction: Direction,
        bytes: usize,
        now: Instant,
    ) -> bool {
        if shaped.generation != self.generation {
            return true;
        }
        let Some(lanes) = self.lanes.get_mut(shaped.lanes) else { return true };
        let lane = lanes.lane(direction);
        if !lane.gate.is_open(now) || (!lane.waiting.is_empty() && lane.credit == 0) {
            return false;
        }
        lane.gate.spend(bytes, 1, now);
        lane.credit = lane.credit.saturating_sub(bytes);
        true
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.timers.poll_timeout()
    }

    /// Gives those their turn for whom something is left.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((index, direction)) = self.timers.poll_expired(now) {
            let Some(lanes) = self.lanes.get_mut(index) else { continue };
            let lane = lanes.lane(direction);
            // It was woken and has not come: whoever carries it waits for something else.
            if std::mem::take(&mut lane.is_granted) {
                lane.waiting.pop_front();
            }
            self.advance(index, direction, now);
        }
    }

    /// Gives the first in a line its turn, or sees when it may have it.
    fn advance(&mut self, index: usize, direction: Direction, now: Instant) {
        let Some(lanes) = self.lanes.get_mut(index) else { return };
        let lane = lanes.lane(direction);
        let key = (index, direction);
        let Some(first) = lane.waiting.front().copied() else { return self.timers.cancel(&key) };
        if lane.is_granted {
            return;
        }
        // Not with every byte: a turn is worth its wake-up.
        match lane.gate.bytes_at(lane.gate.quantum(), now) {
            Some(ready_at) => self.timers.set(key, ready_at),
            None => {
                lane.is_granted = true;
                self.timers.set(key, now + TURN);
                if let Some(waker) = self.wakers.remove(&(first, direction)) {
                    waker.wake();
                }
            }
        }
    }

    /// Takes a stream out of a line.
    fn leave(&mut self, id: FlowId, index: usize, direction: Direction, now: Instant) {
        let Some(lanes) = self.lanes.get_mut(index) else { return };
        let lane = lanes.lane(direction);
        let had_turn = lane.is_granted && lane.waiting.front() == Some(&id);
        if let Some(waker) = self.wakers.remove(&(id, direction)) {
            lane.waiting.retain(|waiting| *waiting != id);
            waker.wake();
        } else if had_turn {
            lane.waiting.pop_front();
            lane.is_granted = false;
        }
        self.advance(index, direction, now);
    }
}

impl Lanes {
    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }
}

impl Lane {
    fn new(gate: Gate) -> Self {
        Self { gate, waiting: VecDeque::new(), is_granted: false, credit: 0 }
    }
}

#[cfg(test)]
mod tests;
