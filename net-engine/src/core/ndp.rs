//! Neighbour discovery for IPv6 (RFC 4861): the gateway answers for itself and for nobody else.

use std::net::{IpAddr, Ipv6Addr};

use smoltcp::wire::{Icmpv6Packet, IpProtocol, Ipv6Packet, Ipv6Repr};

use super::{Claims, DropReason, GuestAddresses};

/// All-nodes multicast (RFC 4291, section 2.7.1): where a duplicate-address probe is answered.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// RFC 4861 requires a hop limit of 255 of every message: proof that it crossed no router.
const HOP_LIMIT: u8 = 255;

const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// Header, reserved word and target of both messages (RFC 4861, sections 4.3 and 4.4).
const MESSAGE_BYTES: usize = 24;

/// The fixed part of a router solicitation (section 4.1).
const SOLICITATION_BYTES: usize = 8;

const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

/// A link-layer address option for Ethernet, whose length is counted in units of 8 bytes.
const OPTION_BYTES: usize = 8;

/// Flags of an advertisement: router, solicited, override.
const ROUTER_OVERRIDE: u8 = 0b1010_0000;
const SOLICITED: u8 = 0b0100_0000;

/// Bytes of the whole IPv6 packet: header, advertisement, one link-layer address option.
pub(crate) const ADVERTISEMENT_BYTES: usize = 40 + MESSAGE_BYTES + OPTION_BYTES;

/// What the guest asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Who has an address of ours.
    Neighbor(Solicitation),
    /// Who the router is.
    Router {
        /// Unspecified while the guest has no address.
        sender: Ipv6Addr,
    },
}

/// A solicitation for the gateway's address that the guest is entitled to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Solicitation {
    target: Ipv6Addr,
    /// Unspecified when the guest probes for a duplicate.
    sender: Ipv6Addr,
}

/// What to do with an ICMPv6 packet of the guest that is neighbour discovery.
///
/// `Ok(None)` needs no answer: another address, or a kind that only routers and hosts care for.
pub(crate) fn parse(packet: &Ipv6Packet<&[u8]>, claims: &Claims) -> Result<Option<Asked>, DropReason> {
    let addresses = claims.addresses();
    let message = packet.payload();
    let icmp = Icmpv6Packet::new_checked(message).map_err(|_| DropReason::Malformed)?;
    let sender = packet.src_addr();
    if packet.hop_limit() != HOP_LIMIT || message.get(1) != Some(&0) {
        return Err(DropReason::Malformed);
    }
    if !icmp.verify_checksum(&sender, &packet.dst_addr()) {
        return Err(DropReason::Checksum);
    }
    // See `Claims::permit` about link-local addresses.
    let is_own = claims.is_guest(IpAddr::V6(sender)) || sender.is_unicast_link_local();
    if !is_own && !sender.is_unspecified() {
        return Err(DropReason::Spoofed);
    }
    match message.first() {
        Some(&NEIGHBOR_SOLICITATION) => {}
        Some(&ROUTER_SOLICITATION) => {
            let options = message.get(SOLICITATION_BYTES..).ok_or(DropReason::Malformed)?;
            if source_link_layer_address(options)?.is_some_and(|mac| mac != addresses.guest_mac.0) {
                return Err(DropReason::Spoofed);
            }
            return Ok(Some(Asked::Router { sender }));
        }
        _ => return Ok(None),
    }
    let (fixed, options) = message.split_first_chunk::<MESSAGE_BYTES>().ok_or(DropReason::Malformed)?;
    let Some(target) = fixed.last_chunk::<16>() else { return Err(DropReason::Malformed) };
    if source_link_layer_address(options)?.is_some_and(|mac| mac != addresses.guest_mac.0) {
        return Err(DropReason::Spoofed);
    }
    let target = Ipv6Addr::from_octets(*target);
    let is_ours = addresses.is_gateway(IpAddr::V6(target));
    Ok(is_ours.then_some(Asked::Neighbor(Solicitation { target, sender })))
}

/// Walks the options; each is type, length in units of 8 bytes, value.
fn source_link_layer_address(mut options: &[u8]) -> Result<Option<[u8; 6]>, DropReason> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let bytes = usize::from(units) * 8;
        // A length of zero would never end (RFC 4861, section 4.6).
        if bytes == 0 || options.len() < bytes {
            return Err(DropReason::Malformed);
        }
        if kind == SOURCE_LINK_LAYER_ADDRESS
            && let Some(mac) = options[2..bytes].first_chunk::<6>()
        {
            found = Some(*mac);
        }
        options = &options[bytes..];
    }
    Ok(found)
}

/// Writes the advertisement, IPv6 header included, into `packet` of [`ADVERTISEMENT_BYTES`].
pub(crate) fn emit_advertisement(packet: &mut [u8], asked: Solicitation, addresses: &GuestAddresses) {
    let (destination, flags) = if asked.sender.is_unspecified() {
        (ALL_NODES, ROUTER_OVERRIDE)
    } else {
        (asked.sender, ROUTER_OVERRIDE | SOLICITED)
    };
    let header = Ipv6Repr {
        src_addr: asked.target,
        dst_addr: destination,
        next_header: IpProtocol::Icmpv6,
        payload_len: MESSAGE_BYTES + OPTION_BYTES,
        hop_limit: HOP_LIMIT,
    };
    header.emit(&mut Ipv6Packet::new_unchecked(&mut *packet));
    let message = &mut packet[header.buffer_len()..];
    message[..8].copy_from_slice(&[NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    message[8..MESSAGE_BYTES].copy_from_slice(&asked.target.octets());
    message[MESSAGE_BYTES..MESSAGE_BYTES + 2].copy_from_slice(&[TARGET_LINK_LAYER_ADDRESS, 1]);
    message[MESSAGE_BYTES + 2..].copy_from_slice(&addresses.gateway_mac.0);
    Icmpv6Packet::new_unchecked(message).fill_checksum(&asked.target, &destination);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solicitation(
        addresses: &GuestAddresses,
        sender: Ipv6Addr,
        target: Ipv6Addr,
        mac: [u8; 6],
        hop_limit: u8,
    ) -> Vec<u8> {
        let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
        let mut packet = vec![0; ADVERTISEMENT_BYTES];
        emit_advertisement(&mut packet, Solicitation { target, sender: destination }, addresses);
        let header = Ipv6Repr {
            src_addr: sender,
            dst_addr: destination,
            next_header: IpProtocol::Icmpv6,
            payload_len: MESSAGE_BYTES + OPTION_BYTES,
            hop_limit,
        };
        header.emit(&mut Ipv6Packet::new_unchecked(&mut packet[..]));
        let message = &mut packet[40..];
        message[0] = NEIGHBOR_SOLICITATION;
        message[24] = SOURCE_LINK_LAYER_ADDRESS;
        message[26..32].copy_from_slice(&mac);
        Icmpv6Packet::new_unchecked(message).fill_checksum(&sender, &destination);
        packet
    }

    #[test]
    fn only_the_guest_asks_and_only_for_the_gateway() {
        let addresses = GuestAddresses::default();
        let pair = addresses.ipv6.unwrap();
        let (mac, other_mac) = (addresses.guest_mac.0, [2, 9, 9, 9, 9, 9]);
        let stranger = Ipv6Addr::new(0xfd6e, 0x6574, 0, 0, 0, 0, 0, 3);
        let link_local = addresses.guest_mac.link_local();
        let asked = |sender, target| Ok(Some(Asked::Neighbor(Solicitation { target, sender })));
        let gateway_local = addresses.gateway_mac.link_local();
        let cases = [
            ("guest", pair.guest, pair.gateway, mac, 255, asked(pair.guest, pair.gateway)),
            ("link-local", link_local, gateway_local, mac, 255, asked(link_local, gateway_local)),
            (
                "probe",
                Ipv6Addr::UNSPECIFIED,
                pair.gateway,
                mac,
                255,
                asked(Ipv6Addr::UNSPECIFIED, pair.gateway),
            ),
            ("another target", pair.guest, stranger, mac, 255, Ok(None)),
            ("own target", Ipv6Addr::UNSPECIFIED, pair.guest, mac, 255, Ok(None)),
            ("another mac", pair.guest, pair.gateway, other_mac, 255, Err(DropReason::Spoofed)),
            ("another sender", stranger, pair.gateway, mac, 255, Err(DropReason::Spoofed)),
            ("routed", pair.guest, pair.gateway, mac, 64, Err(DropReason::Malformed)),
        ];
        let claims = Claims::new(addresses, false);
        for (case, sender, target, mac, hop_limit, expected) in cases {
            let packet = solicitation(&addresses, sender, target, mac, hop_limit);
            let parsed = parse(&Ipv6Packet::new_checked(&packet[..]).unwrap(), &claims);
            assert_eq!(parsed, expected, "{case}");
        }
    }

    #[test]
    fn an_option_of_length_zero_ends_the_walk() {
        assert_eq!(source_link_layer_address(&[1, 0, 0, 0, 0, 0, 0, 0]), Err(DropReason::Malformed));
        assert_eq!(source_link_layer_address(&[1, 2, 0, 0, 0, 0, 0, 0]), Err(DropReason::Malformed));
        assert_eq!(source_link_layer_address(&[9, 1, 0, 0, 0, 0, 0, 0]), Ok(None));
    }
}
