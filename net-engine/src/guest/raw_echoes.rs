use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};

use crate::sys;

/// Raw sockets by which a guest asks for echoes where the host lets nobody open sockets for that
/// (`net.ipv4.ping_group_range`): for an engine that gives up CAP_NET_RAW before a guest needs one. One that keeps it
/// opens them by itself.
///
/// Whoever holds one may send any message of ICMP.
#[derive(Debug, Default)]
pub struct RawEchoSockets {
    pub(crate) v4: Option<OwnedFd>,
    pub(crate) v6: Option<OwnedFd>,
}

impl RawEchoSockets {
    /// Opens one for each family in which this process may ask for no echo otherwise, and has the right to it.
    pub fn where_needed() -> Self {
        let needed = |is_v6| {
            let kind = open_socket(SockType::Datagram, is_v6).err()?.kind();
            (kind == io::ErrorKind::PermissionDenied).then(|| open_raw(is_v6).ok())?
        };
        Self { v4: needed(false), v6: needed(true) }
    }

    /// Takes the one of a family, if there is one.
    pub(crate) fn take(&mut self, is_v6: bool) -> Option<OwnedFd> {
        if is_v6 { self.v6.take() } else { self.v4.take() }
    }
}

/// Opens a raw socket that hears echo replies, and what is said of requests, of everybody's on this host.
///
/// # Errors
/// Those of the system: `PermissionDenied` without CAP_NET_RAW.
pub(crate) fn open_raw(is_v6: bool) -> io::Result<OwnedFd> {
    let descriptor = open_socket(SockType::Raw, is_v6)?;
    sys::pass_echo_replies(descriptor.as_fd(), is_v6)?;
    if is_v6 {
        setsockopt(&descriptor, sockopt::Ipv6RecvErr, &true)?;
    } else {
        setsockopt(&descriptor, sockopt::Ipv4RecvErr, &true)?;
    }
    Ok(descriptor)
}

fn open_socket(kind: SockType, is_v6: bool) -> io::Result<OwnedFd> {
    let (family, protocol) = if is_v6 {
        (AddressFamily::Inet6, SockProtocol::IcmpV6)
    } else {
        (AddressFamily::Inet, SockProtocol::Icmp)
    };
    Ok(socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, protocol)?)
}
