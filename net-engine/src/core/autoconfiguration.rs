use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

use net_core::HostName;
use smoltcp::wire::{DhcpPacket, IpProtocol, Ipv4Packet, UdpPacket};

use super::ethernet::EtherType;
use super::gateway::{Gateway, Ingress};
use super::{DropReason, Ipv4Pair, dhcp, router, udp};
use crate::link::{Checksum, FrameMeta};

/// What a guest learns about its network by asking: its addresses, its router, its resolver, the MTU.
///
/// With it the gateway is a DHCP server and advertises itself as a router, so that an untouched image
/// finds its network. The guest may then choose its IPv6 addresses itself where its prefix is a /64,
/// which no other guest has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Autoconfiguration {
    /// The domain in which the guest looks up names of one label.
    pub search_domain: Option<HostName>,
}

/// Whether an IPv4 packet is for a DHCP server on the link, as far as can be said of what was not checked.
pub(crate) fn is_dhcp(payload: &[u8], pair: Ipv4Pair) -> bool {
    let Ok(packet) = Ipv4Packet::new_checked(payload) else { return false };
    let destination = packet.dst_addr();
    let is_for_server =
        destination.is_broadcast() || destination == pair.gateway || destination == pair.broadcast();
    is_for_server
        && packet.next_header() == IpProtocol::Udp
        && !packet.more_frags()
        && packet.frag_offset() == 0
        && UdpPacket::new_checked(packet.payload()).is_ok_and(|udp| udp.dst_port() == dhcp::SERVER_PORT)
}

impl Gateway {
    /// Answers a client of DHCP, which has no address yet or the guest's.
    pub(super) fn handle_dhcp<'f>(
        &mut self,
        meta: &FrameMeta,
        payload: &[u8],
        pair: Ipv4Pair,
    ) -> Result<Ingress<'f>, DropReason> {
        let packet = Ipv4Packet::new_checked(payload).map_err(|_| DropReason::Malformed)?;
        if packet.version() != 4 || packet.header_len() < 20 {
            return Err(DropReason::Malformed);
        }
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        let datagram = UdpPacket::new_checked(packet.payload()).map_err(|_| DropReason::Malformed)?;
        let is_sound = packet.verify_checksum()
            && (meta.checksum != Checksum::Full
                || datagram.verify_checksum(&source.into(), &destination.into()));
        if !is_sound {
            return Err(DropReason::Checksum);
        }
        if !source.is_unspecified() && source != pair.guest {
            return Err(DropReason::Spoofed);
        }
        let Some(autoconfiguration) = &self.autoconfiguration else { return Err(DropReason::Unroutable) };
        let terms = dhcp::Terms {
            guest_mac: self.addresses.guest_mac,
            pair,
            mtu: self.wire.link.mtu,
            search_domain: autoconfiguration.search_domain.as_ref(),
        };
        let message = DhcpPacket::new_checked(datagram.payload()).map_err(|_| DropReason::Malformed)?;
        if let Some(reply) = dhcp::parse(&message, &terms)? {
            let mut message = [0; dhcp::REPLY_BYTES];
            dhcp::emit(&mut message, &reply, &terms);
            let from = SocketAddr::from((pair.gateway, dhcp::SERVER_PORT));
            let to = SocketAddr::from((reply.destination, dhcp::CLIENT_PORT));
            udp::push_datagram(&mut self.wire, from, to, &message);
        }
        Ok(Ingress::Handled)
    }

    /// Answers a router solicitation.
    pub(super) fn handle_router_solicitation(&mut self, asker: Ipv6Addr, now: Instant) {
        if self.autoconfiguration.is_some() {
            self.advertiser.handle_solicitation(now);
            self.push_router_advertisement(Some(asker));
        }
    }

    /// Says again who the router is, to a guest that has asked once.
    pub(super) fn advertise_router(&mut self, now: Instant) {
        // Where there is no room the next time is soon enough: it is said long before it expires.
        if self.advertiser.handle_timeout(now) && !self.wire.queue.is_full() {
            self.push_router_advertisement(None);
        }
    }

    fn push_router_advertisement(&mut self, asker: Option<Ipv6Addr>) {
        let (Some(autoconfiguration), Some(pair)) = (&self.autoconfiguration, self.addresses.ipv6) else {
            return;
        };
        let terms = router::Terms {
            gateway_mac: self.addresses.gateway_mac,
            pair,
            mtu: self.wire.link.mtu,
            search_domain: autoconfiguration.search_domain.as_ref(),
        };
        self.wire.push(EtherType::Ipv6, router::packet_bytes(&terms), |packet| {
            router::emit(packet, asker, &terms);
            (FrameMeta::default(), ())
        });
    }
}
