use std::time::Instant;

use smoltcp::phy::{self, Checksum as PhyChecksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket};

use super::ethernet::{self, EtherType};
use super::frame_queue::FrameQueue;
use super::{Counters, MacAddress};
use crate::link::{Checksum, FrameMeta, LinkCapabilities, Segmentation, SegmentationKind};

/// The IP MTU told to smoltcp on links with offload: the largest packet there is, so that one
/// segment fills a frame and the link cuts it.
const OFFLOAD_MTU: usize = 65_535;

/// Where the checksum lies in a TCP header (RFC 9293, section 3.1).
const TCP_CHECKSUM_OFFSET: u16 = 16;

/// Where a flow stands after a segment of ours: what an acknowledgement of it repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastSent {
    /// The sequence number after the segment.
    pub(crate) next_seq: u32,
    /// Its acknowledgement number.
    pub(crate) ack: u32,
}

/// The sending half of the guest's link: addresses, capabilities and the queue of frames.
pub(crate) struct Wire {
    pub(crate) guest_mac: MacAddress,
    pub(crate) gateway_mac: MacAddress,
    pub(crate) link: LinkCapabilities,
    /// Whether datagrams may share a frame.
    pub(crate) joins_datagrams: bool,
    pub(crate) queue: FrameQueue,
    pub(crate) counters: Counters,
    epoch: Instant,
}

impl Wire {
    pub(crate) fn new(
        macs: (MacAddress, MacAddress),
        link: LinkCapabilities,
        capacity: usize,
        epoch: Instant,
    ) -> Self {
        let (guest_mac, gateway_mac) = macs;
        let queue = FrameQueue::new(capacity, epoch);
        let joins_datagrams = false;
        Self { guest_mac, gateway_mac, link, joins_datagrams, queue, counters: Counters::default(), epoch }
    }

    /// `now` on smoltcp's time line, which starts when the guest was attached.
    pub(crate) fn smoltcp_now(&self, now: Instant) -> smoltcp::time::Instant {
        let elapsed = now.saturating_duration_since(self.epoch);
        smoltcp::time::Instant::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    /// The inverse of [`Wire::smoltcp_now`].
    pub(crate) fn std_instant(&self, at: smoltcp::time::Instant) -> Instant {
        let micros = u64::try_from(at.total_micros()).unwrap_or(0);
        self.epoch + std::time::Duration::from_micros(micros)
    }

    /// Queues a frame whose payload of `len` bytes `fill` writes.
    pub(crate) fn push<R>(
        &mut self,
        ether_type: EtherType,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> (FrameMeta, R),
    ) -> R {
        let (guest_mac, gateway_mac) = (self.guest_mac, self.gateway_mac);
        self.queue.push(ethernet::HEADER_BYTES + len, |frame| {
            ethernet::emit(frame, guest_mac, gateway_mac, ether_type);
            fill(&mut frame[ethernet::HEADER_BYTES..])
        })
    }
}

/// smoltcp's view of the link while one packet is handled: at most one packet to receive, and
/// the queue to send into.
pub(crate) struct PacketDevice<'d> {
    wire: &'d mut Wire,
    packet: Option<&'d [u8]>,
    /// The guest's MSS: the size super-segments are cut to.
    segment_bytes: u16,
    last_sent: Option<LastSent>,
}

impl<'d> PacketDevice<'d> {
    pub(crate) fn new(wire: &'d mut Wire, packet: Option<&'d [u8]>, segment_bytes: u16) -> Self {
        Self { wire, packet, segment_bytes, last_sent: None }
    }

    /// Where the flow stands after what was sent through this device, if anything was.
    pub(crate) fn last_sent(&self) -> Option<LastSent> {
        self.last_sent
    }
}

impl Device for PacketDevice<'_> {
    type RxToken<'a>
        = RxToken<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        // The driver takes no frame from the link while the queue is full, so a reply has room.
        let packet = self.packet.take()?;
        Some((RxToken(packet), self.tx_token()))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Self::TxToken<'_>> {
        (!self.wire.queue.is_full()).then(|| self.tx_token())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        // Incoming sums were verified when the packet was parsed; see `ingress`.
        checksum.ipv4 = PhyChecksum::Tx;
        checksum.tcp = if self.wire.link.offload { PhyChecksum::None } else { PhyChecksum::Tx };
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit =
            if self.wire.link.offload { OFFLOAD_MTU } else { usize::from(self.wire.link.mtu) };
        capabilities.checksum = checksum;
        capabilities
    }
}

impl PacketDevice<'_> {
    fn tx_token(&mut self) -> TxToken<'_> {
        TxToken { wire: self.wire, segment_bytes: self.segment_bytes, last_sent: &mut self.last_sent }
    }
}

/// The one packet to receive.
pub(crate) struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for one frame.
pub(crate) struct TxToken<'a> {
    wire: &'a mut Wire,
    segment_bytes: u16,
    last_sent: &'a mut Option<LastSent>,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self { wire, segment_bytes, last_sent } = self;
        let offload = wire.link.offload;
        // The ethertype is known only once smoltcp has written the packet.
        let (guest_mac, gateway_mac) = (wire.guest_mac, wire.gateway_mac);
        wire.queue.push(ethernet::HEADER_BYTES + len, |frame| {
            let result = f(&mut frame[ethernet::HEADER_BYTES..]);
            let is_v6 = frame[ethernet::HEADER_BYTES] >> 4 == 6;
            let ether_type = if is_v6 { EtherType::Ipv6 } else { EtherType::Ipv4 };
            ethernet::emit(frame, guest_mac, gateway_mac, ether_type);
            let packet = &mut frame[ethernet::HEADER_BYTES..];
            let (sent, meta) = finish_segment(packet, is_v6, offload.then_some(segment_bytes));
            *last_sent = Some(sent);
            (meta, result)
        })
    }
}

/// Completes a TCP packet smoltcp wrote: with offload (`segment_bytes` given) its checksum is
/// left partial and a payload above the MSS is marked for cutting.
fn finish_segment(packet: &mut [u8], is_v6: bool, segment_bytes: Option<u16>) -> (LastSent, FrameMeta) {
    let (ip_bytes, pseudo_header) = if is_v6 {
        let header = Ipv6Packet::new_unchecked(&*packet);
        let sum = sum_words(&header.src_addr().octets()) + sum_words(&header.dst_addr().octets());
        (header.header_len(), sum)
    } else {
        let header = Ipv4Packet::new_unchecked(&*packet);
        let sum = sum_words(&header.src_addr().octets()) + sum_words(&header.dst_addr().octets());
        (usize::from(header.header_len()), sum)
    };
    let tcp_bytes = packet.len() - ip_bytes;
    let mut segment = TcpPacket::new_unchecked(&mut packet[ip_bytes..]);
    let header_bytes = usize::from(segment.header_len());
    let payload_bytes = tcp_bytes - header_bytes;
    let flags = u32::from(segment.syn()) + u32::from(segment.fin());
    let payload_seq = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
    let seq = u32::from_ne_bytes(segment.seq_number().0.to_ne_bytes());
    let sent = LastSent {
        next_seq: seq.wrapping_add(payload_seq).wrapping_add(flags),
        ack: u32::from_ne_bytes(segment.ack_number().0.to_ne_bytes()),
    };
    let Some(size) = segment_bytes else { return (sent, FrameMeta::default()) };
    // The receiver adds the segment itself: the field holds the folded sum of the pseudo-header
    // over the whole super-segment, not inverted.
    const TCP: u64 = 6;
    let sum = pseudo_header + TCP + u64::try_from(tcp_bytes).unwrap_or(0);
    segment.set_checksum(fold(sum));
    let offset = |bytes: usize| u16::try_from(ethernet::HEADER_BYTES + bytes).unwrap_or(u16::MAX);
    let checksum = Checksum::Partial { start: offset(ip_bytes), offset: TCP_CHECKSUM_OFFSET };
    let segmentation = (payload_bytes > usize::from(size)).then(|| Segmentation {
        kind: if is_v6 { SegmentationKind::TcpV6 } else { SegmentationKind::TcpV4 },
        header_bytes: offset(ip_bytes + header_bytes),
        size,
    });
    (sent, FrameMeta { checksum, segmentation })
}

pub(super) fn sum_words(bytes: &[u8]) -> u64 {
    bytes.chunks_exact(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}

/// Folds carries until 16 bits are left (RFC 1071, section 1).
pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}
