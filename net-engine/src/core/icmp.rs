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
    /// The source address is good on the link alone, and the destination is not there.
    Scope,
}

/// Why a packet of the guest went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Undelivery {
    /// It cannot be delivered.
    Unreachable(Unreachable),
    /// It was to cross fewer routers than there are: what `traceroute` asks for.
    TimeExceeded,
    /// It may not be cut, and a link on its way carries no packets of its size (RFC 1191, RFC 8201).
    TooBig {
        /// The largest that link carries, in bytes.
        mtu: u16,
    },
}

/// An error about a packet of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What happened.
    pub why: Undelivery,
    /// Who says so; `None` for the gateway.
    pub from: Option<IpAddr>,
}

impl From<Unreachable> for Undelivery {
    fn from(why: Unreachable) -> Self {
        Self::Unreachable(why)
    }
}

impl From<Undelivery> for IcmpError {
    fn from(why: Undelivery) -> Self {
        Self { why, from: None }
    }
}

impl From<Unreachable> for IcmpError {
    fn from(why: Unreachable) -> Self {
        Undelivery::from(why).into()
    }
}

impl IcmpError {
    /// The same as the guest is told it, which knows `dialled` as `upstream`, and this host as its gateway.
    #[must_use]
    pub fn seen_as(self, dialled: IpAddr, upstream: IpAddr) -> Self {
        let from = match self.from {
            Some(from) if from == dialled => Some(upstream),
            from => from.filter(|from| !from.is_loopback() && from.is_ipv4() == upstream.is_ipv4()),
        };
        Self { from, why: self.why.seen_as(dialled, upstream) }
    }
}

impl Undelivery {
    /// The same as the guest is told it, whose packets for `upstream` went to `dialled`: a packet is 20 bytes longer over
    /// IPv6 than over IPv4, by its header (RFC 7915, sections 4.2 and 5.2).
    #[must_use]
    pub(crate) fn seen_as(self, dialled: IpAddr, upstream: IpAddr) -> Self {
        const LONGER: u16 = 40 - 20;
        // No link of IPv6 carries less (RFC 8200, section 5).
        const LEAST_V6: u16 = 1_280;
        match self {
            Self::Unreachable(_) | Self::TimeExceeded => self,
            Self::TooBig { mtu } => {
                // A socket of both families has those of IPv4 in the words of IPv6.
                let mtu = match (dialled.to_canonical(), upstream) {
                    (IpAddr::V6(_), IpAddr::V4(_)) => mtu.saturating_sub(LONGER),
                    (IpAddr::V4(_), IpAddr::V6(_)) => mtu.saturating_add(LONGER).max(LEAST_V6),
                    (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => mtu,
                };
                Self::TooBig { mtu }
            }
        }
    }

    /// Type and code (RFC 792, RFC 1812 section 5.2.7.1).
    const fn kind_v4(self) -> (Icmpv4Message, u8) {
        match self {
            Self::Unreachable(why) => (Icmpv4Message::DstUnreachable, why.code_v4()),
            Self::TimeExceeded => (Icmpv4Message::TimeExceeded, 0),
            // Fragmentation needed and DF set.
            Self::TooBig { .. } => (Icmpv4Message::DstUnreachable, 4),
        }
    }

    /// The last two of the four bytes behind the checksum: the others are zero, or all where there is no MTU.
    const fn mtu(self) -> u16 {
        match self {
            Self::Unreachable(_) | Self::TimeExceeded => 0,
            Self::TooBig { mtu } => mtu,
        }
    }

    /// Type and code (RFC 4443, sections 3.1 to 3.3).
    const fn kind_v6(self) -> (Icmpv6Message, u8) {
        match self {
            Self::Unreachable(why) => (Icmpv6Message::DstUnreachable, why.code_v6()),
            Self::TimeExceeded => (Icmpv6Message::TimeExceeded, 0),
            Self::TooBig { .. } => (Icmpv6Message::PktTooBig, 0),
        }
    }
}

impl Unreachable {
    const fn code_v4(self) -> u8 {
        match self {
            // IPv4 knows no scopes.
            Self::Network | Self::Scope => 0,
            Self::Host => 1,
            Self::Port => 3,
            Self::Prohibited => 13,
        }
    }

    const fn code_v6(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Prohibited => 1,
            Self::Scope => 2,
            Self::Host => 3,
            Self::Port => 4,
        }
    }
}

/// Queues an error of `from` about `packet`, an IP packet of the guest.
pub(crate) fn push_error(wire: &mut Wire, from: IpAddr, packet: &[u8], why: Undelivery) {
    match from {
        IpAddr::V4(_) => {
            let Ok(original) = Ipv4Packet::new_checked(packet) else { return };
            let quote = &packet[..packet.len().min(MAX_QUOTE_V4)];
            let (kind, code) = why.kind_v4();
            push_v4(wire, from, original.src_addr().into(), quote, |icmp| {
                icmp.set_msg_type(kind);
                icmp.set_msg_code(code);
                // Where an echo has its sequence number an error has its MTU (RFC 1191, section 4).
                icmp.set_echo_ident(0);
                icmp.set_echo_seq_no(why.mtu());
            });
        }
        IpAddr::V6(_) => {
            let Ok(original) = Ipv6Packet::new_checked(packet) else { return };
            let quote = &packet[..packet.len().min(MAX_QUOTE_V6)];
            let (kind, code) = why.kind_v6();
            push_v6(wire, from, original.src_addr().into(), quote, |icmp| {
                icmp.set_msg_type(kind);
                icmp.set_msg_code(code);
                // RFC 4443, section 3.2: the lower half of the MTU.
                icmp.set_echo_ident(0);
                icmp.set_echo_seq_no(why.mtu());
            });
        }
    }
}

/// Whether `packet` is of ICMP and asks for no echo: no error is ever about it (RFC 1122, section 3.2.2;
/// RFC 4443, section 2.4).
pub(crate) fn is_error(packet: &IpPacket<'_>) -> bool {
    let is_icmp = matches!(packet.protocol, IpProtocol::Icmp | IpProtocol::Icmpv6);
    is_icmp && !packet.payload().first().is_some_and(|kind| ECHO_REQUESTS.contains(kind))
}

/// An echo request of the guest (RFC 792; RFC 4443, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo<'f> {
    pub(crate) ident: u16,
    pub(crate) sequence: u16,
    pub(crate) data: &'f [u8],
}

impl<'f> Echo<'f> {
    /// The sound echo request in `packet`, if that is what it is.
    pub(crate) fn request_in(packet: &IpPacket<'f>) -> Option<Self> {
        let bytes = packet.payload();
        let is_sound = match (packet.source, packet.destination) {
            (IpAddr::V4(_), _) => Icmpv4Packet::new_checked(bytes)
                .is_ok_and(|icmp| icmp.msg_type() == Icmpv4Message::EchoRequest && icmp.verify_checksum()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Icmpv6Packet::new_checked(bytes).is_ok_and(|icmp| {
                    icmp.msg_type() == Icmpv6Message::EchoRequest
                        && icmp.verify_checksum(&source, &destination)
                })
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        };
        let (header, data) = bytes.split_first_chunk::<HEADER_BYTES>().filter(|_| is_sound)?;
        let [_, 0, _, _, id0, id1, seq0, seq1] = *header else { return None };
        let [ident, sequence] = [[id0, id1], [seq0, seq1]].map(u16::from_be_bytes);
        Some(Self { ident, sequence, data })
    }

    /// The message by which a host asks for this echo, with an identifier of its own; its checksum is the
    /// kernel's to fill in.
    pub(crate) fn message(&self, is_v6: bool, message: &mut Vec<u8>) {
        const REQUEST_V4: u8 = 8;
        const REQUEST_V6: u8 = 128;
        let ([id0, id1], [seq0, seq1]) = (self.ident.to_be_bytes(), self.sequence.to_be_bytes());
        message.clear();
        message.extend_from_slice(&[
            if is_v6 { REQUEST_V6 } else { REQUEST_V4 },
            0,
            0,
            0,
            id0,
            id1,
            seq0,
            seq1,
        ]);
        message.extend_from_slice(self.data);
    }

    /// The identifier of a message that asks for an echo or is one.
    pub(crate) fn ident_of(bytes: &[u8]) -> Option<u16> {
        let [_, _, _, _, id0, id1, ..] = *bytes.first_chunk::<HEADER_BYTES>()?;
        Some(u16::from_be_bytes([id0, id1]))
    }

    /// What a host has received as the reply to such a message, or sent as one: sequence number and data.
    pub(crate) fn of_message(bytes: &'f [u8], kinds: [u8; 2]) -> Option<(u16, &'f [u8])> {
        let (header, data) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [kind, 0, _, _, _, _, seq0, seq1] = *header else { return None };
        kinds.contains(&kind).then(|| (u16::from_be_bytes([seq0, seq1]), data))
    }
}

/// The sound message in a packet as a raw socket of IPv4 receives it: the kernel has looked at its IP header alone (raw(7)).
pub(crate) fn icmp_in_packet_v4(packet: &[u8]) -> Option<&[u8]> {
    let header = Ipv4Packet::new_checked(packet).ok()?;
    let message = packet.get(header.header_len().into()..header.total_len().into())?;
    Icmpv4Packet::new_checked(message).is_ok_and(|icmp| icmp.verify_checksum()).then_some(message)
}

/// Fills in the checksum of a message.
pub(crate) fn fill_checksum_v4(message: &mut [u8]) {
    if let Ok(mut icmp) = Icmpv4Packet::new_checked(message) {
        icmp.fill_checksum();
    }
}

/// Types of messages that ask for an echo and that are one, of both versions.
pub(crate) const ECHO_REQUESTS: [u8; 2] = [8, 128];
pub(crate) const ECHO_REPLIES: [u8; 2] = [0, 129];

/// Queues the reply of `from` to an echo request of the guest at `to`.
pub(crate) fn push_echo_reply(wire: &mut Wire, from: IpAddr, to: IpAddr, echo: &Echo<'_>) {
    if from.is_ipv4() {
        push_v4(wire, from, to, echo.data, |icmp| {
            icmp.set_msg_type(Icmpv4Message::EchoReply);
            icmp.set_msg_code(0);
            icmp.set_echo_ident(echo.ident);
            icmp.set_echo_seq_no(echo.sequence);
        });
    } else {
        push_v6(wire, from, to, echo.data, |icmp| {
            icmp.set_msg_type(Icmpv6Message::EchoReply);
            icmp.set_msg_code(0);
            icmp.set_echo_ident(echo.ident);
            icmp.set_echo_seq_no(echo.sequence);
        });
    }
}

/// The packet in which the guest has asked for an echo, as far as an error quotes it.
pub(crate) fn asked_by_guest(guest: IpAddr, upstream: IpAddr, echo: &Echo<'_>) -> Vec<u8> {
    let (is_v6, hop_limit) = (upstream.is_ipv6(), HOP_LIMIT);
    let mut message = Vec::new();
    echo.message(is_v6, &mut message);
    let payload_len = message.len();
    let mut packet;
    match (guest, upstream) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let next_header = IpProtocol::Icmp;
            let header = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            packet = vec![0; header.buffer_len()];
            packet.extend_from_slice(&message);
            header.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &Default::default());
            Icmpv4Packet::new_unchecked(&mut packet[header.buffer_len()..]).fill_checksum();
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let next_header = IpProtocol::Icmpv6;
            let header = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            packet = vec![0; header.buffer_len()];
            packet.extend_from_slice(&message);
            header.emit(&mut Ipv6Packet::new_unchecked(&mut packet[..]));
            Icmpv6Packet::new_unchecked(&mut packet[header.buffer_len()..])
                .fill_checksum(&src_addr, &dst_addr);
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => packet = Vec::new(),
    }
    packet
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
