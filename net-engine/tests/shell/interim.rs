//! Interim responses: 100, 102 and 103.

use std::future::poll_fn;
use std::net::SocketAddr;

use h2::client::ResponseFuture;
use hyper::body::Bytes;
use hyper::{Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::http2_ends::{data, http2_guest, http2_server, setup};
use crate::server::{Identity, asked, first_over_tls, one_connection};
use crate::wire::{read_responses, read_until, statuses};
use crate::world::{HOST_A, PATIENCE, VALUE, World, placeholder, run};

/// The next interim response; `None` where that comes, or the end.
async fn interim(response: &mut ResponseFuture) -> Option<Response<()>> {
    let next = timeout(PATIENCE, poll_fn(|task| response.poll_informational(task)));
    next.await.expect("an answer").map(Result::unwrap)
}

/// Sends these over HTTP/2, then waits for a word to answer.
async fn hints_of_http2(
    identity: &Identity,
    heads: Vec<Response<()>>,
) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let once = std::cell::RefCell::new(Some((heads, told)));
    let server = http2_server(identity, move |_, mut respond| {
        let (heads, told) = once.borrow_mut().take().expect("one request");
        async move {
            for head in heads {
                respond.send_informational(head).unwrap();
            }
            told.await.unwrap();
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"ok"), true).unwrap();
        }
    })
    .await;
    (server, tell)
}

/// The same over HTTP/1.1.
async fn hints_of_http1(
    identity: &Identity,
    heads: Vec<Response<()>>,
) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor("a.example", "http/1.1");
    tokio::task::spawn_local(async move {
        let stream = first_over_tls(&listener, &acceptor).await;
        let (mut server, _) = asked(async { stream }).await;
        for head in heads {
            let mut text = format!("HTTP/1.1 {} So Far\r\n", head.status().as_u16());
            for (name, value) in head.headers() {
                text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
            }
            server.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
        }
        told.await.unwrap();
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        std::future::pending::<()>().await;
    });
    (address, tell)
}

fn head(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut head = Response::builder().status(status);
    for (name, value) in fields {
        head = head.header(*name, *value);
    }
    head.body(()).unwrap()
}

#[test]
fn hints_reach_a_guest_of_http2_before_the_answer_and_tell_no_value() {
    for upstream_is_http2 in [true, false] {
        run(async {
            let identity = Identity::new();
            let told = format!("</{VALUE}>; rel=preload");
            let heads = vec![
                head(102, &[]),
                head(103, &[("link", &told), ("link", "</b>"), (VALUE, "1")]),
                head(103, &[("link", "</c>")]),
            ];
            let (server, tell) = if upstream_is_http2 {
                hints_of_http2(&identity, heads).await
            } else {
                hints_of_http1(&identity, heads).await
            };
            let world = World::new(setup(&identity, server, true)).await;
            let mut requests = http2_guest(&world).await;
            let request = Request::get("https://a.example/").body(()).unwrap();
            let (mut response, _) = requests.send_request(request, true).unwrap();
            let processing = interim(&mut response).await.expect("a first");
            assert_eq!(processing.status(), 102);
            let hints = interim(&mut response).await.expect("a second");
            assert_eq!(hints.status(), 103);
            let links: Vec<_> = hints.headers().get_all("link").iter().collect();
            assert_eq!(links, [&*format!("</{}>; rel=preload", placeholder()), "</b>"]);
            assert!(!hints.headers().contains_key(VALUE), "{hints:?}");
            let more = interim(&mut response).await.expect("a third");
            assert_eq!(more.headers()["link"], "</c>");
            // The answer has not been given yet.
            tell.send(()).unwrap();
            assert!(interim(&mut response).await.is_none());
            let response = timeout(PATIENCE, response).await.expect("an answer").unwrap();
            assert_eq!(response.status(), 200);
            assert!(!response.headers().contains_key("link"));
            assert_eq!(data(&mut response.into_body()).await.unwrap(), "ok");
        });
    }
}

#[test]
fn hints_without_end_are_a_few() {
    for upstream_is_http2 in [true, false] {
        run(async {
            let identity = Identity::new();
            let heads = (0..200).map(|_| head(103, &[("link", "</x>")])).collect();
            let (server, tell) = if upstream_is_http2 {
                hints_of_http2(&identity, heads).await
            } else {
                hints_of_http1(&identity, heads).await
            };
            let world = World::new(setup(&identity, server, false)).await;
            let mut requests = http2_guest(&world).await;
            let request = Request::get("https://a.example/").body(()).unwrap();
            let (mut response, _) = requests.send_request(request, true).unwrap();
            tell.send(()).unwrap();
            let mut count = 0;
            while interim(&mut response).await.is_some() {
                count += 1;
            }
            let most = net_core::Limits::default().max_interim_responses;
            assert!((1..=most).contains(&count), "{count} of at most {most}");
            assert_eq!(timeout(PATIENCE, response).await.expect("an answer").unwrap().status(), 200);
        });
    }
}

#[test]
fn a_guest_of_http1_is_told_nothing_before_the_answer() {
    // hyper writes none but 100.
    run(async {
        let (address, accepted) = one_connection().await;
        let world = World::new(setup(&Identity::new(), address, false)).await;
        let mut stream = world.connect(HOST_A, 80).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        let (mut server, _) = asked(accepted).await;
        for status in ["100 Continue", "102 Processing", "103 Early Hints"] {
            let hints = format!("HTTP/1.1 {status}\r\nLink: </x>\r\n\r\n");
            server.write_all(hints.as_bytes()).await.unwrap();
        }
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        let response = read_responses(&mut stream, 1).await;
        assert_eq!(statuses(&response), ["200"], "{response}");
        assert!(!response.contains("</x>"), "{response}");
    });
    run(async {
        let identity = Identity::new();
        let (server, tell) = hints_of_http2(&identity, vec![head(103, &[("link", "</x>")])]).await;
        tell.send(()).unwrap();
        let world = World::new(setup(&identity, server, false)).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        let response = read_responses(&mut stream, 1).await;
        assert_eq!(statuses(&response), ["200"], "{response}");
        assert!(!response.contains("</x>"), "{response}");
    });
}

#[test]
fn a_guest_that_waits_with_its_body_is_told_to_go_on_by_whoever_wants_it() {
    // With secrets the body is held before the request goes on.
    for with_secret in [false, true] {
        run(async {
            let identity = Identity::new();
            let server = http2_server(&identity, |request, mut respond| async move {
                assert!(!request.headers().contains_key("expect"));
                let mut body = request.into_body();
                let mut echo = respond.send_response(Response::new(()), false).unwrap();
                let data = data(&mut body).await.unwrap_or_default();
                echo.send_data(data, true).unwrap();
            })
            .await;
            let world = World::new(setup(&identity, server, with_secret)).await;
            let mut requests = http2_guest(&world).await;
            let request = Request::post("https://a.example/").header("expect", "100-Continue");
            let request = request.header("content-length", "4").body(()).unwrap();
            let (mut response, mut body) = requests.send_request(request, false).unwrap();
            assert_eq!(interim(&mut response).await.expect("a word").status(), 100);
            body.send_data(Bytes::from_static(b"body"), true).unwrap();
            assert!(interim(&mut response).await.is_none(), "one is enough");
            let response = timeout(PATIENCE, response).await.expect("an answer").unwrap();
            assert_eq!(data(&mut response.into_body()).await.unwrap(), "body");
            // One that does not wait is told nothing.
            let request = Request::post("https://a.example/").body(()).unwrap();
            let mut requests = requests.ready().await.unwrap();
            let (mut response, mut body) = requests.send_request(request, false).unwrap();
            // Requests of one connection are looked at in their order: once another one is answered, it was.
            let other = Request::get("https://a.example/").body(()).unwrap();
            let (other, _) = requests.send_request(other, true).unwrap();
            assert_eq!(timeout(PATIENCE, other).await.expect("an answer").unwrap().status(), 200);
            body.send_data(Bytes::from_static(b"more"), true).unwrap();
            assert!(interim(&mut response).await.is_none());
            assert_eq!(timeout(PATIENCE, response).await.expect("an answer").unwrap().status(), 200);
        });
    }
}

#[test]
fn an_upstream_that_refuses_a_body_is_heard_without_it() {
    run(async {
        let identity = Identity::new();
        let server = http2_server(&identity, |_, mut respond| async move {
            let refused = Response::builder().status(401).body(()).unwrap();
            respond.send_response(refused, true).unwrap();
        })
        .await;
        let world = World::new(setup(&identity, server, false)).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::post("https://a.example/").header("expect", "100-continue");
        let request = request.header("content-length", "4").body(()).unwrap();
        let (response, _body) = requests.send_request(request, false).unwrap();
        assert_eq!(timeout(PATIENCE, response).await.expect("an answer").unwrap().status(), 401);
    });
    run(async {
        let (address, accepted) = one_connection().await;
        let world = World::new(setup(&Identity::new(), address, false)).await;
        let mut stream = world.connect(HOST_A, 80).await;
        let head =
            "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut server, request) = asked(accepted).await;
        assert!(!request.to_ascii_lowercase().contains("expect"), "{request}");
        server.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let response = read_until(&mut stream, "413").await;
        assert!(["100", "413"].contains(&statuses(&response)[0]), "{response}");
    });
}
