//! Where the agent's servers are.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::load::habit::Habit;

/// Whatever takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The servers' addresses, taken in turn: a client that reconnects all the time would run out of
/// ports towards a single one.
pub(crate) struct Servers {
    addresses: Vec<IpAddr>,
    turn: AtomicUsize,
}

impl Servers {
    pub(crate) fn new(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, turn: AtomicUsize::new(0) }
    }

    /// The one that is also a name server.
    pub(crate) fn first(&self) -> io::Result<IpAddr> {
        self.addresses.first().copied().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Connects to the next one, see [`connect_to`](Self::connect_to).
    pub(crate) fn connect(&self, habit: Habit) -> io::Result<TcpStream> {
        self.connect_to(habit.port())
    }

    /// Connects to the next one; reads and writes that get nowhere fail after [`PATIENCE`].
    pub(crate) fn connect_to(&self, port: u16) -> io::Result<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let address = self.addresses.get(turn % self.addresses.len().max(1));
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::connect_timeout(&SocketAddr::new(*address, port), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}
