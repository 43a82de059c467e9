//! Streams that are only carried: who is noticed when it goes, and what a verdict by name demands
//! of a stream on a port that says nothing of its protocol.

use std::sync::Arc;
use std::time::Duration;

use net_core::Limits;
use net_engine::{Event, InterceptError};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::server::one_connection;
use crate::world::{HOST_A, PATIENCE, Setup, World, run};

#[test]
fn a_guest_that_resets_is_noticed_while_upstream_takes_nothing() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let world = World::new(Setup { allow: &["9.9.9.1:7"], redirects, ..Setup::default() }).await;
        let mut stream = world.connect_to(HOST_A.1, 7).await;
        let _server = accepted.await;
        let chunk = vec![7; 64 << 10];
        while timeout(Duration::from_millis(300), stream.write_all(&chunk)).await.is_ok() {}
        assert_eq!(world.handle.counters().await.unwrap().flows_open, 1);
        stream.abort();
        let gone = timeout(PATIENCE, async {
            while world.handle.counters().await.unwrap().flows_open > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        });
        gone.await.expect("the flow ends with its guest");
    });
}

/// The ClientHello of a client that wants `name`.
pub(crate) fn hello(name: &'static str) -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Sends `first` on a port that nobody looks into, allowed by name; what the server saw of it, and
/// what was said about it.
async fn first_flight_by_name(first: &[u8]) -> (Vec<u8>, Option<Event>) {
    let (address, accepted) = one_connection().await;
    let redirects = vec![((HOST_A.1, 7777), address)];
    let world = World::new(Setup { allow: &["a.example"], redirects, ..Setup::default() }).await;
    let mut stream = world.connect(HOST_A, 7777).await;
    let mut server = accepted.await;
    stream.write_all(first).await.unwrap();
    let mut seen = vec![0; first.len()];
    let arrived = async {
        // A stream that is ended instead shows as its end here.
        let read = server.read_exact(&mut seen).await.unwrap_or(0);
        seen[..read].to_vec()
    };
    let seen = timeout(PATIENCE, arrived).await.expect("bytes, or an end");
    let event = if seen.is_empty() { Some(world.event().await) } else { None };
    (seen, event)
}

#[test]
fn a_stream_allowed_by_name_does_not_name_another() {
    run(async {
        let own = hello("a.example");
        assert_eq!(first_flight_by_name(&own).await.0, own);
        let (seen, event) = first_flight_by_name(&hello("b.example")).await;
        assert!(seen.is_empty());
        assert!(matches!(event, Some(Event::Denied { .. })), "{event:?}");
    });
    run(async {
        let (seen, event) = first_flight_by_name(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").await;
        assert!(seen.is_empty());
        assert!(matches!(event, Some(Event::Denied { .. })), "{event:?}");
        let (seen, _) = first_flight_by_name(b"*1\r\n$4\r\nPING\r\n").await;
        assert_eq!(seen, b"*1\r\n$4\r\nPING\r\n");
    });
}

#[test]
fn a_port_of_any_protocol_may_be_quiet_but_a_hello_may_not_stop_halfway() {
    run(async {
        let limits = Limits { hello_timeout: Duration::from_millis(100), ..Limits::default() };
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 7777), address)];
        let setup = Setup { allow: &["a.example"], redirects, limits, ..Setup::default() };
        let world = World::new(setup).await;
        let mut stream = world.connect(HOST_A, 7777).await;
        let mut server = accepted.await;
        sleep(Duration::from_millis(500)).await;
        stream.write_all(b"?ping").await.unwrap();
        let mut seen = [0; 5];
        timeout(PATIENCE, server.read_exact(&mut seen)).await.expect("bytes").unwrap();
        assert_eq!(&seen, b"?ping");
        drop((stream, server));
    });
    run(async {
        let limits = Limits { hello_timeout: Duration::from_millis(100), ..Limits::default() };
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 7777), address)];
        let setup = Setup { allow: &["a.example"], redirects, limits, ..Setup::default() };
        let world = World::new(setup).await;
        let mut stream = world.connect(HOST_A, 7777).await;
        let _server = accepted.await;
        stream.write_all(&hello("a.example")[..40]).await.unwrap();
        let event = world.event().await;
        let is_named = matches!(event, Event::InterceptFailed { error: InterceptError::HelloTimeout, .. });
        assert!(is_named, "{event}");
    });
}
