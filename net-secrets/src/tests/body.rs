//! Values put into bodies as they pass.

use bytes::Bytes;
use proptest::prelude::*;

use super::places::everywhere;
use super::{binding, compile, host};
use crate::forms::forms;
use crate::{Binding, BodyTypes, Destination, MAX_GROWN_BYTES, Places, SecretSet, Violation, ViolationKind};

const VALUE: &str = "a\"b\\c&d<e é";

fn set() -> SecretSet {
    let places = || Places { body: BodyTypes::DangerousAny, ..everywhere() };
    compile(vec![
        Binding { places: places(), ..binding("TOKEN", "netsec_key", VALUE, &["a.example"]) },
        Binding { places: places(), ..binding("LONGER", "netsec_key_two", "netsec_key", &["a.example"]) },
        Binding { places: places(), ..binding("OTHER", "netsec_other", "another-value", &["b.example"]) },
    ])
    .expect("a set")
}

/// What leaves of a body in pieces.
fn rewrite(set: &SecretSet, content_type: &str, pieces: &[&str]) -> (String, Result<(), Violation>) {
    let name = host("a.example");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let mut rewriter = set.body_rewriter(&to, Some(content_type.as_bytes()));
    let mut sent = Vec::new();
    let mut feed = || {
        for piece in pieces {
            sent.extend(rewriter.feed(Bytes::copy_from_slice(piece.as_bytes()))?);
        }
        sent.extend(rewriter.finish()?);
        Ok(())
    };
    let result = feed();
    (String::from_utf8_lossy(&sent).into_owned(), result)
}

#[test]
fn a_value_is_written_as_its_content_asks() {
    const CASES: &[(&str, &str, &str)] = &[
        ("application/json", "{\"k\": \"netsec_key\"}", "{\"k\": \"a\\\"b\\\\c&d<e é\"}"),
        ("application/vnd.api+json", "[\"netsec_key\"]", "[\"a\\\"b\\\\c&d<e é\"]"),
        ("application/x-www-form-urlencoded", "k=netsec_key&l=m", "k=a%22b%5Cc%26d%3Ce%20%C3%A9&l=m"),
        ("text/xml", "<k>netsec_key</k>", "<k>a&quot;b\\c&amp;d&lt;e é</k>"),
        ("text/plain", "key: netsec_key", "key: a\"b\\c&d<e é"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\n\r\nnetsec_key\r\n--x--",
            "--x\r\n\r\na\"b\\c&d<e é\r\n--x--",
        ),
        ("application/octet-stream", "\0netsec_key\0", "\0a\"b\\c&d<e é\0"),
        // A value is not read again, and the longer placeholder wins.
        ("text/plain", "netsec_key_two netsec_key_tw", "netsec_key a\"b\\c&d<e é_tw"),
        ("text/plain", "netsec_key_twonetsec_keynetsec_k", "netsec_keya\"b\\c&d<e énetsec_k"),
        // What a placeholder stands between is not one text.
        ("text/plain", "netsec_onetsec_keyther", "netsec_oa\"b\\c&d<e éther"),
        ("text/plain", "nothing of it: netsec_ke, % \\u00", "nothing of it: netsec_ke, % \\u00"),
    ];
    let set = set();
    for (content_type, body, expected) in CASES {
        for split in (0..=body.len()).filter(|split| body.is_char_boundary(*split)) {
            let (sent, result) = rewrite(&set, content_type, &[&body[..split], &body[split..]]);
            assert_eq!(result, Ok(()), "{content_type} split at {split}");
            assert_eq!(sent, *expected, "{content_type} split at {split}");
        }
        let bytes: Vec<&str> = (0..body.len()).map(|at| &body[at..=at]).collect();
        assert_eq!(rewrite(&set, content_type, &bytes), ((*expected).to_owned(), Ok(())), "{content_type}");
    }
}

#[test]
fn a_placeholder_of_another_host_ends_a_body_at_every_split() {
    let set = set();
    for hidden in ["netsec_other", "netsec%5Fother", "netsec\\u005fother", "bmV0c2VjX290aGVy"] {
        let body = format!("one netsec_key, two {hidden}, three");
        for split in 0..=body.len() {
            let (sent, result) = rewrite(&set, "text/plain", &[&body[..split], &body[split..]]);
            assert_eq!(
                result.map_err(|violation| violation.kind),
                Err(ViolationKind::Host),
                "{hidden} at {split}"
            );
            assert!(!sent.contains(hidden), "{hidden} at {split}: {sent}");
            assert!(format!("one {VALUE}, two {hidden}").starts_with(&sent), "{sent}");
        }
    }
}

#[test]
fn an_encoded_placeholder_is_not_replaced_but_refused() {
    for hidden in ["netsec%5Fkey", "netsec\\u005Fkey", "6e65747365635f6b6579"] {
        let (sent, result) = rewrite(&set(), "application/json", &["{\"k\": \"", hidden, "\"}"]);
        assert_eq!(result.map_err(|violation| violation.kind), Err(ViolationKind::Place), "{hidden}");
        assert!(!sent.contains(hidden));
    }
}

#[test]
fn a_value_that_would_break_the_content_is_refused() {
    let places = || Places { body: BodyTypes::Usual, ..everywhere() };
    let binary = Binding { places: places(), ..binding("TOKEN", "netsec_key", "x", &["a.example"]) };
    let value = crate::SecretValue::new(b"\xff\xfe not text".to_vec());
    let part = binding("PART", "netsec_part", "a\r\n--bound x", &["a.example"]);
    let set =
        compile(vec![Binding { value, ..binary }, Binding { places: places(), ..part }]).expect("a set");
    for (content_type, body) in [
        ("application/json", "\"netsec_key\""),
        ("text/plain", "netsec_key"),
        ("multipart/form-data; boundary=bound", "netsec_part"),
    ] {
        let (sent, result) = rewrite(&set, content_type, &[body]);
        assert_eq!(result.map_err(|violation| violation.kind), Err(ViolationKind::Value), "{content_type}");
        assert_eq!(sent, "", "{content_type}");
    }
    let (sent, result) = rewrite(&set, "multipart/form-data; boundary=other", &["netsec_part"]);
    assert_eq!((sent.as_str(), result), ("a\r\n--bound x", Ok(())));
}

#[test]
fn a_body_that_nothing_is_bound_to_keeps_its_length() {
    let name = host("a.example");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let set = compile(vec![Binding {
        places: Places { body: BodyTypes::Usual, ..Places::default() },
        ..binding("TOKEN", "netsec_key", VALUE, &["a.example"])
    }])
    .expect("a set");
    assert!(set.body_rewriter(&to, Some(b"application/json")).may_change());
    assert!(!set.body_rewriter(&to, Some(b"image/png")).may_change());
    assert!(!set.body_rewriter(&to, None).may_change());
    assert!(!SecretSet::default().body_rewriter(&to, Some(b"application/json")).may_change());
    let mut rewriter = set.body_rewriter(&to, Some(b"image/png"));
    let chunk = Bytes::from(vec![b'x'; 1 << 10]);
    let passed = rewriter.feed(chunk.clone()).expect("nothing in it");
    assert_eq!((passed.as_ptr(), passed.len()), (chunk.as_ptr(), chunk.len()), "uncopied");
    assert!(rewriter.feed(Bytes::from_static(b"netsec_key")).is_err());
}

#[test]
fn many_placeholders_of_a_long_value_come_in_pieces() {
    let value = "v".repeat(50_000);
    let places = Places { body: BodyTypes::DangerousAny, ..everywhere() };
    let set = compile(vec![Binding { places, ..binding("TOKEN", "netsec_k", &value, &["a.example"]) }]);
    let name = host("a.example");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let mut rewriter = set.expect("a set").body_rewriter(&to, Some(b"text/plain"));
    // Frames of which one ends within a placeholder.
    let text = "netsec_k,".repeat(200) + "a rest";
    let mut sent = 0;
    for frame in [&text[..1000], &text[1000..]] {
        let mut frame = Bytes::copy_from_slice(frame.as_bytes());
        while !frame.is_empty() {
            let passed = rewriter.feed_some(&mut frame).expect("it may leave");
            assert!(passed.len() <= MAX_GROWN_BYTES + value.len() + text.len(), "{}", passed.len());
            sent += passed.iter().filter(|byte| **byte == b'v').count();
        }
    }
    sent += rewriter.finish().expect("it may leave").iter().filter(|byte| **byte == b'v').count();
    assert_eq!(sent, 200 * value.len());
}

const SHORTER: &str = "netsec_key-1";
const LONGER: &str = "netsec_key-1-and-more";

/// No value is longer than its placeholder: what is missing of the result is no more than what is held back.
fn set_that_shrinks() -> SecretSet {
    let places = || Places { body: BodyTypes::DangerousAny, ..everywhere() };
    compile(vec![
        Binding { places: places(), ..binding("SHORTER", SHORTER, "value-01", &["a.example"]) },
        Binding { places: places(), ..binding("LONGER", LONGER, "value-02", &["a.example"]) },
    ])
    .expect("a set")
}

/// A text of beginnings: which text, how much of it, and what follows.
fn pieces() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    proptest::collection::vec((0usize..24, 0usize..48, "[!n]{0,3}"), 1..12)
}

proptest! {
    #[test]
    fn no_more_is_held_back_than_may_grow_into_what_is_looked_for_and_all_of_it_is_released(
        pieces in pieces(),
        are_encoded: bool,
        cuts in proptest::collection::vec(1usize..30, 40),
    ) {
        let set = set_that_shrinks();
        let placeholders = [SHORTER, LONGER].map(|text| text.as_bytes().to_vec());
        let encoded = || placeholders.iter().flat_map(|text| forms(text)).filter(|form| !placeholders.contains(form));
        let texts: Vec<Vec<u8>> = if are_encoded {
            // Never the whole of a form: that would be the end.
            let cut = |form: Vec<u8>| form[..form.len() - 1].to_vec();
            placeholders.iter().cloned().chain(encoded().map(cut)).collect()
        } else {
            placeholders.to_vec()
        };
        let longest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        // A beginning of a placeholder as it is; and in front of it, where the detector has not seen yet that it does
        // not go on, one of any form.
        let most = longest(&mut placeholders.iter().map(Vec::len)) - 1
            + longest(&mut texts.iter().map(|text| text.len() + usize::from(are_encoded))) - 1;

        let mut text = Vec::new();
        for (which, count, behind) in pieces {
            let piece = &texts[which % texts.len()];
            text.extend_from_slice(&piece[..count.min(piece.len())]);
            text.extend_from_slice(behind.as_bytes());
        }
        let name = host("a.example");
        let to = Destination { host: Some(&name), port: 443, is_verified: true };
        let rewriter = || set.body_rewriter(&to, Some(b"text/plain"));
        let whole = |text: &[u8]| {
            let mut rewriter = rewriter();
            let mut sent = rewriter.feed(Bytes::copy_from_slice(text))?.to_vec();
            sent.extend_from_slice(&rewriter.finish()?);
            Ok::<_, Violation>(sent)
        };
        if whole(&text).is_err() {
            // Two beginnings have made a whole: a handful of a thousand.
            return Ok(());
        }

        let (mut in_pieces, mut sent, mut fed) = (rewriter(), Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            let next = (fed + cut).min(text.len());
            sent.extend_from_slice(&in_pieces.feed(Bytes::copy_from_slice(&text[fed..next])).expect("as the whole"));
            fed = next;
            let ended_here = whole(&text[..fed]).expect("as the whole");
            prop_assert!(ended_here.starts_with(&sent), "at {}", fed);
            let held = ended_here.len() - sent.len();
            prop_assert!(held <= most, "{} held at {} of {:?}", held, fed, text.escape_ascii().to_string());
            if fed == text.len() {
                break;
            }
        }
        if text.last() == Some(&b'!') {
            // Nothing that is looked for goes on from here.
            prop_assert_eq!(&sent, &whole(&text).expect("as before"));
        }
        sent.extend_from_slice(&in_pieces.finish().expect("as the whole"));
        prop_assert_eq!(sent, whole(&text).expect("as before"));
    }
}
