//! UDP towards the guest (RFC 768).

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, UdpPacket};

use super::device::Wire;
use super::ethernet::EtherType;
use crate::link::FrameMeta;

const HEADER_BYTES: usize = 8;
const HOP_LIMIT: u8 = 64;

/// The largest payload that fits one packet on a link of this MTU.
pub(crate) fn max_payload_bytes(mtu: u16, is_v6: bool) -> usize {
    let headers = HEADER_BYTES + if is_v6 { 40 } else { 20 };
    usize::from(mtu).saturating_sub(headers)
}

/// Queues a datagram; the caller has checked that it fits the MTU and the queue.
pub(crate) fn push_datagram(wire: &mut Wire, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
    let udp_bytes = HEADER_BYTES + payload.len();
    let emit_udp = |packet: &mut [u8]| {
        let mut udp = UdpPacket::new_unchecked(packet);
        udp.set_src_port(source.port());
        udp.set_dst_port(destination.port());
        udp.set_len(u16::try_from(udp_bytes).unwrap_or(u16::MAX));
        udp.payload_mut().copy_from_slice(payload);
        udp.fill_checksum(&source.ip().into(), &destination.ip().into());
        (FrameMeta::default(), ())
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let header = Ipv4Repr {
                src_addr,
                dst_addr,
                next_header: IpProtocol::Udp,
                payload_len: udp_bytes,
                hop_limit: HOP_LIMIT,
            };
            wire.push(EtherType::Ipv4, header.buffer_len() + udp_bytes, |packet| {
                header.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), &Default::default());
                emit_udp(&mut packet[header.buffer_len()..])
            });
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let header = Ipv6Repr {
                src_addr,
                dst_addr,
                next_header: IpProtocol::Udp,
                payload_len: udp_bytes,
                hop_limit: HOP_LIMIT,
            };
            wire.push(EtherType::Ipv6, header.buffer_len() + udp_bytes, |packet| {
                header.emit(&mut Ipv6Packet::new_unchecked(&mut *packet));
                emit_udp(&mut packet[header.buffer_len()..])
            });
        }
        // Both ends come from one packet of the guest, so the families agree.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
}
