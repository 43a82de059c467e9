use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};

use super::host_socket::socket_address;

/// Datagrams taken by one system call.
const SLOTS: usize = 16;

/// The largest datagram has 65,527 bytes.
const SLOT_BYTES: usize = 64 << 10;

/// Where a guest's sockets put what they receive. Its pages are touched as far as datagrams reach.
pub(super) struct Inbox {
    slots: Box<[u8]>,
    /// One for each family: a header keeps the length of the last address.
    v4: MultiHeaders<SockaddrStorage>,
    v6: MultiHeaders<SockaddrStorage>,
    arrived: [Option<(usize, SocketAddr)>; SLOTS],
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![0; SLOTS * SLOT_BYTES].into_boxed_slice(),
            v4: MultiHeaders::preallocate(SLOTS, None),
            v6: MultiHeaders::preallocate(SLOTS, None),
            arrived: [None; SLOTS],
        }
    }

    /// Forgets what is there.
    pub(super) fn clear(&mut self) {
        self.arrived = [None; SLOTS];
    }

    /// Takes what waits in a socket, without waiting; whether every slot was filled.
    ///
    /// # Errors
    /// That of an earlier datagram, or `EAGAIN`.
    pub(super) fn fill(&mut self, socket: RawFd, is_v6: bool) -> nix::Result<bool> {
        self.clear();
        let mut free = self.slots.chunks_exact_mut(SLOT_BYTES);
        let mut slots: [_; SLOTS] =
            std::array::from_fn(|_| [IoSliceMut::new(free.next().unwrap_or_default())]);
        let headers = if is_v6 { &mut self.v6 } else { &mut self.v4 };
        let messages = recvmmsg(socket, headers, slots.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for (place, message) in self.arrived.iter_mut().zip(messages) {
            let from = message.address.as_ref().and_then(socket_address);
            *place = from.map(|from| (message.bytes, from));
            count += 1;
        }
        Ok(count == SLOTS)
    }

    /// What has come, and from where, in its order.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let slots = self.slots.chunks_exact(SLOT_BYTES).zip(&self.arrived);
        slots.filter_map(|(slot, arrived)| {
            let (length, from) = (*arrived)?;
            Some((slot.get(..length)?, from))
        })
    }

    /// Room for one datagram, when nothing else is needed.
    pub(super) fn scratch(&mut self) -> &mut [u8] {
        self.clear();
        &mut self.slots[..SLOT_BYTES]
    }
}
