//! Datagrams of the guest that leave together.

use std::net::SocketAddr;
use std::rc::Rc;

use net_core::Flow;

use super::super::host_socket::{HostSocket, Joined, SendError};
use crate::core::{Passage, UdpCounters, Undelivery};

/// Datagrams that leave by one system call: what kernels before 6.9 take.
const MAX_JOINED: usize = 64;

/// And their bytes: whoever receives them is handed all at once, and has room for others besides.
const MAX_JOINED_BYTES: usize = 24 << 10;

/// Datagrams that are kept for the guest to be told of; more of one turn are lost without a word.
const MAX_FAILURES: usize = 32;

/// The datagrams of one flow that follow each other in one turn of the link: the kernel is handed all at once, and cuts
/// them apart again (udp(7), `UDP_SEGMENT`).
///
/// The first datagram of a turn waits for no other, so that one which comes alone is not late, unless the link may have
/// had more at the end of the last turn than was taken. What waits is gone by the end of the turn:
/// [`flush`](Self::flush). Memory is bounded by [`MAX_JOINED_BYTES`], and for [`MAX_FAILURES`] by half of that each.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    waiting: Option<Waiting>,
    /// Whether others are to be expected behind the next datagram: this turn has sent something, or the last one left
    /// something.
    may_wait: bool,
    /// Whether the kernel cuts what it is handed, as far as it was asked.
    is_cut: Option<bool>,
    failures: Vec<Failure>,
}

/// What all that waits has in common.
struct Waiting {
    socket: Rc<HostSocket>,
    flow: Flow,
    to: SocketAddr,
    passage: Passage,
    /// Bytes of each but for the last, which may be shorter.
    piece_bytes: usize,
    count: usize,
    /// Whether others like it need no look at what is known of their flow, in the same turn.
    is_plain: bool,
    is_full: bool,
}

/// A datagram that did not leave, and what the guest is told of it.
pub(super) struct Failure {
    pub(super) flow: Flow,
    pub(super) payload: Vec<u8>,
    pub(super) why: Undelivery,
}

impl Outbox {
    /// Whether a datagram of a flow is one of those that wait, and nothing is to be looked up or counted for it.
    pub(super) fn is_plain(&self, flow: &Flow) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.is_plain && waiting.flow == *flow)
    }

    /// Has a datagram wait with the others, where it is like them.
    pub(super) fn join(&mut self, flow: &Flow, payload: &[u8], passage: Passage) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let fits =
            payload.len() <= waiting.piece_bytes && self.bytes.len() + payload.len() <= MAX_JOINED_BYTES;
        let is_alike = waiting.flow == *flow && waiting.passage == passage;
        if waiting.is_full || !is_alike || !fits || payload.is_empty() {
            return false;
        }
        self.bytes.extend_from_slice(payload);
        waiting.count += 1;
        // A shorter one is the last.
        waiting.is_full = waiting.count >= MAX_JOINED || payload.len() < waiting.piece_bytes;
        true
    }

    /// Has a datagram be the first of those that wait, where others are to be expected and nothing waits; `is_plain` as
    /// for [`is_plain`](Self::is_plain).
    pub(super) fn begin(
        &mut self,
        socket: &Rc<HostSocket>,
        flow: &Flow,
        payload: &[u8],
        (to, passage): (SocketAddr, Passage),
        is_plain: bool,
    ) -> bool {
        let may_wait = std::mem::replace(&mut self.may_wait, true);
        // Two have to have room.
        let fits = payload.len() <= MAX_JOINED_BYTES / 2 && !payload.is_empty();
        if !may_wait || !fits || self.waiting.is_some() || !self.is_cut(socket) {
            return false;
        }
        self.bytes.extend_from_slice(payload);
        let (flow, socket, piece_bytes) = (*flow, Rc::clone(socket), payload.len());
        self.waiting =
            Some(Waiting { socket, flow, to, passage, piece_bytes, count: 1, is_plain, is_full: false });
        true
    }

    fn is_cut(&mut self, socket: &HostSocket) -> bool {
        *self.is_cut.get_or_insert_with(|| socket.cuts_datagrams())
    }

    /// Sends what waits, and counts it.
    pub(super) fn flush(&mut self, counters: &mut UdpCounters) {
        let Some(Waiting { socket, flow, to, passage, piece_bytes, count, .. }) = self.waiting.take() else {
            return;
        };
        let pieces = u64::try_from(count).unwrap_or(u64::MAX);
        let is_alone = count == 1;
        let joined = if is_alone {
            Joined::Refused
        } else {
            socket.send_joined(&self.bytes, piece_bytes, to, passage)
        };
        match joined {
            Joined::Sent => counters.sent += pieces,
            Joined::Lost => counters.lost += pieces,
            Joined::Refused => {
                for piece in self.bytes.chunks(piece_bytes.max(1)) {
                    match socket.send(piece, to, passage) {
                        Ok(()) => counters.sent += 1,
                        Err(SendError::Lost) => counters.lost += 1,
                        Err(SendError::Undelivered(why)) if self.failures.len() < MAX_FAILURES => {
                            let why = why.seen_as(to.ip(), flow.upstream.ip());
                            self.failures.push(Failure { flow, payload: piece.to_vec(), why });
                        }
                        Err(SendError::Undelivered(_)) => counters.lost += 1,
                    }
                }
            }
        }
        self.bytes.clear();
    }

    /// Ends the turn, when nothing waits any more; what did not leave in it. `has_more` says whether the link has more.
    pub(super) fn end_turn(&mut self, has_more: bool) -> Vec<Failure> {
        self.may_wait = has_more;
        // Mostly of none, which allocates nothing.
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    use net_core::Protocol;
    use nix::libc::{SOL_UDP, UDP_GRO};

    use super::super::super::host_socket::Kind;
    use super::*;
    use crate::core::Unreachable;
    use crate::sys;

    const PLAIN: Passage = Passage { hops: 63, may_be_cut: true };
    const OTHERWISE: Passage = Passage { hops: 63, may_be_cut: false };

    type Sent = (SocketAddr, Vec<u8>, Passage);

    fn server() -> (UdpSocket, SocketAddr) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        server.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let address = server.local_addr().expect("it is bound");
        (server, address)
    }

    /// Carries datagrams as turns of the link do, each of which but the last leaves something; what became of all, and
    /// what did not leave.
    fn turns(all: &[&[Sent]]) -> (UdpCounters, Vec<Failure>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let socket = Rc::new(HostSocket::open(Kind::Datagrams, false).expect("a socket"));
            let mut outbox = Outbox::default();
            let mut counters = UdpCounters::default();
            let mut failures = Vec::new();
            for (nth, datagrams) in all.iter().enumerate() {
                for (to, payload, passage) in *datagrams {
                    let guest = SocketAddr::from(([10, 0, 0, 2], 9_000));
                    let flow = Flow { protocol: Protocol::Udp, guest, upstream: *to };
                    if outbox.join(&flow, payload, *passage) {
                        continue;
                    }
                    outbox.flush(&mut counters);
                    assert!(!outbox.is_plain(&flow));
                    if outbox.begin(&socket, &flow, payload, (*to, *passage), true) {
                        assert!(outbox.is_plain(&flow));
                    } else {
                        socket.send(payload, *to, *passage).expect("it leaves at once");
                        counters.sent += 1;
                    }
                }
                outbox.flush(&mut counters);
                assert!(outbox.waiting.is_none() && outbox.bytes.is_empty());
                failures.extend(outbox.end_turn(nth + 1 < all.len()));
                assert!(outbox.failures.is_empty());
            }
            (counters, failures)
        })
    }

    #[test]
    fn every_datagram_arrives_as_it_was_and_in_its_order() {
        let ((first, to_first), (second, to_second)) = (server(), server());
        // Which server, bytes, and how it is to be carried.
        let cases: &[&[(bool, usize, Passage)]] = &[
            &[(true, 100, PLAIN)],
            &[(true, 100, PLAIN); 5],
            &[(true, 100, PLAIN), (true, 90, PLAIN), (true, 90, PLAIN), (true, 80, PLAIN), (true, 90, PLAIN)],
            &[(true, 1, PLAIN), (true, 1, PLAIN), (true, 2, PLAIN), (true, 2, PLAIN)],
            &[(true, 9, PLAIN), (true, 9, PLAIN), (true, 0, PLAIN), (true, 0, PLAIN), (true, 9, PLAIN)],
            &[
                (true, 9, PLAIN),
                (true, 9, PLAIN),
                (true, 9, OTHERWISE),
                (true, 9, OTHERWISE),
                (true, 9, PLAIN),
            ],
            &[(true, 9, PLAIN), (false, 9, PLAIN), (false, 9, PLAIN), (true, 9, PLAIN), (false, 9, PLAIN)],
            &[(true, 9, PLAIN), (true, 20_000, PLAIN), (true, 20_000, PLAIN), (true, 9, PLAIN)],
            &[(true, 9, PLAIN), (true, 12_000, OTHERWISE), (true, 12_000, OTHERWISE), (true, 9, OTHERWISE)],
            &[(true, 3, PLAIN); 2 * MAX_JOINED + 5],
        ];
        for (nth, case) in cases.iter().enumerate() {
            let datagrams: Vec<Sent> = case
                .iter()
                .enumerate()
                .map(|(index, (is_first, bytes, passage))| {
                    let to = if *is_first { to_first } else { to_second };
                    (to, vec![u8::try_from(index).expect("few"); *bytes], *passage)
                })
                .collect();
            let (counters, failures) = turns(&[&datagrams]);
            assert_eq!(
                (counters.sent, counters.lost),
                (case.len().try_into().expect("few"), 0),
                "case {nth}"
            );
            assert!(failures.is_empty(), "case {nth}");
            let mut buffer = vec![0; 64 << 10];
            for (to, payload, _) in &datagrams {
                let server = if *to == to_first { &first } else { &second };
                let count = server.recv(&mut buffer).expect("it arrives");
                assert_eq!(buffer[..count], **payload, "case {nth}");
            }
        }
    }

    #[test]
    fn the_first_waits_for_nobody_and_those_behind_it_leave_together() {
        // Turns, datagrams of each, their bytes, and those that reach a socket which takes them together.
        let cases: &[(usize, usize, usize, &[usize])] = &[
            (1, 1, 100, &[100]),
            (1, 10, 100, &[100, 900]),
            (1, 70, 100, &[100, 6_400, 500]),
            (1, 20, 1_400, &[1_400, 17 * 1_400, 2 * 1_400]),
            (3, 10, 100, &[100, 900, 1_000, 1_000]),
        ];
        for (all, count, bytes, expected) in cases {
            let (server, to) = server();
            sys::set_option(server.as_fd(), SOL_UDP, UDP_GRO, 1).expect("linux has it since 5.0");
            let datagrams = vec![(to, vec![7; *bytes], PLAIN); *count];
            let _ = turns(&vec![&*datagrams; *all]);
            let mut buffer = vec![0; 64 << 10];
            for expected in *expected {
                assert_eq!(server.recv(&mut buffer).expect("it arrives"), *expected, "{count} of {bytes}");
            }
        }
    }

    #[test]
    fn what_does_not_leave_is_told_of_each_and_of_so_many() {
        let (_server, to) = server();
        let broadcast = SocketAddr::from(([255, 255, 255, 255], 9));
        for (count, told) in [(1, 1), (3, 3), (MAX_FAILURES + 9, MAX_FAILURES)] {
            let mut datagrams = vec![(to, b"first".to_vec(), PLAIN)];
            datagrams.resize(1 + count, (broadcast, b"x".to_vec(), PLAIN));
            let (counters, failures) = turns(&[&datagrams]);
            assert_eq!((counters.sent, counters.lost), (1, (count - told).try_into().expect("few")));
            assert_eq!(failures.len(), told);
            for Failure { flow, payload, why } in failures {
                assert_eq!((flow.upstream, &*payload), (broadcast, &b"x"[..]));
                assert!(matches!(
                    why,
                    Undelivery::Unreachable(Unreachable::Prohibited | Unreachable::Network)
                ));
            }
        }
    }
}
