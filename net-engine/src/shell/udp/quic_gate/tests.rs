#![allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]

use net_core::Protocol;
use proptest::prelude::*;

use super::*;
use client::{flight, hello, initial};

#[path = "../../../../tests/shell/quic_client.rs"]
mod client;

const FIRST: [u8; 8] = [1; 8];
const SECOND: [u8; 8] = [2; 8];

fn flow(port: u16) -> Flow {
    let (guest, upstream) = (([172, 16, 0, 2], port).into(), ([9, 9, 9, 9], 443).into());
    Flow { protocol: Protocol::Udp, guest, upstream }
}

/// In a word, and the name or the number of datagrams that were held.
fn word(seen: &Seen) -> String {
    match seen {
        Seen::NoHello => "passes".to_owned(),
        Seen::Held => "held".to_owned(),
        Seen::Dropped => "dropped".to_owned(),
        Seen::Hello { name: Ok(Some(name)), held, .. } => format!("{name} behind {}", held.iter().count()),
        Seen::Hello { name: Ok(None), .. } => "no name".to_owned(),
        Seen::Hello { name: Err(()), .. } => "invalid".to_owned(),
        Seen::Unreadable => "unreadable".to_owned(),
    }
}

struct World {
    gates: QuicGates,
    now: Instant,
}

impl World {
    fn new(limits: &Limits) -> Self {
        Self { gates: QuicGates::new(limits), now: Instant::now() }
    }

    fn see(&mut self, datagram: &[u8], is_carried: bool) -> String {
        word(&self.gates.see(&flow(5000), datagram, is_carried, self.now))
    }
}

#[test]
fn a_hello_over_two_datagrams_waits_for_the_second() {
    let [first, second] = flight(&FIRST, "a.example");
    for order in [[&first, &second], [&second, &first]] {
        let mut world = World::new(&Limits::default());
        assert_eq!(world.see(order[0], false), "held");
        // What overtakes its hello waits behind it.
        assert_eq!(world.see(&[0x40; 50], false), "held");
        let Seen::Hello { held, .. } = world.gates.see(&flow(5000), order[1], false, world.now) else {
            panic!("no hello");
        };
        let held: Vec<_> = held.iter().collect();
        assert_eq!(held, [&order[0][..], &[0x40; 50]]);
    }
}

#[test]
fn datagrams_on_a_flow_that_is_carried() {
    let [first, second] = flight(&FIRST, "a.example");
    let whole = |id, name: &str| {
        let hello = hello(name);
        // Small enough for one datagram: nobody reads the key share.
        initial(id, 0, 0, &shortened(&hello))
    };
    let mut garbage = first.clone();
    garbage[600] ^= 1;
    let mixed = [&whole(&FIRST, "a.example")[..], &whole(&SECOND, "b.example")].concat();
    let mut world = World::new(&Limits::default());
    world.see(&first, false);
    assert_eq!(world.see(&second, false), "a.example behind 1");
    let cases: &[(&str, &[u8], &str)] = &[
        ("short header", &[0x40; 50], "passes"),
        ("another version", &[0xc0, 0xff, 0, 0, 29, 8, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], "passes"),
        ("sent again", &second, "passes"),
        ("sent again, damaged", &garbage, "passes"),
        ("the same id, another name", &whole(&FIRST, "b.example"), "dropped"),
        ("half of another name", &flight(&FIRST, "b.example")[0], "dropped"),
        ("an id of the server's", &with_id(&second, &SECOND), "passes"),
        ("two connections in one datagram", &mixed, "dropped"),
        ("another connection", &whole(&SECOND, "b.example"), "b.example behind 0"),
        ("that one again", &whole(&SECOND, "b.example"), "dropped"),
        ("an initial packet that is too short", &initial(&[3; 8], 0, 0, b"x")[..600], "passes"),
        ("frames no client sends", &unreadable(), "dropped"),
    ];
    for (case, datagram, expected) in cases {
        assert_eq!(world.see(datagram, true), *expected, "{case}");
    }
}

/// The hello with everything behind its server_name cut off, lengths mended.
fn shortened(hello: &[u8]) -> Vec<u8> {
    // Message header 4, version and random 34, session id, suites, compression, then extensions.
    let mut at = 38;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    at += 1 + usize::from(hello[at]);
    let mut extensions = &hello[at + 2..];
    let mut kept = Vec::new();
    while let [high, low, length_high, length_low, ..] = *extensions {
        let length = 4 + usize::from(u16::from_be_bytes([length_high, length_low]));
        if [high, low] == [0, 0] {
            kept = extensions[..length].to_vec();
        }
        extensions = &extensions[length..];
    }
    let mut body = hello[4..at].to_vec();
    body.extend_from_slice(&u16::try_from(kept.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&kept);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// A packet that goes on under an ID of the server's choice: its keys are still those of the first one.
fn with_id(datagram: &[u8], id: &[u8; 8]) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    datagram[6..14].copy_from_slice(id);
    datagram
}

/// A hello that is none.
fn unreadable() -> Vec<u8> {
    initial(&[4; 8], 0, 0, &[2, 0, 0, 0])
}

#[test]
fn what_cannot_be_read_says_so_on_a_new_flow() {
    let mut world = World::new(&Limits::default());
    assert_eq!(world.see(&[0x40; 50], false), "passes");
    assert_eq!(world.see(&unreadable(), false), "unreadable");
    let [first, _] = flight(&FIRST, "a.example");
    assert_eq!(world.see(&first, false), "held");
    let contradiction = initial(&FIRST, 1, 0, &[2, 0, 0, 0]);
    assert_eq!(world.see(&contradiction, false), "unreadable");
    // The connection is forgotten, and read anew.
    assert_eq!(world.see(&first, false), "held");
}

#[test]
fn a_connection_that_was_not_let_through_is_read_again() {
    let [first, second] = flight(&FIRST, "a.example");
    let mut world = World::new(&Limits::default());
    world.see(&first, false);
    let Seen::Hello { id, .. } = world.gates.see(&flow(5000), &second, false, world.now) else {
        panic!("no hello");
    };
    world.gates.forget(&flow(5000), id);
    assert_eq!(world.see(&first, true), "held");
    assert_eq!(world.see(&second, true), "a.example behind 1");
    // Nor does it pass where its flow is gone.
    assert_eq!(world.see(&second, false), "held");
}

#[test]
fn everything_is_bounded() {
    let limits = Limits { max_quic_hellos: 2, max_held_datagram_bytes: 2_500, ..Limits::default() };
    let mut world = World::new(&limits);
    let [first, second] = flight(&FIRST, "a.example");
    for port in 1..=3 {
        world.gates.see(&flow(port), &first, false, world.now);
        world.now += Duration::from_secs(1);
    }
    assert_eq!(world.gates.gates.len(), 2);
    // The first has yielded, and begins again; the third is as it was.
    assert_eq!(word(&world.gates.see(&flow(3), &second, false, world.now)), "a.example behind 1");
    assert_eq!(word(&world.gates.see(&flow(1), &second, false, world.now)), "held");
    for _ in 0..9 {
        world.gates.see(&flow(1), &[0; 1_000], false, world.now);
    }
    assert_eq!(word(&world.gates.see(&flow(1), &first, false, world.now)), "a.example behind 2");
    assert!(world.gates.poll_timeout().is_some_and(|due| due <= world.now + limits.hello_timeout));
    world.gates.handle_timeout(world.now + limits.hello_timeout);
    assert_eq!((world.gates.gates.len(), world.gates.poll_timeout()), (0, None));
    assert!(world.gates.spare.len() <= MAX_SPARE);
}

proptest! {
    /// Pieces of connections in any order among noise: nothing panics, the bounds hold, and a name is only
    /// shown by whoever has sent all of its hello.
    #[test]
    fn any_datagrams_in_any_order(steps in proptest::collection::vec((0u16..3, 0u8..3, 0u8..6, any::<bool>(), any::<u8>()), 0..40)) {
        let limits = Limits { max_quic_hellos: 3, max_held_datagram_bytes: 3_000, ..Limits::default() };
        let mut world = World::new(&limits);
        let mut seen = std::collections::BTreeSet::new();
        for (port, id, kind, is_carried, noise) in steps {
            let [first, second] = FLIGHTS.with(|flights| flights[usize::from(id)].clone());
            let datagram = match kind {
                0 => first,
                1 => second,
                2 => vec![noise; 30],
                3 => {
                    let mut damaged = first;
                    let at = usize::from(noise) * 4;
                    damaged[at] ^= 1 | noise;
                    damaged
                }
                4 => [&first[..], &second].concat(),
                _ => {
                    world.now += Duration::from_secs(u64::from(noise % 12));
                    continue;
                }
            };
            if kind == 0 || kind == 1 || kind == 4 {
                seen.insert((port, id, kind));
            }
            let outcome = world.gates.see(&flow(port), &datagram, is_carried, world.now);
            if let Seen::Hello { name: Ok(Some(name)), .. } = &outcome {
                let own = name.as_str().as_bytes()[0] - b'a';
                let halves = [(port, own, 0), (port, own, 1)].iter().all(|half| seen.contains(half));
                prop_assert!(halves || seen.contains(&(port, own, 4)), "{name} from {port}");
            }
            prop_assert!(world.gates.gates.len() <= limits.max_quic_hellos);
            let held = world.gates.gates.iter().filter_map(|gate| gate.held.as_ref());
            prop_assert!(held.into_iter().all(|held| held.bytes.len() <= limits.max_held_datagram_bytes));
        }
    }
}

thread_local! {
    static FLIGHTS: [[Vec<u8>; 2]; 3] =
        [0, 1, 2].map(|id: u8| flight(&[id + 1; 8], &format!("{}.example", char::from(b'a' + id))));
}
