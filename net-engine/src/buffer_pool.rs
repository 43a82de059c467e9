//! Lazily paged memory for the rings of TCP sockets.
//!
//! A flow needs rings of several hundred KiB to keep a fast link full, and touches a page or two
//! of them when it is short. Each pair of rings is therefore one anonymous mapping: pages appear
//! when they are written, and a mapping that a flow has walked through gives them back when the
//! flow ends. This file is the only place that knows the rings outlive no socket.
#![allow(
    unsafe_code,
    reason = "mappings are lent to smoltcp as `'static` slices; each block says why that holds"
)]

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};

/// Mappings kept for the next flow.
const MAX_SPARE: usize = 64;

/// A mapping that has seen more bytes than this gives its pages back before it is kept.
const KEEP_WARM_BYTES: u64 = 16 << 10;

/// One anonymous mapping, unmapped on drop.
struct Mapping {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

// SAFETY: a mapping is plain memory owned by this value; nothing ties it to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(bytes: NonZeroUsize) -> nix::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(None, bytes, protection, flags)? };
        Ok(Self { start, bytes })
    }

    /// Gives the pages back to the kernel; they read as zero when touched again.
    fn discard(&self) {
        // SAFETY: the range is exactly our mapping and no slice of it is alive (see `PooledSocket`).
        // A failure keeps the pages, which costs memory and nothing else.
        let _ = unsafe { madvise(self.start, self.bytes.get(), MmapAdvise::MADV_DONTNEED) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping and no slice of it is alive (see `PooledSocket`).
        let _ = unsafe { munmap(self.start, self.bytes.get()) };
    }
}

/// Rings for the flows of one guest: at most `max_live` pairs at a time.
pub(crate) struct BufferPool {
    rx_bytes: usize,
    tx_bytes: usize,
    max_live: usize,
    live: usize,
    spare: Vec<Mapping>,
}

impl BufferPool {
    /// A pool of rings of the given sizes; nothing is mapped yet.
    pub(crate) fn new(rx_bytes: usize, tx_bytes: usize, max_live: usize) -> Self {
        Self { rx_bytes, tx_bytes, max_live, live: 0, spare: Vec::new() }
    }

    /// Pairs of rings in use.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// A TCP socket over rings of its own, or `None` at the cap or when the kernel has no memory.
    pub(crate) fn socket(&mut self) -> Option<PooledSocket> {
        if self.live >= self.max_live {
            return None;
        }
        let bytes = NonZeroUsize::new(self.rx_bytes.checked_add(self.tx_bytes)?)?;
        let mapping = self.spare.pop().map_or_else(|| Mapping::new(bytes), Ok).ok()?;
        self.live += 1;
        Some(PooledSocket::new(mapping, self.rx_bytes, self.tx_bytes))
    }

    /// Takes a socket's rings back; `moved_bytes` is what went through them.
    pub(crate) fn release(&mut self, socket: PooledSocket, moved_bytes: u64) {
        let mapping = socket.into_mapping();
        self.live = self.live.saturating_sub(1);
        if self.spare.len() < MAX_SPARE {
            if moved_bytes > KEEP_WARM_BYTES {
                mapping.discard();
            }
            self.spare.push(mapping);
        }
    }
}

/// A `SocketSet` with one TCP socket, and the mapping its rings live in.
///
/// The set must never be moved out of this value: its socket holds slices of the mapping.
pub(crate) struct PooledSocket {
    set: ManuallyDrop<SocketSet<'static>>,
    handle: SocketHandle,
    mapping: ManuallyDrop<Mapping>,
}

impl PooledSocket {
    fn new(mapping: Mapping, rx_bytes: usize, tx_bytes: usize) -> Self {
        let start = mapping.start.cast::<u8>();
        // SAFETY: the two ranges are disjoint, together exactly the mapping, initialised (anonymous
        // memory reads as zero) and valid for any lifetime that ends before the mapping does.
        // `PooledSocket` drops the set, and with it the slices, before the mapping.
        let (rx, tx) = unsafe {
            (
                std::slice::from_raw_parts_mut(start.as_ptr(), rx_bytes),
                std::slice::from_raw_parts_mut(start.as_ptr().add(rx_bytes), tx_bytes),
            )
        };
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(Socket::new(SocketBuffer::new(rx), SocketBuffer::new(tx)));
        Self { set: ManuallyDrop::new(set), handle, mapping: ManuallyDrop::new(mapping) }
    }

    pub(crate) fn set_mut(&mut self) -> &mut SocketSet<'static> {
        &mut self.set
    }

    pub(crate) fn set(&self) -> &SocketSet<'static> {
        &self.set
    }

    pub(crate) fn tcp(&self) -> &Socket<'static> {
        self.set.get(self.handle)
    }

    pub(crate) fn tcp_mut(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }

    fn into_mapping(self) -> Mapping {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never used again and its own drop is suppressed, so each field is
        // dropped or taken exactly once; the set, which holds the slices, goes first.
        unsafe {
            ManuallyDrop::drop(&mut this.set);
            ManuallyDrop::take(&mut this.mapping)
        }
    }
}

impl Drop for PooledSocket {
    fn drop(&mut self) {
        // SAFETY: as in `into_mapping`, which suppresses this drop.
        unsafe {
            ManuallyDrop::drop(&mut self.set);
            ManuallyDrop::drop(&mut self.mapping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_holds_and_release_makes_room() {
        let mut pool = BufferPool::new(4096, 8192, 2);
        let first = pool.socket().unwrap();
        let second = pool.socket().unwrap();
        assert!(pool.socket().is_none());
        pool.release(first, 1 << 20);
        assert_eq!(pool.spare.len(), 1);
        let third = pool.socket().unwrap();
        assert_eq!((third.tcp().recv_capacity(), third.tcp().send_capacity()), (4096, 8192));
        drop((second, third));
    }
}
