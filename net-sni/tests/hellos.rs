//! Hellos made by hand, those that clients do not send among them.

mod support;

use net_sni::{
    Ech, FirstFlight, MAX_HELLO_BYTES, MalformedExtension, NameError, ParseError, Sniffer, Status, classify,
    sniff,
};
use support::{bare, handshake, hello, length_16, records, server_name};

const WHOLE: usize = 1 << 14;

/// The names of an extension and what `server_name` answers.
type NameCase<'a> = (&'a [&'a [u8]], Result<Option<&'a [u8]>, NameError>);

fn name_of(bytes: &[u8]) -> Result<Option<Vec<u8>>, NameError> {
    match Sniffer::new(vec![0; MAX_HELLO_BYTES]).handle(bytes) {
        Ok(Status::Complete(hello)) => hello.server_name().map(|name| name.map(<[u8]>::to_vec)),
        other => panic!("no hello: {other:?}"),
    }
}

#[test]
fn names_that_are_none_are_answers_inside_a_whole_hello() {
    let (longest, long, longer) = (vec![b'a'; 253], vec![b'a'; 254], vec![b'a'; 255]);
    let with_dot = [&longest[..], b"."].concat();
    let cases: &[NameCase] = &[
        (&[b"a.example"], Ok(Some(b"a.example"))),
        (&[b"A.Example."], Ok(Some(b"A.Example."))),
        (&[b"_service.example"], Ok(Some(b"_service.example"))),
        (&[&longest], Ok(Some(&longest))),
        (&[&with_dot], Ok(Some(&with_dot))),
        (&[&long], Err(NameError::TooLong)),
        (&[&longer], Err(NameError::TooLong)),
        (&[b""], Err(NameError::Empty)),
        (&[b"."], Err(NameError::Empty)),
        (&[b"10.0.0.1"], Err(NameError::IpAddress)),
        (&[b"10.0.0.1."], Err(NameError::IpAddress)),
        (&[b"::1"], Err(NameError::IpAddress)),
        (&[b"fe80::1:2"], Err(NameError::IpAddress)),
        (&[b"[::1]"], Err(NameError::InvalidByte)),
        (&[b"a:443"], Err(NameError::InvalidByte)),
        (&[b"a\0.example"], Err(NameError::InvalidByte)),
        (&[b"\0"], Err(NameError::InvalidByte)),
        (&[b"a b"], Err(NameError::InvalidByte)),
        (&["bücher.example".as_bytes()], Err(NameError::InvalidByte)),
        (&[b"a.example", b"b.example"], Err(NameError::TwoNames)),
        (&[], Err(NameError::Malformed)),
    ];
    for (names, expected) in cases {
        let message = hello(&[server_name(names)]);
        for size in [1, 7, WHOLE] {
            let found = name_of(&records(&message, size));
            assert_eq!(
                found,
                expected.map(|name| name.map(<[u8]>::to_vec)),
                "{names:?} in records of {size}"
            );
        }
    }
    assert_eq!(name_of(&records(&hello(&[]), WHOLE)), Ok(None));
    assert_eq!(name_of(&records(&handshake(&bare()), WHOLE)), Ok(None), "a hello without extensions");
    const OTHER: &[(&str, &[u8])] = &[
        ("no list", &[]),
        ("a byte after the list", &[0, 4, 0, 0, 1, b'a', 0]),
        ("another type of name", &[0, 4, 1, 0, 1, b'a']),
        ("another type behind the name", &[0, 6, 0, 0, 1, b'a', 1, b'b']),
        ("a name past its list", &[0, 4, 0, 0, 2, b'a']),
    ];
    for (case, body) in OTHER {
        let found = name_of(&records(&hello(&[(0, body.to_vec())]), WHOLE));
        assert_eq!(found, Err(NameError::Malformed), "{case}");
    }
}

#[test]
fn what_is_no_hello_never_becomes_one() {
    let good = hello(&[server_name(&[b"a.example"])]);
    let twice = hello(&[server_name(&[b"a.example"]), server_name(&[b"b.example"])]);
    let grease_twice = hello(&[(0x0a0a, vec![]), (0x1a1a, vec![]), (0x0a0a, vec![])]);
    let with_length = |length: u8| [&[1, 0, 0, length], &good[4..]].concat();
    let short = u8::try_from(good.len() - 5).expect("a short hello");
    let mut no_suites = bare();
    no_suites.drain(36..38);
    no_suites[35] = 0;
    let interrupted = [records(&good[..20], 20), vec![21, 3, 3, 0, 2, 2, 40]].concat();
    let empty_between = [records(&good[..20], 20), vec![22, 3, 1, 0, 0]].concat();
    let huge = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 100]].concat();
    let above_64_kib = [22, 3, 1, 0x40, 0, 1, 1, 0, 1].to_vec();
    let cases: &[(&str, Vec<u8>, ParseError)] = &[
        ("http", b"GET / HTTP/1.1\r\n".to_vec(), ParseError::NotTls),
        ("alert", vec![21, 3, 3, 0, 2, 2, 40], ParseError::NotTls),
        ("major version", vec![22, 4, 0], ParseError::NotTls),
        ("zeros", vec![0; 5], ParseError::NotTls),
        ("sslv2", vec![0x80, 46, 1, 0, 2], ParseError::SslV2),
        ("sslv2 for tls 1.0", vec![0x80, 46, 1, 3, 1, 0, 21], ParseError::SslV2),
        ("top bit and no sslv2 hello", vec![0x80, 46, 2], ParseError::NotTls),
        ("top bit and no sslv2 version", vec![0x80, 46, 1, 0, 3], ParseError::NotTls),
        ("empty record", vec![22, 3, 1, 0, 0], ParseError::RecordLength),
        ("long record", vec![22, 3, 1, 0x40, 1], ParseError::RecordLength),
        ("server hello", vec![22, 3, 1, 0, 4, 2], ParseError::NotClientHello),
        ("server hello in one-byte records", records(&[2, 0, 0, 0], 1), ParseError::NotClientHello),
        ("16 MiB", huge, ParseError::TooLarge),
        ("above 64 KiB", above_64_kib, ParseError::TooLarge),
        ("other record in between", interrupted, ParseError::UnexpectedRecord),
        ("empty record in between", empty_between, ParseError::RecordLength),
        ("length cut", records(&with_length(short), WHOLE), ParseError::Malformed),
        ("0-byte body", records(&handshake(&[]), WHOLE), ParseError::Malformed),
        ("1-byte body", records(&handshake(&[3]), WHOLE), ParseError::Malformed),
        ("2-byte body", records(&handshake(&[3, 3]), WHOLE), ParseError::Malformed),
        ("3-byte body", records(&handshake(&[3, 3, 7]), 1), ParseError::Malformed),
        ("bytes left over", records(&handshake(&[&good[4..], &[0]].concat()), WHOLE), ParseError::Malformed),
        ("no cipher suites", records(&handshake(&no_suites), WHOLE), ParseError::Malformed),
        ("extension twice", records(&twice, WHOLE), ParseError::DuplicateExtension),
        ("grease twice", records(&grease_twice, 9), ParseError::DuplicateExtension),
    ];
    for (case, bytes, expected) in cases {
        let longer = [&bytes[..], &[0; 50]].concat();
        for bytes in [bytes, &longer] {
            let found =
                Sniffer::new(vec![0; MAX_HELLO_BYTES]).handle(bytes).map(|status| format!("{status:?}"));
            assert_eq!(found, Err(*expected), "{case}");
            match sniff(bytes) {
                Ok(Status::Fragmented(fragments)) => {
                    let found =
                        fragments.join(&mut vec![0; MAX_HELLO_BYTES]).map(|status| format!("{status:?}"));
                    assert_eq!(found, Err(*expected), "{case}, joined");
                }
                other => assert_eq!(other, Err(*expected), "{case}, borrowed"),
            }
        }
    }
}

#[test]
fn at_least_is_the_least() {
    // What a byte more could be, for every state: the promise is kept by some continuation.
    let good = hello(&[server_name(&[b"a.example"])]);
    let empty = handshake(&[]);
    let streams =
        [records(&good, WHOLE), records(&good, 3), records(&good, 1), records(&empty, 1), vec![0x80; 9]];
    for stream in &streams {
        for length in 0..stream.len() {
            let prefix = &stream[..length];
            let partial = |bytes: &[u8]| match Sniffer::new([0; 64]).handle(bytes) {
                Ok(Status::Partial { at_least }) => Some(at_least),
                _ => None,
            };
            let Some(at_least) = partial(prefix) else { continue };
            assert!(at_least > length);
            // Not too high: bytes that go on as the stream does, or as none does, but for the last.
            let mut ends = Vec::new();
            for filler in [stream.get(length..).unwrap_or_default(), &[0xff; 100], &[0; 100], &[1; 100]] {
                let filled = [prefix, filler, &[0; 100]].concat();
                ends.extend((0..=255).map(|last| {
                    let mut bytes = filled[..at_least].to_vec();
                    bytes[at_least - 1] = last;
                    bytes
                }));
            }
            assert!(ends.iter().any(|bytes| partial(bytes).is_none()), "{at_least} of {prefix:?} is too low");
            // Not too low: nothing that is shorter has an answer.
            for bytes in &ends {
                for shorter in length..at_least {
                    assert!(partial(&bytes[..shorter]).is_some(), "{at_least} of {prefix:?} is too high");
                }
            }
        }
    }
}

#[test]
fn every_pair_of_first_bytes_is_promised_rightly() {
    for first in 0..=255u8 {
        for second in 0..=255u8 {
            for (prefix, next) in [(vec![], first), (vec![first], second)] {
                let more = [&prefix[..], &[next]].concat();
                match sniff(&prefix) {
                    Ok(Status::Partial { at_least }) if at_least > more.len() => {
                        assert!(matches!(sniff(&more), Ok(Status::Partial { .. })), "{more:?} came too soon");
                    }
                    Ok(Status::Partial { .. }) => {}
                    other => assert_eq!(sniff(&more), other, "{more:?}"),
                }
            }
        }
    }
}

#[test]
fn every_record_version_is_read() {
    let message = hello(&[server_name(&[b"a.example"])]);
    for minor in 0..=255 {
        let mut bytes = records(&message, WHOLE);
        bytes[2] = minor;
        assert_eq!(name_of(&bytes), Ok(Some(b"a.example".to_vec())), "0x03{minor:02x}");
        assert_eq!(classify(&bytes), Status::Complete(FirstFlight::Tls), "0x03{minor:02x}");
    }
}

#[test]
fn a_hello_of_more_than_a_record_is_joined_up_to_the_limit() {
    let padding = |bytes: usize| (21, vec![0; bytes]);
    for bytes in [16_000, 17_000, 40_000, 60_000] {
        let message = hello(&[padding(bytes), server_name(&[b"a.example"])]);
        let stream = records(&message, WHOLE);
        assert_eq!(name_of(&stream), Ok(Some(b"a.example".to_vec())), "{bytes} bytes of padding");
        let body = message.len() - 4;
        for (room, fits) in [(body, true), (body - 1, false), (0, false)] {
            let found = Sniffer::new(vec![0; room]).handle(&stream).map(|status| format!("{status:?}"));
            assert_eq!(found.is_ok(), fits, "{room} for {body} bytes");
            if !fits {
                assert_eq!(found, Err(ParseError::TooLarge));
                // Told as soon as the message says how large it is.
                assert!(Sniffer::new(vec![0; room]).handle(&stream[..9]).is_err());
            }
        }
    }
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_the_record() {
    let message = hello(&[server_name(&[b"a.example"])]);
    let stream = records(&[&message[..], &[0; 500]].concat(), WHOLE);
    let end = 5 + message.len();
    assert_eq!(sniff(&stream[..end - 1]), Ok(Status::Partial { at_least: end }));
    assert!(matches!(sniff(&stream[..end]), Ok(Status::Complete(_))));
    assert_eq!(name_of(&stream[..end]), Ok(Some(b"a.example".to_vec())));
}

#[test]
fn fragments_are_told_by_the_headers() {
    let message = hello(&[]);
    for (size, at) in [(1, 5), (2, 5), (3, 5), (4, 9), (20, 9)] {
        let stream = records(&message, size);
        for length in 0..stream.len() {
            let fragmented = matches!(sniff(&stream[..length]), Ok(Status::Fragmented(_)));
            assert_eq!(fragmented, length >= at, "{length} bytes of records of {size}");
        }
    }
}

/// The first byte of an encrypted_client_hello, the rest, and what it is.
#[test]
fn ech_is_outer_inner_or_neither() {
    const CASES: &[(&[u8], Ech)] = &[
        (&[0, 0, 1, 0, 1, 9, 0, 0, 0, 1, 5], Ech::Outer),
        (&[1], Ech::Inner),
        (&[1, 0], Ech::Malformed),
        (&[2], Ech::Malformed),
        (&[], Ech::Malformed),
    ];
    for (body, expected) in CASES {
        let stream = records(&hello(&[(0xfe0d, body.to_vec())]), WHOLE);
        let Ok(Status::Complete(hello)) = sniff(&stream) else { panic!("no hello") };
        assert_eq!(hello.ech(), Some(*expected), "{body:?}");
    }
}

#[test]
fn lists_are_absent_whole_or_malformed() {
    const ALPN: u16 = 16;
    const GROUPS: u16 = 10;
    const VERSIONS: u16 = 43;
    const ALGORITHMS: u16 = 13;
    const SHARES: u16 = 51;
    const LIMIT: u16 = 28;
    // The extension, its body, and how many entries it has.
    const CASES: &[(u16, &[u8], Result<usize, MalformedExtension>)] = &[
        (ALPN, &[0, 3, 2, b'h', b'2'], Ok(1)),
        (ALPN, &[0, 6, 2, b'h', b'2', 2, 10, 10], Ok(2)),
        (ALPN, &[0, 0], Err(MalformedExtension)),
        (ALPN, &[0, 1, 0], Err(MalformedExtension)),
        (ALPN, &[0, 3, 3, b'h', b'2'], Err(MalformedExtension)),
        (ALPN, &[0, 3, 2, b'h', b'2', 0], Err(MalformedExtension)),
        (GROUPS, &[0, 4, 0x11, 0xec, 0, 29], Ok(2)),
        (GROUPS, &[0, 3, 0x11, 0xec, 0], Err(MalformedExtension)),
        (GROUPS, &[0, 0], Err(MalformedExtension)),
        (GROUPS, &[], Err(MalformedExtension)),
        (VERSIONS, &[4, 10, 10, 3, 4], Ok(2)),
        (VERSIONS, &[3, 3, 4, 3], Err(MalformedExtension)),
        (VERSIONS, &[2, 3, 4, 3], Err(MalformedExtension)),
        (ALGORITHMS, &[0, 2, 4, 3], Ok(1)),
        (ALGORITHMS, &[0, 2, 4], Err(MalformedExtension)),
        (SHARES, &[0, 0], Ok(0)),
        (SHARES, &[0, 5, 10, 10, 0, 1, 0], Ok(1)),
        (SHARES, &[0, 4, 10, 10, 0, 0], Err(MalformedExtension)),
        (SHARES, &[0, 5, 10, 10, 0, 2, 0], Err(MalformedExtension)),
        (LIMIT, &[64, 1], Ok(0x4001)),
        (LIMIT, &[64], Err(MalformedExtension)),
        (LIMIT, &[64, 1, 0], Err(MalformedExtension)),
    ];
    for (kind, body, expected) in CASES {
        let stream = records(&hello(&[(*kind, body.to_vec())]), WHOLE);
        let Ok(Status::Complete(hello)) = sniff(&stream) else { panic!("no hello") };
        let found = match *kind {
            ALPN => hello.alpn().map(Iterator::count),
            GROUPS => hello.supported_groups().map(Iterator::count),
            VERSIONS => hello.supported_versions().map(Iterator::count),
            ALGORITHMS => hello.signature_algorithms().map(Iterator::count),
            SHARES => hello.key_shares().map(|shares| shares.expect("shares").count()),
            _ => hello.record_size_limit().map(|limit| limit.expect("a limit").into()),
        };
        assert_eq!(found, *expected, "extension {kind}: {body:?}");
    }
    let stream = records(&hello(&[]), WHOLE);
    let Ok(Status::Complete(hello)) = sniff(&stream) else { panic!("no hello") };
    assert_eq!(hello.alpn().map(Iterator::count), Ok(0));
    assert_eq!(hello.supported_groups().map(Iterator::count), Ok(0));
    assert_eq!((hello.key_shares(), hello.record_size_limit(), hello.ech()), (Ok(None), Ok(None), None));
    assert!(!hello.has_session_ticket() && !hello.has_pre_shared_key() && !hello.offers_post_quantum());
}

#[test]
fn any_number_of_extensions_is_read() {
    let distinct = |count: u16| (1..=count).map(|kind| (kind, vec![])).collect::<Vec<_>>();
    let message = hello(&[&distinct(16_000)[..], &[server_name(&[b"a.example"])]].concat());
    assert_eq!(name_of(&records(&message, WHOLE)), Ok(Some(b"a.example".to_vec())));
    let message = hello(&[&distinct(300)[..], &distinct(1)].concat());
    assert_eq!(sniff(&records(&message, WHOLE)), Err(ParseError::DuplicateExtension));
    let message = hello(&[&distinct(300)[..], &[(300, length_16(0).to_vec())]].concat());
    assert_eq!(sniff(&records(&message, WHOLE)), Err(ParseError::DuplicateExtension));
}
