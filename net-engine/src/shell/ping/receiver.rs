use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::super::host_socket::{HostSocket, Kind, Received, Undelivered};
use super::super::receiver::{Batch, MAX_ERRORS, Receiver};
use super::{Inbox, Ping, State, Table};
use crate::core::{ECHO_REPLIES, ECHO_REQUESTS, Echo, Gateway};
use crate::guest::Context;
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
    let batch = context.stack.with_now(|gateway, now| {
        for _ in 0..MAX_ERRORS {
            let Some(undelivered) = socket.take_undelivered(inbox.scratch()) else { break };
            let message = &inbox.scratch()[..undelivered.len];
            push_undelivered(gateway, table, guest, undelivered, message);
        }
        if !gateway.has_room_for_datagrams() {
            return Batch::NoRoom;
        }
        let received = socket.receive(inbox);
        for (message, from) in inbox.datagrams() {
            push_reply(context, gateway, table, guest, (message, from), now);
        }
        if received == Received::All { Batch::Drained } else { Batch::Full }
    });
    context.stack.wake_driver();
    batch
}

/// Whom a socket has asked is known by address, the identifier is the guest's.
fn at(far: SocketAddr, guest: SocketAddr) -> SocketAddr {
    SocketAddr::new(far.ip(), guest.port())
}

fn protocol_of(guest: SocketAddr) -> Protocol {
    if guest.is_ipv4() { Protocol::IcmpV4 } else { Protocol::IcmpV6 }
}

/// Tells the guest what has become of its request, which begins with `message`.
pub(super) fn push_undelivered(
    gateway: &mut Gateway,
    table: &Table,
    guest: SocketAddr,
    undelivered: Undelivered,
    message: &[u8],
) {
    if let Some(upstream) = table.peer_at(guest, at(undelivered.to, guest))
        && let Some((sequence, data)) = Echo::of_message(message, ECHO_REQUESTS)
    {
        let flow = Flow { protocol: protocol_of(guest), guest, upstream };
        let error = undelivered.error.seen_as(undelivered.to.ip(), upstream.ip());
        gateway.push_no_echo(&flow, sequence, data, error);
    }
}

/// Hands the guest a message and whom it comes from, if it is a reply of whom it has asked.
pub(super) fn push_reply(
    context: &Context,
    gateway: &mut Gateway,
    table: &mut Table,
    guest: SocketAddr,
    (message, from): (&[u8], SocketAddr),
    now: Instant,
) {
    if let Some((sequence, data)) = Echo::of_message(message, ECHO_REPLIES)
        && let Some(upstream) = table.handle_ingress(guest, at(from, guest), now)
        && table.state_at(guest, at(from, guest)).and_then(|peer| peer.shaped).is_none_or(|shaped| {
            context.stack.shapers().take_datagram(shaped, Direction::Ingress, data.len(), now)
        })
    {
        let flow = Flow { protocol: protocol_of(guest), guest, upstream };
        // Without room it is lost, as on any link.
        let _ = gateway.push_echo(&flow, sequence, data);
    }
}
