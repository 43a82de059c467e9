//! What we mint, judged by others: OpenSSL, GnuTLS and rustls' own verifier.
#![allow(clippy::disallowed_methods, reason = "certificates are judged at the time of the test")]

mod support;

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use net_core::HostName;
use net_tls::{
    Authority, AuthorityError, AuthorityParams, CaFileError, FaultMirror, Leaf, LeafSubject, MintError,
    NameConstraints, UpstreamFault, UpstreamTrust, bundle, guest_config, parse_ca_pem, system_clock,
    upstream_config,
};
use rustls::ClientConfig;
use rustls::pki_types::UnixTime;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use crate::support::{authority, trusting};

fn subject(text: &str) -> LeafSubject {
    match text.parse::<IpAddr>() {
        Ok(address) => LeafSubject::Address(address),
        Err(_) => LeafSubject::Name(HostName::parse(text).expect(text)),
    }
}

/// A handshake in memory; the client's verdict and what both sides negotiated.
fn handshake(
    leaf: Arc<CertifiedKey>,
    trust: &UpstreamTrust,
    name: &str,
) -> Result<(Option<Vec<u8>>, rustls::ProtocolVersion), rustls::Error> {
    let client = upstream_config(trust, vec![b"h2".to_vec(), b"http/1.1".to_vec()], system_clock());
    handshake_as(client, leaf, name)
}

/// The same as this client.
fn handshake_as(
    client: Arc<ClientConfig>,
    leaf: Arc<CertifiedKey>,
    name: &str,
) -> Result<(Option<Vec<u8>>, rustls::ProtocolVersion), rustls::Error> {
    let server = guest_config(leaf, vec![b"h2".to_vec()], system_clock());
    let (mut client, mut server) = support::handshake(&client, &server, name)?;
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

/// Those who judge a chain: rustls' verifier, OpenSSL under its strict rules, GnuTLS.
const JUDGES: [(&str, Judge); 3] = [("webpki", webpki), ("openssl", openssl), ("gnutls", gnutls)];

/// Whether a client that trusts the authority believes that the leaf is of the name.
type Judge = fn(&Authority, &Leaf, &str) -> Result<(), String>;

fn webpki(authority: &Authority, leaf: &Leaf, name: &str) -> Result<(), String> {
    let key = leaf.certified_key().map_err(|error| error.to_string())?;
    handshake(key, &trusting(authority), name).map(drop).map_err(|error| error.to_string())
}

fn openssl(authority: &Authority, leaf: &Leaf, name: &str) -> Result<(), String> {
    let option = if name.parse::<IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    let files = PemFiles::write(authority, leaf);
    let mut command = Command::new("openssl");
    command.args(["verify", "-x509_strict", "-purpose", "sslserver", option, name, "-CAfile"]);
    command.args([files.path("ca.pem"), files.path("leaf.pem")]);
    verdict(&mut command, "the openssl program")
}

fn gnutls(authority: &Authority, leaf: &Leaf, name: &str) -> Result<(), String> {
    let files = PemFiles::write(authority, leaf);
    let mut command = Command::new("certtool");
    command.args(["--verify", "--verify-profile=medium", "--verify-purpose=1.3.6.1.5.5.7.3.1"]);
    command.args(["--verify-hostname", name]);
    command.arg("--load-ca-certificate").arg(files.path("ca.pem"));
    command.arg("--infile").arg(files.path("leaf.pem"));
    verdict(&mut command, "certtool, of gnutls-bin")
}

fn verdict(command: &mut Command, program: &str) -> Result<(), String> {
    let output = command.output().unwrap_or_else(|error| panic!("this test needs {program}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

/// An authority and a leaf as programs read them.
struct PemFiles(tempfile::TempDir);

impl PemFiles {
    fn write(authority: &Authority, leaf: &Leaf) -> Self {
        let files = Self(tempfile::tempdir().expect("a directory"));
        std::fs::write(files.path("ca.pem"), authority.certificate_pem()).expect("a file");
        std::fs::write(files.path("leaf.pem"), pem_of(leaf)).expect("a file");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn pem_of(leaf: &Leaf) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", leaf.chain()[0].to_vec()))
}

fn constrained(names: &[&str], networks: &[(&str, u8)]) -> Authority {
    let names = names.iter().map(|name| name.parse().expect(name));
    let networks = networks.iter().map(|(address, prefix)| (address.parse().expect(address), *prefix));
    let constraints = NameConstraints::permitting(names, networks).expect("few subtrees");
    let mut params = AuthorityParams::default();
    params.constraints = Some(constraints);
    Authority::generate(&params, SystemTime::now()).expect("an authority")
}

/// An authority with the key and name of `one` that says nothing of names: what it mints is what
/// `one` would mint if it did not refuse.
fn unconstrained_leaf(one: &Authority, name: &str) -> Leaf {
    let files = PemFiles(tempfile::tempdir().expect("a directory"));
    std::fs::write(files.path("key.pem"), &*one.key_pem()).expect("a file");
    let output = Command::new("openssl")
        .args(["req", "-x509", "-new", "-days", "2", "-subj", "/CN=net-engine sandbox authority"])
        .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-key"])
        .arg(files.path("key.pem"))
        .args(["-config", "/dev/null"])
        .args(["-addext", "basicConstraints=critical,CA:TRUE", "-addext"])
        .arg(format!("subjectKeyIdentifier={}", hex_key_identifier(one)))
        .output()
        .expect("this test needs the openssl program");
    let pem = String::from_utf8(output.stdout).expect("PEM");
    let twin = Authority::from_pem(&pem, &one.key_pem(), SystemTime::now())
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    twin.mint(&subject(name), SystemTime::now()).expect("a leaf")
}

fn hex_key_identifier(authority: &Authority) -> String {
    let (_, certificate) = X509Certificate::from_der(authority.certificate_der()).expect("a certificate");
    let found = certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::SubjectKeyIdentifier(identifier) = extension.parsed_extension() else {
            return None;
        };
        Some(identifier.0)
    });
    found.expect("an identifier").iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_we_mint_is_accepted_for_its_name_and_no_other() {
    let free = authority();
    let names = constrained(&["example.com", "other.test"], &[]);
    let both = constrained(&["example.com"], &[("10.0.0.0", 8), ("fd00::", 8)]);
    let addresses = constrained(&[], &[("10.0.0.0", 8), ("fd00::1", 128)]);
    for (authority, subjects) in [
        (&free, &["example.com", "a.b.example.com", "10.0.0.1", "fd00::1"][..]),
        (&names, &["example.com", "a.b.example.com", "x.other.test"]),
        (&both, &["example.com", "a.b.example.com", "10.200.0.1", "fd12::1"]),
        (&addresses, &["10.200.0.1", "fd00::1"]),
    ] {
        let said = authority.certificate().constraints().map(ToString::to_string);
        for name in subjects {
            let leaf = authority.mint(&subject(name), SystemTime::now()).expect(name);
            for (judge, verify) in JUDGES {
                assert_eq!(verify(authority, &leaf, name), Ok(()), "{judge}: {name} under {said:?}");
                assert!(verify(authority, &leaf, "no.example.test").is_err(), "{judge}: {name} is another");
            }
        }
    }
}

#[test]
fn what_is_outside_the_constraints_is_refused_by_us_and_by_every_judge() {
    let names = constrained(&["example.com"], &[]);
    let both = constrained(&["example.com"], &[("10.0.0.0", 8), ("fd00::", 8)]);
    let one_family = constrained(&["example.com"], &[("10.0.0.0", 8)]);
    let addresses = constrained(&[], &[("10.0.0.0", 8), ("fd00::", 8)]);
    for (authority, subjects) in [
        (&names, &["example.org", "xexample.com", "com", "10.0.0.1", "fd00::1"][..]),
        (&both, &["example.org", "11.0.0.1", "fe00::1"]),
        (&one_family, &["11.0.0.1", "fd00::1"]),
        (&addresses, &["example.com", "11.0.0.1", "fe00::1"]),
    ] {
        let said = authority.certificate().constraints().map(ToString::to_string);
        for name in subjects {
            let refused = authority.mint(&subject(name), SystemTime::now());
            assert_eq!(refused.map(drop), Err(MintError::NotPermitted), "{name} under {said:?}");
            let leaf = unconstrained_leaf(authority, name);
            for (judge, verify) in JUDGES {
                let refused = verify(authority, &leaf, name);
                assert!(refused.is_err(), "{judge} accepts {name} under {said:?}");
            }
        }
        // The twin is no reason to refuse: what is permitted passes by it.
        let name =
            if authority.certificate().permits(&subject("example.com")) { "example.com" } else { "10.0.0.1" };
        let leaf = unconstrained_leaf(authority, name);
        for (judge, verify) in JUDGES {
            assert_eq!(verify(authority, &leaf, name), Ok(()), "{judge}: {name} under {said:?}");
        }
    }
}

#[test]
fn an_authority_says_what_it_is() {
    let now = SystemTime::now();
    let authority = constrained(&["example.com"], &[]);
    let (_, certificate) = X509Certificate::from_der(authority.certificate_der()).expect("a certificate");
    let hours = |hours: i64| hours * 60 * 60;
    let seconds =
        i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH).expect("now").as_secs()).expect("now");
    let validity = certificate.validity();
    assert!((seconds - hours(48) - validity.not_before.timestamp()).abs() < hours(1));
    assert!((seconds + hours(30 * 24) - validity.not_after.timestamp()).abs() < hours(1));
    let basic = certificate.basic_constraints().expect("readable").expect("basicConstraints");
    assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint == Some(0));
    let usage = certificate.key_usage().expect("readable").expect("keyUsage");
    assert!(usage.critical && usage.value.key_cert_sign() && !usage.value.digital_signature());
    let constraints = certificate.name_constraints().expect("readable").expect("nameConstraints");
    assert!(constraints.critical);
    let leaf = authority.mint(&subject("example.com"), now).expect("a leaf");
    let (_, leaf) = X509Certificate::from_der(&leaf.chain()[0]).expect("a certificate");
    let issuer = leaf.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(identifier) = extension.parsed_extension() else {
            return None;
        };
        identifier.key_identifier.as_ref()
    });
    let issuer: String = issuer.expect("an identifier").0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(issuer, hex_key_identifier(&authority));
    assert!(leaf.raw_serial().len() <= 16 && leaf.raw_serial().len() > 8);
}

#[test]
fn a_wrong_name_is_mirrored_by_a_constrained_authority_too() {
    let now = SystemTime::now();
    let mirror = FaultMirror::generate(now).expect("a mirror");
    let authority = constrained(&["example.com"], &[]);
    let leaf =
        mirror.leaf(&authority, &subject("example.com"), UpstreamFault::WrongName, now).expect("a leaf");
    let error = handshake(leaf, &trusting(&authority), "example.com").expect_err("a fault");
    assert_eq!(UpstreamFault::from(&error), UpstreamFault::WrongName, "{error}");
    let authority = constrained(&[], &[("10.0.0.0", 8)]);
    let leaf = mirror.leaf(&authority, &subject("10.0.0.1"), UpstreamFault::WrongName, now).expect("a leaf");
    assert!(handshake(leaf, &trusting(&authority), "10.0.0.1").is_err());
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
    let leaf_pem = pem_of(&leaf);
    let several = bundle(pem, other.certificate_pem());
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).stderr(Stdio::null()).output();
        String::from_utf8(output.expect("this test needs the openssl program").stdout).expect("PEM")
    };
    let of_kind = |kind: &[&str]| {
        let req = ["req", "-x509", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=a", "-newkey"];
        openssl(&[&req[..], kind].concat())
    };
    let (weak, curve) = (of_kind(&["rsa:1024"]), of_kind(&["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]));
    let strong = of_kind(&["rsa:2048"]);
    // It took its time, and is not valid before.
    let strong_at = SystemTime::now();
    let files = PemFiles::write(&one, &leaf);
    std::fs::write(files.path("key.pem"), &**key).expect("a file");
    let key_path = files.path("key.pem").display().to_string();
    let pkcs8 = openssl(&["pkey", "-in", &key_path, "-aes256", "-passout", "pass:x"]);
    let sec1 = openssl(&["ec", "-in", &key_path, "-aes256", "-passout", "pass:x"]);
    assert!(pkcs8.contains("ENCRYPTED") && sec1.contains("ENCRYPTED"));
    let cases = [
        ("another key", pem, other.key_pem().to_string(), now, AuthorityError::Mismatch),
        ("no key", pem, "nothing".to_owned(), now, AuthorityError::Key),
        ("no certificate", "nothing", key.to_string(), now, AuthorityError::Certificate),
        ("a year late", pem, key.to_string(), now + year, AuthorityError::Expired),
        ("a year early", pem, key.to_string(), now - year, AuthorityError::NotValidYet),
        ("a leaf", &leaf_pem, key.to_string(), now, AuthorityError::NotAuthority),
        ("several", &several, key.to_string(), now, AuthorityError::SeveralCertificates),
        ("a short rsa key", &weak, key.to_string(), now, AuthorityError::WeakKey),
        ("a long rsa key, of another", &strong, key.to_string(), strong_at, AuthorityError::Mismatch),
        ("a curve nobody verifies", &curve, key.to_string(), now, AuthorityError::UnsupportedKey),
        ("encrypted pkcs8", pem, pkcs8, now, AuthorityError::EncryptedKey),
        ("encrypted sec1", pem, sec1, now, AuthorityError::EncryptedKey),
    ];
    for (case, pem, key, now, expected) in cases {
        assert_eq!(Authority::from_pem(pem, &key, now).map(drop), Err(expected), "{case}");
    }
}

#[test]
fn a_client_whose_clock_is_wrong_by_hours_believes_a_leaf() {
    #[derive(Debug)]
    struct Clock(UnixTime);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            Some(self.0)
        }
    }

    let authority = authority();
    let leaf = authority.mint(&subject("example.com"), SystemTime::now()).expect("a leaf");
    let leaf = leaf.certified_key().expect("a key");
    let now = UnixTime::now().as_secs();
    let hour = 60 * 60;
    for (at, is_believed) in [
        (now - 2 * hour, true),
        (now - 23 * hour, true),
        (now + 2 * hour, true),
        (now + 23 * hour, true),
        (now - 25 * hour, false),
        (now + 25 * hour, false),
    ] {
        let clock = Clock(UnixTime::since_unix_epoch(Duration::from_secs(at)));
        let client = upstream_config(&trusting(&authority), vec![b"h2".to_vec()], Arc::new(clock));
        let met = handshake_as(client, Arc::clone(&leaf), "example.com").map(drop);
        assert_eq!(met.is_ok(), is_believed, "{} s: {met:?}", at.cast_signed() - now.cast_signed());
    }
}

#[test]
fn an_authority_needs_a_successor_a_day_before_its_end() {
    let authority = authority();
    let (renew_at, end) = (authority.certificate().renew_at(), authority.certificate().not_after());
    assert_eq!(end, renew_at + Duration::from_secs(24 * 60 * 60));
    // Until then a leaf lives for as long as ever.
    let leaf = authority.mint(&subject("example.com"), renew_at).expect("a leaf");
    assert_eq!(leaf.not_after, end);
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
