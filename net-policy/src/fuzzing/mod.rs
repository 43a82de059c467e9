#![allow(clippy::wildcard_enum_match_arm, reason = "only addresses matter here")]

//! What holds for every input: called by the fuzz targets and by the tests that replay their corpora.

use std::net::IpAddr;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::dns::{AnswerVerdict, Question, filter_answer, fit};
use crate::linear::Linear;
use crate::request::normal_path;
use crate::{
    Action, Decision, Group, HostAddresses, HttpCondition, MAX_PATH_BYTES, NameDecision, PathPattern, Policy,
    RequestLine, RuleId, parse_target,
};

mod world;

use world::Source;

/// No address that is not public passes a policy that allows names alone, and what is pinned is
/// what is passed on. The question is fixed: a fuzzer would hardly ever guess it.
pub fn answers_stay_within_the_policy(bytes: &[u8]) {
    // Queries of the guest are as hostile as answers of upstream.
    if let Ok(question) = Question::parse(bytes) {
        assert!(question.to_upstream().to_vec().is_ok());
    }
    let (Ok(name), Ok(target)) = (Name::from_ascii("a.example."), parse_target("a.example")) else { return };
    let mut query = Message::query();
    query.add_query(Query::query(name, RecordType::A));
    let Ok(question) = query.to_vec().map(|bytes| Question::parse(&bytes)) else { return };
    let Ok(question) = question else { return };
    let policy = Policy::new(vec![target.into_rule(Action::Allow)]);
    let hosts = HostAddresses::default();
    let verdict = filter_answer(&question, bytes, &policy, &hosts, false);
    let AnswerVerdict::Forward { message, pins, lifetime } = verdict else { return };
    assert!(message.answers.iter().all(|record| u64::from(record.ttl) >= lifetime.as_secs()));
    let mut addresses = message.answers.iter().filter_map(|record| match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    });
    assert!(addresses.all(|address| Group::of(address, &hosts) == Some(Group::Public)));
    assert!(pins.iter().all(|pin| Group::of(pin.address, &hosts) == Some(Group::Public)));
    assert!(pins.len() <= message.answers.len());
    if let Some(fitted) = fit(&question, *message, 512) {
        assert!(fitted.len() <= 512 && Message::from_vec(&fitted).is_ok());
    }
}

/// What is parsed prints as something that parses to the same.
pub fn targets_round_trip(text: &str) {
    let Ok(target) = parse_target(text) else { return };
    let shown = target.destination.to_string();
    let again = shown.parse::<crate::Destination>();
    assert_eq!(again.as_ref(), Ok(&target.destination), "{text} printed as {shown}");
    if !target.ports.is_any() {
        assert_eq!(target.ports.to_string().parse(), Ok(target.ports), "{text}");
    }
}

/// A path in its normal form is in its normal form, begins with a slash and has no segment that means
/// another; a pattern matches it where trying everything finds a match. The text is a pattern and a path, a
/// line each, or a path alone.
pub fn paths_have_one_form(text: &str) {
    let (wanted, path) = text.split_once('\n').unwrap_or(("/**", text));
    let Some(normal) = normal_path(path) else { return };
    assert_eq!(normal_path(&normal).as_deref(), Some(&*normal), "{path}");
    assert!(normal.starts_with('/') && normal.len() <= MAX_PATH_BYTES, "{path}: {normal}");
    assert!(normal.is_ascii() && !normal.contains("//"), "{path}: {normal}");
    assert!(!normal.split('/').any(|segment| matches!(segment, "." | "..")), "{path}: {normal}");
    let Ok(pattern) = wanted.parse::<PathPattern>() else { return };
    // Trying everything takes its time.
    if wanted.matches('*').count() <= 6 && normal.len() <= 64 {
        let request = RequestLine::new("GET", path);
        let condition = HttpCondition::parse(&[], &[wanted]).expect("a condition");
        let matches = condition.matches(&request);
        assert_eq!(matches, tried(wanted.as_bytes(), normal.as_bytes()), "{pattern}: {normal}");
    }
}

/// Whether a pattern matches a path, by trying everything.
pub(crate) fn tried(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        // Whole segments, each with the slash before it.
        [b'/', b'*', b'*', rest @ ..] => {
            let is_end = |end: &usize| path.get(*end).is_none_or(|byte| *byte == b'/');
            let ends = (0..=path.len()).filter(is_end).filter(|end| *end == 0 || path.first() == Some(&b'/'));
            ends.into_iter().any(|end| tried(rest, &path[end..]))
        }
        [b'*', rest @ ..] => {
            let within = path.iter().take_while(|byte| **byte != b'/').count();
            (0..=within).any(|end| tried(rest, &path[end..]))
        }
        [byte, rest @ ..] => path.first() == Some(byte) && tried(rest, &path[1..]),
    }
}

/// The index and the reference model agree on every policy and every flow, and a floor never widens.
#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
pub fn compiled_policies_equal_linear_ones(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let now = std::time::Instant::now();
    let (hosts, pins, defaults) = (source.hosts(), source.pins(now), source.defaults());
    let (flows, names): (Vec<_>, Vec<_>) = (0..8).map(|_| (source.flow(), source.name())).unzip();
    let requests: Vec<_> = (0..4).map(|_| source.request()).collect();
    let floor = Policy::with_defaults(source.rules(), source.defaults());
    let rules = source.rules();
    let linear = Linear { rules: &rules, defaults };
    let policy = Policy::with_defaults(rules.clone(), defaults);
    let narrowed = policy.clone().with_floor(&floor).expect("one floor");

    assert_eq!(policy.may_reach_host(), linear.may_reach_host(), "{rules:?}");
    for (flow, name) in flows.iter().zip(names) {
        let query = flow.query(&pins, &hosts, now);
        let decision = policy.decide(&query);
        assert_eq!(decision, linear.decide(&query), "{rules:?} {defaults:?} {query:?}");
        let named = policy.decide_name(&name, flow.wall);
        assert_eq!(named, linear.decide_name(&name, flow.wall), "{name} at {} by {rules:?}", flow.wall);
        let permits = policy.permits_address(flow.address, &hosts);
        assert_eq!(permits, linear.permits_address(flow.address, &hosts), "{} by {rules:?}", flow.address);
        for rule in (0..=rules.len()).filter_map(|index| u32::try_from(index).ok()).map(RuleId::own) {
            let matter = policy.names_matter(rule, flow.direction, flow.protocol, flow.port);
            let expected = linear.names_matter(rule, flow.direction, flow.protocol, flow.port);
            assert_eq!(matter, expected, "{rule:?} of {rules:?}");
        }

        assert_eq!(policy.explain(&query).decision(), decision, "{rules:?} {query:?}");
        let unseen = policy.decide_unseen(&query);
        assert_eq!(unseen, linear.decide_unseen(&query), "{rules:?} {defaults:?} {query:?}");
        assert_eq!(policy.explain_unseen(&query).decision(), unseen, "{rules:?} {query:?}");
        // What cannot be seen is never freer than what can, and is settled.
        let may_go_on =
            |decision: &Decision| matches!(decision, Decision::Allow { .. } | Decision::PerRequest { .. });
        assert!(!matches!(unseen, Decision::PerRequest { .. }));
        assert!(!matches!(unseen, Decision::Allow { .. }) || !matches!(decision, Decision::Deny { .. }));
        for request in &requests {
            let verdict = policy.decide_request(&query, request);
            assert_eq!(
                verdict,
                linear.decide_request(&query, request),
                "{rules:?} {defaults:?} {query:?} {request:?}"
            );
            assert_eq!(policy.explain_request(&query, request).decision(), verdict, "{rules:?} {query:?}");
            match decision {
                Decision::Allow { .. } => assert_eq!(verdict, decision, "{rules:?} {query:?} {request:?}"),
                Decision::Deny { .. } => assert!(matches!(verdict, Decision::Deny { .. }), "{verdict:?}"),
                Decision::PerRequest { .. } => {
                    assert!(!matches!(verdict, Decision::PerRequest { .. }), "{verdict:?}");
                    let is_malformed = request.normal_path().is_none();
                    assert!(!is_malformed || !may_go_on(&verdict), "{verdict:?}");
                }
                Decision::NeedName => {}
            }
            let below = narrowed.decide_request(&query, request);
            assert!(!may_go_on(&below) || may_go_on(&verdict), "{below:?} of {verdict:?}");
        }

        let below = narrowed.decide(&query);
        assert_eq!(narrowed.explain(&query).decision(), below, "{rules:?} {query:?}");
        let both = [decision, floor.decide(&query)];
        let is_allowed = may_go_on;
        let is_denied = |decision: &Decision| matches!(decision, Decision::Deny { .. });
        assert!(!is_allowed(&below) || both.iter().all(is_allowed), "{below:?} of {both:?}");
        assert!(is_denied(&below) || !both.iter().any(is_denied), "{below:?} of {both:?}");
        if flow.name.is_some() {
            assert_eq!(is_allowed(&below), both.iter().all(is_allowed), "{below:?} of {both:?}");
        }
        let is_resolved = |decision: NameDecision| matches!(decision, NameDecision::Allow { .. });
        assert_eq!(
            is_resolved(narrowed.decide_name(&name, flow.wall)),
            is_resolved(named) && is_resolved(floor.decide_name(&name, flow.wall))
        );
        assert!(permits || !narrowed.permits_address(flow.address, &hosts));
    }
}

/// A rule that is said to be shadowed decides nothing: without it every flow fares the same.
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
pub(crate) fn shadowed_rules_decide_nothing(bytes: &[u8]) {
    use net_core::Protocol;

    let mut source = Source::new(bytes);
    let now = std::time::Instant::now();
    let (hosts, pins, defaults) = (source.hosts(), source.pins(now), source.defaults());
    let flows: Vec<_> = (0..32).map(|_| source.flow()).collect();
    let requests: Vec<_> = (0..4).map(|_| source.request()).collect();
    let rules = source.rules();
    let policy = Policy::with_defaults(rules.clone(), defaults);
    for warning in policy.warnings(crate::UnixTime::default()) {
        let (crate::Warning::Shadowed { rule, .. } | crate::Warning::Unreachable { rule, .. }) = warning
        else {
            continue;
        };
        let mut others = rules.clone();
        others.remove(rule.index());
        let without = Policy::with_defaults(others, defaults);
        // There is no ICMP of one IP version to an address of the other.
        let is_real = |flow: &&world::Flow| match flow.protocol {
            Protocol::IcmpV4 => flow.address.is_ipv4(),
            Protocol::IcmpV6 => flow.address.is_ipv6(),
            _ => true,
        };
        for flow in flows.iter().filter(is_real) {
            let query = flow.query(&pins, &hosts, now);
            let kind = |decision: Decision| match decision {
                Decision::Allow { .. } => "allow",
                Decision::PerRequest { .. } => "requests",
                Decision::Deny { reason, .. } => reason.as_str(),
                Decision::NeedName => "name",
            };
            let (before, after) = (kind(policy.decide(&query)), kind(without.decide(&query)));
            assert_eq!(before, after, "{warning} in {rules:?} for {query:?}");
            assert_eq!(
                kind(policy.decide_unseen(&query)),
                kind(without.decide_unseen(&query)),
                "{warning} in {rules:?} for {query:?}"
            );
            for request in &requests {
                assert_eq!(
                    kind(policy.decide_request(&query, request)),
                    kind(without.decide_request(&query, request)),
                    "{warning} in {rules:?} for {query:?}, {request:?}"
                );
            }
        }
    }
}

/// No text is a danger, and a policy that was read is read again from what it is written as.
#[cfg(feature = "serde")]
pub fn written_policies_round_trip(text: &str) {
    for policy in [Policy::from_toml(text), Policy::from_json(text)].into_iter().flatten() {
        let toml = toml::to_string(&policy).expect("TOML");
        assert_eq!(Policy::from_toml(&toml).as_ref(), Ok(&policy), "{text} written as {toml}");
        let json = serde_json::to_string(&policy).expect("JSON");
        assert_eq!(Policy::from_json(&json).as_ref(), Ok(&policy), "{text} written as {json}");
    }
}
