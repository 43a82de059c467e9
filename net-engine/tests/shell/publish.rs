//! Published ports: who connects is decided, carried to the guest, and told the truth.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use net_core::Limits;
use net_engine::{Event, ProxyProtocol, Publication, ViolationAction};
use net_policy::{Action, Policy, Rule, RuleDirection, parse_target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::time::timeout;

use crate::world::{PATIENCE, Setup, World, run};

const PORT: u16 = 8080;
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn guest_at(world: &World, is_v6: bool) -> SocketAddr {
    let addresses = world.handle.addresses();
    let ip = if is_v6 {
        IpAddr::V6(addresses.ipv6.unwrap().guest)
    } else {
        IpAddr::V4(addresses.ipv4.unwrap().guest)
    };
    SocketAddr::new(ip, PORT)
}

fn gateway(world: &World, is_v6: bool) -> IpAddr {
    world.handle.addresses().gateways().find(|own| own.is_ipv6() == is_v6).unwrap()
}

/// Publishes the port on a loopback address; where it is.
async fn publish(world: &World, loopback: IpAddr) -> (SocketAddr, net_engine::PublicationId) {
    let publication = Publication::tcp(SocketAddr::new(loopback, 0), PORT).unwrap();
    let at = publication.local_address().unwrap();
    (at, world.handle.publish(publication).await.unwrap())
}

/// Says something one way and hears it back the other.
async fn talk(outside: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), inside: &mut crate::guest::Stream) {
    outside.write_all(b"from outside").await.unwrap();
    let mut heard = [0; 12];
    inside.read_exact(&mut heard).await.unwrap();
    inside.write_all(&heard).await.unwrap();
    outside.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"from outside");
}

fn ingress(action: Action, target: &str) -> Rule {
    Rule { direction: RuleDirection::Ingress, ..parse_target(target).unwrap().into_rule(action) }
}

/// How a connection ends that the guest does not take.
async fn ends_in_a_reset(at: SocketAddr) -> bool {
    let read = async {
        // The reset may be there before the connection is noticed.
        let mut stream = TcpStream::connect(at).await?;
        stream.read(&mut [0; 1]).await
    };
    let read = timeout(PATIENCE, read).await.expect("an end");
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn who_connects_reaches_the_guest_and_each_half_ends_by_itself() {
    run(async {
        let world = World::new(Setup::default()).await;
        for loopback in LOOPBACKS {
            let (at, _) = publish(&world, loopback).await;
            let listening = world.guest.listen(guest_at(&world, loopback.is_ipv6()));
            let mut outside = TcpStream::connect(at).await.unwrap();
            let own_port = outside.local_addr().unwrap().port();
            let (mut inside, from) = timeout(PATIENCE, listening.accept()).await.expect("a connection");
            // The host's own processes speak from the gateway, with their own port.
            assert_eq!(from, SocketAddr::new(gateway(&world, loopback.is_ipv6()), own_port));
            talk(&mut outside, &mut inside).await;
            outside.shutdown().await.unwrap();
            assert_eq!(inside.read(&mut [0; 1]).await.unwrap(), 0);
            inside.write_all(b"still here").await.unwrap();
            inside.shutdown().await.unwrap();
            let mut rest = Vec::new();
            timeout(PATIENCE, outside.read_to_end(&mut rest)).await.expect("an end").unwrap();
            assert_eq!(rest, b"still here");
        }
    });
}

#[test]
fn a_server_of_one_family_is_reached_by_whoever_comes() {
    run(async {
        let world = World::new(Setup::default()).await;
        for (loopback, is_v6) in [(LOOPBACKS[0], true), (LOOPBACKS[1], false)] {
            let (at, _) = publish(&world, loopback).await;
            let listening = world.guest.listen(guest_at(&world, is_v6));
            let mut outside = TcpStream::connect(at).await.unwrap();
            let (mut inside, from) = timeout(PATIENCE, listening.accept()).await.expect("a connection");
            assert_eq!(from.ip(), gateway(&world, is_v6));
            talk(&mut outside, &mut inside).await;
        }
    });
}

#[test]
fn a_guest_that_does_not_listen_is_a_reset_and_an_event() {
    run(async {
        let world = World::new(Setup::default()).await;
        let (at, _) = publish(&world, LOOPBACKS[0]).await;
        assert!(ends_in_a_reset(at).await);
        let event = timeout(PATIENCE, world.handle.next_event()).await.expect("an event");
        assert!(matches!(event, Some(Event::InboundFailed { guest_port: PORT, .. })), "{event:?}");
    });
}

/// How many events there were before that of a connection that fails at a port of its own.
async fn told(world: &World) -> usize {
    let last = Publication::tcp(SocketAddr::new(LOOPBACKS[0], 0), PORT + 1).unwrap();
    let at = last.local_address().unwrap();
    world.handle.publish(last).await.unwrap();
    assert!(ends_in_a_reset(at).await);
    let mut count = 0;
    while !matches!(world.event().await, Event::InboundFailed { guest_port, .. } if guest_port != PORT) {
        count += 1;
    }
    count
}

#[test]
fn who_comes_again_and_again_is_told_of_once_a_second() {
    const TIMES: usize = 40;
    let limits = Limits { max_udp_peers: 1, ..Limits::default() };
    // What is refused by the rules, by a guest that does not listen, and what has others yield.
    for case in ["denied", "refused", "yields"] {
        run(async {
            let world = World::new(Setup { limits: limits.clone(), ..Setup::default() }).await;
            let guest = world.guest.datagrams();
            let (at, _) = publish(&world, LOOPBACKS[0]).await;
            if case == "denied" {
                let rules = vec![ingress(Action::Deny, "any:8080")];
                world.handle.swap_policy(Policy::new(rules)).await.unwrap();
            }
            let (first, _) = publish_udp(&world, LOOPBACKS[0], guest.port()).await;
            let began = std::time::Instant::now();
            for _ in 0..TIMES {
                if case == "yields" {
                    let other = UdpSocket::bind(SocketAddr::new(LOOPBACKS[0], 0)).await.unwrap();
                    other.connect(first.peer_addr().unwrap()).await.unwrap();
                    other.send(b"hello").await.unwrap();
                    timeout(PATIENCE, guest.receive()).await.expect("a datagram");
                } else {
                    assert!(ends_in_a_reset(at).await, "{case}");
                }
            }
            let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
            let told = told(&world).await;
            assert!((1..=most.min(TIMES - 2)).contains(&told), "{case}: {told} events");
        });
    }
}

#[test]
fn rules_for_ingress_decide_by_who_connects_and_a_new_policy_ends_it() {
    run(async {
        let world = World::new(Setup::default()).await;
        // What denies this machine, or this port, or everybody; and what does not.
        let cases: [(&[Rule], bool); 6] = [
            (&[], true),
            (&[ingress(Action::Deny, "host:8080")], false),
            (&[ingress(Action::Deny, "any:8080")], false),
            (&[ingress(Action::Deny, "any:8081")], true),
            (&[ingress(Action::Allow, "127.0.0.1:8080"), ingress(Action::Deny, "any")], true),
            (&[parse_target("any").unwrap().into_rule(Action::Deny)], true),
        ];
        for (index, (rules, is_allowed)) in cases.into_iter().enumerate() {
            world.handle.swap_policy(Policy::new(rules.to_vec())).await.unwrap();
            // A port of its own: of each it is told once a second.
            let (at, _) = publish(&world, LOOPBACKS[0]).await;
            if !is_allowed {
                assert!(ends_in_a_reset(at).await, "case {index}");
                let event = timeout(PATIENCE, world.handle.next_event()).await.expect("an event");
                assert!(matches!(event, Some(Event::InboundDenied { .. })), "case {index}: {event:?}");
                continue;
            }
            let listening = world.guest.listen(guest_at(&world, false));
            let mut outside = TcpStream::connect(at).await.unwrap();
            let (mut inside, _) = timeout(PATIENCE, listening.accept()).await.expect("a connection");
            talk(&mut outside, &mut inside).await;
            // One that changes nothing for it lets it be, one that denies it does not.
            assert_eq!(
                world.handle.swap_policy(Policy::new(rules.to_vec())).await.unwrap(),
                0,
                "case {index}"
            );
            talk(&mut outside, &mut inside).await;
            let denied = Policy::new(vec![ingress(Action::Deny, "any")]);
            assert_eq!(world.handle.swap_policy(denied).await.unwrap(), 1, "case {index}");
            let ended = timeout(PATIENCE, outside.read(&mut [0; 1])).await.expect("an end");
            assert!(ended.is_err(), "case {index}");
            let event = timeout(PATIENCE, world.handle.next_event()).await.expect("an event");
            assert!(matches!(event, Some(Event::Denied { .. })), "case {index}: {event:?}");
        }
    });
}

#[test]
fn a_unix_socket_leads_to_the_guest_too() {
    run(async {
        let world = World::new(Setup::default()).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("published");
        world.handle.publish(Publication::unix(&path, PORT).unwrap()).await.unwrap();
        for is_v6 in [false, true] {
            let listening = world.guest.listen(guest_at(&world, is_v6));
            let mut outside = UnixStream::connect(&path).await.unwrap();
            let (mut inside, from) = timeout(PATIENCE, listening.accept()).await.expect("a connection");
            assert_eq!(from.ip(), gateway(&world, is_v6));
            talk(&mut outside, &mut inside).await;
        }
        // It is taken.
        assert!(Publication::unix(&path, PORT).is_err());
    });
}

#[test]
fn what_is_withdrawn_takes_nobody_any_more_and_ends_nobody() {
    run(async {
        let world = World::new(Setup { on_violation: ViolationAction::Block, ..Setup::default() }).await;
        let (at, id) = publish(&world, LOOPBACKS[0]).await;
        assert!(Publication::tcp(at, PORT).is_err_and(|error| error.kind() == ErrorKind::AddrInUse));
        let listening = world.guest.listen(guest_at(&world, false));
        let mut outside = TcpStream::connect(at).await.unwrap();
        let (mut inside, _) = timeout(PATIENCE, listening.accept()).await.expect("a connection");
        assert!(world.handle.withdraw(id).await);
        assert!(!world.handle.withdraw(id).await, "once");
        // The listener is gone when its task is, which is soon.
        timeout(PATIENCE, async { while TcpStream::connect(at).await.is_ok() {} }).await.expect("refused");
        talk(&mut outside, &mut inside).await;
        world.handle.stop().await;
        let ended = timeout(PATIENCE, outside.read(&mut [0; 1])).await.expect("an end");
        assert!(ended.is_err() || ended.is_ok_and(|count| count == 0));
    });
}

#[test]
fn nobody_is_accepted_beyond_those_whom_a_silent_guest_has_not_answered() {
    const WAITING: usize = 2;
    const CLIENTS: usize = 5;
    run(async {
        let limits = Limits {
            max_held_syns: WAITING,
            connect_timeout: std::time::Duration::from_secs(1),
            ..Limits::default()
        };
        let addresses = net_engine::core::GuestAddresses { ipv6: None, ..Default::default() };
        let config = net_engine::GuestConfig {
            limits,
            addresses: Some(addresses),
            ..net_engine::GuestConfig::default()
        };
        let capabilities = net_engine::link::LinkCapabilities { mtu: 1500, offload: false };
        // Nobody is at the other end of the cable.
        let (link, _silent) = net_engine::link::pair(capabilities, 256);
        let engine = net_engine::Engine::builder().build().unwrap();
        let handle = engine.attach(0, Box::new(link), config).await.unwrap();
        // Of all ports together.
        let mut ends = tokio::task::JoinSet::new();
        for index in 0..CLIENTS {
            let publication = Publication::tcp(SocketAddr::new(LOOPBACKS[0], 0), PORT).unwrap();
            let at = publication.local_address().unwrap();
            handle.publish(publication).await.unwrap();
            ends.spawn(async move { (index, ends_in_a_reset(at).await) });
        }
        let (mut ended, mut most) = (0, 0);
        let watched = async {
            while ended < CLIENTS {
                most = most.max(handle.counters().await.unwrap().flows_open);
                match ends.try_join_next() {
                    Some(end) => {
                        let (index, is_reset) = end.unwrap();
                        assert!(is_reset, "{index}");
                        ended += 1;
                    }
                    None => tokio::task::yield_now().await,
                }
            }
        };
        // Those that waited came to their turn.
        timeout(2 * PATIENCE, watched).await.expect("an end of each");
        assert_eq!(usize::try_from(most).unwrap(), WAITING);
    });
}

#[test]
fn a_port_where_the_guest_is_silent_closes_no_other_and_is_told_of() {
    const WAITING: usize = 4;
    run(async {
        let config = net_engine::GuestConfig {
            limits: Limits { max_held_syns: WAITING, ..Limits::default() },
            ..net_engine::GuestConfig::default()
        };
        let capabilities = net_engine::link::LinkCapabilities { mtu: 1500, offload: false };
        // Nobody is at the other end of the cable.
        let (link, _silent) = net_engine::link::pair(capabilities, 256);
        let engine = net_engine::Engine::builder().build().unwrap();
        let handle = engine.attach(0, Box::new(link), config).await.unwrap();
        let mut ports = Vec::new();
        for _ in 0..2 {
            let publication = Publication::tcp(SocketAddr::new(LOOPBACKS[0], 0), PORT).unwrap();
            ports.push(publication.local_address().unwrap());
            handle.publish(publication).await.unwrap();
        }
        let opened = async |expected: usize| {
            let reached = async {
                while handle.counters().await.unwrap().flows_open != u64::try_from(expected).unwrap() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{expected} connections"));
        };
        // The kernel takes them all, and one port has its share.
        let mut outside = Vec::new();
        for _ in 0..WAITING {
            outside.push(TcpStream::connect(ports[0]).await.unwrap());
        }
        opened(WAITING / 2).await;
        let event = timeout(PATIENCE, handle.next_event()).await.expect("an event").unwrap();
        assert!(matches!(event, Event::LimitHolds { limit: "max_held_syns" }), "{event}");
        // The other one has its own.
        outside.push(TcpStream::connect(ports[1]).await.unwrap());
        opened(WAITING / 2 + 1).await;
    });
}

/// Publishes a port of UDP on a loopback address; a socket that sends there.
async fn publish_udp(world: &World, loopback: IpAddr, port: u16) -> (UdpSocket, net_engine::PublicationId) {
    let publication = Publication::udp(SocketAddr::new(loopback, 0), port).unwrap();
    let at = publication.local_address().unwrap();
    let id = world.handle.publish(publication).await.unwrap();
    let outside = UdpSocket::bind(SocketAddr::new(loopback, 0)).await.unwrap();
    outside.connect(at).await.unwrap();
    (outside, id)
}

async fn heard(outside: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let count = timeout(PATIENCE, outside.recv(&mut buffer)).await.expect("a datagram").unwrap();
    buffer[..count].to_vec()
}

#[test]
fn datagrams_reach_the_guest_and_its_answers_whoever_sent_them() {
    run(async {
        // Whatever the guest itself may send: it answers.
        let world = World::new(Setup::default()).await;
        let guest = world.guest.datagrams();
        for loopback in LOOPBACKS {
            let (first, _) = publish_udp(&world, loopback, guest.port()).await;
            let second = UdpSocket::bind(SocketAddr::new(loopback, 0)).await.unwrap();
            second.connect(first.peer_addr().unwrap()).await.unwrap();
            for outside in [&first, &second] {
                outside.send(b"from outside").await.unwrap();
                let (bytes, from) = timeout(PATIENCE, guest.receive()).await.expect("a datagram");
                assert_eq!(bytes, b"from outside");
                // The host's own processes speak from the gateway, with their own port.
                let own_port = outside.local_addr().unwrap().port();
                assert_eq!(from, SocketAddr::new(gateway(&world, loopback.is_ipv6()), own_port));
            }
            for (outside, answer) in
                [(&second, b"to second"), (&first, b"to first."), (&second, b"to second")]
            {
                let to = SocketAddr::new(
                    gateway(&world, loopback.is_ipv6()),
                    outside.local_addr().unwrap().port(),
                );
                guest.send(to, answer);
                assert_eq!(heard(outside).await, answer);
            }
        }
        // Nobody else may be sent to.
        guest.send(SocketAddr::new(gateway(&world, false), 9), b"to a stranger");
        assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 13));
    });
}

#[test]
fn each_answer_leaves_from_the_port_that_was_asked() {
    run(async {
        let world = World::new(Setup::default()).await;
        let guest = world.guest.datagrams();
        for loopback in LOOPBACKS {
            let (mut ports, mut askers) = (Vec::new(), Vec::new());
            for _ in 0..2 {
                let (asker, _) = publish_udp(&world, loopback, guest.port()).await;
                ports.push(asker.peer_addr().unwrap());
                askers.push(asker);
            }
            // One who asks at both, by one socket, beside one at each.
            let both = UdpSocket::bind(SocketAddr::new(loopback, 0)).await.unwrap();
            let mut seen = Vec::new();
            for port in &ports {
                both.send_to(b"asked", port).await.unwrap();
                seen.push(timeout(PATIENCE, guest.receive()).await.expect("a datagram").1);
            }
            for asker in &askers {
                asker.send(b"asked").await.unwrap();
                seen.push(timeout(PATIENCE, guest.receive()).await.expect("a datagram").1);
            }
            // In turn, so that those which may leave together are not of one port.
            const ROUNDS: u8 = 5;
            for round in 0..ROUNDS {
                for (nth, peer) in (0..).zip(&seen) {
                    guest.send(*peer, &[nth, round]);
                }
            }
            let mut buffer = [0; 8];
            for round in 0..ROUNDS {
                for (nth, port) in (0..).zip(&ports) {
                    // A socket that is connected hears nobody else.
                    assert_eq!(heard(&askers[usize::from(nth)]).await, [nth + 2, round]);
                    let (count, from) =
                        timeout(PATIENCE, both.recv_from(&mut buffer)).await.expect("an answer").unwrap();
                    assert_eq!((&buffer[..count], from), (&[nth, round][..], *port));
                }
            }
        }
    });
}

#[test]
fn two_peers_that_look_alike_are_told_apart_by_their_ports() {
    run(async {
        let world = World::new(Setup::default()).await;
        let guest = world.guest.datagrams();
        let (first, _) = publish_udp(&world, LOOPBACKS[0], guest.port()).await;
        let (other, _) = publish_udp(&world, Ipv4Addr::new(127, 0, 0, 2).into(), guest.port()).await;
        let at = other.peer_addr().unwrap();
        let port = first.local_addr().unwrap().port();
        // Both are the gateway to the guest, and have one port.
        let second =
            UdpSocket::bind(SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), port)).await.unwrap();
        second.connect(at).await.unwrap();
        let mut seen = Vec::new();
        for outside in [&first, &second] {
            outside.send(b"hello").await.unwrap();
            let (_, from) = timeout(PATIENCE, guest.receive()).await.expect("a datagram");
            guest.send(from, format!("you are {}", from.port()).as_bytes());
            assert_eq!(heard(outside).await, format!("you are {}", from.port()).into_bytes());
            seen.push(from);
        }
        assert_eq!(seen[0].port(), port);
        assert_ne!(seen[0], seen[1]);
    });
}

#[test]
fn rules_for_ingress_decide_who_sends_and_a_new_policy_or_the_end_of_the_port_ends_it() {
    run(async {
        let world = World::new(Setup::default()).await;
        let guest = world.guest.datagrams();
        let (outside, id) = publish_udp(&world, LOOPBACKS[0], guest.port()).await;
        let shown = SocketAddr::new(gateway(&world, false), outside.local_addr().unwrap().port());
        outside.send(b"one").await.unwrap();
        assert_eq!(timeout(PATIENCE, guest.receive()).await.expect("a datagram").1, shown);
        let denied = Policy::new(vec![ingress(Action::Deny, "host")]);
        assert_eq!(world.handle.swap_policy(denied).await.unwrap(), 1);
        let event = world.event().await;
        assert!(matches!(event, Event::InboundDenied { .. }), "{event}");
        guest.send(shown, b"too late");
        assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 13));
        let _ = world.event().await;
        outside.send(b"two").await.unwrap();
        let event = world.event().await;
        assert!(matches!(event, Event::InboundDenied { .. }), "{event}");
        // Of what is refused the second was never delivered.
        world.handle.swap_policy(Policy::default()).await.unwrap();
        outside.send(b"three").await.unwrap();
        assert_eq!(timeout(PATIENCE, guest.receive()).await.expect("a datagram"), (b"three".to_vec(), shown));
        assert!(world.handle.withdraw(id).await && !world.handle.withdraw(id).await);
        guest.send(shown, b"nobody is there");
        assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 13));
        // The port is free again.
        let at = outside.peer_addr().unwrap();
        let freed = async {
            while Publication::udp(at, 1).is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, freed).await.expect("a free port");
    });
}

#[test]
fn peers_of_a_published_port_are_bounded_and_forgotten() {
    run(async {
        let limits = Limits {
            max_udp_peers: 2,
            udp_idle_timeout: std::time::Duration::from_millis(1_500),
            ..Limits::default()
        };
        let world = World::new(Setup { limits, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        let (first, _) = publish_udp(&world, LOOPBACKS[0], guest.port()).await;
        let mut shown = Vec::new();
        let mut outside = vec![first];
        for _ in 0..2 {
            let other = UdpSocket::bind(SocketAddr::new(LOOPBACKS[0], 0)).await.unwrap();
            other.connect(outside[0].peer_addr().unwrap()).await.unwrap();
            outside.push(other);
        }
        for outside in &outside {
            outside.send(b"hello").await.unwrap();
            shown.push(timeout(PATIENCE, guest.receive()).await.expect("a datagram").1);
        }
        let event = world.event().await;
        assert!(matches!(event, Event::LimitReached { limit: "max_udp_peers" }), "{event}");
        assert_eq!(world.handle.counters().await.unwrap().udp.peers, 2);
        // The first has yielded; the last is there.
        guest.send(shown[0], b"gone");
        assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 13));
        guest.send(shown[2], b"still here");
        assert_eq!(heard(&outside[2]).await, b"still here");
        let forgotten = async {
            while world.handle.counters().await.unwrap().udp.peers > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, forgotten).await.expect("nobody is remembered for ever");
    });
}

#[test]
fn a_peer_that_has_gone_is_told_to_the_guest() {
    run(async {
        let world = World::new(Setup::default()).await;
        let guest = world.guest.datagrams();
        let (outside, _) = publish_udp(&world, LOOPBACKS[0], guest.port()).await;
        outside.send(b"hello").await.unwrap();
        let (_, shown) = timeout(PATIENCE, guest.receive()).await.expect("a datagram");
        drop(outside);
        guest.send(shown, b"are you there?");
        assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 3));
    });
}

#[test]
fn a_server_is_told_who_has_connected_before_everything_else() {
    run(async {
        let world = World::new(Setup::default()).await;
        for (version, loopback) in [(ProxyProtocol::V1, LOOPBACKS[0]), (ProxyProtocol::V1, LOOPBACKS[1])] {
            let publication = Publication::tcp(SocketAddr::new(loopback, 0), PORT).unwrap();
            let at = publication.local_address().unwrap();
            world.handle.publish(publication.with_proxy_protocol(version)).await.unwrap();
            let listening = world.guest.listen(guest_at(&world, loopback.is_ipv6()));
            let mut outside = TcpStream::connect(at).await.unwrap();
            outside.write_all(b"hello").await.unwrap();
            let (mut inside, _) = timeout(PATIENCE, listening.accept()).await.expect("a connection");
            let family = if loopback.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (outside.local_addr().unwrap().port(), at.port());
            let expected = format!("PROXY {family} {loopback} {loopback} {from} {to}\r\nhello");
            let mut heard = vec![0; expected.len()];
            timeout(PATIENCE, inside.read_exact(&mut heard)).await.expect("a header").unwrap();
            assert_eq!(String::from_utf8_lossy(&heard), expected);
            talk(&mut outside, &mut inside).await;
        }
    });
}

#[test]
fn a_socket_s_file_goes_with_its_publication_if_it_is_the_same_still() {
    run(async {
        let world = World::new(Setup::default()).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let gone = || async {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        };
        let id = world.handle.publish(Publication::unix(&path, PORT).unwrap()).await.unwrap();
        assert!(path.exists() && world.handle.withdraw(id).await);
        timeout(PATIENCE, gone()).await.expect("no file");
        // One that is never served goes too.
        drop(Publication::unix(&path, PORT).unwrap());
        assert!(!path.exists());
        // Another one's stays.
        let id = world.handle.publish(Publication::unix(&path, PORT).unwrap()).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(world.handle.withdraw(id).await);
        let _ = world.handle.counters().await;
        world.handle.stop().await;
        assert!(path.exists());
        drop(other);
        // So does the end of the guest.
        std::fs::remove_file(&path).unwrap();
        let world = World::new(Setup::default()).await;
        world.handle.publish(Publication::unix(&path, PORT).unwrap()).await.unwrap();
        assert!(path.exists());
        world.handle.stop().await;
        timeout(PATIENCE, gone()).await.expect("no file");
    });
}
