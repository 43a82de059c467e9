//! What we mint, judged by others: the `openssl` program and rustls' own verifier.
#![allow(clippy::disallowed_methods, reason = "certificates are judged at the time of the test")]

use std::io::{Read, Write};
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use net_core::HostName;
use net_tls::{
    Authority, AuthorityError, AuthorityParams, CaFileError, FaultMirror, LeafCache, LeafSubject,
    UpstreamFault, UpstreamTrust, bundle, guest_config, parse_ca_pem, system_clock, upstream_config,
};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, ServerConnection};

fn authority() -> Authority {
    Authority::generate(&AuthorityParams::default(), SystemTime::now()).expect("an authority")
}

fn subject(text: &str) -> LeafSubject {
    match text.parse::<IpAddr>() {
        Ok(address) => LeafSubject::Address(address),
        Err(_) => LeafSubject::Name(HostName::parse(text).expect(text)),
    }
}

fn trusting(authority: &Authority) -> UpstreamTrust {
    let mut trust = UpstreamTrust::default();
    let pem = authority.certificate_pem().as_bytes();
    assert_eq!(trust.add(parse_ca_pem(pem).expect("our own PEM")), 1);
    trust
}

/// A handshake in memory; the client's verdict and what both sides negotiated.
fn handshake(
    leaf: Arc<CertifiedKey>,
    trust: &UpstreamTrust,
    name: &str,
) -> Result<(Option<Vec<u8>>, rustls::ProtocolVersion), rustls::Error> {
    let server = guest_config(leaf, vec![b"h2".to_vec()], system_clock());
    let client = upstream_config(trust, vec![b"h2".to_vec(), b"http/1.1".to_vec()], system_clock());
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory takes bytes");
        }
        server.read_tls(&mut bytes.as_slice()).expect("memory gives bytes");
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory takes bytes");
        }
        client.read_tls(&mut bytes.as_slice()).expect("memory gives bytes");
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    client.writer().write_all(b"hello").expect("room");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory takes bytes");
    server.read_tls(&mut bytes.as_slice()).expect("memory gives bytes");
    server.process_new_packets()?;
    let mut text = [0; 5];
    server.reader().read_exact(&mut text).expect("what was sent");
    assert_eq!(&text, b"hello");
    Ok((client.alpn_protocol().map(<[u8]>::to_vec), client.protocol_version().expect("a version")))
}

#[test]
fn rustls_accepts_names_and_addresses() {
    let authority = authority();
    for name in ["example.com", "a.b.example.com", "10.0.0.1", "fd00::1"] {
        let leaf = authority.mint(&subject(name), SystemTime::now()).expect(name);
        let leaf = leaf.certified_key().expect(name);
        let (protocol, version) = handshake(leaf, &trusting(&authority), name).expect(name);
        assert_eq!(protocol.as_deref(), Some(&b"h2"[..]), "{name}");
        assert_eq!(version, rustls::ProtocolVersion::TLSv1_3, "{name}");
    }
}

#[test]
fn openssl_accepts_what_we_mint_under_strict_rules() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let authority = authority();
    std::fs::write(path("ca.pem"), authority.certificate_pem()).expect("a file");
    for (option, name) in
        [("-verify_hostname", "example.com"), ("-verify_ip", "10.0.0.1"), ("-verify_ip", "fd00::1")]
    {
        let leaf = authority.mint(&subject(name), SystemTime::now()).expect(name);
        std::fs::write(path("leaf.der"), &leaf.chain()[0]).expect("a file");
        let convert = Command::new("openssl")
            .args(["x509", "-inform", "der", "-in"])
            .arg(path("leaf.der"))
            .arg("-out")
            .arg(path("leaf.pem"))
            .status()
            .expect("this test needs the openssl program");
        assert!(convert.success());
        let verify = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslserver", option, name, "-CAfile"])
            .args([path("ca.pem"), path("leaf.pem")])
            .output()
            .expect("this test needs the openssl program");
        let said = String::from_utf8_lossy(&verify.stderr);
        assert!(verify.status.success(), "{name}: {said}");
        let other = Command::new("openssl")
            .args(["verify", "-verify_hostname", "other.example", "-CAfile"])
            .args([path("ca.pem"), path("leaf.pem")])
            .output()
            .expect("this test needs the openssl program");
        assert!(!other.status.success(), "{name} passes for another");
    }
}

#[test]
fn a_mirrored_fault_is_the_fault_the_client_sees() {
    let authority = authority();
    let now = SystemTime::now();
    let mirror = FaultMirror::generate(now).expect("a mirror");
    for fault in [
        UpstreamFault::Expired,
        UpstreamFault::NotYetValid,
        UpstreamFault::WrongName,
        UpstreamFault::UnknownIssuer,
    ] {
        let leaf = mirror.leaf(&authority, &subject("example.com"), fault, now).expect("a leaf");
        let error = handshake(leaf, &trusting(&authority), "example.com").expect_err("a fault");
        assert_eq!(UpstreamFault::from(&error), fault, "{error}");
    }
}

#[test]
fn nobody_is_trusted_by_default_and_skipping_is_explicit() {
    let authority = authority();
    let leaf = authority.mint(&subject("example.com"), SystemTime::now()).expect("a leaf");
    let leaf = leaf.certified_key().expect("a key");
    let error = handshake(Arc::clone(&leaf), &UpstreamTrust::default(), "example.com").expect_err("no trust");
    assert_eq!(UpstreamFault::from(&error), UpstreamFault::UnknownIssuer);
    let skipping = UpstreamTrust::default().dangerous_skip_verification();
    assert!(handshake(leaf, &skipping, "example.com").is_ok());
}

#[test]
fn an_authority_of_ones_own() {
    let now = SystemTime::now();
    let (one, other) = (authority(), authority());
    let (pem, key) = (one.certificate_pem(), one.key_pem());
    let back = Authority::from_pem(pem, &key, now).expect("our own authority");
    let leaf = back.mint(&subject("example.com"), now).expect("a leaf").certified_key().expect("a key");
    assert!(handshake(leaf, &trusting(&one), "example.com").is_ok());
    let leaf = one.mint(&subject("example.com"), now).expect("a leaf");
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let leaf_pem = {
        let directory = tempfile::tempdir().expect("a directory");
        let der = directory.path().join("leaf.der");
        std::fs::write(&der, &leaf.chain()[0]).expect("a file");
        let output = Command::new("openssl").args(["x509", "-inform", "der", "-in"]).arg(&der).output();
        String::from_utf8(output.expect("this test needs the openssl program").stdout).expect("PEM")
    };
    let cases = [
        ("another key", pem, other.key_pem().to_string(), now, AuthorityError::Mismatch),
        ("no key", pem, "nothing".to_owned(), now, AuthorityError::Key),
        ("no certificate", "nothing", key.to_string(), now, AuthorityError::Certificate),
        ("a year late", pem, key.to_string(), now + year, AuthorityError::NotValidNow),
        ("a year early", pem, key.to_string(), now - year, AuthorityError::NotValidNow),
        ("a leaf", &leaf_pem, key.to_string(), now, AuthorityError::Mismatch),
    ];
    for (case, pem, key, now, expected) in cases {
        assert_eq!(Authority::from_pem(pem, &key, now).map(drop), Err(expected), "{case}");
    }
}

#[test]
fn a_life_beyond_all_dates_is_refused() {
    let base = AuthorityParams::default();
    for (backdate, lifetime) in [
        (Duration::MAX, base.lifetime),
        (base.backdate, Duration::MAX),
        (base.backdate, Duration::from_secs(8_000 * 366 * 24 * 60 * 60)),
    ] {
        let mut params = base.clone();
        (params.backdate, params.lifetime) = (backdate, lifetime);
        let refused = Authority::generate(&params, SystemTime::now());
        assert_eq!(refused.map(drop), Err(AuthorityError::Lifetime), "{backdate:?} {lifetime:?}");
    }
}

#[test]
fn leaves_stay_within_the_authority_s_life() {
    let now = SystemTime::now();
    let authority = authority();
    let late = now + Duration::from_secs(30 * 24 * 60 * 60 - 60);
    let leaf = authority.mint(&subject("example.com"), late).expect("a leaf");
    assert!(leaf.not_after <= late + Duration::from_secs(61));
    assert!(authority.mint(&subject("example.com"), now + Duration::from_secs(40 * 24 * 60 * 60)).is_err());
}

#[test]
fn the_cache_is_bounded_and_renews() {
    let now = SystemTime::now();
    let authority = authority();
    let mut cache = LeafCache::new(8);
    let first = cache.get_or_mint(&authority, &subject("first.example"), now).expect("a leaf");
    let again = cache.get_or_mint(&authority, &subject("first.example"), now).expect("a leaf");
    assert!(Arc::ptr_eq(&first, &again));
    let tomorrow = now + Duration::from_secs(23 * 60 * 60 + 60);
    let renewed = cache.get_or_mint(&authority, &subject("first.example"), tomorrow).expect("a leaf");
    assert!(!Arc::ptr_eq(&first, &renewed));
    for index in 0..100 {
        cache.get_or_mint(&authority, &subject(&format!("h{index}.example")), now).expect("a leaf");
        assert!(cache.len() <= 8, "{} leaves", cache.len());
    }
}

#[test]
fn a_configuration_is_kept_with_its_leaf_and_resumes_nothing() {
    let now = SystemTime::now();
    let authority = authority();
    let mut cache = LeafCache::new(2);
    let mut get = |name: &str, alpn: Option<&[u8]>, now| {
        cache.get_or_mint_config(&authority, &subject(name), alpn, system_clock(), now).expect("a leaf")
    };
    let offers: [Option<&[u8]>; 3] = [None, Some(b"h2"), Some(b"http/1.1")];
    let first = offers.map(|alpn| get("first.example", alpn, now));
    for (config, alpn) in first.iter().zip(offers) {
        assert!(Arc::ptr_eq(config, &get("first.example", alpn, now)), "{alpn:?}");
        assert!(config.alpn_protocols.iter().map(Vec::as_slice).eq(alpn), "{alpn:?}");
        assert!(!config.session_storage.can_cache() && config.send_tls13_tickets == 0);
    }
    // A fourth is made and not kept; a renewed leaf has new ones.
    assert!(!Arc::ptr_eq(&get("first.example", Some(b"x"), now), &get("first.example", Some(b"x"), now)));
    let tomorrow = now + Duration::from_secs(23 * 60 * 60 + 60);
    assert!(!Arc::ptr_eq(&first[0], &get("first.example", None, tomorrow)));
}

#[test]
fn clones_of_a_trust_share_its_anchors_until_one_is_changed() {
    let (one, other) = (authority(), authority());
    let first = trusting(&one);
    let mut second = first.clone();
    second.add(parse_ca_pem(other.certificate_pem().as_bytes()).expect("our own PEM"));
    assert_eq!((first.len(), second.len()), (1, 2));
    assert!(first.verifies() && !first.dangerous_skip_verification().verifies());
}

#[test]
fn ca_files() {
    let pem = authority().certificate_pem().to_owned();
    assert_eq!(parse_ca_pem(bundle(&pem, &pem).as_bytes()).map(|list| list.len()), Ok(2));
    let cases: &[(&[u8], CaFileError)] = &[
        (b"", CaFileError::Empty),
        (b"not pem", CaFileError::Empty),
        (b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", CaFileError::Pem),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", CaFileError::Certificate),
    ];
    for (bytes, expected) in cases {
        assert_eq!(parse_ca_pem(bytes), Err(*expected), "{}", String::from_utf8_lossy(bytes));
    }
    assert!(!format!("{:?}", authority()).contains("PRIVATE"));
}
