//! QUIC is decided by the name its first flight shows, or refused so that clients fall back to TCP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use net_engine::Event;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::guest::Datagrams;
use crate::quic_client::{flight, initial};
use crate::world::{ALIAS, HOST_A, PATIENCE, Setup, World, placeholder, policy, run};

const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const PROHIBITED: (u8, u8) = (3, 13);
/// A packet of a connection that is up.
const SHORT_HEADER: [u8; 60] = [0x41; 60];

struct Case {
    world: World,
    server: UdpSocket,
    guest: Datagrams,
    to: SocketAddr,
}

impl Case {
    /// A server behind the first host's address and the port, which the guest has resolved.
    async fn new(port: u16, setup: Setup) -> Self {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let redirects = vec![((HOST_A.1, port), server.local_addr().unwrap())];
        let world = World::new(Setup { redirects, ..setup }).await;
        let guest = world.guest.datagrams();
        Self { world, server, guest, to: SocketAddr::new(IpAddr::V4(HOST_A.1), port) }
    }

    fn send(&self, datagrams: &[Vec<u8>]) {
        datagrams.iter().for_each(|datagram| self.guest.send(self.to, datagram));
    }

    /// These and no others arrive, in this order.
    async fn passes(&self, datagrams: &[Vec<u8>]) {
        let mut buffer = [0; 2048];
        for expected in datagrams {
            let heard = timeout(PATIENCE, self.server.recv(&mut buffer)).await;
            let length = heard.expect("a datagram arrives").unwrap();
            assert!(buffer[..length] == **expected, "{length} bytes are not the expected ones");
        }
    }

    async fn told(&self) -> (u8, u8) {
        timeout(PATIENCE, self.guest.error()).await.expect("an error")
    }

    async fn denied(&self, name: &str) {
        assert_eq!(self.told().await, PROHIBITED);
        let event = self.world.event().await;
        let Event::Denied { name: told, .. } = &event else { panic!("{event}") };
        assert_eq!(told.as_ref().map(ToString::to_string).unwrap_or_default(), name, "{event}");
    }
}

fn trusting() -> Option<String> {
    Some(crate::server::Identity::new().pem())
}

#[test]
fn an_allowed_name_passes_whole_and_in_order() {
    run(async {
        // Not looked into by its port, but the rule rests on a name.
        let case = Case::new(8443, Setup { allow: &["a.example"], ..Setup::default() }).await;
        case.world.resolve(HOST_A.0).await;
        let flight = flight(&[1; 8], "a.example");
        case.send(&flight);
        case.send(&[SHORT_HEADER.to_vec()]);
        case.passes(&flight).await;
        case.passes(&[SHORT_HEADER.to_vec()]).await;
        // The client sends its first flight again.
        case.send(&flight[1..]);
        case.passes(&flight[1..]).await;
        assert_eq!(case.world.handle.counters().await.unwrap().udp.sent, 4);
    });
}

#[test]
fn another_name_is_denied_before_anything_leaves_and_so_is_a_second_connection() {
    run(async {
        let case = Case::new(443, Setup { allow: &["a.example"], ..Setup::default() }).await;
        case.world.resolve(HOST_A.0).await;
        let (good, bad) = (flight(&[1; 8], "a.example"), flight(&[2; 8], "b.example"));
        case.send(&bad);
        case.denied("b.example").await;
        assert_eq!(case.world.handle.counters().await.unwrap().udp.sent, 0);
        case.send(&good);
        case.passes(&good).await;
        // From the same port, behind a connection that was allowed.
        case.send(&bad);
        case.denied("b.example").await;
        // In the name of that connection.
        case.send(&flight(&[1; 8], "b.example"));
        case.send(&good[..1]);
        case.passes(&good[..1]).await;
        assert_eq!(case.world.handle.counters().await.unwrap().udp.sent, 3);
    });
}

#[test]
fn where_only_a_name_can_tell_the_name_tells() {
    run(async {
        // Both names are pinned to the address; one is allowed by its name, then by its address alone.
        for allow in [&["*.example"], &["public"]] {
            let setup = Setup { deny: &["alias.example:8443"], allow, ..Setup::default() };
            only_a_name_can_tell(Case::new(8443, setup).await).await;
        }
    });
}

async fn only_a_name_can_tell(case: Case) {
    case.world.resolve(HOST_A.0).await;
    case.world.resolve(ALIAS.0).await;
    let (good, bad) = (flight(&[1; 8], "a.example"), flight(&[2; 8], "alias.example"));
    case.send(&bad);
    case.denied("alias.example").await;
    case.send(&good);
    case.passes(&good).await;
    // Behind it, too.
    case.send(&bad);
    case.denied("alias.example").await;
    // Without a name there is no verdict.
    let other = case.world.guest.datagrams();
    other.send(case.to, b"no quic");
    assert_eq!(timeout(PATIENCE, other.error()).await.expect("an error"), PROHIBITED);
    let event = case.world.event().await;
    assert!(event.to_string().contains("only a name can tell"), "{event}");
}

#[test]
fn what_tls_would_be_opened_for_falls_back_to_tcp_and_what_is_passed_on_passes() {
    run(async {
        let setup =
            Setup { allow: &["public"], trusts: trusting(), bypass: &["b.example"], ..Setup::default() };
        let case = Case::new(443, setup).await;
        let opened = flight(&[1; 8], "a.example");
        for _ in 0..2 {
            case.send(&opened);
            assert_eq!(case.told().await, PORT_UNREACHABLE);
        }
        assert_eq!(case.world.handle.counters().await.unwrap().udp.sent, 0);
        let passed = flight(&[2; 8], "b.example");
        case.send(&passed);
        case.passes(&passed).await;
        // On a flow that passes, too.
        case.send(&opened);
        assert_eq!(case.told().await, PORT_UNREACHABLE);
    });
}

#[test]
fn what_is_not_quic_passes_a_port_that_is_looked_into_only_by_its_address() {
    run(async {
        let no_quic = vec![b"no quic at all".to_vec()];
        let case =
            Case::new(443, Setup { allow: &["9.9.9.1"], trusts: trusting(), ..Setup::default() }).await;
        case.send(&no_quic);
        case.passes(&no_quic).await;
        // What begins as QUIC and cannot be read is not taken for something else.
        let other = case.world.guest.datagrams();
        other.send(case.to, &initial(&[9; 8], 0, 0, &[2, 0, 0, 0]));
        assert_eq!(timeout(PATIENCE, other.error()).await.expect("an error"), PORT_UNREACHABLE);
        let event = case.world.event().await;
        assert!(event.to_string().contains("cannot be read"), "{event}");
        // Nor does the one open the port for the other.
        case.send(&flight(&[1; 8], "a.example"));
        assert_eq!(case.told().await, PORT_UNREACHABLE);
        case.send(&no_quic);
        case.passes(&no_quic).await;

        let case =
            Case::new(443, Setup { allow: &["a.example"], trusts: trusting(), ..Setup::default() }).await;
        case.world.resolve(HOST_A.0).await;
        case.send(&no_quic);
        case.denied("").await;
    });
}

#[test]
fn a_denied_name_is_denied_on_an_address_that_is_allowed() {
    run(async {
        let setup = Setup {
            deny: &["b.example"],
            allow: &["public"],
            trusts: trusting(),
            bypass: &["*.example"],
            ..Setup::default()
        };
        let case = Case::new(443, setup).await;
        case.send(&flight(&[1; 8], "b.example"));
        case.denied("b.example").await;
        let good = flight(&[2; 8], "c.example");
        case.send(&good);
        case.passes(&good).await;
    });
}

#[test]
fn a_placeholder_is_no_name() {
    run(async {
        let setup = Setup { allow: &["public"], trusts: trusting(), with_secret: true, ..Setup::default() };
        let case = Case::new(443, setup).await;
        let name = format!("{}.a.example", placeholder());
        case.send(&flight(&[1; 8], &name));
        assert_eq!(case.told().await, PROHIBITED);
        let event = case.world.event().await;
        assert!(matches!(event, Event::Violation { .. }), "{event}");
    });
}

#[test]
fn a_new_policy_holds_for_the_names_of_connections_that_are_up() {
    run(async {
        let case = Case::new(8443, Setup { allow: &["*.example"], ..Setup::default() }).await;
        case.world.resolve(HOST_A.0).await;
        case.world.resolve(ALIAS.0).await;
        let flight = flight(&[1; 8], "a.example");
        case.send(&flight);
        case.passes(&flight).await;
        // The same again changes nothing.
        case.world.handle.swap_policy(policy(&["*.example"])).await.unwrap();
        case.send(&[SHORT_HEADER.to_vec()]);
        case.passes(&[SHORT_HEADER.to_vec()]).await;
        case.world.handle.swap_policy(policy(&["alias.example"])).await.unwrap();
        let event = case.world.event().await;
        assert!(event.to_string().starts_with("denied udp a.example"), "{event}");
        case.send(&[SHORT_HEADER.to_vec()]);
        case.denied("").await;
        case.send(&flight);
        case.denied("a.example").await;
        assert_eq!(case.world.handle.counters().await.unwrap().udp.sent, 3);
    });
}
