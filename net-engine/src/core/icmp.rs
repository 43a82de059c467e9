//! ICMP: errors to the guest, and the gateway's own echo replies (RFC 792, RFC 4443).

use std::net::IpAddr;

use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet,
    Ipv6Repr,
};

use super::device::Wire;
use super::ethernet::EtherType;
use super::ingress::IpPacket;
use crate::link::FrameMeta;

/// Bytes of an ICMP header before the data.
const HEADER_BYTES: usize = 8;

/// An IPv4 error quotes at most this much, to stay within 576 bytes (RFC 1812, section 4.3.2.3).
const MAX_QUOTE_V4: usize = 576 - 20 - HEADER_BYTES;

/// An IPv6 error stays within the minimum MTU (RFC 4443, section 2.4 (c)).
const MAX_QUOTE_V6: usize = 1_280 - 40 - HEADER_BYTES;

const HOP_LIMIT: u8 = 64;

/// Why a packet of the guest was not delivered, in the words of both ICMP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unreachable {
    /// No route to the destination.
    Network,
    /// The destination does not answer.
    Host,
    /// Nothing listens on the port.
    Port,
    /// A policy forbids it.
    Prohibited,
}

impl Unreachable {
    /// Codes of type 3 (RFC 792, RFC 1812 section 5.2.7.1).
    const fn code_v4(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Host => 1,
            Self::Port => 3,
            Self::Prohibited => 13,
        }
    }

    /// Codes of type 1 (RFC 4443, section 3.1).
    const fn code_v6(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Prohibited => 1,
            Self::Host => 3,
            Self::Port => 4,
        }
    }
}

/// Queues a destination-unreachable error about `packet`, an IP packet of the guest.
pub(crate) fn push_unreachable(wire: &mut Wire, gateway: IpAddr, packet: &[u8], why: Unreachable) {
    match gateway {
        IpAddr::V4(_) => {
            let Ok(original) = Ipv4Packet::new_checked(packet) else { return };
            let quote = &packet[..packet.len().min(MAX_QUOTE_V4)];
            push_v4(wire, gateway, original.src_addr().into(), quote, |icmp| {
                icmp.set_msg_type(Icmpv4Message::DstUnreachable);
                icmp.set_msg_code(why.code_v4());
                // The four bytes after the checksum are unused and zero.
                icmp.set_echo_ident(0);
                icmp.set_echo_seq_no(0);
            });
        }
        IpAddr::V6(_) => {
            let Ok(original) = Ipv6Packet::new_checked(packet) else { return };
            let quote = &packet[..packet.len().min(MAX_QUOTE_V6)];
            push_v6(wire, gateway, original.src_addr().into(), quote, |icmp| {
                icmp.set_msg_type(Icmpv6Message::DstUnreachable);
                icmp.set_msg_code(why.code_v6());
                icmp.set_echo_ident(0);
                icmp.set_echo_seq_no(0);
            });
        }
    }
}

/// Whether `packet`, an ICMP packet of either family, asks for an echo.
pub(crate) fn is_echo_request(packet: &IpPacket<'_>) -> bool {
    match packet.destination {
        IpAddr::V4(_) => Icmpv4Packet::new_checked(packet.payload())
            .is_ok_and(|icmp| icmp.msg_type() == Icmpv4Message::EchoRequest),
        IpAddr::V6(_) => Icmpv6Packet::new_checked(packet.payload())
            .is_ok_and(|icmp| icmp.msg_type() == Icmpv6Message::EchoRequest),
    }
}

/// Queues the reply when `packet` is a sound echo request; whether it was one.
pub(crate) fn push_echo_reply(wire: &mut Wire, packet: &IpPacket<'_>) -> bool {
    match packet.destination {
        IpAddr::V4(_) => {
            let Ok(request) = Icmpv4Packet::new_checked(packet.payload()) else { return false };
            if request.msg_type() != Icmpv4Message::EchoRequest || !request.verify_checksum() {
                return false;
            }
            let (ident, sequence) = (request.echo_ident(), request.echo_seq_no());
            push_v4(wire, packet.destination, packet.source, request.data(), |icmp| {
                icmp.set_msg_type(Icmpv4Message::EchoReply);
                icmp.set_msg_code(0);
                icmp.set_echo_ident(ident);
                icmp.set_echo_seq_no(sequence);
            });
        }
        IpAddr::V6(destination) => {
            let Ok(request) = Icmpv6Packet::new_checked(packet.payload()) else { return false };
            let IpAddr::V6(source) = packet.source else { return false };
            if request.msg_type() != Icmpv6Message::EchoRequest
                || !request.verify_checksum(&source, &destination)
            {
                return false;
            }
            let (ident, sequence) = (request.echo_ident(), request.echo_seq_no());
            push_v6(wire, packet.destination, packet.source, request.payload(), |icmp| {
                icmp.set_msg_type(Icmpv6Message::EchoReply);
                icmp.set_msg_code(0);
                icmp.set_echo_ident(ident);
                icmp.set_echo_seq_no(sequence);
            });
        }
    }
    true
}

fn push_v4(
    wire: &mut Wire,
    source: IpAddr,
    destination: IpAddr,
    data: &[u8],
    set: impl FnOnce(&mut Icmpv4Packet<&mut [u8]>),
) {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else { return };
    let header = Ipv4Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Icmp,
        payload_len: HEADER_BYTES + data.len(),
        hop_limit: HOP_LIMIT,
    };
    wire.push(EtherType::Ipv4, header.buffer_len() + header.payload_len, |packet| {
        header.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), &Default::default());
        let mut icmp = Icmpv4Packet::new_unchecked(&mut packet[header.buffer_len()..]);
        set(&mut icmp);
        icmp.data_mut().copy_from_slice(data);
        icmp.fill_checksum();
        (FrameMeta::default(), ())
    });
}

fn push_v6(
    wire: &mut Wire,
    source: IpAddr,
    destination: IpAddr,
    data: &[u8],
    set: impl FnOnce(&mut Icmpv6Packet<&mut [u8]>),
) {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) else { return };
    let header = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Icmpv6,
        payload_len: HEADER_BYTES + data.len(),
        hop_limit: HOP_LIMIT,
    };
    wire.push(EtherType::Ipv6, header.buffer_len() + header.payload_len, |packet| {
        header.emit(&mut Ipv6Packet::new_unchecked(&mut *packet));
        let mut icmp = Icmpv6Packet::new_unchecked(&mut packet[header.buffer_len()..]);
        set(&mut icmp);
        icmp.payload_mut().copy_from_slice(data);
        icmp.fill_checksum(&source, &destination);
        (FrameMeta::default(), ())
    });
}
