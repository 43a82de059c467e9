//! What a stopped guest and a dropped engine leave behind: nothing.
//!
//! One test in a process of its own, for it counts the process's threads and descriptors.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot be set up fails")]

#[allow(dead_code, reason = "the demo needs more of its guest than this test does")]
#[path = "../examples/demo/guest.rs"]
mod guest;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "shell/quic_client.rs"]
mod quic_client;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "shell/server.rs"]
mod server;
#[allow(dead_code, reason = "the demo needs more of its servers than this test does")]
#[path = "../examples/demo/upstream.rs"]
mod upstream;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "shell/world.rs"]
mod world;

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

use crate::server::{http_recorder, one_connection, silent_port};
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, World, run};

#[derive(Debug, PartialEq, Eq)]
struct Held {
    threads: usize,
    descriptors: Vec<String>,
}

/// Threads, and what the descriptors are; the test's own are there before and after.
fn held() -> Held {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    let mut descriptors: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.display().to_string())
        // The directory that is being read.
        .filter(|target| !target.starts_with("/proc/"))
        .collect();
    descriptors.sort();
    Held { threads, descriptors }
}

#[test]
fn nothing_is_left_of_a_guest_that_was_stopped_in_the_middle_of_everything() {
    // tokio keeps a pair of sockets for signals from the first runtime to the end of the process.
    run(async {});
    let at_start = held();
    run(stop_in_the_middle_of_everything());
    assert_eq!(held(), at_start);
}

async fn stop_in_the_middle_of_everything() {
    let (plain, accept_plain) = one_connection().await;
    let questions = UdpSocket::bind(plain).await.unwrap();
    let (recorder, _) = http_recorder().await;
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (silent, _backlog, _listener) = silent_port().await;
    let redirects = vec![
        ((HOST_A.1, 7), plain),
        ((HOST_A.1, 80), recorder),
        ((HOST_B.1, 80), mute.local_addr().unwrap()),
        ((HOST_B.1, 9), silent),
    ];
    let allow = &["9.9.9.1:7", "9.9.9.2:9", "a.example:80", "b.example:80"];
    let threads_before = held().threads;
    let world = World::new(Setup { allow, redirects, with_secret: true, ..Setup::default() }).await;
    let quiet = held();
    world.resolve("a.example").await;
    world.resolve("b.example").await;
    let World { handle, guest, engine, .. } = world;

    // A relay with bytes on the way.
    let mut relay = guest.connect((HOST_A.1, 7).into()).await.unwrap();
    let mut plain = timeout(PATIENCE, accept_plain).await.expect("a connection");
    relay.write_all(&[1; 30_000]).await.unwrap();
    // A first flight that never comes, an HTTP stream between requests, a response that never comes.
    let unheard = guest.connect((HOST_A.1, 80).into()).await.unwrap();
    let mut idle = guest.connect((HOST_A.1, 80).into()).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let mut waiting = guest.connect((HOST_B.1, 80).into()).await.unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").await.unwrap();
    let accepted = timeout(PATIENCE, mute.accept()).await.expect("a connection").unwrap();
    // A port of UDP that has been answered, and a hello of QUIC that is not whole.
    let datagrams = guest.datagrams();
    datagrams.send((HOST_A.1, 7).into(), b"question");
    let mut question = [0; 8];
    let (length, from) =
        timeout(PATIENCE, questions.recv_from(&mut question)).await.expect("a datagram").unwrap();
    questions.send_to(&question[..length], from).await.unwrap();
    timeout(PATIENCE, datagrams.receive()).await.expect("an answer");
    datagrams.send((HOST_A.1, 80).into(), &quic_client::flight(&[1; 8], "a.example")[0]);
    // A dial without an answer.
    let dialling = tokio::task::spawn_local({
        let guest = guest.clone();
        async move { guest.connect((HOST_B.1, 9).into()).await.map(drop) }
    });
    while handle.counters().await.unwrap().syns_held == 0 {
        tokio::task::yield_now().await;
    }
    let counters = handle.counters().await.unwrap();
    assert_eq!((counters.flows_open, counters.syns_held), (4, 1));
    assert_eq!((counters.udp.mappings, counters.udp.peers), (1, 1));

    timeout(PATIENCE, handle.stop()).await.expect("a guest that stops");
    // Upstream hears of it, and so does the guest.
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, plain.read_to_end(&mut rest)).await.expect("the end");
    assert!(ended.is_err() || rest.len() <= 30_000);
    let read = timeout(PATIENCE, relay.read(&mut [0; 1])).await.expect("the end");
    assert!(read.is_err(), "the guest saw {read:?}");

    // Of what is there beyond the quiet guest's, the test's own connections are the only ones, and
    // they end by themselves: their peers are gone.
    dialling.abort();
    drop((datagrams, questions, plain, accepted, relay, unheard, idle, waiting));
    let settled = timeout(PATIENCE, async {
        while held().descriptors.iter().any(|own| !quiet.descriptors.contains(own)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(settled.await.is_ok(), "{:#?} beyond {quiet:#?}", held());
    drop(engine);
    assert_eq!(held().threads, threads_before);
}
