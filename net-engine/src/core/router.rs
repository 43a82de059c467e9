//! Router advertisements (RFC 4861, section 4.2): by them a guest finds its prefix, its router, its
//! resolver (RFC 8106) and the MTU.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use net_core::HostName;
use smoltcp::wire::{Icmpv6Packet, IpProtocol, Ipv6Packet, Ipv6Repr};

use super::{Ipv6Pair, MacAddress};

/// Where a solicitation without a source address is answered, and what nobody asked for goes.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ROUTER_ADVERTISEMENT: u8 = 134;
const HOP_LIMIT: u8 = 255;
/// The hop limit of the guest's own packets.
const GUEST_HOP_LIMIT: u8 = 64;

/// How often it is said again, unasked: as rarely as is permitted (section 6.2.1).
const INTERVAL: Duration = Duration::from_secs(1_800);
const ROUTER_SECONDS: u16 = 9_000;
const RESOLVER_SECONDS: u32 = 5_400;
const PREFIX_VALID_SECONDS: u32 = 24 * 60 * 60;
const PREFIX_PREFERRED_SECONDS: u32 = 12 * 60 * 60;

/// Options; their lengths count in units of eight bytes.
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const RESOLVERS: u8 = 25;
const SEARCH_LIST: u8 = 31;

const ON_LINK: u8 = 0b1000_0000;
const AUTONOMOUS: u8 = 0b0100_0000;

/// A host forms addresses of its own in a prefix of this length alone (RFC 4862, section 5.5.3).
pub(crate) const AUTONOMOUS_PREFIX_LEN: u8 = 64;

const FIXED_BYTES: usize = 40 + 16;
const OPTIONS_BYTES: usize = 8 + 8 + 32 + 24;
/// The longest name (255 bytes on the wire) and the option's own eight, in whole units.
const MAX_SEARCH_BYTES: usize = 264;

/// What is advertised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) gateway_mac: MacAddress,
    pub(crate) pair: Ipv6Pair,
    pub(crate) mtu: u16,
    pub(crate) search_domain: Option<&'a HostName>,
}

/// Says itself again for as long as somebody has asked once.
#[derive(Debug, Default)]
pub(crate) struct Advertiser {
    due: Option<Instant>,
}

impl Advertiser {
    /// A guest has asked: it will rely on being told again.
    pub(crate) fn handle_solicitation(&mut self, now: Instant) {
        self.due = Some(now + INTERVAL);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Whether an advertisement to everybody is due.
    #[must_use]
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = Some(now + INTERVAL);
        }
        is_due
    }
}

/// Bytes of the IPv6 packet that [`emit`] writes.
pub(crate) fn packet_bytes(terms: &Terms<'_>) -> usize {
    FIXED_BYTES + OPTIONS_BYTES + terms.search_domain.map_or(0, search_bytes)
}

/// A name as labels with their lengths and the root's, behind the option's own eight bytes.
fn search_bytes(domain: &HostName) -> usize {
    (8 + domain.as_str().len() + 2).next_multiple_of(8).min(MAX_SEARCH_BYTES)
}

/// Writes the advertisement, IPv6 header included, into `packet` of [`packet_bytes`]; to everybody where
/// `asker` is `None` or unspecified.
pub(crate) fn emit(packet: &mut [u8], asker: Option<Ipv6Addr>, terms: &Terms<'_>) {
    let source = terms.gateway_mac.link_local();
    let destination = asker.filter(|asker| !asker.is_unspecified()).unwrap_or(ALL_NODES);
    packet.fill(0);
    let header = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Icmpv6,
        payload_len: packet.len() - 40,
        hop_limit: HOP_LIMIT,
    };
    header.emit(&mut Ipv6Packet::new_unchecked(&mut *packet));
    let message = &mut packet[header.buffer_len()..];
    message[0] = ROUTER_ADVERTISEMENT;
    message[4] = GUEST_HOP_LIMIT;
    message[6..8].copy_from_slice(&ROUTER_SECONDS.to_be_bytes());

    let (own, options) = message[16..].split_at_mut(8);
    own[..2].copy_from_slice(&[SOURCE_LINK_LAYER_ADDRESS, 1]);
    own[2..].copy_from_slice(&terms.gateway_mac.0);

    let (mtu, options) = options.split_at_mut(8);
    mtu[..2].copy_from_slice(&[MTU, 1]);
    mtu[4..].copy_from_slice(&u32::from(terms.mtu).to_be_bytes());

    let (prefix, options) = options.split_at_mut(32);
    let Ipv6Pair { gateway, prefix_len, .. } = terms.pair;
    let autonomous = if prefix_len == AUTONOMOUS_PREFIX_LEN { AUTONOMOUS } else { 0 };
    prefix[..4].copy_from_slice(&[PREFIX, 4, prefix_len, ON_LINK | autonomous]);
    prefix[4..8].copy_from_slice(&PREFIX_VALID_SECONDS.to_be_bytes());
    prefix[8..12].copy_from_slice(&PREFIX_PREFERRED_SECONDS.to_be_bytes());
    let network = gateway.to_bits() & !(u128::MAX >> prefix_len);
    prefix[16..].copy_from_slice(&network.to_be_bytes());

    let (resolvers, search) = options.split_at_mut(24);
    resolvers[..2].copy_from_slice(&[RESOLVERS, 3]);
    resolvers[4..8].copy_from_slice(&RESOLVER_SECONDS.to_be_bytes());
    resolvers[8..].copy_from_slice(&gateway.octets());

    if let Some(domain) = terms.search_domain {
        let units = u8::try_from(search.len() / 8).unwrap_or(u8::MAX);
        search[..2].copy_from_slice(&[SEARCH_LIST, units]);
        search[4..8].copy_from_slice(&RESOLVER_SECONDS.to_be_bytes());
        let mut at = 8;
        for label in domain.as_str().split('.') {
            // A host name has at most 253 bytes of labels of at most 63.
            search[at] = u8::try_from(label.len()).unwrap_or(0);
            search[at + 1..at + 1 + label.len()].copy_from_slice(label.as_bytes());
            at += 1 + label.len();
        }
    }
    Icmpv6Packet::new_unchecked(message).fill_checksum(&source, &destination);
}
