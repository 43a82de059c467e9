//! Trust that is of some upstreams only: pins, identities, authorities, those who are believed
//! unseen, and those of one version.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use net_engine::{Event, HostTrust, InterceptError};
use net_policy::parse_target;
use net_tls::{ClientIdentity, LeafSubject, SpkiPin, UpstreamFault, UpstreamTrust};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::server::{Identity, say_ok};
use crate::wire::{read_responses, statuses};
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, World, placeholder, run, trust};

fn of(hosts: &[&str], trust: UpstreamTrust) -> HostTrust {
    HostTrust::new(hosts.iter().map(|text| parse_target(text).unwrap()).collect(), trust).unwrap()
}

/// What a guest gets of a request: a status, or what ended its handshake or its stream.
async fn ask(world: &World, host: (&str, Ipv4Addr), headers: &str) -> Result<String, String> {
    let mut stream = world.tls(host, host.0, "http/1.1").await.map_err(|error| error.to_string())?;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", host.0);
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let response = read_responses(&mut stream, 1).await;
    Ok(statuses(&response).first().map_or_else(String::new, ToString::to_string))
}

#[test]
fn a_pinned_host_has_the_key_or_is_a_stranger() {
    run(async {
        // A server of which the certificate is known before it is started.
        let identity = Identity::new();
        let subject = LeafSubject::Name("a.example".parse().unwrap());
        let leaf = identity.mint(&subject, SystemTime::now());
        let pin = SpkiPin::of(&leaf.cert[0]).unwrap();
        let acceptor: TlsAcceptor =
            net_tls::guest_config(leaf, vec![b"http/1.1".to_vec()], net_tls::system_clock()).into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0
                {
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        });
        let other: SpkiPin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse().unwrap();
        let own = trust(Some(&identity.pem()));
        // The pins, whether they are for the host that is asked, and whether it is taken.
        let cases = [
            (vec![pin], "a.example", true),
            (vec![other, pin], "a.example:443", true),
            (vec![other], "a.example", false),
            (vec![other], "a.example:8443", true),
            (vec![other], "b.example", true),
        ];
        for (pins, host, is_taken) in cases {
            let world = World::new(Setup {
                host_trust: vec![of(&[host], own.clone().with_pins(pins.clone()))],
                ..Setup::of_a(&identity, server)
            });
            let world = world.await;
            let answer = ask(&world, HOST_A, "").await;
            if is_taken {
                assert_eq!(answer.as_deref(), Ok("200"), "{pins:?} {host}");
                continue;
            }
            let refused = answer.expect_err("another key");
            assert!(refused.contains("UnknownIssuer"), "{refused}");
            let event = world.event().await;
            let expected = InterceptError::UpstreamTls(UpstreamFault::WrongKey);
            assert!(matches!(event, Event::InterceptFailed { error, .. } if error == expected), "{event}");
            assert!(event.to_string().contains("not one that is pinned"), "{event}");
        }
    });
}

#[test]
fn an_authority_is_trusted_for_its_hosts_alone() {
    run(async {
        let (public, own) = (Identity::new(), Identity::new());
        let (a, _) = own.recorder("a.example", say_ok).await;
        let (b, seen) = own.recorder("b.example", say_ok).await;
        let mut both = trust(Some(&public.pem()));
        both.add(net_tls::parse_ca_pem(own.pem().as_bytes()).unwrap());
        let world = World::new(Setup {
            allow: &["a.example:443", "b.example:443"],
            redirects: vec![((HOST_A.1, 443), a), ((HOST_B.1, 443), b)],
            trusts: Some(public.pem()),
            host_trust: vec![of(&["a.example"], both)],
            ..Setup::default()
        });
        let world = world.await;
        assert_eq!(ask(&world, HOST_A, "").await.as_deref(), Ok("200"));
        let refused = ask(&world, HOST_B, "").await.expect_err("an authority of others");
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        assert!(seen.borrow().is_empty());
    });
}

#[test]
fn whoever_is_believed_unseen_is_named_and_told_of_each_time() {
    run(async {
        // Neither is for its name, nor of an authority that is trusted.
        let stranger = Identity::new();
        let (a, seen) = stranger.recorder("elsewhere.example", say_ok).await;
        let (b, _) = stranger.recorder("elsewhere.example", say_ok).await;
        let own = trust(Some(&Identity::new().pem()));
        let world = World::new(Setup {
            allow: &["a.example:443", "b.example:443"],
            redirects: vec![((HOST_A.1, 443), a), ((HOST_B.1, 443), b)],
            trusts: Some(Identity::new().pem()),
            with_secret: true,
            bound_to: Some("a.example"),
            host_trust: vec![of(&["a.example"], own.dangerous_skip_verification())],
            ..Setup::default()
        });
        let world = world.await;
        for _ in 0..3 {
            assert_eq!(ask(&world, HOST_A, "").await.as_deref(), Ok("200"));
            let event = world.event().await;
            let is_warning =
                matches!(&event, Event::Unverified { name: Some(name), .. } if name.as_str() == "a.example");
            assert!(is_warning && event.to_string().contains("not verified"), "{event}");
        }
        // No value goes to somebody who has proved nothing.
        let count = seen.borrow().len();
        let token = format!("X-Token: {}\r\n", placeholder());
        assert_eq!(ask(&world, HOST_A, &token).await.as_deref(), Ok("403"));
        assert_eq!(seen.borrow().len(), count);
        assert!(ask(&world, HOST_B, "").await.is_err());
    });
}

#[test]
fn trust_without_verification_is_not_that_of_all_hosts() {
    run(async {
        let engine = net_engine::Engine::builder().build().unwrap();
        let capabilities = net_engine::link::LinkCapabilities { mtu: 1500, offload: false };
        let (link, _guest) = net_engine::link::pair(capabilities, 16);
        let config = net_engine::GuestConfig {
            upstream_trust: UpstreamTrust::default().dangerous_skip_verification(),
            ..Default::default()
        };
        let refused = engine.attach(0, Box::new(link), config).await.map(drop);
        assert!(matches!(refused, Err(net_engine::AttachError::DangerousTrust)), "{refused:?}");
    });
}

/// `openssl s_server`, which asks every client for a certificate.
struct Asking {
    child: Child,
    address: SocketAddr,
    /// What it goes on to say, read so that it may.
    _output: std::thread::JoinHandle<()>,
}

impl Asking {
    fn start(directory: &Path, version: &str) -> Self {
        let mut child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-www",
                version,
                "-Verify",
                "1",
                "-verify_return_error",
            ])
            .args(["-cert", "server.pem", "-key", "server.key", "-CAfile", "client.pem"])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the line that says where").unwrap();
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.parse().unwrap();
            }
        };
        let output = std::thread::spawn(move || while let Some(Ok(_)) = lines.next() {});
        Self { child, address, _output: output }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(directory).output();
    let made = made.expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn an_identity_is_shown_to_its_hosts_when_they_ask_and_to_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    for (name, subject) in [("server", "/CN=a.example"), ("client", "/CN=the engine")] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let curve = "ec_paramgen_curve:P-256";
        let alternative = "subjectAltName=DNS:a.example,DNS:b.example";
        openssl(
            directory.path(),
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                curve,
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-subj",
                subject,
                "-days",
                "2",
                "-addext",
                alternative,
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ],
        );
    }
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let identity = ClientIdentity::from_pem(&read("client.pem"), &read("client.key")).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        run(async {
            let server = Asking::start(directory.path(), version);
            let own = trust(Some(&read("server.pem")));
            let world = World::new(Setup {
                allow: &["a.example:443", "b.example:443"],
                redirects: vec![((HOST_A.1, 443), server.address), ((HOST_B.1, 443), server.address)],
                trusts: Some(read("server.pem")),
                host_trust: vec![of(&["a.example"], own.with_identity(identity.clone()))],
                ..Setup::default()
            });
            let world = world.await;
            for _ in 0..2 {
                assert_eq!(ask(&world, HOST_A, "").await.as_deref(), Ok("200"), "{version}");
            }
            // The same server under another name is told nothing, and says no.
            let refused = timeout(PATIENCE, ask(&world, HOST_B, "")).await.expect("an end");
            assert_ne!(refused.as_deref(), Ok("200"), "{version}");
        });
    }
}

#[test]
fn upstreams_of_one_version_are_met_in_it() {
    for (version, is_13) in [(&TLS12, false), (&TLS13, true)] {
        run(async {
            let identity = Identity::new();
            let subject = LeafSubject::Name("a.example".parse().unwrap());
            let leaf = identity.mint(&subject, SystemTime::now());
            let config = rustls::ServerConfig::builder_with_protocol_versions(&[version])
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(leaf)));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let served = async {
                let (mut server, _) = crate::server::asked(async {
                    acceptor.accept(listener.accept().await.unwrap().0).await.unwrap()
                })
                .await;
                server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                let group = server.get_ref().1.negotiated_key_exchange_group().map(|group| group.name());
                (server.get_ref().1.protocol_version(), group)
            };
            let world = World::new(Setup::of_a(&identity, address));
            let world = world.await;
            let ((negotiated, group), answer) = tokio::join!(served, ask(&world, HOST_A, ""));
            assert_eq!(answer.as_deref(), Ok("200"));
            assert_eq!(negotiated, Some(version.version));
            // The hybrid is offered to all, and taken by those who have TLS 1.3.
            assert_eq!(group == Some(rustls::NamedGroup::X25519MLKEM768), is_13, "{group:?}");
        });
    }
}
