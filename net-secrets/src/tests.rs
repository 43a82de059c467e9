mod body;
mod credentials;
mod echoes;
mod places;
mod streams;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use net_core::HostName;
use proptest::prelude::*;

use crate::{
    Action, Binding, CompileError, Destination, Placeholder, SecretSet, SecretValue, Violation, ViolationKind,
};

pub(crate) const VALUE: &str = "real-secret-value-9";

pub(crate) fn binding(env: &str, placeholder: &str, value: &str, hosts: &[&str]) -> Binding {
    let hosts = hosts.iter().map(|host| host.parse().expect(host)).collect();
    let placeholder = Placeholder::from_user(placeholder).expect(placeholder);
    Binding::new(env, placeholder, SecretValue::new(value.as_bytes().to_vec()), hosts)
}

const KEY: [u8; 8] = *b"test key";

pub(crate) fn compile(bindings: Vec<Binding>) -> Result<SecretSet, CompileError> {
    SecretSet::compile(bindings, KEY)
}

pub(crate) fn one_secret() -> SecretSet {
    compile(vec![binding("TOKEN", "netsec_placeholder", VALUE, &["*.example.com"])]).expect("a set")
}

pub(crate) fn host(name: &str) -> HostName {
    HostName::parse(name).expect(name)
}

fn substitute(set: &SecretSet, to: &str, name: &str, value: &str) -> Result<Option<String>, Violation> {
    let host = host(to);
    let to = Destination { host: Some(&host), port: 443, is_verified: true };
    let replaced = set.substitute_header(&to, name, value.as_bytes())?;
    Ok(replaced.map(|bytes| String::from_utf8(bytes.to_vec()).expect("text")))
}

/// Every way a placeholder is written that the detector knows.
pub(crate) fn spellings(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let percent = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let once = percent(text.as_bytes());
    let json = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\u{byte:04x}")).collect::<String>();
    let one_json = text.replacen('_', "\\u005F", 1).replacen('-', "\\u002d", 1);
    let mut spellings = vec![
        ("json", json(text.as_bytes()).into_bytes()),
        ("one json", one_json.clone().into_bytes()),
        ("percent in json", json(once.as_bytes()).into_bytes()),
        ("double percent in json", percent(once.as_bytes()).replace('%', "\\u0025").into_bytes()),
        ("json in percent", percent(one_json.as_bytes()).into_bytes()),
        ("json in double percent", one_json.replace('\\', "%255C").into_bytes()),
        (
            "percent, then json in percent",
            text.replacen('_', "%5f", 1).replacen('r', "%7\\u0032", 1).into_bytes(),
        ),
        ("json in a form", one_json.replace('\\', "%5c").into_bytes()),
        ("raw", text.as_bytes().to_vec()),
        ("percent", once.clone().into_bytes()),
        ("double percent", percent(once.as_bytes()).into_bytes()),
        ("one percent", text.replacen('_', "%5f", 1).into_bytes()),
        ("hex", text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
    ];
    for (name, padding) in [("base64+0", ""), ("base64+1", "u"), ("base64+2", "us")] {
        spellings.push((name, STANDARD.encode(format!("{padding}{text}:rest")).into_bytes()));
        spellings.push((name, URL_SAFE.encode(format!("{padding}{text}:rest")).into_bytes()));
    }
    spellings
}

/// Host, header name, header value and what becomes of it.
type HeaderCase = (&'static str, &'static str, &'static str, Result<Option<&'static str>, Violation>);

#[test]
fn headers() {
    let set = one_secret();
    let wrong = |kind| Err(Violation { env: "TOKEN".to_owned(), kind, action: Action::BlockAndLog });
    let cases: &[HeaderCase] = &[
        ("api.example.com", "x-token", "netsec_placeholder", Ok(Some("real-secret-value-9"))),
        (
            "api.example.com",
            "authorization",
            "Bearer netsec_placeholder",
            Ok(Some("Bearer real-secret-value-9")),
        ),
        (
            "api.example.com",
            "x",
            "a netsec_placeholder b netsec_placeholder",
            Ok(Some("a real-secret-value-9 b real-secret-value-9")),
        ),
        ("api.example.com", "x-token", "something else", Ok(None)),
        ("example.com", "x-token", "netsec_placeholder", wrong(ViolationKind::Host)),
        ("example.org", "cookie", "a=netsec_placeholder", wrong(ViolationKind::Host)),
        ("api.example.com", "x-token", "netsec%5fplaceholder", wrong(ViolationKind::Place)),
        ("api.example.com", "x-token", "6e65747365635f706c616365686f6c646572", wrong(ViolationKind::Place)),
    ];
    for (to, name, value, expected) in cases {
        let found = substitute(&set, to, name, value);
        assert_eq!(found, expected.clone().map(|value| value.map(str::to_owned)), "{name}: {value} to {to}");
    }
}

#[test]
fn basic_credentials_are_decoded_and_encoded_again() {
    let set = one_secret();
    for name in ["Authorization", "proxy-authorization"] {
        let value = format!("basic {}", STANDARD.encode("user:netsec_placeholder"));
        let expected = format!("basic {}", STANDARD.encode(format!("user:{VALUE}")));
        assert_eq!(substitute(&set, "api.example.com", name, &value), Ok(Some(expected)), "{name}");
        let kind = substitute(&set, "example.org", name, &value).map_err(|violation| violation.kind);
        assert_eq!(kind, Err(ViolationKind::Host), "{name}");
    }
    // Elsewhere base64 is a hiding place.
    let value = STANDARD.encode("user:netsec_placeholder");
    let kind = substitute(&set, "api.example.com", "x-token", &value).map_err(|violation| violation.kind);
    assert_eq!(kind, Err(ViolationKind::Place));
}

#[test]
fn an_unverified_server_gets_nothing() {
    let set = one_secret();
    let name = host("api.example.com");
    for (to, kind) in [
        (Destination { host: Some(&name), port: 443, is_verified: false }, ViolationKind::Identity),
        (Destination { host: None, port: 443, is_verified: true }, ViolationKind::Host),
    ] {
        let found = set.substitute_header(&to, "x", b"netsec_placeholder").map(drop);
        assert_eq!(found.map_err(|violation| violation.kind), Err(kind));
    }
}

#[test]
fn a_value_that_would_end_the_header_is_refused() {
    for value in ["a\r\nx-injected: 1", "value\nbehind", "value\0behind", "a value \x7f"] {
        let set =
            compile(vec![binding("TOKEN", "netsec_placeholder", value, &["a.example"])]).expect("a set");
        let kind =
            substitute(&set, "a.example", "x", "netsec_placeholder").map_err(|violation| violation.kind);
        assert_eq!(kind, Err(ViolationKind::Value), "{value:?}");
    }
}

#[test]
fn the_longer_placeholder_wins_and_values_are_not_read_again() {
    let set = compile(vec![
        binding("SHORT", "netsec_key", "short-value", &["a.example"]),
        binding("LONG", "netsec_key_two", "netsec_key", &["a.example"]),
    ])
    .expect("a set");
    let found = substitute(&set, "a.example", "x", "netsec_key_two netsec_key");
    assert_eq!(found, Ok(Some("netsec_key short-value".to_owned())));
}

#[test]
fn one_placeholder_for_two_hosts() {
    let set = compile(vec![
        binding("ONE", "netsec_shared", "value-for-one", &["one.example"]),
        binding("TWO", "netsec_shared", "value-for-two", &["two.example"]),
    ])
    .expect("a set");
    for (to, expected) in [("one.example", "value-for-one"), ("two.example", "value-for-two")] {
        assert_eq!(substitute(&set, to, "x", "netsec_shared"), Ok(Some(expected.to_owned())), "{to}");
    }
    assert!(substitute(&set, "three.example", "x", "netsec_shared").is_err());
}

#[test]
fn what_cannot_be_told_apart_makes_no_set() {
    let one = || binding("ONE", "netsec_shared", "value-for-one", &["*.example"]);
    let same_placeholder = binding("TWO", "netsec_shared", "value-for-two", &["two.example"]);
    let error = compile(vec![one(), same_placeholder]).err();
    let expected = CompileError::SamePlaceholder { env: "ONE".to_owned(), other: "TWO".to_owned() };
    assert_eq!(error, Some(expected));
    let same_variable = binding("ONE", "netsec_other", "value-for-two", &["two.test"]);
    let error = compile(vec![one(), same_variable]).err();
    assert_eq!(error, Some(CompileError::SameVariable { env: "ONE".to_owned() }));
}

#[test]
fn every_spelling_is_found_at_every_split_and_never_leaves_whole() {
    let set = one_secret();
    for (spelling, text) in spellings("netsec_placeholder") {
        let stream = [b"before ".as_slice(), &text, b" behind"].concat();
        for split in 0..=stream.len() {
            let mut detector = set.detector();
            let mut left = Vec::new();
            let mut found = None;
            for piece in [&stream[..split], &stream[split..]] {
                match detector.feed(Bytes::copy_from_slice(piece)) {
                    Ok(bytes) => left.extend_from_slice(&bytes),
                    Err(violation) => {
                        found = Some(violation.kind);
                        break;
                    }
                }
            }
            assert_eq!(found, Some(ViolationKind::Place), "{spelling} split at {split}");
            assert!(!left.windows(text.len()).any(|window| window == text), "{spelling} split at {split}");
        }
    }
}

#[test]
fn a_text_without_placeholders_passes_unchanged() {
    let set = one_secret();
    for text in
        ["", "netsec_", "netsec_placeholde", "100% %zz %", "bmV0c2Vj", r"netsec\\u005fplaceholder", "\\"]
    {
        let mut detector = set.detector();
        let mut passed = Vec::new();
        for byte in text.bytes() {
            passed.extend(detector.feed(Bytes::copy_from_slice(&[byte])).expect(text));
        }
        passed.extend(detector.finish());
        assert_eq!(String::from_utf8(passed).as_deref(), Ok(text));
    }
}

#[test]
fn an_echo_is_scrubbed_at_every_split() {
    let set = one_secret();
    let name = host("api.example.com");
    let from = Destination { host: Some(&name), port: 443, is_verified: true };
    let encoded = STANDARD.encode(format!("us{VALUE}x"));
    for echo in [VALUE.to_owned(), encoded, VALUE.bytes().map(|byte| format!("{byte:02x}")).collect()] {
        let stream = format!("{{\"token\": \"{echo}\"}}");
        for split in 0..=stream.len() {
            let mut scrubber = set.scrubber(&from).expect("a scrubber");
            let mut feed = |piece: &str| scrubber.feed(Bytes::copy_from_slice(piece.as_bytes())).to_vec();
            let mut clean = feed(&stream[..split]);
            clean.extend(feed(&stream[split..]));
            clean.extend(scrubber.finish());
            let clean = String::from_utf8(clean).expect("text");
            assert!(!clean.contains(&echo[8..]), "split at {split}: {clean}");
            assert!(clean.starts_with("{\"token\": \"") && clean.ends_with("\"}"), "{clean}");
        }
    }
    let other = host("example.org");
    assert!(set.scrubber(&Destination { host: Some(&other), port: 443, is_verified: true }).is_none());
}

#[test]
fn an_echo_is_scrubbed_as_the_usual_encoders_write_it() {
    let value = r#"ab-cd/ef=g h"i_j~k"#;
    let set = compile(vec![binding("TOKEN", "netsec_placeholder", value, &["*.example.com"])]);
    let set = set.expect("a set");
    let name = host("api.example.com");
    let from = Destination { host: Some(&name), port: 443, is_verified: true };
    // encodeURIComponent, Python's quote and quote_plus, curl, PHP's rawurlencode, a form, JSON
    // writers; the lower case of some.
    const CASES: &[&str] = &[
        "ab-cd%2Fef%3Dg%20h%22i_j~k",
        "ab-cd/ef%3Dg%20h%22i_j~k",
        "ab-cd%2Fef%3Dg+h%22i_j~k",
        "ab-cd%2Fef%3Dg+h%22i_j%7Ek",
        "ab-cd%2fef%3dg%20h%22i_j~k",
        "ab-cd%2Fef%3Dg+h%22i_j%7",
        "%61%62-cd/ef=g%20h\"i_j~%6B",
        r#"ab-cd/ef=g h\"i_j~k"#,
        r#"ab-cd\/ef=g h\"i_j~k"#,
    ];
    for echo in CASES {
        let scrubber = set.scrubber(&from).expect("a scrubber");
        let clean = scrubber.scrub(format!("before {echo} behind").as_bytes());
        let expected = (!echo.ends_with("%7")).then(|| b"before netsec_placeholder behind".to_vec());
        assert_eq!(clean, expected, "{echo}");
    }
}

#[test]
fn a_revoked_set_replaces_nothing() {
    let set = SecretSet::default();
    assert_eq!(substitute(&set, "api.example.com", "x", "netsec_placeholder"), Ok(None));
    assert!(set.is_empty() && set.environment().next().is_none());
}

#[test]
fn sets_that_are_none() {
    let no_hosts = compile(vec![binding("A", "netsec_placeholder", "value", &[])]).map(drop);
    assert_eq!(no_hosts, Err(CompileError::NoHosts { env: "A".to_owned() }));
    let empty = compile(vec![binding("A", "netsec_placeholder", "", &["a.example"])]).map(drop);
    assert_eq!(empty, Err(CompileError::EmptyValue { env: "A".to_owned() }));
}

#[test]
fn nothing_prints_a_value() {
    let set = one_secret();
    let violation = substitute(&set, "example.org", "x", "netsec_placeholder").expect_err("a violation");
    for text in [format!("{set:?}"), format!("{violation:?}"), violation.to_string()] {
        assert!(!text.contains(VALUE) && !text.contains("netsec_placeholder"), "{text}");
    }
}

type Target = fn(&[u8]);

/// Fuzz targets and what they call.
const TARGETS: &[(&str, Target)] = &[
    ("rewrite_body", crate::fuzzing::rewrite_body),
    ("rewrite_header", crate::fuzzing::rewrite_header),
    ("scrub_response", crate::fuzzing::scrub_response),
    ("detect_encoded", crate::fuzzing::detect_encoded),
    ("websocket", crate::fuzzing::websocket),
];

#[test]
fn the_corpus_holds() {
    for (target, run) in TARGETS {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files: Vec<_> = std::fs::read_dir(corpus).expect("a corpus").collect();
        assert!(files.len() >= 4, "the corpus of {target} is small");
        for file in files {
            run(&std::fs::read(file.expect("a file").path()).expect("a readable file"));
        }
    }
}

#[test]
fn what_holds_nothing_passes_uncopied() {
    let set = one_secret();
    let name = host("api.example.com");
    let chunk = Bytes::from(vec![b'x'; 1 << 10]);
    let passed = set.detector().feed(chunk.clone()).expect("a clean chunk");
    assert_eq!((passed.as_ptr(), passed.len()), (chunk.as_ptr(), chunk.len()));
    let mut scrubber =
        set.scrubber(&Destination { host: Some(&name), port: 443, is_verified: true }).expect("a scrubber");
    let passed = scrubber.feed(chunk.clone());
    assert_eq!((passed.as_ptr(), passed.len()), (chunk.as_ptr(), chunk.len()));
}

/// Forms of placeholders, parts of them and what stands between, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let forms: Vec<String> = ["netsec_placeholder", "another-one"]
        .iter()
        .flat_map(|text| spellings(text))
        .map(|(_, text)| String::from_utf8(text).expect("text"))
        .collect();
    let part = (proptest::sample::select(forms), 0usize..80, 0usize..80)
        .prop_map(|(form, from, to)| form.get(from..to.min(form.len())).unwrap_or_default().to_owned());
    // Escapes that nothing hides behind, mostly.
    let escape =
        proptest::sample::select(&["\\n", "\\\"", "\\\\", "\\/", "\\u00e9", "\\u000a", "\\u0025", "\\x"][..]);
    let piece = prop_oneof![
        4 => part,
        2 => escape.prop_map(str::to_owned),
        1 => "[a-z%25]{0,12}",
        1 => "[\\\\u0-9cnt%/]{0,12}",
        1 => "[x]{0,100}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_detector_finds_what_a_search_for_every_form_finds(
        text in pieces(),
        cuts in proptest::collection::vec(prop_oneof![1usize..60, 60usize..600], 1..6),
        others in prop_oneof![Just(0usize), Just(40)],
    ) {
        // Many unmarked placeholders leave no prefilter.
        let mut bindings = vec![
            binding("ONE", "netsec_placeholder", VALUE, &["a.example"]),
            binding("TWO", "another-one", VALUE, &["a.example"]),
        ];
        bindings.extend((0..others).map(|number| {
            let (env, placeholder) = (format!("OTHER{number}"), format!("{}-{number:09}", number * 7919));
            binding(&env, &placeholder, VALUE, &["a.example"])
        }));
        let set = compile(bindings).expect("a set");
        let expected = crate::fuzzing::hides(text.as_bytes(), &["netsec_placeholder", "another-one"]);
        let mut detector = set.detector();
        let (mut rest, mut found) = (Bytes::from(text.into_bytes()), false);
        for cut in cuts.iter().cycle() {
            let piece = rest.split_to((*cut).min(rest.len()));
            found |= detector.feed(piece).is_err();
            if found || rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn what_the_fuzz_targets_assert_holds(
        head: [u8; 2],
        pieces in proptest::collection::vec(prop_oneof![2 => 0u8..32, 1 => b' '..=b'~', 1 => any::<u8>()], 0..12),
    ) {
        let bytes = [&head[..], &pieces].concat();
        TARGETS.iter().for_each(|(_, run)| run(&bytes));
    }

    #[test]
    fn no_value_reaches_an_unbound_host(before in "[ -~]{0,20}", behind in "[ -~]{0,20}", to in "[a-z]{1,8}\\.(org|net)") {
        let value = format!("{before}netsec_placeholder{behind}");
        let sent = substitute(&one_secret(), &to, "x-header", &value);
        prop_assert!(sent.is_err(), "{:?}", sent);
    }
}

#[test]
fn a_value_that_was_replaced_is_looked_for_until_its_time_is_over() {
    const MINUTE: Duration = Duration::from_secs(60);
    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    let start = Instant::now();
    let name = host("api.example.com");
    let from = Destination { host: Some(&name), port: 443, is_verified: true };
    let echo = |set: &SecretSet, text: &str| {
        let clean = set.scrubber(&from).and_then(|scrubber| scrubber.scrub(text.as_bytes()));
        clean.is_some_and(|clean| clean == b"netsec_placeholder")
    };
    let value = |number: u32| format!("real-secret-value-{number}");
    let set = |number| {
        let value = value(number);
        compile(vec![binding("TOKEN", "netsec_placeholder", &value, &["*.example.com"])]).expect("a set")
    };
    // The same again replaces nothing.
    let mut current = set(0).succeeding(&set(0), start + 10 * MINUTE, start).expect("a set");
    assert_eq!(current.retired_until(), None);
    for number in 1..=10 {
        let now = start + number * MINUTE / 2;
        current = set(number).succeeding(&current, now + 10 * MINUTE, now).expect("a set");
        for old in 0..=number {
            assert_eq!(echo(&current, &value(old)), old == number || number - old <= 8, "{old} of {number}");
        }
    }
    // Revoked: nothing is put in any more, and what was is still found.
    let now = start + 6 * MINUTE;
    let revoked = SecretSet::default().succeeding(&current, now + 10 * MINUTE, now).expect("a set");
    assert!(revoked.is_empty() && !revoked.looks_for_nothing());
    assert_eq!(substitute(&revoked, "api.example.com", "x", "netsec_placeholder"), Ok(None));
    assert!(echo(&revoked, &value(10)) && echo(&revoked, &value(3)) && !echo(&revoked, &value(2)));
    let other = host("example.org");
    assert!(revoked.scrubber(&Destination { host: Some(&other), port: 443, is_verified: true }).is_none());
    // Each until its own time is over.
    let until = revoked.retired_until().expect("replaced values");
    assert_eq!(until, start + 12 * MINUTE);
    let later = revoked.expire(until).expect("a set");
    assert!(!echo(&later, &value(3)) && echo(&later, &value(4)) && echo(&later, &value(10)));
    let last = later.expire(start + 16 * MINUTE).expect("a set");
    assert_eq!((last.retired_until(), last.looks_for_nothing()), (None, true));
    assert!(last.scrubber(&from).is_none());
}

#[test]
fn a_binding_that_was_narrowed_is_still_cleaned_where_it_held() {
    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    let now = Instant::now();
    let wide = binding("TOKEN", "netsec_placeholder", VALUE, &["one.example", "two.example"]);
    let narrow = binding("TOKEN", "netsec_placeholder", VALUE, &["one.example"]);
    let set = compile(vec![wide]).expect("a set");
    let until = now + Duration::from_secs(1);
    let set = compile(vec![narrow]).expect("a set").succeeding(&set, until, now).expect("a set");
    for name in ["one.example", "two.example"] {
        let name = host(name);
        let from = Destination { host: Some(&name), port: 443, is_verified: true };
        let clean = set.scrubber(&from).and_then(|scrubber| scrubber.scrub(VALUE.as_bytes()));
        assert_eq!(clean.as_deref(), Some(&b"netsec_placeholder"[..]), "{name}");
    }
    assert!(substitute(&set, "two.example", "x", "netsec_placeholder").is_err());
}

#[test]
fn a_stream_that_follows_another_set_loses_and_shows_nothing() {
    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    let now = Instant::now();
    let name = host("api.example.com");
    let from = Destination { host: Some(&name), port: 443, is_verified: true };
    let old = one_secret();
    let new = binding("TOKEN", "netsec_placeholder", "another-value-1", &["*.example.com"]);
    let new = compile(vec![new]).expect("a set");
    let new = new.succeeding(&old, now + Duration::from_secs(1), now).expect("a set");
    let stream = format!("one {VALUE} two");
    for split in 0..=stream.len() {
        let mut scrubber = old.scrubber(&from).expect("a scrubber");
        let mut clean = scrubber.feed(Bytes::copy_from_slice(&stream.as_bytes()[..split])).to_vec();
        scrubber.follow(new.scrubber(&from).expect("a scrubber"));
        clean.extend(scrubber.feed(Bytes::copy_from_slice(&stream.as_bytes()[split..])));
        clean.extend(scrubber.feed(Bytes::from_static(b" another-value-1")));
        clean.extend(scrubber.finish());
        let clean = String::from_utf8(clean).expect("text");
        assert_eq!(clean, "one netsec_placeholder two netsec_placeholder", "split at {split}");
    }
}
