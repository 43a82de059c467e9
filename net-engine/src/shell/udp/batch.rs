//! What a socket has received, on its way to the guest.

use std::net::SocketAddr;
use std::time::Instant;

use net_core::{Flow, Protocol};

use super::super::host_socket::{HostSocket, Received};
use super::super::inbox::Inbox;
use super::super::receiver::{Batch, MAX_ERRORS};
use crate::core::UdpCounters;
use crate::guest::Stack;

/// System calls that receive from one socket before others get their turn: each takes a few datagrams.
const MAX_BATCHES: usize = 4;

/// The guest's end, and a peer as the guest sees it.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// Whom a socket hears, by the addresses that it has them by.
pub(super) trait Peers {
    /// Whom something was sent to there; nobody is remembered longer for it.
    fn at(&self, address: SocketAddr) -> Option<Ends>;

    /// Whom a datagram of so many bytes is from.
    fn heard(&mut self, from: SocketAddr, bytes: usize, now: Instant) -> Heard;
}

/// Whom a datagram is from.
pub(super) enum Heard {
    Peer(Ends),
    /// Nobody whom the guest hears.
    Stranger,
    /// One who has sent more than the rule lets through.
    TooMuch,
}

/// Hands the guest what a socket has: first the errors of what it has sent.
pub(super) fn take(
    stack: &Stack,
    socket: &HostSocket,
    inbox: &mut Inbox,
    counters: &mut UdpCounters,
    peers: &mut impl Peers,
) -> Batch {
    let batch = stack.with_now(|gateway, now| {
        for _ in 0..MAX_ERRORS {
            let Some(undelivered) = socket.take_undelivered(inbox.scratch()) else { break };
            if let Some((guest, upstream)) = peers.at(undelivered.to) {
                let flow = Flow { protocol: Protocol::Udp, guest, upstream };
                let error = undelivered.error.seen_as(undelivered.to.ip(), upstream.ip());
                gateway.push_undelivered(&flow, &inbox.scratch()[..undelivered.len], error);
            }
        }
        for _ in 0..MAX_BATCHES {
            if !gateway.has_room_for_datagrams() {
                return Batch::NoRoom;
            }
            let received = socket.receive(inbox);
            for (payload, from) in inbox.datagrams() {
                match peers.heard(from, payload.len(), now) {
                    Heard::Stranger => counters.filtered += 1,
                    Heard::TooMuch => counters.shaped += 1,
                    Heard::Peer((guest, upstream)) if gateway.push_datagram(upstream, guest, payload) => {
                        counters.received += 1;
                    }
                    Heard::Peer(_) => counters.lost += 1,
                }
            }
            if received == Received::All {
                return Batch::Drained;
            }
        }
        Batch::Full
    });
    stack.wake_driver();
    batch
}
