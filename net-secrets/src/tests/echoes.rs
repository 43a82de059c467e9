//! Values that come back.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;

use super::{binding, compile, host};
use crate::{Destination, Scrubber, SecretSet};

const SECRET: &str = "s3cret/\u{e9}+va\"lue\\9";
const PLACEHOLDER: &str = "netsec_placeholder";

fn set() -> SecretSet {
    compile(vec![binding("TOKEN", PLACEHOLDER, SECRET, &["a.example"])]).expect("a set")
}

fn scrubber(set: &SecretSet) -> Scrubber {
    let name = host("a.example");
    set.scrubber(&Destination { host: Some(&name), port: 443, is_verified: true }).expect("a scrubber")
}

/// The ways in which a value may come back, and what of it must not.
fn echoes() -> Vec<(&'static str, String, String)> {
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let some_percent = SECRET.replace('/', "%2F").replace('"', "%22").replace('s', "%73");
    let json =
        SECRET.replace('\\', "\\\\").replace('"', "\\\"").replace('/', "\\/").replace('\u{e9}', "\\u00E9");
    let all_json: String = SECRET.chars().map(|one| format!("\\u{:04x}", u32::from(one))).collect();
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mixed: String = SECRET
        .bytes()
        .zip(0..)
        .map(|(byte, at)| if at % 2 == 0 { format!("{byte:02X}") } else { format!("{byte:02x}") })
        .collect();
    let core = |text: &str| text[4..text.len() - 4].to_owned();
    let base64 = STANDARD.encode(SECRET);
    let shifted = STANDARD.encode(format!("u:{SECRET}x"));
    let url_safe = URL_SAFE_NO_PAD.encode(format!("u{SECRET}"));
    let escaped_base64 = base64.replace('/', "\\/").replace('+', "\\u002b");
    let percent_base64 = base64.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    vec![
        ("raw", SECRET.to_owned(), SECRET.to_owned()),
        ("percent", percent.clone(), percent),
        ("some percent", some_percent.clone(), some_percent),
        ("json", json.clone(), json),
        ("all json", all_json.clone(), all_json),
        ("hex", hex.clone(), hex),
        ("mixed hex", mixed.clone(), mixed),
        ("base64", base64.clone(), core(&base64)),
        ("base64 of more", shifted.clone(), core(&shifted)),
        ("base64url", url_safe.clone(), core(&url_safe)),
        ("base64 in json", escaped_base64.clone(), core(&escaped_base64)),
        ("base64 in percent", percent_base64.clone(), core(&percent_base64)),
    ]
}

#[test]
fn no_echo_comes_back_in_header_body_location_or_cookie() {
    let set = set();
    for (name, echo, telling) in echoes() {
        for (place, text) in [
            ("header", format!("you sent {echo}")),
            ("location", format!("https://a.example/next?token={echo}&more=1")),
            ("set-cookie", format!("token={echo}; Path=/; HttpOnly")),
            ("body", format!("{{\"token\": \"{echo}\", \"more\": [1]}}")),
            ("event", format!("data: {echo}\n\n")),
        ] {
            let clean = scrubber(&set).scrub(text.as_bytes()).expect(name);
            let clean = String::from_utf8(clean).expect("text");
            assert!(!clean.contains(&telling), "{name} in {place}: {clean}");
            for split in 0..=text.len() {
                let mut scrubber = scrubber(&set);
                let mut streamed = scrubber.feed(Bytes::copy_from_slice(&text.as_bytes()[..split])).to_vec();
                streamed.extend(scrubber.feed(Bytes::copy_from_slice(&text.as_bytes()[split..])));
                streamed.extend(scrubber.finish());
                assert_eq!(String::from_utf8_lossy(&streamed), clean, "{name} in {place} at {split}");
            }
        }
    }
}

#[test]
fn what_is_no_echo_passes_byte_for_byte() {
    let set = set();
    for (name, echo, _) in echoes() {
        // One character less, at either end, decodes to no value.
        let cut = echo.char_indices().nth(5).map_or(0, |(at, _)| at);
        let text = &echo[cut..];
        let mut scrubber = scrubber(&set);
        let mut passed: Vec<u8> = Vec::new();
        for byte in text.bytes() {
            passed.extend(scrubber.feed(Bytes::copy_from_slice(&[byte])));
        }
        passed.extend(scrubber.finish());
        if !name.starts_with("base64") {
            assert_eq!(String::from_utf8_lossy(&passed), text, "{name}");
        }
    }
    let binary: Vec<u8> = (0..=255u8).cycle().take(5000).collect();
    assert_eq!(scrubber(&set).scrub(&binary), None);
}

#[test]
fn of_two_values_the_longer_one_comes_back() {
    let set = compile(vec![
        binding("SHORT", "netsec_short", "a-shared-beginning", &["a.example"]),
        binding("LONG", "netsec_long", "a-shared-beginning-and-more", &["a.example"]),
        binding("NOT", "netsec_not", "a-value-elsewhere", &["b.example"]),
        crate::Binding {
            scrubs_responses: false,
            ..binding("OFF", "netsec_off", "a-value-that-is-shown", &["a.example"])
        },
    ])
    .expect("a set");
    let text = "a-shared-beginning-and-more a-shared-beginning-and a-value-elsewhere a-value-that-is-shown";
    let expected = "netsec_long netsec_short-and a-value-elsewhere a-value-that-is-shown";
    for split in 0..=text.len() {
        let mut scrubber = scrubber(&set);
        let mut clean = scrubber.feed(Bytes::from(text[..split].to_owned())).to_vec();
        clean.extend(scrubber.feed(Bytes::from(text[split..].to_owned())));
        clean.extend(scrubber.finish());
        assert_eq!(String::from_utf8_lossy(&clean), expected, "split at {split}");
    }
}

#[test]
fn a_value_for_everybody_is_scrubbed_from_everybody() {
    let mut any = binding("ANY", PLACEHOLDER, "a-value-for-all", &[]);
    any.hosts = crate::Hosts::DangerousAny;
    let set =
        compile(vec![any, binding("ONE", "netsec_one", "a-value-for-one", &["a.example"])]).expect("a set");
    let (bound, other) = (host("a.example"), host("example.org"));
    for (host, expected) in [
        (Some(&bound), "netsec_placeholder netsec_one"),
        (Some(&other), "netsec_placeholder a-value-for-one"),
        (None, "netsec_placeholder a-value-for-one"),
    ] {
        let scrubber =
            set.scrubber(&Destination { host, port: 443, is_verified: false }).expect("a scrubber");
        let clean = scrubber.scrub(b"a-value-for-all a-value-for-one").expect("an echo");
        assert_eq!(String::from_utf8_lossy(&clean), expected);
    }
}
