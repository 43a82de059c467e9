use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use net_core::Flow;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

use super::device::{LastSent, Wire};
use super::ethernet::EtherType;
use crate::link::FrameMeta;

/// How long a closed flow is remembered. RFC 9293 asks for twice the maximum segment lifetime;
/// on a link without routers a segment lives for milliseconds, and ten seconds outlast a guest's
/// first three retransmissions of its FIN.
const LIFETIME: Duration = Duration::from_secs(10);

/// What a flow in TIME-WAIT makes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeWait {
    /// No such flow.
    Unknown,
    /// Acknowledge again where the flow ended.
    Acknowledge(LastSent),
    /// Nothing to say.
    Ignore,
}

/// Flows in TIME-WAIT (RFC 9293, section 3.6.1): where each ended, and no buffers.
///
/// Bounded by `capacity`; the oldest yields.
#[derive(Debug)]
pub(crate) struct Tombstones {
    capacity: usize,
    ended: HashMap<Flow, (Instant, LastSent)>,
    order: VecDeque<(Instant, Flow)>,
}

impl Tombstones {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, ended: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn insert(&mut self, flow: Flow, sent: LastSent, now: Instant) {
        self.expire(now);
        while self.order.len() >= self.capacity {
            let Some((expires, oldest)) = self.order.pop_front() else { return };
            self.forget(expires, &oldest);
        }
        let expires = now + LIFETIME;
        self.ended.insert(flow, (expires, sent));
        self.order.push_back((expires, flow));
    }

    /// What to do with `segment` of `flow`; a SYN or an RST ends the memory of it.
    pub(crate) fn handle(&mut self, flow: &Flow, segment: &TcpPacket<&[u8]>, now: Instant) -> TimeWait {
        let Some((expires, sent)) = self.ended.get(flow).copied() else { return TimeWait::Unknown };
        if expires <= now || segment.syn() {
            self.ended.remove(flow);
            return TimeWait::Unknown;
        }
        if segment.rst() {
            self.ended.remove(flow);
            return TimeWait::Ignore;
        }
        // A bare acknowledgement is what we waited for; answering it would start a war of them.
        if segment.fin() || !segment.payload().is_empty() {
            TimeWait::Acknowledge(sent)
        } else {
            TimeWait::Ignore
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((expires, flow)) = self.order.front().copied() {
            if expires > now {
                return;
            }
            self.order.pop_front();
            self.forget(expires, &flow);
        }
    }

    /// Removes `flow` unless it ended again since, with a later expiry.
    fn forget(&mut self, expires: Instant, flow: &Flow) {
        if self.ended.get(flow).is_some_and(|(current, _)| *current == expires) {
            self.ended.remove(flow);
        }
    }
}

/// Queues the acknowledgement that repeats where `flow` ended.
pub(crate) fn push_acknowledgement(wire: &mut Wire, flow: &Flow, sent: LastSent) {
    let source = IpAddress::from(flow.upstream.ip());
    let destination = IpAddress::from(flow.guest.ip());
    let as_seq = |number: u32| TcpSeqNumber(i32::from_ne_bytes(number.to_ne_bytes()));
    let segment = TcpRepr {
        src_port: flow.upstream.port(),
        dst_port: flow.guest.port(),
        control: TcpControl::None,
        seq_number: as_seq(sent.next_seq),
        ack_number: Some(as_seq(sent.ack)),
        // Everything the guest had to say has been read; it may not say more.
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let header = IpRepr::new(source, destination, IpProtocol::Tcp, segment.buffer_len(), 64);
    let ether_type = if flow.guest.is_ipv6() { EtherType::Ipv6 } else { EtherType::Ipv4 };
    let checksums = ChecksumCapabilities::default();
    wire.push(ether_type, header.buffer_len(), |packet| {
        header.emit(&mut *packet, &checksums);
        let mut tcp = TcpPacket::new_unchecked(&mut packet[header.header_len()..]);
        segment.emit(&mut tcp, &source, &destination, &checksums);
        (FrameMeta::default(), ())
    });
}
