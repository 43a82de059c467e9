//! How many flows a guest may begin, and how many may lead to one destination.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use net_core::Limits;
use net_engine::Event;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::guest::Stream;
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, World, run};

/// A guest whose ports of both hosts lead to one listener, which is returned to be kept.
async fn world(ports: impl Iterator<Item = u16>, limits: Limits) -> (World, TcpListener) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = listener.local_addr().unwrap();
    let redirects = ports.flat_map(|port| [((HOST_A.1, port), to), ((HOST_B.1, port), to)]).collect();
    (World::new(Setup { allow: &["public"], redirects, limits, ..Setup::default() }).await, listener)
}

async fn connect(world: &World, address: Ipv4Addr, port: u16) -> Result<Stream, ErrorKind> {
    let connected = world.guest.connect(SocketAddr::new(IpAddr::V4(address), port)).await;
    connected.map_err(|error| error.kind())
}

#[test]
fn a_scan_of_ports_reaches_as_many_as_may_begin() {
    const PORTS: u16 = 40;
    run(async {
        let limits = Limits { new_flows_per_second: 1, new_flow_burst: 5, ..Limits::default() };
        let (world, _listener) = world(1_000..1_000 + PORTS, limits).await;
        let began = Instant::now();
        let mut open = Vec::new();
        for port in 1_000..1_000 + PORTS {
            match connect(&world, HOST_A.1, port).await {
                Ok(stream) => open.push(stream),
                Err(error) => assert_eq!(error, ErrorKind::ConnectionRefused, "{port}"),
            }
        }
        let most = 5 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
        assert!((5..=most).contains(&open.len()), "{} of {PORTS} ports", open.len());
        let counted = world.handle.counters().await.unwrap();
        assert_eq!(counted.flows_over_rate, u64::from(PORTS) - u64::try_from(open.len()).unwrap());
        assert_eq!((counted.flows_over_destination, counted.flows_refused), (0, counted.flows_over_rate));
        let event = world.event().await;
        assert!(matches!(event, Event::LimitReached { limit: "new_flows_per_second" }), "{event}");
        // A second later the next one may begin.
        sleep(Duration::from_millis(1_100)).await;
        assert!(connect(&world, HOST_A.1, 1_000).await.is_ok());
    });
}

#[test]
fn one_destination_has_so_many_flows_and_others_theirs() {
    run(async {
        let limits = Limits { max_flows_per_destination: 2, ..Limits::default() };
        let (world, _listener) = world([7, 8].into_iter(), limits).await;
        let mut open = Vec::new();
        for (address, port) in [(HOST_A.1, 7), (HOST_A.1, 7), (HOST_A.1, 8), (HOST_B.1, 7)] {
            open.push(connect(&world, address, port).await.unwrap());
        }
        assert_eq!(connect(&world, HOST_A.1, 7).await.err(), Some(ErrorKind::ConnectionRefused));
        let event = world.event().await;
        assert!(matches!(event, Event::LimitReached { limit: "max_flows_per_destination" }), "{event}");
        let counted = world.handle.counters().await.unwrap();
        assert_eq!((counted.flows_over_destination, counted.flows_over_rate), (1, 0));
        // One that ends makes room.
        open.remove(0).abort();
        let room = timeout(PATIENCE, async {
            while connect(&world, HOST_A.1, 7).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        });
        room.await.expect("there is room again");
    });
}
