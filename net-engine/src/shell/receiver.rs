use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::task::{AbortHandle, spawn_local, yield_now};

use super::host_socket::{HostSocket, Kind, SendError};
use crate::core::Passage;
use crate::guest::Stack;

/// Errors taken from one socket before what it has received, and others, get their turn.
pub(super) const MAX_ERRORS: usize = 32;

/// A socket of the host and the task that passes on what it receives; both end when this is dropped.
pub(super) struct Receiver {
    socket: Rc<HostSocket>,
    task: AbortHandle,
}

/// How a batch of what a socket has received ended.
pub(super) enum Batch {
    /// The socket has no more.
    Drained,
    /// It may have more.
    Full,
    /// The guest's link has no room: what the socket cannot hold either is lost there.
    NoRoom,
}

impl Receiver {
    /// Opens a socket; `take` hands the guest what it has.
    ///
    /// # Errors
    /// Those of [`HostSocket::open`].
    pub(super) fn open(
        kind: Kind,
        is_v6: bool,
        stack: Stack,
        take: impl Fn(&HostSocket) -> Batch + 'static,
    ) -> io::Result<Self> {
        Ok(Self::serve(HostSocket::open(kind, is_v6)?, stack, take))
    }

    /// Has `take` hand the guest what a socket has.
    pub(super) fn serve(
        socket: HostSocket,
        stack: Stack,
        take: impl Fn(&HostSocket) -> Batch + 'static,
    ) -> Self {
        let socket = Rc::new(socket);
        let task = spawn_local(run(Rc::clone(&socket), stack, take)).abort_handle();
        Self { socket, task }
    }

    pub(super) fn socket(&self) -> &Rc<HostSocket> {
        &self.socket
    }

    pub(super) fn send(&self, payload: &[u8], to: SocketAddr, passage: Passage) -> Result<(), SendError> {
        self.socket.send(payload, to, passage)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(socket: Rc<HostSocket>, stack: Stack, take: impl Fn(&HostSocket) -> Batch) {
    // A runtime that ends takes this task along.
    while socket.ready().await.is_ok() {
        match take(&socket) {
            Batch::Drained => {}
            Batch::Full => yield_now().await,
            Batch::NoRoom => stack.room_for_datagrams().await,
        }
    }
}

/// The sockets of one port of the guest, or of one identifier: one, or two where redirects lead to the other
/// family.
#[derive(Default)]
pub(super) struct Sockets {
    v4: Option<Receiver>,
    v6: Option<Receiver>,
}

impl Sockets {
    /// The socket that reaches `dialled`, opened at its first use.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn towards(
        &mut self,
        dialled: SocketAddr,
        open: impl FnOnce(bool) -> io::Result<Receiver>,
    ) -> io::Result<&Receiver> {
        let is_v6 = dialled.is_ipv6();
        let socket = if is_v6 { &mut self.v6 } else { &mut self.v4 };
        match socket {
            Some(opened) => Ok(opened),
            none => Ok(none.insert(open(is_v6)?)),
        }
    }
}
