use std::net::{IpAddr, SocketAddr};

use net_core::{Flow, Protocol};
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};

use super::fragments::{Fragment, Place};
use super::icmp::ECHO_REQUESTS;
use super::{Claims, DropReason, Passage};

const V6_HEADER_BYTES: usize = 40;

/// A checked IP packet from the guest, its headers parsed once.
///
/// Lengths are consistent, the source is the guest's and the destination is a unicast address.
pub(crate) struct IpPacket<'f> {
    /// From the IP header to the end the header states; Ethernet padding is cut off.
    pub(crate) bytes: &'f [u8],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) header_bytes: usize,
    /// Routers it may still cross, this one included.
    pub(crate) hop_limit: u8,
    /// Where it belongs if it is a fragment, which none but UDP's is.
    place: Option<Place>,
    may_be_cut: bool,
}

impl<'f> IpPacket<'f> {
    pub(crate) fn parse_v4(payload: &'f [u8], claims: &Claims) -> Result<Self, DropReason> {
        let packet = Ipv4Packet::new_checked(payload).map_err(|_| DropReason::Malformed)?;
        if packet.version() != 4 || packet.header_len() < 20 {
            return Err(DropReason::Malformed);
        }
        if !packet.verify_checksum() {
            return Err(DropReason::Checksum);
        }
        let source = IpAddr::V4(packet.src_addr());
        let destination = packet.dst_addr();
        if !claims.permit(source, destination.into()) {
            return Err(DropReason::Spoofed);
        }
        let place = Place::of_v4(&packet);
        if place.is_some() && packet.next_header() != IpProtocol::Udp {
            return Err(DropReason::Fragment);
        }
        // 0.0.0.0/8, 127.0.0.0/8 and class E never appear as a destination on a wire
        // (RFC 1122, section 3.2.1.3; RFC 1112, section 4); broadcast is part of class E.
        let first = destination.octets()[0];
        if first == 0 || first == 127 || first >= 224 {
            return Err(DropReason::Unroutable);
        }
        if claims.addresses().ipv4.is_some_and(|pair| destination == pair.broadcast()) {
            return Err(DropReason::Unroutable);
        }
        Ok(Self {
            bytes: &payload[..usize::from(packet.total_len())],
            source,
            destination: IpAddr::V4(destination),
            protocol: packet.next_header(),
            header_bytes: usize::from(packet.header_len()),
            hop_limit: packet.hop_limit(),
            place,
            may_be_cut: !packet.dont_frag(),
        })
    }

    pub(crate) fn parse_v6(payload: &'f [u8], claims: &Claims) -> Result<Self, DropReason> {
        let packet = Ipv6Packet::new_checked(payload).map_err(|_| DropReason::Malformed)?;
        if packet.version() != 6 {
            return Err(DropReason::Malformed);
        }
        let source = IpAddr::V6(packet.src_addr());
        let destination = packet.dst_addr();
        if !claims.permit(source, destination.into()) {
            return Err(DropReason::Spoofed);
        }
        if destination.is_multicast() || destination.is_unspecified() || destination.is_loopback() {
            return Err(DropReason::Unroutable);
        }
        // Mapped and compatible addresses are spellings for programs, never seen on a wire; a socket
        // would connect them to IPv4 (RFC 4942, section 2.2).
        if destination.to_ipv4().is_some() {
            return Err(DropReason::Unroutable);
        }
        let (mut protocol, mut header_bytes, mut place) = (packet.next_header(), packet.header_len(), None);
        let bytes = &payload[..packet.total_len()];
        if protocol == IpProtocol::Ipv6Frag {
            let (own, fragment_header_bytes) = Place::of_v6(&bytes[header_bytes..])?;
            place = Some(own);
            protocol = IpProtocol::Udp;
            header_bytes += fragment_header_bytes;
        }
        let (destination, hop_limit) = (IpAddr::V6(destination), packet.hop_limit());
        let may_be_cut = place.is_some();
        Ok(Self { bytes, source, destination, protocol, header_bytes, hop_limit, place, may_be_cut })
    }

    /// How it asks to be carried on.
    pub(crate) fn passage(&self) -> Passage {
        Passage { hops: self.hop_limit.saturating_sub(1), may_be_cut: self.may_be_cut }
    }

    /// Whether it is a fragment that does not begin its datagram.
    pub(crate) fn is_later_fragment(&self) -> bool {
        self.place.is_some_and(|place| place.offset > 0)
    }

    /// What it is a part of, if it is one.
    pub(crate) fn fragment(&self) -> Option<Fragment<'f>> {
        let header_bytes = if self.source.is_ipv4() { self.header_bytes } else { V6_HEADER_BYTES };
        Some(Fragment {
            place: self.place?,
            source: self.source,
            destination: self.destination,
            header: &self.bytes[..header_bytes],
            data: self.payload(),
        })
    }

    pub(crate) fn payload(&self) -> &'f [u8] {
        &self.bytes[self.header_bytes..]
    }

    /// The TCP segment and its flow; `verify` when the frame carries a full checksum.
    pub(crate) fn tcp(&self, verify: bool) -> Result<(Flow, TcpPacket<&'f [u8]>), DropReason> {
        let segment = TcpPacket::new_checked(self.payload()).map_err(|_| DropReason::Malformed)?;
        if segment.src_port() == 0 || segment.dst_port() == 0 {
            return Err(DropReason::Malformed);
        }
        if verify && !segment.verify_checksum(&self.source.into(), &self.destination.into()) {
            return Err(DropReason::Checksum);
        }
        let flow = self.flow(Protocol::Tcp, segment.src_port(), segment.dst_port());
        Ok((flow, segment))
    }

    /// The UDP payload and its flow; `verify` when the frame carries a full checksum.
    pub(crate) fn udp(&self, verify: bool) -> Result<(Flow, &'f [u8]), DropReason> {
        let datagram = UdpPacket::new_checked(self.payload()).map_err(|_| DropReason::Malformed)?;
        if datagram.src_port() == 0 || datagram.dst_port() == 0 {
            return Err(DropReason::Malformed);
        }
        if verify && !datagram.verify_checksum(&self.source.into(), &self.destination.into()) {
            return Err(DropReason::Checksum);
        }
        let flow = self.flow(Protocol::Udp, datagram.src_port(), datagram.dst_port());
        let len = usize::from(datagram.len());
        Ok((flow, &self.payload()[8..len]))
    }

    pub(crate) fn flow(&self, protocol: Protocol, guest_port: u16, upstream_port: u16) -> Flow {
        Flow {
            protocol,
            guest: SocketAddr::new(self.source, guest_port),
            upstream: SocketAddr::new(self.destination, upstream_port),
        }
    }
}

/// The IPv6 packet in `payload` where a link-local source has sent it beyond the link, and is to hear of it.
///
/// A host does so while its other addresses are tentative (RFC 4862, section 5.4). What is not TCP, UDP or a
/// request for an echo is dropped in silence: it may be an error (RFC 4443, section 2.4 (e)).
pub(crate) fn beyond_scope(payload: &[u8]) -> Option<&[u8]> {
    let packet = Ipv6Packet::new_checked(payload).ok().filter(|packet| packet.version() == 6)?;
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    let is_beyond = !destination.is_multicast()
        && !destination.is_unspecified()
        && !destination.is_loopback()
        && !destination.is_unicast_link_local();
    let protocol = packet.next_header();
    let is_told = matches!(protocol, IpProtocol::Tcp | IpProtocol::Udp)
        || protocol == IpProtocol::Icmpv6
            && packet.payload().first().is_some_and(|kind| ECHO_REQUESTS.contains(kind));
    (source.is_unicast_link_local() && is_beyond && is_told).then(|| &payload[..packet.total_len()])
}
