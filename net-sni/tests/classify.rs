//! The first bytes of protocols.

use net_sni::{FirstFlight, Status, classify};

const CASES: &[(&[u8], FirstFlight)] = &[
    (&[22, 3], FirstFlight::Tls),
    (&[22, 3, 3, 0, 1], FirstFlight::Tls),
    (&[22, 3, 9], FirstFlight::Tls),
    (&[22, 4], FirstFlight::Other),
    (b"GET /", FirstFlight::Http1),
    (b"GET / HTTP/1.1\r\n", FirstFlight::Http1),
    (b"CONNECT a.example:443 HTTP/1.1\r\n", FirstFlight::Http1),
    (b"OPTIONS * HTTP/1.1\r\n", FirstFlight::Http1),
    (b"PRI * HTTP/1.1\r\n", FirstFlight::Http1),
    (b"VERSION-CONTROL /x HTTP/1.1\r\n", FirstFlight::Http1),
    (b"\r\nGET / HTTP/1.1\r\n", FirstFlight::Other),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FirstFlight::Http2),
    (b"SSH-2.0-OpenSSH\r\n", FirstFlight::Ssh),
    (b"SSH /", FirstFlight::Http1),
    (b"EHLO\r\n", FirstFlight::Other),
    (b"GET  /", FirstFlight::Other),
    (b"GET \r\n", FirstFlight::Other),
    (b"get / HTTP/1.1", FirstFlight::Other),
    (b"hello", FirstFlight::Other),
    (&[0x80, 46, 1, 3, 1], FirstFlight::Other),
    (&[0], FirstFlight::Other),
    (b"AAAAAAAAAAAAAAAAAAAAAAAAA", FirstFlight::Other),
];

#[test]
fn first_flights_are_told_apart_by_every_prefix() {
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

/// Bytes that stand for all others.
const ALPHABET: &[u8] = b"\r\n -/*AGETPRIHSM012.a\0\x16\x03\x80";

/// From every start in the table, whatever two bytes come next: an answer stays, comes when it is
/// promised, and for some next byte just then.
#[test]
fn at_least_is_the_least() {
    for (bytes, _) in CASES {
        for length in 0..=bytes.len() {
            let prefix = &bytes[..length];
            let next: Vec<_> = (0..=255).map(|byte| [prefix, &[byte]].concat()).collect();
            match classify(prefix) {
                Status::Partial { at_least } => {
                    assert_eq!(at_least, length + 1, "{prefix:?}");
                    let answers = next.iter().filter(|more| matches!(classify(more), Status::Complete(_)));
                    assert!(answers.count() > 0, "no byte decides after {prefix:?}");
                }
                answer @ Status::Complete(_) => {
                    for more in &next {
                        assert_eq!(classify(more), answer, "{more:?}");
                        for byte in ALPHABET {
                            let more = [&more[..], &[*byte]].concat();
                            assert_eq!(classify(&more), answer, "{more:?}");
                        }
                    }
                }
            }
        }
    }
}

/// Nothing is waited for where no continuation is anything: everything that is `Partial` becomes
/// more than one thing.
#[test]
fn nothing_waits_for_bytes_that_cannot_change_it() {
    const ENDS: &[&[u8]] = &[b"", b"A", b" /", b"-2.0-x", b"\0", &[3]];
    for (bytes, _) in CASES {
        for length in 0..=bytes.len() {
            let prefix = &bytes[..length];
            if matches!(classify(prefix), Status::Complete(_)) {
                continue;
            }
            let ends = ENDS.iter().map(|end| [prefix, end].concat());
            let rest =
                CASES.iter().filter(|(case, _)| case.starts_with(prefix)).map(|(case, _)| case.to_vec());
            let mut found: Vec<_> = ends
                .chain(rest)
                .filter_map(|bytes| match classify(&bytes) {
                    Status::Complete(kind) => Some(kind),
                    Status::Partial { .. } => None,
                })
                .collect();
            found.dedup();
            assert!(found.len() > 1, "{prefix:?} can only be {found:?}");
        }
    }
}
