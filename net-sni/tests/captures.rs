//! Hellos of clients that were really run: `testdata/README.md` says which.

mod support;

use net_sni::{MAX_HELLO_BYTES, NamedGroup, Sniffer, Status, is_grease, sniff};
use rustls::server::Acceptor;
use support::{captures, message, records};

const NAME: &[u8] = b"www.example.com";

/// What a hello says, owned.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    name: Option<Vec<u8>>,
    alpn: Vec<Vec<u8>>,
}

fn said(hello: &net_sni::ClientHello<'_>) -> Said {
    let name = hello.server_name().expect("a name or none").map(<[u8]>::to_vec);
    Said { name, alpn: hello.alpn().expect("protocols or none").map(<[u8]>::to_vec).collect() }
}

fn joined(bytes: &[u8]) -> Said {
    match Sniffer::new(vec![0; MAX_HELLO_BYTES]).handle(bytes) {
        Ok(Status::Complete(hello)) => said(&hello),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_says_what_its_client_was_told_to() {
    for (client, bytes) in captures("tls") {
        let said = joined(&bytes);
        let expected = if client.ends_with("no-name") { None } else { Some(NAME.to_vec()) };
        assert_eq!(said.name, expected, "{client}");
        let offers_h2 = said.alpn.iter().any(|protocol| protocol == b"h2");
        let expected =
            ["curl", "gnutls", "go", "chromium", "rustls"].iter().any(|name| client.starts_with(name));
        assert_eq!(offers_h2, expected || client == "openssl-no-name", "{client}: {:?}", said.alpn);
    }
}

#[test]
fn rustls_reads_the_same_name_and_protocols() {
    for (client, bytes) in captures("tls") {
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &bytes[..]).expect("bytes in memory");
        let accepted = match acceptor.accept() {
            Ok(accepted) => accepted.expect("a whole hello"),
            // It needs signature_algorithms, which came with TLS 1.2.
            Err(_) if client == "openssl-tls10" => continue,
            Err((error, _)) => panic!("{client}: {error}"),
        };
        let hello = accepted.client_hello();
        let name = hello.server_name().map(|name| name.as_bytes().to_vec());
        let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
        assert_eq!(joined(&bytes), Said { name, alpn }, "{client}");
    }
}

#[test]
fn every_prefix_waits_and_every_longer_one_shows_the_same() {
    for (client, bytes) in captures("tls") {
        let longer = [&bytes[..], b"anything at all"].concat();
        let mut promised = 0;
        for length in 0..longer.len() {
            let prefix = &longer[..length];
            let mut buffer = vec![0; MAX_HELLO_BYTES];
            let mut sniffer = Sniffer::new(&mut buffer[..]);
            match sniffer.handle(prefix) {
                Ok(Status::Partial { at_least }) => {
                    assert!(at_least > length && at_least <= bytes.len(), "{client}: {length}, {at_least}");
                    assert!(at_least >= promised, "{client}: {at_least} after {promised}");
                    promised = at_least;
                }
                Ok(Status::Complete(hello)) => {
                    assert!(length >= bytes.len(), "{client}: {length} of {} bytes", bytes.len());
                    assert_eq!(said(&hello), joined(&bytes), "{client}: {length} bytes");
                }
                Err(error) => panic!("{client}: {length} bytes: {error}"),
            }
            match sniff(prefix) {
                Ok(Status::Fragmented(fragments)) => {
                    assert_eq!(client, "rustls-fragments");
                    let again =
                        fragments.join(&mut vec![0; MAX_HELLO_BYTES]).map(|status| format!("{status:?}"));
                    assert_eq!(again, sniffer.handle(&[]).map(|status| format!("{status:?}")));
                }
                Ok(Status::Partial { at_least }) => {
                    assert_eq!(sniffer.handle(&[]), Ok(Status::Partial { at_least }), "{client}: {length}");
                }
                Ok(Status::Complete(hello)) => {
                    assert_eq!(sniffer.handle(&[]), Ok(Status::Complete(hello)), "{client}: {length}");
                }
                Err(error) => panic!("{client}: {length} bytes: {error}"),
            }
        }
    }
}

#[test]
fn every_split_shows_the_same() {
    for (client, bytes) in captures("tls") {
        let whole = joined(&bytes);
        for at in 0..=bytes.len() {
            let mut sniffer = Sniffer::new(vec![0; MAX_HELLO_BYTES]);
            let (first, second) = bytes.split_at(at);
            let early = sniffer.handle(first).map(|status| matches!(status, Status::Partial { .. }));
            assert_eq!(early, Ok(at < bytes.len()), "{client} at {at}");
            match sniffer.handle(second) {
                Ok(Status::Complete(hello)) => assert_eq!(said(&hello), whole, "{client} at {at}"),
                other => panic!("{client} at {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn every_size_of_records_and_of_reads_shows_the_same() {
    for (client, bytes) in captures("tls") {
        let whole = joined(&bytes);
        let message = message(&bytes);
        for size in (1..=message.len()).filter(|size| *size < 40 || size % 37 == 0) {
            let bytes = records(&message, size);
            assert_eq!(joined(&bytes), whole, "{client} in records of {size}");
            let mut sniffer = Sniffer::new(vec![0; MAX_HELLO_BYTES]);
            let mut hello = None;
            for chunk in bytes.chunks(size % 11 + 1) {
                assert_eq!(hello, None, "{client}: an answer before the last byte");
                match sniffer.handle(chunk) {
                    Ok(Status::Partial { .. }) => {}
                    Ok(Status::Complete(whole)) => hello = Some(said(&whole)),
                    Err(error) => panic!("{client} in records of {size}: {error}"),
                }
            }
            assert_eq!(hello.as_ref(), Some(&whole), "{client} in records of {size}");
        }
    }
}

#[test]
fn what_browsers_add_is_seen() {
    let bytes = support::capture("tls", "chromium");
    let Ok(Status::Complete(hello)) = sniff(&bytes) else { panic!("no hello") };
    assert!(hello.cipher_suites().any(is_grease));
    assert!(hello.extensions().any(|extension| is_grease(extension.kind)));
    assert_eq!(hello.ech(), Some(net_sni::Ech::Outer), "GREASE, as the name has no ECH keys");
    assert!(hello.offers_post_quantum() && hello.has_session_ticket() && !hello.has_pre_shared_key());
    let mut shares = hello.key_shares().expect("key shares").expect("a TLS 1.3 client");
    let share =
        shares.find(|share| share.group == NamedGroup::X25519_MLKEM768).expect("a post-quantum share");
    assert_eq!(share.group.name(), Some("X25519MLKEM768"));
    // An ML-KEM-768 encapsulation key and an X25519 key.
    assert_eq!(share.key_exchange.len(), 1184 + 32);
}
