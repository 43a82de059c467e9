//! Bounds: what is refused at them, and that nothing is left behind however often.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use net_core::{Flow, Protocol};
use net_engine::core::{AcceptError, Refusal, Unreachable};
use smoltcp::socket::tcp::State;
use smoltcp::wire::TcpControl;

use crate::raw::{Segment, datagram, mend, ping, tcp_of};
use crate::world::{SERVER_V4, SERVERS, Setup, World};

#[test]
fn a_flow_too_many_waits_to_be_refused() {
    for server in SERVERS {
        let mut setup = Setup::default();
        setup.limits.max_tcp_flows = 2;
        let mut world = World::new(setup);
        let first = world.established((server, 443), 40_000);
        world.established((server, 443), 40_001);
        let third = world.syn_held((server, 443), 40_002);
        assert_eq!(world.gateway.accept(third.flow, world.now), Err(AcceptError::Limit), "{server}");
        world.refuse(third.flow, Refusal::Reset);
        world.run_for(Duration::from_millis(5));
        assert_eq!(world.guest.socket(third.guest).state(), State::Closed, "{server}");
        // One that ends makes room.
        world.gateway.release(first.flow, world.now);
        world.run_for(Duration::from_millis(5));
        world.established((server, 443), 40_003);
    }
}

#[test]
fn a_flood_of_syns_is_refused_at_the_bound_and_hurts_nobody() {
    const SYNS: u32 = 1_000_000;
    let mut world = World::new(Setup::default());
    let at = world.established((SERVER_V4, 443), 39_999);
    let addresses = *world.gateway.addresses();
    let (mut held, mut resets) = (0, 0);
    let mut frame = Segment::syn(SocketAddr::new(SERVER_V4, 80)).frame(&addresses);
    for index in 0..SYNS {
        // Another destination each time: address and checksums are patched in place.
        let to = Ipv4Addr::from_bits(0x0100_0000 + index);
        frame[30..34].copy_from_slice(&to.octets());
        mend(&mut frame);
        world.feed(&frame);
        held += std::mem::take(&mut world.syns).len();
        let _ = world.gateway.poll_flows(world.now);
        while let Some(sent) = world.gateway.next_frame() {
            resets += u32::from(tcp_of(sent.bytes()).is_some_and(|tcp| tcp.rst()));
            world.gateway.frame_sent();
        }
    }
    let limits = Setup::default().limits;
    let (bound, counted) = (limits.max_held_syns, world.gateway.counters());
    assert_eq!(held, bound);
    assert_eq!(u64::try_from(bound).unwrap(), counted.syns_held);
    assert_eq!(counted.flows_refused, u64::from(SYNS) - counted.syns_held, "each SYN too many is refused");
    // All within one moment: as many are told so as in a second.
    assert_eq!(resets, limits.resets_per_second);
    assert_eq!(counted.resets_withheld, counted.flows_refused - u64::from(resets));
    assert_eq!(world.gateway.take_reached(), Some("max_held_syns"));

    assert_eq!(world.fill(at.flow, b"still here"), 10);
    let arrived =
        world.run_until(Duration::from_secs(1), |world| world.guest.socket(at.guest).recv_queue() == 10);
    assert!(arrived, "the flood starved an open flow");
}

/// Feeds a frame of the guest, and lets the gateway send; how many RSTs that were.
fn resets_for(world: &mut World, frame: &[u8]) -> u32 {
    let answers = world.answers(frame);
    answers.iter().map(|answer| u32::from(tcp_of(answer).is_some_and(|tcp| tcp.rst()))).sum()
}

/// An open flow gets what is for it, both ways, within a second of its time.
fn goes_on(world: &mut World, at: &crate::world::Connection) {
    assert_eq!(world.fill(at.flow, b"down"), 4);
    world.guest.socket(at.guest).send_slice(b"up").expect("it is open");
    let mut heard = Vec::new();
    let arrived = world.run_until(Duration::from_secs(1), |world| {
        heard.extend(world.drain(at.flow).0);
        heard == b"up" && world.guest.socket(at.guest).recv_queue() == 4
    });
    assert!(arrived, "a flood starved an open flow");
    assert_eq!(world.drain_guest(at.guest), b"down");
}

#[test]
fn syns_above_the_rate_make_no_flow_and_few_of_them_are_answered() {
    for server in SERVERS {
        let mut setup = Setup::default();
        setup.limits.new_flows_per_second = 10;
        setup.limits.new_flow_burst = 20;
        setup.limits.resets_per_second = 50;
        let mut world = World::new(setup);
        let addresses = *world.gateway.addresses();
        let at = world.established((server, 443), 39_999);
        world.run_for(Duration::from_secs(10));
        let mut port = 1_024;
        // So many at each of these moments, and what becomes of them.
        for (pause_ms, syns, begin, reset) in [(0, 5_000, 20, 50), (100, 5_000, 1, 5), (1_000, 5_000, 10, 50)]
        {
            world.run_for(Duration::from_millis(pause_ms));
            let (mut begun, mut resets) = (0, 0);
            for _ in 0..syns {
                port += 1;
                let mut syn = Segment::syn(SocketAddr::new(server, 80));
                syn.from_port = port;
                resets += resets_for(&mut world, &syn.frame(&addresses));
                begun += world.syns.drain(..).count();
            }
            assert_eq!((begun, resets), (begin, reset), "{server}, {pause_ms} ms later");
            assert_eq!(world.gateway.take_reached(), Some("new_flows_per_second"));
            goes_on(&mut world, &at);
        }
        let counted = world.gateway.counters();
        assert_eq!((counted.flows_over_rate, counted.syns_held), (15_000 - 31, 31), "{server}");
        assert_eq!(counted.flows_refused, counted.flows_over_rate, "{server}");
        assert_eq!(counted.resets_withheld, counted.flows_refused - 105, "{server}");
    }
}

#[test]
fn segments_of_no_flow_are_answered_at_a_rate() {
    for server in SERVERS {
        let mut setup = Setup::default();
        setup.limits.resets_per_second = 50;
        let mut world = World::new(setup);
        let addresses = *world.gateway.addresses();
        let at = world.established((server, 443), 39_999);
        let mut stray = Segment::syn(SocketAddr::new(server, 80));
        (stray.control, stray.ack) = (TcpControl::None, Some(7));
        let frame = stray.frame(&addresses);
        for expected in [50, 50] {
            let resets: u32 = (0..1_000).map(|_| resets_for(&mut world, &frame)).sum();
            assert_eq!(resets, expected, "{server}");
            goes_on(&mut world, &at);
            world.run_for(Duration::from_secs(1));
        }
        assert_eq!(world.gateway.counters().resets_withheld, 1_900, "{server}");
    }
}

#[test]
fn errors_of_icmp_have_a_rate() {
    for server in SERVERS {
        let mut setup = Setup::default();
        setup.limits.icmp_errors_per_second = 20;
        let mut world = World::new(setup);
        let addresses = *world.gateway.addresses();
        let frame = datagram(&addresses, SocketAddr::new(server, 9), b"data");
        let mut last_hop = frame.clone();
        last_hop[14 + if server.is_ipv4() { 8 } else { 7 }] = 1;
        mend(&mut last_hop);
        for expected in [20, 20] {
            // Those the gateway gives by itself, and those that it is told to give.
            let mut errors = 0;
            for _ in 0..500 {
                errors += world.answers(&last_hop).len();
                world.gateway.push_unreachable(&frame[14..], Unreachable::Port);
                errors += world.answers(&[]).len();
            }
            assert_eq!(errors, expected, "{server}");
            world.run_for(Duration::from_secs(1));
        }
        assert_eq!(world.gateway.counters().icmp_errors_withheld, 2_000 - 40, "{server}");
    }
}

#[test]
fn errors_of_icmp_that_find_no_room_are_counted() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let addresses = *world.gateway.addresses();
        let upstream = SocketAddr::new(server, 9);
        let frame = datagram(&addresses, upstream, b"data");
        let guest = if server.is_ipv4() {
            addresses.ipv4.unwrap().guest.into()
        } else {
            addresses.ipv6.unwrap().guest.into()
        };
        let flow = Flow { protocol: Protocol::Udp, guest: SocketAddr::new(guest, 9_000), upstream };
        let mut queued = 0;
        while world.gateway.has_room() {
            world.gateway.push_unreachable(&frame[14..], Unreachable::Port);
            queued += 1;
            assert!(queued <= 10_000, "the queue has no bound");
        }
        assert_eq!(world.gateway.counters().icmp_errors_lost, 0, "{server}");
        // Of each of those that have left together, and of one whose packet is still there.
        for _ in 0..5 {
            world.gateway.push_undelivered(&flow, b"data", Unreachable::Port.into());
        }
        world.gateway.push_unreachable(&frame[14..], Unreachable::Port);
        let counted = world.gateway.counters();
        assert_eq!((counted.icmp_errors_lost, counted.icmp_errors_withheld), (6, 0), "{server}");
        assert_eq!(world.answers(&[]).len(), queued, "{server}");
        world.gateway.push_undelivered(&flow, b"data", Unreachable::Port.into());
        assert_eq!(world.answers(&[]).len(), 1, "{server}");
        assert_eq!(world.gateway.counters().icmp_errors_lost, 6, "{server}");
    }
}

#[test]
fn pings_beyond_the_queue_wait_for_room() {
    let mut world = World::new(Setup::default());
    let addresses = *world.gateway.addresses();
    let frame = ping(&addresses, addresses.ipv4.unwrap().gateway.into(), &[7; 1_000]);
    let mut handled = 0;
    while world.gateway.has_room() {
        world.feed(&frame);
        handled += 1;
        assert!(handled <= 10_000, "the queue has no bound");
    }
    assert_eq!(handled, Setup::default().limits.max_queued_frames);
}

#[test]
fn flows_share_a_link_that_is_full() {
    let mut setup = Setup::default();
    setup.limits.max_queued_frames = 4;
    let mut world = World::new(setup);
    let flows = [40_000, 40_001, 40_002].map(|port| world.established((SERVER_V4, 443), port));
    for at in &flows {
        assert!(world.fill(at.flow, &[7; 64 << 10]) > 32 << 10);
    }
    // The link takes one queue's worth at a time: every flow is in one of the first few.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..flows.len() {
        assert!(world.gateway.poll_flows(world.now), "more than a queue's worth waits");
        while let Some(frame) = world.gateway.next_frame() {
            seen.extend(tcp_of(frame.bytes()).map(|tcp| tcp.dst_port()));
            world.gateway.frame_sent();
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [40_000, 40_001, 40_002]);
}
