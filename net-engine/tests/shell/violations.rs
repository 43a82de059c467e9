//! A placeholder is a violation of its secret whichever way it was on: it may end the guest, and it counts.

use std::any::Any;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use net_engine::{Event, LeakPlace, Termination, TerminationHook};
use net_policy::{Policy, parse_target};
use net_secrets::{Action, Binding, SecretSet, SecretValue};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::server::Identity;
use crate::wire::read_until;
use crate::world::{HOST_A, PATIENCE, Setup, VALUE, World, placeholder, policy, run};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Where a placeholder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Name,
    ServerName,
    Datagram,
    Tcp,
    InsideOfTls,
    Head,
    WebSocket,
}

const WAYS: [(Way, LeakPlace); 7] = [
    (Way::Name, LeakPlace::DnsName),
    (Way::ServerName, LeakPlace::ServerName),
    (Way::Datagram, LeakPlace::Datagram),
    (Way::Tcp, LeakPlace::Stream),
    (Way::InsideOfTls, LeakPlace::Stream),
    (Way::Head, LeakPlace::Head),
    (Way::WebSocket, LeakPlace::WebSocket),
];

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) {
    // It may have ended by now.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
}

/// A text message of a guest's, all in one frame, its mask zero.
fn message(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// Sends a placeholder that way; what was opened is returned.
async fn stray(world: &World, way: Way) -> Box<dyn Any> {
    let token = placeholder().to_string();
    let name = format!("{token}.a.example");
    match way {
        Way::Name => Box::new(world.ask(&name).await),
        Way::ServerName => Box::new(world.tls(HOST_A, &name, "http/1.1").await),
        Way::Datagram => {
            world.resolve(HOST_A.0).await;
            let datagrams = world.guest.datagrams();
            datagrams.send((HOST_A.1, 7).into(), token.as_bytes());
            Box::new(datagrams)
        }
        Way::Tcp => {
            world.handle.swap_policy(policy(&["9.9.9.1:80"])).await.unwrap();
            let mut stream = world.connect_to(HOST_A.1, 80).await;
            write(&mut stream, format!("\0 no HTTP {token}").as_bytes()).await;
            Box::new(stream)
        }
        Way::InsideOfTls => {
            let rule = parse_target("a.example").unwrap().into_rule(net_policy::Action::Allow);
            world.handle.swap_policy(Policy::new(vec![rule.opaque().unwrap()])).await.unwrap();
            let mut stream = world.tls(HOST_A, "a.example", "").await.unwrap();
            write(&mut stream, format!("\0 no HTTP {token}").as_bytes()).await;
            Box::new(stream)
        }
        Way::Head => {
            let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
            write(&mut stream, format!("GET /{token} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes()).await;
            Box::new(stream)
        }
        Way::WebSocket => {
            let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
            write(&mut stream, UPGRADE.as_bytes()).await;
            read_until(&mut stream, "\r\n\r\n").await;
            write(&mut stream, &message(&token)).await;
            Box::new(stream)
        }
    }
}

/// Keeps every connection; over TLS each request is for a WebSocket.
async fn servers(identity: &Identity) -> (SocketAddr, SocketAddr) {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let encrypted = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = (plain.local_addr().unwrap(), encrypted.local_addr().unwrap());
    let acceptor = identity.acceptor("a.example", "http/1.1");
    tokio::task::spawn_local(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = plain.accept().await {
            kept.push(stream);
        }
    });
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = encrypted.accept().await {
            let acceptor = acceptor.clone();
            tokio::task::spawn_local(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut seen = Vec::new();
                while stream.read_buf(&mut seen).await.is_ok_and(|count| count > 0) {
                    if seen.ends_with(b"\r\n\r\n") {
                        write(&mut stream, SWITCH.as_bytes()).await;
                    }
                }
            });
        }
    });
    addresses
}

/// A world whose secret is for `a.example`, and what is told when the guest is to end.
async fn world(action: Action, terminate_after: Option<u32>) -> (World, oneshot::Receiver<Termination>) {
    let identity = Identity::new();
    let (plain, encrypted) = servers(&identity).await;
    let hosts = vec!["a.example".parse().unwrap()];
    let mut binding = Binding::new("TOKEN", placeholder(), SecretValue::new(VALUE.into()), hosts);
    binding.on_violation = action;
    let (sender, told) = oneshot::channel();
    let setup = Setup {
        allow: &["a.example", "*.a.example"],
        redirects: vec![((HOST_A.1, 443), encrypted), ((HOST_A.1, 80), plain)],
        trusts: Some(identity.pem()),
        secrets: SecretSet::compile(vec![binding], *b"test key").unwrap(),
        terminate_after: terminate_after.and_then(NonZeroU32::new),
        on_termination: Some(TerminationHook::new(move |why| {
            // Nobody waits where the test is over.
            let _ = sender.send(why);
        })),
        ..Setup::default()
    };
    (World::new(setup).await, told)
}

/// Sends a placeholder that way, which is to end the guest.
async fn end(world: &World, told: oneshot::Receiver<Termination>, (way, place): (Way, LeakPlace)) {
    let straying = async {
        let _kept = stray(world, way).await;
        std::future::pending::<()>().await;
    };
    let why = tokio::select! {
        biased;
        why = timeout(PATIENCE, told) => why.unwrap_or_else(|_| panic!("{way:?} ends nothing")).unwrap(),
        () = straying => unreachable!("it does not end"),
    };
    let Termination::Violation(report) = why else { panic!("{way:?}: {why:?}") };
    assert_eq!(report.place, place, "{way:?}");
    assert!(report.violation.to_string().contains("TOKEN"), "{way:?}: {report}");
}

#[test]
fn a_placeholder_on_any_way_ends_the_guest_where_its_secret_says_so() {
    for way in WAYS {
        run(async {
            let (world, told) = world(Action::BlockAndTerminate, None).await;
            end(&world, told, way).await;
        });
    }
}

#[test]
fn a_placeholder_on_any_way_is_an_event_and_the_second_ends_the_guest_where_two_do() {
    for (way, place) in WAYS {
        run(async {
            let (world, mut told) = world(Action::BlockAndLog, Some(2)).await;
            let _kept = stray(&world, way).await;
            let event = world.event().await;
            assert!(event.to_string().contains("TOKEN"), "{way:?}: {event}");
            let is_violation = matches!(event, Event::Violation { place: found, .. } if found == place);
            let is_name = way == Way::Name && matches!(event, Event::NameRefused { .. });
            assert!(is_violation || is_name, "{way:?}: {event}");
            assert!(told.try_recv().is_err(), "{way:?}: one is not yet two");
            end(&world, told, (way, place)).await;
        });
    }
}
