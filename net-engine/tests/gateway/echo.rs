//! ICMP echo beyond the gateway, and the errors that come back: as values, past any socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use net_core::{Flow, Protocol};
use net_engine::core::{DropReason, IcmpError, Ingress, Undelivery, Unreachable};
use net_engine::link::FrameMeta;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, Ipv4Packet, Ipv6Packet};

use crate::raw::{ETHERNET_BYTES, Segment, datagram, icmp_of, mend, ping};
use crate::world::{SERVER_V6, SERVERS, Setup, World};

/// The source of a frame, and its ICMP message with a sound checksum.
fn message_of(frame: &[u8]) -> (IpAddr, Vec<u8>) {
    let bytes = &frame[ETHERNET_BYTES..];
    if bytes[0] >> 4 == 6 {
        let packet = Ipv6Packet::new_checked(bytes).unwrap();
        let icmp = Icmpv6Packet::new_checked(packet.payload()).unwrap();
        assert!(icmp.verify_checksum(&packet.src_addr(), &packet.dst_addr()));
        (packet.src_addr().into(), packet.payload().to_vec())
    } else {
        let packet = Ipv4Packet::new_checked(bytes).unwrap();
        assert!(packet.verify_checksum());
        assert!(Icmpv4Packet::new_checked(packet.payload()).unwrap().verify_checksum());
        (packet.src_addr().into(), packet.payload().to_vec())
    }
}

fn set_hop_limit(frame: &mut [u8], hops: u8) {
    let is_v6 = frame[ETHERNET_BYTES] >> 4 == 6;
    frame[ETHERNET_BYTES + if is_v6 { 7 } else { 8 }] = hops;
    if !is_v6 {
        mend(frame);
    }
}

fn flow_to(world: &World, server: IpAddr) -> Flow {
    const IDENT: u16 = 0x1234;
    let addresses = world.gateway.addresses();
    let (guest, protocol) = if server.is_ipv4() {
        (IpAddr::V4(addresses.ipv4.unwrap().guest), Protocol::IcmpV4)
    } else {
        (IpAddr::V6(addresses.ipv6.unwrap().guest), Protocol::IcmpV6)
    };
    Flow { protocol, guest: SocketAddr::new(guest, IDENT), upstream: SocketAddr::new(server, IDENT) }
}

#[test]
fn an_echo_is_asked_for_and_comes_back_under_the_guest_s_identifier() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let frame = ping(world.gateway.addresses(), server, b"what comes back");
        let Ingress::Echo { flow, sequence, passage, data, packet } =
            world.gateway.handle_frame(&FrameMeta::default(), &frame, world.now)
        else {
            panic!("it asks for an echo")
        };
        assert_eq!((flow, sequence, passage.hops), (flow_to(&world, server), 1, 63));
        assert_eq!((data, packet), (&b"what comes back"[..], &frame[ETHERNET_BYTES..]));
        assert!(world.gateway.push_echo(&flow, sequence, data));
        let answers = world.answers(&[]);
        let (source, message) = message_of(&answers[0]);
        assert_eq!(source, server);
        assert_eq!(message[0], if server.is_ipv4() { 0 } else { 129 });
        assert_eq!(message[4..], frame[ETHERNET_BYTES + if server.is_ipv4() { 24 } else { 44 }..]);
        // What would not fit a packet is not sent.
        assert!(!world.gateway.push_echo(&flow, sequence, &[0; 1_500]));
    }
}

#[test]
fn what_is_to_cross_no_router_ends_at_this_one() {
    let addresses = net_engine::core::GuestAddresses::default();
    for server in SERVERS {
        let to = SocketAddr::new(server, 33_434);
        let gateway = addresses.gateways().find(|own| own.is_ipv4() == server.is_ipv4()).unwrap();
        let frames = [
            ping(&addresses, server, b"x"),
            datagram(&addresses, to, b"x"),
            Segment::syn(to).frame(&addresses),
        ];
        for mut frame in frames {
            for (hops, is_ended) in [(0, true), (1, true), (2, false)] {
                let mut world = World::new(Setup::default());
                set_hop_limit(&mut frame, hops);
                let answers = world.answers(&frame);
                let ended = answers.first().map(|answer| (message_of(answer), icmp_of(answer).unwrap()));
                assert_eq!(ended.is_some(), is_ended, "{to} with {hops}");
                if let Some(((source, message), (_, kind, code))) = ended {
                    assert_eq!((kind, code), (if server.is_ipv4() { 11 } else { 3 }, 0));
                    assert_eq!(source, gateway);
                    assert_eq!(&message[8..], &frame[ETHERNET_BYTES..]);
                    assert_eq!(world.syns.len(), 0);
                }
            }
        }
        // Of a datagram in fragments one error, about the first.
        let mut world = World::new(Setup::default());
        let answered =
            crate::raw::cut(&datagram(&addresses, to, &[7; 2_000]), 1_000, 1).into_iter().map(|mut piece| {
                set_hop_limit(&mut piece, 1);
                world.answers(&piece).len()
            });
        assert_eq!(answered.collect::<Vec<_>>(), [1, 0, 0]);
        // To the gateway itself it crosses none.
        let mut frame = ping(&addresses, gateway, b"x");
        set_hop_limit(&mut frame, 1);
        let mut world = World::new(Setup::default());
        assert!(message_of(&world.answers(&frame)[0]).1[0].is_multiple_of(129));
    }
}

#[test]
fn a_link_local_source_hears_that_it_reaches_nobody_beyond_the_link() {
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4);
    let addresses = net_engine::core::GuestAddresses::default();
    let link_local = addresses.gateway_link_local().unwrap();
    let to = SocketAddr::new(SERVER_V6, 443);
    let echo = ping(&addresses, SERVER_V6, b"x");
    let mut of_kind = [echo.clone(), echo.clone()];
    for (frame, kind) in of_kind.iter_mut().zip([1, 129]) {
        frame[ETHERNET_BYTES + 40] = kind;
    }
    let [an_error, a_reply] = of_kind;
    let there = |destination: &str| Segment::syn(SocketAddr::new(destination.parse().unwrap(), 443));
    let cases = [
        ("syn", Segment::syn(to).frame(&addresses), true),
        ("datagram", datagram(&addresses, to, b"question"), true),
        ("echo", echo, true),
        ("an error", an_error, false),
        ("an echo's reply", a_reply, false),
        ("somebody on the link", there("fe80::77").frame(&addresses), false),
        ("a group", there("ff0e::1").frame(&addresses), false),
        ("nobody", there("::").frame(&addresses), false),
        ("itself", there("::1").frame(&addresses), false),
    ];
    for (case, mut frame, is_told) in cases {
        frame[ETHERNET_BYTES + 8..ETHERNET_BYTES + 24].copy_from_slice(&own.octets());
        mend(&mut frame);
        let mut world = World::new(Setup::default());
        let answers = world.answers(&frame);
        assert_eq!(answers.len(), usize::from(is_told), "{case}");
        assert_eq!((world.syns.len(), world.gateway.counters().flows_open), (0, 0), "{case}");
        if let Some(answer) = answers.first() {
            let (source, message) = message_of(answer);
            // No route: beyond scope of source address (RFC 4443, section 3.1).
            assert_eq!((source, message[0], message[1]), (link_local, 1, 2), "{case}");
            assert_eq!(&answer[ETHERNET_BYTES + 24..ETHERNET_BYTES + 40], &own.octets(), "{case}");
            assert_eq!(&message[8..], &frame[ETHERNET_BYTES..], "{case}");
        }
    }
}

#[test]
fn an_error_comes_from_who_says_so_and_quotes_what_was_asked() {
    let routers =
        [IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)), IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 9))];
    for (server, router) in SERVERS.into_iter().zip(routers) {
        let mut world = World::new(Setup::default());
        let flow = flow_to(&world, server);
        let own = world.gateway.addresses().gateways().find(|own| own.is_ipv4() == server.is_ipv4()).unwrap();
        let exceeded = Undelivery::TimeExceeded;
        let prohibited = Undelivery::Unreachable(Unreachable::Prohibited);
        let (of_exceeded, of_prohibited) =
            if server.is_ipv4() { ((11, 0), (3, 13)) } else { ((3, 0), (1, 1)) };
        // Why and from whom; who the guest hears it from, with type and code.
        let cases = [
            (exceeded, Some(router), (router, of_exceeded)),
            (prohibited, Some(router), (router, of_prohibited)),
            (prohibited, None, (own, of_prohibited)),
            // Nobody of the other version has seen it.
            (
                exceeded,
                routers.into_iter().find(|other| other.is_ipv4() != server.is_ipv4()),
                (own, of_exceeded),
            ),
        ];
        for (why, from, expected) in cases {
            world.gateway.push_no_echo(&flow, 7, b"data", IcmpError { why, from });
            let answer = world.answers(&[]).remove(0);
            let (source, message) = message_of(&answer);
            assert_eq!((source, (message[0], message[1])), expected, "{why:?} {from:?}");
            let asked = ping(world.gateway.addresses(), server, b"data");
            let (header, quote) = (if server.is_ipv4() { 20 } else { 40 }, &message[8..]);
            let asked = &asked[ETHERNET_BYTES..];
            assert_eq!(quote[header], asked[header], "an echo request");
            assert_eq!(quote[header + 4..header + 6], asked[header + 4..header + 6], "its identifier");
            assert_eq!(quote[header + 6..], [&[0, 7][..], b"data"].concat());
        }
    }
}

#[test]
fn errors_are_told_in_the_words_of_the_guest() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let (dialled, upstream) = (address("9.9.9.9"), address("198.18.0.1"));
    // From whom; whom the guest hears of.
    let cases = [
        (Some("9.9.9.9"), Some("198.18.0.1")),
        (Some("10.1.1.1"), Some("10.1.1.1")),
        (Some("127.0.0.1"), None),
        (Some("2620:fe::9"), None),
        (None, None),
    ];
    for (from, expected) in cases {
        let error = IcmpError { why: Undelivery::TimeExceeded, from: from.map(address) };
        assert_eq!(error.seen_as(dialled, upstream).from, expected.map(address), "{from:?}");
    }
}

#[test]
fn the_mtu_of_another_family_is_told_in_the_guest_s() {
    // Where packets went, for whom the guest sent them, the MTU there and what the guest is told.
    let cases = [
        ("9.9.9.9", "198.18.0.1", 1_400, 1_400),
        ("2620:fe::9", "2001:db8::1", 1_400, 1_400),
        ("2620:fe::9", "198.18.0.1", 1_400, 1_380),
        ("9.9.9.9", "2001:db8::1", 1_400, 1_420),
        // No link of the guest's IPv6 carries less.
        ("9.9.9.9", "2001:db8::1", 1_000, 1_280),
        // As a socket of both families has it.
        ("::ffff:9.9.9.9", "198.18.0.1", 1_400, 1_400),
        ("::ffff:9.9.9.9", "2001:db8::1", 1_400, 1_420),
        ("9.9.9.9", "2001:db8::1", u16::MAX, u16::MAX),
        ("2620:fe::9", "198.18.0.1", 0, 0),
    ];
    for (dialled, upstream, mtu, expected) in cases {
        let error = IcmpError { why: Undelivery::TooBig { mtu }, from: None };
        let seen = error.seen_as(dialled.parse().unwrap(), upstream.parse().unwrap());
        assert_eq!(seen.why, Undelivery::TooBig { mtu: expected }, "{dialled} {upstream} {mtu}");
    }
    let error = IcmpError { why: Undelivery::TimeExceeded, from: None };
    assert_eq!(error.seen_as("2620:fe::9".parse().unwrap(), "198.18.0.1".parse().unwrap()), error);
}

#[test]
fn what_is_no_sound_request_asks_for_nothing() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let sound = ping(world.gateway.addresses(), server, b"data");
        let at = ETHERNET_BYTES + if server.is_ipv4() { 20 } else { 40 };
        let changed = |place: usize, value: u8| {
            let mut frame = sound.clone();
            frame[at + place] = value;
            frame
        };
        // A reply, another code, a checksum that is off, a router's redirect.
        for (index, frame) in [changed(0, 0), changed(1, 1), changed(2, 0), changed(0, 5)].iter().enumerate()
        {
            let before = world.gateway.counters().dropped[DropReason::Unroutable as usize];
            assert!(world.answers(frame).is_empty(), "case {index}");
            assert_eq!(
                world.gateway.counters().dropped[DropReason::Unroutable as usize],
                before + 1,
                "case {index}"
            );
        }
    }
}
