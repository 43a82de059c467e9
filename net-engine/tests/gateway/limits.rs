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
fn a_hundred_thousand_connections_leave_nothing() {
    const CONNECTIONS: u32 = 100_000;
    let mut world = World::new(Setup::default());
    let mut resident = 0;
    for index in 0..CONNECTIONS {
        let server = SERVERS[usize::from(index % 3 == 0)];
        let at = world.established((server, 443), 20_000 + (index % 40_000) as u16);
        assert_eq!(world.fill(at.flow, b"hello"), 5);
        // Every way to end takes its turn.
        match index % 4 {
            0 => world.gateway.abort(at.flow),
            1 => world.guest.socket(at.guest).abort(),
            2 => world.gateway.close(at.flow),
            _ => world.guest.socket(at.guest).close(),
        }
        world.run_for(Duration::from_micros(200));
        world.guest.socket(at.guest).close();
        world.gateway.close(at.flow);
        world.run_for(Duration::from_micros(300));
        world.gateway.release(at.flow, world.now);
        world.run_for(Duration::from_micros(300));
        world.guest.sockets.remove(at.guest);
        if index == CONNECTIONS / 5 {
            resident = resident_bytes();
        }
    }
    // The guest's sockets went before they had acknowledged our FIN: its retransmission is answered
    // by RST.
    world.run_for(Duration::from_secs(5));
    let counters = world.gateway.counters();
    assert_eq!((counters.flows_open, counters.syns_held), (0, 0));
    assert_eq!(counters.flows_opened, u64::from(CONNECTIONS));
    // Flows that are gone have no deadlines.
    assert_eq!(world.gateway.poll_timeout(), None);
    let grown = resident_bytes().saturating_sub(resident);
    assert!(grown < 4 << 20, "{grown} bytes more after {} connections", CONNECTIONS / 5 * 4);
}

fn resident_bytes() -> usize {
    // Elsewhere than on Linux the counters above are the whole test.
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}
