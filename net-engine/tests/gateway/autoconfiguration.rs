//! A guest that knows nothing asks, and learns all it needs: DHCP with smoltcp's own client, and what no
//! client of its sends; router advertisements read byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use net_engine::core::{Autoconfiguration, DropReason, Gateway, GatewayConfig, GuestAddresses, Ingress};
use net_engine::link::{FrameMeta, LinkCapabilities};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{
    EthernetAddress, Icmpv6Packet, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet,
    NdiscPrefixInfoFlags, NdiscPrefixInformation, NdiscRepr, UdpPacket, UdpRepr,
};

use crate::guest::Guest;
use crate::raw::{ETHERNET_BYTES, set_macs};

const MTU: u16 = 1_400;

struct World {
    gateway: Gateway,
    addresses: GuestAddresses,
    now: Instant,
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
    fn new(autoconfiguration: Option<Autoconfiguration>) -> Self {
        let (addresses, now) = (GuestAddresses::default(), Instant::now());
        let config = GatewayConfig {
            addresses,
            link: LinkCapabilities { mtu: MTU, offload: false },
            limits: net_core::Limits::default(),
            random_seed: 1,
            autoconfiguration,
        };
        Self { gateway: Gateway::new(config, now).expect("addresses of a slot"), addresses, now }
    }

    fn asked() -> Self {
        Self::new(Some(Autoconfiguration { search_domain: "guest.test".parse().ok() }))
    }

    /// What the guest is answered.
    fn feed(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        assert!(
            matches!(self.gateway.handle_frame(&FrameMeta::default(), frame, self.now), Ingress::Handled),
            "it asks nothing of anybody else"
        );
        self.answers()
    }

    fn answers(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.gateway.next_frame() {
            frames.push(frame.bytes().to_vec());
            self.gateway.frame_sent();
        }
        frames
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.gateway.counters().dropped[reason as usize]
    }

    /// A datagram of a client, its options after the fixed fields.
    fn client_says(&self, source: Ipv4Addr, destination: Ipv4Addr, has: Ipv4Addr, options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        message[12..16].copy_from_slice(&has.octets());
        message[28..34].copy_from_slice(&self.addresses.guest_mac.0);
        message[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        message.extend_from_slice(options);
        message.push(255);
        let (source, destination) = (IpAddress::from(source), IpAddress::from(destination));
        let datagram = UdpRepr { src_port: 68, dst_port: 67 };
        let header =
            IpRepr::new(source, destination, IpProtocol::Udp, datagram.header_len() + message.len(), 64);
        let sums = ChecksumCapabilities::default();
        let mut frame = vec![0; ETHERNET_BYTES + header.buffer_len()];
        set_macs(&mut frame, net_engine::core::MacAddress([0xff; 6]), self.addresses.guest_mac);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        header.emit(&mut frame[ETHERNET_BYTES..], &sums);
        let mut udp = UdpPacket::new_unchecked(&mut frame[ETHERNET_BYTES + header.header_len()..]);
        let fill = |room: &mut [u8]| room.copy_from_slice(&message);
        datagram.emit(&mut udp, &source, &destination, message.len(), fill, &sums);
        frame
    }

    fn solicitation(&self, source: Ipv6Addr) -> Vec<u8> {
        let own = EthernetAddress(self.addresses.guest_mac.0);
        let message = NdiscRepr::RouterSolicit { lladdr: (!source.is_unspecified()).then_some(own.into()) };
        let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
        let (from, to) = (IpAddress::from(source), IpAddress::from(destination));
        let header = IpRepr::new(from, to, IpProtocol::Icmpv6, message.buffer_len(), 255);
        let mut frame = vec![0; ETHERNET_BYTES + header.buffer_len()];
        set_macs(
            &mut frame,
            net_engine::core::MacAddress([0x33, 0x33, 0, 0, 0, 2]),
            self.addresses.guest_mac,
        );
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        let sums = ChecksumCapabilities::default();
        header.emit(&mut frame[ETHERNET_BYTES..], &sums);
        let mut icmp = Icmpv6Packet::new_unchecked(&mut frame[ETHERNET_BYTES + 40..]);
        message.emit(&mut icmp);
        icmp.fill_checksum(&source, &destination);
        frame
    }
}

/// The message of a DHCP reply and where its packet goes.
fn reply(frame: &[u8]) -> (Ipv4Addr, Vec<u8>) {
    let packet = Ipv4Packet::new_checked(&frame[ETHERNET_BYTES..]).expect("a packet");
    assert!(packet.verify_checksum());
    let (source, destination) = (packet.src_addr().into(), packet.dst_addr().into());
    let datagram = UdpPacket::new_checked(packet.payload()).expect("a datagram");
    assert!(datagram.verify_checksum(&source, &destination));
    assert_eq!((datagram.src_port(), datagram.dst_port()), (67, 68));
    (packet.dst_addr(), datagram.payload().to_vec())
}

/// The data of an option.
fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = &message[240..];
    while let [kind, len, after @ ..] = rest {
        if *kind == 255 {
            return None;
        }
        let (data, behind) = after.split_at(usize::from(*len));
        if *kind == wanted {
            return Some(data);
        }
        rest = behind;
    }
    None
}

#[test]
fn a_client_gets_its_address_its_router_and_its_resolver() {
    let mut world = World::asked();
    let mut guest = Guest::blank(&world.addresses, MTU.into());
    let client = guest.sockets.add(dhcpv4::Socket::new());
    let start = world.now;
    let mut leases = 0;
    // A day and a half: a lease, and one renewal.
    let end = start + Duration::from_secs(36 * 60 * 60);
    while world.now < end {
        let elapsed = world.now.duration_since(start);
        let at =
            smoltcp::time::Instant::from_micros(i64::try_from(elapsed.as_micros()).expect("a short test"));
        for frame in guest.poll(at) {
            for answer in world.feed(&frame) {
                guest.handle_frame(answer);
            }
        }
        match guest.sockets.get_mut::<dhcpv4::Socket<'_>>(client).poll() {
            Some(dhcpv4::Event::Configured(config)) => {
                let pair = world.addresses.ipv4.expect("both families");
                assert_eq!(config.address.address(), pair.guest);
                assert_eq!(config.address.prefix_len(), pair.prefix_len);
                assert_eq!(config.router, Some(pair.gateway));
                assert_eq!(config.dns_servers.as_slice(), [pair.gateway]);
                assert_eq!(config.server.identifier, pair.gateway);
                let own = config.address;
                guest.set_v4(own.address(), own.prefix_len());
                leases += 1;
            }
            Some(dhcpv4::Event::Deconfigured) => assert_eq!(leases, 0, "an address that was given is kept"),
            None => {}
        }
        let delay =
            guest.poll_delay(at).map_or(60_000_000, |delay| delay.total_micros()).clamp(1_000, 60_000_000);
        world.now += Duration::from_micros(delay);
    }
    assert!(leases >= 1, "no lease");
    assert_eq!(world.gateway.counters().dropped_total(), 0);
}

#[test]
fn each_request_has_its_answer() {
    const OWN: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 3);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;
    let with = |options: &[&[u8]]| options.concat();
    let wanted = |address: Ipv4Addr| [&[50, 4][..], &address.octets()].concat();
    let server = |address: Ipv4Addr| [&[54, 4][..], &address.octets()].concat();
    let (discover, request, inform) = ([53, 1, 1], [53, 1, 3], [53, 1, 8]);
    // Options; source, destination and the address the client has; type and destination of the answer.
    let cases = [
        ("discover", with(&[&discover]), (NONE, ALL, NONE), Some((2, OWN))),
        ("rapid", with(&[&discover, &[80, 0]]), (NONE, ALL, NONE), Some((5, OWN))),
        ("select", with(&[&request, &wanted(OWN), &server(GATEWAY)]), (NONE, ALL, NONE), Some((5, OWN))),
        ("other server", with(&[&request, &wanted(OWN), &server(OTHER)]), (NONE, ALL, NONE), None),
        ("reboot", with(&[&request, &wanted(OWN)]), (NONE, ALL, NONE), Some((5, OWN))),
        ("moved", with(&[&request, &wanted(OTHER)]), (NONE, ALL, NONE), Some((6, ALL))),
        ("renew", with(&[&request]), (OWN, GATEWAY, OWN), Some((5, OWN))),
        ("rebind", with(&[&request]), (OWN, ALL, OWN), Some((5, OWN))),
        ("inform", with(&[&inform]), (OWN, ALL, OWN), Some((5, OWN))),
        ("release", with(&[&[53, 1, 7]]), (OWN, GATEWAY, OWN), None),
        ("decline", with(&[&[53, 1, 4], &wanted(OWN)]), (NONE, ALL, NONE), None),
    ];
    let mut world = World::asked();
    for (case, options, (source, destination, has), expected) in cases {
        let frame = world.client_says(source, destination, has, &options);
        let answers = world.feed(&frame);
        let answer = answers.first().map(|frame| reply(frame));
        let seen = answer.as_ref().map(|(to, message)| (option(message, 53).expect("a type")[0], *to));
        assert_eq!(seen, expected, "{case}");
        if let Some((_, message)) = answer {
            assert_eq!(message[4..8], [0xde, 0xad, 0xbe, 0xef], "{case}");
            assert_eq!(option(&message, 54), Some(&GATEWAY.octets()[..]), "{case}");
        }
    }
    assert_eq!(world.gateway.counters().dropped_total(), 0);

    let everything = with(&[&discover, &[61, 3, 255, 1, 2], &[55, 2, 121, 26]]);
    let frame = world.client_says(NONE, ALL, NONE, &everything);
    let (_, message) = reply(&world.feed(&frame)[0]);
    let told = [1, 3, 6, 15, 26, 61, 121].map(|kind| option(&message, kind).map(<[u8]>::to_vec));
    let gateway = GATEWAY.octets().to_vec();
    let expected = [
        vec![255, 255, 255, 252],
        gateway.clone(),
        gateway.clone(),
        b"guest.test".to_vec(),
        MTU.to_be_bytes().to_vec(),
        vec![255, 1, 2],
        [vec![0], gateway].concat(),
    ];
    assert_eq!(told, expected.map(Some));

    let mut broadcast = world.client_says(NONE, ALL, NONE, &discover);
    broadcast[ETHERNET_BYTES + 28 + 10] = 0x80;
    crate::raw::mend(&mut broadcast);
    assert_eq!(reply(&world.feed(&broadcast)[0]).0, ALL, "who cannot hear its address yet says so");
}

#[test]
fn strangers_and_nonsense_are_not_answered() {
    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;
    const OTHER: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 3);
    let mut world = World::asked();
    let discover = world.client_says(NONE, ALL, NONE, &[53, 1, 1]);
    let changed = |at: usize, value: u8| {
        let mut frame = discover.clone();
        frame[ETHERNET_BYTES + 28 + at] = value;
        crate::raw::mend(&mut frame);
        frame
    };
    let cases = [
        ("another address", world.client_says(OTHER, ALL, NONE, &[53, 1, 1]), DropReason::Spoofed),
        ("another machine", changed(28, 0xee), DropReason::Spoofed),
        ("a stranger informs", world.client_says(NONE, ALL, OTHER, &[53, 1, 8]), DropReason::Spoofed),
        ("a reply", changed(0, 2), DropReason::Malformed),
        ("no magic", changed(236, 0), DropReason::Malformed),
        ("no type", world.client_says(NONE, ALL, NONE, &[]), DropReason::Malformed),
        ("an offer", world.client_says(NONE, ALL, NONE, &[53, 1, 2]), DropReason::Malformed),
        ("token ring", changed(1, 6), DropReason::Malformed),
    ];
    for (case, frame, reason) in cases {
        let before = world.dropped(reason);
        assert!(world.feed(&frame).is_empty(), "{case}");
        assert_eq!(world.dropped(reason), before + 1, "{case}");
    }
    for len in 0..discover.len() {
        assert!(world.feed(&discover[..len]).is_empty(), "{len} bytes");
    }
    let mut wrong_sum = discover.clone();
    *wrong_sum.last_mut().expect("bytes") ^= 1;
    assert!(world.feed(&wrong_sum).is_empty());
    assert!(World::new(None).feed(&discover).is_empty(), "where nobody is set up this way");
}

#[test]
fn a_router_is_there_for_whoever_asks_and_says_so_again() {
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4);
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    for (asker, expected) in [(link_local, link_local), (Ipv6Addr::UNSPECIFIED, all_nodes)] {
        let mut world = World::asked();
        assert_eq!(world.gateway.poll_timeout(), None, "nobody has asked");
        let frames = world.feed(&world.solicitation(asker));
        assert_eq!(frames.len(), 1);
        check_advertisement(&world.addresses, &frames[0], expected);
        // From now on the guest relies on it.
        let due = world.gateway.poll_timeout().expect("the next one is due");
        assert!(due > world.now + Duration::from_secs(600), "it wakes nobody often");
        assert!(due < world.now + Duration::from_secs(5_400), "and long before anything expires");
        world.now = due;
        assert!(!world.gateway.poll_flows(world.now));
        let frames = world.answers();
        assert_eq!(frames.len(), 1);
        check_advertisement(&world.addresses, &frames[0], all_nodes);
        assert!(world.gateway.poll_timeout() > Some(world.now));
    }
    let mut world = World::new(None);
    assert!(world.feed(&world.solicitation(link_local)).is_empty());
    assert_eq!(world.gateway.poll_timeout(), None);
}

fn check_advertisement(addresses: &GuestAddresses, frame: &[u8], to: Ipv6Addr) {
    let pair = addresses.ipv6.expect("both families");
    let packet = Ipv6Packet::new_checked(&frame[ETHERNET_BYTES..]).expect("a packet");
    assert_eq!((packet.hop_limit(), packet.dst_addr()), (255, to));
    assert_eq!(packet.src_addr(), addresses.gateway_mac.link_local());
    let icmp = Icmpv6Packet::new_checked(packet.payload()).expect("a message");
    assert!(icmp.verify_checksum(&packet.src_addr(), &to));
    let NdiscRepr::RouterAdvert { router_lifetime, lladdr, mtu, prefix_info, .. } =
        NdiscRepr::parse(&icmp).expect("an advertisement")
    else {
        panic!("another message")
    };
    assert!(router_lifetime.total_millis() > 0);
    assert_eq!(lladdr, Some(EthernetAddress(addresses.gateway_mac.0).into()));
    assert_eq!(mtu, Some(MTU.into()));
    let prefix: NdiscPrefixInformation = prefix_info.expect("a prefix");
    assert_eq!((prefix.prefix_len, IpAddr::V6(prefix.prefix)), (64, IpAddr::V6(network(pair.guest))));
    assert!(prefix.flags.contains(NdiscPrefixInfoFlags::ON_LINK | NdiscPrefixInfoFlags::ADDRCONF));
    // What smoltcp does not read: the resolver, and the domain as labels.
    let options = &packet.payload()[16..];
    let resolver = [&[25, 3, 0, 0][..]].concat();
    let at = options.windows(4).position(|bytes| bytes == resolver).expect("a resolver");
    assert_eq!(options[at + 8..at + 24], pair.gateway.octets());
    assert_eq!(options[at + 24..at + 26], [31, 3]);
    assert_eq!(&options[at + 32..at + 44], b"\x05guest\x04test\0");
}

fn network(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)
}

#[test]
fn a_guest_may_choose_its_address_in_its_prefix_and_nowhere_else() {
    let own = Ipv6Addr::new(0xfd6e, 0x6574, 0, 0, 0xa8b, 0x1ff, 0xfe23, 0x4567);
    let elsewhere = Ipv6Addr::new(0xfd6e, 0x6574, 0, 1, 0, 0, 0, 2);
    let server = SocketAddr::from((crate::world::SERVER_V6, 443));
    for (source, autoconfiguration, expected) in [
        (own, Some(Autoconfiguration::default()), true),
        (own, None, false),
        (elsewhere, Some(Autoconfiguration::default()), false),
    ] {
        let mut world = World::new(autoconfiguration);
        let mut frame = crate::raw::Segment::syn(server).frame(&world.addresses);
        frame[ETHERNET_BYTES + 8..ETHERNET_BYTES + 24].copy_from_slice(&source.octets());
        crate::raw::mend(&mut frame);
        let ingress = world.gateway.handle_frame(&FrameMeta::default(), &frame, world.now);
        let seen = if let Ingress::Syn { flow, .. } = ingress { Some(flow.guest.ip()) } else { None };
        assert_eq!(seen, expected.then_some(IpAddr::V6(source)), "{source}");
    }
}
