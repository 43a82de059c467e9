//! The two ends of TLS that is opened: versions, groups and protocols on either side, how each ends, and what
//! the guest is told of a bad certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use net_engine::Event;
use net_tls::{
    Alpn, Authority, AuthorityParams, FaultMirror, LeafSubject, UpstreamFault, guest_config, system_clock,
};
use rustls::client::{EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128;
use rustls::crypto::hpke::Hpke as _;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, NamedGroup, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::guest::Stream;
use crate::server::{Identity, say_ok};
use crate::wire::{read_responses, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, World, run};

/// By its address: what is inside need not be HTTP.
const AS_BYTES: &[&str] = &["9.9.9.1:443"];
const BY_NAME: &[&str] = &["a.example:443"];

async fn world(allow: &'static [&'static str], identity: &Identity, server: SocketAddr) -> World {
    let world = World::new(Setup {
        allow,
        redirects: vec![((HOST_A.1, 443), server)],
        trusts: Some(identity.pem()),
        ..Setup::default()
    });
    world.await
}

async fn get(stream: &mut client::TlsStream<Stream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let response = read_responses(stream, 1).await;
    statuses(&response).first().map_or_else(String::new, ToString::to_string)
}

/// A guest of these versions, changed by `change`.
fn guest(
    world: &World,
    versions: &[&'static SupportedProtocolVersion],
    change: impl FnOnce(&mut ClientConfig),
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(net_tls::parse_ca_pem(world.authority_pem().as_bytes()).unwrap());
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    change(&mut config);
    Arc::new(config)
}

#[test]
fn guests_of_one_version_are_met_in_it() {
    run(async {
        let identity = Identity::new();
        let (server, _) = identity.recorder("a.example", say_ok).await;
        let world = world(BY_NAME, &identity, server).await;
        world.resolve("a.example").await;
        for version in [&TLS12, &TLS13] {
            let client = guest(&world, &[version], |_| {});
            let mut stream = world.tls_as(&client, HOST_A.1, 443, "a.example").await.unwrap();
            assert_eq!(get(&mut stream).await, "200");
            let (_, connection) = stream.get_ref();
            assert_eq!(connection.protocol_version(), Some(version.version));
            let group = connection.negotiated_key_exchange_group().map(|group| group.name());
            assert_eq!(
                group == Some(NamedGroup::X25519MLKEM768),
                version.version == TLS13.version,
                "{group:?}"
            );
        }
    });
}

#[test]
fn each_side_speaks_what_both_know() {
    // What the guest offers, what upstream knows in its order, and what upstream and the guest end up with.
    type Case = (&'static [&'static str], &'static [&'static str], Alpn, Alpn);
    const CASES: &[Case] = &[
        (&["http/1.1"], &["h2", "http/1.1"], Alpn::Http1, Alpn::Http1),
        (&["h2", "http/1.1"], &["http/1.1"], Alpn::Http1, Alpn::Http1),
        (&["http/1.1", "h2"], &["h2", "http/1.1"], Alpn::Http2, Alpn::Http2),
        (&["h2"], &["h2", "http/1.1"], Alpn::Http2, Alpn::Http2),
        (&["imap", "http/1.1"], &["imap", "http/1.1"], Alpn::Http1, Alpn::Http1),
        (&["imap"], &["h2", "http/1.1"], Alpn::Nothing, Alpn::Nothing),
        (&[], &["h2", "http/1.1"], Alpn::Nothing, Alpn::Nothing),
        (&["h2", "http/1.1"], &[], Alpn::Nothing, Alpn::Nothing),
        // What one side has only the other does not: each speaks its own.
        (&["http/1.1"], &["h2"], Alpn::Http2, Alpn::Http1),
        (&["h2"], &["http/1.1"], Alpn::Http1, Alpn::Http2),
    ];
    for (offer, known, of_upstream, of_guest) in CASES {
        run(async {
            let identity = Identity::new();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let subject = LeafSubject::Name("a.example".parse().unwrap());
            let known = known.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            let leaf = identity.mint(&subject, SystemTime::now());
            let acceptor = TlsAcceptor::from(guest_config(leaf, known, system_clock()));
            let world = world(BY_NAME, &identity, listener.local_addr().unwrap()).await;
            world.resolve("a.example").await;
            let client = world.client(offer);
            let served = async {
                loop {
                    // One that offers nothing it knows is tried again with what it does.
                    let accepted = acceptor.accept(listener.accept().await.unwrap().0).await;
                    let Ok(accepted) = accepted else { continue };
                    return Alpn::of(accepted.get_ref().1.alpn_protocol()).unwrap();
                }
            };
            let (upstream, guest) = tokio::join!(served, world.tls_as(&client, HOST_A.1, 443, "a.example"));
            let guest = Alpn::of(guest.unwrap().get_ref().1.alpn_protocol()).unwrap();
            assert_eq!((upstream, guest), (*of_upstream, *of_guest), "{offer:?}");
        });
    }
}

#[test]
fn a_fault_of_upstream_s_certificate_is_the_one_the_guest_meets() {
    const CASES: &[(UpstreamFault, &str)] = &[
        (UpstreamFault::Expired, "certificate expired"),
        (UpstreamFault::NotYetValid, "certificate not valid yet"),
        (UpstreamFault::WrongName, "certificate not valid for name"),
        (UpstreamFault::UnknownIssuer, "UnknownIssuer"),
    ];
    for (fault, expected) in CASES {
        run(async {
            let authority = Authority::generate(&AuthorityParams::named("the internet"), SystemTime::now());
            let authority = authority.unwrap();
            let subject = LeafSubject::Name("a.example".parse().unwrap());
            let mirror = FaultMirror::generate(SystemTime::now()).unwrap();
            let leaf = mirror.leaf(&authority, &subject, *fault, SystemTime::now()).unwrap();
            let acceptor = TlsAcceptor::from(guest_config(leaf, Vec::new(), system_clock()));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let world = World::new(Setup {
                allow: BY_NAME,
                redirects: vec![((HOST_A.1, 443), listener.local_addr().unwrap())],
                trusts: Some(authority.certificate_pem().to_owned()),
                ..Setup::default()
            });
            let world = world.await;
            let served = async { acceptor.accept(listener.accept().await.unwrap().0).await.map(drop) };
            let (served, refused) = tokio::join!(served, world.tls(HOST_A, "a.example", "http/1.1"));
            assert!(served.is_err(), "{fault:?}");
            let refused = refused.err().expect("a bad certificate").to_string();
            assert!(refused.contains(expected), "{fault:?}: {refused}");
            let event = world.event().await;
            assert!(event.to_string().contains(&fault.to_string()), "{fault:?}: {event}");
        });
    }
}

/// A guest and a server that are joined, with nothing said yet.
async fn joined(
    allow: &'static [&'static str],
) -> (World, client::TlsStream<Stream>, server::TlsStream<TcpStream>) {
    let identity = Identity::new();
    let (address, accepted) = identity.one_connection("a.example").await;
    let world = world(allow, &identity, address).await;
    let (guest, server) = tokio::join!(world.tls(HOST_A, "a.example", "http/1.1"), accepted);
    (world, guest.unwrap(), server)
}

async fn read_whole<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<String> {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("an end").map(|_| text)
}

#[test]
fn each_half_is_closed_by_its_own_close_notify() {
    run(async {
        // The guest first.
        let (_world, mut guest, mut server) = joined(AS_BYTES).await;
        guest.write_all(b"question").await.unwrap();
        guest.shutdown().await.unwrap();
        assert_eq!(read_whole(&mut server).await.unwrap(), "question");
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(read_whole(&mut guest).await.unwrap(), "answer");
    });
    run(async {
        // Upstream first.
        let (_world, mut guest, mut server) = joined(AS_BYTES).await;
        server.write_all(b"greeting").await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(read_whole(&mut guest).await.unwrap(), "greeting");
        guest.write_all(b"farewell").await.unwrap();
        guest.shutdown().await.unwrap();
        assert_eq!(read_whole(&mut server).await.unwrap(), "farewell");
    });
}

#[test]
fn a_request_s_close_notify_takes_its_response_from_nobody() {
    run(async {
        let (_world, mut guest, mut server) = joined(BY_NAME).await;
        guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        guest.shutdown().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(timeout(PATIENCE, server.read_buf(&mut request)).await.expect("a request").unwrap() > 0);
        }
        server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        let response = read_whole(&mut guest).await.unwrap();
        assert!(response.ends_with("\r\n\r\nok"), "{response}");
        assert_eq!(read_whole(&mut server).await.unwrap(), "");
    });
}

#[test]
fn what_breaks_off_upstream_does_not_end_as_if_it_were_whole() {
    for allow in [AS_BYTES, BY_NAME] {
        run(async {
            let (_world, mut guest, mut server) = joined(allow).await;
            guest.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(
                    timeout(PATIENCE, server.read_buf(&mut request)).await.expect("a request").unwrap() > 0
                );
            }
            // To the end of the connection, which comes without a close_notify.
            server.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf of").await.unwrap();
            server.flush().await.unwrap();
            server.get_mut().0.shutdown().await.unwrap();
            drop(server);
            let ended = read_whole(&mut guest).await;
            // Where it is read as HTTP, the last chunk is missing.
            let is_whole = ended.as_ref().is_ok_and(|text| text.ends_with("0\r\n\r\n") || allow == AS_BYTES);
            assert!(!is_whole, "{allow:?}: {ended:?}");
        });
    }
}

#[test]
fn what_breaks_off_at_the_guest_does_not_end_as_if_it_were_whole() {
    run(async {
        let (_world, mut guest, mut server) = joined(AS_BYTES).await;
        guest.write_all(b"half of").await.unwrap();
        guest.flush().await.unwrap();
        guest.get_mut().0.shutdown().await.unwrap();
        let ended = read_whole(&mut server).await;
        assert!(ended.is_err(), "{ended:?}");
    });
}

#[test]
fn starttls_is_passed_on_as_it_is() {
    run(async {
        let identity = Identity::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let acceptor = identity.acceptor("a.example", "smtp");
        let world = World::new(Setup {
            allow: &["a.example:587"],
            redirects: vec![((HOST_A.1, 587), listener.local_addr().unwrap())],
            trusts: Some(identity.pem()),
            ..Setup::default()
        });
        let world = world.await;
        let served = async {
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(b"220 ready\r\n").await.unwrap();
            let mut line = [0; 10];
            server.read_exact(&mut line).await.unwrap();
            assert_eq!(&line, b"STARTTLS\r\n");
            server.write_all(b"220 go\r\n").await.unwrap();
            let mut server = acceptor.accept(server).await.unwrap();
            server.write_all(b"inside").await.unwrap();
            server.shutdown().await.unwrap();
        };
        let guest = async {
            let mut stream = world.connect(HOST_A, 587).await;
            let mut line = [0; 11];
            stream.read_exact(&mut line).await.unwrap();
            stream.write_all(b"STARTTLS\r\n").await.unwrap();
            let mut line = [0; 8];
            stream.read_exact(&mut line).await.unwrap();
            // Of the server's own authority: nobody is between.
            let trust = crate::world::trust(Some(&identity.pem()));
            let config = net_tls::upstream_config(&trust, Vec::new(), system_clock());
            let name = "a.example".try_into().unwrap();
            let mut stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
            read_whole(&mut stream).await.unwrap()
        };
        let ((), inside) = tokio::join!(served, guest);
        assert_eq!(inside, "inside");
    });
}

/// A guest that sends an extension of ECH, which nobody can tell from one that means something.
fn with_ech(pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(net_tls::parse_ca_pem(pem.as_bytes()).unwrap());
    let (public_key, _) = DH_KEM_X25519_HKDF_SHA256_AES_128.generate_key_pair().unwrap();
    let grease = EchGreaseConfig::new(DH_KEM_X25519_HKDF_SHA256_AES_128, public_key);
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_ech(EchMode::Grease(grease))
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(client)
}

#[test]
fn a_hello_with_ech_is_answered_as_what_it_shows_and_refused_where_it_would_be_passed_on() {
    // Passed on, refused, and whether the guest is served.
    for (is_passed_on, refuse_ech, is_served) in
        [(false, false, true), (false, true, true), (true, false, true), (true, true, false)]
    {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder("a.example", say_ok).await;
            let world = World::new(Setup {
                allow: BY_NAME,
                redirects: vec![((HOST_A.1, 443), server)],
                trusts: Some(identity.pem()),
                bypass: if is_passed_on { &["a.example"] } else { &[] },
                refuse_ech,
                ..Setup::default()
            });
            let world = world.await;
            world.resolve("a.example").await;
            let authority = if is_passed_on { identity.pem() } else { world.authority_pem().to_owned() };
            let client = with_ech(&authority);
            let stream = world.tls_as(&client, HOST_A.1, 443, "a.example").await;
            if is_served {
                assert_eq!(get(&mut stream.unwrap()).await, "200");
                return;
            }
            let refused = stream.err().expect("an alert").to_string();
            assert!(refused.contains("AccessDenied"), "{refused}");
            let event = world.event().await;
            assert!(event.to_string().contains("EncryptedHello"), "{event}");
            // Without it the name is passed on as ever.
            let client =
                net_tls::upstream_config(&crate::world::trust(Some(&authority)), Vec::new(), system_clock());
            let mut stream = world.tls_as(&client, HOST_A.1, 443, "a.example").await.unwrap();
            assert_eq!(get(&mut stream).await, "200");
            assert_eq!(seen.borrow().len(), 1);
        });
    }
}

#[test]
fn a_client_that_closes_at_our_certificate_is_told_apart_too() {
    run(async {
        let identity = Identity::new();
        let (server, _) = identity.recorder("a.example", say_ok).await;
        let world = world(BY_NAME, &identity, server).await;
        let hello = {
            let name = "a.example".try_into().unwrap();
            let mut client = rustls::ClientConnection::new(world.client(&["http/1.1"]), name).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            hello
        };
        let mut stream = world.connect(HOST_A, 443).await;
        stream.write_all(&hello).await.unwrap();
        let mut flight = [0; 64];
        assert!(timeout(PATIENCE, stream.read(&mut flight)).await.expect("our flight").unwrap() > 0);
        stream.shutdown().await.unwrap();
        let event = world.event().await;
        assert!(matches!(event, Event::InterceptFailed { .. }), "{event}");
        let line = event.to_string();
        assert!(line.contains("a.example") && line.contains("bypass"), "{line}");
    });
}
