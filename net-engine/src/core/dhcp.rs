//! DHCP for IPv4 (RFC 2131): a server with one client and the one address that is the client's anyway.
//!
//! Nothing is remembered of a lease, so a guest that was paused, copied or restarted asks again and gets
//! the same answer.

use std::net::Ipv4Addr;

use net_core::HostName;
use smoltcp::wire::{DhcpFlags, DhcpMessageType, DhcpOpCode, DhcpOption, DhcpPacket, EthernetAddress};

use super::{DropReason, Ipv4Pair, MacAddress};

/// Where servers listen and clients hear (RFC 2131, section 4.1).
pub(crate) const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;

/// Bytes of every reply: what a client takes that has not said how much it takes (section 2).
pub(crate) const REPLY_BYTES: usize = 548;

/// A client asks again after half of it.
const LEASE_SECONDS: u32 = 24 * 60 * 60;

const MAGIC: u32 = 0x6382_5363;
const ETHERNET: u16 = 1;
const ETHERNET_ADDRESS_BYTES: u8 = 6;

/// Options (RFC 2132; 80: RFC 4039; 121: RFC 3442).
mod option {
    pub(super) const SUBNET_MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const NAME_SERVER: u8 = 6;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const MTU: u8 = 26;
    pub(super) const REQUESTED_ADDRESS: u8 = 50;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const MESSAGE_TYPE: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const REQUESTED_OPTIONS: u8 = 55;
    pub(super) const CLIENT: u8 = 61;
    pub(super) const RAPID_COMMIT: u8 = 80;
    pub(super) const ROUTES: u8 = 121;
}

/// What the server tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) guest_mac: MacAddress,
    pub(crate) pair: Ipv4Pair,
    pub(crate) mtu: u16,
    pub(crate) search_domain: Option<&'a HostName>,
}

/// What a client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its address, to be asked for.
    Offer,
    /// Its address.
    Lease { is_rapid: bool },
    /// Everything but an address, which it has.
    Information,
    /// That the address it asked for is not its.
    Refusal,
}

/// A message that is due to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply<'p> {
    kind: Kind,
    transaction: u32,
    flags: u16,
    /// The address the client says it has.
    client_address: Ipv4Addr,
    /// How it names itself, which the answer repeats (RFC 6842).
    client: Option<&'p [u8]>,
    wants_routes: bool,
    /// Where it goes: the client's address, or everybody's while it cannot know that.
    pub(crate) destination: Ipv4Addr,
}

/// What to do with a datagram to the server's port.
///
/// `Ok(None)` needs no answer: a release, a request for another server's offer.
pub(crate) fn parse<'p>(
    packet: &'p DhcpPacket<&'p [u8]>,
    terms: &Terms<'_>,
) -> Result<Option<Reply<'p>>, DropReason> {
    let is_request = packet.opcode() == DhcpOpCode::Request
        && packet.magic_number() == MAGIC
        && u16::from(packet.hardware_type()) == ETHERNET
        && packet.hardware_len() == ETHERNET_ADDRESS_BYTES;
    if !is_request {
        return Err(DropReason::Malformed);
    }
    if packet.client_hardware_address() != EthernetAddress(terms.guest_mac.0) {
        return Err(DropReason::Spoofed);
    }
    let asked = Asked::of(packet)?;
    let own = terms.pair.guest;
    let has = packet.client_ip();
    let kind = match asked.kind {
        DhcpMessageType::Discover if asked.is_rapid => Kind::Lease { is_rapid: true },
        DhcpMessageType::Discover => Kind::Offer,
        DhcpMessageType::Request => {
            if asked.server.is_some_and(|server| server != terms.pair.gateway) {
                // It has taken an offer of somebody else's.
                return Ok(None);
            }
            // Asked for by name while it has none, or held already (section 4.3.2).
            let wanted = asked.address.unwrap_or(has);
            if wanted == own { Kind::Lease { is_rapid: false } } else { Kind::Refusal }
        }
        DhcpMessageType::Inform if has == own => Kind::Information,
        DhcpMessageType::Inform => return Err(DropReason::Spoofed),
        // It is the guest's whatever the guest makes of it.
        DhcpMessageType::Decline | DhcpMessageType::Release => return Ok(None),
        DhcpMessageType::Offer
        | DhcpMessageType::Ack
        | DhcpMessageType::Nak
        | DhcpMessageType::Unknown(_) => return Err(DropReason::Malformed),
    };
    let wants_broadcast = packet.flags().contains(DhcpFlags::BROADCAST);
    let destination = match kind {
        Kind::Refusal => Ipv4Addr::BROADCAST,
        Kind::Offer | Kind::Lease { .. } | Kind::Information if has == own => own,
        Kind::Offer | Kind::Lease { .. } | Kind::Information if wants_broadcast => Ipv4Addr::BROADCAST,
        Kind::Offer | Kind::Lease { .. } | Kind::Information => own,
    };
    Ok(Some(Reply {
        kind,
        transaction: packet.transaction_id(),
        flags: packet.flags().bits(),
        client_address: has,
        client: asked.client,
        wants_routes: asked.wants_routes,
        destination,
    }))
}

/// The options of a request that matter to us.
struct Asked<'p> {
    kind: DhcpMessageType,
    server: Option<Ipv4Addr>,
    address: Option<Ipv4Addr>,
    client: Option<&'p [u8]>,
    wants_routes: bool,
    is_rapid: bool,
}

impl<'p> Asked<'p> {
    fn of(packet: &'p DhcpPacket<&'p [u8]>) -> Result<Self, DropReason> {
        let address = |data: &[u8]| data.first_chunk::<4>().copied().map(Ipv4Addr::from);
        let mut kind = None;
        let (mut server, mut wanted, mut client) = (None, None, None);
        let (mut wants_routes, mut is_rapid) = (false, false);
        for found in packet.options() {
            match found.kind {
                option::MESSAGE_TYPE => kind = found.data.first().copied().map(DhcpMessageType::from),
                option::SERVER => server = address(found.data),
                option::REQUESTED_ADDRESS => wanted = address(found.data),
                option::CLIENT => client = Some(found.data),
                option::REQUESTED_OPTIONS => wants_routes = found.data.contains(&option::ROUTES),
                option::RAPID_COMMIT => is_rapid = true,
                _ => {}
            }
        }
        let kind = kind.ok_or(DropReason::Malformed)?;
        Ok(Self { kind, server, address: wanted, client, wants_routes, is_rapid })
    }
}

/// Writes the reply into `message` of [`REPLY_BYTES`].
pub(crate) fn emit(message: &mut [u8], reply: &Reply<'_>, terms: &Terms<'_>) {
    message.fill(0);
    let mut packet = DhcpPacket::new_unchecked(&mut *message);
    packet.set_opcode(DhcpOpCode::Reply);
    packet.set_hardware_type(smoltcp::wire::ArpHardware::Ethernet);
    packet.set_hardware_len(ETHERNET_ADDRESS_BYTES);
    packet.set_transaction_id(reply.transaction);
    packet.set_flags(DhcpFlags::from_bits_truncate(reply.flags));
    packet.set_client_hardware_address(EthernetAddress(terms.guest_mac.0));
    packet.set_magic_number(MAGIC);
    let pair = terms.pair;
    let (kind, gives_address) = match reply.kind {
        Kind::Offer => (DhcpMessageType::Offer, true),
        Kind::Lease { .. } => (DhcpMessageType::Ack, true),
        Kind::Information => (DhcpMessageType::Ack, false),
        Kind::Refusal => (DhcpMessageType::Nak, false),
    };
    if gives_address {
        packet.set_your_ip(pair.guest);
    }
    if reply.kind != Kind::Refusal {
        packet.set_client_ip(reply.client_address);
        packet.set_server_ip(pair.gateway);
    }
    let mut options = packet.options_mut();
    // What does not fit any more is left out: all but a long domain always does.
    let mut put = |kind, data: &[u8]| {
        let _ = options.emit(DhcpOption { kind, data });
    };
    put(option::MESSAGE_TYPE, &[kind.into()]);
    put(option::SERVER, &pair.gateway.octets());
    if let Some(client) = reply.client {
        put(option::CLIENT, client);
    }
    if gives_address {
        put(option::LEASE_TIME, &LEASE_SECONDS.to_be_bytes());
    }
    if reply.kind == (Kind::Lease { is_rapid: true }) {
        put(option::RAPID_COMMIT, &[]);
    }
    if reply.kind != Kind::Refusal {
        let gateway = pair.gateway.octets();
        put(option::SUBNET_MASK, &(!(u32::MAX >> pair.prefix_len)).to_be_bytes());
        put(option::ROUTER, &gateway);
        put(option::NAME_SERVER, &gateway);
        put(option::MTU, &terms.mtu.to_be_bytes());
        if reply.wants_routes {
            // Who asks for routes ignores the router (RFC 3442): the default route again.
            let [a, b, c, d] = gateway;
            put(option::ROUTES, &[0, a, b, c, d]);
        }
        if let Some(domain) = terms.search_domain {
            put(option::DOMAIN, domain.as_str().as_bytes());
        }
    }
    let _ = options.end();
}

/// Whatever a client sends, what it is answered is a sound message about its own address.
#[cfg(any(test, fuzzing))]
pub(crate) fn replies_are_sound(bytes: &[u8]) -> bool {
    use smoltcp::wire::DhcpRepr;

    let addresses = super::GuestAddresses::default();
    let pair = addresses.ipv4.expect("a slot has both families");
    let domain = bytes.first().filter(|byte| **byte > 127).and_then(|_| "guest.test".parse().ok());
    let terms = Terms { guest_mac: addresses.guest_mac, pair, mtu: 1_500, search_domain: domain.as_ref() };
    // Most of a message is fixed: what a fuzzer finds by chance lies behind it.
    let mut message = vec![0; 240];
    message[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
    message[28..34].copy_from_slice(&addresses.guest_mac.0);
    message[236..].copy_from_slice(&MAGIC.to_be_bytes());
    let (fixed, options) = bytes.split_at_checked(8).unwrap_or((bytes, &[]));
    for (place, byte) in [10, 12, 13, 14, 15, 24, 25, 28].into_iter().zip(fixed) {
        message[place] ^= byte;
    }
    message.extend_from_slice(options);
    let packet = DhcpPacket::new_checked(&message[..]).expect("it has its fixed part");
    let Ok(Some(reply)) = parse(&packet, &terms) else { return false };
    let mut written = [0xee; REPLY_BYTES];
    emit(&mut written, &reply, &terms);
    let packet = DhcpPacket::new_checked(&written[..]).expect("it has its fixed part");
    assert_eq!(packet.opcode(), DhcpOpCode::Reply);
    assert_eq!(packet.transaction_id(), 0xdead_beef);
    assert_eq!(packet.client_hardware_address(), EthernetAddress(addresses.guest_mac.0));
    assert!(reply.destination == pair.guest || reply.destination.is_broadcast());
    let options: Vec<_> = packet.options().collect();
    assert_eq!(options[0].kind, option::MESSAGE_TYPE);
    assert!(options.iter().any(|found| found.kind == option::SERVER));
    let gives_address = matches!(reply.kind, Kind::Offer | Kind::Lease { .. });
    assert_eq!(packet.your_ip() == pair.guest, gives_address);
    assert!(gives_address || packet.your_ip().is_unspecified());
    if gives_address {
        for needed in [option::LEASE_TIME, option::SUBNET_MASK, option::ROUTER, option::NAME_SERVER] {
            assert!(options.iter().any(|found| found.kind == needed), "{needed}");
        }
        // The judge: a client that takes no identifier but an Ethernet address.
        let is_plain = reply.client.is_none_or(|client| client.len() != 7);
        let whole = DhcpPacket::new_checked(&written).expect("as above");
        let read = DhcpRepr::parse(&whole);
        assert!(!is_plain || read.is_ok_and(|read| read.router == Some(pair.gateway)));
    }
    true
}
