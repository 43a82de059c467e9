//! How connections end: FIN and RST in every state, TIME-WAIT, and flows nobody holds any more.

use std::net::SocketAddr;
use std::time::Duration;

use net_engine::core::StreamRead;
use smoltcp::socket::tcp::State;
use smoltcp::wire::TcpControl;

use crate::raw::{Segment, tcp_of};
use crate::world::{Connection, SERVERS, Setup, World};

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Established,
    GuestClosed,
    WeClosed,
    BothClosing,
    BothClosed,
}

const STAGES: &[Stage] =
    &[Stage::Established, Stage::GuestClosed, Stage::WeClosed, Stage::BothClosing, Stage::BothClosed];

fn at_stage(world: &mut World, stage: Stage, server: std::net::IpAddr) -> Connection {
    let at = world.established((server, 443), 40_000);
    match stage {
        Stage::Established => {}
        Stage::GuestClosed => {
            world.guest.socket(at.guest).close();
            world.run_for(Duration::from_millis(10));
        }
        Stage::WeClosed => {
            world.gateway.close(at.flow);
            world.run_for(Duration::from_millis(10));
        }
        // Both FINs are under way at once.
        Stage::BothClosing => {
            world.gateway.close(at.flow);
            world.guest.socket(at.guest).close();
        }
        Stage::BothClosed => {
            world.gateway.close(at.flow);
            world.run_for(Duration::from_millis(10));
            world.guest.socket(at.guest).close();
            world.run_for(Duration::from_millis(10));
        }
    }
    at
}

#[test]
fn a_guest_s_reset_ends_the_flow_in_every_state() {
    for server in SERVERS {
        for stage in STAGES {
            let mut world = World::new(Setup::default());
            let at = at_stage(&mut world, *stage, server);
            world.guest.socket(at.guest).abort();
            world.run_for(Duration::from_millis(10));
            let state = world.drain(at.flow).1;
            let expected = match stage {
                // Its end had been read before, or both halves were over.
                Stage::GuestClosed | Stage::BothClosing | Stage::BothClosed => {
                    &[StreamRead::Finished, StreamRead::Reset][..]
                }
                Stage::Established | Stage::WeClosed => &[StreamRead::Reset],
            };
            assert!(expected.contains(&state), "{server} {stage:?}: {state:?}");
            world.gateway.release(at.flow, world.now);
            world.run_for(Duration::from_millis(10));
            assert_eq!(world.gateway.counters().flows_open, 0, "{server} {stage:?}");
        }
    }
}

#[test]
fn our_reset_ends_the_flow_in_every_state() {
    for server in SERVERS {
        for stage in STAGES {
            let mut world = World::new(Setup::default());
            let at = at_stage(&mut world, *stage, server);
            world.gateway.abort(at.flow);
            world.gateway.release(at.flow, world.now);
            world.run_for(Duration::from_millis(10));
            assert_eq!(world.gateway.counters().flows_open, 0, "{server} {stage:?}");
            let state = world.guest.socket(at.guest).state();
            let ended = matches!(state, State::Closed | State::TimeWait);
            assert!(ended, "{server} {stage:?}: the guest is left in {state}");
        }
    }
}

#[test]
fn a_flow_dropped_unclosed_is_reset() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = world.established((server, 443), 40_000);
        world.gateway.release(at.flow, world.now);
        world.run_for(Duration::from_millis(10));
        assert_eq!(world.guest.socket(at.guest).state(), State::Closed, "{server}");
        assert_eq!(world.gateway.counters().flows_open, 0, "{server}");
    }
}

#[test]
fn both_ends_close_at_once() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = at_stage(&mut world, Stage::BothClosing, server);
        world.run_for(Duration::from_millis(10));
        assert_eq!(world.drain(at.flow).1, StreamRead::Finished, "{server}");
        world.gateway.release(at.flow, world.now);
        let gone = world.run_until(Duration::from_secs(60), |world| world.gateway.counters().flows_open == 0);
        assert!(gone, "{server}: the flow stayed");
    }
}

#[test]
fn time_wait_keeps_no_buffers_acknowledges_again_and_yields_to_a_syn() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        world.keep_seen = true;
        let at = at_stage(&mut world, Stage::BothClosed, server);
        let last = world.seen.iter().filter_map(|frame| tcp_of(frame)).next_back().expect("segments");
        let (next_seq, next_ack) = (last.seq_number(), last.ack_number());
        world.gateway.release(at.flow, world.now);
        world.run_for(Duration::from_millis(1));
        assert_eq!(world.gateway.counters().flows_open, 0, "{server}: buffers are held in TIME-WAIT");

        // The guest's FIN again, as if our acknowledgement had been lost.
        let to = SocketAddr::new(server, 443);
        let as_u32 = |seq: smoltcp::wire::TcpSeqNumber| u32::from_ne_bytes(seq.0.to_ne_bytes());
        let fin = Segment {
            control: TcpControl::Fin,
            seq: as_u32(next_ack).wrapping_sub(1),
            ack: Some(as_u32(next_seq)),
            ..Segment::syn(to)
        };
        let frame = fin.frame(world.gateway.addresses());
        let answers = world.answers(&frame);
        let answers: Vec<_> = answers.iter().filter_map(|frame| tcp_of(frame)).collect();
        assert_eq!(answers.len(), 1, "{server}");
        assert!(answers[0].ack() && !answers[0].rst(), "{server}: not an acknowledgement");
        assert_eq!((answers[0].seq_number(), answers[0].ack_number()), (next_seq, next_ack), "{server}");

        // A bare acknowledgement is answered by nothing: two stacks could do that for ever.
        let bare = Segment { control: TcpControl::None, seq: as_u32(next_ack), ..fin };
        let frame = bare.frame(world.gateway.addresses());
        assert!(world.answers(&frame).is_empty(), "{server}");

        // The 4-tuple is free for a new connection at once.
        let syn = Segment { seq: 77_000, ..Segment::syn(to) };
        let frame = syn.frame(world.gateway.addresses());
        world.feed(&frame);
        assert_eq!(world.syns.len(), 1, "{server}: the tombstone does not yield");
    }
}

#[test]
fn a_tuple_is_used_again_before_its_old_flow_is_let_go() {
    for server in SERVERS {
        for stage in [Stage::Established, Stage::BothClosed] {
            let mut world = World::new(Setup::default());
            let old = at_stage(&mut world, stage, server);
            // Nobody has read the old flow's end yet.
            world.guest.socket(old.guest).abort();
            world.run_for(Duration::from_millis(10));
            world.guest.sockets.remove(old.guest);
            let new = world.established((server, 443), 40_000);
            assert_ne!(new.flow, old.flow, "{server} {stage:?}");

            world.gateway.release(old.flow, world.now);
            world.run_for(Duration::from_millis(10));
            assert_eq!(world.gateway.counters().flows_open, 1, "{server} {stage:?}: the old flow stays");
            world.guest.socket(new.guest).send_slice(b"again").unwrap();
            world.run_for(Duration::from_millis(10));
            assert_eq!(world.drain(new.flow), (b"again".to_vec(), StreamRead::Blocked), "{server} {stage:?}");
        }
    }
}

#[test]
fn a_guest_that_never_acknowledges_our_fin_is_let_go() {
    for server in SERVERS {
        let mut setup = Setup::default();
        setup.limits.drain_timeout = Duration::from_secs(30);
        let mut world = World::new(setup);
        let at = world.established((server, 443), 40_000);
        assert_eq!(world.fill(at.flow, &[1; 50_000]), 50_000);
        world.gateway.close(at.flow);
        world.gateway.release(at.flow, world.now);
        // The guest's interface is taken away.
        let started = world.now;
        world.answers(&[]);
        while let Some(due) = world.gateway.poll_timeout() {
            if due > started + Duration::from_secs(120) {
                break;
            }
            world.now = world.now.max(due);
            world.answers(&[]);
        }
        assert_eq!(world.gateway.counters().flows_open, 0, "{server}");
        let took = world.now - started;
        assert!((29..=31).contains(&took.as_secs()), "{server}: let go after {took:?}");
    }
}

#[test]
fn what_was_written_before_the_close_is_delivered_after_the_release() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = world.established((server, 443), 40_000);
        assert_eq!(world.fill(at.flow, &[9; 100_000]), 100_000);
        world.gateway.close(at.flow);
        world.gateway.release(at.flow, world.now);
        let mut got = 0;
        let done = world.run_until(Duration::from_secs(10), |world| {
            got += world.drain_guest(at.guest).len();
            !world.guest.socket(at.guest).may_recv()
        });
        assert!(done && got == 100_000, "{server}: {got} bytes");
    }
}

#[test]
fn a_guest_that_sends_to_a_released_flow_is_told() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = world.established((server, 443), 40_000);
        world.gateway.close(at.flow);
        world.gateway.release(at.flow, world.now);
        world.run_for(Duration::from_millis(5));
        world.guest.socket(at.guest).send_slice(b"anybody there?").expect("an open half");
        let told = world
            .run_until(Duration::from_secs(1), |world| world.guest.socket(at.guest).state() == State::Closed);
        assert!(told, "{server}: left in {}", world.guest.socket(at.guest).state());
    }
}

#[test]
fn stopping_resets_every_flow() {
    let mut world = World::new(Setup::default());
    let open = world.established((SERVERS[0], 443), 40_000);
    let half = world.established((SERVERS[1], 443), 40_001);
    world.guest.socket(half.guest).close();
    let held = world.syn_held((SERVERS[0], 80), 40_002);
    world.run_for(Duration::from_millis(5));
    world.gateway.abort_all();
    for flow in [open.flow, half.flow] {
        world.gateway.release(flow, world.now);
    }
    world.run_for(Duration::from_millis(5));
    for at in [open, half, held] {
        assert_eq!(world.guest.socket(at.guest).state(), State::Closed);
    }
    let counters = world.gateway.counters();
    assert_eq!((counters.flows_open, counters.syns_held), (0, 0));
}

#[test]
fn a_guest_that_resets_a_held_syn_gives_it_up() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let at = world.syn_held((server, 443), 40_000);
        world.guest.socket(at.guest).abort();
        let addresses = *world.gateway.addresses();
        let rst = Segment { control: TcpControl::Rst, ..Segment::syn(SocketAddr::new(server, 443)) };
        let answers = world.answers(&rst.frame(&addresses));
        assert!(answers.is_empty(), "{server}");
        assert_eq!(world.given_up, [at.flow], "{server}");
        assert_eq!(world.gateway.counters().syns_held, 0, "{server}");
    }
}

/// A SYN was accepted, and the guest has not answered ours.
fn half_open(world: &mut World, server: std::net::IpAddr) -> net_engine::core::FlowId {
    let addresses = *world.gateway.addresses();
    world.feed(&Segment::syn(SocketAddr::new(server, 443)).frame(&addresses));
    let (flow, _) = world.syns.remove(0);
    world.gateway.accept(flow, world.now).expect("room for a flow");
    let answers = world.answers(&[]);
    assert!(answers.iter().any(|frame| tcp_of(frame).is_some_and(|tcp| tcp.syn() && tcp.ack())));
    flow
}

#[test]
fn a_guest_s_reset_before_it_is_connected_ends_the_flow() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let addresses = *world.gateway.addresses();
        let flow = half_open(&mut world, server);
        let control = TcpControl::Rst;
        let rst = Segment { control, seq: 1_001, ..Segment::syn(SocketAddr::new(server, 443)) };
        world.answers(&rst.frame(&addresses));
        assert_eq!(world.gateway.read(flow, |_| (0, ())), StreamRead::Reset, "{server}");
        world.gateway.release(flow, world.now);
        world.answers(&[]);
        assert_eq!(world.gateway.counters().flows_open, 0, "{server}");
    }
}

#[test]
fn a_guest_that_never_acknowledges_our_syn_is_let_go() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let patience = Setup::default().limits.connect_timeout;
        let flow = half_open(&mut world, server);
        // A guest that is gone: nobody takes what is sent.
        let wait = |world: &mut World, until: std::time::Instant| {
            while let Some(due) = world.gateway.poll_timeout().filter(|due| *due <= until) {
                world.now = due;
                world.answers(&[]);
            }
            world.now = until;
        };
        let start = world.now;
        wait(&mut world, start + patience / 2);
        assert_eq!(world.gateway.read(flow, |_| (0, ())), StreamRead::Blocked, "{server}");
        wait(&mut world, start + 2 * patience);
        assert_eq!(world.gateway.read(flow, |_| (0, ())), StreamRead::Reset, "{server}");
    }
}
