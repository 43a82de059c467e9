use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A port of the guest's that others may connect or send to, and where they do: bound, and not served yet.
///
/// Whoever connects is decided by the rules for ingress, by its own address (processes of this machine are
/// `host`); where none says anything the publication itself allows it. The guest is connected first: one that refuses is a reset, not a connection
/// that goes nowhere.
#[derive(Debug)]
pub struct Publication {
    pub(crate) listener: Listener,
    pub(crate) guest_port: u16,
    was_chosen: bool,
}

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
    Udp(UdpSocket),
}

/// A publication that is served, to end it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicationId(pub(crate) u64);

impl Publication {
    /// Listens on a port of the host's, of its choice where that is 0.
    ///
    /// # Errors
    /// Those of the system: the port is taken, or not for this user.
    pub fn tcp(address: SocketAddr, guest_port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: Listener::Tcp(listener), guest_port, was_chosen: address.port() == 0 })
    }

    /// Takes datagrams at a port of the host's, of its choice where that is 0. The guest sees who sends them by their
    /// address and answers them there; they are remembered for
    /// [`Limits::udp_idle_timeout`](net_core::Limits::udp_idle_timeout).
    ///
    /// # Errors
    /// Those of the system: the port is taken, or not for this user.
    pub fn udp(address: SocketAddr, guest_port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { listener: Listener::Udp(socket), guest_port, was_chosen: address.port() == 0 })
    }

    /// Listens on a Unix socket, which must not be there yet and is left there: whoever publishes it removes it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn unix(path: &Path, guest_port: u16) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: Listener::Unix(listener), guest_port, was_chosen: false })
    }

    /// Where it listens; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Udp(socket) => socket.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }

    /// Whether the system has chosen its port.
    pub fn is_of_the_system_s_choice(&self) -> bool {
        self.was_chosen
    }

    /// Whether it is one of UDP.
    pub fn is_udp(&self) -> bool {
        matches!(self.listener, Listener::Udp(_))
    }

    /// The port of the guest's it leads to.
    pub fn guest_port(&self) -> u16 {
        self.guest_port
    }
}
