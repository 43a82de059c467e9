//! Bounds: what is refused at them, and that nothing is left behind however often.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use net_engine::core::AcceptError;
use net_engine::core::Refusal;
use smoltcp::socket::tcp::State;

use crate::raw::{Segment, ping, tcp_of};
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
        crate::raw::mend(&mut frame);
        world.feed(&frame);
        held += std::mem::take(&mut world.syns).len();
        let _ = world.gateway.poll_flows(world.now);
        while let Some(sent) = world.gateway.next_frame() {
            resets += u32::from(tcp_of(sent.bytes()).is_some_and(|tcp| tcp.rst()));
            world.gateway.frame_sent();
        }
    }
    let bound = Setup::default().limits.max_held_syns;
    assert_eq!(held, bound);
    assert_eq!(u64::try_from(bound).unwrap(), world.gateway.counters().syns_held);
    assert_eq!(resets, SYNS - u32::try_from(bound).unwrap(), "each SYN too many is refused");

    assert_eq!(world.fill(at.flow, b"still here"), 10);
    let arrived =
        world.run_until(Duration::from_secs(1), |world| world.guest.socket(at.guest).recv_queue() == 10);
    assert!(arrived, "the flood starved an open flow");
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
