use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::ProxyProtocol;

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
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// Removed with its publication.
    pub(crate) socket_file: Option<SocketFile>,
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
        Ok(Self {
            listener: Listener::Tcp(listener),
            guest_port,
            was_chosen: address.port() == 0,
            proxy_protocol: None,
            socket_file: None,
        })
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
        Ok(Self {
            listener: Listener::Udp(socket),
            guest_port,
            was_chosen: address.port() == 0,
            proxy_protocol: None,
            socket_file: None,
        })
    }

    /// Listens on a Unix socket, which must not be there yet, and is removed when it is served no more.
    ///
    /// # Errors
    /// Those of the system.
    pub fn unix(path: &Path, guest_port: u16) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let socket_file = SocketFile::of(path).ok();
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: Listener::Unix(listener),
            guest_port,
            was_chosen: false,
            proxy_protocol: None,
            socket_file,
        })
    }

    /// The same, which tells the guest's server who has connected by a header before everything else. Nothing is said
    /// over UDP.
    #[must_use]
    pub fn with_proxy_protocol(self, version: ProxyProtocol) -> Self {
        Self { proxy_protocol: Some(version), ..self }
    }

    /// Where it listens; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Udp(socket) => socket.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }

    /// The directory of its Unix socket, which is to be removed from there.
    #[cfg(feature = "cli")]
    pub(crate) fn socket_directory(&self) -> Option<PathBuf> {
        self.socket_file.as_ref()?.path.parent().map(Path::to_path_buf)
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

/// The file of a Unix socket, which goes with this, if it is the same still.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let id = id_of(&path)?;
        Ok(Self { path, id })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whoever has put something else there keeps it; one who does so now is too quick to be noticed.
        if id_of(&self.path).is_ok_and(|id| id == self.id) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
