//! Guests that go away while upstream is at work for them.

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::server::{Identity, Local, asked, one_connection, silent_port};
use crate::wire::{read_responses, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, World, run};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// Upstream's connection ends, in whatever way.
async fn assert_ends<S: AsyncRead + Unpin>(mut server: S) {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, server.read_to_end(&mut bytes)).await.expect("upstream hears of it");
}

#[test]
fn a_request_ends_with_its_guest() {
    // Plain, with a request behind it that nobody reads, and inside TLS.
    for (is_tls, pipelined) in [(false, false), (false, true), (true, false)] {
        run(async {
            let identity = Identity::new();
            let mut setup = Setup { allow: &["a.example"], ..Setup::default() };
            let more = if pipelined { GET } else { b"" };
            if is_tls {
                let (address, accepted) = identity.one_connection("a.example").await;
                setup.redirects = vec![((HOST_A.1, 443), address)];
                setup.trusts = Some(identity.pem());
                let world = World::new(setup).await;
                let accepted = tokio::task::spawn_local(accepted);
                let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
                stream.write_all(GET).await.unwrap();
                let (server, _) = asked(async { accepted.await.unwrap() }).await;
                stream.into_inner().0.abort();
                assert_ends(server).await;
            } else {
                let (address, accepted) = one_connection().await;
                setup.redirects = vec![((HOST_A.1, 80), address)];
                let world = World::new(setup).await;
                let mut stream = world.connect(HOST_A, 80).await;
                stream.write_all(GET).await.unwrap();
                let (server, _) = asked(accepted).await;
                stream.write_all(more).await.unwrap();
                stream.abort();
                assert_ends(server).await;
            }
        });
    }
}

#[test]
fn a_response_that_is_silent_ends_with_its_guest() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 80), address)];
        let world = World::new(Setup { allow: &["a.example:80"], redirects, ..Setup::default() }).await;
        let mut stream = world.connect(HOST_A, 80).await;
        stream.write_all(GET).await.unwrap();
        let (mut server, _) = asked(accepted).await;
        server
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await
            .unwrap();
        crate::wire::read_until(&mut stream, "first").await;
        stream.abort();
        assert_ends(server).await;
    });
}

#[test]
fn a_guest_that_has_only_closed_its_half_gets_its_response() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 80), address)];
        let world = World::new(Setup { allow: &["a.example:80"], redirects, ..Setup::default() }).await;
        let mut stream = world.connect(HOST_A, 80).await;
        stream.write_all(GET).await.unwrap();
        stream.shutdown().await.unwrap();
        let (mut server, _) = asked(accepted).await;
        // Its FIN has arrived long before.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
    });
}

#[test]
fn a_stream_of_http2_that_is_cancelled_or_reset_is_reset_upstream() {
    for cancels in [true, false] {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let redirects = vec![((HOST_A.1, 80), listener.local_addr().unwrap())];
            let world = World::new(Setup { allow: &["a.example:80"], redirects, ..Setup::default() }).await;
            let (told, asked) = tokio::sync::oneshot::channel();
            let server = tokio::task::spawn_local(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (_request, mut respond) = connection.accept().await.expect("a request").unwrap();
                told.send(()).unwrap();
                // Its response never comes; the connection is driven on beside.
                let ended = std::future::poll_fn(|task| respond.poll_reset(task));
                tokio::select! {
                    reset = ended => reset.ok(),
                    _ = connection.accept() => None,
                }
            });
            let stream = world.connect(HOST_A, 80).await;
            let (mut requests, connection) =
                hyper::client::conn::http2::handshake(Local, TokioIo::new(stream)).await.unwrap();
            let driving = tokio::task::spawn_local(connection);
            let request = Request::get("http://a.example/x").body(Empty::<Bytes>::new()).unwrap();
            let asking = tokio::task::spawn_local(requests.send_request(request));
            timeout(PATIENCE, asked).await.expect("a request").unwrap();
            if cancels {
                asking.abort();
            } else {
                // hyper's own tasks hold the stream: its drop is a reset.
                asking.abort();
                driving.abort();
                drop(requests);
            }
            let reset = timeout(PATIENCE, server).await.expect("upstream hears of it").unwrap();
            if cancels {
                assert_eq!(reset, Some(h2::Reason::CANCEL));
            }
        });
    }
}

#[test]
fn a_dial_and_a_handshake_end_with_their_guest() {
    // Upstream that takes no connection, and one that takes it and says nothing.
    for is_silent in [true, false] {
        run(async {
            let (silent, _held, _listener) = silent_port().await;
            let (address, accepted) = one_connection().await;
            let accepted = tokio::task::spawn_local(accepted);
            let mut setup = Setup {
                // Two names of one address: upstream is dialled once the guest has shown which.
                allow: &["a.example:443", "alias.example:81"],
                deny: &["alias.example:443"],
                redirects: vec![((HOST_A.1, 443), if is_silent { silent } else { address })],
                trusts: Some(Identity::new().pem()),
                ..Setup::default()
            };
            setup.limits.upstream_handshake_timeout = 10 * PATIENCE;
            setup.limits.connect_timeout = 10 * PATIENCE;
            let world = World::new(setup).await;
            world.resolve(crate::world::ALIAS.0).await;
            let mut stream = world.connect(HOST_A, 443).await;
            stream.write_all(&crate::relay::hello("a.example")).await.unwrap();
            let server = if is_silent {
                // Nothing tells of a dial; it has begun by then, or begins with a guest that is gone.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                None
            } else {
                let mut server = accepted.await.unwrap();
                timeout(PATIENCE, server.read_u8()).await.expect("a hello").unwrap();
                Some(server)
            };
            stream.abort();
            if let Some(server) = server {
                assert_ends(server).await;
            }
            let gone = timeout(PATIENCE, async {
                while world.handle.counters().await.unwrap().flows_open > 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            });
            gone.await.expect("the flow ends with its guest");
        });
    }
}
