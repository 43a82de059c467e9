//! Places of a request that a secret may be bound to, what becomes of the message around it, and what violations
//! lead to.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response};
use net_core::Limits;
use net_engine::{Event, LeakPlace, Termination, TerminationHook};
use net_secrets::{
    Action, Binding, BodyTypes, ForeignCredentials, HeaderNames, Places, SecretSet, SecretValue,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::server::{Identity, Reply, Seen, one_connection, say_ok};
use crate::wire::{read_responses, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, VALUE, World, placeholder, run, secrets_with};

/// The one secret, changed.
fn secret(change: impl FnOnce(&mut Binding)) -> SecretSet {
    secrets_with(VALUE, "a.example", change)
}

fn everywhere(binding: &mut Binding) {
    binding.places = Places {
        headers: HeaderNames::All,
        basic_auth: true,
        query: true,
        path: true,
        body: BodyTypes::Usual,
        websocket: false,
        trailers: true,
    };
}

fn to(identity: &Identity, server: SocketAddr, secrets: SecretSet) -> Setup {
    Setup { secrets, ..Setup::of_a(identity, server) }
}

/// What a server that answers by `reply` sees of a request, and what comes back.
async fn ask(secrets: SecretSet, limits: Limits, reply: Reply, request: &str) -> (Seen, String, World) {
    let identity = Identity::new();
    let (server, seen) = identity.recorder("a.example", reply).await;
    let world = World::new(Setup { limits, ..to(&identity, server, secrets) }).await;
    let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let response = read_responses(&mut stream, 1).await;
    (seen, response, world)
}

fn post(head: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a.example\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_value_stands_where_its_binding_says_and_nowhere_else() {
    let token = placeholder().to_string();
    let json = "Content-Type: application/json\r\n";
    let trailer = format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Key\r\n\r\n\
         2\r\nok\r\n0\r\nX-Key: {token}\r\n\r\n"
    );
    let cases = [
        ("path", format!("GET /v1/{token}/x HTTP/1.1\r\nHost: a.example\r\n\r\n")),
        ("query", format!("GET /?key={token}&n=1 HTTP/1.1\r\nHost: a.example\r\n\r\n")),
        ("body", post(json, &format!("{{\"key\": \"{token}\"}}"))),
        ("trailer", trailer),
    ];
    for (place, request) in cases {
        for is_bound in [true, false] {
            run(async {
                let secrets = if is_bound { secret(everywhere) } else { secret(|_| ()) };
                let (seen, response, world) = ask(secrets, Limits::default(), say_ok, &request).await;
                let expected = if is_bound { "200" } else { "403" };
                assert_eq!(statuses(&response), [expected], "{place}: {response}");
                let seen = seen.borrow().concat();
                assert_eq!(seen.contains(VALUE), is_bound, "{place}: {seen}");
                assert!(!seen.contains(&token), "{place}: {seen}");
                if place == "body" && is_bound {
                    let body = format!("{{\"key\": \"{VALUE}\"}}");
                    let length = format!("content-length: {}\r\n", body.len());
                    assert!(seen.to_ascii_lowercase().contains(&length) && seen.ends_with(&body), "{seen}");
                }
                if !is_bound {
                    let event = world.event().await;
                    assert!(matches!(event, Event::Violation { .. }), "{place}: {event}");
                }
            });
        }
    }
}

#[test]
fn a_body_that_is_not_held_goes_on_in_chunks() {
    run(async {
        let limits = Limits { max_held_body_bytes: 16, ..Limits::default() };
        let body = format!("{} {} end", "x".repeat(100), placeholder());
        let request = post("Content-Type: text/plain\r\n", &body);
        let (seen, response, _world) = ask(secret(everywhere), limits, say_ok, &request).await;
        assert_eq!(statuses(&response), ["200"], "{response}");
        let seen = seen.borrow().concat();
        let lower = seen.to_ascii_lowercase();
        assert!(lower.contains("transfer-encoding: chunked") && !lower.contains("content-length"), "{seen}");
        assert!(seen.contains(VALUE) && !seen.contains(placeholder().as_str()), "{seen}");
    });
}

#[test]
fn a_body_that_grows_beyond_one_piece_arrives_whole() {
    const COPIES: usize = 30;
    let value = "V".repeat(60_000);
    assert!(COPIES * value.len() > net_secrets::MAX_GROWN_BYTES);
    run(async {
        let secrets = secret(|binding| {
            everywhere(binding);
            binding.value = SecretValue::new(value.clone().into());
        });
        let body = format!("{} ", placeholder()).repeat(COPIES) + "end";
        let request = post("Content-Type: text/plain\r\n", &body);
        let limits = Limits { max_held_body_bytes: 16, ..Limits::default() };
        let (seen, response, _world) = ask(secrets, limits, say_ok, &request).await;
        assert_eq!(statuses(&response), ["200"], "{response}");
        let seen = seen.borrow().concat();
        assert_eq!(seen.bytes().filter(|byte| *byte == b'V').count(), COPIES * value.len());
        assert!(seen.contains(" end\r\n") && !seen.contains(placeholder().as_str()));
    });
}

#[test]
fn values_stand_in_http2_as_they_do_in_http1() {
    for max_held_body_bytes in [16, Limits::default().max_held_body_bytes] {
        run(async {
            let identity = Identity::new();
            let (address, accepted) = one_connection().await;
            let acceptor = identity.acceptor("a.example", "h2");
            let (tell, seen) = oneshot::channel();
            tokio::task::spawn_local(async move {
                let stream = acceptor.accept(accepted.await).await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (request, mut respond) = connection.accept().await.unwrap().unwrap();
                let (head, mut content) = request.into_parts();
                let reading = async {
                    let mut body = Vec::new();
                    while let Some(chunk) = content.data().await {
                        let chunk = chunk.unwrap();
                        content.flow_control().release_capacity(chunk.len()).unwrap();
                        body.extend_from_slice(&chunk);
                    }
                    (body, content.trailers().await.unwrap())
                };
                let (body, trailers) = tokio::select! {
                    read = reading => read,
                    _ = connection.accept() => panic!("the connection ended"),
                };
                respond.send_response(Response::new(()), true).unwrap();
                assert!(tell.send((head, body, trailers)).is_ok());
                while connection.accept().await.is_some() {}
            });
            let limits = Limits { max_held_body_bytes, ..Limits::default() };
            let world = World::new(Setup { limits, ..to(&identity, address, secret(everywhere)) }).await;
            let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
            let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::task::spawn_local(connection);
            let content = format!("[\"{}\"]", placeholder());
            let request = Request::post(format!("https://a.example/{0}?{0}", placeholder()))
                .header("content-type", "application/json")
                .header("content-length", content.len())
                .body(())
                .unwrap();
            let (answer, mut sender) = requests.send_request(request, false).unwrap();
            let (first, second) = content.split_at(content.len() / 2);
            sender.send_data(Bytes::copy_from_slice(first.as_bytes()), false).unwrap();
            sender.send_data(Bytes::copy_from_slice(second.as_bytes()), false).unwrap();
            let trailer = HeaderValue::from_str(placeholder().as_str()).unwrap();
            sender
                .send_trailers([(HeaderName::from_static("x-key"), trailer)].into_iter().collect())
                .unwrap();
            let response = timeout(PATIENCE, answer).await.expect("a response").unwrap();
            assert_eq!(response.status(), 200);
            let (head, body, trailers) = seen.await.unwrap();
            assert_eq!(head.uri.path_and_query().unwrap().as_str(), format!("/{VALUE}?{VALUE}"));
            assert_eq!(String::from_utf8_lossy(&body), format!("[\"{VALUE}\"]"));
            // Where there is a length it is that of what was sent.
            let length = head.headers.get("content-length").map(|length| length.to_str().unwrap().to_owned());
            assert!(length.is_none_or(|length| length == body.len().to_string()));
            assert_eq!(trailers.unwrap()["x-key"], VALUE);
        });
    }
}

#[test]
fn a_digest_is_made_anew_or_the_request_is_refused() {
    // Of `the-real-value-0`, by sha256sum.
    const OURS: &str = "9b810482a39f3061a8fc33ade6819206064b822c6453e214abfa51d5a9ac0685";
    let text = "Content-Type: text/plain\r\n";
    let zeros = "0".repeat(64);
    let token = placeholder().to_string();
    let small = Limits { max_held_body_bytes: 16, ..Limits::default() };
    let cases = [
        (
            "sha256",
            post(&format!("{text}x-amz-content-sha256: {zeros}\r\n"), &token),
            Limits::default(),
            Some(OURS),
        ),
        (
            "nothing changed",
            post(&format!("{text}Content-MD5: {zeros}\r\n"), "plain"),
            Limits::default(),
            Some(&*zeros),
        ),
        ("md5", post(&format!("{text}Content-MD5: {zeros}\r\n"), &token), Limits::default(), None),
        ("not held", post(&format!("{text}x-amz-content-sha256: {zeros}\r\n"), &token), small, None),
    ];
    for (case, request, limits, expected) in cases {
        run(async {
            let (seen, response, _world) = ask(secret(everywhere), limits, say_ok, &request).await;
            let status = if expected.is_some() { "200" } else { "403" };
            assert_eq!(statuses(&response), [status], "{case}: {response}");
            let seen = seen.borrow().concat();
            assert!(expected.map_or(seen.is_empty(), |sum| seen.contains(sum)), "{case}: {seen}");
        });
    }
}

fn tagged(_: &str) -> Vec<String> {
    vec!["HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 2\r\n\r\nok".to_owned()]
}

#[test]
fn parts_are_not_asked_for_and_tags_are_weak_where_lengths_may_differ() {
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nRange: bytes=0-1\r\nIf-Range: \"one\"\r\n\r\n";
    for scrubs in [true, false] {
        run(async {
            let secrets = secret(|binding| binding.scrubs_responses = scrubs);
            let (seen, response, _world) = ask(secrets, Limits::default(), tagged, request).await;
            assert_eq!(response.contains("W/\"one\""), scrubs, "{response}");
            let seen = seen.borrow().concat().to_ascii_lowercase();
            assert_eq!(
                (seen.contains("\r\nrange:"), seen.contains("if-range")),
                (!scrubs, !scrubs),
                "{seen}"
            );
        });
    }
}

#[test]
fn a_credential_of_the_guests_own_is_kept_stripped_or_refused() {
    let cases = [
        (ForeignCredentials::Keep, "200", true),
        (ForeignCredentials::Strip, "200", false),
        (ForeignCredentials::Block, "403", false),
    ];
    for (rule, status, arrives) in cases {
        run(async {
            let secrets = secret(|binding| binding.foreign_credentials = rule);
            let request = "GET / HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer of-its-own\r\n\r\n";
            let (seen, response, _world) = ask(secrets, Limits::default(), say_ok, request).await;
            assert_eq!(statuses(&response), [status], "{rule:?}: {response}");
            assert_eq!(seen.borrow().concat().contains("of-its-own"), arrives, "{rule:?}");
        });
    }
}

#[test]
fn a_name_with_a_placeholder_counts_and_ends_the_guest() {
    run(async {
        let (sender, told) = oneshot::channel();
        let hook = TerminationHook::new(move |why| sender.send(why).expect("a test that waits"));
        let setup = Setup {
            secrets: secret(|binding| binding.on_violation = Action::Block),
            terminate_after: NonZeroU32::new(2),
            on_termination: Some(hook),
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let name = format!("{}.a.example", placeholder());
        let mixed: String =
            name.char_indices().map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect();
        world.ask(&name).await;
        // The answer may be lost: the guest's network ends with it.
        let _ = timeout(PATIENCE, world.ask(&mixed)).await;
        let why = timeout(PATIENCE, told).await.expect("the hook is called").unwrap();
        let Termination::Violation(report) = why else { panic!("{why:?}") };
        assert_eq!((report.place, report.flow), (LeakPlace::DnsName, None));
        assert!(!report.to_string().contains(placeholder().as_str()), "{report}");
    });
}

#[test]
fn the_strictest_violation_of_a_head_counts() {
    run(async {
        let hosts = || vec!["b.example".parse().unwrap()];
        let mild = net_secrets::Placeholder::from_user("mild-placeholder").unwrap();
        let mut first = Binding::new("MILD", mild, SecretValue::new("the-mild-value".into()), hosts());
        first.on_violation = Action::Block;
        let mut second = Binding::new("STRICT", placeholder(), SecretValue::new(VALUE.into()), hosts());
        second.on_violation = Action::BlockAndTerminate;
        let secrets = SecretSet::compile(vec![first, second], *b"test key").unwrap();
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let (sender, told) = oneshot::channel();
        let hook = TerminationHook::new(move |why| sender.send(why).expect("a test that waits"));
        let world = World::new(Setup { on_termination: Some(hook), ..to(&identity, server, secrets) }).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        let request =
            format!("GET /?mild-placeholder HTTP/1.1\r\nHost: a.example\r\nX-A: {}\r\n\r\n", placeholder());
        stream.write_all(request.as_bytes()).await.unwrap();
        let why = timeout(PATIENCE, told).await.expect("the hook is called").unwrap();
        let Termination::Violation(report) = why else { panic!("{why:?}") };
        assert_eq!((report.place, seen.borrow().len()), (LeakPlace::Head, 0));
        let text = report.to_string();
        let expected = "secret STRICT was on its way to a host it is not bound to: in the head of a request to a.example (";
        assert!(text.starts_with(expected), "{text}");
    });
}
