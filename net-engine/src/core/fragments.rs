//! Datagrams of the guest that came in pieces, put together before anything is decided of them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use net_core::Limits;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};

use super::DropReason;

/// Datagrams that may be incomplete at one time; the oldest yields.
const MAX_DATAGRAMS: usize = 64;

/// Fragments of one datagram. A full one has 45 at an MTU of 1,500, and 119 at the smallest of IPv4's.
const MAX_FRAGMENTS: usize = 256;

/// Memory is taken in steps of this, so that a datagram moves few times while it grows.
const ROOM_STEP: usize = 16 << 10;

/// Room for the longest header of IPv4 in front of the data.
const HEADROOM: usize = 60;

const V6_HEADER_BYTES: usize = 40;
const V6_FRAGMENT_HEADER_BYTES: usize = 8;

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The same in all fragments of a datagram.
    pub(crate) id: u32,
    /// In bytes; a multiple of eight.
    pub(crate) offset: usize,
    pub(crate) is_last: bool,
}

/// A fragment of UDP: its header is checked, and the addresses are those of a guest and of a destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'f> {
    pub(crate) place: Place,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// The whole header of IPv4, or the fixed one of IPv6.
    pub(crate) header: &'f [u8],
    pub(crate) data: &'f [u8],
}

impl Place {
    /// That of a packet of IPv4; `None` where it is whole.
    pub(crate) fn of_v4(packet: &Ipv4Packet<&[u8]>) -> Option<Self> {
        let (offset, is_last) = (usize::from(packet.frag_offset()), !packet.more_frags());
        (offset != 0 || !is_last).then(|| Self { id: u32::from(packet.ident()), offset, is_last })
    }

    /// That of a packet of IPv6 behind whose fixed header a fragment header follows, of which `payload`
    /// is the start (RFC 8200, section 4.5); and the bytes of that header.
    ///
    /// # Errors
    /// `Malformed` when it is cut short, `Fragment` when it is not one of UDP.
    pub(crate) fn of_v6(payload: &[u8]) -> Result<(Self, usize), DropReason> {
        let [next_header, _, o0, o1, i0, i1, i2, i3, ..] = *payload else {
            return Err(DropReason::Malformed);
        };
        if IpProtocol::from(next_header) != IpProtocol::Udp {
            return Err(DropReason::Fragment);
        }
        let word = u16::from_be_bytes([o0, o1]);
        let place = Self {
            id: u32::from_be_bytes([i0, i1, i2, i3]),
            offset: usize::from(word & !7),
            is_last: word & 1 == 0,
        };
        Ok((place, V6_FRAGMENT_HEADER_BYTES))
    }
}

/// A datagram that was put together.
#[derive(Debug)]
pub(crate) struct Whole {
    buffer: Vec<u8>,
    start: usize,
}

impl Whole {
    /// The packet, as if it had come in one piece.
    pub(crate) fn packet(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

/// Datagrams of which fragments have come, and others are missing (RFC 791, section 3.2; RFC 8200,
/// section 4.5).
///
/// Strict: where two fragments overlap, equal or not, all of their datagram is dropped, and what follows
/// of it too (RFC 5722, section 3, which is for IPv6; here for both). Work per fragment is bounded by the
/// number of datagrams and of fragments; memory by [`Limits::max_fragment_bytes`], time by
/// [`Limits::fragment_timeout`].
pub(crate) struct Fragments {
    max_bytes: usize,
    patience: Duration,
    /// In the order of their first fragments.
    pending: VecDeque<Pending>,
    /// Of all of them.
    bytes: usize,
    /// Datagrams that had to yield, since this was last asked.
    yielded: u64,
}

struct Pending {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    began: Instant,
    state: State,
}

enum State {
    Gathering(Gathered),
    /// Something of it was wrong: nothing of it is taken any more.
    Dropped,
}

struct Gathered {
    /// Behind the headroom, as far as the furthest fragment.
    buffer: Vec<u8>,
    /// The memory it has.
    room: usize,
    /// What has come, in rising order, each apart from the next.
    runs: Vec<Range<usize>>,
    fragments: usize,
    /// Known once the last fragment has come.
    total: Option<usize>,
    /// Where in the headroom the header starts, once the first fragment has come.
    header_start: Option<usize>,
}

impl Fragments {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_bytes: limits.max_fragment_bytes,
            patience: limits.fragment_timeout,
            pending: VecDeque::new(),
            bytes: 0,
            yielded: 0,
        }
    }

    /// How many datagrams have yielded to newer ones since this was last asked.
    pub(crate) fn take_yielded(&mut self) -> u64 {
        std::mem::take(&mut self.yielded)
    }

    /// Takes a fragment; the whole datagram if it was the one that was missing.
    ///
    /// # Errors
    /// `Malformed` for a fragment no datagram has, `Fragment` for one of a datagram that is dropped.
    pub(crate) fn handle(
        &mut self,
        fragment: &Fragment<'_>,
        now: Instant,
    ) -> Result<Option<Whole>, DropReason> {
        self.handle_timeout(now);
        let Fragment { place, source, destination, header, data } = *fragment;
        let is_aligned = place.is_last || data.len().is_multiple_of(8);
        let end = place.offset + data.len();
        // IPv4 counts its header, IPv6 does not.
        let counted = end + if source.is_ipv4() { header.len() } else { 0 };
        if data.is_empty() || !is_aligned || counted > usize::from(u16::MAX) || header.len() > HEADROOM {
            return Err(DropReason::Malformed);
        }
        if place.offset == 0 && place.is_last {
            // Of IPv6 alone, and no part of any other (RFC 6946, section 4).
            let mut gathered = Gathered::new();
            gathered.add(fragment);
            return Ok(Some(gathered.finish()));
        }
        let known = self.pending.iter().position(|pending| {
            (pending.id, pending.source, pending.destination) == (place.id, source, destination)
        });
        let mut pending = match known.and_then(|index| self.pending.remove(index)) {
            Some(pending) => pending,
            None => {
                let state = State::Gathering(Gathered::new());
                Pending { source, destination, id: place.id, began: now, state }
            }
        };
        let State::Gathering(mut gathered) = pending.state else {
            self.keep(Pending { state: State::Dropped, ..pending });
            return Err(DropReason::Fragment);
        };
        self.bytes -= gathered.room;
        let room = gathered.room_with(end);
        if !gathered.fits(place, end) || !self.make_room(room) {
            self.keep(Pending { state: State::Dropped, ..pending });
            return Err(DropReason::Fragment);
        }
        gathered.add(fragment);
        if gathered.is_whole() {
            return Ok(Some(gathered.finish()));
        }
        self.bytes += gathered.room;
        pending.state = State::Gathering(gathered);
        self.keep(pending);
        Ok(None)
    }

    /// Forgets what was not completed in time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|due| due <= now) {
            self.forget_oldest();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.began + self.patience)
    }

    /// Keeps a datagram in its place among the others.
    fn keep(&mut self, pending: Pending) {
        if self.pending.len() >= MAX_DATAGRAMS {
            self.yielded += 1;
            self.forget_oldest();
        }
        let after = self.pending.partition_point(|other| other.began <= pending.began);
        self.pending.insert(after, pending);
    }

    /// Makes room for one of this size; whether there can be.
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > self.max_bytes && !self.pending.is_empty() {
            self.yielded += 1;
            self.forget_oldest();
        }
        self.bytes + bytes <= self.max_bytes
    }

    fn forget_oldest(&mut self) {
        if let Some(Pending { state: State::Gathering(gathered), .. }) = self.pending.pop_front() {
            self.bytes -= gathered.room;
        }
    }
}

impl Gathered {
    fn new() -> Self {
        Self { buffer: Vec::new(), room: 0, runs: Vec::new(), fragments: 0, total: None, header_start: None }
    }

    /// The memory it needs once it reaches as far as `end`.
    fn room_with(&self, end: usize) -> usize {
        self.room.max((HEADROOM + end).next_multiple_of(ROOM_STEP))
    }

    /// Whether a fragment can be of the same datagram as the others.
    fn fits(&self, place: Place, end: usize) -> bool {
        let overlaps = self.runs.iter().any(|run| run.start < end && place.offset < run.end);
        let is_behind_end = self.total.is_some_and(|total| end > total || place.is_last);
        let ends_before = place.is_last && self.buffer.len() > HEADROOM + end;
        !overlaps && !is_behind_end && !ends_before && self.fragments < MAX_FRAGMENTS
    }

    /// Adds a fragment that fits.
    fn add(&mut self, fragment: &Fragment<'_>) {
        let Fragment { place, header, data, .. } = *fragment;
        let end = place.offset + data.len();
        if self.buffer.len() < HEADROOM + end {
            self.room = self.room_with(end);
            self.buffer.reserve_exact(self.room - self.buffer.len());
            self.buffer.resize(HEADROOM + end, 0);
        }
        self.buffer[HEADROOM + place.offset..HEADROOM + end].copy_from_slice(data);
        if place.offset == 0 {
            let start = HEADROOM - header.len();
            self.buffer[start..HEADROOM].copy_from_slice(header);
            self.header_start = Some(start);
        }
        if place.is_last {
            self.total = Some(end);
        }
        self.fragments += 1;
        let index = self.runs.partition_point(|run| run.start < place.offset);
        self.runs.insert(index, place.offset..end);
        self.join(index);
        if let Some(before) = index.checked_sub(1) {
            self.join(before);
        }
    }

    /// Joins a run and the next one where they touch.
    fn join(&mut self, index: usize) {
        if let [run, next, ..] = &mut self.runs[index..]
            && run.end == next.start
        {
            run.end = next.end;
            self.runs.remove(index + 1);
        }
    }

    fn is_whole(&self) -> bool {
        matches!((self.total, &*self.runs), (Some(total), [only]) if *only == (0..total))
    }

    /// The packet as it was before it was cut.
    fn finish(mut self) -> Whole {
        // The first fragment is there, and with it the header.
        let start = self.header_start.unwrap_or(HEADROOM);
        let length = self.buffer.len() - start;
        let packet = &mut self.buffer[start..];
        if packet.first().is_some_and(|byte| byte >> 4 == 6) {
            let mut header = Ipv6Packet::new_unchecked(packet);
            header.set_next_header(IpProtocol::Udp);
            header.set_payload_len(u16::try_from(length - V6_HEADER_BYTES).unwrap_or(u16::MAX));
        } else {
            let mut header = Ipv4Packet::new_unchecked(packet);
            header.set_more_frags(false);
            header.set_frag_offset(0);
            header.set_total_len(u16::try_from(length).unwrap_or(u16::MAX));
            header.fill_checksum();
        }
        Whole { buffer: self.buffer, start }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
