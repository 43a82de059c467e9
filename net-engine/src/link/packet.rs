use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::thinning::program;
use super::vnet_fd::VnetFd;
use super::{FrameMeta, Link, LinkCapabilities, Received, Thinning};
use crate::sys;

/// Room for what the guest sends while the engine is busy; the kernel counts whole super-segments.
const RECEIVE_BUFFER_BYTES: libc::c_int = 16 << 20;
const SEND_BUFFER_BYTES: libc::c_int = 4 << 20;

/// A packet socket with virtio-net headers on one end of a veth pair.
///
/// It needs no device node, so it serves where `/dev/net/tun` is closed to the user.
pub struct PacketLink {
    descriptor: VnetFd,
    mtu: u16,
    offload: bool,
}

impl PacketLink {
    /// Opens a packet socket on the interface `name` of this thread's network namespace and gives
    /// its descriptor, which works from every namespace. The interface must have no addresses: its
    /// namespace's kernel would answer for them.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW in the namespace, `NotFound` without the interface.
    pub fn open(name: &str) -> io::Result<OwnedFd> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        // Protocol 0 receives nothing until the socket is bound, so no other interface slips in.
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        let descriptor = socket.as_fd();
        sys::set_option(descriptor, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        sys::set_option(descriptor, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        // Beyond the host's limit only where the namespace's owner may; within it otherwise.
        for (force, plain, bytes) in [
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES),
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER_BYTES),
        ] {
            sys::set_option(descriptor, libc::SOL_SOCKET, force, bytes)
                .or_else(|_| sys::set_option(descriptor, libc::SOL_SOCKET, plain, bytes))?;
        }
        sys::bind_to_interface(descriptor, if_nametoindex(name)?)?;
        Ok(socket)
    }

    /// A link over a descriptor of [`PacketLink::open`]; `mtu` is the guest's interface's.
    pub fn from_descriptor(descriptor: OwnedFd, mtu: u16) -> Self {
        Self { descriptor: VnetFd::new(descriptor), mtu, offload: true }
    }

    /// The same with complete frames that fit the MTU towards the guest. What its interface does to the
    /// frames it sends is its own: they are understood either way.
    #[must_use]
    pub fn without_offload(mut self) -> Self {
        self.offload = false;
        self
    }
}

impl Link for PacketLink {
    fn capabilities(&self) -> LinkCapabilities {
        LinkCapabilities { mtu: self.mtu, offload: self.offload }
    }

    fn thin(&mut self, thinning: &Thinning) {
        let program = if thinning.is_none() { Vec::new() } else { program(thinning) };
        if let Some(descriptor) = self.descriptor.descriptor() {
            // Where the kernel does without, the engine drops by itself what is too much.
            let _ = sys::attach_socket_filter(descriptor, &program);
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        self.descriptor.poll_receive(context, buffer)
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        meta: &FrameMeta,
        frame: &[u8],
    ) -> Poll<io::Result<()>> {
        self.descriptor.poll_send(context, meta, frame)
    }
}
