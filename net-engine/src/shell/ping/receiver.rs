use std::net::SocketAddr;
use std::rc::Rc;

use net_core::{Flow, Protocol};
use tokio::task::{AbortHandle, spawn_local, yield_now};

use super::super::host_socket::{HostSocket, Kind, Received, SendError};
use super::{Inbox, Ping, State};
use crate::core::{ECHO_REPLIES, ECHO_REQUESTS, Echo};

/// Errors taken from one socket before its echoes, and others, get their turn.
const MAX_ERRORS: usize = 32;

/// A socket of the host and the task that passes on what it receives; both end when this is dropped.
pub(super) struct Receiver {
    socket: Rc<HostSocket>,
    task: AbortHandle,
}

impl Receiver {
    /// Opens a socket for what `guest`, an address and an identifier, asks.
    ///
    /// # Errors
    /// Those of [`HostSocket::open`].
    pub(super) fn open(ping: &Rc<Ping>, guest: SocketAddr, is_v6: bool) -> std::io::Result<Self> {
        let socket = Rc::new(HostSocket::open(Kind::Echoes, is_v6)?);
        let work = run(Rc::clone(ping), Rc::clone(&socket), guest);
        let task = spawn_local(work).abort_handle();
        Ok(Self { socket, task })
    }

    pub(super) fn send(&self, message: &[u8], to: SocketAddr, hops: Option<u8>) -> Result<(), SendError> {
        self.socket.send(message, to, hops)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a batch has ended.
enum Batch {
    /// The socket has no more.
    Drained,
    /// It may have more.
    Full,
    /// The guest's link has no room: what the socket cannot hold either is lost there.
    NoRoom,
}

async fn run(ping: Rc<Ping>, socket: Rc<HostSocket>, guest: SocketAddr) {
    // A runtime that ends takes this task along.
    while socket.ready().await.is_ok() {
        match take_batch(&ping, &socket, guest) {
            Batch::Drained => {}
            Batch::Full => yield_now().await,
            Batch::NoRoom => ping.context.stack.room_for_datagrams().await,
        }
    }
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
