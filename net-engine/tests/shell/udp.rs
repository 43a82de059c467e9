//! Datagrams: who sends them, who may answer, and what the guest is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use net_core::Limits;
use net_engine::Event;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use crate::guest::Datagrams;
use crate::upstream::closed_port;
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, World, placeholder, policy, run};

const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const PROHIBITED: (u8, u8) = (3, 13);

fn at(host: (&str, Ipv4Addr), port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(host.1), port)
}

async fn server() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn heard(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (length, from) =
        timeout(PATIENCE, server.recv_from(&mut buffer)).await.expect("a datagram arrives").unwrap();
    (buffer[..length].to_vec(), from)
}

async fn answered(guest: &Datagrams) -> (Vec<u8>, SocketAddr) {
    timeout(PATIENCE, guest.receive()).await.expect("an answer")
}

async fn told(guest: &Datagrams) -> (u8, u8) {
    timeout(PATIENCE, guest.error()).await.expect("an error")
}

#[test]
fn a_port_of_the_guest_is_one_port_of_the_host_and_hears_only_whom_it_has_sent_to() {
    run(async {
        let ((first, to_first), (second, to_second)) = (server().await, server().await);
        let (stranger, _) = server().await;
        let redirects = vec![((HOST_A.1, 7), to_first), ((HOST_B.1, 7), to_second)];
        let world = World::new(Setup { allow: &["public:7"], redirects, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        guest.send(at(HOST_A, 7), b"to a");
        let (bytes, mapped) = heard(&first).await;
        assert_eq!(bytes, b"to a");
        // The second server knows the port, and is not heard before the guest has sent to it.
        second.send_to(b"too early", mapped).await.unwrap();
        stranger.send_to(b"from a stranger", mapped).await.unwrap();
        first.send_to(b"from a", mapped).await.unwrap();
        assert_eq!(answered(&guest).await, (b"from a".to_vec(), at(HOST_A, 7)));
        guest.send(at(HOST_B, 7), b"to b");
        assert_eq!(heard(&second).await, (b"to b".to_vec(), mapped));
        second.send_to(b"from b", mapped).await.unwrap();
        assert_eq!(answered(&guest).await, (b"from b".to_vec(), at(HOST_B, 7)));
        // Another port of the guest has another one of the host.
        let other = world.guest.datagrams();
        other.send(at(HOST_A, 7), b"again");
        let (bytes, other_mapped) = heard(&first).await;
        assert_eq!(bytes, b"again");
        assert_ne!(other_mapped, mapped);
        let counted = world.handle.counters().await.unwrap().udp;
        assert_eq!((counted.mappings, counted.peers), (2, 3));
        assert_eq!((counted.sent, counted.received, counted.filtered, counted.lost), (3, 2, 2, 0));
    });
}

#[test]
fn a_burst_arrives_as_it_was_sent() {
    run(async {
        let ((first, to_first), (second, to_second)) = (server().await, server().await);
        let redirects = vec![((HOST_A.1, 7), to_first), ((HOST_B.1, 7), to_second)];
        let world = World::new(Setup { allow: &["public:7"], redirects, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        let bytes = |nth: u8| vec![nth; if nth % 10 == 9 { 80 } else { 100 }];
        // As many as the guest has room for: twice to the first, then once to the second.
        for burst in 0..10 {
            let of_burst = || burst * 6..burst * 6 + 6;
            for nth in of_burst() {
                guest.send(at(if nth % 3 == 2 { HOST_B } else { HOST_A }, 7), &bytes(nth));
            }
            for nth in of_burst() {
                let server = if nth % 3 == 2 { &second } else { &first };
                assert_eq!(heard(server).await.0, bytes(nth));
            }
        }
        let counted = world.handle.counters().await.unwrap().udp;
        assert_eq!((counted.sent, counted.lost), (60, 0));
    });
}

#[test]
fn the_gateway_s_address_is_the_host_s_loopback() {
    run(async {
        let world = World::new(Setup { allow: &["host"], ..Setup::default() }).await;
        let addresses = *world.handle.addresses();
        let gateways: [IpAddr; 2] =
            [addresses.ipv4.unwrap().gateway.into(), addresses.ipv6.unwrap().gateway.into()];
        for (loopback, gateway) in
            [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].into_iter().zip(gateways)
        {
            let server = UdpSocket::bind((loopback, 0)).await.unwrap();
            let target = SocketAddr::new(gateway, server.local_addr().unwrap().port());
            let guest = world.guest.datagrams();
            for round in 0..3u8 {
                guest.send(target, &[round; 1200]);
                let (bytes, from) = heard(&server).await;
                server.send_to(&bytes, from).await.unwrap();
                assert_eq!(answered(&guest).await, (vec![round; 1200], target));
            }
        }
    });
}

#[test]
fn a_port_where_nobody_listens_is_told_to_be_so() {
    run(async {
        let (server, open) = server().await;
        let redirects = vec![((HOST_A.1, 7), closed_port().await.unwrap()), ((HOST_B.1, 7), open)];
        let world = World::new(Setup { allow: &["public"], redirects, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        for _ in 0..2 {
            guest.send(at(HOST_A, 7), b"anybody?");
            assert_eq!(told(&guest).await, PORT_UNREACHABLE);
            // The error of one destination is none of another's.
            guest.send(at(HOST_B, 7), b"hello");
            assert_eq!(heard(&server).await.0, b"hello");
        }
    });
}

#[test]
fn what_no_rule_allows_is_prohibited_and_other_name_services_are_closed() {
    run(async {
        let world = World::new(Setup { allow: &["9.9.9.1"], ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        guest.send(at(HOST_B, 7), b"x");
        assert_eq!(told(&guest).await, PROHIBITED);
        let event = world.event().await;
        assert!(event.to_string().starts_with("denied udp 9.9.9.2:7: default"), "{event}");
        for port in [137, 853, 5353, 5355] {
            guest.send(at(HOST_A, port), b"x");
            assert_eq!(told(&guest).await, PORT_UNREACHABLE, "{port}");
            let event = world.event().await;
            assert!(matches!(event, Event::Denied { .. }), "{event}");
        }
        let counted = world.handle.counters().await.unwrap().udp;
        assert_eq!((counted.mappings, counted.sent), (0, 0));
    });
}

#[test]
fn a_new_policy_ends_what_it_does_not_allow_and_nothing_else() {
    run(async {
        let ((first, to_first), (second, to_second)) = (server().await, server().await);
        let redirects = vec![((HOST_A.1, 7), to_first), ((HOST_B.1, 7), to_second)];
        let world = World::new(Setup { allow: &["public"], redirects, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        guest.send(at(HOST_A, 7), b"x");
        let (_, mapped) = heard(&first).await;
        guest.send(at(HOST_B, 7), b"x");
        heard(&second).await;
        world.handle.swap_policy(policy(&["9.9.9.2"])).await.unwrap();
        let event = world.event().await;
        assert!(event.to_string().starts_with("denied udp 9.9.9.1:7"), "{event}");
        first.send_to(b"late", mapped).await.unwrap();
        second.send_to(b"in time", mapped).await.unwrap();
        assert_eq!(answered(&guest).await, (b"in time".to_vec(), at(HOST_B, 7)));
        assert_eq!(world.handle.counters().await.unwrap().udp.filtered, 1);
        guest.send(at(HOST_A, 7), b"x");
        assert_eq!(told(&guest).await, PROHIBITED);
        guest.send(at(HOST_B, 7), b"still");
        assert_eq!(heard(&second).await, (b"still".to_vec(), mapped));
    });
}

#[test]
fn a_name_opens_what_is_pinned_to_it_and_nothing_else() {
    run(async {
        let (server, address) = server().await;
        let redirects = vec![((HOST_A.1, 123), address)];
        let world = World::new(Setup { allow: &["a.example:123"], redirects, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        guest.send(at(HOST_A, 123), b"x");
        assert_eq!(told(&guest).await, PROHIBITED);
        world.resolve(HOST_A.0).await;
        guest.send(at(HOST_A, 123), b"what time is it?");
        assert_eq!(heard(&server).await.0, b"what time is it?");
        guest.send(at(HOST_B, 123), b"x");
        assert_eq!(told(&guest).await, PROHIBITED);
    });
}

#[test]
fn nothing_of_a_datagram_with_a_placeholder_leaves() {
    run(async {
        let (server, address) = server().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let setup = Setup { allow: &["public"], redirects, with_secret: true, ..Setup::default() };
        let world = World::new(setup).await;
        let guest = world.guest.datagrams();
        for round in 0..2 {
            guest.send(at(HOST_A, 7), format!("before {} behind", placeholder()).as_bytes());
            assert_eq!(told(&guest).await, PROHIBITED);
            let event = world.event().await;
            assert!(matches!(event, Event::Violation { .. }), "{event}");
            guest.send(at(HOST_A, 7), b"nothing of the kind");
            assert_eq!(heard(&server).await.0, b"nothing of the kind", "round {round}");
        }
    });
}

#[test]
fn nothing_of_a_datagram_with_a_placeholder_leaves_among_others() {
    run(async {
        let (server, address) = server().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let setup = Setup { allow: &["public"], redirects, with_secret: true, ..Setup::default() };
        let world = World::new(setup).await;
        let guest = world.guest.datagrams();
        // Opened before, so that those of a burst wait for each other.
        for _ in 0..2 {
            guest.send(at(HOST_A, 7), b"first");
            assert_eq!(heard(&server).await.0, b"first");
        }
        let placeholder = format!("before {} behind", placeholder());
        // Those behind a longer one wait with it, but for what they hold.
        let long = "2".repeat(placeholder.len() + 1);
        let burst = ["one", &long, &placeholder, "three"];
        for payload in burst {
            guest.send(at(HOST_A, 7), payload.as_bytes());
        }
        assert_eq!(told(&guest).await, PROHIBITED);
        let event = world.event().await;
        assert!(matches!(event, Event::Violation { .. }), "{event}");
        for payload in [burst[0], burst[1], burst[3]] {
            assert_eq!(heard(&server).await.0, payload.as_bytes());
        }
    });
}

#[test]
fn what_does_not_leave_with_others_is_told_of_each() {
    run(async {
        // It takes nothing from a socket that did not ask for broadcasts.
        let redirects = vec![((HOST_A.1, 7), SocketAddr::from((Ipv4Addr::BROADCAST, 7)))];
        let world = World::new(Setup { allow: &["public"], redirects, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        for _ in 0..4 {
            guest.send(at(HOST_A, 7), b"one of a burst");
        }
        for _ in 0..4 {
            assert_eq!(told(&guest).await, PROHIBITED);
        }
        assert_eq!(world.handle.counters().await.unwrap().udp.sent, 0);
    });
}

#[test]
fn a_flood_from_new_ports_is_dropped_and_a_port_that_sends_already_goes_on() {
    run(async {
        let (server, address) = server().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let limits = Limits { new_udp_flows_per_second: 1, new_udp_flow_burst: 3, ..Limits::default() };
        let world = World::new(Setup { allow: &["public"], redirects, limits, ..Setup::default() }).await;
        let began = Instant::now();
        let first = world.guest.datagrams();
        first.send(at(HOST_A, 7), b"first");
        let (payload, _) = heard(&server).await;
        assert_eq!(payload, b"first");
        let others = [(); 40].map(|()| world.guest.datagrams());
        for other in &others {
            other.send(at(HOST_A, 7), b"flood");
        }
        let counted = timeout(PATIENCE, async {
            loop {
                let counted = world.handle.counters().await.unwrap().udp;
                if counted.sent + counted.lost == 41 {
                    return counted;
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        let counted = counted.await.expect("each was sent or lost");
        let most = 3 + began.elapsed().as_secs() + 1;
        assert!((3..=most).contains(&counted.sent), "{} flows began", counted.sent);
        first.send(at(HOST_A, 7), b"last");
        while heard(&server).await.0 != b"last" {}
        let event = world.event().await;
        assert!(matches!(event, Event::LimitReached { limit: "new_udp_flows_per_second" }), "{event}");
    });
}

#[test]
fn ports_and_destinations_are_bounded_and_the_one_not_used_for_longest_yields() {
    run(async {
        let (server, address) = server().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let limits = Limits { max_udp_mappings: 2, ..Limits::default() };
        let world = World::new(Setup { allow: &["public"], redirects, limits, ..Setup::default() }).await;
        let guests = [(); 3].map(|()| world.guest.datagrams());
        let mut mapped = Vec::new();
        for guest in &guests {
            guest.send(at(HOST_A, 7), b"x");
            mapped.push(heard(&server).await.1);
        }
        let event = world.event().await;
        assert!(matches!(event, Event::LimitReached { limit: "max_udp_mappings" }), "{event}");
        assert_eq!(world.handle.counters().await.unwrap().udp.mappings, 2);
        for (guest, mapped) in guests.iter().zip(&mapped).skip(1) {
            server.send_to(b"y", mapped).await.unwrap();
            assert_eq!(answered(guest).await, (b"y".to_vec(), at(HOST_A, 7)));
        }
    });
}

#[test]
fn a_quiet_destination_is_forgotten() {
    run(async {
        let (server, address) = server().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let limits = Limits {
            udp_idle_timeout: Duration::from_millis(300),
            udp_exchange_timeout: Duration::from_millis(300),
            ..Limits::default()
        };
        let world = World::new(Setup { allow: &["public"], redirects, limits, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        guest.send(at(HOST_A, 7), b"x");
        heard(&server).await;
        let gone = async {
            while world.handle.counters().await.unwrap().udp.mappings > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("the mapping goes by itself");
    });
}

#[test]
fn a_burst_passes_in_order_in_both_directions() {
    run(async {
        let (server, address) = server().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let world = World::new(Setup { allow: &["public"], redirects, ..Setup::default() }).await;
        let guest = world.guest.datagrams();
        for round in 0..20u8 {
            for index in 0..40u8 {
                guest.send(at(HOST_A, 7), &[round, index]);
            }
            let mut mapped = None;
            for index in 0..40u8 {
                let (bytes, from) = heard(&server).await;
                assert_eq!(bytes, [round, index]);
                mapped = Some(from);
            }
            for index in 0..40u8 {
                server.send_to(&[round, index], mapped.unwrap()).await.unwrap();
            }
            for index in 0..40u8 {
                assert_eq!(answered(&guest).await.0, [round, index]);
            }
        }
        assert_eq!(world.handle.counters().await.unwrap().udp.lost, 0);
    });
}
