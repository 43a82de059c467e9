//! Ports of the gateway's that lead to other ports of the host.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use net_engine::{Denial, Event, HostPorts, HostTarget, Proxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

use crate::guest::Stream;
use crate::upstream::closed_port;
use crate::world::{PATIENCE, Setup, World, run};

/// The rest of what comes on a stream.
async fn heard(mut stream: Stream) -> String {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("an end").expect("text");
    text
}

/// Says a word to one connection, and ends it.
async fn saying(listener: TcpListener, word: &'static str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(word.as_bytes()).await.unwrap();
}

#[test]
fn a_port_of_the_gateway_leads_elsewhere_and_is_decided_as_what_it_is_called() {
    run(async {
        let bind = |at: SocketAddr| async move {
            let listener = TcpListener::bind(at).await.unwrap();
            let address = listener.local_addr().unwrap();
            (listener, address)
        };
        let (v4, at_v4) = bind((Ipv4Addr::LOCALHOST, 0).into()).await;
        // The same port in the other family.
        let (v6, _) = bind((Ipv6Addr::LOCALHOST, at_v4.port()).into()).await;
        let (other, at_other) = bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).await;
        let ports = HostPorts::default()
            .tcp(5432, HostTarget::Loopback(at_v4.port()))
            .and_then(|ports| ports.tcp(5433, HostTarget::Address(at_other)))
            .and_then(|ports| ports.tcp(5434, HostTarget::Address(at_other)))
            .expect("ports");
        // Everything else would go by a proxy, which is not there.
        let nobody = closed_port().await.unwrap();
        let proxy = Proxy::new(format!("socks5://{nobody}").parse().unwrap(), vec![nobody]);
        let setup =
            Setup { allow: &["host:5432,5433"], host_ports: ports, proxies: vec![proxy], ..Setup::default() };
        let world = World::new(setup).await;
        let own = *world.handle.addresses();
        let (gateway_v4, gateway_v6) = (own.ipv4.unwrap().gateway, own.ipv6.unwrap().gateway);
        let serve = [saying(v4, "over v4"), saying(v6, "over v6"), saying(other, "elsewhere")];
        serve.into_iter().for_each(|serve| drop(tokio::task::spawn_local(serve)));
        for (at, expected) in [
            (SocketAddr::from((gateway_v4, 5432)), "over v4"),
            (SocketAddr::from((gateway_v6, 5432)), "over v6"),
            (SocketAddr::from((gateway_v6, 5433)), "elsewhere"),
        ] {
            assert_eq!(heard(world.guest.connect(at).await.expect(expected)).await, expected);
        }
        // What a port leads to is not open for that, nor is a port that no rule is for.
        for port in [at_v4.port(), 5434] {
            let refused = world.guest.connect((gateway_v4, port).into()).await;
            assert_eq!(
                refused.map(drop).map_err(|error| error.kind()),
                Err(std::io::ErrorKind::ConnectionRefused)
            );
            let Event::Denied { flow, why: Denial::Default { .. }, .. } = world.event().await else {
                panic!("it is denied")
            };
            assert_eq!(flow.upstream.port(), port);
        }
    });
}

#[test]
fn datagrams_to_a_port_of_the_gateway_s_lead_elsewhere_and_are_answered_from_it() {
    run(async {
        let server = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        let to = server.local_addr().unwrap();
        let ports = HostPorts::default().udp(5000, HostTarget::Address(to)).expect("a port");
        let setup = Setup { allow: &["host:5000"], host_ports: ports, ..Setup::default() };
        let world = World::new(setup).await;
        let gateway = SocketAddr::from((world.handle.addresses().ipv4.unwrap().gateway, 5000));
        let guest = world.guest.datagrams();
        guest.send(gateway, b"asked");
        let mut buffer = [0; 64];
        let (length, from) =
            timeout(PATIENCE, server.recv_from(&mut buffer)).await.expect("a datagram").unwrap();
        assert_eq!(&buffer[..length], b"asked");
        server.send_to(b"answered", from).await.unwrap();
        let answered = timeout(PATIENCE, guest.receive()).await.expect("an answer");
        assert_eq!(answered, (b"answered".to_vec(), gateway));
    });
}
