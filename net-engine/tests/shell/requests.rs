//! Requests that are decided one by one, by method and path: what reaches upstream, and what becomes of
//! what cannot be read.

use std::cell::RefCell;
use std::rc::Rc;

use hyper::{Request, Response};
use net_engine::{Denial, Event};
use net_policy::{DenyReason, HttpCondition, Policy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::server::{Identity, asked, http_recorder, one_connection, say_ok};
use crate::wire::{read_responses, read_to_end, read_until, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, World, run};

fn condition(methods: &[&str], paths: &[&str]) -> HttpCondition {
    HttpCondition::parse(methods, paths).unwrap()
}

/// Reads of some paths, whatever the port.
fn reads() -> Policy {
    let reads = condition(&["GET", "HEAD"], &["/v1/*", "/health"]);
    Policy::builder().allow_requests("a.example", reads).build().unwrap()
}

/// Everything but some requests.
fn all_but(methods: &[&str], paths: &[&str]) -> Policy {
    let denied = condition(methods, paths);
    Policy::builder().deny_requests("a.example", denied).allow("a.example").build().unwrap()
}

async fn world(policy: Policy, setup: Setup) -> World {
    let world = World::new(setup).await;
    world.handle.swap_policy(policy).await.unwrap();
    world
}

fn request(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n\r\n")
}

/// Method and target, the status, and the target that reaches upstream.
const REQUESTS: &[(&str, &str, &str, Option<&str>)] = &[
    ("GET", "/v1/x", "200", Some("/v1/x")),
    ("POST", "/v1/x", "403", None),
    ("HEAD", "/health?verbose", "200", Some("/health?verbose")),
    ("GET", "/v1/../admin", "403", None),
    ("GET", "/v1/%2e%2e/admin", "403", None),
    ("GET", "/v1/..%2fadmin", "403", None),
    ("GET", "/v1/..;/admin", "403", None),
    ("GET", "//v1/x", "403", None),
    ("GET", "/v1/x/y", "403", None),
    ("GET", "/v1%2Fx", "403", None),
    ("GET", "/v1/%00", "403", None),
    ("GET", "/v1/%zz", "403", None),
    ("get", "/v1/x", "403", None),
    ("GET", "/", "403", None),
    ("OPTIONS", "*", "403", None),
    // What was decided is what upstream gets.
    ("GET", "/v2/../v1/%78?a=/../b", "200", Some("/v1/x?a=/../b")),
    ("GET", "/health", "200", Some("/health")),
];

fn reached() -> Vec<String> {
    let reached = REQUESTS.iter().filter_map(|(method, _, _, reached)| Some((method, (*reached)?)));
    reached.map(|(method, target)| format!("{method} {target} ")).collect()
}

#[test]
fn each_request_of_a_plain_stream_is_decided() {
    // One after the other, and at once.
    for is_pipelined in [false, true] {
        run(async {
            let (server, seen) = http_recorder().await;
            let redirects = vec![((HOST_A.1, 80), server)];
            let world = world(reads(), Setup { redirects, ..Setup::default() }).await;
            let mut stream = world.connect(HOST_A, 80).await;
            // A response to HEAD has a length and no body, which the reader does not know of.
            let requests = REQUESTS.iter().filter(|(method, ..)| *method != "HEAD");
            if is_pipelined {
                let all: String =
                    requests.clone().map(|(method, target, ..)| request(method, target)).collect();
                stream.write_all(all.as_bytes()).await.unwrap();
                let response = read_responses(&mut stream, REQUESTS.len() - 1).await;
                let expected: Vec<&str> = requests.map(|(_, _, status, _)| *status).collect();
                assert_eq!(statuses(&response), expected, "{response}");
            } else {
                for (method, target, status, _) in requests {
                    stream.write_all(request(method, target).as_bytes()).await.unwrap();
                    let response = read_responses(&mut stream, 1).await;
                    assert_eq!(statuses(&response), [*status], "{method} {target}: {response}");
                }
            }
            let expected: Vec<String> =
                reached().into_iter().filter(|line| !line.starts_with("HEAD")).collect();
            let seen = seen.borrow();
            assert_eq!(seen.len(), expected.len(), "{seen:?}");
            for (message, line) in seen.iter().zip(&expected) {
                assert!(message.starts_with(line.as_str()), "{message}");
            }
        });
    }
}

#[test]
fn a_denied_request_is_told_to_the_guest_and_to_the_owner() {
    run(async {
        let (server, seen) = http_recorder().await;
        let redirects = vec![((HOST_A.1, 80), server)];
        let world = world(reads(), Setup { redirects, ..Setup::default() }).await;
        let mut stream = world.connect(HOST_A, 80).await;
        let body = "POST /v1/%78?token=abc HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody";
        stream.write_all(body.as_bytes()).await.unwrap();
        let response = read_responses(&mut stream, 1).await;
        assert_eq!(statuses(&response), ["403"], "{response}");
        let why = "net-engine: this request is denied by the policy of this sandbox: only other requests to the \
                   name are allowed\n";
        assert!(response.ends_with(why), "{response}");
        let event = world.event().await;
        assert_eq!(
            event.to_string(),
            "denied tcp a.example (9.9.9.1:80): POST /v1/x: default (only other requests to the name are allowed)"
        );
        let Event::RequestDenied { why: Denial::Default { reason, .. }, .. } = event else {
            panic!("{event}")
        };
        assert_eq!(reason, DenyReason::Request);
        // The stream goes on.
        stream.write_all(request("GET", "/health").as_bytes()).await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
        assert_eq!(seen.borrow().len(), 1);
        // Whoever else is asked for, and however: the name comes first.
        for (sent, status) in [
            ("GET http://a.example/admin HTTP/1.1\r\nHost: a.example\r\n\r\n", "403"),
            ("GET http://a.example/v1/x HTTP/1.1\r\nHost: a.example\r\n\r\n", "200"),
            ("GET http://b.example/v1/x HTTP/1.1\r\nHost: a.example\r\n\r\n", "400"),
            ("GET /v1/x HTTP/1.1\r\nHost: b.example\r\n\r\n", "403"),
            ("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", "403"),
        ] {
            let mut stream = world.connect(HOST_A, 80).await;
            stream.write_all(sent.as_bytes()).await.unwrap();
            let response = read_responses(&mut stream, 1).await;
            assert_eq!(statuses(&response), [status], "{sent}: {response}");
        }
        assert_eq!(seen.borrow().len(), 2);
    });
}

fn opened(identity: &Identity, server: std::net::SocketAddr) -> Setup {
    Setup { redirects: vec![((HOST_A.1, 443), server)], trusts: Some(identity.pem()), ..Setup::default() }
}

#[test]
fn each_request_inside_tls_is_decided() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let world = world(reads(), opened(&identity, server)).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        for (method, target, status, _) in REQUESTS.iter().filter(|(method, ..)| *method != "HEAD") {
            stream.write_all(request(method, target).as_bytes()).await.unwrap();
            let response = read_responses(&mut stream, 1).await;
            assert_eq!(statuses(&response), [*status], "{method} {target}: {response}");
        }
        assert!(
            seen.borrow()
                .iter()
                .all(|message| { reached().iter().any(|line| message.starts_with(line.as_str())) })
        );
        assert_eq!(seen.borrow().len(), reached().len() - 1);
    });
}

#[test]
fn each_request_of_http2_is_decided() {
    run(async {
        let identity = Identity::new();
        let (address, accepted) = one_connection().await;
        let acceptor = identity.acceptor("a.example", "h2");
        let seen = Rc::new(RefCell::new(Vec::new()));
        let recorded = Rc::clone(&seen);
        tokio::task::spawn_local(async move {
            let stream = acceptor.accept(accepted.await).await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let target = request.uri().path_and_query().map(ToString::to_string).unwrap();
                recorded.borrow_mut().push(format!("{} {target} ", request.method()));
                let _ = respond.send_response(Response::new(()), true);
            }
        });
        let world = world(reads(), opened(&identity, address)).await;
        let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut requests = requests.ready().await.unwrap();
        for (method, target, status, _) in REQUESTS.iter().filter(|(_, target, ..)| *target != "*") {
            let request = Request::builder()
                .method(*method)
                .uri(format!("https://a.example{target}"))
                .body(())
                .unwrap();
            let (response, _) = requests.send_request(request, true).unwrap();
            let response = timeout(PATIENCE, response).await.expect("a response").unwrap();
            assert_eq!(response.status().as_str(), *status, "{method} {target}");
        }
        assert_eq!(*seen.borrow(), reached());
    });
}

#[test]
fn what_cannot_be_read_shows_no_request_that_is_allowed() {
    // By a rule that allows some, and by one that denies some.
    for policy in [reads(), all_but(&["DELETE"], &[])] {
        // TLS that is passed on.
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder("a.example", say_ok).await;
            let setup = Setup { bypass: &["a.example"], ..opened(&identity, server) };
            let world = world(policy.clone(), setup).await;
            assert!(world.tls(HOST_A, "a.example", "http/1.1").await.is_err());
            assert_not_http(&world.event().await);
            assert!(seen.borrow().is_empty());
        });
        // TLS on a port that is not looked into, and what is neither.
        for first in ["", "\0binary\r\n\r\n"] {
            run(async {
                let (address, accepted) = one_connection().await;
                let redirects = vec![((HOST_A.1, 8443), address)];
                let world = world(policy.clone(), Setup { redirects, ..Setup::default() }).await;
                if first.is_empty() {
                    world.resolve(HOST_A.0).await;
                    assert!(world.tls_to(HOST_A.1, 8443, "a.example", "http/1.1").await.is_err());
                } else {
                    let mut stream = world.connect(HOST_A, 8443).await;
                    stream.write_all(first.as_bytes()).await.unwrap();
                    assert_eq!(read_to_end(&mut stream).await, "");
                }
                assert_not_http(&world.event().await);
                let mut upstream = accepted.await;
                let mut seen = Vec::new();
                // It hears a reset or an end, and nothing before.
                let _ = timeout(PATIENCE, upstream.read_to_end(&mut seen)).await.expect("an end");
                assert!(seen.is_empty(), "{seen:?}");
            });
        }
        // Datagrams.
        run(async {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let redirects = vec![((HOST_A.1, 7), server.local_addr().unwrap())];
            let world = world(policy.clone(), Setup { redirects, ..Setup::default() }).await;
            world.resolve(HOST_A.0).await;
            let guest = world.guest.datagrams();
            guest.send((HOST_A.1, 7).into(), b"hello");
            timeout(PATIENCE, guest.error()).await.expect("an error");
            assert_not_http(&world.event().await);
            assert!(server.try_recv(&mut [0; 8]).is_err());
        });
    }
}

fn assert_not_http(event: &Event) {
    let Event::Denied { why, .. } = event else { panic!("{event}") };
    let (Denial::Rule { reason, .. } | Denial::Default { reason, .. }) = why else { panic!("{event}") };
    assert_eq!(*reason, DenyReason::NotHttp, "{event}");
    assert!(event.to_string().contains("none can be seen here"), "{event}");
}

#[test]
fn a_new_policy_decides_from_the_next_request_on() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let mut setup = opened(&identity, server);
        let (plain, seen_plain) = http_recorder().await;
        setup.redirects.push(((HOST_A.1, 80), plain));
        let world = world(all_but(&["PUT"], &[]), setup).await;
        let mut tls = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        let mut stream = world.connect_to(HOST_A.1, 80).await;
        let allowed = Policy::builder().allow("a.example").build().unwrap();
        let rounds = [
            (None, "200"),
            (Some(all_but(&["GET"], &[])), "403"),
            (Some(allowed), "200"),
            (Some(reads()), "403"),
        ];
        for (policy, status) in rounds {
            if let Some(policy) = policy {
                world.handle.swap_policy(policy).await.unwrap();
            }
            tls.write_all(request("GET", "/x").as_bytes()).await.unwrap();
            stream.write_all(request("GET", "/x").as_bytes()).await.unwrap();
            for response in [read_responses(&mut tls, 1).await, read_responses(&mut stream, 1).await] {
                assert_eq!(statuses(&response), [status], "{response}");
            }
        }
        assert_eq!((seen.borrow().len(), seen_plain.borrow().len()), (2, 2));
    });
}

#[test]
fn what_left_http_stays_as_long_as_its_request_is_allowed() {
    // Beside secrets as well, where its messages are looked into.
    for with_secret in [false, true] {
        run(async {
            let (address, accepted) = one_connection().await;
            let redirects = vec![((HOST_A.1, 80), address)];
            let setup = Setup { redirects, with_secret, ..Setup::default() };
            let world = world(all_but(&[], &["/admin/**"]), setup).await;
            let mut stream = world.connect(HOST_A, 80).await;
            let ask =
                "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(ask.as_bytes()).await.unwrap();
            let (mut server, _) = asked(accepted).await;
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            server.write_all(switch.as_bytes()).await.unwrap();
            server.write_all(b"\x81\x05hello").await.unwrap();
            read_until(&mut stream, "hello").await;
            world.handle.swap_policy(all_but(&["PUT"], &[])).await.unwrap();
            let frame = b"\x81\x81\0\0\0\0x";
            let mut seen = [0; 7];
            stream.write_all(frame).await.unwrap();
            timeout(PATIENCE, server.read_exact(&mut seen)).await.expect("a frame up").unwrap();
            assert_eq!(&seen, frame);
            world.handle.swap_policy(all_but(&[], &["/chat"])).await.unwrap();
            let read = timeout(PATIENCE, stream.read(&mut seen)).await.expect("the guest hears of it");
            assert!(read.is_err(), "the guest saw {read:?}");
        });
    }
}
