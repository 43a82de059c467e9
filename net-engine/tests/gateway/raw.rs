//! Frames written byte by byte: what no stack would send.

use std::net::{IpAddr, SocketAddr};

use net_engine::core::{GuestAddresses, MacAddress};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    UdpPacket, UdpRepr,
};

pub(crate) const ETHERNET_BYTES: usize = 14;
pub(crate) const GUEST_PORT: u16 = 40_000;

/// A segment of the guest, before it is bytes.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) from_port: u16,
    pub(crate) control: TcpControl,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) window: u16,
    pub(crate) payload: &'a [u8],
}

impl Segment<'_> {
    pub(crate) fn syn(to: SocketAddr) -> Self {
        let control = TcpControl::Syn;
        Self { to, from_port: GUEST_PORT, control, seq: 1_000, ack: None, window: 60_000, payload: &[] }
    }

    pub(crate) fn frame(self, addresses: &GuestAddresses) -> Vec<u8> {
        let (source, destination) = (guest_ip(addresses, self.to), IpAddress::from(self.to.ip()));
        let segment = TcpRepr {
            src_port: self.from_port,
            dst_port: self.to.port(),
            control: self.control,
            seq_number: seq(self.seq),
            ack_number: self.ack.map(seq),
            window_len: self.window,
            window_scale: None,
            max_seg_size: (self.control == TcpControl::Syn).then_some(1460),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: self.payload,
        };
        let header = IpRepr::new(source, destination, IpProtocol::Tcp, segment.buffer_len(), 64);
        let sums = ChecksumCapabilities::default();
        let mut frame = ethernet(addresses, &header);
        let packet = &mut frame[ETHERNET_BYTES..];
        header.emit(&mut *packet, &sums);
        let mut tcp = TcpPacket::new_unchecked(&mut packet[header.header_len()..]);
        segment.emit(&mut tcp, &source, &destination, &sums);
        frame
    }
}

pub(crate) fn datagram(addresses: &GuestAddresses, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (guest_ip(addresses, to), IpAddress::from(to.ip()));
    let datagram = UdpRepr { src_port: GUEST_PORT, dst_port: to.port() };
    let len = datagram.header_len() + payload.len();
    let header = IpRepr::new(source, destination, IpProtocol::Udp, len, 64);
    let sums = ChecksumCapabilities::default();
    let mut frame = ethernet(addresses, &header);
    let packet = &mut frame[ETHERNET_BYTES..];
    header.emit(&mut *packet, &sums);
    let mut udp = UdpPacket::new_unchecked(&mut packet[header.header_len()..]);
    let fill = |room: &mut [u8]| room.copy_from_slice(payload);
    datagram.emit(&mut udp, &source, &destination, payload.len(), fill, &sums);
    frame
}

/// An echo request.
pub(crate) fn ping(addresses: &GuestAddresses, to: IpAddr, data: &[u8]) -> Vec<u8> {
    let at = SocketAddr::new(to, 0);
    let (source, destination) = (guest_ip(addresses, at), IpAddress::from(to));
    let protocol = if to.is_ipv4() { IpProtocol::Icmp } else { IpProtocol::Icmpv6 };
    let header = IpRepr::new(source, destination, protocol, 8 + data.len(), 64);
    let sums = ChecksumCapabilities::default();
    let mut frame = ethernet(addresses, &header);
    let packet = &mut frame[ETHERNET_BYTES..];
    header.emit(&mut *packet, &sums);
    let message = &mut packet[header.header_len()..];
    message[0] = if to.is_ipv4() { 8 } else { 128 };
    message[4..8].copy_from_slice(&[0x12, 0x34, 0, 1]);
    message[8..].copy_from_slice(data);
    match (source, destination) {
        (IpAddress::Ipv6(source), IpAddress::Ipv6(destination)) => {
            smoltcp::wire::Icmpv6Packet::new_unchecked(message).fill_checksum(&source, &destination);
        }
        (IpAddress::Ipv4(_), _) | (IpAddress::Ipv6(_), IpAddress::Ipv4(_)) => {
            smoltcp::wire::Icmpv4Packet::new_unchecked(message).fill_checksum();
        }
    }
    frame
}

/// Mends the checksums of a frame whose headers were changed, so that only the change is wrong.
pub(crate) fn mend(frame: &mut [u8]) {
    let packet = &mut frame[ETHERNET_BYTES..];
    if packet[0] >> 4 == 6 {
        let header = Ipv6Packet::new_unchecked(&*packet);
        let (source, destination) = (header.src_addr(), header.dst_addr());
        let protocol = header.next_header();
        fill_transport(&mut packet[40..], protocol, source.into(), destination.into());
    } else {
        let mut header = Ipv4Packet::new_unchecked(&mut *packet);
        header.fill_checksum();
        let (source, destination) = (header.src_addr(), header.dst_addr());
        let (start, protocol) = (usize::from(header.header_len()), header.next_header());
        fill_transport(&mut packet[start..], protocol, source.into(), destination.into());
    }
}

fn fill_transport(payload: &mut [u8], protocol: IpProtocol, source: IpAddress, destination: IpAddress) {
    if protocol == IpProtocol::Tcp {
        TcpPacket::new_unchecked(payload).fill_checksum(&source, &destination);
    } else if protocol == IpProtocol::Udp
        && let Ok(mut udp) = UdpPacket::new_checked(payload)
    {
        udp.fill_checksum(&source, &destination);
    }
}

/// The TCP segment of a frame to the guest.
pub(crate) fn tcp_of(frame: &[u8]) -> Option<TcpPacket<&[u8]>> {
    let packet = &frame[ETHERNET_BYTES..];
    let (protocol, payload) = if packet[0] >> 4 == 6 {
        (Ipv6Packet::new_unchecked(packet).next_header(), &packet[40..])
    } else {
        let header = Ipv4Packet::new_unchecked(packet);
        (header.next_header(), &packet[usize::from(header.header_len())..])
    };
    (protocol == IpProtocol::Tcp).then(|| TcpPacket::new_unchecked(payload))
}

/// Protocol, ICMP type and ICMP code of a frame to the guest.
pub(crate) fn icmp_of(frame: &[u8]) -> Option<(u8, u8, u8)> {
    let packet = frame.get(ETHERNET_BYTES..)?;
    let (protocol, start) = if packet[0] >> 4 == 6 { (packet[6], 40) } else { (packet[9], 20) };
    ((protocol == 1 || protocol == 58) && is_ip(frame)).then(|| (protocol, packet[start], packet[start + 1]))
}

fn is_ip(frame: &[u8]) -> bool {
    matches!(frame[12..14], [0x08, 0x00] | [0x86, 0xdd])
}

fn ethernet(addresses: &GuestAddresses, header: &IpRepr) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET_BYTES + header.buffer_len()];
    set_macs(&mut frame, addresses.gateway_mac, addresses.guest_mac);
    let is_v6 = matches!(header, IpRepr::Ipv6(_));
    frame[12..14].copy_from_slice(if is_v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
    frame
}

pub(crate) fn set_macs(frame: &mut [u8], destination: MacAddress, source: MacAddress) {
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
}

fn guest_ip(addresses: &GuestAddresses, towards: SocketAddr) -> IpAddress {
    if towards.is_ipv4() {
        IpAddr::V4(addresses.ipv4.expect("both families").guest).into()
    } else {
        IpAddr::V6(addresses.ipv6.expect("both families").guest).into()
    }
}

fn seq(number: u32) -> TcpSeqNumber {
    TcpSeqNumber(i32::from_ne_bytes(number.to_ne_bytes()))
}

/// The fragments of a frame, with as much of its payload each.
pub(crate) fn cut(frame: &[u8], piece_bytes: usize, id: u16) -> Vec<Vec<u8>> {
    let is_v6 = frame[ETHERNET_BYTES] >> 4 == 6;
    let (headers, payload) = frame.split_at(ETHERNET_BYTES + if is_v6 { 40 } else { 20 });
    let pieces = payload.len().div_ceil(piece_bytes);
    let cut = payload.chunks(piece_bytes).enumerate().map(|(index, piece)| {
        let (offset, is_last) = (u16::try_from(index * piece_bytes).unwrap(), index + 1 == pieces);
        let mut fragment = headers.to_vec();
        let packet = &mut fragment[ETHERNET_BYTES..];
        if is_v6 {
            let next_header = std::mem::replace(&mut packet[6], 44);
            packet[4..6].copy_from_slice(&u16::try_from(8 + piece.len()).unwrap().to_be_bytes());
            fragment.extend_from_slice(&[next_header, 0]);
            fragment.extend_from_slice(&(offset | u16::from(!is_last)).to_be_bytes());
            fragment.extend_from_slice(&u32::from(id).to_be_bytes());
        } else {
            let mut packet = Ipv4Packet::new_unchecked(packet);
            packet.set_total_len(u16::try_from(20 + piece.len()).unwrap());
            packet.set_ident(id);
            packet.set_dont_frag(false);
            packet.set_more_frags(!is_last);
            packet.set_frag_offset(offset);
            packet.fill_checksum();
        }
        fragment.extend_from_slice(piece);
        fragment
    });
    cut.collect()
}
