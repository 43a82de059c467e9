use std::collections::VecDeque;
use std::time::{Duration, Instant};

use net_core::{Flow, HostName, Limits};
use net_sni::{InitialIds, QUIC_BUFFER_BYTES, QuicError, QuicSniffer, Status};

/// Buffers kept for the next connection.
const MAX_SPARE: usize = 4;

/// What tells a connection from others: see [`InitialIds`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionId {
    bytes: [u8; 25],
    length: usize,
}

/// QUIC connections of a guest while they begin: whose name is being read, and which were read not long
/// ago.
///
/// A value: datagrams go in, and what they show comes out. A connection is known by its flow and by what
/// [`InitialIds`] says of it, for a flow may carry many, and each shows a name of its own. It is
/// remembered for as long as its client may send the hello again, which must be the same then. Bounded
/// by [`Limits::max_quic_hellos`]; the oldest yields, and its client sends again.
pub(super) struct QuicGates {
    /// In the order of their beginning.
    gates: VecDeque<Gate>,
    spare: Vec<Box<[u8]>>,
    max_gates: usize,
    max_held_bytes: usize,
    patience: Duration,
}

struct Gate {
    flow: Flow,
    id: ConnectionId,
    sniffer: QuicSniffer<Box<[u8]>>,
    /// What waits for the end of the hello; `None` once that is there.
    held: Option<Held>,
    began: Instant,
}

/// Datagrams that wait, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What a datagram shows.
pub(super) enum Seen {
    /// Nothing that begins a connection: it goes the way of its flow.
    NoHello,
    /// A connection begins, and there is more to come: nothing to do.
    Held,
    /// It contradicts itself, or what was sent before: it goes nowhere.
    Dropped,
    /// A whole hello, with the name it shows, if that is one. Whoever does not let it pass
    /// [forgets](QuicGates::forget) the connection.
    Hello {
        id: ConnectionId,
        name: Result<Option<HostName>, ()>,
        /// Whether it has an encrypted one inside, or looks as if it had.
        has_ech: bool,
        /// To be sent before the datagram.
        held: Held,
    },
    /// The beginning of a connection that cannot be read, on a flow of which nothing was let through.
    Unreadable,
}

impl Held {
    fn push(&mut self, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

impl ConnectionId {
    /// That of all Initial packets in a datagram: `Ok(None)` where there are none.
    fn of(datagram: &[u8]) -> Result<Option<Self>, ()> {
        let mut ids = InitialIds::of(datagram);
        let Some(first) = ids.next() else { return Ok(None) };
        // No client mixes connections (RFC 9000, section 12.2); what a server makes of it differs.
        if ids.any(|other| other != first) {
            return Err(());
        }
        let mut bytes = [0; 25];
        bytes.get_mut(..first.len()).ok_or(())?.copy_from_slice(first);
        Ok(Some(Self { bytes, length: first.len() }))
    }
}

impl QuicGates {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            gates: VecDeque::new(),
            spare: Vec::new(),
            max_gates: limits.max_quic_hellos.max(1),
            max_held_bytes: limits.max_held_datagram_bytes,
            patience: limits.hello_timeout,
        }
    }

    /// Looks at a datagram of the guest. `is_carried` when others of its flow were let through.
    pub(super) fn see(&mut self, flow: &Flow, datagram: &[u8], is_carried: bool, now: Instant) -> Seen {
        self.handle_timeout(now);
        let id = match ConnectionId::of(datagram) {
            Err(()) => return Seen::Dropped,
            // Behind a hello that is not whole yet everything waits.
            Ok(None) if !is_carried => return self.hold_behind(flow, datagram),
            Ok(None) => return Seen::NoHello,
            Ok(Some(id)) => id,
        };
        let known = self.gates.iter().position(|gate| gate.id == id && gate.flow == *flow);
        if let Some(index) = known {
            if let Some(gate) = self.gates.get_mut(index)
                && gate.held.is_none()
                && is_carried
            {
                return if gate.sniffer.check(datagram).is_ok() { Seen::NoHello } else { Seen::Dropped };
            }
            if let Some(gate) = self.gates.remove(index) {
                if let Some(held) = gate.held {
                    return self.read(
                        Gate { held: Some(Held::default()), ..gate },
                        held,
                        datagram,
                        is_carried,
                    );
                }
                // The flow it was let through on is gone: it is decided anew.
                self.keep_buffer(gate.sniffer);
            }
        }
        let buffer = self.spare.pop().unwrap_or_else(|| vec![0; QUIC_BUFFER_BYTES].into_boxed_slice());
        let sniffer = QuicSniffer::new(buffer);
        let gate = Gate { flow: *flow, id, sniffer, held: Some(Held::default()), began: now };
        self.read(gate, Held::default(), datagram, is_carried)
    }

    /// Goes on reading a hello, behind the datagrams that were held so far.
    fn read(&mut self, mut gate: Gate, mut held: Held, datagram: &[u8], is_carried: bool) -> Seen {
        let (id, answer) = (gate.id, gate.sniffer.handle(datagram));
        match answer {
            Ok(Status::Complete(hello)) => {
                let (name, has_ech) = (hello.host_name().map_err(drop), hello.ech().is_some());
                gate.held = None;
                self.insert(gate);
                Seen::Hello { id, name, has_ech, held }
            }
            // `Fragmented` is said of streams alone.
            Ok(Status::Partial { .. } | Status::Fragmented(_)) => {
                // What does not fit is lost, and sent again.
                if held.bytes.len() + datagram.len() <= self.max_held_bytes {
                    held.push(datagram);
                }
                gate.held = Some(held);
                self.insert(gate);
                Seen::Held
            }
            Err(error) => {
                let is_continued = error == QuicError::Unauthentic && held.ends.is_empty();
                self.keep_buffer(gate.sniffer);
                match is_carried {
                    // A connection that goes on with an ID the server has chosen.
                    true if is_continued => Seen::NoHello,
                    true => Seen::Dropped,
                    false => Seen::Unreadable,
                }
            }
        }
    }

    fn hold_behind(&mut self, flow: &Flow, datagram: &[u8]) -> Seen {
        let max_held_bytes = self.max_held_bytes;
        let mut waiting = self.gates.iter_mut().filter(|gate| gate.flow == *flow);
        let Some(held) = waiting.find_map(|gate| gate.held.as_mut()) else { return Seen::NoHello };
        if held.bytes.len() + datagram.len() <= max_held_bytes {
            held.push(datagram);
        }
        Seen::Held
    }

    fn insert(&mut self, gate: Gate) {
        if self.gates.len() >= self.max_gates
            && let Some(oldest) = self.gates.pop_front()
        {
            self.keep_buffer(oldest.sniffer);
        }
        let after = self.gates.partition_point(|other| other.began <= gate.began);
        self.gates.insert(after, gate);
    }

    /// Forgets a connection that was not let through.
    pub(super) fn forget(&mut self, flow: &Flow, id: ConnectionId) {
        if let Some(index) = self.gates.iter().position(|gate| gate.id == id && gate.flow == *flow)
            && let Some(gate) = self.gates.remove(index)
        {
            self.keep_buffer(gate.sniffer);
        }
    }

    /// Forgets everything: what was let through is looked at again when it is sent again.
    pub(super) fn clear(&mut self) {
        self.gates.clear();
    }

    /// Forgets what began too long ago.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|due| due <= now) {
            if let Some(gate) = self.gates.pop_front() {
                self.keep_buffer(gate.sniffer);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.gates.front().map(|gate| gate.began + self.patience)
    }

    fn keep_buffer(&mut self, sniffer: QuicSniffer<Box<[u8]>>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(sniffer.into_buffer());
        }
    }
}

#[cfg(test)]
mod tests;
