//! Frames no stack would send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use net_engine::core::{GuestAddresses, Ingress, MacAddress};
use net_engine::link::FrameMeta;
use smoltcp::wire::TcpControl;

use crate::raw::{ETHERNET_BYTES, GUEST_PORT, Segment, datagram, mend, ping, set_macs, tcp_of};
use crate::world::{SERVER_V4, SERVER_V6, SERVERS, Setup, World};

const STRANGER: MacAddress = MacAddress([0x02, 9, 9, 9, 9, 9]);

fn syn(addresses: &GuestAddresses, to: IpAddr) -> Vec<u8> {
    Segment::syn(SocketAddr::new(to, 443)).frame(addresses)
}

fn arp(addresses: &GuestAddresses) -> Vec<u8> {
    let pair = addresses.ipv4.expect("both families");
    let mut frame = vec![0; ETHERNET_BYTES];
    set_macs(&mut frame, MacAddress([0xff; 6]), addresses.guest_mac);
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend_from_slice(&addresses.guest_mac.0);
    frame.extend_from_slice(&pair.guest.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&pair.gateway.octets());
    frame
}

fn solicitation(addresses: &GuestAddresses) -> Vec<u8> {
    let pair = addresses.ipv6.expect("both families");
    let mut frame = ping(addresses, pair.gateway.into(), &[0; 24]);
    let last = pair.gateway.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, last[13], last[14], last[15]]);
    set_macs(&mut frame, MacAddress([0x33, 0x33, 0xff, last[13], last[14], last[15]]), addresses.guest_mac);
    let packet = &mut frame[ETHERNET_BYTES..];
    packet[7] = 255;
    packet[24..40].copy_from_slice(&group.octets());
    let message = &mut packet[40..];
    message[0] = 135;
    message[4..8].fill(0);
    message[8..24].copy_from_slice(&pair.gateway.octets());
    message[24..26].copy_from_slice(&[1, 1]);
    message[26..32].copy_from_slice(&addresses.guest_mac.0);
    smoltcp::wire::Icmpv6Packet::new_unchecked(message).fill_checksum(&pair.guest, &group);
    frame
}

/// A frame of every kind the gateway answers or hands on.
fn samples(addresses: &GuestAddresses) -> Vec<(&'static str, Vec<u8>)> {
    let gateway = addresses.ipv4.expect("both families").gateway;
    let gateway_v6 = addresses.ipv6.expect("both families").gateway;
    vec![
        ("arp", arp(addresses)),
        ("ndp", solicitation(addresses)),
        ("syn v4", syn(addresses, SERVER_V4)),
        ("syn v6", syn(addresses, SERVER_V6)),
        ("udp v4", datagram(addresses, SocketAddr::new(SERVER_V4, 53), b"question")),
        ("udp v6", datagram(addresses, SocketAddr::new(SERVER_V6, 53), b"question")),
        ("ping v4", ping(addresses, gateway.into(), b"data")),
        ("ping v6", ping(addresses, gateway_v6.into(), b"data")),
        ("echo v4", ping(addresses, SERVER_V4, b"data")),
        ("echo v6", ping(addresses, SERVER_V6, b"data")),
    ]
}

/// What a frame led to, in a word.
fn outcome(frame: &[u8]) -> String {
    let mut world = World::new(Setup::default());
    let outcome = match world.gateway.handle_frame(&FrameMeta::default(), frame, world.now) {
        Ingress::Syn { flow, .. } => format!("syn {} {}", flow.guest.ip(), flow.upstream),
        Ingress::Datagram { flow, .. } | Ingress::Datagrams { flow, .. } => {
            format!("datagram {} {}", flow.guest.ip(), flow.upstream)
        }
        Ingress::Reassembled(datagram) => {
            format!("whole {} {}", datagram.flow().guest.ip(), datagram.flow().upstream)
        }
        Ingress::Echo { flow, .. } => format!("echo {} {}", flow.guest.ip(), flow.upstream.ip()),
        Ingress::GivenUp { .. } => "given up".to_owned(),
        Ingress::Handled => String::new(),
    };
    let _ = world.gateway.poll_flows(world.now);
    let answered = world.gateway.next_frame().is_some();
    let dropped = world.gateway.counters().dropped_total();
    match (outcome.is_empty(), answered, dropped) {
        (false, false, 0) => outcome,
        (true, true, 0) => "answered".to_owned(),
        (true, false, 0) => "ignored".to_owned(),
        (true, _, 1) => "dropped".to_owned(),
        state => panic!("{outcome}: {state:?}"),
    }
}

#[test]
fn the_samples_are_what_they_claim() {
    let addresses = GuestAddresses::default();
    for (name, frame) in samples(&addresses) {
        let outcome = outcome(&frame);
        let expected = if name.starts_with("syn") {
            "syn "
        } else if name.starts_with("udp") {
            "datagram "
        } else if name.starts_with("echo") {
            "echo "
        } else {
            "answered"
        };
        assert!(outcome.starts_with(expected), "{name}: {outcome}");
    }
}

#[test]
fn every_prefix_of_a_frame_is_dropped() {
    let addresses = GuestAddresses::default();
    for (name, frame) in samples(&addresses) {
        for length in 0..frame.len() {
            let outcome = outcome(&frame[..length]);
            assert_eq!(outcome, "dropped", "{name}, {length} of {} bytes", frame.len());
        }
    }
}

#[test]
fn no_single_bit_lets_a_stranger_speak() {
    let addresses = GuestAddresses::default();
    let own = [addresses.ipv4.unwrap().guest.to_string(), addresses.ipv6.unwrap().guest.to_string()];
    for (name, frame) in samples(&addresses) {
        for bit in 0..frame.len() * 8 {
            for mends in [false, true] {
                let mut changed = frame.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let is_ip = !name.starts_with("arp") && matches!(changed[14] >> 4, 4 | 6);
                if mends && is_ip && matches!(bit / 8, 26..30 | 22..38 | 0..12) {
                    mend(&mut changed);
                }
                let outcome = outcome(&changed);
                let source = outcome.split(' ').nth(1);
                assert!(
                    source.is_none_or(|source| own.iter().any(|own| own == source)),
                    "{name}, bit {bit}: {outcome}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_the_guest_s_or_not_for_a_host_is_dropped() {
    type Change = fn(&mut Vec<u8>);
    let own = GuestAddresses::default();
    let cases: &[(&str, Vec<u8>, Change)] = &[
        ("source mac", syn(&own, SERVER_V4), |frame| frame[6..12].copy_from_slice(&STRANGER.0)),
        ("source mac v6", syn(&own, SERVER_V6), |frame| frame[6..12].copy_from_slice(&STRANGER.0)),
        ("source mac is the gateway's", syn(&own, SERVER_V4), |frame| frame.copy_within(0..6, 6)),
        ("destination mac", syn(&own, SERVER_V4), |frame| frame[..6].copy_from_slice(&STRANGER.0)),
        ("broadcast frame", syn(&own, SERVER_V4), |frame| frame[..6].fill(0xff)),
        ("multicast frame v6", syn(&own, SERVER_V6), |frame| {
            frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1])
        }),
        ("source address", syn(&own, SERVER_V4), |frame| frame[26..30].copy_from_slice(&[172, 16, 0, 3])),
        ("source is the gateway", syn(&own, SERVER_V4), |frame| {
            frame[26..30].copy_from_slice(&[172, 16, 0, 1])
        }),
        ("source is loopback", syn(&own, SERVER_V4), |frame| frame[26..30].copy_from_slice(&[127, 0, 0, 1])),
        ("source is unspecified", syn(&own, SERVER_V4), |frame| frame[26..30].fill(0)),
        ("source is the server", syn(&own, SERVER_V4), |frame| frame.copy_within(30..34, 26)),
        ("source address v6", syn(&own, SERVER_V6), |frame| frame[37] ^= 1),
        ("source is unspecified v6", syn(&own, SERVER_V6), |frame| frame[22..38].fill(0)),
        ("source is mapped", syn(&own, SERVER_V6), |frame| {
            frame[22..38].copy_from_slice(&Ipv4Addr::new(172, 16, 0, 2).to_ipv6_mapped().octets());
        }),
        ("to loopback", syn(&own, SERVER_V4), |frame| frame[30] = 127),
        ("to this network", syn(&own, SERVER_V4), |frame| frame[30] = 0),
        ("to multicast", syn(&own, SERVER_V4), |frame| frame[30] = 224),
        ("to class e", syn(&own, SERVER_V4), |frame| frame[30] = 240),
        ("to broadcast", syn(&own, SERVER_V4), |frame| frame[30..34].fill(255)),
        ("to the link's broadcast", syn(&own, SERVER_V4), |frame| {
            frame[30..34].copy_from_slice(&[172, 16, 0, 3])
        }),
        ("to multicast v6", syn(&own, SERVER_V6), |frame| frame[38] = 0xff),
        ("to loopback v6", syn(&own, SERVER_V6), |frame| {
            frame[38..54].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        }),
        ("to a mapped address", syn(&own, SERVER_V6), |frame| {
            frame[38..54].copy_from_slice(&Ipv4Addr::new(172, 16, 0, 1).to_ipv6_mapped().octets());
        }),
        ("to a compatible address", syn(&own, SERVER_V6), |frame| {
            frame[38..54].copy_from_slice(&Ipv4Addr::new(8, 8, 8, 8).to_ipv6_compatible().octets());
        }),
        ("to unspecified v6", syn(&own, SERVER_V6), |frame| frame[38..54].fill(0)),
        ("first fragment", syn(&own, SERVER_V4), |frame| frame[20] = 0x20),
        ("last fragment", syn(&own, SERVER_V4), |frame| frame[21] = 1),
        ("fragment header v6", syn(&own, SERVER_V6), |frame| frame[20] = 44),
        ("hop-by-hop v6", syn(&own, SERVER_V6), |frame| frame[20] = 0),
        ("ip version", syn(&own, SERVER_V4), |frame| frame[14] = 0x65),
        ("ip version v6", syn(&own, SERVER_V6), |frame| frame[14] = 0x40),
        ("header length", syn(&own, SERVER_V4), |frame| frame[14] = 0x44),
        ("total length", syn(&own, SERVER_V4), |frame| frame[16..18].copy_from_slice(&[0xff, 0xff])),
        ("payload length v6", syn(&own, SERVER_V6), |frame| frame[18..20].copy_from_slice(&[0xff, 0xff])),
        ("vlan tag", syn(&own, SERVER_V4), |frame| {
            frame.splice(12..12, [0x81, 0, 0, 1]);
        }),
        ("unknown ethertype", syn(&own, SERVER_V4), |frame| frame[12..14].copy_from_slice(&[0x88, 0xcc])),
        ("unknown protocol", syn(&own, SERVER_V4), |frame| frame[23] = 132),
        ("data offset", syn(&own, SERVER_V4), |frame| frame[46] = 0x10),
        ("data offset beyond the segment", syn(&own, SERVER_V4), |frame| frame[46] = 0xf0),
        ("source port 0", syn(&own, SERVER_V4), |frame| frame[34..36].fill(0)),
        ("destination port 0", syn(&own, SERVER_V6), |frame| frame[56..58].fill(0)),
    ];
    for (name, frame, change) in cases {
        let mut changed = frame.clone();
        change(&mut changed);
        if !["length", "offset", "vlan", "version"].iter().any(|word| name.contains(word)) {
            // Only the change itself may be what is wrong.
            mend(&mut changed);
        }
        assert_eq!(outcome(&changed), "dropped", "{name}");
    }
}

#[test]
fn wrong_checksums_are_dropped_and_counted() {
    let addresses = GuestAddresses::default();
    let cases: &[(&str, Vec<u8>, usize)] = &[
        ("ip header", syn(&addresses, SERVER_V4), 24),
        ("tcp v4", syn(&addresses, SERVER_V4), 50),
        ("tcp v6", syn(&addresses, SERVER_V6), 70),
        ("udp v6", datagram(&addresses, SocketAddr::new(SERVER_V6, 53), b"x"), 60),
    ];
    for (name, frame, at) in cases {
        let mut changed = frame.clone();
        changed[*at] ^= 0x55;
        assert_eq!(outcome(&changed), "dropped", "{name}");
    }
}

#[test]
fn padding_behind_the_packet_is_cut_off() {
    for server in SERVERS {
        let addresses = GuestAddresses::default();
        let mut frame = syn(&addresses, server);
        frame.extend_from_slice(&[0xaa; 30]);
        assert!(outcome(&frame).starts_with("syn "), "{server}");
    }
}

/// A connection of a guest that writes its own segments.
struct ByHand {
    world: World,
    to: SocketAddr,
    flow: net_engine::core::FlowId,
    /// The next sequence number of each side.
    seq: u32,
    ack: u32,
}

impl ByHand {
    fn established(server: IpAddr) -> Self {
        let mut world = World::new(Setup::default());
        let to = SocketAddr::new(server, 443);
        let frame = Segment::syn(to).frame(world.gateway.addresses());
        world.feed(&frame);
        let (flow, _) = world.syns.remove(0);
        world.gateway.accept(flow, world.now).expect("room");
        let answers = world.answers(&[]);
        let answer = tcp_of(&answers[0]).expect("a SYN-ACK");
        assert!(answer.syn() && answer.ack());
        let ack = u32::from_ne_bytes(answer.seq_number().0.to_ne_bytes()).wrapping_add(1);
        let mut this = Self { world, to, flow, seq: 1_001, ack };
        this.send(0, TcpControl::None, b"");
        this
    }

    /// Sends `payload` at `offset` from where the stream began.
    fn send(&mut self, offset: u32, control: TcpControl, payload: &[u8]) {
        let frame = self.frame(offset, control, payload);
        self.feed(&frame);
    }

    fn frame(&self, offset: u32, control: TcpControl, payload: &[u8]) -> Vec<u8> {
        let segment = Segment {
            to: self.to,
            from_port: GUEST_PORT,
            control,
            seq: self.seq.wrapping_add(offset),
            ack: Some(self.ack),
            window: 60_000,
            payload,
        };
        segment.frame(self.world.gateway.addresses())
    }

    fn feed(&mut self, frame: &[u8]) {
        self.world.answers(frame);
    }

    fn read(&mut self) -> Vec<u8> {
        self.world.drain(self.flow).0
    }
}

#[test]
fn overlapping_and_repeated_segments_make_one_stream() {
    /// Offset in the stream and payload.
    type Piece = (u32, &'static [u8]);
    const CASES: &[(&str, &[Piece])] = &[
        ("in order", &[(0, b"abc"), (3, b"def")]),
        ("swapped", &[(3, b"def"), (0, b"abc")]),
        ("repeated", &[(0, b"abc"), (0, b"abc"), (3, b"def")]),
        ("overlapping", &[(0, b"abcd"), (2, b"cdef")]),
        ("overlapping backwards", &[(2, b"cdef"), (0, b"abcd")]),
        ("covering", &[(1, b"bc"), (0, b"abcdef")]),
        ("byte by byte, backwards", &[(5, b"f"), (4, b"e"), (3, b"d"), (2, b"c"), (1, b"b"), (0, b"abcdef")]),
    ];
    for server in SERVERS {
        for (name, segments) in CASES {
            let mut hand = ByHand::established(server);
            for (offset, payload) in *segments {
                hand.send(*offset, TcpControl::Psh, payload);
            }
            assert_eq!(hand.read(), b"abcdef", "{server} {name}");
        }
    }
}

#[test]
fn segments_outside_the_window_change_nothing() {
    for server in SERVERS {
        for offset in [1 << 20, 1 << 30, u32::MAX - 5_000, 1 << 31] {
            let mut hand = ByHand::established(server);
            hand.send(offset, TcpControl::Psh, b"out of the window");
            hand.send(offset, TcpControl::Rst, b"");
            hand.send(0, TcpControl::Psh, b"abc");
            assert_eq!(hand.read(), b"abc", "{server} {offset}");
        }
    }
}

#[test]
fn urgent_data_is_data() {
    for server in SERVERS {
        let mut hand = ByHand::established(server);
        let mut frame = hand.frame(0, TcpControl::Psh, b"abc");
        let tcp = if server.is_ipv4() { 34 } else { 54 };
        frame[tcp + 13] |= 0x20;
        frame[tcp + 18..tcp + 20].copy_from_slice(&[0, 2]);
        mend(&mut frame);
        hand.feed(&frame);
        hand.send(3, TcpControl::Psh, b"def");
        assert_eq!(hand.read(), b"abcdef", "{server}");
    }
}

#[test]
fn a_flood_of_holes_is_bounded_and_heals() {
    for server in SERVERS {
        let mut hand = ByHand::established(server);
        for hole in 1..10_000 {
            hand.send(hole * 2, TcpControl::Psh, b"x");
        }
        assert_eq!(hand.read(), b"", "{server}: a byte before the hole");
        for at in 0..10 {
            hand.send(at, TcpControl::Psh, b"y");
            hand.world.now += Duration::from_millis(1);
        }
        assert!(hand.read().len() >= 10, "{server}: the stream is stuck");
    }
}

#[test]
fn an_icmp_error_is_never_answered_by_one() {
    let addresses = GuestAddresses::default();
    for server in SERVERS {
        let request = ping(&addresses, server, b"data");
        let hops = 14 + if server.is_ipv4() { 8 } else { 7 };
        let last = |mut message: Vec<u8>| {
            message[hops] = 1;
            if server.is_ipv4() {
                mend(&mut message);
            }
            message
        };
        assert!(outcome(&request).starts_with("echo "), "{server}");
        assert_eq!(outcome(&last(request.clone())), "answered", "{server}");
        // Destination unreachable, time exceeded, and a reply nobody asked for.
        for kind in if server.is_ipv4() { [3, 11, 0] } else { [1, 3, 129] } {
            let mut message = request.clone();
            message[if server.is_ipv4() { 34 } else { 54 }] = kind;
            assert_eq!(outcome(&message), "dropped", "{server} type {kind}");
            assert_eq!(outcome(&last(message)), "dropped", "{server} type {kind}, its last hop");
        }
    }
}

#[test]
fn a_syn_that_no_socket_would_take_is_dropped_before_anybody_dials() {
    let addresses = GuestAddresses::default();
    for server in SERVERS {
        let mut frame = syn(&addresses, server);
        // The header ends with the MSS option: kind 2, length 4, whose length becomes 3.
        let length = frame.len() - 3;
        assert_eq!(frame[length - 1..=length], [2, 4]);
        frame[length] = 3;
        mend(&mut frame);
        assert_eq!(outcome(&frame), "dropped", "{server}");
    }
}
