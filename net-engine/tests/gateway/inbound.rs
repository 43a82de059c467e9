//! Connections that somebody else begins: to the guest, through the gateway.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use net_core::{Flow, Limits, Protocol};
use net_engine::core::{ConnectError, FlowId, StreamRead, StreamWrite};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use smoltcp::wire::TcpControl;

use crate::raw::{Segment, tcp_of};
use crate::wire::Faults;
use crate::world::{Connection, SERVERS, Setup, World};

const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(60);

fn flow(world: &World, far: IpAddr, far_port: u16) -> Flow {
    let addresses = world.gateway.addresses();
    let guest = if far.is_ipv4() {
        IpAddr::V4(addresses.ipv4.unwrap().guest)
    } else {
        IpAddr::V6(addresses.ipv6.unwrap().guest)
    };
    let (guest, upstream) = (SocketAddr::new(guest, PORT), SocketAddr::new(far, far_port));
    Flow { protocol: Protocol::Tcp, guest, upstream }
}

fn listen(world: &mut World) -> SocketHandle {
    let guest = world.guest.tcp();
    world.guest.socket(guest).listen(PORT).unwrap();
    guest
}

/// Whether the guest has taken a connection; `None` while it has not said.
fn answer(world: &mut World, id: FlowId) -> Option<bool> {
    match world.gateway.write(id, |_| (0, ())) {
        StreamWrite::Room(()) => Some(true),
        StreamWrite::Blocked => None,
        StreamWrite::Reset => Some(false),
    }
}

fn connect(world: &mut World, far: IpAddr) -> FlowId {
    let flow = flow(world, far, 50_000);
    let id = world.gateway.connect(flow, world.now).expect("a free tuple");
    assert!(world.run_until(PATIENCE, |world| answer(world, id).is_some()), "{far}: no answer");
    id
}

#[test]
fn the_guest_is_reached_and_both_halves_carry_every_byte() {
    let bytes: Vec<u8> = (0..600_000u32).map(|at| (at * 7 + (at >> 8)) as u8).collect();
    let loss = Faults { lost: 30, ..Faults::default() };
    for (offload, faults) in [(false, Faults::default()), (true, Faults::default()), (false, loss)] {
        for far in SERVERS {
            let mut world = World::new(Setup { offload, faults, ..Setup::default() });
            let guest = listen(&mut world);
            let id = connect(&mut world, far);
            assert_eq!(answer(&mut world, id), Some(true));
            let remote = world.guest.socket(guest).remote_endpoint().unwrap();
            assert_eq!((IpAddr::from(remote.addr), remote.port), (far, 50_000));
            let connection = Connection { guest, flow: id };
            let (mut sent, mut heard) = (0, Vec::new());
            let (mut back, mut answered) = (0, Vec::new());
            let done = world.run_until(Duration::from_secs(600), |world| {
                sent += world.fill(connection.flow, &bytes[sent..]);
                heard.extend(world.drain_guest(connection.guest));
                let socket = world.guest.socket(connection.guest);
                if back < bytes.len() && socket.can_send() {
                    back += socket.send_slice(&bytes[back..]).unwrap();
                }
                answered.extend(world.drain(connection.flow).0);
                heard.len() == bytes.len() && answered.len() == bytes.len()
            });
            assert!(done, "{far} offload {offload}: {} down, {} up", heard.len(), answered.len());
            assert!(heard == bytes && answered == bytes, "{far} offload {offload}");
            world.guest.socket(guest).close();
            assert!(world.run_until(PATIENCE, |world| world.drain(id).1 == StreamRead::Finished));
            world.gateway.close(id);
            world.gateway.release(id, world.now);
            assert!(world.run_until(PATIENCE, |world| world.gateway.counters().flows_open == 0));
            assert_eq!(world.gateway.counters().ring_bytes, 0);
        }
    }
}

#[test]
fn a_guest_that_refuses_or_is_silent_is_told_apart_from_one_that_takes() {
    for far in SERVERS {
        // Nobody listens.
        let mut world = World::new(Setup::default());
        let id = connect(&mut world, far);
        assert_eq!(answer(&mut world, id), Some(false), "{far}");
        world.gateway.release(id, world.now);
        assert!(world.run_until(PATIENCE, |world| world.gateway.counters().flows_open == 0), "{far}");

        // Nobody is there: given up, and nothing is left.
        let limits = Limits { connect_timeout: Duration::from_secs(5), ..Setup::default().limits };
        let faults = Faults { lost: 1_000, ..Faults::default() };
        let mut world = World::new(Setup { limits, faults, ..Setup::default() });
        let began = world.now;
        let id = connect(&mut world, far);
        assert_eq!(answer(&mut world, id), Some(false), "{far}");
        assert!(world.now - began >= Duration::from_secs(5), "{far}");
        world.gateway.release(id, world.now);
        assert!(world.run_until(PATIENCE, |world| world.gateway.counters().flows_open == 0), "{far}");
    }
}

#[test]
fn only_the_guest_is_connected_and_each_pair_of_ports_once() {
    for far in SERVERS {
        let limits = Limits { max_tcp_flows: 2, ..Setup::default().limits };
        let mut world = World::new(Setup { limits, ..Setup::default() });
        let guest = listen(&mut world);
        let id = connect(&mut world, far);
        let good = flow(&world, far, 50_000);
        let stranger = SocketAddr::new(far, 1);
        let cases = [
            (good, ConnectError::InUse),
            (Flow { guest: stranger, ..good }, ConnectError::Addresses),
            (Flow { upstream: good.guest, ..good }, ConnectError::Addresses),
            (Flow { upstream: SocketAddr::new(far, 0), ..good }, ConnectError::Addresses),
            (Flow { guest: SocketAddr::new(good.guest.ip(), 0), ..good }, ConnectError::Addresses),
        ];
        for (flow, expected) in cases {
            assert_eq!(world.gateway.connect(flow, world.now), Err(expected), "{flow}");
        }
        let other = |port| flow(&World::new(Setup::default()), far, port);
        assert!(world.gateway.connect(other(50_001), world.now).is_ok());
        assert_eq!(world.gateway.connect(other(50_002), world.now), Err(ConnectError::Limit));
        // The one that is there is none the worse for it.
        let is_up = |world: &mut World| world.guest.socket(guest).state() == State::Established;
        assert!(world.run_until(PATIENCE, is_up), "{far}");
        assert_eq!(answer(&mut world, id), Some(true));
    }
}

/// A segment of ours: its flags SYN, ACK and RST, and its sequence number.
fn told(frame: &[u8]) -> (bool, bool, bool, u32) {
    let segment = tcp_of(frame).expect("a segment");
    (segment.syn(), segment.ack(), segment.rst(), segment.seq_number().0.cast_unsigned())
}

#[test]
fn a_guest_that_remembers_an_older_connection_is_reset_and_asked_again_at_once() {
    for (far, offload) in SERVERS.map(|far| [(far, false), (far, true)]).into_iter().flatten() {
        let mut world = World::new(Setup { offload, ..Setup::default() });
        let flow = flow(&world, far, 50_000);
        let id = world.gateway.connect(flow, world.now).expect("a free tuple");
        let addresses = *world.gateway.addresses();
        let from_guest = |control, ack| {
            let (to, from_port) = (flow.upstream, PORT);
            Segment { to, from_port, control, seq: 7_000, ack: Some(ack), window: 60_000, payload: &[] }
                .frame(&addresses)
        };
        let syn = world.answers(&[]);
        assert_eq!(syn.len(), 1, "{far}");
        let (true, false, false, first) = told(&syn[0]) else { panic!("{far}: no SYN") };

        // Where the older one ended, beyond the sequence number of this one (RFC 9293, section 3.10.7.4).
        let ended = first.wrapping_add(1_000);
        let again = world.answers(&from_guest(TcpControl::None, ended));
        assert_eq!(again.len(), 2, "{far} offload {offload}: no SYN until a timer is over");
        assert_eq!(told(&again[0]), (false, false, true, ended), "{far}");
        let (true, false, false, second) = told(&again[1]) else { panic!("{far}: no SYN") };
        assert_eq!(answer(&mut world, id), None, "{far}");

        // An answer that comes late, to the SYN before.
        let again = world.answers(&from_guest(TcpControl::Syn, first.wrapping_add(1)));
        assert_eq!(again.len(), 2, "{far} offload {offload}");
        assert_eq!(told(&again[0]), (false, false, true, first.wrapping_add(1)), "{far}");
        let (true, false, false, third) = told(&again[1]) else { panic!("{far}: no SYN") };
        assert!(first != second && second != third, "{far}");

        let last = world.answers(&from_guest(TcpControl::Syn, third.wrapping_add(1)));
        let acknowledges = (false, true, false, third.wrapping_add(1));
        assert_eq!(last.iter().map(|frame| told(frame)).collect::<Vec<_>>(), [acknowledges], "{far}");
        assert_eq!(answer(&mut world, id), Some(true), "{far} offload {offload}");
    }
}

#[test]
fn a_guest_that_answers_every_syn_wrongly_is_asked_no_oftener_than_a_silent_one() {
    for far in SERVERS {
        let limits = Limits { connect_timeout: Duration::from_secs(5), ..Setup::default().limits };
        // What is fed goes past the cable.
        let faults = Faults { lost: 1_000, ..Faults::default() };
        let mut world = World::new(Setup { limits, faults, ..Setup::default() });
        let flow = flow(&world, far, 50_000);
        let id = world.gateway.connect(flow, world.now).expect("a free tuple");
        let addresses = *world.gateway.addresses();
        let mut syns = world.answers(&[]).len();
        for _ in 0..100 {
            let (to, from_port, control) = (flow.upstream, PORT, TcpControl::None);
            let wrong = Segment { to, from_port, control, seq: 7_000, ack: Some(1), window: 0, payload: &[] };
            let said = world.answers(&wrong.frame(&addresses));
            syns += said.iter().filter(|frame| told(frame).0).count();
        }
        // The first one, and two more.
        assert_eq!(syns, 3, "{far}");
        // It is given up like a silent one.
        assert!(world.run_until(PATIENCE, |world| answer(world, id).is_some()), "{far}");
        assert_eq!(answer(&mut world, id), Some(false), "{far}");
        world.gateway.release(id, world.now);
        assert!(world.run_until(PATIENCE, |world| world.gateway.counters().flows_open == 0), "{far}");
    }
}
