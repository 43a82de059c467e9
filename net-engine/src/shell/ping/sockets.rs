use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::super::host_socket::SendError;
use super::super::receiver::Receiver;
use super::Ping;
use super::raw::{RawEcho, RawEchoes};
use super::receiver;
use crate::core::{Echo, Passage, fill_checksum_v4};

/// The sockets of one identifier of the guest: one, or two where redirects lead to the other family.
#[derive(Default)]
pub(super) struct EchoSockets {
    v4: Option<EchoSocket>,
    v6: Option<EchoSocket>,
}

/// What an identifier of the guest asks by.
pub(super) enum EchoSocket {
    /// A socket of its own. The kernel chooses the identifier, and lets it hear no other.
    Own(Receiver),
    /// Part of one of the guest's, where the host lets nobody have such a socket.
    Raw(RawEcho),
}

impl EchoSockets {
    /// The socket that reaches a family, opened at its first use.
    ///
    /// # Errors
    /// Those of the system: `PermissionDenied` where this process may not ask for echoes in any way.
    pub(super) fn towards(
        &mut self,
        is_v6: bool,
        ping: &Rc<Ping>,
        guest: SocketAddr,
        raw: &mut RawEchoes,
    ) -> io::Result<&EchoSocket> {
        let socket = if is_v6 { &mut self.v6 } else { &mut self.v4 };
        match socket {
            Some(opened) => Ok(opened),
            none => {
                let opened = match receiver::open(ping, guest, is_v6) {
                    Ok(own) => EchoSocket::Own(own),
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        EchoSocket::Raw(raw.join(ping, guest, is_v6)?)
                    }
                    Err(error) => return Err(error),
                };
                Ok(none.insert(opened))
            }
        }
    }

    /// Closes them.
    pub(super) fn close(self, raw: &mut RawEchoes) {
        for socket in [self.v4, self.v6].into_iter().flatten() {
            match socket {
                EchoSocket::Own(_) => {}
                EchoSocket::Raw(echo) => raw.leave(&echo),
            }
        }
    }
}

impl EchoSocket {
    /// Asks for an echo, carried as the guest asks. `message` is room for what leaves.
    ///
    /// # Errors
    /// Those of [`Receiver::send`].
    pub(super) fn send(
        &self,
        echo: &Echo<'_>,
        to: SocketAddr,
        passage: Passage,
        message: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        // A port has no meaning there.
        let (is_v6, to) = (to.is_ipv6(), SocketAddr::new(to.ip(), 0));
        match self {
            Self::Own(receiver) => {
                echo.message(is_v6, message);
                receiver.send(message, to, passage)
            }
            Self::Raw(RawEcho { receiver, ident }) => {
                Echo { ident: ident.number(), ..*echo }.message(is_v6, message);
                if !is_v6 {
                    // That of ICMPv6 has addresses in it, and is the kernel's to fill in (RFC 3542, section 3.1).
                    fill_checksum_v4(message);
                }
                receiver.send(message, to, passage)
            }
        }
    }
}
