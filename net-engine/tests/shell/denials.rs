//! Denials a guest can read: where they are told, how, and where they are not.

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use net_engine::Event;
use net_policy::{HttpCondition, Policy};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::server::{Identity, Local, http_recorder, say_ok};
use crate::wire::{finish, read_responses, statuses};
use crate::world::{ALIAS, HOST_A, PATIENCE, Setup, World, placeholder, run};

/// Two names of one address, one of them denied: only the hello tells.
async fn world(identity: &Identity, server: std::net::SocketAddr, setup: Setup) -> World {
    let setup = Setup {
        deny: &["alias.example"],
        allow: &["a.example:443"],
        redirects: vec![((HOST_A.1, 443), server)],
        trusts: Some(identity.pem()),
        ..setup
    };
    let world = World::new(setup).await;
    world.resolve(HOST_A.0).await;
    world
}

const TEXT: &str = "net-engine: denied by the policy of this sandbox: rule 1: deny alias.example (by rule)\n";
const JSON: &str = "{\"error\":\"denied by the policy of this sandbox\",\"reason\":\"by rule\",\
                    \"rule\":\"rule 1: deny alias.example\",\"host\":\"alias.example\"}\n";

#[test]
fn a_name_that_is_denied_after_the_hello_is_an_alert() {
    // Whether denials are readable, and the name the authority may sign for.
    for (readable_denials, permitted) in [(false, None), (true, Some("a.example"))] {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder("alias.example", say_ok).await;
            let setup = Setup { readable_denials, permitted, ..Setup::default() };
            let world = world(&identity, server, setup).await;
            let refused = world.tls_to(HOST_A.1, 443, ALIAS.0, "http/1.1").await.err().expect("no handshake");
            assert!(refused.to_string().contains("AccessDenied"), "{readable_denials}: {refused}");
            assert!(matches!(world.event().await, Event::Denied { .. }));
            assert!(seen.borrow().is_empty());
        });
    }
}

#[test]
fn a_denied_name_is_told_inside_tls() {
    for (alpn, accept, kind, body) in [
        ("http/1.1", "*/*", "text/plain; charset=utf-8", TEXT),
        ("http/1.1", "application/json", "application/json", JSON),
        ("", "application/json", "application/json", JSON),
        ("h2", "text/plain", "text/plain; charset=utf-8", TEXT),
        ("h2", "application/json, */*", "application/json", JSON),
    ] {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder("alias.example", say_ok).await;
            let setup = Setup { readable_denials: true, ..Setup::default() };
            let world = world(&identity, server, setup).await;
            let mut stream = world.tls_to(HOST_A.1, 443, ALIAS.0, alpn).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol().unwrap_or_default(), alpn.as_bytes());
            if alpn == "h2" {
                let (mut requests, connection) =
                    hyper::client::conn::http2::handshake(Local, TokioIo::new(stream)).await.unwrap();
                tokio::task::spawn_local(connection);
                let request = Request::get("https://alias.example/").header("accept", accept);
                let request = request.body(Empty::<Bytes>::new()).unwrap();
                let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a response");
                let response = response.unwrap();
                assert_eq!(
                    (response.status().as_u16(), &response.headers()["content-type"]),
                    (403, &kind.parse().unwrap())
                );
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
            } else {
                let request = format!("GET / HTTP/1.1\r\nHost: alias.example\r\nAccept: {accept}\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let response = read_responses(&mut stream, 1).await + &finish(&mut stream).await;
                assert_eq!(statuses(&response), ["403"], "{response}");
                let lower = response.to_ascii_lowercase();
                assert!(lower.contains(&format!("\r\ncontent-type: {kind}\r\n")), "{response}");
                assert!(lower.contains("\r\nconnection: close\r\n"), "{response}");
                assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{response}");
            }
            // Nothing was asked of upstream, not even TLS.
            assert!(seen.borrow().is_empty());
            let event = world.event().await;
            assert!(matches!(event, Event::Denied { .. }), "{event}");
        });
    }
}

/// A request's lines, and what the answer's body says of it where denials are readable and where not.
const PLAIN: &[(&str, &str, &str)] = &[
    (
        "GET /x HTTP/1.1\r\nHost: b.example\r\n",
        "{\"error\":\"denied by the policy of this sandbox\",\"reason\":\"no rule allows it\",\"host\":\"b.example\"}\n",
        "net-engine: denied by the policy of this sandbox\n",
    ),
    (
        "GET /admin HTTP/1.1\r\nHost: a.example\r\n",
        "{\"error\":\"this request is denied by the policy of this sandbox: by rule\",\"reason\":\"by rule\",\
          \"rule\":\"rule 1: deny a.example for GET /admin\",\"host\":\"a.example\"}\n",
        "net-engine: this request is denied by the policy of this sandbox: by rule\n",
    ),
    (
        "GET /x HTTP/1.1\r\nHost: a.example@b.example\r\n",
        "{\"error\":\"the request's host is malformed\"}\n",
        "net-engine: the request's host is malformed\n",
    ),
];

#[test]
fn a_request_that_is_denied_is_told_by_whom() {
    for readable_denials in [false, true] {
        for (request, readable, terse) in PLAIN {
            run(async {
                let (server, seen) = http_recorder().await;
                let redirects = vec![((HOST_A.1, 80), server)];
                let world = World::new(Setup { redirects, readable_denials, ..Setup::default() }).await;
                let admin = HttpCondition::parse(&["GET"], &["/admin"]).unwrap();
                let policy = Policy::builder().deny_requests("a.example", admin).allow("a.example").build();
                world.handle.swap_policy(policy.unwrap()).await.unwrap();
                let mut stream = world.connect(HOST_A, 80).await;
                let request = format!("{request}Accept: application/json\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let response = read_responses(&mut stream, 1).await;
                let expected = if readable_denials { readable } else { terse };
                assert!(response.ends_with(&format!("\r\n\r\n{expected}")), "{request}: {response}");
                assert!(seen.borrow().is_empty());
            });
        }
    }
}

#[test]
fn a_violation_is_told_as_json() {
    run(async {
        let (server, seen) = http_recorder().await;
        let setup = Setup {
            allow: &["a.example:80"],
            redirects: vec![((HOST_A.1, 80), server)],
            with_secret: true,
            readable_denials: true,
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let mut stream = world.connect(HOST_A, 80).await;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\nAccept: application/json\r\nX-Token: {}\r\n\r\n",
            placeholder()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let response = read_responses(&mut stream, 1).await;
        assert_eq!(statuses(&response), ["403"], "{response}");
        let body = response.split("\r\n\r\n").nth(1).unwrap();
        assert!(body.starts_with("{\"error\":\"") && body.contains("TOKEN"), "{response}");
        assert!(!body.contains(&placeholder().to_string()) && seen.borrow().is_empty(), "{response}");
    });
}
