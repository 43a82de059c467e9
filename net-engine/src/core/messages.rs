//! What the guest is sent besides its streams: datagrams, echoes, and errors about what it has sent itself.

use std::net::{IpAddr, SocketAddr};

use net_core::Flow;

use super::gateway::Gateway;
use super::{Echo, IcmpError, icmp, udp};

impl Gateway {
    /// Sends a UDP datagram to the guest, in fragments where it does not fit one packet; whether there
    /// was room for it.
    ///
    /// A payload above 65,507 bytes (IPv6: 65,527) is never sent.
    #[must_use]
    pub fn push_datagram(&mut self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> bool {
        let is_v6 = destination.is_ipv6();
        if !self.wire.queue.takes_datagram() || payload.len() > udp::max_fragmented_bytes(is_v6) {
            return false;
        }
        if payload.len() <= self.max_datagram_bytes(is_v6) {
            udp::push_offloaded(&mut self.wire, source, destination, payload);
        } else {
            self.fragmenter.push_datagram(&mut self.wire, source, destination, payload);
        }
        true
    }

    /// Lets datagrams to the guest share a frame where they follow each other: its link cuts them apart again. Without
    /// effect on links without offload.
    pub fn join_datagrams(&mut self) {
        self.wire.joins_datagrams = self.wire.link.offload;
    }

    /// Whether there is room for a few datagrams: whoever receives them may go on.
    pub fn has_room_for_datagrams(&self) -> bool {
        self.wire.queue.has_room_for_datagrams()
    }

    /// Tells the guest that the datagram in which it sent `payload` was not delivered, as
    /// [`push_unreachable`](Self::push_unreachable) does where the packet is still there.
    pub fn push_undelivered(&mut self, flow: &Flow, payload: &[u8], error: IcmpError) {
        let payload = &payload[..payload.len().min(udp::max_fragmented_bytes(false))];
        self.push_error(&udp::sent_by_guest(flow, payload), error);
    }

    /// Sends the echo to the guest that it has asked for with this sequence number; whether there was room
    /// for it. One that fits no packet is never sent: what the guest asked for did.
    #[must_use]
    pub fn push_echo(&mut self, flow: &Flow, sequence: u16, data: &[u8]) -> bool {
        // Their headers are as long as those of UDP.
        if !self.wire.queue.takes_datagram() || data.len() > self.max_datagram_bytes(flow.guest.is_ipv6()) {
            return false;
        }
        let echo = Echo { ident: flow.guest.port(), sequence, data };
        icmp::push_echo_reply(&mut self.wire, flow.upstream.ip(), flow.guest.ip(), &echo);
        true
    }

    /// Tells the guest that there will be no echo, as [`push_undelivered`](Self::push_undelivered) does of
    /// datagrams.
    pub fn push_no_echo(&mut self, flow: &Flow, sequence: u16, data: &[u8], error: IcmpError) {
        let data = &data[..data.len().min(udp::max_fragmented_bytes(false))];
        let echo = Echo { ident: flow.guest.port(), sequence, data };
        self.push_error(&icmp::asked_by_guest(flow.guest.ip(), flow.upstream.ip(), &echo), error);
    }

    /// The largest UDP payload that reaches the guest in one packet.
    pub fn max_datagram_bytes(&self, is_v6: bool) -> usize {
        udp::max_payload_bytes(self.wire.link.mtu, is_v6)
    }

    /// Tells the guest that `packet`, an IP packet of its own, was not delivered.
    ///
    /// Nothing is sent while the queue is full, nor above
    /// [`Limits::icmp_errors_per_second`](net_core::Limits::icmp_errors_per_second): an error is advice, not data.
    /// Either is counted.
    pub fn push_unreachable(&mut self, packet: &[u8], why: impl Into<IcmpError>) {
        self.push_error(packet, why.into());
    }

    pub(super) fn push_error(&mut self, packet: &[u8], error: IcmpError) {
        let is_v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let gateway = if is_v6 {
            self.addresses.ipv6.map(|pair| IpAddr::V6(pair.gateway))
        } else {
            self.addresses.ipv4.map(|pair| IpAddr::V4(pair.gateway))
        };
        let from = error.from.filter(|from| from.is_ipv6() == is_v6).or(gateway);
        let Some(from) = from else { return };
        if self.wire.queue.is_full() {
            self.wire.counters.icmp_errors_lost += 1;
        } else if self.refusals.may_tell(self.latest) {
            icmp::push_error(&mut self.wire, from, packet, error.why);
        } else {
            self.wire.counters.icmp_errors_withheld += 1;
        }
    }
}
