use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::super::host_socket::{HostSocket, Kind};
use super::super::receiver::{Batch, Receiver, Sockets};
use super::batch::{self, Ends, Heard, Peers};
use super::{Peer, State, Udp};
use crate::core::PortTable;
use crate::guest::Stack;
use net_core::Direction;

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

fn take_batch(udp: &Udp, socket: &HostSocket, guest: SocketAddr) -> Batch {
    let stack = &udp.context.stack;
    let State { table, inbox, counters, .. } = &mut *udp.state();
    let is_shaped = stack.shapers().is_in_use();
    batch::take(stack, socket, inbox, counters, &mut Asked { table, guest, stack, is_shaped })
}

/// Those whom a port of the guest has sent to.
struct Asked<'t> {
    table: &'t mut PortTable<Sockets, Peer>,
    guest: SocketAddr,
    stack: &'t Stack,
    /// Whether any rule bounds what passes.
    is_shaped: bool,
}

impl Peers for Asked<'_> {
    fn at(&self, address: SocketAddr) -> Option<Ends> {
        Some((self.guest, self.table.peer_at(self.guest, address)?))
    }

    fn heard(&mut self, from: SocketAddr, bytes: usize, now: Instant) -> Heard {
        let shaped = self.is_shaped.then(|| self.table.state_at(self.guest, from)?.shaped).flatten();
        if let Some(shaped) = shaped
            && !self.stack.shapers().take_datagram(shaped, Direction::Ingress, bytes, now)
        {
            return Heard::TooMuch;
        }
        let upstream = self.table.handle_ingress(self.guest, from, now);
        upstream.map_or(Heard::Stranger, |upstream| Heard::Peer((self.guest, upstream)))
    }
}
