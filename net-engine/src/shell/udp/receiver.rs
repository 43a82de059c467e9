use std::net::SocketAddr;
use std::rc::Rc;

use net_core::{Flow, Protocol};
use tokio::task::{AbortHandle, spawn_local, yield_now};

use super::super::host_socket::{HostSocket, Kind, Received, SendError};
use super::{State, Udp};

/// System calls that receive from one socket before others get their turn: each takes a few datagrams.
const MAX_BATCHES: usize = 4;

/// Errors taken from one socket before its datagrams, and others, get their turn.
const MAX_ERRORS: usize = 32;

/// A socket of the host and the task that passes on what it receives; both end when this is dropped.
pub(super) struct Receiver {
    socket: Rc<HostSocket>,
    task: AbortHandle,
}

impl Receiver {
    /// Opens a socket for what `guest` sends.
    ///
    /// # Errors
    /// Those of [`HostSocket::open`].
    pub(super) fn open(udp: &Rc<Udp>, guest: SocketAddr, is_v6: bool) -> std::io::Result<Self> {
        let socket = Rc::new(HostSocket::open(Kind::Datagrams, is_v6)?);
        let work = run(Rc::clone(udp), Rc::clone(&socket), guest);
        let task = spawn_local(work).abort_handle();
        Ok(Self { socket, task })
    }

    pub(super) fn send(&self, payload: &[u8], to: SocketAddr, hops: Option<u8>) -> Result<(), SendError> {
        self.socket.send(payload, to, hops)
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

async fn run(udp: Rc<Udp>, socket: Rc<HostSocket>, guest: SocketAddr) {
    // A runtime that ends takes this task along.
    while socket.ready().await.is_ok() {
        match take_batch(&udp, &socket, guest) {
            Batch::Drained => {}
            Batch::Full => yield_now().await,
            Batch::NoRoom => udp.context.stack.room_for_datagrams().await,
        }
    }
}

/// Hands the guest what the socket has.
fn take_batch(udp: &Udp, socket: &HostSocket, guest: SocketAddr) -> Batch {
    let context = &*udp.context;
    let mut state = udp.state();
    let State { table, inbox, counters, .. } = &mut *state;
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
