//! Bytes both ways, whatever the link does to frames.

use std::time::Duration;

use net_core::Limits;
use net_engine::core::StreamRead;
use smoltcp::socket::tcp::State;

use crate::wire::Faults;
use crate::world::{Connection, SERVERS, Setup, World};

/// A stream whose every position is recognisable.
pub(crate) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}

/// Sends `up` and `down` at once, each side closing its half behind its bytes; what arrived.
pub(crate) fn exchange(
    world: &mut World,
    at: Connection,
    up: &[u8],
    down: &[u8],
    patience: Duration,
) -> (Vec<u8>, Vec<u8>) {
    let (mut up_sent, mut down_sent) = (0, 0);
    let (mut up_got, mut down_got) = (Vec::new(), Vec::new());
    let (mut up_done, mut down_closed) = (false, false);
    let done = world.run_until(patience, |world| {
        let socket = world.guest.socket(at.guest);
        if up_sent < up.len() && socket.can_send() {
            up_sent += socket.send_slice(&up[up_sent..]).expect("an open socket");
            if up_sent == up.len() {
                socket.close();
            }
        }
        down_got.extend(world.drain_guest(at.guest));
        let (bytes, state) = world.drain(at.flow);
        up_got.extend(bytes);
        up_done |= state == StreamRead::Finished;
        if down_sent < down.len() {
            down_sent += world.fill(at.flow, &down[down_sent..]);
        } else if !down_closed {
            world.gateway.close(at.flow);
            down_closed = true;
        }
        let guest_is_done = !world.guest.socket(at.guest).may_recv();
        up_done && guest_is_done
    });
    assert!(done, "{} of {} up, {} of {} down", up_got.len(), up.len(), down_got.len(), down.len());
    (up_got, down_got)
}

#[test]
fn every_byte_arrives_in_order() {
    const LOSSY: Faults = Faults { lost: 30, damaged: 10, late: 50 };
    const CASES: &[(&str, bool, Faults, usize)] = &[
        ("clean", false, Faults { lost: 0, damaged: 0, late: 0 }, 2 << 20),
        ("clean with offload", true, Faults { lost: 0, damaged: 0, late: 0 }, 2 << 20),
        ("reordering", false, Faults { lost: 0, damaged: 0, late: 100 }, 1 << 20),
        ("lossy", false, LOSSY, 200 << 10),
        ("lossy with offload", true, LOSSY, 200 << 10),
    ];
    for server in SERVERS {
        for (name, offload, faults, len) in CASES {
            let mut world = World::new(Setup { offload: *offload, faults: *faults, ..Setup::default() });
            let at = world.established((server, 443), 40_000);
            let (up, down) = (pattern(*len, 1), pattern(*len, 2));
            // Loss costs seconds of virtual time: the shortest retransmission timeout is one.
            let (up_got, down_got) = exchange(&mut world, at, &up, &down, Duration::from_secs(3_600));
            assert!(up_got == up && down_got == down, "{server} {name}: bytes were changed");
            world.gateway.release(at.flow, world.now);
            let gone =
                world.run_until(Duration::from_secs(300), |world| world.gateway.counters().flows_open == 0);
            assert!(gone, "{server} {name}: the flow stayed");
        }
    }
}

#[test]
fn a_queue_of_one_frame_loses_nothing() {
    for server in SERVERS {
        let mut setup = Setup::default();
        setup.limits.max_queued_frames = 1;
        let mut world = World::new(setup);
        let at = world.established((server, 443), 40_000);
        let (up, down) = (pattern(300_000, 1), pattern(300_000, 2));
        let (up_got, down_got) = exchange(&mut world, at, &up, &down, Duration::from_secs(60));
        assert!(up_got == up && down_got == down, "{server}: bytes were changed");
    }
}

#[test]
fn each_half_closes_by_itself() {
    for server in SERVERS {
        for guest_first in [true, false] {
            let mut world = World::new(Setup::default());
            let at = world.established((server, 443), 40_000);
            let last = pattern(100_000, 3);
            if guest_first {
                world.guest.socket(at.guest).close();
                let seen = world.run_until(Duration::from_secs(1), |world| {
                    world.drain(at.flow).1 == StreamRead::Finished
                });
                assert!(seen, "{server}: the guest's FIN did not arrive");
                // A minute later the other half still works.
                world.run_for(Duration::from_secs(60));
                assert!(exchange_down(&mut world, at, &last) == last, "{server}: guest first");
            } else {
                world.gateway.close(at.flow);
                let seen = world.run_until(Duration::from_secs(1), |world| {
                    world.guest.socket(at.guest).state() == State::CloseWait
                });
                assert!(seen, "{server}: our FIN did not arrive");
                world.run_for(Duration::from_secs(20));
                let (up, _) = exchange(&mut world, at, &last, &[], Duration::from_secs(60));
                assert!(up == last, "{server}: upstream first");
            }
        }
    }
}

fn exchange_down(world: &mut World, at: Connection, bytes: &[u8]) -> Vec<u8> {
    let (mut sent, mut got) = (0, Vec::new());
    let done = world.run_until(Duration::from_secs(60), |world| {
        if sent < bytes.len() {
            sent += world.fill(at.flow, &bytes[sent..]);
            if sent == bytes.len() {
                world.gateway.close(at.flow);
            }
        }
        got.extend(world.drain_guest(at.guest));
        !world.guest.socket(at.guest).may_recv()
    });
    assert!(done, "{} of {} bytes", got.len(), bytes.len());
    got
}

#[test]
fn a_slow_reader_gets_every_byte_and_a_closed_window_costs_no_spin() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = world.established((server, 443), 40_000);
        let down = pattern(1 << 20, 4);
        let mut sent = world.fill(at.flow, &down);
        assert!(sent < down.len(), "{server}: the ring has no bound");
        let before = world.steps;
        world.run_for(Duration::from_secs(3_600));
        // An hour of a window that never opens: probes, and nothing that polls.
        assert!(world.steps - before < 2_000, "{server}: {} steps", world.steps - before);
        sent += world.fill(at.flow, &down[sent..]);
        let in_flight = sent;
        assert!(in_flight < 300_000, "{server}: {in_flight} bytes were taken for a guest that reads none");
        let mut got = Vec::new();
        let done = world.run_until(Duration::from_secs(600), |world| {
            sent += world.fill(at.flow, &down[sent..]);
            got.extend(world.drain_guest(at.guest));
            got.len() == down.len()
        });
        assert!(done && got == down, "{server}: {} of {} bytes", got.len(), down.len());
    }
}

#[test]
fn a_guest_that_sends_to_nobody_is_held_by_its_window() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = world.established((server, 443), 40_000);
        let up = pattern(1 << 20, 5);
        let mut sent = 0;
        world.run_until(Duration::from_secs(60), |world| {
            let socket = world.guest.socket(at.guest);
            while socket.can_send() && sent < up.len() {
                sent += socket.send_slice(&up[sent..]).expect("an open socket");
            }
            false
        });
        assert!(sent < 200_000, "{server}: {sent} bytes were taken that nobody reads");
        let mut got = Vec::new();
        let done = world.run_until(Duration::from_secs(600), |world| {
            got.extend(world.drain(at.flow).0);
            let socket = world.guest.socket(at.guest);
            if sent < up.len() && socket.can_send() {
                sent += socket.send_slice(&up[sent..]).expect("an open socket");
            }
            got.len() == up.len()
        });
        assert!(done && got == up, "{server}: {} of {} bytes", got.len(), up.len());
    }
}

#[test]
fn a_guest_paused_for_an_hour_goes_on() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = world.established((server, 443), 40_000);
        // Time passes for the host alone.
        world.now += Duration::from_secs(3_600);
        let (up, down) = (pattern(50_000, 6), pattern(50_000, 7));
        let (up_got, down_got) = exchange(&mut world, at, &up, &down, Duration::from_secs(60));
        assert!(up_got == up && down_got == down, "{server}");
    }
}

#[test]
fn quiet_then_a_push_arrives_at_once() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = world.established((server, 443), 40_000);
        world.run_for(Duration::from_secs(95));
        let pushed_at = world.now;
        assert_eq!(world.fill(at.flow, b"push"), 4);
        let arrived =
            world.run_until(Duration::from_secs(5), |world| world.guest.socket(at.guest).recv_queue() == 4);
        assert!(arrived, "{server}: nothing arrived");
        // Virtual time: the cable takes 50 µs, and nothing else may take any.
        assert!(world.now - pushed_at <= Duration::from_micros(200), "{server}: {:?}", world.now - pushed_at);
    }
}

#[test]
fn flows_share_nothing_but_the_link() {
    let limits = Limits { tcp_rx_buffer_bytes: 4 << 10, tcp_tx_buffer_bytes: 4 << 10, ..Limits::default() };
    let mut world = World::new(Setup { limits, ..Setup::default() });
    let flows: Vec<Connection> =
        (0..200).map(|index| world.established((SERVERS[index % 2], 443), 40_000 + index as u16)).collect();
    for (index, at) in flows.iter().enumerate() {
        assert_eq!(world.fill(at.flow, format!("flow {index}").as_bytes()), format!("flow {index}").len());
    }
    world.run_for(Duration::from_millis(50));
    for (index, at) in flows.iter().enumerate() {
        assert_eq!(world.drain_guest(at.guest), format!("flow {index}").as_bytes());
    }
}
