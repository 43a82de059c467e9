//! JA4, against the examples of its specification and an independent computation.

#![cfg(feature = "fingerprint")]

mod support;

use net_sni::{MAX_HELLO_BYTES, Sniffer, Status, Transport};
use support::{captures, handshake, length_16, records};

const CIPHERS: &[u16] = &[
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
    0x002f, 0x0035,
];
const EXTENSIONS: &[u16] = &[
    0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01,
    0x000b, 0x000a, 0x0015,
];
const ALGORITHMS: &[u16] = &[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

fn ja4(stream: &[u8]) -> String {
    match Sniffer::new(vec![0; MAX_HELLO_BYTES]).handle(stream) {
        Ok(Status::Complete(hello)) => hello.ja4(Transport::Tcp).to_string(),
        other => panic!("no hello: {other:?}"),
    }
}

fn list(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// A hello with these lists, and bodies for the extensions that the fingerprint looks into.
fn hello(ciphers: &[u16], extensions: &[u16], algorithms: &[u16], protocol: &[u8]) -> Vec<u8> {
    let body = |kind: u16| match kind {
        0x000d => [&length_16(algorithms.len() * 2)[..], &list(algorithms)].concat(),
        0x0010 => {
            let length = u8::try_from(protocol.len()).expect("a short name");
            [&length_16(protocol.len() + 1)[..], &[length], protocol].concat()
        }
        0x002b => vec![6, 0x8a, 0x8a, 3, 4, 3, 3],
        _ => vec![],
    };
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|kind| [&kind.to_be_bytes()[..], &length_16(body(*kind).len()), &body(*kind)].concat())
        .collect();
    let ciphers = list(ciphers);
    let fixed = [&[3, 3][..], &[7; 32], &[0]].concat();
    let lists = [&length_16(ciphers.len())[..], &ciphers, &[1, 0], &length_16(extensions.len()), &extensions];
    records(&handshake(&[fixed, lists.concat()].concat()), 1 << 14)
}

#[test]
fn the_examples_of_the_specification() {
    let example = "t13d1516h2_8daaf6152771_e5627efa2ab1";
    assert_eq!(ja4(&hello(CIPHERS, EXTENSIONS, ALGORITHMS, b"h2")), example);
    // GREASE counts nowhere.
    let greased = |list: &[u16]| [&[0x0a0a][..], list, &[0xfafa]].concat();
    let stream = hello(&greased(CIPHERS), &greased(EXTENSIONS), &greased(ALGORITHMS), b"h2");
    assert_eq!(ja4(&stream), example);
    // Without signature algorithms there is no underscore to hash. An empty list is malformed.
    assert_eq!(ja4(&hello(CIPHERS, EXTENSIONS, &[], b"h2")), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    assert!(ja4(&hello(&[0x0a0a], &[], &[], b"")).ends_with("_000000000000_000000000000"));
}

#[test]
fn protocols_are_two_characters() {
    const CASES: &[(&[u8], &str)] = &[
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (&[0xab], "ab"),
        (&[0xab, 0xcd], "ad"),
        (&[0x30, 0xab], "3b"),
        (&[0x30, 0x31, 0xab, 0xcd], "3d"),
        (&[0x30, 0xab, 0xcd, 0x31], "01"),
        (b"", "00"),
    ];
    for (protocol, expected) in CASES {
        let found = ja4(&hello(CIPHERS, EXTENSIONS, ALGORITHMS, protocol));
        assert_eq!(&found[8..10], *expected, "{protocol:?}");
    }
}

#[test]
fn a_list_too_long_for_the_stack_is_sorted_too() {
    let many: Vec<u16> = (0..2000u16).map(|index| index.wrapping_mul(40_503) & 0xfff0).collect();
    let mut sorted = many.clone();
    sorted.sort_unstable();
    let fingerprint = |ciphers: &[u16]| ja4(&hello(ciphers, EXTENSIONS, ALGORITHMS, b"h2"));
    assert_eq!(fingerprint(&many), fingerprint(&sorted));
    assert_eq!(&fingerprint(&many)[4..6], "99");
    // The two ways of sorting agree: 128 values are sorted in place, 129 are counted.
    let text = |values: &[u16]| fingerprint(values)[11..23].to_owned();
    assert_ne!(text(&many[..128]), text(&many[..129]));
}

/// Computed from the captures by a script that shares nothing with this crate.
#[test]
fn each_client_has_its_own() {
    const CASES: &[(&str, &str)] = &[
        ("chromium", "t13d1517h2_8daaf6152771_cb7bf5808d99"),
        ("curl", "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6"),
        ("gnutls", "t13d2914h2_723694b0fccc_2cc26d266019"),
        ("go", "t13d1910h2_9dc949149365_97f8aa674fd9"),
        ("node", "t13d591000_a33745022dd6_1f22a2ca17c4"),
        ("nss", "t13d351100_948423e5275c_496733ea6893"),
        ("openssl", "t13d311000_e8f1e7e78f70_1f22a2ca17c4"),
        ("openssl-no-name", "t13i3110h2_e8f1e7e78f70_1f22a2ca17c4"),
        ("openssl-tls10", "t10d230600_44099cda8a52_195413a0cc0f"),
        ("openssl-tls12", "t12d280600_d943125447b4_a44c6288192a"),
        ("python", "t13d181100_85036bcba153_d41ae481755e"),
        ("rustls", "t13d1011h2_61a7ad8aa9b6_0d308c48d2a3"),
        ("rustls-fragments", "t13d1011h2_61a7ad8aa9b6_0d308c48d2a3"),
    ];
    let found: Vec<_> = captures("tls").into_iter().map(|(client, bytes)| (client, ja4(&bytes))).collect();
    let expected: Vec<_> = CASES.iter().map(|(client, ja4)| (client.to_string(), ja4.to_string())).collect();
    assert_eq!(found, expected);
}
