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

mod ring_use;

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use net_core::Limits;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};

pub(crate) use self::ring_use::RingUse;

/// A multiple of every page size Linux has here (4, 16 and 64 KiB): a discard of whole ones touches nothing
/// beside them, and what does not fill one stays.
const DISCARD_BYTES: usize = 64 << 10;

/// Mappings kept for the next flow.
const MAX_SPARE: usize = 64;

/// A mapping that has touched more than this gives its pages back before it is kept.
const KEEP_WARM_BYTES: usize = 16 << 10;

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

    /// Gives the whole pages between two offsets back to the kernel; they read as zero when touched again.
    ///
    /// # Safety
    /// Nobody may rely on the bytes there: they are in no slice, or one whose bytes will be written before
    /// they are read.
    unsafe fn discard(&self, from: usize, to: usize) {
        let (from, to) = (from.next_multiple_of(DISCARD_BYTES), to.min(self.bytes.get()));
        let Some(length) = to.checked_sub(from).filter(|length| *length > 0) else { return };
        // The tail of the mapping ends in a page of its own, which is ours too.
        let length = if to == self.bytes.get() { length } else { length / DISCARD_BYTES * DISCARD_BYTES };
        if length == 0 {
            return;
        }
        // SAFETY: the range lies in our mapping and its contents are nobody's, by the caller's word. A
        // failure keeps the pages, which costs memory and nothing else.
        let _ = unsafe { madvise(self.start.byte_add(from), length, MmapAdvise::MADV_DONTNEED) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping and no slice of it is alive (see `PooledSocket`).
        let _ = unsafe { munmap(self.start, self.bytes.get()) };
    }
}

/// Rings for the flows of one guest: at most `max_live` pairs at a time, and a count of what they have
/// touched together.
pub(crate) struct BufferPool {
    rx_bytes: usize,
    tx_bytes: usize,
    max_live: usize,
    /// Above it memory is short.
    max_resident: usize,
    live: usize,
    resident: usize,
    shortage: Shortage,
    spare: Vec<Mapping>,
}

/// Whether it was said that memory is short.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shortage {
    None,
    Unsaid,
    Said,
}

impl BufferPool {
    /// A pool of rings with the bounds of `limits`; nothing is mapped yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            rx_bytes: limits.tcp_rx_buffer_bytes,
            tx_bytes: limits.tcp_tx_buffer_bytes,
            max_live: limits.max_tcp_flows,
            max_resident: limits.max_ring_bytes,
            live: 0,
            resident: 0,
            shortage: Shortage::None,
            spare: Vec::new(),
        }
    }

    /// Pairs of rings in use.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// What the rings in use may have touched together, in bytes.
    pub(crate) fn resident(&self) -> usize {
        self.resident
    }

    /// Whether the rings together have touched more than they should.
    pub(crate) fn is_short(&self) -> bool {
        self.resident > self.max_resident
    }

    /// Whether memory has become short since it was last asked.
    pub(crate) fn take_shortage(&mut self) -> bool {
        let is_unsaid = self.shortage == Shortage::Unsaid;
        if is_unsaid {
            self.shortage = Shortage::Said;
        }
        is_unsaid
    }

    /// A TCP socket over rings of its own, for a guest whose first byte has this sequence number; `None` at
    /// the cap or when the kernel has no memory.
    pub(crate) fn socket(&mut self, first_seq: u32) -> Option<(PooledSocket, RingUse)> {
        if self.live >= self.max_live {
            return None;
        }
        let bytes = NonZeroUsize::new(self.rx_bytes.checked_add(self.tx_bytes)?)?;
        let mapping = self.spare.pop().map_or_else(|| Mapping::new(bytes), Ok).ok()?;
        self.live += 1;
        let socket = PooledSocket::new(mapping, self.rx_bytes, self.tx_bytes);
        Some((socket, RingUse::new(self.rx_bytes, self.tx_bytes, first_seq)))
    }

    /// Counts what `rings` may have touched by now.
    pub(crate) fn charge(&mut self, rings: &mut RingUse) {
        let touched = rings.resident();
        self.resident = self.resident - rings.charged + touched;
        rings.charged = touched;
        if self.is_short() {
            if self.shortage == Shortage::None {
                self.shortage = Shortage::Unsaid;
            }
        } else if self.resident < self.max_resident / 2 {
            self.shortage = Shortage::None;
        }
    }

    /// Gives the pages of a receive ring back that holds nothing.
    pub(crate) fn give_back_rx(&mut self, socket: &mut PooledSocket, rings: &mut RingUse) {
        let queued = socket.tcp().recv_queue();
        if queued == 0 && !rings.has_holes(queued) && rings.rx_resident() > 0 {
            // SAFETY: the receive ring is the first `rx_bytes` of the mapping, and nothing in it will be read
            // before it is written: no byte can be read, and none waits for one before it.
            unsafe { socket.mapping.discard(0, self.rx_bytes) };
            rings.rx_given_back();
            self.charge(rings);
        }
    }

    /// Gives the pages of a send ring back that holds nothing.
    pub(crate) fn give_back_tx(&mut self, socket: &mut PooledSocket, rings: &mut RingUse) {
        if socket.tcp().send_queue() == 0 && rings.tx_resident() > 0 {
            // SAFETY: the send ring is all of the mapping behind the receive ring, and nothing in it will be
            // read before it is written: no byte waits to be sent or acknowledged.
            unsafe { socket.mapping.discard(self.rx_bytes, self.rx_bytes + self.tx_bytes) };
            rings.tx_given_back();
            self.charge(rings);
        }
    }

    /// Takes a socket's rings back.
    pub(crate) fn release(&mut self, socket: PooledSocket, rings: &RingUse) {
        let mapping = socket.into_mapping();
        self.live = self.live.saturating_sub(1);
        self.resident = self.resident.saturating_sub(rings.charged);
        if self.spare.len() < MAX_SPARE {
            if rings.resident() > KEEP_WARM_BYTES {
                // SAFETY: the socket and its slices are gone.
                unsafe { mapping.discard(0, mapping.bytes.get()) };
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

    fn pool() -> BufferPool {
        BufferPool::new(&Limits {
            tcp_rx_buffer_bytes: 4096,
            tcp_tx_buffer_bytes: 8192,
            max_tcp_flows: 2,
            max_ring_bytes: 8192,
            ..Limits::default()
        })
    }

    #[test]
    fn a_shortage_is_said_once_and_again_only_after_it_was_over() {
        let mut pool = pool();
        let (socket, mut rings) = pool.socket(0).unwrap();
        rings.note_write(0, 8_000);
        pool.charge(&mut rings);
        assert_eq!((pool.resident(), pool.is_short(), pool.take_shortage()), (8_192, false, false));
        rings.note_segment(0, 1);
        pool.charge(&mut rings);
        assert_eq!((pool.resident(), pool.is_short()), (12_288, true));
        assert_eq!((pool.take_shortage(), pool.take_shortage()), (true, false));
        pool.release(socket, &rings);
        assert_eq!((pool.resident(), pool.is_short()), (0, false));
        let (_socket, mut rings) = pool.socket(0).unwrap();
        pool.charge(&mut rings);
        rings.note_write(0, 8_000);
        rings.note_segment(0, 1);
        pool.charge(&mut rings);
        assert!(pool.take_shortage());
    }

    #[test]
    fn the_cap_holds_and_release_makes_room() {
        let mut pool = pool();
        let (first, rings) = pool.socket(0).unwrap();
        let second = pool.socket(0).unwrap();
        assert!(pool.socket(0).is_none());
        pool.release(first, &rings);
        assert_eq!(pool.spare.len(), 1);
        let (third, _) = pool.socket(0).unwrap();
        assert_eq!((third.tcp().recv_capacity(), third.tcp().send_capacity()), (4096, 8192));
        drop((second, third));
    }
}
