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
    let far = at(undelivered.to, guest);
    if let Some((sequence, data)) = Echo::of_message(message, ECHO_REQUESTS)
        && table.state_at(guest, far).is_some_and(|peer| peer.asked.has_asked(sequence))
        && let Some(upstream) = table.peer_at(guest, far)
    {
        let flow = Flow { protocol: protocol_of(guest), guest, upstream };
        let error = undelivered.error.seen_as(undelivered.to.ip(), upstream.ip());
        gateway.push_no_echo(&flow, sequence, data, error);
    }
}

/// Hands the guest a message and whom it comes from, if it is a reply to what it has asked there.
pub(super) fn push_reply(
    context: &Context,
    gateway: &mut Gateway,
    table: &mut Table,
    guest: SocketAddr,
    (message, from): (&[u8], SocketAddr),
    now: Instant,
) {
    let far = at(from, guest);
    if let Some((sequence, data)) = Echo::of_message(message, ECHO_REPLIES)
        && let Some(peer) = table.state_at(guest, far)
        && peer.asked.is_answered_by(sequence, data)
        && let shaped = peer.shaped
        && let Some(upstream) = table.handle_ingress(guest, far, now)
        && shaped.is_none_or(|shaped| {
            context.stack.shapers().take_datagram(shaped, Direction::Ingress, data.len(), now)
        })
    {
        let flow = Flow { protocol: protocol_of(guest), guest, upstream };
        // Without room it is lost, as on any link.
        let _ = gateway.push_echo(&flow, sequence, data);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Asked, EchoSockets, Peer};
    use super::*;
    use crate::core::{Bounds, GatewayConfig, GuestAddresses, PortTable};
    use crate::guest::{EventQueue, GuestConfig, Stack, now};
    use crate::link::LinkCapabilities;

    fn context() -> Context {
        let config = GuestConfig::default();
        let gateway = GatewayConfig {
            addresses: GuestAddresses::default(),
            link: LinkCapabilities { mtu: 1500, offload: false },
            limits: config.limits.clone(),
            random_seed: 1,
            autoconfiguration: None,
        };
        let stack = Stack::new(Gateway::new(gateway, now()).expect("the default addresses"));
        Context::new(stack, EventQueue::new(8), config)
    }

    /// A message of this type.
    fn message(kind: u8, sequence: u8, data: &[u8]) -> Vec<u8> {
        [&[kind, 0, 0, 0, 0x12, 0x34, 0, sequence], data].concat()
    }

    #[test]
    fn only_what_was_asked_is_answered() {
        let context = context();
        let guest: SocketAddr = ([172, 16, 0, 2], 3).into();
        let upstream: SocketAddr = ([9, 9, 9, 1], 3).into();
        let bounds = Bounds {
            max_mappings: (1, "mappings"),
            max_peers: (1, "peers"),
            idle_timeout: Duration::from_secs(30),
            exchange_timeout: Duration::from_secs(30),
        };
        // Whether the reply, or the error about a request, reaches a guest that has asked with 7 and `own`.
        let reaches = |message: &[u8], is_error: bool| {
            let mut table: Table = PortTable::new(bounds);
            let mut asked = Asked::default();
            asked.enter(7, b"own");
            let peer = Peer { shaped: None, held_pins: None, asked, _far: None };
            table.open((guest, upstream), upstream, peer, EchoSockets::default, now());
            context.stack.with_now(|gateway, now| {
                if is_error {
                    let error = crate::core::Unreachable::Host.into();
                    let undelivered = Undelivered { to: upstream, len: message.len(), error };
                    push_undelivered(gateway, &table, guest, undelivered, message);
                } else {
                    let from = SocketAddr::new(upstream.ip(), 0);
                    push_reply(&context, gateway, &mut table, guest, (message, from), now);
                }
                let reached = gateway.next_frame().is_some();
                if reached {
                    gateway.frame_sent();
                }
                reached
            })
        };
        assert!(reaches(&message(0, 7, b"own"), false));
        // Of another process, by the same identifier to the same destination.
        assert!(!reaches(&message(0, 8, b"own"), false));
        assert!(!reaches(&message(0, 7, b"its"), false));
        assert!(reaches(&message(8, 7, b""), true));
        assert!(!reaches(&message(8, 8, b""), true));
    }
}
