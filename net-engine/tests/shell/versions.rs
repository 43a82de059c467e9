//! A guest and an upstream that speak different versions of HTTP: each is spoken to in its own.

use std::convert::Infallible;
use std::net::SocketAddr;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::server::{Identity, Local, Reply, asked, say_ok};
use crate::wire::{finish, read_responses, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, World, run};

async fn world(identity: &Identity, server: SocketAddr) -> World {
    let setup = Setup::of_a(identity, server);
    World::new(setup).await
}

type Trailing = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn with_trailers(data: &'static str, trailers: HeaderMap) -> Trailing {
    let frames = vec![Ok(Frame::data(Bytes::from(data))), Ok(Frame::trailers(trailers))];
    StreamBody::new(futures_util::stream::iter(frames))
}

fn trailers(name: &'static str, value: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().unwrap());
    trailers
}

/// A guest that speaks nothing but HTTP/2.
async fn http2_guest<B>(world: &World) -> SendRequest<B>
where
    B: hyper::body::Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (requests, connection) = handshake(Local, TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    requests
}

#[test]
fn a_request_of_http2_becomes_one_of_http1() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let world = world(&identity, server).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::post("https://a.example/x?y")
            .header("x-one", "1")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .body(with_trailers("abc", trailers("x-sum", "7")))
            .unwrap();
        let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a response").unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        let seen = seen.borrow();
        assert!(seen[0].starts_with("POST /x?y HTTP/1.1\r\nhost: a.example\r\n"), "{seen:?}");
        assert!(seen[0].ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), "{seen:?}");
        for line in ["cookie: a=1; b=2", "te: trailers", "connection: te", "x-one: 1"] {
            assert!(seen[0].contains(&format!("\r\n{line}\r\n")), "{line}: {seen:?}");
        }
        assert_eq!(seen[0].matches("cookie").count(), 1, "{seen:?}");
    });
}

#[test]
fn a_body_of_no_stated_length_goes_on_whatever_the_method() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let world = world(&identity, server).await;
        let mut requests = http2_guest(&world).await;
        for method in ["GET", "DELETE", "POST"] {
            let request = Request::builder().method(method).uri("https://a.example/");
            let request = request.body(with_trailers("abc", HeaderMap::new())).unwrap();
            let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a response");
            assert_eq!(response.unwrap().into_body().collect().await.unwrap().to_bytes(), "ok");
        }
        for (message, method) in seen.borrow().iter().zip(["GET", "DELETE", "POST"]) {
            assert!(
                message.starts_with(method) && message.contains("\r\n\r\n3\r\nabc\r\n0\r\n"),
                "{message}"
            );
        }
    });
}

/// What a server of HTTP/1.1 says, and the status, body and trailer a guest of HTTP/2 gets.
const RESPONSES: &[(Reply, u16, &str, Option<&str>)] = &[
    (|_| vec!["HTTP/1.1 204 No Content\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n".into()], 204, "", None),
    (
        |_| vec!["HTTP/1.1 299 As You Like\r\nContent-Length: 2\r\nKeep-Alive: 1\r\n\r\nok".into()],
        299,
        "ok",
        None,
    ),
    (
        |_| {
            vec![
                "HTTP/1.1 100 Continue\r\n\r\n".into(),
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
            ]
        },
        200,
        "",
        None,
    ),
    (
        |_| {
            vec![
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                    .into(),
            ]
        },
        200,
        "",
        None,
    ),
    (
        |_| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
            vec![head.into(), "2\r\nok\r\n".into(), "0\r\nx-sum: 7\r\n\r\n".into()]
        },
        200,
        "ok",
        Some("7"),
    ),
    (
        |_| vec!["HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".into()],
        502,
        "net-engine: upstream switched protocols unasked\n",
        None,
    ),
];

#[test]
fn a_response_of_http1_becomes_one_of_http2() {
    for (reply, status, body, sum) in RESPONSES {
        run(async {
            let identity = Identity::new();
            let (server, _) = identity.recorder("a.example", *reply).await;
            let world = world(&identity, server).await;
            let mut requests = http2_guest(&world).await;
            let request = Request::get("https://a.example/").body(Empty::<Bytes>::new()).unwrap();
            let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a response");
            let response = response.unwrap();
            assert_eq!(response.status(), *status);
            for name in ["connection", "keep-alive", "x-hop", "upgrade", "transfer-encoding"] {
                assert!(!response.headers().contains_key(name), "{status}: {name}");
            }
            let collected = timeout(PATIENCE, response.into_body().collect()).await.expect("a body").unwrap();
            let trailer = collected
                .trailers()
                .and_then(|trailers| Some(trailers.get("x-sum")?.to_str().unwrap().to_owned()));
            assert_eq!(
                (collected.to_bytes().as_ref(), trailer.as_deref()),
                (body.as_bytes(), *sum),
                "{status}"
            );
        });
    }
}

#[test]
fn a_body_without_length_ends_with_the_connection_and_so_does_the_stream() {
    run(async {
        let identity = Identity::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = identity.acceptor("a.example", "http/1.1");
        tokio::task::spawn_local(async move {
            let (first, _) = listener.accept().await.unwrap();
            assert!(acceptor.accept(first).await.is_err(), "h2 was not offered alone");
            let (second, _) = listener.accept().await.unwrap();
            let (mut stream, _) = asked(async { acceptor.accept(second).await.unwrap() }).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let world = world(&identity, address).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::get("https://a.example/").body(Empty::<Bytes>::new()).unwrap();
        let response = timeout(PATIENCE, requests.send_request(request)).await.expect("a response").unwrap();
        let body = timeout(PATIENCE, response.into_body().collect()).await.expect("a body").unwrap();
        assert_eq!(body.to_bytes(), "all of it");
        // The guest is told to go elsewhere with the next.
        let gone = timeout(PATIENCE, async {
            while requests.ready().await.is_ok() {
                tokio::task::yield_now().await
            }
        });
        gone.await.expect("an end");
    });
}

#[test]
fn requests_of_one_http2_connection_go_one_after_the_other() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let world = world(&identity, server).await;
        let requests = http2_guest(&world).await;
        let asked = (0..5).map(|count| {
            let mut requests = requests.clone();
            async move {
                requests.ready().await.unwrap();
                let uri = format!("https://a.example/{count}");
                let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
                let response = requests.send_request(request).await.unwrap();
                (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
            }
        });
        for answer in timeout(PATIENCE, join_all(asked)).await.expect("answers") {
            assert_eq!(answer, (200, Bytes::from_static(b"ok")));
        }
        assert_eq!(seen.borrow().len(), 5);
    });
}

/// Answers with what it was asked, with a trailer of its own.
async fn http2_echo(identity: &Identity) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor("a.example", "h2");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not offer h2 is refused.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap();
                let sum = body.trailers().cloned().unwrap_or_default();
                let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                let mut names: Vec<&str> = parts.headers.keys().map(|name| name.as_str()).collect();
                names.sort_unstable();
                let seen = format!("{} {} {names:?} {body} {sum:?}", parts.method, parts.uri);
                let mut response = Response::new(with_trailers("end", trailers("x-end", "1")));
                response.headers_mut().insert("x-seen", seen.parse().unwrap());
                response.headers_mut().insert("trailer", "x-end".parse().unwrap());
                Ok::<_, Infallible>(response)
            });
            let serving = hyper::server::conn::http2::Builder::new(Local);
            tokio::task::spawn_local(serving.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[test]
fn a_request_of_http1_becomes_one_of_http2_and_back() {
    run(async {
        let identity = Identity::new();
        let server = http2_echo(&identity).await;
        let world = world(&identity, server).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        // What concerns the connection stays here, and an offer to switch may be ignored.
        let sent = "POST http://a.example/x?y HTTP/1.1\r\nHOST: a.example\r\nConnection: close-not, x-hop, TE, Upgrade\r\n\
                    Upgrade: websocket\r\nX-Hop: 1\r\nX-One: 1\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
                    Keep-Alive: 1\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n";
        stream.write_all(sent.as_bytes()).await.unwrap();
        let first = read_responses(&mut stream, 1).await;
        assert_eq!(statuses(&first), ["200"], "{first}");
        let seen =
            "x-seen: POST https://a.example/x?y [\"te\", \"trailer\", \"x-one\"] abc {\"x-sum\": \"7\"}\r\n";
        assert!(first.contains(seen), "{first}");
        assert!(first.ends_with("\r\n\r\n3\r\nend\r\n0\r\nx-end: 1\r\n\r\n"), "{first}");
        // The connection goes on.
        stream.write_all(b"GET /2 HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        let second = read_responses(&mut stream, 1).await + &finish(&mut stream).await;
        assert!(second.contains("x-seen: GET https://a.example/2 []  {}\r\n"), "{second}");
        // Who has not asked for trailers gets none.
        assert!(second.ends_with("\r\n\r\n3\r\nend\r\n0\r\n\r\n"), "{second}");
    });
}

#[test]
fn a_request_taken_back_ends_the_one_connection() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", |_| Vec::new()).await;
        let world = world(&identity, server).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::get("https://a.example/").body(Full::<Bytes>::default()).unwrap();
        let response = requests.send_request(request);
        let asked = timeout(PATIENCE, async {
            while seen.borrow().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        });
        tokio::select! {
            response = response => panic!("{response:?}"),
            asked = asked => asked.expect("a request"),
        }
        // HTTP/1.1 has no other way to take it back.
        let gone = timeout(PATIENCE, async {
            while requests.ready().await.is_ok() {
                tokio::task::yield_now().await
            }
        });
        gone.await.expect("an end");
    });
}
