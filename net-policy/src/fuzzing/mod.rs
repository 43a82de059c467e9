//! What holds for every input: called by the fuzz targets and by the tests that replay their corpora.

use crate::linear::Linear;
use crate::{Action, Decision, NameDecision, Policy, RuleId, parse_target};

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

/// The index and the reference model agree on every policy and every flow, and a floor never widens.
#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
pub fn compiled_policies_equal_linear_ones(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let now = std::time::Instant::now();
    let (hosts, pins, defaults) = (source.hosts(), source.pins(now), source.defaults());
    let (flows, names): (Vec<_>, Vec<_>) = (0..8).map(|_| (source.flow(), source.name())).unzip();
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

        let below = narrowed.decide(&query);
        assert_eq!(narrowed.explain(&query).decision(), below, "{rules:?} {query:?}");
        let both = [decision, floor.decide(&query)];
        let is_allowed = |decision: &Decision| matches!(decision, Decision::Allow { .. });
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
                Decision::Deny { reason, .. } => reason.as_str(),
                Decision::NeedName => "name",
            };
            let (before, after) = (kind(policy.decide(&query)), kind(without.decide(&query)));
            assert_eq!(before, after, "{warning} in {rules:?} for {query:?}");
        }
    }
}

/// A policy that is said not to widen another allows no flow and no name that the other does not.
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
pub(crate) fn policies_that_do_not_widen_allow_no_more(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let now = std::time::Instant::now();
    let (hosts, pins) = (source.hosts(), source.pins(now));
    let (flows, names): (Vec<_>, Vec<_>) = (0..32).map(|_| (source.flow(), source.name())).unzip();
    let defaults = [source.defaults(), source.defaults()];
    let floors = [source.byte(), source.byte()].map(|byte| byte.is_multiple_of(4));
    // Few rules and small changes, or nothing would ever be no wider.
    let (mut older, mut newer) = (Vec::new(), Vec::new());
    while !source.is_empty() && older.len() < 6 {
        let rule = source.rule();
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
        let (before, after) = (older.decide(&query), newer.decide(&query));
        let is_wider = match after {
            Decision::Allow { .. } => !matches!(before, Decision::Allow { .. }),
            Decision::NeedName => matches!(before, Decision::Deny { .. }),
            Decision::Deny { .. } => false,
        };
        assert!(!is_wider, "{before:?} became {after:?}: {:?} {:?} {query:?}", older.rules(), newer.rules());
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
