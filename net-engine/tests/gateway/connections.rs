//! How connections begin: held, accepted, refused, given up.

use std::net::SocketAddr;
use std::time::Duration;

use net_engine::core::{AcceptError, Refusal, Unreachable};
use smoltcp::socket::tcp::State;

use crate::raw::{icmp_of, tcp_of};
use crate::world::{SERVERS, Setup, World};

#[test]
fn a_syn_is_held_until_it_is_accepted() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        world.keep_seen = true;
        let connection = world.syn_held((server, 443), 40_000);
        world.run_for(Duration::from_secs(10));
        assert!(world.syns.is_empty(), "{server}: a retransmission was taken for another flow");
        assert!(world.seen.iter().all(|frame| tcp_of(frame).is_none()), "{server}: answered unasked");
        assert_eq!(world.gateway.counters().syns_held, 1, "{server}");

        world.gateway.accept(connection.flow, world.now).expect("a held flow");
        let guest = connection.guest;
        assert!(world.run_until(Duration::from_secs(1), |world| world.guest.socket(guest).may_send()));
        assert_eq!(world.gateway.accept(connection.flow, world.now), Err(AcceptError::Gone), "{server}");
        let counters = world.gateway.counters();
        assert_eq!((counters.syns_held, counters.flows_open), (0, 1), "{server}");
    }
}

#[test]
fn each_refusal_is_seen_as_what_it_is() {
    type Expected = (&'static str, Option<(u8, u8, u8)>, Option<(u8, u8, u8)>);
    const CASES: &[(Refusal, Expected)] = &[
        (Refusal::Reset, ("reset", None, None)),
        (Refusal::Silence, ("silence", None, None)),
        (Refusal::Unreachable(Unreachable::Network), ("network", Some((1, 3, 0)), Some((58, 1, 0)))),
        (Refusal::Unreachable(Unreachable::Host), ("host", Some((1, 3, 1)), Some((58, 1, 3)))),
        (Refusal::Unreachable(Unreachable::Port), ("port", Some((1, 3, 3)), Some((58, 1, 4)))),
        (Refusal::Unreachable(Unreachable::Prohibited), ("prohibited", Some((1, 3, 13)), Some((58, 1, 1)))),
    ];
    for server in SERVERS {
        for (refusal, (name, v4, v6)) in CASES {
            let mut world = World::new(Setup::default());
            world.keep_seen = true;
            let connection = world.syn_held((server, 443), 40_000);
            world.refuse(connection.flow, *refusal);
            world.run_for(Duration::from_millis(500));
            let errors: Vec<_> = world
                .seen
                .iter()
                .filter_map(|frame| icmp_of(frame))
                .filter(|(_, kind, _)| *kind < 128)
                .collect();
            let expected = if server.is_ipv4() { v4 } else { v6 };
            assert_eq!(errors, Vec::from_iter(*expected), "{server} {name}");
            let is_closed = world.guest.socket(connection.guest).state() == State::Closed;
            assert_eq!(is_closed, *refusal == Refusal::Reset, "{server} {name}");
            assert_eq!(world.gateway.counters().syns_held, 0, "{server} {name}");
            if *refusal != Refusal::Reset {
                // The guest goes on trying, and each try is a new question.
                let asked = world.run_until(Duration::from_secs(5), |world| !world.syns.is_empty());
                assert!(asked, "{server} {name}: the retransmission was swallowed");
            }
        }
    }
}

#[test]
fn a_guest_that_gives_up_is_forgotten() {
    for server in SERVERS {
        let mut world = World::new(Setup::default());
        let connection = world.syn_held((server, 443), 40_000);
        let to = SocketAddr::new(server, 443);
        let mut reset = crate::raw::Segment::syn(to);
        reset.control = smoltcp::wire::TcpControl::Rst;
        let frame = reset.frame(world.gateway.addresses());
        world.feed(&frame);
        assert_eq!(world.gateway.counters().syns_held, 0, "{server}");
        assert_eq!(world.gateway.accept(connection.flow, world.now), Err(AcceptError::Gone), "{server}");
        // Refusing what is gone touches nobody.
        world.refuse(connection.flow, Refusal::Reset);
        assert_eq!(world.gateway.counters().flows_refused, 0, "{server}");
    }
}

#[test]
fn segments_of_no_connection_are_reset() {
    use smoltcp::wire::TcpControl;
    for server in SERVERS {
        for (control, ack) in
            [(TcpControl::None, Some(5)), (TcpControl::Fin, Some(5)), (TcpControl::Psh, Some(5))]
        {
            let mut world = World::new(Setup::default());
            world.keep_seen = true;
            let mut segment = crate::raw::Segment::syn(SocketAddr::new(server, 443));
            (segment.control, segment.ack, segment.payload) = (control, ack, b"hello");
            let frame = segment.frame(world.gateway.addresses());
            world.feed(&frame);
            world.run_for(Duration::from_millis(1));
            let resets = world.seen.iter().filter_map(|frame| tcp_of(frame)).filter(|tcp| tcp.rst()).count();
            assert_eq!((resets, world.syns.len()), (1, 0), "{server} {control:?}");
        }
    }
}
