//! Sessions that are taken up again, those that must not be, and the alert that ends one.
#![allow(clippy::disallowed_methods, reason = "tests mint certificates that are valid now")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use net_tls::{
    Alpn, Authority, FaultMirror, LeafCache, LeafSubject, UpstreamFault, fatal_alert, guest_config,
    system_clock, upstream_config,
};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider};
use rustls::pki_types::UnixTime;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SupportedCipherSuite, SupportedProtocolVersion,
};

use crate::support::{authority, handshake, trusting};

fn subject(name: &str) -> LeafSubject {
    name.parse().map_or_else(|_| LeafSubject::Name(name.parse().expect(name)), LeafSubject::Address)
}

fn config(cache: &LeafCache, name: &str, alpn: Alpn) -> Arc<ServerConfig> {
    cache.get_or_mint_config(&subject(name), alpn, &system_clock(), SystemTime::now()).expect("a leaf")
}

/// A client as guests are, which keeps sessions as rustls does by default.
fn guest(
    authorities: &[&Authority],
    versions: &[&'static SupportedProtocolVersion],
    suites: &[SupportedCipherSuite],
) -> Arc<ClientConfig> {
    let provider = Arc::new(CryptoProvider { cipher_suites: suites.to_vec(), ..default_provider() });
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.certificate_der().clone()).expect("an anchor");
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("suites of the versions")
        .with_webpki_verifier(verifier.build().expect("anchors"))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Whether the handshake took up an earlier session; both ends agree on it.
fn resumes(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> bool {
    let (client, server) = handshake(client, server, name).expect("a handshake");
    assert_eq!(client.handshake_kind(), server.handshake_kind());
    client.handshake_kind() == Some(HandshakeKind::Resumed)
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn a_guest_s_session_is_of_one_subject_protocol_and_authority() {
    const NAME: &str = "a.example";
    for version in VERSIONS {
        let cache = LeafCache::new(authority(), 8);
        let other = LeafCache::new(authority(), 8);
        let own = config(&cache, NAME, Alpn::Http2);
        let authorities = [cache.authority(), other.authority()];
        let client = || guest(&authorities, &[version], ALL_CIPHER_SUITES);
        let fresh = client();
        assert!(!resumes(&fresh, &own, NAME), "{version:?}");
        assert!(resumes(&fresh, &own, NAME), "{version:?}");
        assert!(resumes(&fresh, &config(&cache, NAME, Alpn::Http2), NAME), "{version:?}");
        // The same client shows the session to whoever has its server's name.
        let others = [
            config(&cache, NAME, Alpn::Http1),
            config(&cache, NAME, Alpn::Nothing),
            config(&other, NAME, Alpn::Http2),
        ];
        for (index, other) in others.iter().enumerate() {
            let client = client();
            assert!(!resumes(&client, &own, NAME), "{version:?} {index}");
            assert!(!resumes(&client, other, NAME), "{version:?} {index}");
        }
        // Without a server_name two addresses are told apart by nothing but their configurations.
        let (one, two) = (config(&cache, "10.0.0.1", Alpn::Http2), config(&cache, "10.0.0.2", Alpn::Http2));
        let client = client();
        assert!(!resumes(&client, &one, "10.0.0.1"), "{version:?}");
        let refused = handshake(&client, &two, "10.0.0.1").map(drop);
        assert!(matches!(refused, Err(Error::InvalidCertificate(_))), "{version:?}: {refused:?}");
    }
}

#[test]
fn a_mirrored_fault_is_met_by_those_who_have_a_session_too() {
    const NAME: &str = "a.example";
    for version in VERSIONS {
        let cache = LeafCache::new(authority(), 8);
        let mirror = FaultMirror::generate(SystemTime::now()).expect("an issuer");
        for fault in [UpstreamFault::Expired, UpstreamFault::WrongName, UpstreamFault::UnknownIssuer] {
            let client = guest(&[cache.authority()], &[version], ALL_CIPHER_SUITES);
            assert!(!resumes(&client, &config(&cache, NAME, Alpn::Http2), NAME));
            let leaf = mirror.leaf(cache.authority(), &subject(NAME), fault, SystemTime::now());
            let faulty = guest_config(leaf.expect("a leaf"), Vec::new(), system_clock());
            let refused = handshake(&client, &faulty, NAME).map(drop).expect_err("a fault");
            assert_eq!(UpstreamFault::from(&refused), fault, "{version:?}");
        }
    }
}

#[test]
fn a_session_ends_with_the_leaf_it_began_with() {
    const NAME: &str = "a.example";
    let cache = LeafCache::new(authority(), 8);
    let client = guest(&[cache.authority()], &VERSIONS, ALL_CIPHER_SUITES);
    assert!(!resumes(&client, &config(&cache, NAME, Alpn::Http2), NAME));
    let due = SystemTime::now() + Duration::from_secs(23 * 60 * 60 + 60);
    let renewed = cache.get_or_mint_config(&subject(NAME), Alpn::Http2, &system_clock(), due);
    assert!(!resumes(&client, &renewed.expect("a leaf"), NAME));
}

#[test]
fn an_alert_ends_a_session_of_every_suite() {
    const NAME: &str = "a.example";
    let cache = LeafCache::new(authority(), 8);
    for suite in ALL_CIPHER_SUITES {
        let client = guest(&[cache.authority()], &[suite.version()], &[*suite]);
        // A leaf has an ECDSA key, and so no suite of RSA.
        let Ok((mut client, server)) = handshake(&client, &config(&cache, NAME, Alpn::Http2), NAME) else {
            assert!(format!("{suite:?}").contains("_RSA_"), "{suite:?}");
            continue;
        };
        let record = fatal_alert(server, AlertDescription::HandshakeFailure).expect("a record");
        client.read_tls(&mut record.as_slice()).expect("memory gives bytes");
        let ended = client.process_new_packets().map(drop);
        assert_eq!(ended, Err(Error::AlertReceived(AlertDescription::HandshakeFailure)), "{suite:?}");
    }
}

#[test]
fn a_session_that_has_not_begun_has_no_alert() {
    let cache = LeafCache::new(authority(), 8);
    let server = ServerConnection::new(config(&cache, "a.example", Alpn::Http2)).expect("a configuration");
    assert_eq!(fatal_alert(server, AlertDescription::HandshakeFailure), Err(Error::HandshakeNotComplete));
}

/// A clock that is set by hand.
#[derive(Debug)]
struct Clock(AtomicU64);

impl Clock {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnixTime::now().as_secs().into()))
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

/// A server of this name that takes sessions up again, and us as its client.
fn upstream(
    authority: Authority,
    version: &'static SupportedProtocolVersion,
    minted: SystemTime,
) -> (Arc<ServerConfig>, Arc<ClientConfig>, Arc<Clock>) {
    let (clock, trust) = (Clock::new(), trusting(&authority));
    let cache = LeafCache::new(authority, 8);
    let server = cache.get_or_mint_config(
        &subject("a.example"),
        Alpn::Http2,
        &(Arc::clone(&clock) as Arc<dyn TimeProvider>),
        minted,
    );
    let client = upstream_config(&trust, vec![b"h2".to_vec()], Arc::clone(&clock) as Arc<dyn TimeProvider>);
    let mut versions = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&server.as_ref().expect("a leaf").cert_resolver));
    versions.ticketer = Arc::clone(&server.as_ref().expect("a leaf").ticketer);
    versions.alpn_protocols = vec![b"h2".to_vec()];
    versions.time_provider = Arc::clone(&clock) as Arc<dyn TimeProvider>;
    (Arc::new(versions), client, clock)
}

#[test]
fn upstream_s_sessions_are_taken_up_again_for_an_hour() {
    for version in VERSIONS {
        let (server, client, clock) = upstream(authority(), version, SystemTime::now());
        assert!(!resumes(&client, &server, "a.example"), "{version:?}");
        clock.pass(Duration::from_secs(30 * 60));
        assert!(resumes(&client, &server, "a.example"), "{version:?}");
        // Not for as long as tickets follow tickets.
        clock.pass(Duration::from_secs(31 * 60));
        assert!(!resumes(&client, &server, "a.example"), "{version:?}");
        assert!(resumes(&client, &server, "a.example"), "{version:?}");
    }
}

#[test]
fn who_shows_a_chain_without_its_key_ends_and_prolongs_no_session() {
    for version in VERSIONS {
        let own = authority();
        let chain = own.mint(&subject("a.example"), SystemTime::now()).expect("a leaf");
        let chain = chain.certified_key().expect("a key of ours").cert.clone();
        let another = own.mint(&subject("a.example"), SystemTime::now()).expect("a leaf");
        let key = Arc::clone(&another.certified_key().expect("a key of ours").key);
        let (server, client, clock) = upstream(own, version, SystemTime::now());
        assert!(!resumes(&client, &server, "a.example"), "{version:?}");

        let mut impostor = ServerConfig::clone(&server);
        impostor.cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
        // It cannot read the session it is shown.
        let fresh = ServerConfig::builder().with_no_client_auth();
        impostor.ticketer = fresh.with_cert_resolver(Arc::clone(&server.cert_resolver)).ticketer;
        clock.pass(Duration::from_secs(50 * 60));
        let refused = handshake(&client, &impostor.into(), "a.example").map(drop);
        let expected = Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(refused.expect_err("another key"), expected, "{version:?}");
        // What was there before is there, and for as long as it was.
        assert!(resumes(&client, &server, "a.example"), "{version:?}");
        clock.pass(Duration::from_secs(11 * 60));
        assert!(!resumes(&client, &server, "a.example"), "{version:?}");
    }
}

#[test]
fn no_session_outlives_the_certificates_it_began_with() {
    for version in VERSIONS {
        // The leaf ends in half an hour.
        let minted = SystemTime::now() - Duration::from_secs(24 * 60 * 60 - 30 * 60);
        let (server, client, clock) = upstream(authority(), version, minted);
        assert!(!resumes(&client, &server, "a.example"), "{version:?}");
        clock.pass(Duration::from_secs(29 * 60));
        assert!(resumes(&client, &server, "a.example"), "{version:?}");
        clock.pass(Duration::from_secs(2 * 60));
        let refused =
            handshake(&client, &server, "a.example").map(drop).expect_err("a certificate that ended");
        assert_eq!(UpstreamFault::from(&refused), UpstreamFault::Expired, "{version:?}");
    }
}

#[test]
fn upstream_s_sessions_are_of_one_name_and_configuration() {
    for version in VERSIONS {
        let own = authority();
        let trust = trusting(&own);
        let (server, client, _) = upstream(own, version, SystemTime::now());
        assert!(!resumes(&client, &server, "a.example"), "{version:?}");
        // Another name shows no session, and so meets the certificate.
        let refused = handshake(&client, &server, "b.example").map(drop).expect_err("another name");
        assert_eq!(UpstreamFault::from(&refused), UpstreamFault::WrongName, "{version:?}");
        let other = upstream_config(&trust, vec![b"h2".to_vec()], system_clock());
        assert!(!resumes(&other, &server, "a.example"), "{version:?}");
        assert!(resumes(&client, &server, "a.example"), "{version:?}");
    }
}

/// Serves one client after the other until the process ends: echoes what it is sent in upper case.
fn serve(config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut server = ServerConnection::new(Arc::clone(&config)).expect("a configuration");
            let mut tls = rustls::Stream::new(&mut server, &mut stream);
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = tls.read(&mut bytes) {
                let _ = tls.write_all(&bytes[..count].to_ascii_uppercase());
            }
        }
    });
    port
}

/// `openssl s_client`, which sends a line and waits for the end.
fn s_client(port: u16, ca: &Path, arguments: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "a.example"])
        .args(["-verify_return_error", "-CAfile"])
        .arg(ca)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = client.stdin.take().expect("a pipe");
    let writer = thread::spawn(move || {
        let _ = stdin.write_all(b"hello\n");
        // Tickets follow the handshake.
        thread::sleep(Duration::from_secs(1));
        drop(stdin);
    });
    let output = client.wait_with_output().expect("openssl ends");
    writer.join().expect("no panic");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    text.into_owned()
}

#[test]
fn openssl_takes_its_session_up_again() {
    for version in ["-tls1_2", "-tls1_3"] {
        let cache = LeafCache::new(authority(), 8);
        let directory = tempfile::tempdir().expect("a directory");
        let (ca, session) = (directory.path().join("ca.pem"), directory.path().join("session"));
        std::fs::write(&ca, cache.authority().certificate_pem()).expect("a file");
        let session = session.to_str().expect("UTF-8");
        let port = serve(config(&cache, "a.example", Alpn::Nothing));
        let first = s_client(port, &ca, &[version, "-sess_out", session]);
        assert!(first.contains("New, ") && first.contains("HELLO"), "{version}: {first}");
        let again = s_client(port, &ca, &[version, "-sess_in", session]);
        assert!(again.contains("Reused, ") && again.contains("HELLO"), "{version}: {again}");
        // That of another subject's server, or of another protocol: a new one, not an error.
        for other in [config(&cache, "b.example", Alpn::Nothing), config(&cache, "a.example", Alpn::Http1)] {
            let other = s_client(serve(other), &ca, &[version, "-alpn", "http/1.1", "-sess_in", session]);
            assert!(other.contains("New, ") && other.contains("HELLO"), "{version}: {other}");
        }
    }
}

#[test]
fn early_data_is_refused_and_the_handshake_goes_on() {
    let cache = LeafCache::new(authority(), 8);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (ca, session, early) = (path("ca.pem"), path("session"), path("early"));
    std::fs::write(&ca, cache.authority().certificate_pem()).expect("a file");
    std::fs::write(&early, "EARLY-DATA-OF-THE-GUEST").expect("a file");
    let ca = Path::new(&ca);
    // Ours promises none, so openssl sends none.
    let port = serve(config(&cache, "a.example", Alpn::Nothing));
    s_client(port, ca, &["-tls1_3", "-sess_out", &session]);
    let kept = Command::new("openssl").args(["sess_id", "-noout", "-text", "-in", &session]).output();
    let kept = String::from_utf8_lossy(&kept.expect("openssl").stdout).into_owned();
    assert!(kept.contains("Max Early Data: 0"), "{kept}");
    // A session that promises some, from when the server was another one.
    let mut lavish = config(&cache, "a.example", Alpn::Nothing);
    Arc::make_mut(&mut lavish).max_early_data_size = 1_024;
    Arc::make_mut(&mut lavish).session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    Arc::make_mut(&mut lavish).ticketer = Arc::new(NoTickets);
    s_client(serve(lavish), ca, &["-tls1_3", "-sess_out", &session]);
    let refused = s_client(port, ca, &["-tls1_3", "-sess_in", &session, "-early_data", &early]);
    assert!(refused.contains("Early data was rejected"), "{refused}");
    assert!(refused.contains("HELLO") && !refused.contains("EARLY-DATA-OF-THE-GUEST"), "{refused}");
}

/// Sessions are kept by the server.
#[derive(Debug)]
struct NoTickets;

impl rustls::server::ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
