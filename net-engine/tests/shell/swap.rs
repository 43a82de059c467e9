//! Policies and secrets that change under streams that run on.

use std::time::Duration;

use net_engine::Event;
use net_policy::Policy;
use net_secrets::SecretSet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::server::{Identity, asked, http_recorder, one_connection};
use crate::wire::{read_responses, read_until, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, VALUE, World, placeholder, rules, run, secrets};

const ASK: &str =
    "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello";

/// Bytes go up and come down.
async fn assert_carried<G, U>(guest: &mut G, server: &mut U)
where
    G: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut byte = [0; 1];
    guest.write_all(b"x").await.unwrap();
    guest.flush().await.unwrap();
    timeout(PATIENCE, server.read_exact(&mut byte)).await.expect("a byte up").unwrap();
    server.write_all(b"y").await.unwrap();
    server.flush().await.unwrap();
    timeout(PATIENCE, guest.read_exact(&mut byte)).await.expect("a byte down").unwrap();
}

/// The guest hears that its stream has ended, and not as if it were whole.
async fn assert_reset<G: AsyncRead + Unpin>(guest: &mut G) {
    let read = timeout(PATIENCE, guest.read(&mut [0; 1])).await.expect("the guest hears of it");
    assert!(read.is_err(), "the guest saw {read:?}");
}

fn public_but(denied: &[&str]) -> Policy {
    rules(denied, &["public"])
}

#[test]
fn what_left_http_ends_with_the_name_it_was_asked_for() {
    // What is allowed at first: a name, or the address whatever it is called.
    for allow in [&["a.example:80", "b.example:80"][..], &["public"]] {
        run(async {
            let (address, accepted) = one_connection().await;
            let redirects = vec![((HOST_A.1, 80), address)];
            let world = World::new(Setup { allow, redirects, ..Setup::default() }).await;
            // Names matter from the beginning: otherwise the stream is never read as HTTP.
            if allow == ["public"] {
                world.handle.swap_policy(public_but(&["b.example"])).await.unwrap();
            }
            let mut stream = world.connect(HOST_A, 80).await;
            stream.write_all(ASK.as_bytes()).await.unwrap();
            let (mut server, _) = asked(accepted).await;
            server.write_all(SWITCH.as_bytes()).await.unwrap();
            read_until(&mut stream, "\r\n\r\nhello").await;
            world.handle.swap_policy(public_but(&["c.example", "b.example"])).await.unwrap();
            assert_carried(&mut stream, &mut server).await;
            world.handle.swap_policy(public_but(&["a.example"])).await.unwrap();
            assert_reset(&mut stream).await;
            let event = world.event().await;
            assert!(event.to_string().starts_with("denied tcp a.example"), "{event}");
            let read = timeout(PATIENCE, server.read(&mut [0; 1])).await.expect("upstream hears of it");
            assert!(!matches!(read, Ok(1)), "upstream saw {read:?}");
        });
    }
}

#[test]
fn a_request_that_runs_ends_with_its_name_and_one_that_is_over_does_not_matter() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 80), address)];
        let world = World::new(Setup { allow: &["public"], redirects, ..Setup::default() }).await;
        world.handle.swap_policy(public_but(&["d.example"])).await.unwrap();
        let mut stream = world.connect_to(HOST_A.1, 80).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").await.unwrap();
        let (mut server, _) = asked(accepted).await;
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
        stream.write_all(b"GET /long HTTP/1.1\r\nHost: c.example\r\n\r\n").await.unwrap();
        let mut server = asked(async { server }).await.0;
        // b.example is the name of no request that runs.
        world.handle.swap_policy(public_but(&["b.example"])).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        server.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut stream, "first").await;
        world.handle.swap_policy(public_but(&["c.example"])).await.unwrap();
        assert_reset(&mut stream).await;
        let event = world.event().await;
        assert!(event.to_string().starts_with("denied tcp c.example"), "{event}");
    });
}

/// Opens a stream that is carried unread, and the server's end of it.
type Unread = (Box<dyn Both>, Box<dyn Both>);

trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Both for S {}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Http,
    Other,
    Tls,
    Tunnel,
}

async fn unread(kind: Kind) -> (World, Unread) {
    let identity = Identity::new();
    let mut setup = Setup { allow: &["9.9.9.1", "a.example:80"], ..Setup::default() };
    if let Kind::Tls = kind {
        let (address, accepted) = identity.one_connection("a.example").await;
        setup.redirects = vec![((HOST_A.1, 443), address)];
        setup.trusts = Some(identity.pem());
        let world = World::new(setup).await;
        let accepted = tokio::task::spawn_local(accepted);
        let stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        let server = accepted.await.unwrap();
        return (world, (Box::new(stream), Box::new(server)));
    }
    let (address, accepted) = one_connection().await;
    setup.redirects = vec![((HOST_A.1, 80), address)];
    if let Kind::Tunnel = kind {
        setup.allow = &["a.example:80"];
    }
    let world = World::new(setup).await;
    let mut stream = world.connect(HOST_A, 80).await;
    let first: &[u8] = match kind {
        Kind::Http => b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        Kind::Other | Kind::Tls => b"\0binary\r\n\r\n",
        Kind::Tunnel => ASK.as_bytes(),
    };
    stream.write_all(first).await.unwrap();
    let (mut server, _) = asked(accepted).await;
    if let Kind::Tunnel = kind {
        server.write_all(SWITCH.as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\nhello").await;
    }
    (world, (Box::new(stream), Box::new(server)))
}

#[test]
fn the_first_secrets_end_what_was_carried_unread() {
    for kind in [Kind::Http, Kind::Other, Kind::Tls, Kind::Tunnel] {
        run(async {
            let (world, (mut stream, mut server)) = unread(kind).await;
            assert_carried(&mut stream, &mut server).await;
            world.handle.swap_secrets(secrets(VALUE, "a.example")).await;
            let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("the guest hears of it");
            assert!(read.is_err(), "{kind:?}: the guest saw {read:?}");
            let event = world.event().await;
            assert!(matches!(event, Event::EndedUnread { .. }), "{kind:?}: {event}");
            let read = timeout(PATIENCE, server.read(&mut [0; 1])).await.expect("upstream hears of it");
            assert!(!matches!(read, Ok(1)), "{kind:?}: upstream saw {read:?}");
        });
    }
}

/// Every value it was ever sent, whatever comes.
fn echo_both(_: &str) -> Vec<String> {
    let text = format!("{VALUE} and {OTHER}.");
    let head = format!("HTTP/1.1 200 OK\r\nX-Echo: {text}\r\nContent-Length: {}", text.len());
    vec![format!("{head}\r\n\r\n{text}")]
}

const OTHER: &str = "another-value-1";

#[test]
fn a_value_that_was_replaced_or_revoked_does_not_come_back() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", echo_both).await;
        let setup = Setup {
            // By its address: without secrets nothing would be read.
            allow: &["9.9.9.1:443"],
            redirects: vec![((HOST_A.1, 443), server)],
            with_secret: true,
            bound_to: Some("a.example"),
            trusts: Some(identity.pem()),
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let mut first = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Token: {}\r\n\r\n", placeholder());
        let next = [Some(secrets(OTHER, "a.example")), Some(SecretSet::default()), None];
        for (round, next) in next.into_iter().enumerate() {
            let mut new = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
            for stream in [&mut first, &mut new] {
                stream.write_all(request.as_bytes()).await.unwrap();
                let response = read_responses(stream, 1).await;
                assert_eq!(statuses(&response), ["200"], "round {round}: {response}");
                // The second value is not known before it is used.
                let has_other = response.contains(OTHER);
                assert!(!response.contains(VALUE) && has_other == (round == 0), "round {round}: {response}");
            }
            if let Some(next) = next {
                world.handle.swap_secrets(next).await;
            }
        }
        let seen = seen.borrow();
        let placeholder = placeholder();
        let tokens = [VALUE, OTHER, placeholder.as_str()].into_iter().flat_map(|token| [token; 2]);
        for (message, token) in seen.iter().zip(tokens) {
            assert!(message.contains(token), "{message}");
            assert!(
                message.contains("ncoding: identity\r\n"),
                "what is searched is asked for as it is: {message}"
            );
        }
        assert_eq!(seen.len(), 6);
    });
}

#[test]
fn a_response_that_runs_on_is_searched_for_the_new_values() {
    run(async {
        let identity = Identity::new();
        let (address, accepted) = identity.one_connection("a.example").await;
        let setup =
            Setup { with_secret: true, bound_to: Some("a.example"), ..Setup::of_a(&identity, address) };
        let world = World::new(setup).await;
        let accepted = tokio::task::spawn_local(accepted);
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\n\r\n").await.unwrap();
        let (mut server, _) = asked(async { accepted.await.unwrap() }).await;
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let (begins, ends) = VALUE.split_at(9);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Echo\r\n\r\n";
        server.write_all((head.to_owned() + &chunk(&format!("first {begins}"))).as_bytes()).await.unwrap();
        let mut response = read_until(&mut stream, "first").await;
        world.handle.swap_secrets(secrets(OTHER, "a.example")).await;
        let rest = format!("{}{}0\r\nX-Echo: {OTHER}\r\n\r\n", chunk(ends), chunk(&format!(" {OTHER} end.")));
        server.write_all(rest.as_bytes()).await.unwrap();
        response += &read_until(&mut stream, "\r\n\r\n").await;
        assert!(response.contains("end."), "{response}");
        assert!(!response.contains(OTHER) && !response.contains(ends), "{response}");
        assert!(response.matches(placeholder().as_str()).count() == 3, "{response}");
    });
}

#[test]
fn a_value_is_forgotten_when_its_time_is_over() {
    run(async {
        let identity = Identity::new();
        let (server, _) = identity.recorder("a.example", echo_both).await;
        let mut setup =
            Setup { with_secret: true, bound_to: Some("a.example"), ..Setup::of_a(&identity, server) };
        setup.limits.retired_secret_timeout = Duration::from_millis(100);
        let world = World::new(setup).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        world.handle.swap_secrets(SecretSet::default()).await;
        let shown = timeout(PATIENCE, async {
            loop {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
                if read_responses(&mut stream, 1).await.contains(VALUE) {
                    break;
                }
            }
        });
        shown.await.expect("a value that is nobody's secret any more");
    });
}

#[test]
fn later_secrets_and_what_is_read_end_nothing() {
    run(async {
        // Read as HTTP, for the verdict rests on a name.
        let (server, _) = http_recorder().await;
        let redirects = vec![((HOST_A.1, 80), server)];
        let world = World::new(Setup { allow: &["a.example:80"], redirects, ..Setup::default() }).await;
        let mut stream = world.connect(HOST_A, 80).await;
        for value in [VALUE, "another-value-0", "a-third-value-00"] {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
            world.handle.swap_secrets(secrets(value, "a.example")).await;
        }
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
    });
}
