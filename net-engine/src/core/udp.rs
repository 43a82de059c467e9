//! UDP towards the guest (RFC 768), in fragments where it does not fit (RFC 791, RFC 8200).

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use net_core::Flow;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, UdpPacket};

use super::DropReason;
use super::device::{Wire, fold, sum_words};
use super::ethernet::{self, EtherType};
use super::frame_queue::Datagrams;
use crate::link::{Checksum, FrameMeta, Segmentation, SegmentationKind};

const HEADER_BYTES: usize = 8;
const V4_HEADER_BYTES: usize = 20;
const V6_HEADER_BYTES: usize = 40;
const V6_FRAGMENT_HEADER_BYTES: usize = 8;
const HOP_LIMIT: u8 = 64;

/// Header values of RFC 8200, section 4.5.
const V6_FRAGMENT: u8 = 44;
const UDP: u8 = 17;

/// Datagrams in one frame of the guest: `UDP_MAX_SEGMENTS` of Linux.
const MAX_PIECES: usize = 128;

/// Datagrams that we put into one frame: the guest's kernel hands them to its program at once, whose buffer is to hold
/// them beside what waits there already. Half of what kernels take, for those before 6.9.
const MAX_JOINED: usize = 64;
const MAX_JOINED_BYTES: usize = 24 << 10;

/// The size of the datagrams in a frame that carries several.
///
/// # Errors
/// `Malformed` where there would be more than any guest sends.
pub(crate) fn piece_bytes(meta: &FrameMeta, payload_bytes: usize) -> Result<Option<NonZeroU16>, DropReason> {
    let size = match meta.segmentation {
        Some(Segmentation { kind: SegmentationKind::Udp, size, .. }) => size,
        // A mark that has no place here is no reason to drop what it is on.
        Some(Segmentation { kind: SegmentationKind::TcpV4 | SegmentationKind::TcpV6, .. }) | None => {
            return Ok(None);
        }
    };
    match NonZeroU16::new(size) {
        Some(size) if payload_bytes.div_ceil(usize::from(size.get())) <= MAX_PIECES => Ok(Some(size)),
        Some(_) | None => Err(DropReason::Malformed),
    }
}

/// The largest payload that fits one packet on a link of this MTU.
pub(crate) fn max_payload_bytes(mtu: u16, is_v6: bool) -> usize {
    usize::from(mtu).saturating_sub(HEADER_BYTES + header_bytes(is_v6))
}

/// The largest payload there is: lengths have 16 bits, that of IPv4 counts its own header.
pub(crate) fn max_fragmented_bytes(is_v6: bool) -> usize {
    usize::from(u16::MAX) - HEADER_BYTES - if is_v6 { 0 } else { V4_HEADER_BYTES }
}

const fn header_bytes(is_v6: bool) -> usize {
    if is_v6 { V6_HEADER_BYTES } else { V4_HEADER_BYTES }
}

/// Queues a datagram; the caller has checked that it fits the MTU and the queue.
pub(crate) fn push_datagram(wire: &mut Wire, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
    let udp_bytes = HEADER_BYTES + payload.len();
    let is_v6 = destination.is_ipv6();
    let ether_type = if is_v6 { EtherType::Ipv6 } else { EtherType::Ipv4 };
    wire.push(ether_type, header_bytes(is_v6) + udp_bytes, |packet| {
        let (header, datagram) = packet.split_at_mut(header_bytes(is_v6));
        emit_header(header, source.ip(), destination.ip(), udp_bytes);
        emit_datagram(datagram, source, destination, payload);
        (FrameMeta::default(), ())
    });
}

/// Queues a datagram as [`push_datagram`] does, and leaves to the link what that can do: its checksum, and where it
/// cuts datagrams a frame of its own for each.
pub(crate) fn push_offloaded(wire: &mut Wire, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
    if !wire.link.offload {
        return push_datagram(wire, source, destination, payload);
    }
    let is_v6 = destination.is_ipv6();
    let headers = header_bytes(is_v6) + HEADER_BYTES;
    let joined = wire.queue.tail().filter(|tail| {
        let is_alike = (tail.source, tail.destination) == (source, destination);
        let fits = payload.len() <= tail.piece_bytes && tail.count < MAX_JOINED;
        is_alike && fits && !payload.is_empty() && (tail.count + 1) * tail.piece_bytes <= MAX_JOINED_BYTES
    });
    match joined {
        Some(tail) => {
            let size = u16::try_from(tail.piece_bytes).unwrap_or(u16::MAX);
            wire.queue.extend_last(payload.len(), |frame| {
                let start = frame.len() - payload.len();
                frame[start..].copy_from_slice(payload);
                let packet = &mut frame[ethernet::HEADER_BYTES..];
                let meta = emit_partial(packet, headers, source, destination);
                let header_bytes = u16::try_from(ethernet::HEADER_BYTES + headers).unwrap_or(u16::MAX);
                let segmentation = Some(Segmentation { kind: SegmentationKind::Udp, header_bytes, size });
                FrameMeta { segmentation, ..meta }
            });
            // A shorter one is the last.
            let is_open = payload.len() == tail.piece_bytes;
            wire.queue.let_join(is_open.then_some(Datagrams { count: tail.count + 1, ..tail }));
        }
        None => {
            let ether_type = if is_v6 { EtherType::Ipv6 } else { EtherType::Ipv4 };
            wire.push(ether_type, headers + payload.len(), |packet| {
                packet[headers..].copy_from_slice(payload);
                (emit_partial(packet, headers, source, destination), ())
            });
            let own = Datagrams { source, destination, piece_bytes: payload.len(), count: 1 };
            let may_be_joined = wire.joins_datagrams && !payload.is_empty();
            wire.queue.let_join(may_be_joined.then_some(own));
        }
    }
}

/// Writes the headers in front of what is payload from `headers` on; of the checksum only what is not in the packet's
/// own bytes (virtio 1.3, section 5.1.6.2).
fn emit_partial(packet: &mut [u8], headers: usize, source: SocketAddr, destination: SocketAddr) -> FrameMeta {
    /// Where the checksum lies in a UDP header (RFC 768).
    const CHECKSUM_OFFSET: u16 = 6;
    let ip_bytes = headers - HEADER_BYTES;
    let (header, datagram) = packet.split_at_mut(ip_bytes);
    emit_header(header, source.ip(), destination.ip(), datagram.len());
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    let addresses = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => sum_words(&from.octets()) + sum_words(&to.octets()),
        (IpAddr::V6(from), IpAddr::V6(to)) => sum_words(&from.octets()) + sum_words(&to.octets()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    };
    let mut udp = UdpPacket::new_unchecked(datagram);
    udp.set_src_port(source.port());
    udp.set_dst_port(destination.port());
    udp.set_len(length);
    udp.set_checksum(fold(addresses + u64::from(UDP) + u64::from(length)));
    let start = u16::try_from(ethernet::HEADER_BYTES + ip_bytes).unwrap_or(u16::MAX);
    FrameMeta { checksum: Checksum::Partial { start, offset: CHECKSUM_OFFSET }, segmentation: None }
}

/// The start of the packet in which the guest has sent `payload`, as far as an error quotes it.
pub(crate) fn sent_by_guest(flow: &Flow, payload: &[u8]) -> Vec<u8> {
    let is_v6 = flow.guest.is_ipv6();
    let mut packet = vec![0; header_bytes(is_v6) + HEADER_BYTES + payload.len()];
    let (header, datagram) = packet.split_at_mut(header_bytes(is_v6));
    emit_header(header, flow.guest.ip(), flow.upstream.ip(), datagram.len());
    emit_datagram(datagram, flow.guest, flow.upstream, payload);
    packet
}

/// Cuts datagrams that do not fit one packet.
pub(crate) struct Fragmenter {
    /// The datagram that is being cut.
    whole: Vec<u8>,
    /// Fragments of two datagrams on their way at one time differ by it.
    next_id: u32,
}

impl Fragmenter {
    pub(crate) fn new() -> Self {
        Self { whole: Vec::new(), next_id: 0 }
    }

    /// Queues a datagram of at most [`max_fragmented_bytes`] as fragments, each of which fits the MTU;
    /// the caller has checked that there is room.
    pub(crate) fn push_datagram(
        &mut self,
        wire: &mut Wire,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) {
        let is_v6 = destination.is_ipv6();
        self.next_id = self.next_id.wrapping_add(1);
        self.whole.resize(HEADER_BYTES + payload.len(), 0);
        emit_datagram(&mut self.whole, source, destination, payload);
        let headers = header_bytes(is_v6) + if is_v6 { V6_FRAGMENT_HEADER_BYTES } else { 0 };
        // Offsets count in units of eight bytes.
        let piece_bytes = (usize::from(wire.link.mtu).saturating_sub(headers) & !7).max(8);
        let ether_type = if is_v6 { EtherType::Ipv6 } else { EtherType::Ipv4 };
        let pieces = self.whole.len().div_ceil(piece_bytes);
        for (index, piece) in self.whole.chunks(piece_bytes).enumerate() {
            let (offset, is_last) = (index * piece_bytes, index + 1 == pieces);
            wire.push(ether_type, headers + piece.len(), |packet| {
                let (header, data) = packet.split_at_mut(headers);
                if is_v6 {
                    emit_v6_fragment(
                        header,
                        (source, destination),
                        self.next_id,
                        offset,
                        is_last,
                        piece.len(),
                    );
                } else {
                    emit_header(header, source.ip(), destination.ip(), piece.len());
                    let [.., high, low] = self.next_id.to_be_bytes();
                    let mut header = Ipv4Packet::new_unchecked(header);
                    header.set_ident(u16::from_be_bytes([high, low]));
                    header.set_dont_frag(false);
                    header.set_more_frags(!is_last);
                    header.set_frag_offset(u16::try_from(offset).unwrap_or(u16::MAX));
                    header.fill_checksum();
                }
                data.copy_from_slice(piece);
                (FrameMeta::default(), ())
            });
        }
    }
}

fn emit_v6_fragment(
    header: &mut [u8],
    (source, destination): (SocketAddr, SocketAddr),
    id: u32,
    offset: usize,
    is_last: bool,
    bytes: usize,
) {
    let (fixed, fragment) = header.split_at_mut(V6_HEADER_BYTES);
    emit_header(fixed, source.ip(), destination.ip(), V6_FRAGMENT_HEADER_BYTES + bytes);
    fixed[6] = V6_FRAGMENT;
    // The offset is a multiple of eight: its three low bits are the flags.
    let offset_and_flags = u16::try_from(offset).unwrap_or(u16::MAX) & !7 | u16::from(!is_last);
    fragment[..2].copy_from_slice(&[UDP, 0]);
    fragment[2..4].copy_from_slice(&offset_and_flags.to_be_bytes());
    fragment[4..8].copy_from_slice(&id.to_be_bytes());
}

/// Writes a whole IP header for UDP over `payload_len` bytes. Both ends come from one packet of the
/// guest, so that their families agree.
fn emit_header(header: &mut [u8], source: IpAddr, destination: IpAddr, payload_len: usize) {
    let (next_header, hop_limit) = (IpProtocol::Udp, HOP_LIMIT);
    match (source, destination) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let header_v4 = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            header_v4.emit(&mut Ipv4Packet::new_unchecked(header), &Default::default());
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let header_v6 = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            header_v6.emit(&mut Ipv6Packet::new_unchecked(header));
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
}

/// Writes the UDP header and the payload, which fill `datagram`.
fn emit_datagram(datagram: &mut [u8], source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    let mut udp = UdpPacket::new_unchecked(datagram);
    udp.set_src_port(source.port());
    udp.set_dst_port(destination.port());
    udp.set_len(length);
    udp.payload_mut().copy_from_slice(payload);
    udp.fill_checksum(&source.ip().into(), &destination.ip().into());
}
