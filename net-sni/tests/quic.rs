//! Flows of clients that were really run: `testdata/README.md` says which.

#![cfg(feature = "quic")]

mod support;

use net_sni::{QUIC_BUFFER_BYTES, QuicError, QuicSniffer, Status};
use support::{captures, datagrams};

/// What a flow shows, owned: the name, and the first protocol.
type Said = (Vec<u8>, Vec<u8>);

fn said(hello: &net_sni::ClientHello<'_>) -> Said {
    let name = hello.server_name().expect("a good name").expect("a name");
    let protocol = hello.alpn().expect("a good list").next().expect("a protocol");
    (name.to_vec(), protocol.to_vec())
}

fn expected() -> Said {
    (b"www.example.com".to_vec(), b"h3".to_vec())
}

/// Feeds the datagrams until there is an answer; how many it took, and the answer.
fn feed<'a>(datagrams: impl IntoIterator<Item = &'a &'a [u8]>) -> Result<Option<(usize, Said)>, QuicError> {
    let mut sniffer = QuicSniffer::new(vec![0; QUIC_BUFFER_BYTES]);
    for (count, datagram) in (1..).zip(datagrams) {
        if let Status::Complete(hello) = sniffer.handle(datagram)? {
            return Ok(Some((count, said(&hello))));
        }
    }
    Ok(None)
}

#[test]
fn each_flow_names_its_server() {
    for (client, bytes) in captures("quic") {
        let found = feed(&datagrams(&bytes)).map(|found| found.map(|(_, said)| said));
        assert_eq!(found, Ok(Some(expected())), "{client}");
    }
}

#[test]
fn datagrams_may_come_in_any_order_and_twice() {
    let mut spread = 0;
    for (client, bytes) in captures("quic") {
        let mut datagrams = datagrams(&bytes);
        let (needed, _) = feed(&datagrams).expect("a hello").expect("a hello");
        datagrams.truncate(needed);
        spread += usize::from(needed > 1);
        for turn in 0..needed {
            let mut order = datagrams.clone();
            order.rotate_left(turn);
            let doubled: Vec<_> = order.iter().flat_map(|datagram| [*datagram, datagram]).collect();
            for order in [order.iter().rev().copied().collect(), order, doubled] {
                let found = feed(&order).map(|found| found.map(|(_, said)| said));
                assert_eq!(found, Ok(Some(expected())), "{client}, turned by {turn}");
            }
        }
        // Without the first datagram something is missing.
        if needed > 1 {
            assert_eq!(feed(&datagrams[1..]), Ok(None), "{client}");
        }
    }
    assert!(spread >= 2, "hellos that fill more than one datagram: {spread}");
}

#[test]
fn an_answer_stays_and_a_small_buffer_says_so() {
    for (client, bytes) in captures("quic") {
        let datagrams = datagrams(&bytes);
        let mut sniffer = QuicSniffer::new(vec![0; QUIC_BUFFER_BYTES]);
        for datagram in &datagrams {
            let _ = sniffer.handle(datagram);
        }
        for more in [&[0x40; 1200][..], &[], &[0xc0, 0, 0, 0, 0]] {
            match sniffer.handle(more) {
                Ok(Status::Complete(hello)) => assert_eq!(said(&hello), expected(), "{client}"),
                other => panic!("{client}: {other:?}"),
            }
        }
        let mut small = QuicSniffer::new([0; 1000]);
        assert_eq!(small.handle(datagrams[0]), Err(QuicError::TooLarge), "{client}");
        assert_eq!(small.handle(datagrams[0]), Err(QuicError::TooLarge), "{client}: final");
    }
}

#[test]
fn a_damaged_or_shortened_datagram_is_no_hello() {
    // One packet that fills its datagram.
    let good =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/rfc/rfc9001-a2.bin")).expect("a vector");
    for length in 0..good.len() {
        assert!(feed(&[&good[..length]]).is_err(), "{length} bytes");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(feed(&[&bad[..]]).is_err(), "byte {at}");
    }
}

#[test]
fn what_is_no_initial_packet_has_its_own_answer() {
    let unknown = [&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8][..], &[0; 1194]].concat();
    let cases: &[(&str, Vec<u8>, QuicError)] = &[
        ("nothing", vec![], QuicError::NotQuic),
        ("one byte", vec![0xc0], QuicError::NotQuic),
        ("dns", vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], QuicError::NotQuic),
        ("dtls", vec![22, 0xfe, 0xfd, 0, 0], QuicError::NotQuic),
        ("stun", vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], QuicError::NotQuic),
        ("short header", vec![0x40; 40], QuicError::ShortHeader),
        ("version negotiation", vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], QuicError::VersionNegotiation),
        ("reserved version", unknown, QuicError::UnknownVersion(0x1a2a_3a4a)),
        ("draft 29", vec![0xc0, 0xff, 0, 0, 29], QuicError::UnknownVersion(0xff00_001d)),
        ("connection id past the end", vec![0xc0, 0, 0, 0, 1, 20, 1, 2], QuicError::MalformedPacket),
        (
            "connection id too long",
            [&[0xc0, 0, 0, 0, 1, 21][..], &[0; 1200]].concat(),
            QuicError::MalformedPacket,
        ),
        ("retry", [&[0xf0, 0, 0, 0, 1, 8][..], &[0; 1200]].concat(), QuicError::MalformedPacket),
        (
            "short datagram",
            [&[0xc0, 0, 0, 0, 1, 8][..], &[0; 9], &[0, 20], &[0; 20]].concat(),
            QuicError::DatagramTooShort,
        ),
    ];
    for (case, datagram, expected) in cases {
        assert_eq!(feed(&[&datagram[..]]), Err(*expected), "{case}");
    }
}

#[cfg(feature = "fingerprint")]
#[test]
fn a_flow_has_a_fingerprint() {
    use net_sni::Transport;

    let bytes = support::capture("quic", "chromium");
    let mut sniffer = QuicSniffer::new(vec![0; QUIC_BUFFER_BYTES]);
    let fingerprint = datagrams(&bytes).iter().find_map(|datagram| match sniffer.handle(datagram) {
        Ok(Status::Complete(hello)) => Some(hello.ja4(Transport::Quic)),
        _ => None,
    });
    let fingerprint = fingerprint.expect("a hello").to_string();
    assert!(fingerprint.starts_with("q13d03"), "{fingerprint}");
}
