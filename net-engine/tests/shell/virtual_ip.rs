//! Names with addresses of their own: what is answered, whom a flow to one reaches, and what it may show.
#![allow(clippy::wildcard_enum_match_arm, reason = "the test knows two kinds of records")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use net_core::Limits;
use net_engine::link::{self, LinkCapabilities};
use net_engine::{AttachError, Engine, Event, GuestConfig};
use net_policy::{Action, HttpCondition, Policy, VirtualPools, parse_target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

use crate::guest::Stream;
use crate::quic_client::flight;
use crate::server::{http_recorder, one_connection, silent_port};
use crate::upstream::closed_port;
use crate::wire::{read_responses, statuses};
use crate::world::{PATIENCE, Setup, World, run, virtual_rules};

/// The address that several names share.
const SHARED: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 2);
const THIRD: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 3);

/// The first address that stands for a name.
const KEPT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const SHARED_V6: Ipv6Addr = Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 9);

/// A resolver that says of every name below `.example` that it has `v4` and `v6`, for `ttl` seconds.
async fn resolver(v4: &'static [Ipv4Addr], v6: &'static [Ipv6Addr], ttl: u32) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let question = query.queries.first().unwrap().clone();
            let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
            reply.metadata.recursion_available = true;
            reply.add_query(question.clone());
            let records: Vec<RData> = match question.query_type() {
                RecordType::A => v4.iter().map(|address| RData::A(A(*address))).collect(),
                RecordType::AAAA => v6.iter().map(|address| RData::AAAA(AAAA(*address))).collect(),
                _ => Vec::new(),
            };
            for data in records {
                reply.add_answer(Record::from_rdata(question.name().clone(), ttl, data));
            }
            socket.send_to(&reply.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

async fn ask(world: &World, name: &str, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    let answer = world.guest.exchange(world.resolver, &query.to_vec().unwrap()).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

/// The one address in the answer.
async fn address_of(world: &World, name: &str, kind: RecordType) -> IpAddr {
    let answer = ask(world, name, kind).await;
    match &*answer.answers {
        [record] if record.name == answer.queries[0].name().clone() => match &record.data {
            RData::A(a) => a.0.into(),
            RData::AAAA(aaaa) => aaaa.0.into(),
            other => panic!("{other}"),
        },
        other => panic!("{name}: {other:?}"),
    }
}

async fn v4_of(world: &World, name: &str) -> IpAddr {
    address_of(world, name, RecordType::A).await
}

async fn connect(world: &World, address: IpAddr, port: u16) -> Stream {
    match world.guest.connect(SocketAddr::new(address, port)).await {
        Ok(stream) => stream,
        Err(error) => panic!("{address}:{port}: {error}; {}", world.event().await),
    }
}

async fn refused(world: &World, address: IpAddr, port: u16) -> Event {
    let refused = world.guest.connect(SocketAddr::new(address, port)).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(std::io::ErrorKind::ConnectionRefused));
    world.event().await
}

/// Speaks first, with these bytes, and then echoes.
async fn greeter(greeting: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let mut buffer = [0; 1024];
                stream.write_all(greeting.as_bytes()).await.unwrap();
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..length]).await.unwrap();
                }
            });
        }
    });
    address
}

/// The server is heard before the guest says anything, and then echoes.
async fn assert_greeted(stream: &mut Stream, greeting: &str) {
    let mut heard = vec![0; greeting.len()];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.expect("a greeting").unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), greeting);
    assert_echoed(stream).await;
}

async fn assert_echoed(stream: &mut Stream) {
    let mut byte = [0; 1];
    stream.write_all(b"x").await.unwrap();
    timeout(PATIENCE, stream.read_exact(&mut byte)).await.expect("an echo").unwrap();
    assert_eq!(&byte, b"x");
}

#[test]
fn names_of_one_address_are_told_apart_before_anybody_has_said_anything() {
    run(async {
        let nameservers = vec![resolver(&[SHARED], &[SHARED_V6], 300).await.into()];
        let (ssh, database) = (greeter("SSH-2.0-test\r\n").await, greeter("J\0\0\0").await);
        let setup = Setup {
            virtually: &["a.example:22", "b.example:3306"],
            redirects: vec![((SHARED, 22), ssh), ((SHARED, 3306), database)],
            redirects_v6: vec![((SHARED_V6, 22), ssh), ((SHARED_V6, 3306), database)],
            nameservers,
            ..Setup::default()
        };
        let world = World::new(setup).await;
        for kind in [RecordType::A, RecordType::AAAA] {
            let (a, b) =
                (address_of(&world, "a.example", kind).await, address_of(&world, "b.example", kind).await);
            assert_ne!(a, b);
            assert_greeted(&mut connect(&world, a, 22).await, "SSH-2.0-test\r\n").await;
            assert_greeted(&mut connect(&world, b, 3306).await, "J\0\0\0").await;
            let real = if kind == RecordType::A { SHARED.into() } else { IpAddr::V6(SHARED_V6) };
            for (name, address, port) in [("a", a, 3306), ("b", b, 22)] {
                let event = refused(&world, address, port).await;
                let shown = format!(
                    "denied tcp {name}.example ({}, which stands for {real}): default (no rule allows it)",
                    SocketAddr::new(address, port)
                );
                assert_eq!(event.to_string(), shown);
            }
        }
    });
}

#[test]
fn an_answer_has_what_the_name_has_and_the_address_has_its_name() {
    run(async {
        let nameservers = vec![resolver(&[SHARED, OTHER], &[], 300).await.into()];
        let world = World::new(Setup {
            virtually: &["*.example:22"],
            allow: &["real.test"],
            nameservers,
            ..Setup::default()
        })
        .await;
        for _ in 0..2 {
            // The second time from the cache.
            let answer = ask(&world, "A.Example", RecordType::A).await;
            let [record] = &*answer.answers else { panic!("{answer:?}") };
            assert_eq!(record.data, RData::A(A(Ipv4Addr::new(198, 18, 0, 1))));
            assert!((1..=60).contains(&record.ttl), "{}", record.ttl);
        }
        assert_eq!(v4_of(&world, "b.example").await, IpAddr::from([198, 18, 0, 2]));
        // No family that the name does not have.
        let answer = ask(&world, "a.example", RecordType::AAAA).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
        // Whose rule does not want it is answered as ever.
        assert_eq!(ask(&world, "real.test", RecordType::A).await.answers.len(), 2);
        let answer = ask(&world, "1.0.18.198.in-addr.arpa", RecordType::PTR).await;
        assert!(
            matches!(&*answer.answers, [record] if record.data.to_string() == "a.example."),
            "{answer:?}"
        );
        let answer = ask(&world, "9.0.18.198.in-addr.arpa", RecordType::PTR).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    });
}

#[test]
fn what_is_sent_to_an_address_of_nobody_s_goes_nowhere() {
    run(async {
        let nobodys = Ipv4Addr::new(198, 18, 0, 77);
        let server = greeter("here").await;
        let nameservers = vec![resolver(&[SHARED], &[], 300).await.into()];
        let setup = Setup {
            virtually: &["a.example:22"],
            allow: &["198.18.0.0/15", "any"],
            redirects: vec![((nobodys, 22), server), ((SHARED, 22), server)],
            nameservers,
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let event = refused(&world, nobodys.into(), 22).await;
        let why = "denied tcp 198.18.0.77:22: default (the address was given for no name)";
        assert_eq!(event.to_string(), why);
        // Nor by a translation of it, whatever translates.
        let event = refused(&world, "64:ff9b::198.18.0.77".parse().unwrap(), 22).await;
        assert!(event.to_string().ends_with("(the address was given for no name)"), "{event}");
        let datagrams = world.guest.datagrams();
        datagrams.send(SocketAddr::new(nobodys.into(), 22), b"anybody?");
        assert_eq!(timeout(PATIENCE, datagrams.error()).await.expect("an error"), (3, 13));
        assert_eq!(world.event().await.to_string(), why.replace("tcp", "udp"));
        // A policy without such rules takes nothing back.
        world.handle.swap_policy(virtual_rules(&[], &[], &["any"])).await.unwrap();
        let event = refused(&world, nobodys.into(), 22).await;
        assert_eq!(event.to_string(), why);
    });
    // Before there is such a rule the prefix is as any other.
    run(async {
        let server = greeter("here").await;
        let redirects = vec![((Ipv4Addr::new(198, 18, 0, 77), 22), server)];
        let setup = Setup { allow: &["198.18.0.0/15"], redirects, ..Setup::default() };
        let world = World::new(setup).await;
        assert_greeted(&mut connect(&world, [198, 18, 0, 77].into(), 22).await, "here").await;
    });
}

#[test]
fn an_answer_may_not_point_at_another_name_s_address() {
    run(async {
        let nameservers = vec![resolver(&[KEPT], &[], 300).await.into()];
        let setup =
            Setup { virtually: &["a.example"], allow: &["198.18.0.0/15"], nameservers, ..Setup::default() };
        let world = World::new(setup).await;
        for name in ["a.example", "b.example"] {
            let answer = ask(&world, name, RecordType::A).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name}");
            let event = world.event().await.to_string();
            assert!(event.ends_with("it resolves to an address that is kept for names"), "{event}");
        }
    });
}

#[test]
fn requests_to_a_name_s_own_address_are_decided_by_its_real_one() {
    run(async {
        let nameservers = vec![resolver(&[SHARED, OTHER], &[], 300).await.into()];
        let (server, seen) = http_recorder().await;
        let redirects = vec![((SHARED, 80), server), ((SHARED, 7000), server)];
        let world = World::new(Setup { redirects, nameservers, ..Setup::default() }).await;
        let rule = |action, text| parse_target(text).unwrap().into_rule(action);
        let reads = HttpCondition::parse(&["GET"], &["/health"]).unwrap();
        let own = rule(Action::Allow, "a.example").for_requests(reads).unwrap().virtually().unwrap();
        // The address that would be tried first is denied. Whoever asked about the one the guest sees would be
        // told of the last rule.
        let (other, shared) = (rule(Action::Deny, "9.9.9.2"), rule(Action::Deny, "9.9.9.1"));
        let policy = Policy::new(vec![other, own, shared, rule(Action::Allow, "any")]);
        world.handle.swap_policy(policy).await.unwrap();
        let a = v4_of(&world, "a.example").await;
        assert_eq!(a, IpAddr::V4(KEPT));
        let mut stream = connect(&world, a, 80).await;
        for (method, path, status) in [
            ("GET", "/health", "200"),
            ("POST", "/health", "403"),
            ("GET", "/health/../x", "403"),
            ("GET", "//health", "403"),
            ("GET", "/health?x", "200"),
        ] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(statuses(&read_responses(&mut stream, 1).await), [status], "{method} {path}");
            if status == "403" {
                let event = world.event().await.to_string();
                let start = "denied tcp a.example (198.18.0.1:80, which stands for 9.9.9.1): ";
                assert!(event.starts_with(&format!("{start}{method}")), "{event}");
            }
        }
        assert_eq!(seen.borrow().len(), 2);
        // What is not HTTP shows no request.
        let mut stream = connect(&world, a, 7000).await;
        stream.write_all(b"\0not http").await.unwrap();
        let event = world.event().await.to_string();
        let expected =
            "denied tcp a.example (198.18.0.1:7000, which stands for 9.9.9.1): rule 3: deny 9.9.9.1";
        assert_eq!(event, expected);
        assert_eq!(seen.borrow().len(), 2);
    });
}

#[test]
fn a_stream_that_shows_another_name_ends() {
    run(async {
        let nameservers = vec![resolver(&[SHARED], &[], 300).await.into()];
        let (server, seen) = http_recorder().await;
        let (tls, accepted) = one_connection().await;
        let setup = Setup {
            virtually: &["*.example"],
            redirects: vec![((SHARED, 80), server), ((SHARED, 7443), tls)],
            nameservers,
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let (a, b) = (v4_of(&world, "a.example").await, v4_of(&world, "b.example").await);
        let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        // Both are allowed, and both lead there: each only by its own address.
        for (address, host, status) in [
            (a, "a.example", "200"),
            (b, "a.example", "403"),
            (a, "b.example", "403"),
            (b, "b.example", "200"),
        ] {
            let mut stream = connect(&world, address, 80).await;
            stream.write_all(get(host).as_bytes()).await.unwrap();
            assert_eq!(statuses(&read_responses(&mut stream, 1).await), [status], "{address} {host}");
            if status == "403" {
                let event = world.event().await.to_string();
                assert!(event.ends_with("(the address was given for another name)"), "{event}");
            }
        }
        assert_eq!(seen.borrow().len(), 2);
        let shaken = world.tls_to(as_v4(a), 7443, "b.example", "").await;
        assert!(shaken.is_err());
        let event = world.event().await.to_string();
        assert!(
            event.starts_with("denied tcp b.example (198.18.0.1:7443, which stands for 9.9.9.1)"),
            "{event}"
        );
        let mut server = accepted.await;
        let read = timeout(PATIENCE, server.read(&mut [0; 1])).await.expect("the end");
        assert!(!matches!(read, Ok(1)), "{read:?}");
    });
}

fn as_v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => panic!("{v6}"),
    }
}

#[test]
fn the_next_address_of_a_name_is_tried_where_one_does_not_answer() {
    run(async {
        let nameservers = vec![resolver(&[SHARED, OTHER, THIRD], &[], 300).await.into()];
        let (silent, _waiting, _listener) = silent_port().await;
        let setup = Setup {
            virtually: &["a.example"],
            redirects: vec![
                ((SHARED, 22), greeter("at last").await),
                ((OTHER, 22), silent),
                ((THIRD, 22), closed_port().await.unwrap()),
                ((SHARED, 23), closed_port().await.unwrap()),
                ((OTHER, 23), closed_port().await.unwrap()),
                ((THIRD, 23), closed_port().await.unwrap()),
            ],
            limits: Limits { connect_timeout: Duration::from_secs(6), ..Limits::default() },
            nameservers,
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let a = v4_of(&world, "a.example").await;
        let began = Instant::now();
        assert_greeted(&mut connect(&world, a, 22).await, "at last").await;
        // Half of what was left for the silent one.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let event = refused(&world, a, 23).await;
        let shown =
            "failed a.example (198.18.0.1:23, which stands for 9.9.9.1): upstream refused the connection";
        assert_eq!(event.to_string(), shown);
    });
}

#[test]
fn an_address_that_the_policy_denies_is_not_among_those_that_are_tried() {
    run(async {
        let nameservers = vec![resolver(&[SHARED, OTHER], &[], 300).await.into()];
        let setup = Setup {
            virtually: &["a.example"],
            deny: &["9.9.9.2"],
            redirects: vec![((SHARED, 22), greeter("allowed").await), ((OTHER, 22), greeter("denied").await)],
            nameservers,
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let a = v4_of(&world, "a.example").await;
        let mut stream = connect(&world, a, 22).await;
        assert_greeted(&mut stream, "allowed").await;
        // A policy that denies where it leads ends it, and another address serves the next.
        world.handle.swap_policy(virtual_rules(&["9.9.9.1"], &["a.example"], &[])).await.unwrap();
        let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("the guest hears of it");
        assert!(read.is_err(), "{read:?}");
        assert!(world.event().await.to_string().ends_with("which stands for 9.9.9.1): rule 1: deny 9.9.9.1"));
        assert_greeted(&mut connect(&world, a, 22).await, "denied").await;
    });
}

#[test]
fn datagrams_come_back_from_the_address_that_stands_for_the_name() {
    run(async {
        let nameservers = vec![resolver(&[SHARED], &[SHARED_V6], 300).await.into()];
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = server.local_addr().unwrap();
        let setup = Setup {
            virtually: &["a.example:7", "b.example:8"],
            redirects: vec![((SHARED, 7), to), ((SHARED, 8), to)],
            redirects_v6: vec![((SHARED_V6, 7), to)],
            nameservers,
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let mut buffer = [0; 100];
        for kind in [RecordType::A, RecordType::AAAA] {
            let a = SocketAddr::new(address_of(&world, "a.example", kind).await, 7);
            let guest = world.guest.datagrams();
            for _ in 0..2 {
                guest.send(a, b"to a");
                let (length, from) =
                    timeout(PATIENCE, server.recv_from(&mut buffer)).await.expect("a datagram").unwrap();
                assert_eq!(&buffer[..length], b"to a");
                server.send_to(b"from a", from).await.unwrap();
                let answer = timeout(PATIENCE, guest.receive()).await.expect("an answer");
                assert_eq!(answer, (b"from a".to_vec(), a));
            }
        }
        let b = v4_of(&world, "b.example").await;
        let guest = world.guest.datagrams();
        guest.send(SocketAddr::new(b, 7), b"to b");
        assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 13));
        let event = world.event().await.to_string();
        assert!(
            event.starts_with("denied udp b.example (198.18.0.2:7, which stands for 9.9.9.1)"),
            "{event}"
        );
        // What carries on is decided anew under another policy.
        let (a, guest) = (SocketAddr::new(v4_of(&world, "a.example").await, 7), world.guest.datagrams());
        guest.send(a, b"before");
        timeout(PATIENCE, server.recv_from(&mut buffer)).await.expect("a datagram").unwrap();
        world.handle.swap_policy(virtual_rules(&[], &[], &["a.example"])).await.unwrap();
        guest.send(a, b"still");
        let (length, _) =
            timeout(PATIENCE, server.recv_from(&mut buffer)).await.expect("a datagram").unwrap();
        assert_eq!(&buffer[..length], b"still");
        assert_eq!(world.handle.counters().await.unwrap().udp.peers, 3);
        world.handle.swap_policy(virtual_rules(&[], &["b.example"], &[])).await.unwrap();
        guest.send(a, b"after");
        assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 13));
    });
}

#[test]
fn a_connection_of_quic_shows_the_name_its_address_stands_for() {
    run(async {
        let nameservers = vec![resolver(&[SHARED], &[], 300).await.into()];
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let redirects = vec![((SHARED, 443), server.local_addr().unwrap())];
        let virtually = &["*.example"];
        let world = World::new(Setup { virtually, redirects, nameservers, ..Setup::default() }).await;
        let a = SocketAddr::new(v4_of(&world, "a.example").await, 443);
        v4_of(&world, "b.example").await;
        let guest = world.guest.datagrams();
        // Allowed, and at the same real address; but not by this one.
        flight(&[1; 8], "b.example").iter().for_each(|datagram| guest.send(a, datagram));
        assert_eq!(timeout(PATIENCE, guest.error()).await.expect("an error"), (3, 13));
        let event = world.event().await.to_string();
        assert!(
            event.starts_with("denied udp b.example (198.18.0.1:443, which stands for 9.9.9.1)"),
            "{event}"
        );
        assert!(event.ends_with("(the address was given for another name)"), "{event}");
        let own = flight(&[2; 8], "a.example");
        own.iter().for_each(|datagram| guest.send(a, datagram));
        let mut buffer = [0; 2048];
        for expected in &own {
            let length = timeout(PATIENCE, server.recv(&mut buffer)).await.expect("a datagram").unwrap();
            assert!(buffer[..length] == **expected, "{length} bytes are not the expected ones");
        }
    });
}

#[test]
fn a_flow_stays_while_its_name_is_allowed_by_whatever_rule() {
    run(async {
        let nameservers = vec![resolver(&[SHARED], &[], 300).await.into()];
        let redirects = vec![((SHARED, 22), greeter("hello").await)];
        let virtually = &["a.example:22"];
        let world = World::new(Setup { virtually, redirects, nameservers, ..Setup::default() }).await;
        let a = v4_of(&world, "a.example").await;
        let mut stream = connect(&world, a, 22).await;
        assert_greeted(&mut stream, "hello").await;
        world.handle.swap_policy(virtual_rules(&[], &[], &["a.example:22"])).await.unwrap();
        assert_echoed(&mut stream).await;
        // New answers are real ones; who remembers the other still reaches the name by it.
        assert_eq!(v4_of(&world, "a.example").await, IpAddr::from(SHARED));
        assert_greeted(&mut connect(&world, a, 22).await, "hello").await;
        world.handle.swap_policy(virtual_rules(&[], &["a.example:23"], &[])).await.unwrap();
        let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("the guest hears of it");
        assert!(read.is_err(), "{read:?}");
    });
}

#[test]
fn a_name_without_room_has_its_real_address_and_no_other_name_s() {
    run(async {
        let nameservers = vec![resolver(&[SHARED], &[], 0).await.into()];
        let redirects = vec![((SHARED, 22), greeter("hello").await)];
        let setup = Setup {
            virtually: &["*.example:22"],
            virtual_pools: VirtualPools::parse("198.18.0.0/30", "fd00:1::/120").unwrap(),
            redirects,
            nameservers,
            limits: Limits { pin_grace: Duration::ZERO, ..Limits::default() },
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let a = v4_of(&world, "a.example").await;
        let mut stream = connect(&world, a, 22).await;
        assert_greeted(&mut stream, "hello").await;
        let b = v4_of(&world, "b.example").await;
        assert_eq!(v4_of(&world, "c.example").await, IpAddr::from(SHARED));
        let event = world.event().await;
        assert!(matches!(event, Event::LimitReached { limit: "max_virtual_names" }), "{event}");
        // By the real address as ever.
        assert_greeted(&mut connect(&world, SHARED.into(), 22).await, "hello").await;
        // A second later nobody should remember b; a has a flow.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(v4_of(&world, "c.example").await, b);
        assert_echoed(&mut stream).await;
        let event = refused(&world, a, 23).await.to_string();
        assert!(event.starts_with("denied tcp a.example ("), "{event}");
    });
}

#[test]
fn what_is_pinned_to_a_name_expires_under_its_own_address_too() {
    run(async {
        let nameservers = vec![resolver(&[SHARED], &[], 1).await.into()];
        let redirects = vec![((SHARED, 22), greeter("hello").await)];
        let limits = Limits { pin_grace: Duration::ZERO, ..Limits::default() };
        let virtually = &["a.example"];
        let world = World::new(Setup { virtually, redirects, nameservers, limits, ..Setup::default() }).await;
        let a = v4_of(&world, "a.example").await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let event = refused(&world, a, 22).await.to_string();
        let why =
            "denied tcp a.example (198.18.0.1:22): default (the address was not resolved for this name)";
        assert_eq!(event, why);
        assert_eq!(v4_of(&world, "a.example").await, a);
        let mut stream = connect(&world, a, 22).await;
        assert_greeted(&mut stream, "hello").await;
        // Not under a flow, which another policy decides again.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        world.handle.swap_policy(virtual_rules(&[], virtually, &[])).await.unwrap();
        assert_echoed(&mut stream).await;
    });
}

#[test]
fn pools_that_overlap_the_link_attach_nobody() {
    run(async {
        let engine = Engine::builder().build().unwrap();
        let (engine_end, _guest_end) = link::pair(LinkCapabilities { mtu: 1500, offload: false }, 16);
        let virtual_pools = VirtualPools::parse("172.16.0.0/16", "fd00:1::/64").unwrap();
        let config = GuestConfig { virtual_pools, ..GuestConfig::default() };
        let attached = engine.attach(0, Box::new(engine_end), config).await;
        assert!(matches!(attached.err(), Some(AttachError::VirtualPools(_))));
    });
}
