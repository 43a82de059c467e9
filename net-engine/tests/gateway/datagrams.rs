//! UDP in both directions: whole, in fragments, and not delivered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use net_core::{Flow, Limits, Protocol};
use net_engine::core::{DropReason, GuestAddresses, IcmpError, Ingress, Passage, Undelivery, Unreachable};
use net_engine::link::{FrameMeta, Segmentation, SegmentationKind};
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, UdpPacket};

use crate::raw::{ETHERNET_BYTES, GUEST_PORT, Segment, cut, datagram, icmp_of};
use crate::wire::complete;
use crate::world::{SERVER_V4, SERVER_V6, SERVERS, Setup, World};

const MTU: usize = 1500;

fn guest(addresses: &GuestAddresses, server: IpAddr) -> SocketAddr {
    let ip = match server {
        IpAddr::V4(_) => addresses.ipv4.expect("both families").guest.into(),
        IpAddr::V6(_) => addresses.ipv6.expect("both families").guest.into(),
    };
    SocketAddr::new(ip, GUEST_PORT)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index % 253).expect("a byte")).collect()
}

/// What a frame to the guest is a part of: id, offset, whether it is the last, and its data.
fn part(frame: &[u8]) -> (u32, usize, bool, &[u8]) {
    let packet = &frame[ETHERNET_BYTES..];
    if frame[12..14] == [0x08, 0x00] {
        let packet = Ipv4Packet::new_checked(packet).expect("lengths that agree");
        assert!(packet.verify_checksum());
        let start = usize::from(packet.header_len());
        let (id, offset) = (u32::from(packet.ident()), usize::from(packet.frag_offset()));
        (id, offset, !packet.more_frags(), &frame[ETHERNET_BYTES + start..])
    } else {
        let packet = Ipv6Packet::new_checked(packet).expect("lengths that agree");
        assert_eq!(packet.total_len(), frame.len() - ETHERNET_BYTES);
        let payload = &frame[ETHERNET_BYTES + 40..];
        if u8::from(packet.next_header()) != 44 {
            return (0, 0, true, payload);
        }
        let word = u16::from_be_bytes([payload[2], payload[3]]);
        assert_eq!((payload[0], payload[1], word & 6), (17, 0, 0));
        let id = u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]);
        (id, usize::from(word & !7), word & 1 == 0, &payload[8..])
    }
}

#[test]
fn a_datagram_reaches_the_guest_in_as_many_packets_as_it_needs() {
    for (server, in_one, in_all) in [(SERVER_V4, 1472, 65_507), (SERVER_V6, 1452, 65_527)] {
        let mut world = World::new(Setup::default());
        let source = SocketAddr::new(server, 7);
        let destination = guest(&GuestAddresses::default(), server);
        let mut ids = Vec::new();
        for length in [0, 1, in_one, in_one + 1, 3_000, 60_000, in_all] {
            let payload = bytes(length);
            assert!(world.gateway.push_datagram(source, destination, &payload));
            let frames = world.answers(&[]);
            let expected = if length <= in_one {
                1
            } else {
                (length + 8).div_ceil(if server.is_ipv4() { 1480 } else { 1448 })
            };
            assert_eq!(frames.len(), expected, "{length} bytes from {server}");
            let mut whole = Vec::new();
            for (index, frame) in frames.iter().enumerate() {
                assert!(frame.len() <= ETHERNET_BYTES + MTU, "{} bytes", frame.len());
                let (id, offset, is_last, data) = part(frame);
                assert_eq!((offset, is_last), (whole.len(), index + 1 == frames.len()));
                assert_eq!(id, part(&frames[0]).0);
                whole.extend_from_slice(data);
            }
            if frames.len() > 1 {
                ids.push(part(&frames[0]).0);
            }
            let udp = UdpPacket::new_checked(&whole[..]).expect("lengths that agree");
            assert!(udp.verify_checksum(&server.into(), &destination.ip().into()), "{length} bytes");
            assert_eq!((udp.src_port(), udp.dst_port()), (7, GUEST_PORT));
            assert_eq!(udp.payload(), payload);
        }
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count, "an id is used twice: {ids:?}");
        assert!(!world.gateway.push_datagram(source, destination, &bytes(in_all + 1)));
        assert!(world.answers(&[]).is_empty());
    }
}

/// Who sends, and how much.
type Sent = (SocketAddr, usize);

#[test]
fn datagrams_that_follow_each_other_share_a_frame_where_the_link_cuts_them() {
    let addresses = GuestAddresses::default();
    for server in SERVERS {
        let (first, second) = (SocketAddr::new(server, 7), SocketAddr::new(server, 8));
        let to = guest(&addresses, server);
        // Who sends how much, and how many frames that makes.
        let cases: [(&str, Vec<Sent>, usize); 9] = [
            ("one", vec![(first, 1_200)], 1),
            ("alike", vec![(first, 1_200); 10], 1),
            ("a shorter one is the last", vec![(first, 1_200), (first, 1_200), (first, 3), (first, 3)], 2),
            ("a longer one is another's first", vec![(first, 100), (first, 1_200), (first, 1_200)], 2),
            ("of another", vec![(first, 9), (second, 9), (second, 9), (first, 9)], 3),
            ("empty ones", vec![(first, 9), (first, 0), (first, 0), (first, 9), (first, 9)], 4),
            ("many", vec![(first, 64); 129], 3),
            ("much", vec![(first, 1_400); 35], 3),
            ("in fragments", vec![(first, 1_400), (first, 2_000), (first, 1_400)], 4),
        ];
        for is_joined in [true, false] {
            for (case, sent, frames) in &cases {
                let mut world = World::new(Setup { offload: true, ..Setup::default() });
                if is_joined {
                    world.gateway.join_datagrams();
                }
                let payload = |index: usize, length: usize| {
                    let mut payload = bytes(length);
                    payload.iter_mut().for_each(|byte| *byte ^= u8::try_from(index).unwrap());
                    payload
                };
                for (index, (from, length)) in sent.iter().enumerate() {
                    assert!(world.gateway.push_datagram(*from, to, &payload(index, *length)), "{case}");
                }
                let (mut count, mut seen) = (0, Vec::new());
                while let Some(frame) = world.gateway.next_frame() {
                    count += 1;
                    for piece in complete(&frame.meta, frame.bytes()) {
                        let packet = &piece[ETHERNET_BYTES..];
                        if packet[if server.is_ipv4() { 9 } else { 6 }] == 17
                            && (server.is_ipv6() || packet[6] & 0x3f == 0 && packet[7] == 0)
                        {
                            let start = if server.is_ipv4() { 20 } else { 40 };
                            let datagram = UdpPacket::new_checked(&packet[start..]).unwrap();
                            assert!(datagram.verify_checksum(&server.into(), &to.ip().into()), "{case}");
                            assert_eq!(usize::from(datagram.len()), packet.len() - start, "{case}");
                            seen.push((datagram.src_port(), datagram.payload().to_vec()));
                        }
                    }
                    world.gateway.frame_sent();
                }
                let expected = sent.iter().enumerate().filter(|(_, (_, length))| *length < 1_472);
                let expected: Vec<_> =
                    expected.map(|(index, (from, length))| (from.port(), payload(index, *length))).collect();
                assert_eq!(seen, expected, "{case}");
                let fragments = usize::from(*case == "in fragments");
                let frames = if is_joined { *frames } else { sent.len() + fragments };
                assert_eq!(count, frames, "{case}, {is_joined}");
            }
        }
    }
}

#[test]
fn a_frame_that_has_left_is_joined_by_nobody() {
    let addresses = GuestAddresses::default();
    let (source, to) = (SocketAddr::new(SERVER_V4, 7), guest(&addresses, SERVER_V4));
    let mut world = World::new(Setup { offload: true, ..Setup::default() });
    world.gateway.join_datagrams();
    for round in 0..3 {
        for _ in 0..4 {
            assert!(world.gateway.push_datagram(source, to, &[round; 500]));
        }
        let frame = world.gateway.next_frame().expect("a frame");
        assert_eq!(frame.bytes()[ETHERNET_BYTES + 28..], [round; 2_000]);
        world.gateway.frame_sent();
        assert!(world.gateway.next_frame().is_none());
    }
    // Nor one that others are behind.
    assert!(world.gateway.push_datagram(source, to, b"12"));
    world.gateway.push_unreachable(&datagram(&addresses, source, b"x")[ETHERNET_BYTES..], Unreachable::Port);
    assert!(world.gateway.push_datagram(source, to, b"34"));
    assert_eq!(world.answers(&[]).len(), 3);
}

#[test]
fn datagrams_have_room_beside_streams_and_not_without_end() {
    let limits = Limits { max_queued_frames: 4, ..Setup::default().limits };
    let mut world = World::new(Setup { limits, ..Setup::default() });
    let (source, destination) = (SocketAddr::new(SERVER_V4, 7), guest(&GuestAddresses::default(), SERVER_V4));
    let mut taken = 0;
    while world.gateway.push_datagram(source, destination, b"x") {
        taken += 1;
        assert_eq!(world.gateway.has_room(), taken < 4);
        // Asked for are no more than these; what comes along with them is taken too.
        assert_eq!(world.gateway.has_room_for_datagrams(), taken < 8);
    }
    assert_eq!(taken, 8 + 256);
    world.gateway.frame_sent();
    // Of a large one all comes in, or nothing.
    assert!(world.gateway.push_datagram(source, destination, &bytes(60_000)));
    assert!(!world.gateway.push_datagram(source, destination, &bytes(60_000)));
    assert_eq!(world.answers(&[]).len(), taken - 1 + 60_008_usize.div_ceil(1480));
}

#[test]
fn fragments_of_the_guest_are_one_datagram_in_any_order() {
    let addresses = GuestAddresses::default();
    for server in SERVERS {
        for length in [1_500, 4_000, 65_507] {
            let payload = bytes(length);
            let frame = datagram(&addresses, SocketAddr::new(server, 7), &payload);
            let pieces = cut(&frame, 1480, 77);
            let reversed = pieces.iter().rev();
            for pieces in [pieces.iter().collect::<Vec<_>>(), reversed.collect()] {
                let mut world = World::new(Setup::default());
                let (last, others) = pieces.split_last().expect("pieces");
                for piece in others {
                    let ingress = world.gateway.handle_frame(&FrameMeta::default(), piece, world.now);
                    assert!(matches!(ingress, Ingress::Handled), "{ingress:?}");
                }
                let ingress = world.gateway.handle_frame(&FrameMeta::default(), last, world.now);
                let Ingress::Reassembled(whole) = ingress else { panic!("{ingress:?}") };
                assert_eq!(whole.payload(), payload);
                assert_eq!(whole.flow().upstream, SocketAddr::new(server, 7));
                assert_eq!(whole.flow().guest, guest(&addresses, server));
                assert_eq!(world.gateway.counters().dropped_total(), 0);
                // It can be quoted like any other packet.
                world.gateway.push_unreachable(whole.packet(), Unreachable::Port);
                let answers = world.answers(&[]);
                let expected = if server.is_ipv4() { (1, 3, 3) } else { (58, 1, 4) };
                assert_eq!(icmp_of(&answers[0]), Some(expected));
            }
        }
    }
}

#[test]
fn how_a_datagram_asks_to_be_carried_is_handed_on_in_whatever_way_it_comes() {
    let addresses = GuestAddresses::default();
    for server in SERVERS {
        let whole = datagram(&addresses, SocketAddr::new(server, 7), &bytes(2_000));
        let with = |frame: &[u8], hops: u8, is_kept_whole: bool| {
            let mut frame = frame.to_vec();
            if server.is_ipv4() {
                let mut header = Ipv4Packet::new_unchecked(&mut frame[ETHERNET_BYTES..]);
                header.set_hop_limit(hops);
                header.set_dont_frag(is_kept_whole);
                header.fill_checksum();
            } else {
                frame[ETHERNET_BYTES + 7] = hops;
            }
            frame
        };
        for is_kept_whole in [false, true] {
            let frame = with(&whole, 9, is_kept_whole);
            // No router cuts a packet of IPv6.
            let may_be_cut = server.is_ipv4() && !is_kept_whole;
            let segmentation =
                Some(Segmentation { kind: SegmentationKind::Udp, header_bytes: 42, size: 1_000 });
            for segmentation in [None, segmentation] {
                let mut world = World::new(Setup::default());
                let meta = FrameMeta { segmentation, ..FrameMeta::default() };
                let ingress = world.gateway.handle_frame(&meta, &frame, world.now);
                let (Ingress::Datagram { passage, .. } | Ingress::Datagrams { passage, .. }) = ingress else {
                    panic!("{ingress:?}")
                };
                assert_eq!(passage, Passage { hops: 8, may_be_cut });
            }
        }
        // What comes in fragments may be cut again, and goes as far as its first one.
        let mut world = World::new(Setup::default());
        let pieces = cut(&whole, 1480, 77);
        let _ = world.gateway.handle_frame(&FrameMeta::default(), &with(&pieces[1], 20, false), world.now);
        let last = with(&pieces[0], 9, false);
        let ingress = world.gateway.handle_frame(&FrameMeta::default(), &last, world.now);
        let Ingress::Reassembled(whole) = ingress else { panic!("{ingress:?}") };
        assert_eq!(whole.passage(), Passage { hops: 8, may_be_cut: true });
    }
}

#[test]
fn datagrams_that_share_a_frame_are_told_apart_within_reason() {
    let addresses = GuestAddresses::default();
    for server in SERVERS {
        let frame = datagram(&addresses, SocketAddr::new(server, 7), &bytes(5_000));
        let pieces = |size, kind| {
            let mut world = World::new(Setup::default());
            let segmentation = Some(Segmentation { kind, header_bytes: 42, size });
            let meta = FrameMeta { segmentation, ..FrameMeta::default() };
            match world.gateway.handle_frame(&meta, &frame, world.now) {
                Ingress::Datagrams { payload, piece_bytes, .. } => {
                    assert_eq!(payload, bytes(5_000));
                    Some(Some(piece_bytes.get()))
                }
                Ingress::Datagram { .. } => Some(None),
                Ingress::Handled
                | Ingress::Syn { .. }
                | Ingress::GivenUp { .. }
                | Ingress::Echo { .. }
                | Ingress::Reassembled(_) => None,
            }
        };
        assert_eq!(pieces(1_200, SegmentationKind::Udp), Some(Some(1_200)));
        assert_eq!(pieces(5_000, SegmentationKind::Udp), Some(Some(5_000)));
        // 128 pieces, and one more.
        assert_eq!(pieces(40, SegmentationKind::Udp), Some(Some(40)));
        assert_eq!(pieces(39, SegmentationKind::Udp), None);
        assert_eq!(pieces(0, SegmentationKind::Udp), None);
        assert_eq!(pieces(1, SegmentationKind::TcpV4), Some(None));
    }
}

#[test]
fn fragments_that_are_no_datagram_of_the_guest_s_are_dropped() {
    let addresses = GuestAddresses::default();
    for server in SERVERS {
        let to = SocketAddr::new(server, 7);
        let whole = datagram(&addresses, to, &bytes(2_000));
        let dropped = |frames: &[Vec<u8>]| {
            let mut world = World::new(Setup::default());
            let mut outcomes = Vec::new();
            for frame in frames {
                let before = world.gateway.counters().dropped_total();
                let ingress = world.gateway.handle_frame(&FrameMeta::default(), frame, world.now);
                assert!(matches!(ingress, Ingress::Handled), "{ingress:?}");
                outcomes.push(world.gateway.counters().dropped_total() > before);
            }
            outcomes
        };
        // A segment of TCP.
        let syn = Segment { payload: &bytes(2_000), ..Segment::syn(to) }.frame(&addresses);
        assert_eq!(dropped(&cut(&syn, 1480, 1)), [true, true]);
        // A sum that is wrong: found out once it is whole.
        let mut damaged = cut(&whole, 1480, 1);
        let last = damaged[1].len() - 1;
        damaged[1][last] ^= 1;
        assert_eq!(dropped(&damaged), [false, true]);
        // From another address, or to everybody.
        let mut strange = cut(&whole, 1480, 1);
        let mut everybody = strange.clone();
        for (frame, group) in strange.iter_mut().zip(&mut everybody) {
            let (source, destination) = if server.is_ipv4() { (26, 30) } else { (22, 38) };
            frame[source + 2] ^= 1;
            match server {
                IpAddr::V4(_) => {
                    group[destination..destination + 4].copy_from_slice(&Ipv4Addr::new(224, 0, 0, 1).octets())
                }
                IpAddr::V6(_) => group[destination..destination + 16]
                    .copy_from_slice(&Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets()),
            }
            for frame in [frame, group] {
                if server.is_ipv4() {
                    Ipv4Packet::new_unchecked(&mut frame[ETHERNET_BYTES..]).fill_checksum();
                }
            }
        }
        assert_eq!(dropped(&strange), [true, true]);
        assert_eq!(dropped(&everybody), [true, true]);
        // Not to the end within time.
        let pieces = cut(&whole, 1480, 1);
        let mut world = World::new(Setup::default());
        world.feed(&pieces[0]);
        let patience = Setup::default().limits.fragment_timeout;
        assert_eq!(world.gateway.poll_timeout(), Some(world.now + patience));
        world.now += patience + Duration::from_millis(1);
        let _ = world.gateway.poll_flows(world.now);
        assert_eq!(world.gateway.poll_timeout(), None);
        let ingress = world.gateway.handle_frame(&FrameMeta::default(), &pieces[1], world.now);
        assert!(matches!(ingress, Ingress::Handled), "{ingress:?}");
    }
}

#[test]
fn fragments_of_anything_but_udp_are_counted_as_such() {
    let addresses = GuestAddresses::default();
    let mut world = World::new(Setup::default());
    let echo = crate::raw::ping(&addresses, SERVER_V4, &bytes(2_000));
    for piece in cut(&echo, 1480, 1) {
        world.feed(&piece);
    }
    let index = 4;
    assert_eq!((DropReason::Fragment.as_str(), world.gateway.counters().dropped[index]), ("fragment", 2));
}

#[test]
fn what_was_not_delivered_is_quoted_as_the_guest_has_sent_it() {
    let addresses = GuestAddresses::default();
    for server in SERVERS {
        for payload in [&b"hello"[..], &bytes(2_000)] {
            let mut world = World::new(Setup::default());
            let upstream = SocketAddr::new(server, 7);
            let flow = Flow { protocol: Protocol::Udp, guest: guest(&addresses, server), upstream };
            world.gateway.push_undelivered(&flow, payload, Unreachable::Host.into());
            let answers = world.answers(&[]);
            let (expected, quote, most) =
                if server.is_ipv4() { ((1, 3, 1), 28, 548) } else { ((58, 1, 3), 48, 1_232) };
            assert_eq!((answers.len(), icmp_of(&answers[0])), (1, Some(expected)));
            let quoted = &answers[0][ETHERNET_BYTES + quote..];
            let sent = datagram(&addresses, upstream, payload);
            let sent = &sent[ETHERNET_BYTES..];
            assert_eq!(quoted, &sent[..sent.len().min(most)], "{server}");
        }
    }
}

#[test]
fn a_link_on_the_way_that_is_too_small_is_told_with_its_mtu_by_whoever_said_so() {
    let addresses = GuestAddresses::default();
    for (server, router) in SERVERS.into_iter().zip(["198.51.100.1", "2001:db8::1"]) {
        let mut world = World::new(Setup::default());
        let (upstream, router) = (SocketAddr::new(server, 7), router.parse().unwrap());
        let flow = Flow { protocol: Protocol::Udp, guest: guest(&addresses, server), upstream };
        let error = IcmpError { why: Undelivery::TooBig { mtu: 1_340 }, from: Some(router) };
        world.gateway.push_undelivered(&flow, &bytes(1_400), error);
        let answers = world.answers(&[]);
        // Where the source and the message begin: RFC 1191, section 4; RFC 4443, section 3.2.
        let (source, message, kind) =
            if server.is_ipv4() { (12..16, 20, [3, 4]) } else { (8..24, 40, [2, 0]) };
        let packet = &answers[0][ETHERNET_BYTES..];
        let from = match router {
            IpAddr::V4(from) => from.octets().to_vec(),
            IpAddr::V6(from) => from.octets().to_vec(),
        };
        assert_eq!((answers.len(), &packet[source]), (1, &from[..]));
        assert_eq!(packet[message..message + 2], kind);
        assert_eq!(packet[message + 4..message + 8], 1_340u32.to_be_bytes());
        let sent = datagram(&addresses, upstream, &bytes(1_400));
        assert_eq!(packet[message + 8..message + 500], sent[ETHERNET_BYTES..ETHERNET_BYTES + 492]);
    }
}
