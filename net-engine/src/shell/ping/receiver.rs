use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::super::host_socket::{HostSocket, Kind, Received};
use super::super::receiver::{Batch, MAX_ERRORS, Receiver};
use super::{Inbox, Ping, State};
use crate::core::{ECHO_REPLIES, ECHO_REQUESTS, Echo};
use net_core::{Direction, Flow, Protocol};

/// Opens a socket for what `guest`, an address and an identifier, asks.
///
/// # Errors
/// Those of [`Receiver::open`].
pub(super) fn open(ping: &Rc<Ping>, guest: SocketAddr, is_v6: bool) -> io::Result<Receiver> {
    let own = Rc::clone(ping);
    Receiver::open(Kind::Echoes, is_v6, ping.context.stack.clone(), move |socket| {
        take_batch(&own, socket, guest)
    })
}

/// Hands the guest what the socket has.
fn take_batch(ping: &Ping, socket: &HostSocket, guest: SocketAddr) -> Batch {
    let context = &*ping.context;
    let mut state = ping.state();
    let State { table, inbox, .. } = &mut *state;
    let inbox = inbox.get_or_insert_with(Inbox::new);
    let protocol = if guest.is_ipv4() { Protocol::IcmpV4 } else { Protocol::IcmpV6 };
    // Whom the socket has asked is known by address, the identifier is the guest's.
    let at = |far: SocketAddr| SocketAddr::new(far.ip(), guest.port());
    let batch = context.stack.with_now(|gateway, now| {
        for _ in 0..MAX_ERRORS {
            let Some(undelivered) = socket.take_undelivered(inbox.scratch()) else { break };
            if let Some(upstream) = table.peer_at(guest, at(undelivered.to))
                && let Some((sequence, data)) =
                    Echo::of_message(&inbox.scratch()[..undelivered.len], ECHO_REQUESTS)
            {
                let flow = Flow { protocol, guest, upstream };
                let error = undelivered.error.seen_as(undelivered.to.ip(), upstream.ip());
                gateway.push_no_echo(&flow, sequence, data, error);
            }
        }
        if !gateway.has_room_for_datagrams() {
            return Batch::NoRoom;
        }
        let received = socket.receive(inbox);
        for (message, from) in inbox.datagrams() {
            if let Some((sequence, data)) = Echo::of_message(message, ECHO_REPLIES)
                && let Some(upstream) = table.handle_ingress(guest, at(from), now)
                && table.state_at(guest, at(from)).and_then(|peer| peer.shaped).is_none_or(|shaped| {
                    context.stack.shapers().take_datagram(shaped, Direction::Ingress, data.len(), now)
                })
            {
                // Without room it is lost, as on any link.
                let _ = gateway.push_echo(&Flow { protocol, guest, upstream }, sequence, data);
            }
        }
        if received == Received::All { Batch::Drained } else { Batch::Full }
    });
    context.stack.wake_driver();
    batch
}
