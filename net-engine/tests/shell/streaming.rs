//! What takes its time: interim responses, streams both ways at once, and sides that are slow.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::http2_ends::{data, http2_guest, http2_server, setup};
use crate::server::{Identity, Local, asked, http_recorder, one_connection};
use crate::world::{HOST_A, PATIENCE, World, run};

#[test]
fn a_call_streams_both_ways_and_ends_with_trailers() {
    for with_secret in [false, true] {
        run(async {
            let identity = Identity::new();
            let server = http2_server(&identity, |request, mut respond| async move {
                assert_eq!(request.headers()["te"], "trailers");
                assert_eq!(request.headers()["content-type"], "application/grpc");
                let mut body = request.into_body();
                let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                let mut echo = respond.send_response(head, false).unwrap();
                while let Some(data) = data(&mut body).await {
                    echo.send_data(data, false).unwrap();
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                trailers.insert("grpc-message", "done".parse().unwrap());
                echo.send_trailers(trailers).unwrap();
            })
            .await;
            let world = World::new(setup(&identity, server, with_secret)).await;
            let mut requests = http2_guest(&world).await;
            let request = Request::post("https://a.example/x.Y/Z")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .unwrap();
            let (response, mut call) = requests.send_request(request, false).unwrap();
            let mut echo = timeout(PATIENCE, response).await.expect("a head").unwrap().into_body();
            // The next message is not sent before this one is back.
            for message in [&b"\0\0\0\0\x03one"[..], b"\0\0\0\0\x03two", b"\0\0\0\0\x05three"] {
                call.send_data(Bytes::copy_from_slice(message), false).unwrap();
                let mut back = Vec::new();
                while back.len() < message.len() {
                    back.extend(data(&mut echo).await.expect("a message"));
                }
                assert_eq!(back, message);
            }
            call.send_data(Bytes::new(), true).unwrap();
            assert_eq!(data(&mut echo).await, None);
            let trailers = echo.trailers().await.unwrap().expect("trailers");
            assert_eq!(trailers["grpc-status"], "0");
            assert_eq!(trailers["grpc-message"], "done");
        });
    }
}

#[test]
fn a_call_that_ends_with_its_head_is_one_block() {
    run(async {
        let identity = Identity::new();
        let server = http2_server(&identity, |_, mut respond| async move {
            let head = Response::builder().header("grpc-status", "12").body(()).unwrap();
            respond.send_response(head, true).unwrap();
        })
        .await;
        let world = World::new(setup(&identity, server, false)).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::post("https://a.example/x.Y/Z").body(()).unwrap();
        let (response, _) = requests.send_request(request, true).unwrap();
        let response = timeout(PATIENCE, response).await.expect("a head").unwrap();
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.body().is_end_stream());
    });
}

#[test]
fn no_tunnel_is_opened_in_http2() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = http_recorder().await;
        let world = World::new(setup(&identity, server, false)).await;
        let stream = world.connect(HOST_A, 80).await;
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut requests = requests.ready().await.unwrap();
        let request = Request::builder().method(Method::CONNECT).uri("a.example:80").body(()).unwrap();
        let (response, _) = requests.send_request(request, false).unwrap();
        let response = timeout(PATIENCE, response).await.expect("an answer").unwrap();
        assert_eq!(response.status(), 403);
        // Nor one of RFC 8441: clients do not ask for what was not offered, and open another connection.
        assert!(!requests.is_extended_connect_protocol_enabled());
        // Upstream has heard of HTTP/2 and of no request.
        assert!(seen.borrow().iter().all(|message| message.starts_with("PRI * HTTP/2.0")), "{seen:?}");
    });
}

/// What may be on its way between a guest that writes and a server that does not read, or the reverse: rings,
/// sockets of the host, and what HTTP and TLS hold.
const ON_ITS_WAY: usize = 24 << 20;

#[test]
fn a_side_that_does_not_read_stops_the_other() {
    const PIECE: usize = 64 << 10;
    for (is_tls, is_upload) in [(false, true), (false, false), (true, true), (true, false)] {
        let case = format!("tls: {is_tls}, upload: {is_upload}");
        run(async {
            let identity = Identity::new();
            let (address, accepted) = one_connection().await;
            let acceptor = identity.acceptor("a.example", "http/1.1");
            let world = World::new(setup(&identity, address, false)).await;
            let head = if is_upload {
                format!("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40)
            } else {
                "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned()
            };
            let (mut guest, server): (Box<dyn Stream>, Box<dyn Stream>) = if is_tls {
                let serve = async { acceptor.accept(accepted.await).await.unwrap() };
                let (server, guest) = tokio::join!(serve, world.tls(HOST_A, "a.example", "http/1.1"));
                (Box::new(guest.unwrap()), Box::new(server))
            } else {
                let (server, guest) = tokio::join!(accepted, world.connect(HOST_A, 80));
                (Box::new(guest), Box::new(server))
            };
            guest.write_all(head.as_bytes()).await.unwrap();
            guest.flush().await.unwrap();
            let (mut server, _) = asked(async { server }).await;
            let (writer, reader) =
                if is_upload { (&mut guest, &mut server) } else { (&mut server, &mut guest) };
            if !is_upload {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40);
                writer.write_all(head.as_bytes()).await.unwrap();
            }
            let (piece, mut sent) = (vec![b'x'; PIECE], 0);
            while let Ok(written) = timeout(Duration::from_secs(1), writer.write(&piece)).await {
                sent += written.unwrap();
                assert!(sent <= ON_ITS_WAY, "{case}: nobody stops the writer");
            }
            // It goes on as soon as somebody reads.
            let mut buffer = vec![0; PIECE];
            let mut read = 0;
            while read < sent / 2 {
                read += timeout(PATIENCE, reader.read(&mut buffer)).await.expect(&case).unwrap();
            }
            timeout(PATIENCE, writer.write_all(&piece[..1024])).await.expect(&case).unwrap();
        });
    }
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Stream for S {}

#[test]
fn events_come_one_by_one_over_http2_too() {
    run(async {
        let identity = Identity::new();
        let notify = std::rc::Rc::new(tokio::sync::Notify::new());
        let next = std::rc::Rc::clone(&notify);
        let server = http2_server(&identity, move |_, mut respond| {
            let next = std::rc::Rc::clone(&next);
            async move {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
                    body.send_data(Bytes::from_static(event.as_bytes()), false).unwrap();
                    next.notified().await;
                }
            }
        })
        .await;
        let world = World::new(setup(&identity, server, true)).await;
        let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake(Local, hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = Request::get("https://a.example/events").body(Empty::<Bytes>::new()).unwrap();
        let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a head").unwrap();
        let mut body = response.into_body();
        for event in ["one", "two", "three"] {
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&seen).contains(event) {
                let frame = timeout(PATIENCE, body.frame()).await.expect("an event").unwrap().unwrap();
                seen.extend(frame.into_data().unwrap());
            }
            notify.notify_one();
        }
    });
}
