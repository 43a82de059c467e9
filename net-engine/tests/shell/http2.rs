//! HTTP/2 frame by frame: servers that do what no library of theirs would.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::server::{Identity, Local, one_connection};
use crate::world::{HOST_A, PATIENCE, Setup, VALUE, World, placeholder, run};

fn secret_of_a(identity: &Identity, server: SocketAddr) -> Setup {
    Setup { with_secret: true, bound_to: Some("a.example"), ..Setup::of_a(identity, server) }
}

#[test]
fn a_response_without_content_brings_none() {
    let cases = [
        (Method::GET, StatusCode::NO_CONTENT),
        (Method::GET, StatusCode::NOT_MODIFIED),
        (Method::HEAD, StatusCode::OK),
    ];
    for (method, status) in cases {
        run(async {
            let identity = Identity::new();
            let (address, accepted) = one_connection().await;
            let acceptor = identity.acceptor("a.example", "h2");
            tokio::task::spawn_local(async move {
                let stream = acceptor.accept(accepted.await).await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let token = request.headers()["x-token"].clone();
                    assert_eq!(token.as_bytes(), VALUE.as_bytes());
                    let head = Response::builder().status(status).body(()).unwrap();
                    let mut body = respond.send_response(head, false).unwrap();
                    // A stream that was reset takes none.
                    let _ = body.send_data(Bytes::copy_from_slice(token.as_bytes()), true);
                }
            });
            let world = World::new(secret_of_a(&identity, address)).await;
            let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
            // The guest's end must not hide it either.
            let (requests, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::task::spawn_local(connection);
            let mut requests = requests.ready().await.unwrap();
            for _ in 0..2 {
                let request = Request::builder()
                    .method(&method)
                    .uri("https://a.example/")
                    .header("x-token", placeholder().to_string())
                    .body(())
                    .unwrap();
                let (response, _) = requests.send_request(request, true).unwrap();
                let response = timeout(PATIENCE, response).await.expect("a response").unwrap();
                assert_eq!(response.status(), status, "{method}");
                let mut body = response.into_body();
                let data = timeout(PATIENCE, body.data()).await.expect("an end");
                let data = data.and_then(Result::ok).unwrap_or_default();
                assert_eq!(data, Bytes::new(), "{method} {status}");
            }
        });
    }
}

/// Answers every request on one connection with as much as the windows let through; the bytes sent.
fn serve_without_end(listener: TcpListener) -> Rc<Cell<usize>> {
    let sent = Rc::new(Cell::new(0));
    let counted = Rc::clone(&sent);
    tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            let counted = Rc::clone(&counted);
            tokio::task::spawn_local(async move {
                // As much as the window lets through.
                body.reserve_capacity(1 << 30);
                while let Some(Ok(room)) = std::future::poll_fn(|task| body.poll_capacity(task)).await {
                    let _ = body.send_data(vec![b'x'; room].into(), false);
                    counted.set(counted.get() + room);
                    body.reserve_capacity(1 << 30);
                }
            });
        }
    });
    sent
}

#[test]
fn a_guest_that_reads_nothing_has_little_held_for_it() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let redirects = vec![((HOST_A.1, 80), listener.local_addr().unwrap())];
        let world = World::new(Setup { allow: &["a.example:80"], redirects, ..Setup::default() }).await;
        let sent = serve_without_end(listener);
        let stream = world.connect(HOST_A, 80).await;
        let mut client = h2::client::Builder::new();
        client.initial_window_size(1 << 16).initial_connection_window_size(1 << 16);
        let (requests, connection) = client.handshake::<_, Bytes>(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut requests = requests.ready().await.unwrap();
        let mut responses = Vec::new();
        for count in 1..=4 {
            let request = Request::get("http://a.example/").body(()).unwrap();
            let (response, _) = requests.send_request(request, true).unwrap();
            responses.push(timeout(PATIENCE, response).await.expect("a response").unwrap());
            let limits = net_core::Limits::default();
            let window = limits.http2_window_bytes.min(count * limits.http2_stream_window_bytes);
            let settled = timeout(PATIENCE, async {
                loop {
                    let before = sent.get();
                    sleep(Duration::from_millis(300)).await;
                    if before >= window && sent.get() == before {
                        break;
                    }
                }
            });
            settled.await.expect("a server that waits, its windows used up");
            // What waits per stream, and what the guest was sent.
            let bound = window + (count + 1) * (80 << 10);
            assert!(sent.get() <= bound, "{count} streams: {} bytes above {bound}", sent.get());
        }
        // It reads on, and nothing was lost.
        let first = responses.remove(0);
        let mut body = first.into_body();
        let data = timeout(PATIENCE, body.data()).await.expect("data").unwrap().unwrap();
        assert!(data.iter().all(|byte| *byte == b'x'));
    });
}

#[test]
fn a_guest_that_states_windows_without_end_has_little_held_for_it_too() {
    const STREAMS: usize = 16;
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let redirects = vec![((HOST_A.1, 80), listener.local_addr().unwrap())];
        let world = World::new(Setup { allow: &["a.example:80"], redirects, ..Setup::default() }).await;
        let sent = serve_without_end(listener);
        let stream = world.connect(HOST_A, 80).await;
        let mut client = h2::client::Builder::new();
        client.initial_window_size(1 << 30).initial_connection_window_size(1 << 30);
        let (requests, connection) = client.handshake::<_, Bytes>(stream).await.unwrap();
        let mut requests = requests.ready().await.unwrap();
        let mut responses = Vec::new();
        for _ in 0..STREAMS {
            let request = Request::get("http://a.example/").body(()).unwrap();
            responses.push(requests.send_request(request, true).unwrap().0);
        }
        let mut connection = std::pin::pin!(connection);
        let heads = futures_util::future::join_all(responses);
        let heads = tokio::select! {
            heads = timeout(PATIENCE, heads) => heads.expect("responses"),
            _ = &mut connection => panic!("the connection ended"),
        };
        // From here on nobody reads the guest's socket.
        let begin = sent.get();
        let settled = timeout(PATIENCE, async {
            loop {
                let before = sent.get();
                sleep(Duration::from_millis(500)).await;
                if sent.get() == before {
                    break;
                }
            }
        });
        settled.await.expect("a server that waits");
        let limits = net_core::Limits::default();
        // The guest's own buffers have room for something too.
        let rings = limits.tcp_tx_buffer_bytes + (1 << 20);
        let bound = limits.http2_window_bytes + STREAMS * (80 << 10) + rings;
        assert!(sent.get() - begin <= bound, "{} bytes above {bound}", sent.get() - begin);
        drop(heads);
    });
}

#[test]
fn a_download_beyond_every_window_arrives_whole() {
    const BYTES: usize = 12 << 20;
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let redirects = vec![((HOST_A.1, 80), listener.local_addr().unwrap())];
        let world = World::new(Setup { allow: &["a.example:80"], redirects, ..Setup::default() }).await;
        tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|_: Request<hyper::body::Incoming>| async move {
                let body = http_body_util::Full::new(Bytes::from(vec![b'x'; BYTES]));
                Ok::<_, std::convert::Infallible>(Response::new(body))
            });
            let serving = hyper::server::conn::http2::Builder::new(Local);
            let _ = serving.serve_connection(TokioIo::new(stream), service).await;
        });
        let stream = world.connect(HOST_A, 80).await;
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake(Local, TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = Request::get("http://a.example/x").body(Empty::<Bytes>::new()).unwrap();
        let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a response").unwrap();
        let body = timeout(3 * PATIENCE, response.into_body().collect()).await.expect("a body").unwrap();
        assert_eq!(body.to_bytes().len(), BYTES);
    });
}
