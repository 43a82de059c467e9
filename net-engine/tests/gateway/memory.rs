//! The memory of rings: given back by flows that are quiet, and bounded over all of them.

use std::time::Duration;

use net_core::Limits;

use crate::transfer::{exchange, pattern};
use crate::wire::Faults;
use crate::world::{Connection, SERVERS, Setup, World};

const RX: usize = 256 << 10;
const TX: usize = 512 << 10;

fn setup(max_ring_bytes: usize) -> Setup {
    let limits =
        Limits { tcp_rx_buffer_bytes: RX, tcp_tx_buffer_bytes: TX, max_ring_bytes, ..Limits::default() };
    Setup { offload: true, limits, ..Setup::default() }
}

fn ring_bytes(world: &World) -> usize {
    usize::try_from(world.gateway.counters().ring_bytes).unwrap()
}

/// As many bytes of `pattern` as go through, one way and then the other, until nothing moves.
fn stuff(world: &mut World, at: Connection, up: &[u8], down: &[u8]) -> (usize, usize) {
    let (mut up_sent, mut down_sent) = (0, 0);
    for _ in 0..200 {
        let socket = world.guest.socket(at.guest);
        if socket.can_send() {
            up_sent += socket.send_slice(&up[up_sent..]).unwrap();
        }
        down_sent += world.fill(at.flow, &down[down_sent..]);
        world.run_for(Duration::from_millis(5));
    }
    (up_sent, down_sent)
}

#[test]
fn a_quiet_flow_holds_nothing_and_goes_on() {
    for server in SERVERS {
        let mut world = World::new(setup(1 << 30));
        let at = world.established((server, 443), 40_000);
        for round in 0..3 {
            let (up, down) = (pattern(40_000, round), pattern(60_000, round));
            assert_eq!(world.fill(at.flow, &down), down.len());
            assert_eq!(world.guest.socket(at.guest).send_slice(&up), Ok(up.len()));
            world.run_for(Duration::from_millis(50));
            assert!(ring_bytes(&world) >= 60_000, "{server} {round}: {}", ring_bytes(&world));
            assert_eq!((world.drain(at.flow).0, world.drain_guest(at.guest)), (up, down), "{server} {round}");
            world.run_for(Duration::from_secs(3));
            assert_eq!(ring_bytes(&world), 0, "{server} {round}");
        }
        // And once that is done it asks for nothing more.
        assert_eq!(world.gateway.poll_timeout(), None, "{server}");
    }
}

#[test]
fn what_is_on_its_way_is_kept_however_quiet_the_flow_is() {
    for server in SERVERS {
        let mut world = World::new(setup(1 << 30));
        let at = world.established((server, 443), 40_000);
        let (up, down) = (pattern(200_000, 1), pattern(300_000, 2));
        let (up_sent, down_sent) = stuff(&mut world, at, &up, &down);
        world.run_for(Duration::from_secs(60));
        let (mut up_got, mut down_got) = (Vec::new(), Vec::new());
        let all = world.run_until(Duration::from_secs(600), |world| {
            up_got.extend(world.drain(at.flow).0);
            down_got.extend(world.drain_guest(at.guest));
            (up_got.len(), down_got.len()) >= (up_sent, down_sent)
        });
        assert!(all && up_got == up[..up_sent] && down_got == down[..down_sent], "{server}");
    }
}

#[test]
fn all_flows_together_hold_no_more_than_they_may() {
    const MOST: usize = 1 << 20;
    const SHORT: usize = 84 << 10;
    let mut world = World::new(setup(MOST));
    let flows: Vec<Connection> =
        (0..16).map(|port| world.established((SERVERS[usize::from(port % 2)], 443), 40_000 + port)).collect();
    let (up, down) = (pattern(RX, 1), pattern(TX, 2));
    // Nobody reads, at either end.
    let sent: Vec<(usize, usize)> = flows.iter().map(|at| stuff(&mut world, *at, &up, &down)).collect();
    let held = ring_bytes(&world);
    assert!(held > MOST && held <= MOST + flows.len() * SHORT, "{held}");
    assert!(world.gateway.take_shortage());
    assert!(!world.gateway.take_shortage());
    // Each takes a little all the same.
    assert!(sent.iter().all(|(up, down)| *up > 0 && *down > 0), "{sent:?}");
    for (at, (up_sent, down_sent)) in flows.iter().zip(&sent) {
        let (mut up_got, mut down_got) = (Vec::new(), Vec::new());
        let all = world.run_until(Duration::from_secs(600), |world| {
            up_got.extend(world.drain(at.flow).0);
            down_got.extend(world.drain_guest(at.guest));
            (up_got.len(), down_got.len()) >= (*up_sent, *down_sent)
        });
        assert!(all, "{} of {up_sent} up, {} of {down_sent} down", up_got.len(), down_got.len());
        assert!(up_got == up[..*up_sent] && down_got == down[..*down_sent], "bytes were changed");
    }
    world.run_for(Duration::from_secs(3));
    assert_eq!(ring_bytes(&world), 0);
}

#[test]
fn a_lasting_shortage_loses_no_byte() {
    const CASES: &[(&str, Faults, usize)] = &[
        ("clean", Faults { lost: 0, damaged: 0, late: 0 }, 1 << 20),
        ("reordering", Faults { lost: 0, damaged: 0, late: 100 }, 400 << 10),
        ("lossy", Faults { lost: 30, damaged: 10, late: 50 }, 200 << 10),
    ];
    for server in SERVERS {
        for (name, faults, len) in CASES {
            let mut world = World::new(Setup { faults: *faults, ..setup(0) });
            let at = world.established((server, 443), 40_000);
            let (up, down) = (pattern(*len, 1), pattern(*len, 2));
            let (up_got, down_got) = exchange(&mut world, at, &up, &down, Duration::from_secs(3_600));
            assert!(up_got == up && down_got == down, "{server} {name}: bytes were changed");
        }
    }
}
