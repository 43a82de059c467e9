use std::collections::BTreeSet;

use net_core::{HostName, Protocol};
use net_policy::{Action, Destination, Policy, RuleDirection};

/// The names below which lie all that can be intercepted; `None` where something is allowed by its
/// address.
pub(crate) fn intercepted_names(policy: &Policy, ports: &BTreeSet<u16>) -> Option<Vec<HostName>> {
    if policy.defaults().egress == Action::Allow {
        return None;
    }
    let mut names = Vec::new();
    for rule in policy.rules() {
        let may_be_intercepted = rule.action == Action::Allow
            && rule.direction != RuleDirection::Ingress
            && rule.protocols.contains(Protocol::Tcp)
            && ports.iter().any(|port| rule.ports.contains(*port));
        if may_be_intercepted {
            let Destination::Domain(pattern) = &rule.destination else { return None };
            names.push(pattern.apex().clone());
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use net_policy::parse_target;

    #[test]
    fn the_names_of_rules_that_open_tls() {
        const CASES: &[(&[&str], Option<&[&str]>)] = &[
            (&[], Some(&[])),
            (&["a.b", "*.c.d", ".e.f:443"], Some(&["a.b", "c.d", "e.f"])),
            (&["a.b", "c.d:80"], Some(&["a.b"])),
            (&["a.b", "10.0.0.0/8"], None),
            (&["a.b", "[fd00::1]:443"], None),
            (&["a.b", "10.0.0.0/8:22", "host:5432"], Some(&["a.b"])),
            (&["a.b", "public"], None),
            (&["any"], None),
            (&["a.b", "host"], None),
        ];
        let ports = BTreeSet::from([443]);
        for (allow, expected) in CASES {
            let rule = |text: &&str| parse_target(text).expect(text).into_rule(Action::Allow);
            let mut rules: Vec<_> = allow.iter().map(rule).collect();
            rules.push(parse_target("any").expect("any").into_rule(Action::Deny));
            let names = intercepted_names(&Policy::new(rules), &ports);
            let names: Option<Vec<String>> =
                names.map(|names| names.iter().map(ToString::to_string).collect());
            let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
            assert_eq!(names, expected, "{allow:?}");
        }
    }
}
