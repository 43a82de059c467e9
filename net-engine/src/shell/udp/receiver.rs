use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::super::host_socket::{HostSocket, Kind, Received};
use super::super::receiver::{Batch, MAX_ERRORS, Receiver};
use super::{State, Udp};
use net_core::{Direction, Flow, Protocol};

/// System calls that receive from one socket before others get their turn: each takes a few datagrams.
const MAX_BATCHES: usize = 4;

/// Opens a socket for what `guest` sends.
///
/// # Errors
/// Those of [`Receiver::open`].
pub(super) fn open(udp: &Rc<Udp>, guest: SocketAddr, is_v6: bool) -> io::Result<Receiver> {
    let own = Rc::clone(udp);
    Receiver::open(Kind::Datagrams, is_v6, udp.context.stack.clone(), move |socket| {
        take_batch(&own, socket, guest)
    })
}

/// Hands the guest what the socket has.
fn take_batch(udp: &Udp, socket: &HostSocket, guest: SocketAddr) -> Batch {
    let context = &*udp.context;
    let mut state = udp.state();
    let State { table, inbox, counters, .. } = &mut *state;
    let is_shaped = context.stack.shapers().is_in_use();
    let batch = context.stack.with_now(|gateway, now| {
        for _ in 0..MAX_ERRORS {
            let Some(undelivered) = socket.take_undelivered(inbox.scratch()) else { break };
            if let Some(upstream) = table.peer_at(guest, undelivered.to) {
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
                if let Some(Some(shaped)) = is_shaped.then(|| table.state_at(guest, from)?.shaped)
                    && !context.stack.shapers().take_datagram(shaped, Direction::Ingress, payload.len(), now)
                {
                    counters.shaped += 1;
                    continue;
                }
                match table.handle_ingress(guest, from, now) {
                    None => counters.filtered += 1,
                    Some(upstream) if gateway.push_datagram(upstream, guest, payload) => {
                        counters.received += 1
                    }
                    Some(_) => counters.lost += 1,
                }
            }
            if received == Received::All {
                return Batch::Drained;
            }
        }
        Batch::Full
    });
    context.stack.wake_driver();
    batch
}
