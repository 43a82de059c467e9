use bytes::Bytes;

use super::frame::{Header, Opcode, apply_mask};
use super::{FrameError, WebSocketError};
use crate::tests::{VALUE, binding, compile, host};
use crate::{Binding, Destination, MAX_GROWN_BYTES, Places, SecretSet, ViolationKind};

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

fn set() -> SecretSet {
    let places = || Places { websocket: true, ..Places::default() };
    compile(vec![
        Binding { places: places(), ..binding("TOKEN", "netsec_key", VALUE, &["a.example"]) },
        Binding {
            places: places(),
            ..binding("QUOTED", "netsec_quoted", "a \"quoted\" value", &["a.example"])
        },
        Binding { places: places(), ..binding("OTHER", "netsec_other", "another-value", &["b.example"]) },
    ])
    .expect("a set")
}

fn frame(is_last: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Header::write(is_last, opcode, mask, payload, &mut frame);
    frame
}

/// The frames in `bytes`, unmasked.
fn read(bytes: &[u8]) -> Vec<(bool, Opcode, Vec<u8>)> {
    let (mut frames, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (header, used) = Header::parse(rest).expect("a frame").expect("a whole one");
        let end = used + usize::try_from(header.payload_bytes).expect("a length");
        let mut payload = rest[used..end].to_vec();
        if let Some(mask) = header.mask {
            apply_mask(mask, 0, &mut payload);
        }
        frames.push((header.is_last, header.opcode, payload));
        rest = &rest[end..];
    }
    frames
}

/// What leaves of a stream of the guest's, in pieces.
fn rewrite(stream: &[u8], size: usize, max_held: usize) -> (Vec<u8>, Result<(), WebSocketError>) {
    let (set, name) = (set(), host("a.example"));
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let mut rewriter = set.websocket_rewriter(&to, max_held);
    let mut sent = Vec::new();
    for piece in stream.chunks(size) {
        let mut piece = Bytes::copy_from_slice(piece);
        while !piece.is_empty() {
            match rewriter.feed(&mut piece) {
                Ok(bytes) => sent.extend_from_slice(&bytes),
                Err(error) => return (sent, Err(error)),
            }
        }
    }
    (sent, Ok(()))
}

#[test]
fn messages_are_rewritten_whole_however_they_are_cut() {
    let text = |payload: &[u8]| frame(true, Opcode::Text, Some(MASK), payload);
    let long = [b"netsec_key ".to_vec(), vec![b'x'; 70_000]].concat();
    let long_expected = [VALUE.as_bytes(), b" ", &long[11..]].concat();
    let stream = [
        text(b"a netsec_key b"),
        frame(false, Opcode::Text, Some(MASK), b" {\"key\": \"netsec_"),
        frame(true, Opcode::Control(9), Some([9; 4]), b"are you there"),
        frame(false, Opcode::Continuation, Some([1, 2, 3, 4]), b""),
        frame(true, Opcode::Continuation, Some([4, 3, 2, 1]), b"quoted\"}"),
        frame(true, Opcode::Binary, Some(MASK), b"\0netsec_key\xff"),
        text(b""),
        frame(true, Opcode::Binary, Some(MASK), &long),
        frame(true, Opcode::Control(8), Some(MASK), b"\x03\xe8"),
    ]
    .concat();
    let expected = vec![
        (true, Opcode::Text, format!("a {VALUE} b").into_bytes()),
        (true, Opcode::Control(9), b"are you there".to_vec()),
        (true, Opcode::Text, br#" {"key": "a \"quoted\" value"}"#.to_vec()),
        (true, Opcode::Binary, [b"\0", VALUE.as_bytes(), b"\xff"].concat()),
        (true, Opcode::Text, Vec::new()),
        (true, Opcode::Binary, long_expected),
        (true, Opcode::Control(8), b"\x03\xe8".to_vec()),
    ];
    for size in [1, 2, 3, 7, 100, stream.len()] {
        let (sent, result) = rewrite(&stream, size, 1 << 20);
        assert_eq!(result, Ok(()), "in pieces of {size}");
        assert!(read(&sent) == expected, "in pieces of {size}");
    }
}

#[test]
fn nothing_of_a_message_with_a_placeholder_leaves() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        for hidden in ["netsec_other", "netsec%5fother", "bmV0c2VjX290aGVy"] {
            let text = format!("a long text before it, {hidden}");
            for split in 0..=text.len() {
                let stream = [
                    frame(true, Opcode::Text, Some(MASK), b"hello"),
                    frame(false, opcode, Some(MASK), &text.as_bytes()[..split]),
                    frame(true, Opcode::Continuation, Some(MASK), &text.as_bytes()[split..]),
                ]
                .concat();
                let (sent, result) = rewrite(&stream, 5, 1 << 20);
                let Err(WebSocketError::Violation(violation)) = result else { panic!("{hidden} at {split}") };
                assert_eq!(violation.kind, ViolationKind::Host);
                assert_eq!(read(&sent), [(true, Opcode::Text, b"hello".to_vec())], "{hidden} at {split}");
            }
        }
    }
    let ping = frame(true, Opcode::Control(9), Some(MASK), b"netsec_key");
    assert!(rewrite(&ping, 1, 1 << 20).1.is_err(), "a control frame is no message");
}

#[test]
fn a_message_that_cannot_be_held_goes_on_in_fragments() {
    let payload = [vec![b'x'; 5_000], b" netsec_key ".to_vec(), vec![b'y'; 5_000]].concat();
    let expected = [vec![b'x'; 5_000], format!(" {VALUE} ").into_bytes(), vec![b'y'; 5_000]].concat();
    let stream = frame(true, Opcode::Text, Some(MASK), &payload);
    let (sent, result) = rewrite(&stream, 100, 1_000);
    assert_eq!(result, Ok(()));
    let frames = read(&sent);
    assert!(frames.len() > 5 && frames.iter().rev().skip(1).all(|(is_last, ..)| !is_last));
    assert!(frames[0].1 == Opcode::Text && frames[1..].iter().all(|frame| frame.1 == Opcode::Continuation));
    assert!(frames.into_iter().flat_map(|(.., payload)| payload).eq(expected));
    // The byte that completes it does not leave.
    let payload = [vec![b'x'; 5_000], b"netsec_other".to_vec()].concat();
    let (sent, result) = rewrite(&frame(true, Opcode::Text, Some(MASK), &payload), 100, 1_000);
    assert!(result.is_err());
    let sent: Vec<u8> = read(&sent).into_iter().flat_map(|(.., payload)| payload).collect();
    assert!(payload.starts_with(&sent) && !sent.is_empty() && sent.len() < 5_008);
}

#[test]
fn a_message_goes_on_before_its_end_where_it_is_told_to() {
    let (set, name) = (set(), host("a.example"));
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let mut rewriter = set.websocket_rewriter(&to, 1 << 20);
    let mut first = Bytes::from(frame(false, Opcode::Text, Some(MASK), b"netsec_key and netsec_"));
    assert!(rewriter.feed(&mut first).expect("frames").is_empty() && first.is_empty());
    assert_eq!(
        rewriter.held_bytes(),
        VALUE.len() + " and ".len(),
        "the rest may be a placeholder's beginning"
    );
    let released = rewriter.release();
    assert_eq!(read(&released), [(false, Opcode::Text, format!("{VALUE} and ").into_bytes())]);
    assert!(rewriter.held_bytes() == 0 && rewriter.release().is_empty());
    let last = frame(true, Opcode::Continuation, Some(MASK), b"key");
    let sent = rewriter.feed(&mut last.into()).expect("frames");
    assert_eq!(read(&sent), [(true, Opcode::Continuation, VALUE.as_bytes().to_vec())]);
}

#[test]
fn what_many_placeholders_grow_to_comes_in_pieces() {
    const COPIES: usize = 200;
    let value = "V".repeat(60_000);
    let places = Places { websocket: true, ..Places::default() };
    let set = compile(vec![Binding { places, ..binding("TOKEN", "netsec_key", &value, &["a.example"]) }])
        .expect("a set");
    let name = host("a.example");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let one = b"netsec_key ".repeat(COPIES);
    let whole = frame(true, Opcode::Binary, Some(MASK), &one);
    let many = frame(true, Opcode::Text, Some(MASK), b"netsec_key").repeat(COPIES);
    for (case, stream) in [("one message", whole), ("many messages", many)] {
        let mut rewriter = set.websocket_rewriter(&to, 1 << 10);
        let (mut chunk, mut count) = (Bytes::from(stream), 0);
        while !chunk.is_empty() {
            let sent = rewriter.feed(&mut chunk).expect("frames");
            assert!(sent.len() <= 2 * MAX_GROWN_BYTES + 7 * value.len(), "{case}: {}", sent.len());
            count += read(&sent).iter().flat_map(|frame| &frame.2).filter(|byte| **byte == b'V').count();
        }
        assert_eq!(count, COPIES * value.len(), "{case}");
    }
}

#[test]
fn new_secrets_are_used_from_the_next_message_on() {
    let (set, name) = (set(), host("a.example"));
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let mut rewriter = set.websocket_rewriter(&to, 1 << 20);
    let mut send = |frame: Vec<u8>, next: Option<&SecretSet>| {
        if let Some(next) = next {
            rewriter.follow(next);
        }
        let sent = rewriter.feed(&mut frame.into()).expect("frames");
        read(&sent).into_iter().map(|frame| String::from_utf8(frame.2).expect("text")).collect::<String>()
    };
    let places = Places { websocket: true, ..Places::default() };
    let next =
        compile(vec![Binding { places, ..binding("TOKEN", "netsec_key", "the-next-value", &["a.example"]) }])
            .expect("a set");
    assert_eq!(send(frame(false, Opcode::Text, Some(MASK), b"netsec_key"), None), "");
    let last = frame(true, Opcode::Continuation, Some(MASK), b" netsec_key");
    assert_eq!(send(last, Some(&next)), format!("{VALUE} {VALUE}"));
    let whole = frame(true, Opcode::Text, Some(MASK), b"netsec_key");
    assert_eq!(send(whole.clone(), None), "the-next-value");
    assert_eq!(send(whole, Some(&SecretSet::default())), "netsec_key");
}

#[test]
fn the_last_frame_says_why_as_far_as_it_can() {
    let (set, name) = (set(), host("a.example"));
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let long = format!("{}\u{fc}", "x".repeat(122));
    let to_guest = set.websocket_scrubber(&to).close(1008, &long);
    assert_eq!(to_guest[..4], [0x88, 2 + 122, 0x03, 0xf0]);
    assert_eq!(
        read(&to_guest),
        [(true, Opcode::Control(8), [b"\x03\xf0", &long.as_bytes()[..122]].concat())]
    );
    let mut rewriter = set.websocket_rewriter(&to, 1 << 20);
    rewriter.feed(&mut frame(true, Opcode::Text, Some(MASK), b"").into()).expect("frames");
    let to_upstream = rewriter.close(1008, "");
    assert_eq!(to_upstream[..6], [&[0x88, 0x82][..], &MASK].concat());
    assert_eq!(read(&to_upstream), [(true, Opcode::Control(8), b"\x03\xf0".to_vec())]);
}

#[test]
fn an_echo_in_a_message_becomes_the_placeholder() {
    let (set, name) = (set(), host("a.example"));
    let from = Destination { host: Some(&name), port: 443, is_verified: true };
    let stream = [
        frame(true, Opcode::Text, None, format!("you sent {VALUE}").as_bytes()),
        frame(false, Opcode::Text, None, &VALUE.as_bytes()[..9]),
        frame(true, Opcode::Control(10), None, VALUE.as_bytes()),
        frame(true, Opcode::Continuation, None, &VALUE.as_bytes()[9..]),
        frame(true, Opcode::Text, None, b"untouched"),
    ]
    .concat();
    for size in [1, 3, 10, stream.len()] {
        let mut scrubber = set.websocket_scrubber(&from);
        let mut sent = Vec::new();
        for piece in stream.chunks(size) {
            sent.extend(scrubber.feed(&mut Bytes::copy_from_slice(piece)).expect("frames"));
        }
        let frames = read(&sent);
        let (controls, data): (Vec<_>, Vec<_>) =
            frames.into_iter().partition(|frame| matches!(frame.1, Opcode::Control(_)));
        assert_eq!(controls, [(true, Opcode::Control(10), b"netsec_key".to_vec())]);
        let text: Vec<u8> = data
            .into_iter()
            .flat_map(|(is_last, _, payload)| {
                [payload, if is_last { b"|".to_vec() } else { Vec::new() }].concat()
            })
            .collect();
        let text = String::from_utf8(text).expect("text");
        assert_eq!(text, "you sent netsec_key|netsec_key|untouched|", "in pieces of {size}");
    }
    let mut scrubber = set.websocket_scrubber(&from);
    let whole = frame(true, Opcode::Text, None, b"one message at once");
    assert_eq!(
        scrubber.feed(&mut Bytes::from(whole.clone())).expect("a frame"),
        whole,
        "one frame stays one"
    );
}

#[test]
fn what_is_no_frame_ends_the_stream() {
    let cases: &[(&[u8], FrameError)] = &[
        (&[0xc1, 0x80, 0, 0, 0, 0], FrameError::Extension),
        (&[0x83, 0x80, 0, 0, 0, 0], FrameError::Opcode),
        (&[0x81, 0x00], FrameError::Mask),
        (&[0x09, 0x80, 0, 0, 0, 0], FrameError::Control),
        (&[0x89, 0xfe, 0, 126, 0, 0, 0, 0], FrameError::Control),
        (&[0x80, 0x80, 0, 0, 0, 0], FrameError::Fragment),
        (&[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], FrameError::Fragment),
        (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], FrameError::Length),
    ];
    for (bytes, expected) in cases {
        for size in [1, bytes.len()] {
            let (sent, result) = rewrite(bytes, size, 1 << 20);
            assert_eq!((sent, result), (Vec::new(), Err(WebSocketError::Frame(*expected))), "{bytes:x?}");
        }
    }
}
