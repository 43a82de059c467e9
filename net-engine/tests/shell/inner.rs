//! What may be inside of TLS that is opened: HTTP that is held to the stream's name, or anything else where
//! the rule, the port or the owner says so.

use net_engine::{Event, InterceptError};
use net_policy::{Action, HttpCondition, Policy, parse_target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::server::{Identity, one_connection, say_ok};
use crate::wire::{finish, read_responses, read_to_end, read_until, statuses};
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, VALUE, World, placeholder, policy, run};

/// No word of HTTP, and one that might be.
const JUNK: [&[u8]; 3] =
    [b"\x10\x0c\x00\x04MQTT", b"hello\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"GET\r\n\r\n"];

/// Allows a target, inside of whose TLS anything may be.
fn opaque(target: &str) -> Policy {
    Policy::new(vec![parse_target(target).unwrap().into_rule(Action::Allow).opaque().unwrap()])
}

async fn world(identity: &Identity, server: std::net::SocketAddr, policy: Policy, setup: Setup) -> World {
    let redirects =
        [443, 8883].iter().flat_map(|port| [((HOST_A.1, *port), server), ((HOST_B.1, *port), server)]);
    let trusts = Some(identity.pem());
    let setup = Setup { redirects: redirects.collect(), trusts, also_opens: Some(8883), ..setup };
    let world = World::new(setup).await;
    world.handle.swap_policy(policy).await.unwrap();
    world
}

#[test]
fn what_is_allowed_by_name_is_http_or_ends() {
    // The port, and the guest's ALPN.
    for (port, alpn) in [(443, ""), (443, "http/1.1"), (443, "mqtt"), (8883, "http/1.1"), (8883, "mqtt")] {
        for junk in JUNK {
            run(async {
                let identity = Identity::new();
                let (server, seen) = identity.recorder("a.example", say_ok).await;
                let world = world(&identity, server, policy(&["a.example"]), Setup::default()).await;
                world.resolve(HOST_A.0).await;
                let mut stream = world.tls_to(HOST_A.1, port, "a.example", alpn).await.unwrap();
                stream.write_all(junk).await.unwrap();
                let answer = finish(&mut stream).await;
                assert_eq!(statuses(&answer), ["400"], "{port} {alpn} {junk:?}: {answer}");
                assert!(seen.borrow().is_empty(), "{port} {alpn} {junk:?}: {:?}", seen.borrow());
                let event = world.event().await;
                let Event::InterceptFailed { error: InterceptError::NotHttp, .. } = event else {
                    panic!("{port} {alpn} {junk:?}: {event}")
                };
                assert!(event.to_string().contains("inner = \"opaque\""), "{event}");
            });
        }
    }
}

#[test]
fn where_anything_may_be_inside_it_is_passed_on_as_bytes() {
    // By the rule; by the port, where nothing says that it is HTTP; by the owner.
    let cases = [
        (opaque("a.example"), 443, "", false),
        (opaque("a.example"), 443, "mqtt", false),
        (opaque("a.example"), 8883, "mqtt", false),
        (policy(&["a.example"]), 8883, "", false),
        (policy(&["a.example"]), 443, "", true),
        (policy(&["a.example"]), 443, "mqtt", true),
        (policy(&["9.9.9.1"]), 443, "mqtt", false),
    ];
    for (policy, port, alpn, lax_hosts) in cases {
        for with_secret in [false, true] {
            let (case, policy) =
                (format!("{policy:?} {port} {alpn} {lax_hosts} {with_secret}"), policy.clone());
            run(async {
                let identity = Identity::new();
                let (address, accepted) = one_connection().await;
                let acceptor = identity.acceptor("a.example", alpn);
                let setup = Setup { lax_hosts, with_secret, ..Setup::default() };
                let world = world(&identity, address, policy, setup).await;
                world.resolve(HOST_A.0).await;
                let (mut server, mut stream) = {
                    let serve = async { acceptor.accept(accepted.await).await.unwrap() };
                    let connect = async { world.tls_to(HOST_A.1, port, "a.example", alpn).await.unwrap() };
                    tokio::join!(serve, connect)
                };
                let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
                assert_eq!(agreed, alpn.as_bytes(), "{case}");
                stream.write_all(JUNK[0]).await.unwrap();
                let mut bytes = [0; 8];
                timeout(PATIENCE, server.read_exact(&mut bytes)).await.expect(&case).unwrap();
                assert_eq!(bytes, JUNK[0], "{case}");
                server.write_all(b"\x20\x02\x00\x00").await.unwrap();
                let mut bytes = [0; 4];
                timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect(&case).unwrap();
                // Each half ends by itself.
                stream.shutdown().await.unwrap();
                let end = timeout(PATIENCE, server.read(&mut bytes)).await.expect(&case).unwrap();
                assert_eq!(end, 0, "{case}");
                server.write_all(b"last words").await.unwrap();
                server.shutdown().await.unwrap();
                assert_eq!(read_to_end(&mut stream).await, "last words", "{case}");
            });
        }
    }
}

#[test]
fn a_server_that_speaks_first_waits_for_nobody() {
    run(async {
        let identity = Identity::new();
        let (address, accepted) = identity.one_connection("a.example").await;
        let world = world(&identity, address, opaque("a.example"), Setup::default()).await;
        world.resolve(HOST_A.0).await;
        let serve = async {
            let mut server = accepted.await;
            server.write_all(b"220 ready\r\n").await.unwrap();
            server
        };
        let guest = async {
            let mut stream = world.tls_to(HOST_A.1, 443, "a.example", "").await.unwrap();
            assert_eq!(read_until(&mut stream, "\r\n").await, "220 ready\r\n");
            stream.write_all(b"EHLO\r\n").await.unwrap();
            stream
        };
        let (mut server, _stream) = tokio::join!(serve, guest);
        assert_eq!(read_until(&mut server, "\r\n").await, "EHLO\r\n");
    });
}

#[test]
fn http_is_held_to_its_name_where_anything_may_be_inside_too() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let world = world(&identity, server, opaque("a.example"), Setup::default()).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
        stream.write_all(b"GET /2 HTTP/1.1\r\nHost: b.example\r\n\r\n").await.unwrap();
        let response = read_responses(&mut stream, 1).await + &finish(&mut stream).await;
        assert_eq!(statuses(&response), ["421"], "{response}");
        assert_eq!(seen.borrow().len(), 1);
    });
}

#[test]
fn no_placeholder_passes_among_bytes() {
    run(async {
        let identity = Identity::new();
        let (address, accepted) = identity.one_connection("a.example").await;
        let setup = Setup { with_secret: true, bound_to: Some("a.example"), ..Setup::default() };
        let world = world(&identity, address, opaque("a.example"), setup).await;
        world.resolve(HOST_A.0).await;
        let connect = async { world.tls_to(HOST_A.1, 443, "a.example", "").await.unwrap() };
        let (mut server, mut stream) = tokio::join!(accepted, connect);
        stream.write_all(format!("\x10auth {}\n", placeholder()).as_bytes()).await.unwrap();
        let seen = read_to_end(&mut server).await;
        let placeholder = placeholder().to_string();
        assert!(!seen.contains(&placeholder) && !seen.contains(VALUE), "{seen:?}");
        let event = world.event().await;
        assert!(matches!(event, Event::Violation { .. }), "{event}");
    });
}

#[test]
fn bytes_end_with_the_rule_that_let_them_be_inside() {
    let some = HttpCondition::parse(&["GET"], &[]).unwrap();
    let some = Policy::builder().allow_requests("a.example", some).build().unwrap();
    let cases = [(opaque(".example"), true), (policy(&["a.example"]), false), (some, false)];
    for (next, stays, with_secret) in
        cases.into_iter().flat_map(|(next, stays)| [false, true].map(|secret| (next.clone(), stays, secret)))
    {
        run(async {
            let identity = Identity::new();
            let (address, accepted) = identity.one_connection("a.example").await;
            let setup = Setup { with_secret, ..Setup::default() };
            let world = world(&identity, address, opaque("a.example"), setup).await;
            world.resolve(HOST_A.0).await;
            let connect = async { world.tls_to(HOST_A.1, 443, "a.example", "").await.unwrap() };
            let (mut server, mut stream) = tokio::join!(accepted, connect);
            stream.write_all(b"\x10first\n").await.unwrap();
            read_until(&mut server, "first\n").await;
            let ended = world.handle.swap_policy(next).await.unwrap();
            assert_eq!(ended, usize::from(!stays));
            if stays {
                stream.write_all(b"second\n").await.unwrap();
                read_until(&mut server, "second\n").await;
            } else {
                assert_eq!(read_to_end(&mut stream).await, "");
            }
        });
    }
}

#[test]
fn where_hosts_are_not_strict_a_stream_allowed_by_name_names_others() {
    for lax_hosts in [false, true] {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder("a.example", say_ok).await;
            let setup =
                Setup { lax_hosts, with_secret: true, bound_to: Some("b.example"), ..Setup::default() };
            let world = world(&identity, server, policy(&["a.example"]), setup).await;
            let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
            stream.write_all(b"GET /1 HTTP/1.1\r\nHost: b.example\r\n\r\n").await.unwrap();
            let response = read_responses(&mut stream, 1).await;
            assert_eq!(statuses(&response), [if lax_hosts { "200" } else { "421" }], "{response}");
            if !lax_hosts {
                assert!(seen.borrow().is_empty());
                return;
            }
            // What the certificate has not proved gets no secret.
            let request = format!("GET /2 HTTP/1.1\r\nHost: b.example\r\nX-Token: {}\r\n\r\n", placeholder());
            stream.write_all(request.as_bytes()).await.unwrap();
            let response = read_responses(&mut stream, 1).await + &finish(&mut stream).await;
            assert_eq!(statuses(&response), ["403"], "{response}");
            assert_eq!(seen.borrow().len(), 1);
        });
    }
}
