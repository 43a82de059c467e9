use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use net_core::{Flow, Limits, Protocol, TimerQueue};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::wire::{HardwareAddress, IpListenEndpoint, IpProtocol, Ipv6Packet, TcpPacket, TcpRepr};
use thiserror::Error;

use super::autoconfiguration::is_dhcp;
use super::device::{PacketDevice, Wire};
use super::ethernet::{self, EtherType, EthernetHeader};
use super::flow_table::{FlowId, FlowTable};
use super::fragments::Fragments;
use super::ingress::IpPacket;
use super::ndp::Asked;
use super::refusals::Refusals;
use super::router::Advertiser;
use super::tcp_flow::{HeldSyn, OpenFlow, Refusal, TcpFlow, TcpState, seq_of};
use super::tombstone::{TimeWait, Tombstones};
use super::{
    AddressError, Autoconfiguration, Claims, Counters, DropReason, Echo, GuestAddresses, IcmpError, Kind,
    Passage, Reassembled, Undelivery, Unreachable,
};
use super::{arp, icmp, ingress, ndp, tombstone, udp};
use crate::buffer_pool::BufferPool;
use crate::link::{Checksum, FrameMeta, LinkCapabilities};

/// ICMPv6 types of neighbour discovery (RFC 4861, section 4).
const NDP_TYPES: std::ops::RangeInclusive<u8> = 133..=137;

/// What a gateway is made of.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The addresses on the guest's link.
    pub addresses: GuestAddresses,
    /// What the link can carry.
    pub link: LinkCapabilities,
    /// Bounds.
    pub limits: Limits,
    /// Seed of initial sequence numbers.
    pub random_seed: u64,
    /// What the guest is told when it asks for its network; `None` where it is set up otherwise, and
    /// then it has the addresses above and no others.
    pub autoconfiguration: Option<Autoconfiguration>,
}

/// What a frame asks of the shell.
#[derive(Debug)]
#[must_use]
pub enum Ingress<'f> {
    /// The frame needs nothing more.
    Handled,
    /// A new TCP flow waits: call [`Gateway::accept`] or [`Gateway::refuse`] for it in the end.
    Syn {
        /// Its id until it is refused or ends.
        id: FlowId,
        /// Its 5-tuple.
        flow: Flow,
    },
    /// The guest has reset a flow that still waited: whoever dials for it need not go on.
    GivenUp {
        /// The id it had.
        id: FlowId,
    },
    /// A UDP datagram.
    Datagram {
        /// Its 5-tuple.
        flow: Flow,
        /// How it asks to be carried.
        passage: Passage,
        /// Its payload.
        payload: &'f [u8],
        /// The whole IP packet, for [`Gateway::push_unreachable`].
        packet: &'f [u8],
    },
    /// A request for an echo from beyond the gateway.
    Echo {
        /// The two addresses; both ports are the identifier.
        flow: Flow,
        /// Its sequence number.
        sequence: u16,
        /// How it asks to be carried.
        passage: Passage,
        /// What is to come back.
        data: &'f [u8],
        /// The whole IP packet, for [`Gateway::push_unreachable`].
        packet: &'f [u8],
    },
    /// UDP datagrams that share a frame, for the guest has left the cutting to the link.
    Datagrams {
        /// Their 5-tuple.
        flow: Flow,
        /// How each asks to be carried.
        passage: Passage,
        /// Their payloads, one behind the other.
        payload: &'f [u8],
        /// The IP packet they share, for [`Gateway::push_unreachable`].
        packet: &'f [u8],
        /// Bytes of each payload but for the last one, which may be shorter.
        piece_bytes: NonZeroU16,
    },
    /// A UDP datagram that came in fragments, of which this frame was the last.
    Reassembled(Reassembled),
}

/// Why a held SYN could not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The flow is gone, or was accepted or refused before.
    #[error("the flow no longer waits for an answer")]
    Gone,
    /// [`Limits::max_tcp_flows`] hold buffers already, or the host has no memory for more.
    #[error("no more tcp flows can be opened")]
    Limit,
}

/// The guest's network: its gateway, and every flow that leaves through it.
///
/// Feed frames with [`handle_frame`](Self::handle_frame) while [`has_room`](Self::has_room), and
/// after any call drain: [`poll_flows`](Self::poll_flows), then frames by
/// [`next_frame`](Self::next_frame) and [`frame_sent`](Self::frame_sent) until there is none,
/// and again from `poll_flows` while it answers `true`. Come back at
/// [`poll_timeout`](Self::poll_timeout) at the latest.
///
/// Work per frame does not depend on the number of flows: each has a socket set of its own, found
/// by its 5-tuple.
pub struct Gateway {
    pub(super) addresses: GuestAddresses,
    pub(super) autoconfiguration: Option<Autoconfiguration>,
    pub(super) advertiser: Advertiser,
    pub(super) limits: Limits,
    pub(super) interface: Interface,
    pub(super) wire: Wire,
    pub(super) flows: FlowTable,
    pub(super) pool: BufferPool,
    pub(super) tombstones: Tombstones,
    pub(super) timers: TimerQueue<FlowId>,
    /// Flows that may have something to send, each at most once.
    pub(super) dirty: VecDeque<FlowId>,
    /// SYNs that wait, refused ones that were not answered yet included.
    pub(super) held_syns: usize,
    pub(super) refusals: Refusals,
    /// The time as whoever calls has said it last.
    pub(super) latest: Instant,
    pub(super) fragments: Fragments,
    pub(super) fragmenter: udp::Fragmenter,
    /// The set segments of no flow are fed to: smoltcp answers them with RST.
    nobody: SocketSet<'static>,
}

impl Gateway {
    /// A gateway without flows.
    ///
    /// # Errors
    /// [`AddressError`] when the addresses make no link.
    pub fn new(config: GatewayConfig, now: Instant) -> Result<Self, AddressError> {
        let GatewayConfig { addresses, link, limits, random_seed, autoconfiguration } = config;
        addresses.validate()?;
        let macs = (addresses.guest_mac, addresses.gateway_mac);
        let mut wire = Wire::new(macs, link, limits.max_queued_frames, now);
        let mut interface_config = Config::new(HardwareAddress::Ip);
        interface_config.random_seed = random_seed;
        let started = wire.smoltcp_now(now);
        let mut interface =
            Interface::new(interface_config, &mut PacketDevice::new(&mut wire, None, 0), started);
        interface.set_any_ip(true);
        Ok(Self {
            addresses,
            autoconfiguration,
            advertiser: Advertiser::default(),
            interface,
            wire,
            flows: FlowTable::default(),
            pool: BufferPool::new(&limits),
            tombstones: Tombstones::new(limits.max_tombstones),
            timers: TimerQueue::new(),
            dirty: VecDeque::new(),
            held_syns: 0,
            refusals: Refusals::new(&limits),
            latest: now,
            fragments: Fragments::new(&limits),
            fragmenter: udp::Fragmenter::new(),
            nobody: SocketSet::new(Vec::new()),
            limits,
        })
    }

    /// The addresses on the guest's link.
    pub fn addresses(&self) -> &GuestAddresses {
        &self.addresses
    }

    /// From which addresses the guest may send.
    pub(super) fn claims(&self) -> Claims {
        Claims::new(self.addresses, self.autoconfiguration.is_some())
    }

    /// What went over the link so far.
    pub fn counters(&self) -> Counters {
        Counters {
            syns_held: u64::try_from(self.held_syns).unwrap_or(u64::MAX),
            flows_open: u64::try_from(self.pool.live()).unwrap_or(u64::MAX),
            ring_bytes: u64::try_from(self.pool.resident()).unwrap_or(u64::MAX),
            ..self.wire.counters
        }
    }

    /// Whether the rings of all flows have come to hold more than
    /// [`Limits::max_ring_bytes`] since this was last asked.
    pub fn take_shortage(&mut self) -> bool {
        self.pool.take_shortage()
    }

    /// The field of [`Limits`] that has refused a flow since this was last asked.
    pub fn take_reached(&mut self) -> Option<&'static str> {
        self.refusals.take_reached()
    }

    /// Frames that were refused for the bounds of their kind since this was last asked.
    pub(crate) fn take_refused(&mut self) -> [(Kind, u64); 2] {
        [(Kind::Syn, self.refusals.take_syns()), (Kind::Fragment, self.fragments.take_yielded())]
    }

    /// Has flows of the guest begin at their rate alone from now on: a burst is for who bursts.
    pub(crate) fn forgo_burst(&mut self, now: Instant) {
        self.refusals.forgo_burst(now);
    }

    /// Whether a frame may be handled: there is room for what it may be answered with.
    pub fn has_room(&self) -> bool {
        !self.wire.queue.is_full()
    }

    /// Takes one frame of the guest. Call only while [`has_room`](Self::has_room).
    pub fn handle_frame<'f>(&mut self, meta: &FrameMeta, frame: &'f [u8], now: Instant) -> Ingress<'f> {
        let counters = &mut self.wire.counters;
        counters.frames_received += 1;
        counters.bytes_received += u64::try_from(frame.len()).unwrap_or(0);
        self.latest = now;
        match self.dispatch(meta, frame, now) {
            Ok(ingress) => ingress,
            Err(reason) => {
                self.wire.counters.count_drop(reason);
                Ingress::Handled
            }
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other protocol is refused alike")]
    fn dispatch<'f>(
        &mut self,
        meta: &FrameMeta,
        frame: &'f [u8],
        now: Instant,
    ) -> Result<Ingress<'f>, DropReason> {
        let header = EthernetHeader::parse(frame).ok_or(DropReason::Malformed)?;
        if header.source != self.addresses.guest_mac {
            return Err(DropReason::Spoofed);
        }
        if header.destination != self.addresses.gateway_mac && !header.destination.is_group() {
            return Err(DropReason::NotForUs);
        }
        let payload = &frame[ethernet::HEADER_BYTES..];
        let claims = self.claims();
        let packet = match header.ether_type {
            Some(EtherType::Arp) => return self.handle_arp(payload),
            Some(EtherType::Ipv6) if is_ndp(payload) => return self.handle_ndp(payload, now),
            Some(EtherType::Ipv4) => match self.addresses.ipv4 {
                Some(pair) if is_dhcp(payload, pair) => return self.handle_dhcp(meta, payload, pair),
                Some(_) | None => IpPacket::parse_v4(payload, &claims)?,
            },
            Some(EtherType::Ipv6) => {
                let parsed = IpPacket::parse_v6(payload, &claims);
                if let Err(DropReason::Spoofed) = parsed
                    && !header.destination.is_group()
                    && let Some(packet) = ingress::beyond_scope(payload)
                {
                    // Who is on the link knows us by the address of the link.
                    let from = self.addresses.gateway_link_local();
                    let why = Undelivery::Unreachable(Unreachable::Scope);
                    self.push_error(packet, IcmpError { why, from });
                }
                parsed?
            }
            None => return Err(DropReason::Unroutable),
        };
        if header.destination.is_group() {
            // A unicast packet in a group frame is somebody's trick (RFC 1122, section 3.3.6).
            return Err(DropReason::Unroutable);
        }
        if packet.hop_limit <= 1 && !self.addresses.is_gateway(packet.destination) {
            // Of a datagram in fragments the error is about the first (RFC 1122, section 3.2.2).
            if icmp::is_error(&packet) || packet.is_later_fragment() {
                return Err(DropReason::Unroutable);
            }
            self.push_error(packet.bytes, IcmpError { why: Undelivery::TimeExceeded, from: None });
            return Ok(Ingress::Handled);
        }
        if let Some(fragment) = packet.fragment() {
            let whole = self.fragments.handle(&fragment, now)?;
            return whole.map_or(Ok(Ingress::Handled), |whole| {
                Reassembled::new(whole, &claims).map(Ingress::Reassembled)
            });
        }
        let verify = meta.checksum == Checksum::Full;
        match packet.protocol {
            IpProtocol::Tcp => self.handle_tcp(&packet, verify, now),
            IpProtocol::Udp => {
                let (flow, payload) = packet.udp(verify)?;
                let (packet, passage) = (packet.bytes, packet.passage());
                Ok(match udp::piece_bytes(meta, payload.len())? {
                    None => Ingress::Datagram { flow, passage, payload, packet },
                    Some(piece_bytes) => Ingress::Datagrams { flow, passage, payload, packet, piece_bytes },
                })
            }
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.handle_icmp(&packet),
            _ => Err(DropReason::Unroutable),
        }
    }

    fn handle_arp<'f>(&mut self, packet: &[u8]) -> Result<Ingress<'f>, DropReason> {
        let pair = self.addresses.ipv4.ok_or(DropReason::Unroutable)?;
        let (guest_mac, gateway_mac) = (self.addresses.guest_mac, self.addresses.gateway_mac);
        if let Some(request) = arp::parse(packet, guest_mac, pair.guest, pair.gateway)? {
            self.wire.push(EtherType::Arp, arp::PACKET_BYTES, |reply| {
                arp::emit_reply(reply, request, guest_mac, gateway_mac, pair.gateway);
                (FrameMeta::default(), ())
            });
        }
        Ok(Ingress::Handled)
    }

    fn handle_ndp<'f>(&mut self, payload: &[u8], now: Instant) -> Result<Ingress<'f>, DropReason> {
        let packet = Ipv6Packet::new_checked(payload).map_err(|_| DropReason::Malformed)?;
        if self.addresses.ipv6.is_none() {
            return Err(DropReason::Unroutable);
        }
        match ndp::parse(&packet, &self.claims())? {
            Some(Asked::Neighbor(solicitation)) => {
                let addresses = self.addresses;
                self.wire.push(EtherType::Ipv6, ndp::ADVERTISEMENT_BYTES, |reply| {
                    ndp::emit_advertisement(reply, solicitation, &addresses);
                    (FrameMeta::default(), ())
                });
            }
            Some(Asked::Router { sender }) => self.handle_router_solicitation(sender, now),
            None => {}
        }
        Ok(Ingress::Handled)
    }

    fn handle_icmp<'f>(&mut self, packet: &IpPacket<'f>) -> Result<Ingress<'f>, DropReason> {
        let echo = Echo::request_in(packet).ok_or(DropReason::Unroutable)?;
        if self.addresses.is_gateway(packet.destination) {
            icmp::push_echo_reply(&mut self.wire, packet.destination, packet.source, &echo);
            return Ok(Ingress::Handled);
        }
        let protocol = if packet.destination.is_ipv4() { Protocol::IcmpV4 } else { Protocol::IcmpV6 };
        let flow = packet.flow(protocol, echo.ident, echo.ident);
        let (sequence, passage, data) = (echo.sequence, packet.passage(), echo.data);
        Ok(Ingress::Echo { flow, sequence, passage, data, packet: packet.bytes })
    }

    fn handle_tcp<'f>(
        &mut self,
        packet: &IpPacket<'f>,
        verify: bool,
        now: Instant,
    ) -> Result<Ingress<'f>, DropReason> {
        let (tuple, segment) = packet.tcp(verify)?;
        if let Some(id) = self.flows.id_of(&tuple)
            // A tuple may be used again before whoever carried the old flow has noticed that it ended.
            && !(is_opening(&segment) && self.flows.has_ended(id))
        {
            return Ok(self.handle_segment(id, packet, &segment, now));
        }
        match self.tombstones.handle(&tuple, &segment, now) {
            TimeWait::Acknowledge(sent) => {
                tombstone::push_acknowledgement(&mut self.wire, &tuple, sent);
                return Ok(Ingress::Handled);
            }
            TimeWait::Ignore => return Ok(Ingress::Handled),
            TimeWait::Unknown => {}
        }
        if !is_opening(&segment) {
            if self.refusals.may_reset(now) {
                self.feed_nobody(packet.bytes, now);
                return Ok(Ingress::Handled);
            }
            self.wire.counters.resets_withheld += 1;
            return Err(DropReason::Limit);
        }
        // By the header alone: nothing is copied, kept or decided for a flow too many.
        if let Err(limit) = self.refusals.admit(self.held_syns, now) {
            return Err(self.refuse_flow_too_many(packet.bytes, limit, now));
        }
        // Before anything is dialled for it.
        if !is_acceptable(packet, &segment) {
            return Err(DropReason::Malformed);
        }
        self.refusals.note_begun(now);
        let syn = HeldSyn::new(packet.bytes, packet.header_bytes, self.wire.link.offload);
        let id = self.flows.insert(TcpFlow { tuple, state: TcpState::Held(syn) });
        self.held_syns += 1;
        Ok(Ingress::Syn { id, flow: tuple })
    }

    /// Refuses the flow that `syn` would open, as if nobody listened; in silence where that was said often
    /// enough.
    #[cold]
    fn refuse_flow_too_many(&mut self, syn: &[u8], limit: &'static str, now: Instant) -> DropReason {
        if self.refusals.may_reset(now) {
            self.feed_nobody(syn, now);
        } else {
            self.wire.counters.resets_withheld += 1;
        }
        let counters = &mut self.wire.counters;
        counters.flows_refused += 1;
        counters.flows_over_rate += u64::from(self.refusals.note_refused(limit));
        DropReason::Limit
    }

    /// A segment of a flow we know.
    fn handle_segment<'f>(
        &mut self,
        id: FlowId,
        packet: &IpPacket<'_>,
        segment: &TcpPacket<&[u8]>,
        now: Instant,
    ) -> Ingress<'f> {
        let offload = self.wire.link.offload;
        let Some(flow) = self.flows.get_mut(id) else { return Ingress::Handled };
        match &mut flow.state {
            TcpState::Held(syn) => {
                if is_opening(segment) {
                    // A retransmission: the newest one that a socket would take is answered.
                    if !is_acceptable(packet, segment) {
                        return Ingress::Handled;
                    }
                    *syn = HeldSyn::new(packet.bytes, packet.header_bytes, offload);
                } else if segment.rst() {
                    self.forget(id);
                    return Ingress::GivenUp { id };
                }
            }
            TcpState::Refused(..) => {}
            TcpState::Open(open) => {
                let answer = open.take_answer(segment, packet.bytes, packet.header_bytes, offload);
                let bytes = answer.as_deref().unwrap_or(packet.bytes);
                let (seq, payload) = (seq_of(segment), segment.payload().len());
                if self.pool.is_short() && !open.takes_when_short(seq, payload, &mut self.pool) {
                    self.wire.counters.count_drop(DropReason::Limit);
                    return Ingress::Handled;
                }
                let now = self.wire.smoltcp_now(now);
                let before = open.tcp().state();
                let mut device = PacketDevice::new(&mut self.wire, Some(bytes), open.segment_bytes);
                self.interface.poll_ingress_single(now, &mut device, open.socket.set_mut());
                if let Some(sent) = device.last_sent() {
                    open.last_sent = sent;
                    // All that is said before there is a connection is a reset.
                    if before == State::SynSent && open.tcp().state() == State::SynSent {
                        open.begin_again(self.interface.context());
                    }
                }
                open.note_segment();
                open.rings.note_segment(seq, payload);
                self.pool.charge(&mut open.rings);
                open.reset.note(before, open.tcp().state());
                if open.mark_dirty() {
                    self.dirty.push_back(id);
                }
            }
        }
        Ingress::Handled
    }

    /// Feeds a segment that belongs to no flow: smoltcp answers with RST where that is due.
    pub(super) fn feed_nobody(&mut self, packet: &[u8], now: Instant) {
        let now = self.wire.smoltcp_now(now);
        let mut device = PacketDevice::new(&mut self.wire, Some(packet), u16::MAX);
        self.interface.poll_ingress_single(now, &mut device, &mut self.nobody);
    }

    /// Gives a held SYN a socket: the guest is connected from here on.
    ///
    /// # Errors
    /// [`AcceptError`]; after `Limit` the flow still waits, to be refused.
    pub fn accept(&mut self, id: FlowId, now: Instant) -> Result<(), AcceptError> {
        let flow = self.flows.get_mut(id).ok_or(AcceptError::Gone)?;
        let TcpState::Held(syn) = &flow.state else { return Err(AcceptError::Gone) };
        let (mut socket, rings) = self.pool.socket(syn.first_seq).ok_or(AcceptError::Limit)?;
        let tcp = socket.tcp_mut();
        prepare(tcp, self.limits.connect_timeout);
        let local = IpListenEndpoint {
            addr: Some(flow.tuple.upstream.ip().into()),
            port: flow.tuple.upstream.port(),
        };
        if tcp.listen(local).is_err() {
            // Only port 0 cannot be listened on, and `IpPacket::tcp` refuses it.
            self.pool.release(socket, &rings);
            return Err(AcceptError::Gone);
        }
        let smoltcp_now = self.wire.smoltcp_now(now);
        let mut device = PacketDevice::new(&mut self.wire, Some(&syn.packet), syn.guest_mss);
        self.interface.poll_ingress_single(smoltcp_now, &mut device, socket.set_mut());
        if socket.tcp().state() == State::Listen {
            // smoltcp saw no connection in what `handle_tcp` took for one.
            self.pool.release(socket, &rings);
            self.forget(id);
            return Err(AcceptError::Gone);
        }
        flow.state = TcpState::Open(Box::new(OpenFlow::new(socket, rings, syn.guest_mss, now)));
        self.dirty.push_back(id);
        self.held_syns -= 1;
        self.wire.counters.flows_opened += 1;
        Ok(())
    }

    /// Refuses a held SYN. Without effect on any other flow.
    pub fn refuse(&mut self, id: FlowId, how: Refusal) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        let TcpState::Held(syn) = &mut flow.state else { return };
        self.wire.counters.flows_refused += 1;
        if how == Refusal::Silence {
            self.forget(id);
            return;
        }
        flow.state = TcpState::Refused(std::mem::take(&mut syn.packet), how);
        self.dirty.push_back(id);
    }
}

/// Sets a socket up for a link that is lossless and fast: every delay that trades latency for packets costs
/// both. It waits as long as said for the guest to finish the handshake; see `OpenFlow::note_segment`.
pub(super) fn prepare(tcp: &mut Socket<'static>, patience: Duration) {
    tcp.set_nagle_enabled(false);
    tcp.set_ack_delay(None);
    let patience = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
    tcp.set_timeout(Some(smoltcp::time::Duration::from_micros(patience)));
}

/// Whether a segment opens a connection: SYN and nothing that contradicts it.
fn is_opening(segment: &TcpPacket<&[u8]>) -> bool {
    segment.syn() && !segment.ack() && !segment.rst() && !segment.fin()
}

/// Whether smoltcp will take a SYN: its options parse.
fn is_acceptable(packet: &IpPacket<'_>, segment: &TcpPacket<&[u8]>) -> bool {
    let (source, destination) = (packet.source.into(), packet.destination.into());
    TcpRepr::parse(segment, &source, &destination, &ChecksumCapabilities::ignored()).is_ok()
}

fn is_ndp(payload: &[u8]) -> bool {
    const ICMPV6: u8 = 58;
    payload.get(6) == Some(&ICMPV6) && payload.get(40).is_some_and(|kind| NDP_TYPES.contains(kind))
}
