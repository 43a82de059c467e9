//! Requests that wait for a connection upstream ends: they go on over another, to the same upstream.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use futures_util::future::join_all;
use h2::Ping;
use hyper::Request;
use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::http2_ends::{data, http2_guest, setup};
use crate::server::{Identity, asked};
use crate::world::{HOST_A, PATIENCE, World, run};

const REQUESTS: usize = 5;

/// A server that answers one request on each connection.
struct OneByOne {
    address: SocketAddr,
    answered: Rc<Cell<usize>>,
    /// That all of them were asked: until then nothing is answered.
    are_asked: watch::Sender<bool>,
}

/// Answers one request of HTTP/1.1 on each connection and ends it: as `name` the first `good`, then as another.
async fn one_by_one(
    identity: &Identity,
    good: usize,
    others: Option<&'static Identity>,
    says_close: bool,
) -> OneByOne {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor("a.example", "http/1.1");
    let other = others.map(|identity| identity.acceptor("a.example", "http/1.1"));
    let answered = Rc::new(Cell::new(0));
    let count = Rc::clone(&answered);
    let (are_asked, mut asked_all) = watch::channel(false);
    tokio::task::spawn_local(async move {
        loop {
            let acceptor = match &other {
                _ if count.get() < good => &acceptor,
                Some(other) => other,
                // Nobody listens any more.
                None => return,
            };
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever offers h2 alone is refused.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let (mut stream, request) = asked(async { stream }).await;
            // The others wait from then on.
            asked_all.wait_for(|all| *all).await.unwrap();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let close = if says_close { "Connection: close\r\n" } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {}\r\n\r\n{path}", path.len());
            count.set(count.get() + 1);
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    OneByOne { address, answered, are_asked }
}

/// The statuses and bodies of requests that are sent at once, to a server that answers none before it has all of them.
async fn ask_at_once(world: &World, are_asked: &watch::Sender<bool>) -> Vec<(u16, Bytes)> {
    let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
    let (requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::task::spawn_local(connection);
    let requests = requests.ready().await.unwrap();
    let asked = (0..REQUESTS).map(|count| {
        let mut requests = requests.clone();
        let request = Request::get(format!("https://a.example/{count}")).body(()).unwrap();
        let (response, _) = requests.send_request(request, true).unwrap();
        async move {
            let response = response.await.unwrap();
            (response.status().as_u16(), data(&mut response.into_body()).await.unwrap_or_default())
        }
    });
    let asked: Vec<_> = asked.collect();
    for _ in 0..2 {
        // The first may go before them; whoever answers the second has read them.
        timeout(PATIENCE, pings.ping(Ping::opaque())).await.expect("an answer").unwrap();
    }
    are_asked.send_replace(true);
    timeout(PATIENCE, join_all(asked)).await.expect("answers")
}

#[test]
fn what_was_not_sent_goes_on_over_another_connection() {
    for says_close in [false, true] {
        run(async {
            let identity = Identity::new();
            let OneByOne { address, answered, are_asked } =
                one_by_one(&identity, usize::MAX, None, says_close).await;
            let world = World::new(setup(&identity, address, false)).await;
            let answers = ask_at_once(&world, &are_asked).await;
            for (count, answer) in answers.iter().enumerate() {
                assert_eq!(*answer, (200, format!("/{count}").into()), "says close: {says_close}");
            }
            assert_eq!(answered.get(), REQUESTS, "each is asked once");
        });
    }
}

#[test]
fn what_has_nowhere_to_go_is_answered_by_us() {
    run(async {
        let identity = Identity::new();
        let OneByOne { address, answered, are_asked } = one_by_one(&identity, 2, None, false).await;
        let world = World::new(setup(&identity, address, false)).await;
        let answers = ask_at_once(&world, &are_asked).await;
        let passed = answers.iter().filter(|(status, _)| *status == 200).count();
        let refused = answers.iter().filter(|(status, _)| *status == 502).count();
        assert_eq!((passed, refused, answered.get()), (2, REQUESTS - 2, 2), "{answers:?}");
    });
}

#[test]
fn another_upstream_in_its_place_gets_nothing() {
    run(async {
        let identity = Identity::new();
        // Whom nobody trusts.
        let stranger: &'static Identity = Box::leak(Box::new(Identity::new()));
        let OneByOne { address, answered, are_asked } = one_by_one(&identity, 1, Some(stranger), false).await;
        let world = World::new(setup(&identity, address, false)).await;
        let answers = ask_at_once(&world, &are_asked).await;
        let passed = answers.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!((passed, answered.get()), (1, 1), "{answers:?}");
    });
}

#[test]
fn an_upstream_that_ends_every_connection_unasked_is_not_asked_for_ever() {
    run(async {
        let identity = Identity::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = identity.acceptor("a.example", "http/1.1");
        let accepted = Rc::new(Cell::new(0));
        let count = Rc::clone(&accepted);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    count.set(count.get() + 1);
                    let _ = stream.shutdown().await;
                }
            }
        });
        let world = World::new(setup(&identity, address, false)).await;
        let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let Ok(mut requests) = requests.ready().await else { return };
        let Ok((response, _)) =
            requests.send_request(Request::get("https://a.example/").body(()).unwrap(), true)
        else {
            return;
        };
        // The connection may have ended with upstream's first.
        if let Ok(response) = timeout(PATIENCE, response).await.expect("an answer") {
            assert_eq!(response.status(), 502);
        }
        assert!(accepted.get() <= 4, "{} connections", accepted.get());
    });
}

#[test]
fn what_was_sent_is_sent_again_only_where_that_is_no_harm() {
    for (method, expected) in [("GET", 200), ("POST", 502)] {
        run(async {
            let identity = Identity::new();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let acceptor = identity.acceptor("a.example", "http/1.1");
            tokio::task::spawn_local(async move {
                let mut is_first = true;
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let Ok(stream) = acceptor.accept(stream).await else { continue };
                    let (mut stream, _) = asked(async { stream }).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                    if std::mem::take(&mut is_first) {
                        // It takes another one, and ends without a word.
                        drop(asked(async { stream }).await);
                    } else {
                        std::future::pending::<()>().await;
                    }
                }
            });
            let world = World::new(setup(&identity, address, false)).await;
            let mut requests = http2_guest(&world).await;
            for status in [200, expected] {
                let request = Request::builder().method(method).uri("https://a.example/").body(()).unwrap();
                let (response, _) = requests.send_request(request, true).unwrap();
                let response = timeout(PATIENCE, response).await.expect("an answer").unwrap();
                assert_eq!(response.status(), status, "{method}");
                let _ = data(&mut response.into_body()).await;
            }
        });
    }
}
