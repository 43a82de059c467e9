use std::sync::Arc;
use std::vec::Vec;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::{FirstFlight, MAX_HELLO_BYTES, NameError, ParseError, Status, classify, sniff};

/// A ClientHello as rustls sends it, with records of at most `fragment` bytes.
fn rustls_hello(name: &str, alpn: &[&[u8]], fragment: Option<usize>) -> Vec<u8> {
    let mut config =
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.max_fragment_size = fragment;
    let name = ServerName::try_from(name).expect("a server name").to_owned();
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

/// A handshake message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in message.chunks(size) {
        bytes.extend_from_slice(&[22, 3, 1]);
        bytes.extend_from_slice(&u16::try_from(piece.len()).expect("a short record").to_be_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// A ClientHello with these extensions, as a handshake message.
fn hello_with(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::from([3, 3]);
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
    let mut list = Vec::new();
    for (kind, data) in extensions {
        list.extend_from_slice(&kind.to_be_bytes());
        list.extend_from_slice(&u16::try_from(data.len()).expect("a short extension").to_be_bytes());
        list.extend_from_slice(data);
    }
    body.extend_from_slice(&u16::try_from(list.len()).expect("few extensions").to_be_bytes());
    body.extend_from_slice(&list);
    let length = u32::try_from(body.len()).expect("a short hello").to_be_bytes();
    [&[1, length[1], length[2], length[3]], body.as_slice()].concat()
}

fn server_name(names: &[&[u8]]) -> (u16, Vec<u8>) {
    let mut list = Vec::new();
    for name in names {
        list.push(0);
        list.extend_from_slice(&u16::try_from(name.len()).expect("a short name").to_be_bytes());
        list.extend_from_slice(name);
    }
    (0, [&u16::try_from(list.len()).expect("few names").to_be_bytes()[..], &list].concat())
}

fn name_of(bytes: &[u8]) -> Result<Option<Vec<u8>>, NameError> {
    let mut scratch = std::vec![0; bytes.len()];
    match sniff(bytes, &mut scratch) {
        Ok(Status::Complete(hello)) => hello.server_name().map(|name| name.map(<[u8]>::to_vec)),
        other => panic!("no hello: {other:?}"),
    }
}

/// The names of an extension and what `server_name` answers.
type NameCase<'a> = (&'a [&'a [u8]], Result<Option<&'a [u8]>, NameError>);

#[test]
fn what_rustls_sends_is_read() {
    for fragment in [None, Some(64), Some(200)] {
        let bytes = rustls_hello("www.example.com", &[b"h2", b"http/1.1"], fragment);
        assert_eq!(classify(&bytes), Status::Complete(FirstFlight::Tls));
        let mut scratch = std::vec![0; bytes.len()];
        let Ok(Status::Complete(hello)) = sniff(&bytes, &mut scratch) else { panic!("no hello") };
        assert_eq!(hello.server_name(), Ok(Some(&b"www.example.com"[..])), "{fragment:?}");
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
        assert!(hello.supported_versions().any(|version| version == 0x0304));
        assert!(hello.has_key_share() && !hello.has_ech());
    }
}

#[test]
fn every_prefix_is_undecided_and_at_least_never_lies() {
    for fragment in [None, Some(64)] {
        let bytes = rustls_hello("www.example.com", &[b"h2"], fragment);
        let mut promised = 0;
        for length in 0..bytes.len() {
            let mut scratch = std::vec![0; bytes.len()];
            match sniff(&bytes[..length], &mut scratch) {
                Ok(Status::Partial { at_least }) => {
                    assert!(at_least > length && at_least <= bytes.len(), "{length}: {at_least}");
                    assert!(at_least >= promised, "{length}: {at_least} after {promised}");
                    promised = at_least;
                }
                other => panic!("{length} of {}: {other:?}", bytes.len()),
            }
        }
        let longer = [&bytes[..], b"anything at all"].concat();
        assert_eq!(name_of(&longer), name_of(&bytes));
    }
}

#[test]
fn every_split_over_records_shows_the_same() {
    let message = hello_with(&[server_name(&[b"a.example"])]);
    for size in 1..=message.len() {
        assert_eq!(name_of(&records(&message, size)), Ok(Some(b"a.example".to_vec())), "records of {size}");
    }
}

#[test]
fn names_that_are_none() {
    let long = "a".repeat(254).into_bytes();
    let cases: &[NameCase] = &[
        (&[b"a.example"], Ok(Some(b"a.example"))),
        (&[b"A.Example."], Ok(Some(b"A.Example."))),
        (&[b"_service.example"], Ok(Some(b"_service.example"))),
        (&[b""], Err(NameError::Empty)),
        (&[&long], Err(NameError::TooLong)),
        (&[b"10.0.0.1"], Err(NameError::IpAddress)),
        (&[b"::1"], Err(NameError::IpAddress)),
        (&[b"a\0.example"], Err(NameError::InvalidByte)),
        (&[b"a b"], Err(NameError::InvalidByte)),
        (&["bücher.example".as_bytes()], Err(NameError::InvalidByte)),
        (&[b"a.example", b"b.example"], Err(NameError::TwoNames)),
        (&[], Err(NameError::Malformed)),
    ];
    for (names, expected) in cases {
        let found = name_of(&records(&hello_with(&[server_name(names)]), 1 << 14));
        assert_eq!(found, expected.map(|name| name.map(<[u8]>::to_vec)), "{names:?}");
    }
    assert_eq!(name_of(&records(&hello_with(&[]), 100)), Ok(None));
}

#[test]
fn what_is_no_hello() {
    let good = hello_with(&[server_name(&[b"a.example"])]);
    let twice = hello_with(&[server_name(&[b"a.example"]), server_name(&[b"b.example"])]);
    let mut cut = good.clone();
    cut[3] -= 1;
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 100]].concat();
    let interrupted = [records(&good[..20], 20), Vec::from([21, 3, 3, 0, 2, 2, 40])].concat();
    let cases: &[(&str, Vec<u8>, ParseError)] = &[
        ("http", b"GET / HTTP/1.1\r\n".to_vec(), ParseError::NotTls),
        ("alert", Vec::from([21, 3, 3, 0, 2, 2, 40]), ParseError::NotTls),
        ("version", Vec::from([22, 4, 0]), ParseError::NotTls),
        ("sslv2", Vec::from([0x80, 46, 1, 3, 1]), ParseError::SslV2),
        ("empty record", Vec::from([22, 3, 1, 0, 0]), ParseError::RecordLength),
        ("long record", Vec::from([22, 3, 1, 0x40, 1]), ParseError::RecordLength),
        ("server hello", Vec::from([22, 3, 1, 0, 4, 2]), ParseError::NotClientHello),
        ("too large", endless, ParseError::TooLarge),
        ("other record in between", interrupted, ParseError::UnexpectedRecord),
        ("length cut", records(&cut, 1 << 14), ParseError::Malformed),
        ("extension twice", records(&twice, 1 << 14), ParseError::DuplicateExtension),
    ];
    for (case, bytes, expected) in cases {
        let mut scratch = std::vec![0; MAX_HELLO_BYTES];
        assert_eq!(sniff(bytes, &mut scratch), Err(*expected), "{case}");
        // An error is final: more bytes change nothing.
        let longer = [&bytes[..], &[0; 50]].concat();
        let mut scratch = std::vec![0; MAX_HELLO_BYTES];
        assert!(sniff(&longer, &mut scratch).is_err(), "{case}, and more");
    }
}

#[test]
fn first_flights() {
    const CASES: &[(&[u8], FirstFlight)] = &[
        (&[22, 3, 1], FirstFlight::Tls),
        (&[22, 3, 3, 0, 1], FirstFlight::Tls),
        (b"GET / HTTP/1.1\r\n", FirstFlight::Http1),
        (b"OPTIONS * HTTP/1.1\r\n", FirstFlight::Http1),
        (b"VERSION-CONTROL /x HTTP/1.1\r\n", FirstFlight::Http1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FirstFlight::Http2),
        (b"SSH-2.0-OpenSSH\r\n", FirstFlight::Ssh),
        (b"EHLO\r\n", FirstFlight::Other),
        (b"hello", FirstFlight::Other),
        (&[22, 3, 9], FirstFlight::Other),
        (&[22, 4], FirstFlight::Other),
        (&[0], FirstFlight::Other),
        (b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", FirstFlight::Other),
    ];
    for (bytes, expected) in CASES {
        assert_eq!(classify(bytes), Status::Complete(*expected), "{bytes:?}");
        for length in 0..bytes.len() {
            match classify(&bytes[..length]) {
                Status::Complete(early) => assert_eq!(early, *expected, "{length} bytes of {bytes:?}"),
                Status::Partial { at_least } => assert!(at_least > length, "{length} bytes of {bytes:?}"),
            }
        }
    }
}

#[test]
fn the_corpus_holds() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/sniff");
    let files: Vec<_> = std::fs::read_dir(corpus).expect("a corpus").collect();
    assert!(files.len() >= 3, "the corpus is small: {}", files.len());
    for file in files {
        let path = file.expect("a file").path();
        crate::fuzzing::sniff_is_stable(&std::fs::read(&path).expect("a readable file"));
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_stable(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        crate::fuzzing::sniff_is_stable(&bytes);
    }

    #[test]
    fn a_damaged_hello_is_stable(at in 0usize..300, byte: u8) {
        let mut bytes = records(&hello_with(&[server_name(&[b"a.example"]), (16, Vec::from([0, 3, 2, b'h', b'2']))]), 40);
        let length = bytes.len();
        bytes[at % length] = byte;
        crate::fuzzing::sniff_is_stable(&bytes);
    }
}
