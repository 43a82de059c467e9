//! Echoes by raw sockets, which hear those of everybody: identifiers of our own tell them apart.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::super::host_socket::{HostSocket, Received};
use super::super::receiver::{Batch, MAX_ERRORS, Receiver};
use super::own_ident::OwnIdent;
use super::{Inbox, Ping, State, receiver};
use crate::core::{Echo, icmp_in_packet_v4};
use crate::guest::{RawEchoSockets, open_raw};

/// The raw sockets of one guest.
#[derive(Default)]
pub(super) struct RawEchoes {
    /// Opened before the engine gave up the right to it.
    given: RawEchoSockets,
    v4: Option<Rc<Receiver>>,
    v6: Option<Rc<Receiver>>,
    /// Whose each identifier is: no more than there are identifiers of the guest.
    guests: HashMap<u16, SocketAddr>,
}

/// What an identifier of the guest asks by.
pub(super) struct RawEcho {
    pub(super) receiver: Rc<Receiver>,
    pub(super) ident: OwnIdent,
}

impl RawEchoes {
    pub(super) fn new(given: RawEchoSockets) -> Self {
        Self { given, ..Self::default() }
    }

    /// Has `guest`, an address and an identifier, ask by the socket of a family, opened at its first use.
    ///
    /// # Errors
    /// Those of the system: `PermissionDenied` without CAP_NET_RAW.
    pub(super) fn join(&mut self, ping: &Rc<Ping>, guest: SocketAddr, is_v6: bool) -> io::Result<RawEcho> {
        let opened = if is_v6 { &mut self.v6 } else { &mut self.v4 };
        let receiver = match opened {
            Some(opened) => Rc::clone(opened),
            none => {
                let descriptor = self.given.take(is_v6).map_or_else(|| open_raw(is_v6), Ok)?;
                let socket = HostSocket::raw(descriptor, is_v6)?;
                let own = Rc::downgrade(ping);
                let take = move |socket: &HostSocket| match own.upgrade() {
                    Some(ping) => take_batch(&ping, socket, is_v6),
                    None => Batch::Drained,
                };
                let receiver = Receiver::serve(socket, ping.context.stack.clone(), take);
                Rc::clone(none.insert(Rc::new(receiver)))
            }
        };
        let ident = OwnIdent::draw()?;
        self.guests.insert(ident.number(), guest);
        Ok(RawEcho { receiver, ident })
    }

    /// Forgets an identifier.
    pub(super) fn leave(&mut self, echo: &RawEcho) {
        self.guests.remove(&echo.ident.number());
    }
}

/// Hands the guest what of the socket's is its own.
fn take_batch(ping: &Ping, socket: &HostSocket, is_v6: bool) -> Batch {
    let context = &*ping.context;
    let mut state = ping.state();
    let State { table, inbox, raw, .. } = &mut *state;
    let inbox = inbox.get_or_insert_with(Inbox::new);
    let batch = context.stack.with_now(|gateway, now| {
        for _ in 0..MAX_ERRORS {
            let Some(undelivered) = socket.take_undelivered(inbox.scratch()) else { break };
            let message = &inbox.scratch()[..undelivered.len];
            let Some(guest) = guest_of(&raw.guests, message) else { continue };
            receiver::push_undelivered(gateway, table, guest, undelivered, message);
        }
        if !gateway.has_room_for_datagrams() {
            return Batch::NoRoom;
        }
        let received = socket.receive(inbox);
        for (bytes, from) in inbox.datagrams() {
            if let Some((guest, message)) = own_message(&raw.guests, bytes, is_v6) {
                receiver::push_reply(context, gateway, table, guest, (message, from), now);
            }
        }
        if received == Received::All { Batch::Drained } else { Batch::Full }
    });
    context.stack.wake_driver();
    batch
}

/// Whose a message is.
fn guest_of(guests: &HashMap<u16, SocketAddr>, message: &[u8]) -> Option<SocketAddr> {
    guests.get(&Echo::ident_of(message)?).copied()
}

/// A message as a raw socket has received it, and whose it is.
fn own_message<'m>(
    guests: &HashMap<u16, SocketAddr>,
    received: &'m [u8],
    is_v6: bool,
) -> Option<(SocketAddr, &'m [u8])> {
    // Of IPv6 the kernel gives the message alone, whose checksum it has looked at (RFC 3542, section 3).
    let message = if is_v6 { received } else { icmp_in_packet_v4(received)? };
    Some((guest_of(guests, message)?, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo reply of 9.9.9.1 in a packet with so many bytes of options.
    fn packet(ident: u16, options: usize) -> Vec<u8> {
        let header = 20 + options;
        let [id0, id1] = ident.to_be_bytes();
        let mut message = vec![0, 0, 0, 0, id0, id1, 0, 7];
        message.extend_from_slice(b"data");
        crate::core::fill_checksum_v4(&mut message);
        let total = u8::try_from(header + message.len()).expect("it is short");
        let mut packet =
            vec![0x40 | u8::try_from(header / 4).expect("it is short"), 0, 0, total, 0, 0, 0, 0, 64, 1];
        packet.extend_from_slice(&[0, 0, 9, 9, 9, 1, 127, 0, 0, 1]);
        packet.extend(std::iter::repeat_n(1, options));
        packet.extend(message);
        packet
    }

    #[test]
    fn what_a_raw_socket_hears_of_others_is_not_the_guest_s() {
        let guest: SocketAddr = ([172, 16, 0, 2], 3).into();
        let guests = HashMap::from([(0x1234, guest)]);
        for options in [0, 4, 40] {
            let own = packet(0x1234, options);
            let (whose, message) = own_message(&guests, &own, false).expect("it is the guest's");
            assert_eq!((whose, message), (guest, &own[20 + options..]));
            assert_eq!(Echo::of_message(message, [0, 129]), Some((7, &b"data"[..])));
            assert_eq!(own_message(&guests, &packet(0x1235, options), false), None);
            for length in 0..own.len() {
                assert_eq!(own_message(&guests, &own[..length], false), None, "{length} bytes");
            }
            // A raw socket hears what nobody has looked at.
            for at in 20 + options..own.len() {
                let mut wrong = own.clone();
                wrong[at] ^= 0x40;
                assert_eq!(own_message(&guests, &wrong, false), None, "byte {at}");
            }
            // What stands behind a packet is no part of it.
            let padded = [&own[..], &[0; 9]].concat();
            assert_eq!(own_message(&guests, &padded, false), Some((guest, message)));
        }
        let message = [129, 0, 0, 0, 0x12, 0x34, 0, 7];
        assert_eq!(own_message(&guests, &message, true), Some((guest, &message[..])));
        assert_eq!(own_message(&guests, &message[..7], true), None);
        assert_eq!(own_message(&guests, &[129, 0, 0, 0, 0x12, 0x35, 0, 7], true), None);
    }
}
