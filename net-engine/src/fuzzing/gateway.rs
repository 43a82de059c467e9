//! A gateway driven by a list of steps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use net_core::{Flow, Limits};
use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};

use crate::core::{
    Autoconfiguration, Counters, FlowId, Gateway, GatewayConfig, GuestAddresses, IcmpError, Ingress, Refusal,
    StreamRead, StreamWrite, Undelivery, Unreachable,
};
use crate::link::{FrameMeta, LinkCapabilities, Segmentation, SegmentationKind};

const MAX_FLOWS: usize = 8;
const MAX_HELD: usize = 4;
const MAX_QUEUED: usize = 4;
/// Fragments of the largest datagram there is.
const MAX_PIECES: usize = 46;

/// See [`a_gateway_stays_itself`](super::a_gateway_stays_itself).
pub(super) fn run(bytes: &[u8]) -> Option<Reached> {
    let (first, steps) = bytes.split_first()?;
    let mut run = Run::new(first & 1 == 1)?;
    let mut steps = Steps(steps);
    while let Some(step) = steps.byte() {
        run.step(step, &mut steps);
        run.drain();
        run.check();
    }
    Some(run.end())
}

/// The bytes that are left of the input.
struct Steps<'b>(&'b [u8]);

impl<'b> Steps<'b> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self) -> &'b [u8] {
        let length = usize::from(self.byte().unwrap_or(0)).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}

struct Run {
    gateway: Gateway,
    addresses: GuestAddresses,
    now: Instant,
    /// Flows the shell was told of.
    flows: Vec<FlowId>,
    /// The gateway's last sequence number, so that segments of the guest can hit the window.
    heard: u32,
    sent: u32,
    /// What the link says of the frames.
    meta: FrameMeta,
    /// Whoever sent the last datagram.
    heard_from: Option<Flow>,
    datagrams: u64,
    reassembled: u64,
}

/// Where a fragment belongs.
#[derive(Clone, Copy)]
struct Fragment {
    id: u8,
    /// The offset in units of eight bytes.
    units: u8,
    is_last: bool,
}

/// How far an input came.
#[derive(Debug)]
pub struct Reached {
    /// What went over the link.
    pub counters: Counters,
    /// Datagrams of the guest.
    pub datagrams: u64,
    /// Those of them that had come in fragments.
    pub reassembled: u64,
}

impl Run {
    #[allow(clippy::disallowed_methods, reason = "any instant will do: the run moves it from here on")]
    fn new(offload: bool) -> Option<Self> {
        let limits = Limits {
            max_tcp_flows: MAX_FLOWS,
            max_held_syns: MAX_HELD,
            // Few, so that inputs get there.
            resets_per_second: 16,
            icmp_errors_per_second: 16,
            new_flows_per_second: 16,
            new_flow_burst: 32,
            max_queued_frames: MAX_QUEUED,
            max_tombstones: 2,
            tcp_rx_buffer_bytes: 4096,
            tcp_tx_buffer_bytes: 8192,
            ..Limits::default()
        };
        let addresses = GuestAddresses::default();
        let now = Instant::now();
        let config = GatewayConfig {
            addresses,
            link: LinkCapabilities { mtu: 1500, offload },
            limits,
            random_seed: 1,
            autoconfiguration: Some(Autoconfiguration { search_domain: "guest.test".parse().ok() }),
        };
        let gateway = Gateway::new(config, now).ok()?;
        Some(Self {
            gateway,
            addresses,
            now,
            flows: Vec::new(),
            heard: 0,
            sent: 1,
            meta: FrameMeta::default(),
            heard_from: None,
            datagrams: 0,
            reassembled: 0,
        })
    }

    fn step(&mut self, step: u8, steps: &mut Steps<'_>) {
        match step % 8 {
            _ if step & 0x40 != 0 => self.datagram(step, steps),
            0 => self.feed(steps.bytes()),
            1 | 2 => {
                let frame = self.segment(step & 0x80 != 0, steps);
                self.feed(&frame);
            }
            3 => self.now += Duration::from_millis(1 << (steps.byte().unwrap_or(0) % 18)),
            4 => {
                let count = usize::from(steps.byte().unwrap_or(0)) * 16;
                self.with_flow(steps, |gateway, id, _| {
                    let read = gateway.read(id, |ring| (ring.len().min(count), ()));
                    assert!(matches!(
                        read,
                        StreamRead::Data(()) | StreamRead::Blocked | StreamRead::Finished | StreamRead::Reset
                    ));
                });
            }
            5 => {
                let count = usize::from(steps.byte().unwrap_or(0)) * 16;
                self.with_flow(steps, |gateway, id, _| {
                    let write = gateway.write(id, |ring| {
                        let count = ring.len().min(count);
                        ring[..count].fill(7);
                        (count, ())
                    });
                    assert!(matches!(
                        write,
                        StreamWrite::Room(()) | StreamWrite::Blocked | StreamWrite::Reset
                    ));
                });
            }
            6 => self.with_flow(steps, |gateway, id, now| {
                // Refused or open flows answer with an error, and stay what they are.
                let _ = gateway.accept(id, now);
            }),
            _ => {
                let how = steps.byte().unwrap_or(0);
                self.with_flow(steps, |gateway, id, now| match how % 6 {
                    0 => gateway.close(id),
                    1 => gateway.abort(id),
                    2 => gateway.release(id, now),
                    3 => gateway.refuse(id, Refusal::Reset),
                    4 => gateway.refuse(id, Refusal::Unreachable(Unreachable::Host)),
                    _ => gateway.refuse(id, Refusal::Silence),
                });
            }
        }
    }

    fn with_flow(&mut self, steps: &mut Steps<'_>, work: impl FnOnce(&mut Gateway, FlowId, Instant)) {
        let index = usize::from(steps.byte().unwrap_or(0));
        if let Some(id) = self.flows.get(index % self.flows.len().max(1)) {
            work(&mut self.gateway, *id, self.now);
        }
    }

    /// Datagrams: of the guest in one piece or as a fragment, and to the guest in any size.
    fn datagram(&mut self, step: u8, steps: &mut Steps<'_>) {
        let is_v6 = step & 0x80 != 0;
        let (port, more) = (steps.byte().unwrap_or(0), steps.byte().unwrap_or(0));
        if step & 3 == 2 {
            let Some(flow) = self.heard_from else { return };
            let payload = vec![port; usize::from(more) * 258];
            let _ = self.gateway.push_datagram(flow.upstream, flow.guest, &payload);
            self.gateway.push_undelivered(&flow, &payload, Unreachable::Port.into());
            return;
        }
        let payload = steps.bytes();
        // Cut by the link, at a size of the input's.
        let segmentation = Segmentation { kind: SegmentationKind::Udp, header_bytes: 42, size: more.into() };
        self.meta.segmentation = (step & 3 == 3).then_some(segmentation);
        let mut datagram = vec![0; 8];
        datagram[..2].copy_from_slice(&(40_000 + u16::from(port % 4)).to_be_bytes());
        datagram[2..4].copy_from_slice(&443u16.to_be_bytes());
        let length = u16::try_from(8 + payload.len()).unwrap_or(0) + u16::from(more >> 6);
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        datagram.extend_from_slice(payload);
        let frame = if step & 3 == 1 {
            // The input's bytes are the fragment's: whoever puts it together checks the sum.
            let place = Fragment { id: port % 4, units: more >> 1, is_last: more & 1 != 0 };
            self.wrap(is_v6, IpProtocol::Udp, Some(place), payload.to_vec())
        } else {
            self.wrap(is_v6, IpProtocol::Udp, None, datagram)
        };
        self.feed(&frame);
    }

    /// A TCP segment whose addresses and checksums are right: ports, flags, numbers, options and
    /// payload are the input's.
    fn segment(&mut self, is_v6: bool, steps: &mut Steps<'_>) -> Vec<u8> {
        let mut byte = || steps.byte().unwrap_or(0);
        let (port, flags, offset, words) = (byte(), byte(), byte(), byte());
        let payload = steps.bytes();
        let header_words = 5 + usize::from(words % 11);
        let mut segment = vec![0; header_words * 4];
        segment[..2].copy_from_slice(&(40_000 + u16::from(port % 4)).to_be_bytes());
        segment[2..4].copy_from_slice(&443u16.to_be_bytes());
        let seq = self.sent.wrapping_add(u32::from(offset)).wrapping_sub(64);
        segment[4..8].copy_from_slice(&seq.to_be_bytes());
        segment[8..12].copy_from_slice(&self.heard.wrapping_add(u32::from(words >> 4)).to_be_bytes());
        segment[12] = u8::try_from(header_words << 4).unwrap_or(0x50);
        segment[13] = flags;
        segment[14..16].copy_from_slice(&[offset, words]);
        // The front of the payload doubles as options.
        let options = payload.len().min(segment.len() - 20);
        segment[20..20 + options].copy_from_slice(&payload[..options]);
        segment.extend_from_slice(payload);
        if flags & 3 != 0 || !payload.is_empty() {
            self.sent = seq.wrapping_add(u32::try_from(payload.len()).unwrap_or(0)).wrapping_add(1);
        }
        self.wrap(is_v6, IpProtocol::Tcp, None, segment)
    }

    /// A frame of the guest with this in it, whose headers and checksums are right.
    fn wrap(
        &self,
        is_v6: bool,
        protocol: IpProtocol,
        fragment: Option<Fragment>,
        mut segment: Vec<u8>,
    ) -> Vec<u8> {
        let mut frame = [self.addresses.gateway_mac.0, self.addresses.guest_mac.0].concat();
        let (Some(v4), Some(v6)) = (self.addresses.ipv4, self.addresses.ipv6) else { return frame };
        let fill = |segment: &mut [u8], guest: IpAddress, server: IpAddress| {
            if fragment.is_some() {
                // Whoever puts it together checks the sum of the whole.
            } else if protocol == IpProtocol::Tcp {
                TcpPacket::new_unchecked(segment).fill_checksum(&guest, &server);
            } else if let Ok(mut udp) = UdpPacket::new_checked(segment) {
                udp.fill_checksum(&guest, &server);
            }
        };
        if is_v6 {
            let server = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
            fill(&mut segment, v6.guest.into(), server.into());
            if let Some(Fragment { id, units, is_last }) = fragment {
                let [high, low] = (u16::from(units) << 3 | u16::from(!is_last)).to_be_bytes();
                segment.splice(..0, [u8::from(protocol), 0, high, low, 0, 0, 0, id]);
            }
            let next_header = if fragment.is_some() { IpProtocol::Ipv6Frag } else { protocol };
            let mut header = [0; 40];
            let mut packet = Ipv6Packet::new_unchecked(&mut header);
            packet.set_version(6);
            packet.set_payload_len(u16::try_from(segment.len()).unwrap_or(0));
            packet.set_next_header(next_header);
            packet.set_hop_limit(64);
            packet.set_src_addr(v6.guest);
            packet.set_dst_addr(server);
            frame.extend_from_slice(&[0x86, 0xdd]);
            frame.extend_from_slice(&header);
        } else {
            let server = Ipv4Addr::new(198, 51, 100, 7);
            fill(&mut segment, v4.guest.into(), server.into());
            let mut header = [0; 20];
            let mut packet = Ipv4Packet::new_unchecked(&mut header);
            packet.set_version(4);
            packet.set_header_len(20);
            packet.set_total_len(u16::try_from(20 + segment.len()).unwrap_or(0));
            packet.set_hop_limit(64);
            packet.set_next_header(protocol);
            packet.set_src_addr(v4.guest);
            packet.set_dst_addr(server);
            if let Some(Fragment { id, units, is_last }) = fragment {
                packet.set_ident(u16::from(id));
                packet.set_frag_offset(u16::from(units) << 3);
                packet.set_more_frags(!is_last);
            }
            packet.fill_checksum();
            frame.extend_from_slice(&[0x08, 0x00]);
            frame.extend_from_slice(&header);
        }
        frame.extend_from_slice(&segment);
        frame
    }

    fn feed(&mut self, frame: &[u8]) {
        if !self.gateway.has_room() {
            return;
        }
        match self.gateway.handle_frame(&self.meta, frame, self.now) {
            Ingress::Syn { id, flow } => {
                assert!(self.is_guest(flow.guest.ip()), "{flow:?}");
                assert!(!self.flows.contains(&id), "an id is used twice");
                self.flows.push(id);
                if self.flows.len() > 64 {
                    self.flows.remove(0);
                }
            }
            Ingress::Datagrams { flow, passage: _, payload, packet, piece_bytes } => {
                assert!(self.is_guest(flow.guest.ip()), "{flow:?}");
                assert!(payload.len() <= 128 * usize::from(piece_bytes.get()));
                self.gateway.push_unreachable(packet, Unreachable::Port);
            }
            Ingress::Echo { flow, sequence, passage: _, data, packet } => {
                assert!(self.is_guest(flow.guest.ip()), "{flow:?}");
                assert!(data.len() < packet.len());
                let error = IcmpError { why: Undelivery::TimeExceeded, from: Some(flow.upstream.ip()) };
                self.gateway.push_no_echo(&flow, sequence, data, error);
                let _ = self.gateway.push_echo(&flow, sequence, data);
            }
            Ingress::Datagram { flow, passage: _, payload, packet } => {
                assert!(self.is_guest(flow.guest.ip()), "{flow:?}");
                assert!(payload.len() <= packet.len() && packet.len() <= frame.len());
                self.heard_from = Some(flow);
                self.datagrams += 1;
                self.gateway.push_unreachable(packet, Unreachable::Port);
            }
            Ingress::Reassembled(datagram) => {
                assert!(self.is_guest(datagram.flow().guest.ip()), "{:?}", datagram.flow());
                assert!(datagram.payload().len() < datagram.packet().len());
                self.heard_from = Some(*datagram.flow());
                self.reassembled += 1;
                self.gateway.push_unreachable(datagram.packet(), Unreachable::Port);
            }
            Ingress::GivenUp { id } => {
                assert_eq!(self.gateway.flow(id), None, "a flow that was given up is gone");
                self.flows.retain(|own| *own != id);
            }
            Ingress::Handled => {}
        }
    }

    fn is_guest(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.addresses.ipv4.is_some_and(|pair| v4 == pair.guest),
            // It may choose: all of its prefix but for the gateway's, and link-local ones on the link.
            IpAddr::V6(v6) => self.addresses.ipv6.is_some_and(|pair| {
                let is_own = v6.octets()[..8] == pair.guest.octets()[..8] && v6 != pair.gateway;
                is_own || v6.is_unicast_link_local()
            }),
        }
    }

    /// Sends everything; a gateway that never has enough is a bug.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            let more = self.gateway.poll_flows(self.now);
            let mut sent = 0;
            while let Some(frame) = self.gateway.next_frame() {
                sent += 1;
                let bytes = frame.bytes();
                assert_eq!(bytes.get(..6), Some(&self.addresses.guest_mac.0[..]));
                assert_eq!(bytes.get(6..12), Some(&self.addresses.gateway_mac.0[..]));
                // Where the guest may go on: after our own sequence number.
                let is_v6 = bytes.get(12..14) == Some(&[0x86, 0xdd]);
                let at = 14 + if is_v6 { 40 } else { 20 };
                if let Some(Ok(seq)) = bytes.get(at + 4..at + 8).map(<[u8; 4]>::try_from) {
                    self.heard = u32::from_be_bytes(seq).wrapping_add(1);
                }
                self.gateway.frame_sent();
            }
            // Of one datagram all fragments come in, or none.
            assert!(sent <= 2 * MAX_QUEUED + 256 + MAX_PIECES, "{sent} frames were queued");
            if !more && sent == 0 {
                return;
            }
        }
        panic!("the gateway sends for ever");
    }

    fn check(&mut self) {
        let Counters { flows_open, syns_held, .. } = self.gateway.counters();
        assert!(usize::try_from(flows_open).is_ok_and(|count| count <= MAX_FLOWS), "{flows_open} flows");
        assert!(usize::try_from(syns_held).is_ok_and(|count| count <= MAX_HELD), "{syns_held} SYNs");
    }

    /// The end of the guest ends every flow.
    fn end(mut self) -> Reached {
        self.gateway.abort_all();
        for id in std::mem::take(&mut self.flows) {
            self.gateway.release(id, self.now);
        }
        self.drain();
        let counters = self.gateway.counters();
        assert_eq!(counters.syns_held, 0);
        assert!(self.gateway.poll_timeout().is_none_or(|at| at > self.now), "work is left undone");
        Reached { counters, datagrams: self.datagrams, reassembled: self.reassembled }
    }
}
