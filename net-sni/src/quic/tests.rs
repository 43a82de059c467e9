use std::format;
use std::fs;
use std::path::Path;
use std::vec::Vec;

use super::packet::{self, Packet, Version};
use super::protection::Keys;
use super::testing::{DESTINATION, coalesced, crypto, packet};
use crate::{InitialIds, NamedGroup, ParseError, QUIC_BUFFER_BYTES, QuicError, QuicSniffer, Status};

fn vector(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rfc").join(name);
    fs::read(path).expect("a vector")
}

/// The ClientHello of RFC 9001, appendix A.2, which RFC 9369 uses too: a handshake message.
fn hello() -> Vec<u8> {
    let packet = vector("rfc9001-a2.bin");
    let Ok((Packet::Initial(initial), _)) = packet::parse(&packet) else { panic!("no initial packet") };
    let mut scratch = [0; 1200];
    let opened = Keys::client(Version::One, &DESTINATION).open(&initial, 0, &mut scratch).expect("it opens");
    opened.payload[4..245].to_vec()
}

/// The name a flow shows, if it has a hello.
type Shown = Result<Option<Vec<u8>>, QuicError>;

/// What a flow of these datagrams shows last.
fn last(datagrams: &[Vec<u8>]) -> Shown {
    let mut sniffer = QuicSniffer::new([0; QUIC_BUFFER_BYTES]);
    let mut name = None;
    for datagram in datagrams {
        if let Status::Complete(hello) = sniffer.handle(datagram)? {
            name = hello.server_name().expect("a good name").map(<[u8]>::to_vec);
        }
    }
    Ok(name)
}

fn example() -> Shown {
    Ok(Some(b"example.com".to_vec()))
}

#[test]
fn the_vectors_of_the_standards_open() {
    // RFC 9001, appendix A.2, and RFC 9369, appendix A.2: the same frames under other keys.
    for (name, version) in [("rfc9001-a2.bin", Version::One), ("rfc9369-a2.bin", Version::Two)] {
        let bytes = vector(name);
        let Ok((Packet::Initial(initial), rest)) = packet::parse(&bytes) else { panic!("{name}: no packet") };
        assert_eq!((initial.version, initial.destination, rest), (version, &DESTINATION[..], &[][..]));
        let mut scratch = [0; 1200];
        let opened = Keys::client(version, &DESTINATION).open(&initial, 0, &mut scratch).expect("it opens");
        assert_eq!((opened.number, opened.payload.len()), (2, 1162), "{name}");
        assert_eq!(opened.payload[..8], [6, 0, 0x40, 0xf1, 1, 0, 0, 0xed], "{name}");
        assert!(opened.payload[245..].iter().all(|byte| *byte == 0), "{name}");

        let mut sniffer = QuicSniffer::new([0; QUIC_BUFFER_BYTES]);
        let Ok(Status::Complete(hello)) = sniffer.handle(&bytes) else { panic!("{name}: no hello") };
        assert_eq!(hello.server_name(), Ok(Some(&b"example.com"[..])));
        assert_eq!(hello.alpn().map(Iterator::collect), Ok(Vec::from([&b"alpn"[..]])));
        assert_eq!(hello.record_size_limit(), Ok(Some(0x4001)));
        assert!(hello.supported_groups().expect("groups").any(|group| group == NamedGroup::X25519));
    }
}

#[test]
fn a_sealed_packet_is_the_one_of_the_standard() {
    // Our sealing, which the tests below rest on, against the same vector: number 2 in two bytes
    // instead of four changes the header only.
    let again = packet(2, &crypto(0, &hello()));
    assert_eq!(again.len(), 1200);
    assert_eq!(last(&[again]), example());
}

#[test]
fn frames_come_in_any_order_over_packets_and_datagrams() {
    let hello = hello();
    let piece = |from: usize, to: usize| crypto(from, &hello[from..to.min(hello.len())]);
    for size in [1, 2, 3, 7, 50, 100, 200, 241] {
        let pieces: Vec<_> = (0..hello.len()).step_by(size).map(|from| piece(from, from + size)).collect();
        let per_datagram = pieces.len().div_ceil(4);
        let datagrams = |pieces: &[Vec<u8>]| -> Vec<_> {
            (0..)
                .zip(pieces.chunks(per_datagram))
                .map(|(number, some)| packet(number, &some.concat()))
                .collect()
        };
        assert_eq!(last(&datagrams(&pieces)), example(), "pieces of {size}");
        let backwards: Vec<_> = pieces.iter().rev().cloned().collect();
        assert_eq!(last(&datagrams(&backwards)), example(), "pieces of {size}, backwards");
        let twice: Vec<_> = pieces.iter().flat_map(|piece| [piece.clone(), piece.clone()]).collect();
        assert_eq!(last(&datagrams(&twice)), example(), "pieces of {size}, twice");
        let evens = pieces.iter().step_by(2).chain(pieces.iter().skip(1).step_by(2)).cloned();
        let scattered = last(&datagrams(&evens.collect::<Vec<_>>()));
        // With more gaps than any client leaves, the answer is that.
        assert!(
            scattered == example() || size == 1 && scattered == Err(QuicError::TooManyGaps),
            "{scattered:?}"
        );
    }
    // Overlapping pieces that agree.
    assert_eq!(last(&[packet(0, &[piece(50, 200), piece(0, 100), piece(90, 241)].concat())]), example());
    // Several packets in one datagram, a 0-RTT packet between them and noise behind.
    let zero_rtt = [&[0xd0, 0, 0, 0, 1, 8][..], &DESTINATION, &[0, 30], &[9; 30]].concat();
    let parts = [
        coalesced(&DESTINATION, 0, &piece(0, 60)),
        zero_rtt.clone(),
        coalesced(&DESTINATION, 1, &piece(60, 241)),
        Vec::from([0; 900]),
    ];
    assert_eq!(last(&[parts.concat()]), example());
    // A 0-RTT packet that overtook the first Initial packet.
    assert_eq!(last(&[zero_rtt, packet(0, &piece(0, 241))]), example());
}

#[test]
fn other_frames_are_read_over() {
    let whole = crypto(0, &hello());
    let ack = [2, 0x40, 9, 0, 1, 3, 0, 2];
    let ack_ecn = [3, 9, 0, 0, 3, 1, 2, 3];
    let cases: &[(&str, Vec<u8>, Shown)] = &[
        ("padding and ping", [&[0, 0, 1, 0][..], &whole].concat(), example()),
        ("ack", [&ack[..], &ack_ecn, &whole].concat(), example()),
        ("empty crypto", [crypto(9, &[]), whole.clone()].concat(), example()),
        ("nothing of the hello", Vec::from([1]), Ok(None)),
        ("close", Vec::from([0x1c, 0, 0, 0]), Err(QuicError::Closed)),
        ("stream frame", Vec::from([8, 0, 0]), Err(QuicError::MalformedFrame)),
        ("application's close", Vec::from([0x1d, 0, 0]), Err(QuicError::MalformedFrame)),
        ("handshake done", Vec::from([0x1e]), Err(QuicError::MalformedFrame)),
        ("unknown frame", Vec::from([0x7f, 0xff]), Err(QuicError::MalformedFrame)),
        ("far offset", crypto(60_000, b"x"), Err(QuicError::TooLarge)),
        ("server hello", crypto(0, &[2, 0, 0, 0]), Err(QuicError::Hello(ParseError::NotClientHello))),
        ("64 KiB", crypto(0, &[1, 1, 0, 0]), Err(QuicError::Hello(ParseError::TooLarge))),
        ("empty hello", crypto(0, &[1, 0, 0, 0]), Err(QuicError::Hello(ParseError::Malformed))),
        ("two stories", [crypto(0, &[1, 0, 0]), crypto(2, &[1])].concat(), Err(QuicError::Conflict)),
    ];
    for (case, frames, expected) in cases {
        assert_eq!(last(&[packet(0, frames)]), *expected, "{case}");
    }
    // Frames that end with the packet, so that no padding stands in for what is missing.
    let full = |frame: &[u8]| {
        let packet = coalesced(&DESTINATION, 0, &[&[1; 1200][..], frame].concat());
        last(&[packet])
    };
    assert_eq!(full(&[]), Ok(None));
    let cut: &[&[u8]] =
        &[&[6], &[6, 0, 5, 1], &[6, 0x40], &[2, 9, 0, 9, 0, 1], &[3, 9, 0, 0, 3, 1, 2], &[0x40]];
    for frame in cut {
        assert_eq!(full(frame), Err(QuicError::MalformedFrame), "{frame:?}");
    }
}

#[test]
fn packets_of_others_change_nothing_once_the_flow_is_known() {
    let hello = hello();
    let (start, end) = (packet(0, &crypto(0, &hello[..100])), packet(1, &crypto(100, &hello[100..])));
    let mut damaged = end.clone();
    damaged[600] ^= 1;
    let other = coalesced(&[1; 8], 1, &[&crypto(100, &hello[100..])[..], &[0; 1000]].concat());
    let short = coalesced(&DESTINATION, 1, &crypto(100, &hello[100..]));
    let noise = [&[][..], &[0x40; 50], &[0xc0, 0, 0, 0, 0, 0, 0], &[0; 1200], &damaged, &other, &short];
    for noise in noise {
        assert_eq!(last(&[start.clone(), noise.to_vec()]), Ok(None), "{} bytes", noise.len());
        assert_eq!(last(&[start.clone(), noise.to_vec(), end.clone()]), example(), "{} bytes", noise.len());
    }
    // Before that the same are the flow's own answer.
    assert_eq!(last(&[damaged, start.clone(), end.clone()]), Err(QuicError::Unauthentic));
    assert_eq!(last(&[short, start, end]), Err(QuicError::DatagramTooShort));
}

#[test]
fn a_packet_that_does_not_open_hides_none_behind_it() {
    let mut garbage = coalesced(&DESTINATION, 0, &[0; 40]);
    garbage[40] ^= 1;
    let whole =
        [garbage.clone(), coalesced(&DESTINATION, 1, &[&crypto(0, &hello())[..], &[0; 900]].concat())];
    assert_eq!(last(&[whole.concat()]), example());
    let nothing = vec_of(&garbage, 20);
    assert_eq!(last(&[nothing]), Err(QuicError::Unauthentic));
}

fn vec_of(piece: &[u8], count: usize) -> Vec<u8> {
    std::iter::repeat_n(piece, count).flatten().copied().collect()
}

#[test]
fn what_is_sent_again_must_say_the_same() {
    let hello = hello();
    let mut sniffer = QuicSniffer::new([0; QUIC_BUFFER_BYTES]);
    let whole = packet(0, &crypto(0, &hello));
    assert!(matches!(sniffer.handle(&whole), Ok(Status::Complete(_))));
    let mut other = hello.clone();
    other[200] ^= 1;
    let strange = coalesced(&[1; 8], 1, &[&crypto(0, &other)[..], &[0; 1000]].concat());
    let cases: &[(&str, Vec<u8>, Result<(), QuicError>)] = &[
        ("the same", whole, Ok(())),
        ("a part of it", packet(1, &crypto(100, &hello[100..150])), Ok(())),
        ("no part of it", packet(2, &[1]), Ok(())),
        ("another connection", strange, Ok(())),
        ("no quic", Vec::from([0x40; 30]), Ok(())),
        ("another hello", packet(3, &crypto(0, &other)), Err(QuicError::Conflict)),
        ("a part of another", packet(4, &crypto(190, &other[190..210])), Err(QuicError::Conflict)),
        ("a close", packet(5, &[0x1c, 0, 0, 0]), Err(QuicError::Closed)),
    ];
    for (case, datagram, expected) in cases {
        assert_eq!(sniffer.check(datagram), *expected, "{case}");
        let Ok(Status::Complete(answer)) = sniffer.handle(&[]) else {
            panic!("{case}: the answer has changed")
        };
        assert_eq!(answer.server_name(), Ok(Some(&b"example.com"[..])), "{case}");
    }
}

#[test]
fn ids_of_initial_packets_are_told_without_opening_any() {
    let of = |datagram: &[u8]| InitialIds::of(datagram).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let zero_rtt = [&[0xd0, 0, 0, 0, 1, 8][..], &[7; 8], &[0, 30], &[9; 30]].concat();
    let (one, two) = (coalesced(&DESTINATION, 0, &[0; 40]), coalesced(&[1; 12], 1, &[0; 40]));
    let mut damaged = one.clone();
    damaged[40] ^= 1;
    let id_of =
        |version: &[u8], id: &[u8]| [version, &[u8::try_from(id.len()).expect("a short id")], id].concat();
    let id = || id_of(&[0, 0, 0, 1], &DESTINATION);
    assert_eq!(of(&one), [id()]);
    assert_eq!(of(&damaged), [id()]);
    assert_eq!(of(&vector("rfc9369-a2.bin")), [id_of(&[0x6b, 0x33, 0x43, 0xcf], &DESTINATION)]);
    assert_eq!(of(&[&zero_rtt[..], &one, &[0; 100], &two].concat()), [id()]);
    assert_eq!(of(&[&one[..], &two, &one].concat()), [id(), id_of(&[0, 0, 0, 1], &[1; 12]), id()]);
    for none in [&[][..], &zero_rtt, &[0x40; 50], &[0xc0, 0, 0, 0, 9, 0, 0, 0], &one[..30]] {
        assert_eq!(of(none), Vec::<Vec<u8>>::new(), "{none:?}");
    }
}

#[test]
fn at_least_counts_the_crypto_stream() {
    let hello = hello();
    let mut sniffer = QuicSniffer::new([0; QUIC_BUFFER_BYTES]);
    for (number, (range, at_least)) in
        (0..).zip([(200..241, 1), (0..2, 4), (2..4, 241), (4..100, 241), (101..200, 241)])
    {
        let datagram = packet(number, &crypto(range.start, &hello[range.clone()]));
        assert_eq!(sniffer.handle(&datagram), Ok(Status::Partial { at_least }), "{range:?}");
    }
    let datagram = packet(9, &crypto(100, &hello[100..101]));
    assert!(matches!(sniffer.handle(&datagram), Ok(Status::Complete(_))));
}

#[test]
fn packet_numbers_are_completed_as_the_standard_says() {
    // RFC 9000, appendix A.3: a client whose numbers start high, and one that goes on from there.
    for numbers in [[0u16, 1], [0xfffe, 0xffff], [5, 3], [0x7fff, 0x8001]] {
        let hello = hello();
        let [first, second] = numbers;
        let flow = [packet(first, &crypto(0, &hello[..9])), packet(second, &crypto(9, &hello[9..]))];
        assert_eq!(last(&flow), example(), "{numbers:?}");
    }
}

#[test]
fn errors_read_like_sentences_without_their_source() {
    assert_eq!(format!("{}", QuicError::UnknownVersion(0x1a2a_3a4a)), "quic version 0x1a2a3a4a is unknown");
    let error = QuicError::Hello(ParseError::Malformed);
    assert_eq!(format!("{error}"), "the crypto stream holds no clienthello");
}
