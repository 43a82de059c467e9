//! Connection after connection leaves nothing behind. A process of its own: it looks at all of the
//! process's memory.
#![allow(dead_code, unreachable_pub, reason = "the world is that of the gateway tests, which use all of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "../gateway/guest.rs"]
mod guest;
#[path = "../gateway/wire.rs"]
mod wire;
#[path = "../gateway/world.rs"]
mod world;

use std::time::Duration;

use net_core::Limits;

use crate::world::{SERVERS, Setup, World};

#[test]
fn memory_is_what_it_should_be() {
    // One after the other: each looks at all of the process.
    rings_hold_what_is_counted();
    flows_hold_no_more_than_the_limits_say();
    a_hundred_thousand_connections_leave_nothing();
}

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

/// The judge of what is counted: the kernel.
fn rings_hold_what_is_counted() {
    const FLOWS: u16 = 100;
    const BYTES: usize = 400 << 10;
    let limits = Limits { tcp_tx_buffer_bytes: 512 << 10, ..Limits::default() };
    let mut world = World::new(Setup { limits, ..Setup::default() });
    let flows: Vec<_> = (0..FLOWS).map(|port| world.established((SERVERS[0], 443), 20_000 + port)).collect();
    let before = resident_bytes();
    for at in &flows {
        assert_eq!(world.fill(at.flow, &vec![7; BYTES]), BYTES);
    }
    world.run_for(Duration::from_millis(500));
    let counted = usize::try_from(world.gateway.counters().ring_bytes).unwrap();
    // The guest's own buffers are in this process too.
    let guests = usize::from(FLOWS) * (128 << 10) + (4 << 20);
    let grown = resident_bytes().saturating_sub(before);
    assert!(counted >= usize::from(FLOWS) * BYTES && grown <= counted + guests, "{grown}, {counted} counted");

    for at in &flows {
        let mut got = 0;
        let all = world.run_until(Duration::from_secs(60), |world| {
            got += world.drain_guest(at.guest).len();
            got == BYTES
        });
        assert!(all, "{got}");
    }
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.gateway.counters().ring_bytes, 0);
    let kept = resident_bytes().saturating_sub(before);
    assert!(kept <= guests, "{kept} bytes are kept of {grown}");
}

/// Nobody reads, at either end of many flows: what the process holds more then is bounded by the limits alone.
fn flows_hold_no_more_than_the_limits_say() {
    const FLOWS: u16 = 128;
    /// What `Limits::max_ring_bytes` says that a flow holds beyond it at most.
    const BEYOND: usize = 84 << 10;
    /// For everything but rings, a few KiB a flow.
    const ELSE: usize = 2 << 20;
    let limits = Limits {
        tcp_rx_buffer_bytes: 256 << 10,
        tcp_tx_buffer_bytes: 512 << 10,
        max_ring_bytes: 4 << 20,
        ..Limits::default()
    };
    let most = limits.max_ring_bytes + usize::from(FLOWS) * BEYOND;
    let mut world = World::new(Setup { offload: true, limits, ..Setup::default() });
    let flows: Vec<_> = (0..FLOWS).map(|port| world.established((SERVERS[0], 443), 20_000 + port)).collect();
    let bytes = vec![7; 512 << 10];
    let mut before = 0;
    // Once for the guest's own buffers, which are in this process too and keep their pages.
    for is_measured in [false, true] {
        let mut ways: Vec<_> = flows.iter().map(|at| (*at, 0, 0)).collect();
        for _ in 0..30 {
            for (at, up, down) in &mut ways {
                let socket = world.guest.socket(at.guest);
                if socket.can_send() {
                    *up += socket.send_slice(&bytes).unwrap();
                }
                *down += world.fill(at.flow, &bytes);
            }
            world.run_for(Duration::from_millis(5));
        }
        if is_measured {
            let counted = usize::try_from(world.gateway.counters().ring_bytes).unwrap();
            let grown = resident_bytes().saturating_sub(before);
            assert!(counted > 4 << 20 && counted <= most, "{counted} counted of {most}");
            assert!(grown <= most + ELSE, "{grown} bytes of {most}");
            return;
        }
        for (at, up, down) in ways {
            let (mut up_got, mut down_got) = (0, 0);
            let all = world.run_until(Duration::from_secs(600), |world| {
                up_got += world.drain(at.flow).0.len();
                down_got += world.drain_guest(at.guest).len();
                (up_got, down_got) == (up, down)
            });
            assert!(all, "{up_got} of {up} up, {down_got} of {down} down");
        }
        world.run_for(Duration::from_secs(3));
        assert_eq!(world.gateway.counters().ring_bytes, 0);
        before = resident_bytes();
    }
}

fn resident_bytes() -> usize {
    // Elsewhere than on Linux the counters above are the whole test.
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}
