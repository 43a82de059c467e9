//! Which placeholder is replaced towards whom and where, and what happens elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;

use super::{VALUE, binding, compile, host};
use crate::{
    Action, Binding, BodyTypes, CompileError, Destination, HeaderNames, Hosts, Places, SecretSet, Violation,
    ViolationKind,
};

const PLACEHOLDER: &str = "netsec_placeholder";

/// Everywhere.
pub(super) fn everywhere() -> Places {
    Places {
        headers: HeaderNames::All,
        basic_auth: true,
        query: true,
        path: true,
        body: BodyTypes::Usual,
        websocket: true,
        trailers: true,
    }
}

fn nowhere() -> Places {
    Places { headers: HeaderNames::None, basic_auth: false, ..Places::default() }
}

/// One secret, changed.
fn set_with(change: impl FnOnce(&mut Binding)) -> SecretSet {
    let mut binding = binding("TOKEN", PLACEHOLDER, VALUE, &["api.example.com"]);
    change(&mut binding);
    compile(vec![binding]).expect("a set")
}

/// What of a request with one placeholder in it leaves, by the place it stands in.
fn sent(set: &SecretSet, to: &Destination<'_>, place: &str) -> Result<Vec<u8>, Violation> {
    let header = |name: &str, value: &str| {
        let new = set.substitute_header(to, name, value.as_bytes())?;
        Ok(new.map_or_else(|| value.as_bytes().to_vec(), |new| new.to_vec()))
    };
    let target = |text: &str| {
        let new = set.substitute_target(to, text.as_bytes())?;
        Ok(new.map_or_else(|| text.as_bytes().to_vec(), |new| new.to_vec()))
    };
    match place {
        "header" => header("x-token", PLACEHOLDER),
        "cookie" => header("cookie", &format!("a=b; token={PLACEHOLDER}")),
        "referer" => header("referer", &format!("https://api.example.com/?token={PLACEHOLDER}")),
        "basic" => header("authorization", &format!("Basic {}", STANDARD.encode(format!("a:{PLACEHOLDER}")))),
        "path" => target(&format!("/v1/{PLACEHOLDER}/items?a=b")),
        "query" => target(&format!("/v1/items?token={PLACEHOLDER}")),
        "trailer" => {
            let new = set.substitute_trailer(to, "x-token", PLACEHOLDER.as_bytes())?;
            Ok(new.map_or_else(|| PLACEHOLDER.as_bytes().to_vec(), |new| new.to_vec()))
        }
        "body" => {
            let mut rewriter = set.body_rewriter(to, Some(b"application/json"));
            let mut sent = rewriter.feed(Bytes::from(format!("{{\"token\": \"{PLACEHOLDER}\"}}")))?.to_vec();
            sent.extend(rewriter.finish()?);
            Ok(sent)
        }
        _ => panic!("{place} is no place"),
    }
}

const PLACES: &[&str] = &["header", "cookie", "referer", "basic", "path", "query", "trailer", "body"];

#[test]
fn a_placeholder_for_another_host_leaves_in_no_place() {
    let set = set_with(|binding| binding.places = everywhere());
    let (bound, other) = (host("api.example.com"), host("example.org"));
    let to = |host| Destination { host: Some(host), port: 443, is_verified: true };
    for place in PLACES {
        let found = sent(&set, &to(&other), place).map_err(|violation| violation.kind);
        assert_eq!(found, Err(ViolationKind::Host), "{place}");
        let there = sent(&set, &to(&bound), place).expect(place);
        let there = String::from_utf8(there).expect("text");
        let there = there.strip_prefix("Basic ").map_or_else(
            || there.clone(),
            |encoded| String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("text"),
        );
        assert!(there.contains(VALUE) && !there.contains(PLACEHOLDER), "{place}: {there}");
    }
}

#[test]
fn each_place_is_permitted_by_itself() {
    let name = host("api.example.com");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    type Permit = fn(&mut Places);
    const PERMITS: &[(Permit, &[&str])] = &[
        (|_| {}, &[]),
        (|places| *places = Places::default(), &["header", "cookie", "referer", "basic"]),
        (|places| places.headers = HeaderNames::All, &["header", "cookie", "referer"]),
        (|places| places.headers = HeaderNames::Named(vec!["X-Token".to_owned()]), &["header"]),
        (|places| places.basic_auth = true, &["basic"]),
        (|places| places.path = true, &["path"]),
        (|places| places.query = true, &["query"]),
        (|places| places.body = BodyTypes::Usual, &["body"]),
        (|places| places.body = BodyTypes::Named(vec!["text/*".parse().expect("a pattern")]), &[]),
        (
            |places| places.body = BodyTypes::Named(vec!["application/json".parse().expect("a type")]),
            &["body"],
        ),
        (|places| places.trailers = true, &[]),
        (
            |places| {
                places.trailers = true;
                places.headers = HeaderNames::Named(vec!["x-token".to_owned()]);
            },
            &["header", "trailer"],
        ),
    ];
    for (index, (permit, permitted)) in PERMITS.iter().enumerate() {
        let set = set_with(|binding| {
            binding.places = nowhere();
            permit(&mut binding.places);
        });
        for place in PLACES {
            let found = sent(&set, &to, place).map(drop).map_err(|violation| violation.kind);
            let expected = if permitted.contains(place) { Ok(()) } else { Err(ViolationKind::Place) };
            assert_eq!(found, expected, "{place} with permit {index}");
        }
    }
}

#[test]
fn host_port_and_identity() {
    let name = host("api.example.com");
    type Case = (fn(&mut Binding), Option<&'static str>, u16, bool, Result<(), ViolationKind>);
    const CASES: &[Case] = &[
        (|_| {}, Some("api.example.com"), 8443, true, Ok(())),
        (|_| {}, None, 443, true, Err(ViolationKind::Host)),
        (|_| {}, Some("api.example.com"), 443, false, Err(ViolationKind::Identity)),
        (|own| own.requires_tls_identity = false, Some("api.example.com"), 80, false, Ok(())),
        (|own| own.ports = vec![443..=443, 8000..=8999], Some("api.example.com"), 8443, true, Ok(())),
        (|own| own.ports = vec![443..=443], Some("api.example.com"), 80, true, Err(ViolationKind::Host)),
        (|own| own.hosts = Hosts::DangerousAny, Some("example.org"), 443, true, Ok(())),
        (|own| own.hosts = Hosts::DangerousAny, None, 443, false, Err(ViolationKind::Identity)),
    ];
    for (index, (change, to, port, is_verified, expected)) in CASES.iter().enumerate() {
        let set = set_with(change);
        let other = host("example.org");
        let to = to.map(|text| if text == "example.org" { &other } else { &name });
        let to = Destination { host: to, port: *port, is_verified: *is_verified };
        let found = sent(&set, &to, "header").map(drop).map_err(|violation| violation.kind);
        assert_eq!(found, *expected, "case {index}");
    }
}

#[test]
fn the_strictest_action_wins() {
    let name = host("example.org");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let with = |env: &str, placeholder: &str, action| {
        let binding = binding(env, placeholder, VALUE, &["a.example"]);
        Binding { on_violation: action, ..binding }
    };
    let mut shared = with("SHARED", "netsec_mild", Action::BlockAndLog);
    shared.hosts = Hosts::Named(vec!["b.example".parse().expect("a pattern")]);
    let set = compile(vec![
        with("MILD", "netsec_mild", Action::Block),
        shared,
        with("STRICT", "netsec_strict", Action::BlockAndTerminate),
    ])
    .expect("a set");
    let cases: &[(&str, &str, Action)] = &[
        ("netsec_mild", "SHARED", Action::BlockAndLog),
        ("netsec_mild netsec_strict netsec_mild", "STRICT", Action::BlockAndTerminate),
        ("netsec_mild netsec%5Fstrict", "STRICT", Action::BlockAndTerminate),
    ];
    for (value, env, action) in cases {
        let expected = Violation { env: (*env).to_owned(), kind: ViolationKind::Host, action: *action };
        let found = set.substitute_header(&to, "x", value.as_bytes()).map(drop);
        assert_eq!(found, Err(expected.clone()), "{value}");
        let found = set.detector_towards(&to).feed(Bytes::from(*value)).map(drop);
        assert_eq!(found, Err(expected), "{value} in a stream");
    }
}

#[test]
fn a_placeholder_passes_to_the_hosts_that_may_see_it() {
    let set = set_with(|binding| {
        binding.places = everywhere();
        binding.passthrough = vec![".example.net".parse().expect("a pattern")];
    });
    let (passing, other) = (host("a.example.net"), host("example.org"));
    let to = |host| Destination { host: Some(host), port: 80, is_verified: false };
    for place in PLACES {
        let there = sent(&set, &to(&passing), place).expect(place);
        assert!(!String::from_utf8_lossy(&there).contains(VALUE), "{place}");
        assert!(sent(&set, &to(&other), place).is_err(), "{place}");
    }
    for text in [PLACEHOLDER.to_owned(), STANDARD.encode(PLACEHOLDER), PLACEHOLDER.replace('_', "%5F")] {
        assert_eq!(set.check_towards(&to(&passing), text.as_bytes()), Ok(()), "{text}");
        assert_eq!(
            set.detector_towards(&to(&passing)).feed(Bytes::from(text.clone())).map(drop),
            Ok(()),
            "{text}"
        );
        assert!(set.check_towards(&to(&other), text.as_bytes()).is_err(), "{text}");
        assert!(set.check(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn what_one_binding_does_not_let_pass_does_not() {
    let mut passing = binding("ONE", PLACEHOLDER, VALUE, &["one.example"]);
    passing.passthrough = vec!["api.example".parse().expect("a pattern")];
    let strict = binding("TWO", PLACEHOLDER, "another-value", &["two.example"]);
    let set = compile(vec![passing, strict]).expect("a set");
    let name = host("api.example");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    assert!(set.check_towards(&to, PLACEHOLDER.as_bytes()).is_err());
    assert!(set.substitute_header(&to, "x", PLACEHOLDER.as_bytes()).is_err());
}

#[test]
fn what_is_bound_to_a_host_does_not_pass_to_it_hidden() {
    let set = set_with(|binding| binding.passthrough = vec![".example.com".parse().expect("a pattern")]);
    let (bound, passing) = (host("api.example.com"), host("www.example.com"));
    for (host, expected) in [(&bound, Err(ViolationKind::Place)), (&passing, Ok(()))] {
        let to = Destination { host: Some(host), port: 443, is_verified: true };
        let found = set.check_towards(&to, STANDARD.encode(PLACEHOLDER).as_bytes());
        assert_eq!(found.map_err(|violation| violation.kind), expected, "{host}");
    }
}

#[test]
fn a_value_is_percent_encoded_in_targets() {
    let set = compile(vec![Binding {
        places: everywhere(),
        ..binding("TOKEN", PLACEHOLDER, "a/b ?c&d#e%f", &["a.example"])
    }])
    .expect("a set");
    let name = host("a.example");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let target = format!("/x/{PLACEHOLDER}?q={PLACEHOLDER}&z={PLACEHOLDER}");
    let sent = set.substitute_target(&to, target.as_bytes()).expect("bound").expect("replaced");
    const VALUE: &str = "a%2Fb%20%3Fc%26d%23e%25f";
    assert_eq!(String::from_utf8_lossy(&sent), format!("/x/{VALUE}?q={VALUE}&z={VALUE}"));
    let encoded = PLACEHOLDER.replace('_', "%5f");
    for target in
        [format!("/{encoded}"), format!("/?{encoded}"), format!("/?{}", STANDARD.encode(PLACEHOLDER))]
    {
        let kind = set.substitute_target(&to, target.as_bytes()).map_err(|violation| violation.kind);
        assert_eq!(kind.map(|_| ()), Err(ViolationKind::Place), "{target}");
    }
}

#[test]
fn basic_credentials_keep_their_halves() {
    let name = host("api.example.com");
    let to = Destination { host: Some(&name), port: 443, is_verified: true };
    let set =
        compile(vec![binding("TOKEN", PLACEHOLDER, "user:password", &["api.example.com"])]).expect("a set");
    let basic = |credentials: &str| format!("Basic {}", STANDARD_NO_PAD.encode(credentials));
    let sent = set.substitute_header(&to, "Authorization", basic(&format!("a:{PLACEHOLDER}")).as_bytes());
    let expected = format!("Basic {}", STANDARD.encode("a:user:password"));
    assert_eq!(sent.map(|new| new.map(|new| new.to_vec())), Ok(Some(expected.into_bytes())));
    // The value's colon would end the name of the user.
    for credentials in [format!("{PLACEHOLDER}:b"), PLACEHOLDER.to_owned()] {
        let sent = set.substitute_header(&to, "authorization", basic(&credentials).as_bytes());
        assert_eq!(sent.map_err(|violation| violation.kind).map(|_| ()), Err(ViolationKind::Value));
    }
}

#[test]
fn values_too_short_to_scrub_say_so() {
    let short = || binding("TOKEN", PLACEHOLDER, "1234567", &["a.example"]);
    let error = compile(vec![short()]).map(drop);
    assert_eq!(error, Err(CompileError::ShortValue { env: "TOKEN".to_owned() }));
    let mut unscrubbed = short();
    unscrubbed.scrubs_responses = false;
    let set = compile(vec![unscrubbed]).expect("a set");
    let name = host("a.example");
    assert!(set.scrubber(&Destination { host: Some(&name), port: 443, is_verified: true }).is_none());
    assert!(compile(vec![binding("TOKEN", PLACEHOLDER, "12345678", &["a.example"])]).is_ok());
}
