//! What a stream holds back, and what it does not.

use bytes::Bytes;

use super::{VALUE, binding, compile, host, one_secret};
use crate::{Binding, Destination, Placeholder, PlaceholderFormat, SecretValue};

#[test]
fn a_beginning_of_eight_bytes_is_withheld_until_it_is_resolved() {
    let set = one_secret();
    const CASES: &[(&str, usize)] = &[
        ("netsec_", 0),
        ("netsec_p", 8),
        ("netsec_placeholde", 17),
        ("text netsec_placeholde", 17),
        ("bmV0c2VjX3B", 11),
        ("bmV0c2V", 0),
        ("6e65747365", 10),
        ("netsec_placeholx", 0),
    ];
    for (text, withheld) in CASES {
        let mut detector = set.detector();
        let passed = detector.feed(Bytes::from(*text)).expect(text);
        assert_eq!(text.len() - passed.len(), *withheld, "{text}");
        let rest = detector.feed(Bytes::from_static(b"!")).expect(text);
        assert_eq!([&passed[..], &rest].concat(), [text.as_bytes(), b"!"].concat(), "{text}");
    }
}

#[test]
fn generated_placeholders_are_found_by_their_core_in_every_spelling() {
    for name in ["plain", "openai", "github", "aws-access-key", "jwt"] {
        let placeholder = PlaceholderFormat::named(name).expect(name).generate([9; 16]);
        let value = SecretValue::new(VALUE.into());
        let hosts = vec!["a.example".parse().expect("a pattern")];
        let set = compile(vec![Binding::new("TOKEN", placeholder.clone(), value, hosts)]).expect("a set");
        let lower = placeholder.as_str().to_ascii_lowercase();
        let spellings =
            super::spellings(placeholder.as_str()).into_iter().chain([("lower case", lower.into_bytes())]);
        for (spelling, text) in spellings {
            let stream = [b"before ".as_slice(), &text, b" behind"].concat();
            assert!(set.check(&stream).is_err(), "{name}: {spelling}");
            for split in 0..=stream.len() {
                let mut detector = set.detector();
                let mut sent = Vec::new();
                let mut result = Ok(());
                for piece in [&stream[..split], &stream[split..]] {
                    match detector.feed(Bytes::copy_from_slice(piece)) {
                        Ok(bytes) => sent.extend_from_slice(&bytes),
                        Err(violation) => {
                            result = Err(violation);
                            break;
                        }
                    }
                }
                assert!(result.is_err(), "{name}: {spelling} split at {split}");
                assert!(
                    !sent.windows(text.len()).any(|window| window == text),
                    "{name}: {spelling} at {split}"
                );
            }
        }
        let name = host("a.example");
        let to = Destination { host: Some(&name), port: 443, is_verified: true };
        let sent = set.substitute_header(&to, "x", format!("a {placeholder} b").as_bytes());
        assert_eq!(
            sent.map(|new| new.map(|new| new.to_vec())),
            Ok(Some(format!("a {VALUE} b").into_bytes()))
        );
    }
}

#[test]
fn many_placeholders_are_each_found() {
    let hosts = || vec!["a.example".parse().expect("a pattern")];
    let binding = |number: u8, placeholder| {
        Binding::new(format!("TOKEN{number}"), placeholder, SecretValue::new(VALUE.into()), hosts())
    };
    let generated = (0..100).map(|number| binding(number, Placeholder::generate([number; 16])));
    let user = (100..140).map(|number| {
        let text = format!("{:016x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        binding(number, Placeholder::from_user(&text).expect("a placeholder"))
    });
    for bindings in [generated.clone().collect::<Vec<_>>(), generated.chain(user).collect()] {
        let set = compile(bindings).expect("a set");
        for (env, placeholder) in set.environment() {
            for (spelling, text) in super::spellings(placeholder) {
                let found = set.check(&text).expect_err(spelling);
                assert_eq!(found.env, env, "{spelling} of {placeholder}");
            }
        }
    }
}

#[test]
fn an_event_is_not_held_back() {
    // The value begins with letters that events end with.
    let set = compile(vec![binding("TOKEN", "netsec_placeholder", "data-of-a-secret", &["a.example"])]);
    let set = set.expect("a set");
    let name = host("a.example");
    let mut scrubber =
        set.scrubber(&Destination { host: Some(&name), port: 443, is_verified: true }).expect("a scrubber");
    for event in ["data: one\n\n", "data: {\"a\": \"b\"}\n\n", ": ping\r\n\r\n", "data: 100%, \\o/\n\n"] {
        assert_eq!(scrubber.feed(Bytes::from(event)), event, "all of it at once");
    }
    assert_eq!(scrubber.feed(Bytes::from_static(b"data: data-of")), "data: ");
    assert_eq!(scrubber.feed(Bytes::from_static(b"-a-secret\n\n")), "netsec_placeholder\n\n");
}
