#![allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use smoltcp::wire::{Ipv4Repr, Ipv6Repr};

use super::*;

const V4: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 2)), IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)));
const V6: (IpAddr, IpAddr) = (
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
);

/// The header a fragment has; its lengths are those of a fragment and must not matter.
fn header((source, destination): (IpAddr, IpAddr)) -> Vec<u8> {
    let (next_header, hop_limit, payload_len) = (IpProtocol::Udp, 64, 8);
    match (source, destination) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let mut header = vec![0; 20];
            let repr = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            repr.emit(&mut Ipv4Packet::new_unchecked(&mut header), &Default::default());
            header
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let mut header = vec![0; 40];
            let next_header = IpProtocol::Ipv6Frag;
            let repr = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            repr.emit(&mut Ipv6Packet::new_unchecked(&mut header));
            header
        }
        _ => unreachable!("one family"),
    }
}

struct World {
    fragments: Fragments,
    now: Instant,
}

/// What became of a fragment.
type Outcome = Result<Option<Vec<u8>>, DropReason>;

impl World {
    fn new(limits: &Limits) -> Self {
        Self { fragments: Fragments::new(limits), now: Instant::now() }
    }

    fn send(
        &mut self,
        ends: (IpAddr, IpAddr),
        id: u32,
        (offset, is_last): (usize, bool),
        data: &[u8],
    ) -> Outcome {
        let header = header(ends);
        let (source, destination) = ends;
        let place = Place { id, offset, is_last };
        let fragment = Fragment { place, source, destination, header: &header, data };
        let whole = self.fragments.handle(&fragment, self.now)?;
        Ok(whole.map(|whole| whole.packet().to_vec()))
    }
}

/// The data of a whole packet, whose header is checked.
fn data_of(packet: &[u8]) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        let packet = Ipv4Packet::new_checked(packet).expect("lengths that agree");
        assert!(packet.verify_checksum() && !packet.more_frags() && packet.frag_offset() == 0);
        assert_eq!(packet.next_header(), IpProtocol::Udp);
        packet.payload().to_vec()
    } else {
        let packet = Ipv6Packet::new_checked(packet).expect("lengths that agree");
        assert_eq!(packet.next_header(), IpProtocol::Udp);
        packet.payload().to_vec()
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

/// Offset, length, whether it is the last, and what becomes of it: waits, done, or dropped.
type Step = (usize, usize, bool, &'static str);

#[test]
fn what_makes_a_datagram_and_what_does_not() {
    const CASES: &[(&str, &[Step])] = &[
        ("in order", &[(0, 16, false, "waits"), (16, 8, false, "waits"), (24, 5, true, "done")]),
        ("backwards", &[(24, 5, true, "waits"), (16, 8, false, "waits"), (0, 16, false, "done")]),
        ("the middle last", &[(0, 16, false, "waits"), (24, 5, true, "waits"), (16, 8, false, "done")]),
        ("the same twice", &[(0, 16, false, "waits"), (0, 16, false, "dropped"), (16, 5, true, "dropped")]),
        (
            "overlap by one unit",
            &[(0, 16, false, "waits"), (8, 16, true, "dropped"), (16, 8, true, "dropped")],
        ),
        ("within another", &[(0, 32, false, "waits"), (8, 8, false, "dropped"), (32, 8, true, "dropped")]),
        ("around another", &[(8, 8, false, "waits"), (0, 24, false, "dropped"), (24, 8, true, "dropped")]),
        (
            "the last one twice",
            &[(16, 8, true, "waits"), (16, 8, true, "dropped"), (0, 16, false, "dropped")],
        ),
        ("two ends", &[(16, 8, true, "waits"), (24, 8, true, "dropped"), (0, 16, false, "dropped")]),
        ("beyond the end", &[(16, 8, true, "waits"), (24, 8, false, "dropped"), (0, 16, false, "dropped")]),
        (
            "an end before others",
            &[(24, 8, false, "waits"), (8, 8, true, "dropped"), (0, 8, false, "dropped")],
        ),
        (
            "not a multiple of eight",
            &[(0, 15, false, "malformed"), (0, 16, false, "waits"), (16, 1, true, "done")],
        ),
        ("empty", &[(0, 0, false, "malformed"), (8, 0, true, "malformed"), (0, 8, false, "waits")]),
        (
            "beyond all lengths",
            &[(65_528, 8, true, "malformed"), (0, 8, false, "waits"), (8, 8, true, "done")],
        ),
    ];
    for ends in [V4, V6] {
        for (case, steps) in CASES {
            let mut world = World::new(&Limits::default());
            let source = bytes(65_536 + 8);
            for (offset, length, is_last, expected) in *steps {
                let outcome = world.send(ends, 7, (*offset, *is_last), &source[*offset..offset + length]);
                let word = match &outcome {
                    Ok(None) => "waits",
                    Ok(Some(packet)) => {
                        let data = data_of(packet);
                        assert_eq!(data, source[..data.len()], "{case}");
                        "done"
                    }
                    Err(DropReason::Malformed) => "malformed",
                    Err(_) => "dropped",
                };
                assert_eq!(word, *expected, "{case}: {offset}+{length} of {ends:?}");
            }
            // Once it is whole the same id is another datagram.
            if steps.last().is_some_and(|step| step.3 == "done") {
                assert_eq!((world.fragments.bytes, world.fragments.pending.len()), (0, 0), "{case}");
                assert_eq!(world.send(ends, 7, (0, false), &source[..8]), Ok(None), "{case}");
            }
        }
    }
}

#[test]
fn the_largest_datagrams_there_are() {
    for (ends, counted) in [(V4, 20), (V6, 0)] {
        let source = bytes(usize::from(u16::MAX) - counted);
        let mut world = World::new(&Limits::default());
        let pieces = source.len().div_ceil(1480);
        for (index, piece) in source.chunks(1480).enumerate() {
            let outcome = world.send(ends, 1, (index * 1480, index + 1 == pieces), piece);
            match outcome {
                Ok(Some(packet)) => assert_eq!((data_of(&packet), index + 1), (source.clone(), pieces)),
                outcome => assert_eq!((outcome, index + 1 < pieces), (Ok(None), true)),
            }
        }
        // One byte more is none.
        let end = (source.len() & !7, true);
        assert_eq!(world.send(ends, 2, end, &bytes(source.len() % 8 + 1)), Err(DropReason::Malformed));
    }
}

#[test]
fn datagrams_differ_by_their_ends_and_their_id() {
    let mut world = World::new(&Limits::default());
    let other = (V4.0, IpAddr::V4(Ipv4Addr::new(9, 9, 9, 8)));
    for (ends, id) in [(V4, 1), (V4, 2), (other, 1), (V6, 1)] {
        assert_eq!(world.send(ends, id, (0, false), &[1; 8]), Ok(None));
    }
    for (ends, id) in [(V6, 1), (other, 1), (V4, 2), (V4, 1)] {
        assert!(matches!(world.send(ends, id, (8, true), &[2; 8]), Ok(Some(_))), "{ends:?} {id}");
    }
}

#[test]
fn a_datagram_in_one_fragment_is_whole_and_touches_no_other() {
    let mut world = World::new(&Limits::default());
    assert_eq!(world.send(V6, 1, (0, false), &[1; 8]), Ok(None));
    let whole = world.send(V6, 1, (0, true), b"atomic").expect("it is taken").expect("it is whole");
    assert_eq!(data_of(&whole), b"atomic");
    assert!(matches!(world.send(V6, 1, (8, true), &[2; 8]), Ok(Some(_))));
}

#[test]
fn what_is_not_completed_in_time_is_forgotten() {
    let mut world = World::new(&Limits::default());
    let patience = Limits::default().fragment_timeout;
    assert_eq!(world.send(V4, 1, (0, false), &[1; 8]), Ok(None));
    assert_eq!(world.fragments.poll_timeout(), Some(world.now + patience));
    world.now += patience / 2;
    // What comes meanwhile buys no time.
    assert_eq!(world.send(V4, 1, (16, true), &[3; 8]), Ok(None));
    world.now += patience / 2;
    assert_eq!(world.send(V4, 1, (8, false), &[2; 8]), Ok(None));
    assert_eq!(world.fragments.pending.len(), 1);
    world.fragments.handle_timeout(world.now + patience);
    assert_eq!((world.fragments.bytes, world.fragments.poll_timeout()), (0, None));
}

#[test]
fn a_flood_holds_no_more_than_its_bound_and_the_oldest_yields() {
    let limits = Limits { max_fragment_bytes: 256 << 10, ..Limits::default() };
    let mut world = World::new(&limits);
    for id in 0..1_000 {
        // The end of a datagram of 64 KiB, and nothing else of it.
        assert_eq!(world.send(V6, id, (65_000 & !7, true), &[1; 8]), Ok(None));
        assert!(world.fragments.bytes <= limits.max_fragment_bytes);
    }
    assert_eq!(world.fragments.pending.len(), 4);
    for id in 0..1_000 {
        assert_eq!(world.send(V4, id, (8, false), &[1; 8]), Ok(None));
    }
    assert_eq!(world.fragments.pending.len(), 16);
    // The smallest fragments there are do not make a large datagram.
    let dropped =
        (0..1_000).filter(|index| world.send(V4, 9_999, (index * 16, false), &[0; 8]).is_err()).count();
    assert_eq!(dropped, 1_000 - MAX_FRAGMENTS);
    let none = Limits { max_fragment_bytes: 0, ..Limits::default() };
    assert_eq!(World::new(&none).send(V4, 1, (0, false), &[1; 8]), Err(DropReason::Fragment));
}

#[test]
fn the_number_of_datagrams_is_bounded() {
    let limits = Limits { max_fragment_bytes: 64 << 20, ..Limits::default() };
    let mut world = World::new(&limits);
    for id in 0..1_000 {
        assert_eq!(world.send(V4, id, (8, false), &[1; 8]), Ok(None));
        assert_eq!(world.send(V4, id, (8, false), &[1; 8]), Err(DropReason::Fragment));
    }
    assert_eq!((world.fragments.pending.len(), world.fragments.bytes), (MAX_DATAGRAMS, 0));
}

proptest! {
    /// Whatever the cut and the order, the whole is what was cut; with one piece twice it is nothing.
    #[test]
    fn any_cut_in_any_order(
        length in 9usize..4_000,
        cuts in proptest::collection::btree_set(1usize..500, 0..12),
        order in any::<u64>(),
        repeated in proptest::option::of(any::<usize>()),
        is_v6: bool,
    ) {
        let ends = if is_v6 { V6 } else { V4 };
        let source = bytes(length);
        let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut * 8).filter(|cut| *cut < length).collect();
        if at.is_empty() {
            at.push(8);
        }
        let starts = std::iter::once(0).chain(at.iter().copied());
        let mut pieces: Vec<Range<usize>> =
            starts.zip(at.iter().copied().chain([length])).map(|(start, end)| start..end).collect();
        let mut random = order | 1;
        for index in (1..pieces.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let other = usize::try_from(random >> 33).unwrap() % (index + 1);
            pieces.swap(index, other);
        }
        if let Some(which) = repeated {
            // Before the last one, which completes it.
            let piece = pieces[which % (pieces.len() - 1)].clone();
            pieces.insert(pieces.len() - 1, piece);
        }
        let mut world = World::new(&Limits::default());
        let mut wholes = Vec::new();
        for piece in &pieces {
            let outcome = world.send(ends, 5, (piece.start, piece.end == length), &source[piece.clone()]);
            wholes.extend(outcome.ok().flatten());
        }
        if repeated.is_some() {
            prop_assert_eq!(wholes.len(), 0);
        } else {
            prop_assert_eq!(wholes.len(), 1);
            prop_assert_eq!(data_of(&wholes[0]), source);
        }
    }
}
