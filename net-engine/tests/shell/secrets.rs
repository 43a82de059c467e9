//! Secrets through the engine: what becomes of placeholders on the way out, of values on the way
//! back, and of bodies that are read before they may go.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use net_core::Limits;
use net_engine::{Event, InterceptError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::server::{Identity, Local, Reply, asked, http_recorder, one_connection, say_ok};
use crate::wire::{finish, read_responses, read_to_end, read_until, statuses};
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, VALUE, World, placeholder, run};

/// The token a message carries.
fn token(message: &str) -> &str {
    message.lines().find_map(|line| line.strip_prefix("X-Token: ")).unwrap_or_default()
}

fn in_header(message: &str) -> Vec<String> {
    let token = token(message);
    vec![format!("HTTP/1.1 200 OK\r\nX-Echo: {token}\r\nLocation: /?t={token}\r\nContent-Length: 0\r\n\r\n")]
}

fn in_body(message: &str) -> Vec<String> {
    let text = format!("you sent {}.", token(message));
    vec![format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())]
}

fn across_chunks(message: &str) -> Vec<String> {
    let (first, second) = token(message).split_at(token(message).len() / 2);
    let mut pieces = vec!["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()];
    pieces.extend([first, second].map(|part| format!("{:x}\r\n{part}\r\n", part.len())));
    pieces.push("0\r\n\r\n".to_owned());
    pieces
}

fn in_trailers(message: &str) -> Vec<String> {
    let token = token(message);
    vec![format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Echo\r\n\r\n2\r\nok\r\n0\r\nX-Echo: {token}\r\n\r\n"
    )]
}

fn secret_of_a(identity: &Identity, server: std::net::SocketAddr) -> Setup {
    Setup {
        allow: &["a.example:443", "b.example:443"],
        redirects: vec![((HOST_A.1, 443), server), ((HOST_B.1, 443), server)],
        with_secret: true,
        bound_to: Some("a.example"),
        trusts: Some(identity.pem()),
        ..Setup::default()
    }
}

#[test]
fn a_value_goes_out_and_its_echo_comes_back_as_the_placeholder() {
    const CASES: &[(&str, Reply)] = &[
        ("in a header", in_header),
        ("in a body", in_body),
        ("across chunks", across_chunks),
        ("in trailers", in_trailers),
    ];
    for (case, reply) in CASES {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder("a.example", *reply).await;
            let world = World::new(secret_of_a(&identity, server)).await;
            let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
            let request = format!(
                "GET / HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nX-Token: {}\r\n\r\n",
                placeholder()
            );
            // Twice at once: each of pipelined requests has its own scrubber.
            stream.write_all(request.repeat(2).as_bytes()).await.unwrap();
            let response = read_responses(&mut stream, 2).await;
            assert_eq!(statuses(&response), ["200", "200"], "{case}: {response}");
            assert!(!response.contains(VALUE) && !response.contains(&VALUE[8..]), "{case}: {response}");
            let echoes = response.matches(&placeholder().to_string()).count();
            assert!(echoes >= 2, "{case}: {response}");
            let seen = seen.borrow();
            assert_eq!(seen.len(), 2, "{case}");
            assert!(seen.iter().all(|message| token(message) == VALUE), "{case}: {seen:?}");
        });
    }
}

fn in_the_reason_phrase(message: &str) -> Vec<String> {
    vec![format!("HTTP/1.1 400 no {}\r\nContent-Length: 0\r\n\r\n", token(message))]
}

fn in_a_field_name(message: &str) -> Vec<String> {
    vec![format!("HTTP/1.1 400 no\r\nX-{}: 1\r\nContent-Length: 0\r\n\r\n", token(message))]
}

fn in_a_coding(_: &str) -> Vec<String> {
    // Whatever Connection says of it.
    let head = "HTTP/1.1 200 OK\r\nConnection: content-encoding\r\nContent-Encoding: br";
    vec![format!("{head}\r\nContent-Length: 4\r\n\r\nzzzz")]
}

fn in_a_transfer_coding(_: &str) -> Vec<String> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked";
    vec![format!("{head}\r\n\r\n4\r\nzzzz\r\n0\r\n\r\n")]
}

fn in_the_last_transfer_coding(_: &str) -> Vec<String> {
    vec!["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\nzzzz".to_owned()]
}

#[test]
fn a_value_where_no_placeholder_can_stand_does_not_come_back() {
    const CASES: &[(&str, Reply, &str)] = &[
        ("in the reason phrase", in_the_reason_phrase, "400"),
        ("in a field name", in_a_field_name, "400"),
        ("in a coding that is not known", in_a_coding, "502"),
        ("in a transfer coding", in_a_transfer_coding, "502"),
        ("in a transfer coding that ends with the stream", in_the_last_transfer_coding, "502"),
    ];
    for (case, reply, status) in CASES {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder("a.example", *reply).await;
            let world = World::new(secret_of_a(&identity, server)).await;
            let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Token: {}\r\n\r\n", placeholder());
            stream.write_all(request.as_bytes()).await.unwrap();
            let response = read_responses(&mut stream, 1).await;
            assert_eq!(statuses(&response), [*status], "{case}: {response}");
            assert!(!response.contains(VALUE) && !response.contains("zzzz"), "{case}: {response}");
            let seen = seen.borrow();
            assert_eq!(token(&seen[0]), VALUE, "{case}");
            // A filter over a body that is not there makes none.
            assert!(!seen[0].to_ascii_lowercase().contains("content-length"), "{case}: {seen:?}");
        });
    }
}

#[test]
fn a_placeholder_is_no_method_no_host_and_no_name_to_resolve() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let world = World::new(secret_of_a(&identity, server)).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        let request = format!("{} / HTTP/1.1\r\nHost: a.example\r\n\r\n", placeholder());
        stream.write_all(request.as_bytes()).await.unwrap();
        let response = read_responses(&mut stream, 1).await;
        assert_eq!(statuses(&response), ["403"], "{response}");
        assert!(seen.borrow().is_empty());
        let event = world.event().await;
        assert!(matches!(event, Event::Violation { .. }), "{event}");

        let refused = world.ask(&format!("{}.a.example", placeholder())).await;
        assert!(refused.answers.is_empty());
        assert_eq!(refused.metadata.response_code, hickory_proto::op::ResponseCode::Refused);
        let event = world.event().await;
        assert!(matches!(event, Event::NameRefused { .. }), "{event}");
    });
}

#[test]
fn an_echo_over_http2_is_scrubbed() {
    run(async {
        let identity = Identity::new();
        let (address, accepted) = one_connection().await;
        let acceptor = identity.acceptor("a.example", "h2");
        tokio::task::spawn_local(async move {
            let stream = acceptor.accept(accepted.await).await.unwrap();
            let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                let token = request.headers()["x-token"].clone();
                assert_eq!(token.as_bytes(), VALUE.as_bytes());
                let bytes = Bytes::copy_from_slice(token.as_bytes());
                let parts = [bytes.slice(..5), bytes.slice(5..)];
                let frames = parts.map(|part| Ok::<_, Infallible>(Frame::data(part)));
                let body = StreamBody::new(futures_util::stream::iter(frames));
                let mut response = Response::new(body);
                response.headers_mut().insert("x-echo", token);
                Ok::<_, Infallible>(response)
            });
            let serving = hyper::server::conn::http2::Builder::new(Local);
            let _ = serving.serve_connection(TokioIo::new(stream), service).await;
        });
        let world = World::new(secret_of_a(&identity, address)).await;
        let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake(Local, TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = Request::get("https://a.example/")
            .header("x-token", placeholder().to_string())
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a response").unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-echo"], placeholder().as_str());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, placeholder().as_str());
        // Where it is not bound it does not go, over HTTP/2 either.
        let request = Request::get(format!("https://a.example/?{}", placeholder()))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a response").unwrap();
        assert_eq!(response.status(), 403);
    });
}

#[test]
fn plain_encodings_are_asked_for_only_where_something_is_scrubbed() {
    for (host, expected) in [(HOST_A, "identity"), (HOST_B, "gzip")] {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder(host.0, say_ok).await;
            let world = World::new(secret_of_a(&identity, server)).await;
            let mut stream = world.tls(host, host.0, "http/1.1").await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: gzip\r\n\r\n", host.0);
            stream.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
            let seen = seen.borrow();
            assert!(seen[0].contains(&format!("Accept-Encoding: {expected}\r\n")), "{seen:?}");
        });
    }
}

fn without_a_body(message: &str) -> Vec<String> {
    let status = if message.starts_with("HEAD") { "200 OK" } else { "304 Not Modified" };
    vec![format!("HTTP/1.1 {status}\r\nContent-Length: 1234\r\nX-Echo: {}\r\n\r\n", token(message))]
}

#[test]
fn a_response_without_a_body_gets_none_and_keeps_its_length() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", without_a_body).await;
        let world = World::new(secret_of_a(&identity, server)).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        for method in ["HEAD", "GET", "HEAD"] {
            let request =
                format!("{method} / HTTP/1.1\r\nHost: a.example\r\nX-Token: {}\r\n\r\n", placeholder());
            stream.write_all(request.as_bytes()).await.unwrap();
            let response = read_until(&mut stream, "\r\n\r\n").await;
            // hyper leaves the length of a 304 out, which a server may do (RFC 9110, section 8.6).
            let has_length = response.to_ascii_lowercase().contains("content-length: 1234\r\n");
            assert_eq!(has_length, method == "HEAD", "{response}");
            assert!(!response.to_ascii_lowercase().contains("transfer-encoding"), "{response}");
            assert!(response.contains(placeholder().as_str()) && !response.contains(VALUE), "{response}");
            assert!(response.ends_with("\r\n\r\n"), "{response}");
        }
        assert_eq!(seen.borrow().len(), 3);
    });
}

#[test]
fn nothing_of_a_held_request_leaves_before_all_of_it_was_seen() {
    let with_token = format!("12345678 {}", placeholder());
    for (body, expected) in [("12345678 abc", "200"), (with_token.as_str(), "403")] {
        run(async {
            let (server, seen) = http_recorder().await;
            let redirects = vec![((HOST_A.1, 80), server)];
            let setup = Setup { allow: &["a.example:80"], redirects, with_secret: true, ..Setup::default() };
            let world = World::new(setup).await;
            let mut stream = world.connect(HOST_A, 80).await;
            let head = format!(
                "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let first = read_until(&mut stream, "\r\n\r\n").await;
            assert_eq!(statuses(&first), ["100"], "{first}");
            let (one, other) = body.as_bytes().split_at(9);
            stream.write_all(one).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(seen.borrow().is_empty());
            stream.write_all(other).await.unwrap();
            let response = read_responses(&mut stream, 1).await;
            assert_eq!(statuses(&response), [expected], "{response}");
            let arrived = seen.borrow().iter().filter(|message| message.ends_with(body)).count();
            assert_eq!((arrived, seen.borrow().len()), if expected == "200" { (1, 1) } else { (0, 0) });
        });
    }
}

#[test]
fn a_body_is_held_only_as_long_as_time_and_room_permit() {
    let short = Duration::from_millis(200);
    let cases = [
        ("no room", Limits { max_held_bytes: 99, ..Limits::default() }),
        ("no time", Limits { held_body_timeout: short, ..Limits::default() }),
        ("too long by itself", Limits { max_held_body_bytes: 99, ..Limits::default() }),
    ];
    for (case, limits) in cases {
        run(async {
            let (address, accepted) = one_connection().await;
            let redirects = vec![((HOST_A.1, 80), address)];
            let setup =
                Setup { allow: &["a.example:80"], redirects, with_secret: true, limits, ..Setup::default() };
            let world = World::new(setup).await;
            let mut stream = world.connect(HOST_A, 80).await;
            let head = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            // One byte short: what has come goes on.
            stream.write_all(&[b'x'; 99]).await.unwrap();
            let (mut server, mut request) = asked(accepted).await;
            while !request.ends_with(&"x".repeat(99)) {
                let mut more = [0; 128];
                let count = timeout(PATIENCE, server.read(&mut more)).await.expect(case).unwrap();
                assert!(count > 0, "{case}: {request}");
                request += &String::from_utf8_lossy(&more[..count]);
            }
            assert!(request.contains("Content-Length: 100\r\n"), "{case}: {request}");
            stream.write_all(b"y").await.unwrap();
            let mut last = [0; 1];
            timeout(PATIENCE, server.read_exact(&mut last)).await.expect(case).unwrap();
            assert_eq!(&last, b"y", "{case}");
            server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"], "{case}");
        });
    }
}

#[test]
fn the_room_is_shared_by_all_streams_and_given_back() {
    run(async {
        let (server, seen) = http_recorder().await;
        let (other, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 80), server), ((HOST_B.1, 80), other)];
        let limits = Limits { max_held_bytes: 100, ..Limits::default() };
        let allow = &["a.example:80", "b.example:80"];
        let world =
            World::new(Setup { allow, redirects, with_secret: true, limits, ..Setup::default() }).await;
        let mut first = world.connect(HOST_A, 80).await;
        let head = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60\r\n\r\n";
        first.write_all(head.as_bytes()).await.unwrap();
        first.write_all(&[b'x'; 59]).await.unwrap();
        // Another of the same size does not fit beside it, and goes on at once.
        let mut second = world.connect(HOST_B, 80).await;
        second.write_all(head.replace("a.example", "b.example").as_bytes()).await.unwrap();
        let (_server, request) = asked(accepted).await;
        assert!(request.contains("Host: b.example"), "{request}");
        assert!(seen.borrow().is_empty());
        // Once the first is through there is room again.
        for _ in 0..3 {
            first.write_all(b"y").await.unwrap();
            assert_eq!(statuses(&read_responses(&mut first, 1).await), ["200"]);
            first.write_all(head.as_bytes()).await.unwrap();
            first.write_all(&[b'x'; 59]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(seen.borrow().len(), 3);
    });
}

#[test]
fn a_violation_behind_the_answers_beginning_ends_the_stream() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 80), address)];
        let setup = Setup { allow: &["a.example:80"], redirects, with_secret: true, ..Setup::default() };
        let world = World::new(setup).await;
        let mut stream = world.connect(HOST_A, 80).await;
        let head = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut server, request) = asked(accepted).await;
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n";
        server.write_all(answer.as_bytes()).await.unwrap();
        let mut response = read_until(&mut stream, "early").await;
        let token = placeholder().to_string();
        let chunk = format!("{:x}\r\n{token}\r\n0\r\n\r\n", token.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
        let event = world.event().await;
        assert!(matches!(event, Event::Violation { .. }), "{event}");
        response += &read_to_end(&mut stream).await;
        assert!(!response.ends_with("0\r\n\r\n"), "the answer was made whole: {response}");
        let request = request + &read_to_end(&mut server).await;
        assert!(!request.contains(&token[..8]), "{request}");
        assert!(!request.ends_with("0\r\n\r\n"), "the request was made whole: {request}");
    });
}

#[test]
fn no_placeholder_passes_a_stream_of_another_protocol() {
    // Whether upstream speaks first, and where the placeholder is cut.
    for (speaks_first, cut) in [(false, 0), (true, 0), (false, 3), (true, 20)] {
        run(async {
            let (address, accepted) = one_connection().await;
            let redirects = vec![((HOST_A.1, 80), address)];
            let setup = Setup { allow: &["9.9.9.1:80"], redirects, with_secret: true, ..Setup::default() };
            let world = World::new(setup).await;
            let mut stream = world.connect_to(HOST_A.1, 80).await;
            let mut server = accepted.await;
            if speaks_first {
                server.write_all(b"hello\n").await.unwrap();
                read_until(&mut stream, "hello\n").await;
            }
            stream.write_all(b"\x00\x01 binary ").await.unwrap();
            let mut first = [0; 10];
            timeout(PATIENCE, server.read_exact(&mut first)).await.expect("bytes").unwrap();
            server.write_all(b"answer").await.unwrap();
            read_until(&mut stream, "answer").await;
            let text = placeholder().to_string();
            stream.write_all(&text.as_bytes()[..cut]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(&text.as_bytes()[cut..]).await.unwrap();
            let event = world.event().await;
            assert!(matches!(event, Event::Violation { .. }), "{event}");
            let event = world.event().await;
            assert!(
                matches!(event, Event::InterceptFailed { error: InterceptError::Violation, .. }),
                "{event}"
            );
            let seen = read_to_end(&mut server).await;
            assert!(text.starts_with(&seen) && seen.len() < 8, "upstream saw {seen:?}");
            assert_eq!(read_to_end(&mut stream).await, "");
        });
    }
}

#[test]
fn another_protocol_without_placeholders_passes_both_ways() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 80), address)];
        let setup = Setup { allow: &["9.9.9.1:80"], redirects, with_secret: true, ..Setup::default() };
        let world = World::new(setup).await;
        let mut stream = world.connect_to(HOST_A.1, 80).await;
        let mut server = accepted.await;
        let sent: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
        let expected = sent.clone();
        let reading = tokio::task::spawn_local(async move {
            let mut seen = Vec::new();
            server.read_to_end(&mut seen).await.unwrap();
            server.write_all(b"last words").await.unwrap();
            seen
        });
        let began = Instant::now();
        stream.write_all(&sent).await.unwrap();
        // A beginning that grows into nothing is held back, and then sent.
        stream.write_all(b"netsec_12345").await.unwrap();
        assert_eq!(finish(&mut stream).await, "last words");
        assert_eq!(reading.await.unwrap(), [expected, b"netsec_12345".to_vec()].concat());
        assert!(began.elapsed() < PATIENCE);
    });
}
