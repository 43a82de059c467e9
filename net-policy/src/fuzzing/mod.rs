//! What holds for every input: called by the fuzz targets and by the tests that replay their corpora.

use crate::linear::Linear;
use crate::request::normal_path;
use crate::{
    Action, Decision, HttpCondition, MAX_PATH_BYTES, NameDecision, PathPattern, Policy, Query, RequestLine,
    RuleId, parse_target,
};

mod dns;
mod world;

pub use dns::{answer_stays_within_the_policy, query_is_answered};
use world::Source;

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

/// Two neighbours that no flow can both match may change places: every flow fares as before.
#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
pub fn order_matters_only_where_rules_overlap(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let now = std::time::Instant::now();
    let (hosts, pins, defaults) = (source.hosts(), source.pins(now), source.defaults());
    let flows: Vec<_> = (0..8).map(|_| source.flow()).collect();
    let request = source.request();
    let rules = source.rules();
    let policy = Policy::with_defaults(rules.clone(), defaults);
    for index in 1..rules.len() {
        if crate::covers::overlaps(&rules[index - 1], &rules[index]) {
            continue;
        }
        let mut others = rules.clone();
        others.swap(index - 1, index);
        let other = Policy::with_defaults(others, defaults);
        for flow in &flows {
            let query = flow.query(&pins, &hosts, now);
            let pairs = [
                (policy.decide(&query), other.decide(&query)),
                (policy.decide_unseen(&query), other.decide_unseen(&query)),
                (policy.decide_request(&query, &request), other.decide_request(&query, &request)),
            ];
            for (before, after) in pairs {
                assert_eq!(kind(before), kind(after), "{index} of {rules:?} {query:?}");
            }
        }
    }
}

/// What becomes of a flow, whichever rule says so.
fn kind(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow { .. } => "allow",
        Decision::PerRequest { .. } => "per request",
        Decision::Deny { .. } => "deny",
        Decision::NeedName => "need a name",
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
        // Where no name is shown, each of the address's is asked: a layer that needs to know which of them
        // it is may go on with any, and both layers together need not know.
        let pinned = pins.pins_of(flow.address, hosts.normalise(flow.address), now).map(|(name, _)| name);
        let mut asked: Vec<_> = pinned.map(|name| Query { name: Some(name), ..query }).collect();
        if flow.name.is_some() || asked.is_empty() {
            asked = vec![query];
        }
        let agree =
            asked.iter().all(|query| may_go_on(&policy.decide(query)) && may_go_on(&floor.decide(query)));
        assert!(!is_allowed(&below) || agree, "{below:?} of {both:?}");
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
        let is_real = |flow: &&world::Flow| {
            let other_version = if flow.address.is_ipv4() { Protocol::IcmpV6 } else { Protocol::IcmpV4 };
            flow.protocol != other_version
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

/// A policy that is said not to widen another allows no flow and no name that the other does not.
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
pub(crate) fn policies_that_do_not_widen_allow_no_more(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let now = std::time::Instant::now();
    let (hosts, mut pins) = (source.hosts(), source.pins(now));
    let (mut flows, names): (Vec<_>, Vec<_>) = (0..32).map(|_| (source.flow(), source.name())).unzip();
    // Few of those would meet a rule for a name: these show one that their address is pinned to.
    for flow in flows.iter_mut().take(12) {
        let name = source.name();
        pins.pin(&name, flow.address, std::time::Duration::from_secs(60), now);
        (flow.direction, flow.protocol) = (net_core::Direction::Egress, net_core::Protocol::Tcp);
        flow.name = Some(name);
    }
    let requests: Vec<_> = (0..4).map(|_| source.request()).collect();
    let defaults = [source.defaults(), source.defaults()];
    let floors = [source.byte(), source.byte()].map(|byte| byte.is_multiple_of(4));
    // Few rules and small changes, or nothing would ever be no wider.
    let (mut older, mut newer) = (Vec::new(), Vec::new());
    while !source.is_empty() && older.len() < 6 {
        let is_for_requests = source.byte().is_multiple_of(3);
        let rule = if is_for_requests { source.rule_for_requests() } else { source.rule() };
        match source.byte() % 8 {
            0 => newer.push(rule),
            1 => older.push(rule),
            2 => {
                older.push(rule.clone());
                newer.insert(0, rule);
            }
            3 => {
                newer.push(crate::Rule { ports: crate::PortSet::single(80), ..rule.clone() });
                older.push(rule);
            }
            4 => {
                newer.push(crate::Rule { action: Action::Deny, ..rule.clone() });
                older.push(rule);
            }
            5 => {
                newer.push(rule.clone());
                older.push(crate::Rule { http: None, ..rule });
            }
            6 => {
                newer.push(crate::Rule { http: None, ..rule.clone() });
                older.push(rule);
            }
            _ => {
                newer.push(rule.clone());
                older.push(rule);
            }
        }
    }
    let floor = Policy::new(older.iter().take(2).cloned().collect());
    let over = |policy: Policy, is_floored| {
        if is_floored { policy.with_floor(&floor).expect("one floor") } else { policy }
    };
    let older = over(Policy::with_defaults(older, defaults[0]), floors[0]);
    let newer = over(Policy::with_defaults(newer, defaults[1]), floors[1]);
    if newer.widens(&older).is_some() {
        return;
    }
    for (flow, name) in flows.iter().zip(names) {
        let query = flow.query(&pins, &hosts, now);
        let hold = |before: Decision, after: Decision, asked: &dyn std::fmt::Debug| {
            let is_wider = match after {
                Decision::Allow { .. } => !matches!(before, Decision::Allow { .. }),
                Decision::PerRequest { .. } | Decision::NeedName => matches!(before, Decision::Deny { .. }),
                Decision::Deny { .. } => false,
            };
            let (older, newer) = (older.rules(), newer.rules());
            assert!(!is_wider, "{before:?} became {after:?}: {older:?} {newer:?} {query:?} {asked:?}");
        };
        hold(older.decide(&query), newer.decide(&query), &"the flow");
        hold(older.decide_unseen(&query), newer.decide_unseen(&query), &"unseen");
        for request in &requests {
            let after = newer.decide_request(&query, request);
            // A malformed request is not judged where the names of its address have to tell first.
            if request.normal_path().is_some() || after != Decision::NeedName {
                hold(older.decide_request(&query, request), after, request);
            }
        }
        let resolves =
            |policy: &Policy| matches!(policy.decide_name(&name, flow.wall), NameDecision::Allow { .. });
        assert!(resolves(&older) || !resolves(&newer), "{name}: {:?} {:?}", older.rules(), newer.rules());
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
