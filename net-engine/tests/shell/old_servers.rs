//! Servers that speak HTTP/1.0, and know no chunks.

use std::net::Ipv4Addr;

use net_core::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::Seen;
use crate::wire::read_to_end;
use crate::world::{HOST_A, Setup, World, run};

/// Answers one request a connection, once its end was seen: by HTTP/1.1 where `/new` is asked for.
async fn server() -> (std::net::SocketAddr, Seen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let all = Seen::clone(&seen);
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !is_whole(&String::from_utf8_lossy(&request)) {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let version = if request.starts_with(b"GET /new") { "1.1" } else { "1.0" };
            all.borrow_mut().push(String::from_utf8_lossy(&request).into_owned());
            let answer = format!("HTTP/{version} 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, seen)
}

/// All bodies here end in the same word.
fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    match head.to_ascii_lowercase() {
        head if head.starts_with("get") => true,
        head if head.contains("chunked") => body.ends_with("\r\n0\r\n\r\n"),
        _ => body.ends_with("end"),
    }
}

async fn ask(world: &World, request: &str) -> String {
    let mut stream = world.connect(HOST_A, 80).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    answer.split_once("\r\n").unwrap().0.to_owned()
}

/// One chunk.
fn chunked(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_body_of_unknown_length_goes_whole_to_a_server_that_knows_no_chunks_or_not_at_all() {
    // Whether bodies are searched.
    for with_secret in [false, true] {
        run(async {
            let (address, seen) = server().await;
            let world = World::new(Setup {
                allow: &["a.example"],
                redirects: vec![((HOST_A.1, 80), address)],
                with_secret,
                limits: Limits { max_held_body_bytes: 16, ..Limits::default() },
                ..Setup::default()
            })
            .await;
            let last = || seen.borrow().last().cloned().unwrap_or_default().to_ascii_lowercase();

            // Nobody knows yet.
            assert_eq!(ask(&world, &chunked("to whom? end")).await, "HTTP/1.1 200 OK");
            assert!(last().contains("\r\ntransfer-encoding: chunked\r\n"), "{}", last());

            assert_eq!(ask(&world, &chunked("a body, its end")).await, "HTTP/1.1 200 OK");
            assert!(last().contains("\r\ncontent-length: 15\r\n"), "{}", last());
            assert!(!last().contains("transfer-encoding"), "{}", last());
            assert!(last().ends_with("\r\n\r\na body, its end"), "{}", last());

            let count = seen.borrow().len();
            assert_eq!(
                ask(&world, &chunked("too long to be held to its end")).await,
                "HTTP/1.1 411 Length Required"
            );
            assert_eq!(seen.borrow().len(), count, "nothing of it has left");

            // It was renewed meanwhile.
            assert_eq!(ask(&world, &get("/new")).await, "HTTP/1.1 200 OK");
            assert_eq!(ask(&world, &chunked("too long to be held to its end")).await, "HTTP/1.1 200 OK");
            assert!(last().contains("\r\ntransfer-encoding: chunked\r\n"), "{}", last());
        });
    }
}
