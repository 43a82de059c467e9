//! Content codings beside secrets: what is inside of gzip and deflate is looked into, both ways.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use hyper::{Request, Response};
use net_core::Limits;
use net_engine::Event;
use net_secrets::{BodyTypes, Places, SecretSet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream as ServerStream;

use crate::guest::Stream;
use crate::server::{Identity, one_connection};
use crate::wire::{read_responses, read_to_end, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, VALUE, World, placeholder, run, secrets_with};

fn coded(mut with: Compress, content: &[u8]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(content.len() + 1024);
    with.compress_vec(content, &mut coded, FlushCompress::Finish).unwrap();
    coded
}

fn gzip(content: &[u8]) -> Vec<u8> {
    coded(Compress::new_gzip(Compression::new(6), 15), content)
}

/// The one secret, bound to `a.example`, in bodies too if so.
fn secret(in_bodies: bool) -> SecretSet {
    let body = if in_bodies { BodyTypes::Usual } else { BodyTypes::None };
    secrets_with(VALUE, "a.example", |binding| binding.places = Places { body, ..Places::default() })
}

type Ends = (World, tokio_rustls::client::TlsStream<Stream>, ServerStream<TcpStream>);

async fn ends(secrets: SecretSet, limits: Limits) -> Ends {
    let identity = Identity::new();
    let (address, accepted) = identity.one_connection("a.example").await;
    let setup = Setup { secrets, limits, ..Setup::of_a(&identity, address) };
    let world = World::new(setup).await;
    let accepted = tokio::task::spawn_local(accepted);
    let guest = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
    (world, guest, accepted.await.unwrap())
}

fn post(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\n{head}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A request's head in lower case, and its body as it was framed.
async fn receive<S: AsyncRead + Unpin>(server: &mut S) -> (String, Vec<u8>) {
    let mut all = Vec::new();
    loop {
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..end + 2]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let body = &all[end + 4..];
            let is_whole = match length {
                Some(length) => body.len() == length.parse::<usize>().unwrap(),
                None => body.ends_with(b"0\r\n\r\n"),
            };
            if is_whole {
                return (head, body.to_vec());
            }
        }
        let count = timeout(PATIENCE, server.read_buf(&mut all)).await.expect("a request").unwrap();
        assert!(count > 0, "the connection ended at {}", String::from_utf8_lossy(&all));
    }
}

async fn say_ok(server: &mut (impl AsyncWriteExt + Unpin)) {
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    server.flush().await.unwrap();
}

#[test]
fn a_coded_body_goes_on_with_the_value_and_without_its_coding() {
    let text = format!("{} {} {}", "before ".repeat(2_000), placeholder(), "behind ".repeat(2_000));
    let expected = text.replace(placeholder().as_str(), VALUE);
    let [zlib, raw] =
        [true, false].map(|header| coded(Compress::new(Compression::new(6), header), text.as_bytes()));
    let held = Limits::default();
    let streamed = Limits { max_held_body_bytes: 16, ..Limits::default() };
    let cases = [
        ("gzip", gzip(text.as_bytes())),
        ("X-GZIP", gzip(text.as_bytes())),
        ("deflate", zlib),
        ("deflate", raw),
        ("identity, gzip", [gzip(&text.as_bytes()[..9_000]), gzip(&text.as_bytes()[9_000..])].concat()),
    ];
    for (coding, body) in cases {
        for (limits, is_held) in [(held.clone(), true), (streamed.clone(), false)] {
            run(async {
                let (_world, mut guest, mut server) = ends(secret(true), limits).await;
                let head = format!("Content-Type: text/plain\r\nContent-Encoding: {coding}\r\n");
                guest.write_all(&post(&head, &body)).await.unwrap();
                let (head, body) = receive(&mut server).await;
                assert!(!head.contains("content-encoding"), "{coding}: {head}");
                let chunked = head.contains("transfer-encoding: chunked");
                assert_eq!(chunked, !is_held, "{coding}: {head}");
                let body = String::from_utf8_lossy(&body).into_owned();
                if is_held {
                    assert!(body == expected, "{coding}");
                } else {
                    assert!(body.contains(VALUE) && !body.contains(placeholder().as_str()), "{coding}");
                }
                say_ok(&mut server).await;
                assert_eq!(statuses(&read_responses(&mut guest, 1).await), ["200"], "{coding}");
            });
        }
    }
}

#[test]
fn a_coded_body_goes_on_without_its_coding_over_http2() {
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
                    body.extend_from_slice(&chunk.unwrap());
                }
                body
            };
            let body = tokio::select! {
                body = reading => body,
                _ = connection.accept() => panic!("the connection ended"),
            };
            let response = Response::builder().header("content-encoding", "gzip").body(()).unwrap();
            let mut answer = respond.send_response(response, false).unwrap();
            answer.send_data(gzip(&body).into(), true).unwrap();
            assert!(tell.send((head, body)).is_ok());
            while connection.accept().await.is_some() {}
        });
        let setup = Setup { secrets: secret(true), ..Setup::of_a(&identity, address) };
        let world = World::new(setup).await;
        let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let content = gzip(format!("[\"{}\"]", placeholder()).as_bytes());
        let request = Request::post("https://a.example/")
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(())
            .unwrap();
        let (answer, mut sender) = requests.send_request(request, false).unwrap();
        let (first, second) = content.split_at(content.len() / 2);
        sender.send_data(Bytes::copy_from_slice(first), false).unwrap();
        sender.send_data(Bytes::copy_from_slice(second), true).unwrap();
        let response = timeout(PATIENCE, answer).await.expect("a response").unwrap();
        let (head, body) = seen.await.unwrap();
        assert!(!head.headers.contains_key("content-encoding"));
        assert_eq!(String::from_utf8_lossy(&body), format!("[\"{VALUE}\"]"));
        // The same comes back, coded.
        let (head, mut content) = response.into_parts();
        assert!(!head.headers.contains_key("content-encoding"));
        let mut echo = Vec::new();
        while let Some(chunk) = timeout(PATIENCE, content.data()).await.expect("an answer") {
            echo.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(String::from_utf8_lossy(&echo), format!("[\"{}\"]", placeholder()));
    });
}

#[test]
fn a_digest_of_what_was_coded_is_made_anew_with_or_without_a_value() {
    // Of `the-real-value-0` and of `plain`, by sha256sum.
    const SUMS: [&str; 2] = [
        "9b810482a39f3061a8fc33ade6819206064b822c6453e214abfa51d5a9ac0685",
        "a116c9ed46d6207734a43317d30fd88f52ac8634c37d904bbf4e41d865f90475",
    ];
    for (content, sum) in [placeholder().as_str(), "plain"].into_iter().zip(SUMS) {
        run(async {
            let (_world, mut guest, mut server) = ends(secret(true), Limits::default()).await;
            let head = format!(
                "Content-Type: text/plain\r\nContent-Encoding: gzip\r\nx-amz-content-sha256: {}\r\n",
                "0".repeat(64)
            );
            guest.write_all(&post(&head, &gzip(content.as_bytes()))).await.unwrap();
            let (head, _) = receive(&mut server).await;
            assert!(head.contains(sum), "{head}");
        });
    }
}

#[test]
fn a_coded_body_that_cannot_be_looked_into_does_not_leave() {
    let whole = gzip(b"content");
    let cases = [
        ("br", b"zzzz".to_vec(), "415"),
        ("gzip, gzip", gzip(&whole), "415"),
        ("gzip", whole[..whole.len() - 1].to_vec(), "400"),
        ("gzip", [&whole[..], b"x"].concat(), "400"),
        ("gzip", b"zzzz".to_vec(), "400"),
        ("gzip", gzip(&vec![0; 20 << 20]), "400"),
    ];
    let dense = cases.len() - 1;
    for (number, (coding, body, status)) in cases.iter().enumerate() {
        for in_bodies in [true, false] {
            run(async {
                let (_world, mut guest, mut server) = ends(secret(in_bodies), Limits::default()).await;
                let head = format!("Content-Type: text/plain\r\nContent-Encoding: {coding}\r\n");
                let reading = tokio::task::spawn_local(async move { read_to_end(&mut server).await });
                guest.write_all(&post(&head, body)).await.unwrap();
                let response = read_responses(&mut guest, 1).await;
                assert_eq!(statuses(&response), [*status], "case {number}, bound: {in_bodies}: {response}");
                drop(guest);
                let seen = timeout(PATIENCE, reading).await.expect("the end").unwrap();
                if number == dense && in_bodies {
                    // Too long to be held: it breaks off.
                    assert!(!seen.is_empty() && !seen.ends_with("0\r\n\r\n"), "{}", seen.len());
                } else {
                    assert_eq!(seen, "", "case {number}, bound: {in_bodies}");
                }
            });
        }
    }
}

#[test]
fn a_placeholder_inside_of_a_coding_is_found_where_it_is_not_bound() {
    let text = format!("{} {}", "x".repeat(300_000), placeholder());
    for coding in ["gzip", "deflate"] {
        for is_held in [true, false] {
            run(async {
                let body = match coding {
                    "gzip" => gzip(text.as_bytes()),
                    _ => coded(Compress::new(Compression::new(6), true), text.as_bytes()),
                };
                let max_held_body_bytes = if is_held { 1 << 20 } else { 16 };
                let limits = Limits { max_held_body_bytes, ..Limits::default() };
                let (world, mut guest, mut server) = ends(secret(false), limits).await;
                guest.write_all(&post(&format!("Content-Encoding: {coding}\r\n"), &body)).await.unwrap();
                let event = world.event().await;
                assert!(matches!(event, Event::Violation { .. }), "{event}");
                let response = read_responses(&mut guest, 1).await;
                assert_eq!(statuses(&response), ["403"], "{response}");
                let mut seen = Vec::new();
                let _ = timeout(PATIENCE, server.read_to_end(&mut seen)).await.expect("the end");
                assert!(if is_held { seen.is_empty() } else { !seen.ends_with(&body[body.len() - 8..]) });
            });
        }
    }
}

#[test]
fn a_coded_body_without_placeholders_goes_on_as_it_is() {
    let text = "some text ".repeat(20_000);
    for (coding, body) in [
        ("gzip", gzip(text.as_bytes())),
        ("aws-chunked", b"4;chunk-signature=0\r\nabcd\r\n0\r\n\r\n".to_vec()),
        ("gzip,aws-chunked", b"zzzz".to_vec()),
    ] {
        run(async {
            let (_world, mut guest, mut server) = ends(secret(false), Limits::default()).await;
            guest.write_all(&post(&format!("Content-Encoding: {coding}\r\n"), &body)).await.unwrap();
            let (head, seen) = receive(&mut server).await;
            assert!(head.contains(&format!("content-encoding: {coding}\r\n")), "{head}");
            assert!(seen == body, "{coding}");
            say_ok(&mut server).await;
            assert_eq!(statuses(&read_responses(&mut guest, 1).await), ["200"], "{coding}");
        });
    }
}

#[test]
fn an_echo_inside_of_a_coding_does_not_come_back() {
    let text = format!("{} {VALUE} {}", "before ".repeat(9_000), "behind ".repeat(9_000));
    for coding in ["gzip", "x-gzip", "deflate"] {
        run(async {
            let body = match coding {
                "deflate" => coded(Compress::new(Compression::new(6), true), text.as_bytes()),
                _ => gzip(text.as_bytes()),
            };
            let (_world, mut guest, mut server) = ends(secret(false), Limits::default()).await;
            guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            receive_head(&mut server).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            server.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            server.flush().await.unwrap();
            let response = read_responses(&mut guest, 1).await;
            let lower = response.to_ascii_lowercase();
            assert!(!lower.contains("content-encoding") && !lower.contains("content-length"), "{coding}");
            assert!(lower.contains("w/\"one\""), "{coding}");
            assert!(response.contains(placeholder().as_str()) && !response.contains(VALUE), "{coding}");
            let expected = text.replace(VALUE, placeholder().as_str());
            assert!(dechunked(&response) == expected, "{coding}");
        });
    }
}

#[test]
fn a_coded_response_that_breaks_off_is_not_made_whole() {
    run(async {
        let body = gzip("text ".repeat(10_000).as_bytes());
        let (_world, mut guest, mut server) = ends(secret(false), Limits::default()).await;
        guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        receive_head(&mut server).await;
        let cut = &body[..body.len() - 4];
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", cut.len());
        server.write_all(&[head.as_bytes(), cut].concat()).await.unwrap();
        server.flush().await.unwrap();
        let response = read_to_end(&mut guest).await;
        assert!(!response.ends_with("0\r\n\r\n"), "{}", response.len());
    });
}

async fn receive_head<S: AsyncRead + Unpin>(server: &mut S) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let count = timeout(PATIENCE, server.read_buf(&mut head)).await.expect("a request").unwrap();
        assert!(count > 0);
    }
}

/// The content of a response in chunks.
fn dechunked(response: &str) -> String {
    let mut rest = response.split_once("\r\n\r\n").unwrap().1;
    let mut content = String::new();
    while let Some((size, chunk)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        content += &chunk[..size];
        rest = &chunk[size + 2..];
    }
    content
}
