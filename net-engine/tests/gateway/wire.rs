//! The cable between gateway and guest: it delays, and where asked loses, reorders and damages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use net_engine::link::{Checksum, FrameMeta, Segmentation, SegmentationKind};
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber, UdpPacket};

const ETHERNET_BYTES: usize = 14;

/// What the cable does to frames, in parts of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u32,
    pub(crate) damaged: u32,
    /// Frames that take longer than the next ones.
    pub(crate) late: u32,
}

/// One direction.
pub(crate) struct Wire {
    faults: Faults,
    random: u32,
    sent: u64,
    on_the_way: BTreeMap<(Instant, u64), Vec<u8>>,
}

impl Wire {
    pub(crate) fn new(faults: Faults, seed: u32) -> Self {
        Self { faults, random: seed, sent: 0, on_the_way: BTreeMap::new() }
    }

    pub(crate) fn send(&mut self, mut frame: Vec<u8>, now: Instant) {
        if self.happens(self.faults.lost) {
            return;
        }
        if self.happens(self.faults.damaged) {
            let bit = usize::try_from(self.next()).unwrap() % (frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let delay = if self.happens(self.faults.late) { 3_000 } else { 50 };
        self.sent += 1;
        self.on_the_way.insert((now + Duration::from_micros(delay), self.sent), frame);
    }

    pub(crate) fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let first = self.on_the_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.on_the_way.keys().next().map(|(at, _)| *at)
    }

    fn happens(&mut self, per_thousand: u32) -> bool {
        per_thousand > 0 && self.next() % 1_000 < per_thousand
    }

    /// xorshift32: the same faults on every run.
    fn next(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

/// Does what a kernel does with a frame that comes with metadata: cuts super-segments, completes
/// checksums.
pub(crate) fn complete(meta: &FrameMeta, frame: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = match meta.segmentation {
        Some(segmentation) => cut(frame, segmentation),
        None => vec![frame.to_vec()],
    };
    if let Checksum::Partial { start, offset } = meta.checksum {
        for piece in &mut pieces {
            complete_checksum(piece, start.into(), offset.into());
        }
    }
    pieces
}

fn cut(frame: &[u8], how: Segmentation) -> Vec<Vec<u8>> {
    let (headers, payload) = frame.split_at(how.header_bytes.into());
    let size = usize::from(how.size);
    assert!(payload.len() > size, "a frame of one segment is marked for cutting");
    let count = payload.len().div_ceil(size);
    let pieces = payload.chunks(size).enumerate().map(|(index, chunk)| {
        let mut piece = [headers, chunk].concat();
        let tcp_start = shorten(&mut piece, index);
        if how.kind == SegmentationKind::Udp {
            let length = u16::try_from(piece.len() - tcp_start).unwrap();
            let old = u32::try_from(frame.len() - tcp_start).unwrap();
            let mut datagram = UdpPacket::new_unchecked(&mut piece[tcp_start..]);
            datagram.set_len(length);
            let sum = u32::from(datagram.checksum()) + (0xffff - old % 0xffff) + u32::from(length);
            datagram.set_checksum(fold(sum));
            return piece;
        }
        let mut segment = TcpPacket::new_unchecked(&mut piece[tcp_start..]);
        let sent_before = i32::try_from(index * size).unwrap();
        segment.set_seq_number(TcpSeqNumber(segment.seq_number().0.wrapping_add(sent_before)));
        if index + 1 < count {
            segment.set_fin(false);
            segment.set_psh(false);
        }
        // The sum over the pseudo-header changes with the length.
        let old = u32::try_from(frame.len() - tcp_start).unwrap();
        let new = u32::try_from(piece.len() - tcp_start).unwrap();
        let mut segment = TcpPacket::new_unchecked(&mut piece[tcp_start..]);
        let sum = u32::from(segment.checksum()) + (0xffff - old % 0xffff) + new % 0xffff;
        segment.set_checksum(fold(sum));
        piece
    });
    pieces.collect()
}

/// Corrects the IP header of a piece; where its TCP header starts.
fn shorten(piece: &mut [u8], index: usize) -> usize {
    let ip_bytes = piece.len() - ETHERNET_BYTES;
    let packet = &mut piece[ETHERNET_BYTES..];
    if packet[0] >> 4 == 6 {
        let mut header = Ipv6Packet::new_unchecked(packet);
        header.set_payload_len(u16::try_from(ip_bytes - 40).unwrap());
        ETHERNET_BYTES + 40
    } else {
        let mut header = Ipv4Packet::new_unchecked(packet);
        header.set_total_len(u16::try_from(ip_bytes).unwrap());
        header.set_ident(header.ident().wrapping_add(u16::try_from(index).unwrap()));
        header.fill_checksum();
        ETHERNET_BYTES + usize::from(header.header_len())
    }
}

fn complete_checksum(frame: &mut [u8], start: usize, offset: usize) {
    let sum = frame[start..].chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let sum = !fold(sum.sum());
    frame[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
