use crate::covers::{covers, overlaps};
use crate::policy::Compiled;
use crate::{Action, Destination, Policy, Rule, RuleDirection, RuleId};

/// Comparisons of two rules, at most; policies that would take more are held to widen.
const MAX_COMPARED: usize = 1 << 24;

impl Policy {
    /// The first rule, or the default, that may allow a flow or a name that `older` does not allow; `None`
    /// where this policy is certainly no wider, whatever the pins, the host's addresses and the clocks.
    ///
    /// It errs on one side: an allowing rule is no wider where one rule of `older` covers it, and every
    /// denial in front of that one stands, as wide, in front of it here. Nothing but rules is looked at, one
    /// against another, so what several rules allow together counts as more than each allows.
    ///
    /// Work grows with the rules of both, multiplied; above some thousands of each the answer is `Some`.
    pub fn widens(&self, older: &Self) -> Option<RuleId> {
        // What a layer of the older denies must be denied by a layer here.
        older.layers().find_map(|(_, older)| {
            let mut found = self.layers().map(|(_, layer)| wider(layer, older));
            let first = found.next().flatten();
            first.filter(|_| found.all(|other| other.is_some()))
        })
    }
}

/// The first rule of `newer` that may be wider than `older`.
fn wider(newer: &Compiled, older: &Compiled) -> Option<RuleId> {
    let (newer_rules, older_rules) = (with_defaults(newer), with_defaults(older));
    let default = newer.rules.len();
    let id = |index: usize| RuleId::own(u32::try_from(index.min(default)).unwrap_or(u32::MAX));
    if newer_rules.len().saturating_mul(older_rules.len()) > MAX_COMPARED {
        return Some(id(0));
    }
    let found = first_wider(&newer_rules, &older_rules);
    let allows_names = |rule: &Rule| rule.destination.is_domain() && rule.action == Action::Allow;
    if found.is_none() && newer_rules.iter().any(allows_names) {
        // Where a name may lead is for the rules for addresses to say, of which only they count.
        let as_such = |rules| as_such(rules).cloned().collect::<Vec<Rule>>();
        let wider = first_wider(&as_such(&newer_rules), &as_such(&older_rules));
        return wider.and_then(|_| newer_rules.iter().position(allows_names)).map(id);
    }
    found.map(id)
}

/// The rules of a layer, and its defaults as if they were the last of them.
fn with_defaults(layer: &Compiled) -> Vec<Rule> {
    let default = |action, direction| Rule { direction, ..Rule::new(action, Destination::Any) };
    let mut rules = layer.rules.clone();
    rules.push(default(layer.defaults.egress, RuleDirection::Egress));
    rules.push(default(layer.defaults.ingress, RuleDirection::Ingress));
    rules
}

/// The rules that say where names may lead.
fn as_such(rules: &[Rule]) -> impl Iterator<Item = &Rule> {
    rules.iter().filter(|rule| matches!(rule.destination, Destination::Cidr(_) | Destination::Group(_)))
}

fn first_wider(newer: &[Rule], older: &[Rule]) -> Option<usize> {
    let leads_alike = as_such(newer).eq(as_such(older));
    let mut allowing = newer.iter().enumerate().filter(|(_, rule)| rule.action == Action::Allow);
    let before = |index| newer.get(..index).unwrap_or_default();
    let wider = allowing.find(|(index, rule)| !is_held(rule, before(*index), older, leads_alike));
    wider.map(|(index, _)| index)
}

/// Whether what a rule allows, behind those `before` it, is allowed by the older rules; `leads_alike` where
/// names lead to the same addresses among both.
fn is_held(rule: &Rule, before: &[Rule], older: &[Rule], leads_alike: bool) -> bool {
    let denials = before.iter().filter(|rule| rule.action == Action::Deny);
    // It allows nothing, and lets no name be resolved.
    let hides = |denial: &Rule| {
        let is_for_names = matches!(denial.destination, Destination::Any | Destination::Domain(_));
        is_for_names && denial.covers_everything() && covers(denial, rule)
    };
    if denials.clone().any(hides) {
        return true;
    }
    let is_for_all = |rule: &Rule| rule.http.is_none();
    // Only what is written for every flow keeps a name from being resolved.
    let denies_alike = |denial: &Rule, old: &Rule| {
        covers(denial, old) && (denial.covers_everything() || !old.covers_everything())
    };
    // A rule that allows a name matches only where the name may lead.
    let stands_for = |it: &Rule, old: &Rule| (it.action == Action::Deny || leads_alike) && covers(it, old);
    for old in older {
        match old.action {
            // It lets less be inside of TLS.
            Action::Allow if rule.is_opaque() && !old.is_opaque() && overlaps(old, rule) => return false,
            Action::Allow if covers(old, rule) => return true,
            // Where a rule is for some requests a malformed one is denied, which a later rule for all does not
            // do by itself.
            Action::Allow if is_for_all(old) || !is_for_all(rule) || !overlaps(old, rule) => {}
            Action::Allow if before.iter().any(|it| stands_for(it, old)) => {}
            Action::Allow => return false,
            Action::Deny if !overlaps(old, rule) => {}
            Action::Deny if denials.clone().any(|denial| denies_alike(denial, old)) => {}
            Action::Deny => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpCondition, Inner};
    use proptest::prelude::*;

    fn policy(rules: &[&str]) -> Policy {
        let rule = |text: &&str| {
            let mut words = text.split(' ');
            let (action, target) = words.next().zip(words.next()).expect(text);
            let action = if action == "allow" { Action::Allow } else { Action::Deny };
            let (opaque, methods): (Vec<&str>, Vec<&str>) = words.partition(|word| *word == "opaque");
            let http = HttpCondition::parse(&methods, &[]).ok();
            let inner = if opaque.is_empty() { Inner::Http } else { Inner::Opaque };
            Rule { http, inner, ..crate::parse_target(target).expect(text).into_rule(action) }
        };
        Policy::new(rules.iter().map(rule).collect())
    }

    #[test]
    fn what_widens() {
        // older, newer, the number of the first rule that may be wider
        const CASES: &[(&[&str], &[&str], Option<usize>)] = &[
            (&[], &[], None),
            (&[], &["deny any"], None),
            (&[], &["allow a.example"], Some(1)),
            (&["allow a.example"], &[], None),
            (&["allow a.example"], &["allow a.example:443"], None),
            (&["allow a.example:443"], &["allow a.example"], Some(1)),
            (&["allow *.example"], &["allow a.example", "allow *.b.example"], None),
            (&["allow public"], &["deny .ads.example", "allow public"], None),
            (&["deny .ads.example", "allow public"], &["allow public"], Some(1)),
            (&["deny .ads.example", "allow public"], &["deny .example", "allow public:443"], None),
            (&["allow public", "deny .ads.example"], &["allow public"], None),
            (&["allow any"], &["allow public", "allow 10.0.0.0/8"], None),
            (&["allow 10.0.0.0/8"], &["deny 10.1.0.0/16", "allow 10.0.0.0/9:22"], None),
            (&["deny 10.1.0.0/16", "allow 10.0.0.0/8"], &["allow 10.2.0.0/16"], None),
            (&["deny 10.1.0.0/16", "allow 10.0.0.0/8"], &["allow 10.1.2.0/24"], Some(1)),
            (&["deny 2002::/16", "allow 10.0.0.0/8"], &["allow 10.0.0.0/8"], Some(1)),
            (&["allow a.example", "allow b.example"], &["allow b.example", "allow a.example"], None),
            // Names may lead where only an address was allowed as such before.
            (&["allow any"], &["allow a.example", "allow private"], Some(1)),
            (&["allow a.example", "allow private"], &["allow a.example", "allow private:22"], None),
            // What is hidden allows nothing, but a rule for an address lets names be resolved.
            (&[], &["deny any", "allow public"], None),
            (&[], &["deny any:22", "allow public:22"], Some(2)),
            // Rules for some requests to a name.
            (&["allow a.example GET HEAD"], &["allow a.example GET"], None),
            (&["allow a.example GET"], &["allow a.example GET HEAD"], Some(1)),
            (&["allow a.example GET"], &["allow a.example"], Some(1)),
            (&["allow a.example"], &["allow a.example GET"], None),
            (&["deny a.example GET", "allow a.example"], &["deny a.example GET", "allow a.example"], None),
            (&["deny a.example GET", "allow a.example"], &["deny a.example", "allow .example"], Some(2)),
            (&["deny a.example GET", "allow .example"], &["deny a.example", "allow .example"], None),
            (&["deny a.example", "allow .example"], &["deny a.example GET", "allow .example"], Some(2)),
            (&["deny a.example GET PUT", "allow any"], &["deny a.example GET", "allow any"], Some(2)),
            (&["deny a.example GET", "allow any"], &["allow a.example PUT"], Some(1)),
            // Where some requests have a rule, malformed ones are denied.
            (&["allow a.example GET", "allow a.example"], &["allow a.example"], Some(1)),
            (&["allow a.example GET", "allow any"], &["allow a.example GET", "allow any"], None),
            (&["allow a.example GET", "allow a.example"], &["allow a.example PUT"], None),
            (&["allow a.example GET", "allow any"], &["deny a.example", "allow any"], None),
            // What may be inside of TLS.
            (&["allow a.example"], &["allow a.example opaque"], Some(1)),
            (&["allow any"], &["allow a.example opaque"], Some(1)),
            (&["allow a.example opaque"], &["allow a.example"], None),
            (&["allow .example opaque"], &["allow a.example opaque"], None),
            (&["allow a.example", "allow .example opaque"], &["allow .example opaque"], Some(1)),
            // A name that leads there no more would be decided by the last rule.
            (
                &["allow a.example GET", "allow private", "allow any"],
                &["allow a.example GET", "allow any"],
                Some(2),
            ),
        ];
        for (older, newer, expected) in CASES {
            let found = policy(newer).widens(&policy(older)).map(|rule| rule.index() + 1);
            assert_eq!(found, *expected, "from {older:?} to {newer:?}");
        }
    }

    #[test]
    fn floors_and_defaults_count() {
        let open = crate::Defaults { egress: Action::Allow, ..Default::default() };
        let open = Policy::with_defaults(Vec::new(), open);
        assert_eq!(open.widens(&Policy::none()).map(RuleId::index), Some(0));
        assert_eq!(Policy::public_only().widens(&open), None);
        let floored = Policy::allow_all().with_floor(&Policy::public_only()).expect("one floor");
        assert_eq!(floored.widens(&Policy::public_only()), None);
        assert_eq!(floored.widens(&floored), None);
        assert!(Policy::allow_all().widens(&floored).is_some());
        assert_eq!(Policy::public_only().widens(&floored), None);
    }

    #[test]
    fn a_denial_for_each_protocol_lets_names_be_resolved_that_one_for_all_does_not() {
        let older = policy(&["deny a.example", "allow 1.1.1.1"]);
        let [denies, allows] = older.rules() else { panic!("two rules") };
        let denies = Rule { protocols: net_core::Protocol::ALL.into_iter().collect(), ..denies.clone() };
        let newer = Policy::new(vec![denies, allows.clone()]);
        assert_eq!(newer.widens(&older).map(RuleId::index), Some(1));
        assert_eq!(older.widens(&newer), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_said_to_be_no_wider_allows_no_more(bytes in proptest::collection::vec(any::<u8>(), 0..800)) {
            crate::fuzzing::policies_that_do_not_widen_allow_no_more(&bytes);
        }
    }
}
