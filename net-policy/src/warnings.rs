use std::collections::HashMap;
use std::fmt;

use ipnet::IpNet;
use net_core::{Direction, Protocol};

use crate::covers::covers;
use crate::destination::SPECIAL;
use crate::{Action, Destination, Group, Policy, Rule, RuleDirection, RuleId, UnixTime};

/// Something in a policy that its owner may not have meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// An earlier rule matches everything that this one matches.
    Shadowed {
        /// The rule that never matches.
        rule: RuleId,
        /// The first such earlier rule.
        by: RuleId,
    },
    /// No flow is ever tried against it that it could match.
    Unreachable {
        /// The rule that never matches.
        rule: RuleId,
        /// Why.
        why: UnreachableReason,
    },
    /// It matches nothing any more.
    Expired {
        /// The rule.
        rule: RuleId,
        /// Since when.
        since: UnixTime,
    },
    /// It denies, and will not do so for ever: what it denies may open.
    DenialExpires {
        /// The rule.
        rule: RuleId,
        /// From when on.
        at: UnixTime,
    },
    /// It allows every address.
    AllowsAny {
        /// The rule.
        rule: RuleId,
    },
    /// It allows addresses that are not of the internet.
    AllowsPrivate {
        /// The rule.
        rule: RuleId,
    },
    /// What no rule matches is allowed.
    DefaultAllows {
        /// In this direction.
        direction: Direction,
    },
}

/// Why a rule matches no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnreachableReason {
    /// Nothing leaves for a loopback address that is not known as the host's, and what is known as
    /// the host's is in the group `host`.
    Loopback,
    /// It is for the ICMP of one IP version and addresses of the other.
    Family,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |rule: &RuleId| rule.index() + 1;
        match self {
            Self::Shadowed { rule, by } => {
                write!(f, "rule {} never matches: rule {} matches first", number(rule), number(by))
            }
            Self::Unreachable { rule, why } => {
                let why = match why {
                    UnreachableReason::Loopback => {
                        "nothing leaves for loopback; write `host` for this machine"
                    }
                    UnreachableReason::Family => {
                        "its protocol and its addresses are of different IP versions"
                    }
                };
                write!(f, "rule {} never matches: {why}", number(rule))
            }
            Self::Expired { rule, since } => write!(f, "rule {} expired {since}", number(rule)),
            Self::DenialExpires { rule, at } => {
                write!(
                    f,
                    "rule {} denies until {at} only; later rules and the default decide then",
                    number(rule)
                )
            }
            Self::AllowsAny { rule } => write!(f, "rule {} allows every address", number(rule)),
            Self::AllowsPrivate { rule } => {
                write!(f, "rule {} allows addresses that are not of the internet", number(rule))
            }
            Self::DefaultAllows { direction } => write!(f, "{direction} that no rule matches is allowed"),
        }
    }
}

/// How many earlier rules for the same place a rule is held against; further ones may shadow it unseen.
const MAX_COMPARED: usize = 64;

impl Policy {
    /// What its owner may not have meant, in the order of the rules, at this time. The floor's rules are
    /// not looked at.
    ///
    /// Work grows with the rules, and no rule is held against more than some hundred others.
    pub fn warnings(&self, wall: UnixTime) -> Vec<Warning> {
        let rules = self.rules();
        let places = Places::of(rules);
        let mut warnings = Vec::new();
        for ((index, place), rule) in (0..).enumerate().zip(rules) {
            let id = RuleId::own(place);
            if let Some(since) = rule.expires.filter(|_| rule.is_expired(wall)) {
                warnings.push(Warning::Expired { rule: id, since });
                continue;
            }
            if let Some(why) = unreachable(rule) {
                warnings.push(Warning::Unreachable { rule: id, why });
            } else if let Some(by) = places.shadowing(index) {
                let by = RuleId::own(u32::try_from(by).unwrap_or(u32::MAX));
                warnings.push(Warning::Shadowed { rule: id, by });
            }
            match (rule.action, rule.expires) {
                (Action::Deny, Some(at)) => warnings.push(Warning::DenialExpires { rule: id, at }),
                (Action::Deny, None) => {}
                (Action::Allow, _) if allows_any(rule) => warnings.push(Warning::AllowsAny { rule: id }),
                (Action::Allow, _) if allows_private(rule) => {
                    warnings.push(Warning::AllowsPrivate { rule: id });
                }
                (Action::Allow, _) => {}
            }
        }
        for direction in [Direction::Egress, Direction::Ingress] {
            if self.defaults().of(direction) == Action::Allow {
                warnings.push(Warning::DefaultAllows { direction });
            }
        }
        warnings
    }
}

fn unreachable(rule: &Rule) -> Option<UnreachableReason> {
    if rule.destination == Destination::Group(Group::Loopback) && rule.direction == RuleDirection::Egress {
        return Some(UnreachableReason::Loopback);
    }
    // An IPv6 address with an IPv4 one inside meets IPv4 rules, so only the reverse cannot be.
    let is_v6 = matches!(rule.destination, Destination::Cidr(IpNet::V6(_)));
    (is_v6 && rule.protocols.iter().eq([Protocol::IcmpV4])).then_some(UnreachableReason::Family)
}

fn allows_any(rule: &Rule) -> bool {
    match &rule.destination {
        Destination::Any => true,
        Destination::Cidr(prefix) => prefix.prefix_len() == 0,
        Destination::Domain(_) | Destination::Group(_) => false,
    }
}

/// Whether it allows flows from the guest to what is not the internet.
fn allows_private(rule: &Rule) -> bool {
    rule.direction.covers(Direction::Egress)
        && match &rule.destination {
            Destination::Cidr(prefix) => {
                let mut special = SPECIAL.iter().filter_map(|text| text.parse::<IpNet>().ok());
                special.any(|special| special.contains(prefix) || prefix.contains(&special))
            }
            Destination::Group(group) => *group != Group::Public,
            Destination::Any | Destination::Domain(_) => false,
        }
}

/// The rules of each place that could contain another, in their order.
struct Places<'r> {
    rules: &'r [Rule],
    by_place: HashMap<Place<'r>, Vec<usize>>,
    /// Whether a rule allows a name.
    allows_names: bool,
}

#[derive(PartialEq, Eq, Hash)]
enum Place<'r> {
    Any,
    Group(Group),
    Cidr(IpNet),
    /// Every pattern that is built on this name.
    Name(&'r str),
}

impl<'r> Places<'r> {
    fn of(rules: &'r [Rule]) -> Self {
        let mut by_place: HashMap<Place<'r>, Vec<usize>> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let place = match &rule.destination {
                Destination::Any => Place::Any,
                Destination::Group(group) => Place::Group(*group),
                Destination::Cidr(prefix) => Place::Cidr(*prefix),
                Destination::Domain(pattern) => Place::Name(pattern.apex().as_str()),
            };
            by_place.entry(place).or_default().push(index);
        }
        let allows_names =
            rules.iter().any(|rule| rule.destination.is_domain() && rule.action == Action::Allow);
        Self { rules, by_place, allows_names }
    }

    /// The first rule before the one at `index` that matches everything it matches.
    fn shadowing(&self, index: usize) -> Option<usize> {
        let rule = self.rules.get(index)?;
        let mut around = Vec::new();
        // A rule for an address says, too, where names that are allowed may lead; one for everything does
        // not, and so does not stand in for it.
        if rule.destination.is_domain() || rule.destination == Destination::Any || !self.allows_names {
            around.push(Place::Any);
        }
        match &rule.destination {
            Destination::Any => {}
            Destination::Group(group) => around.push(Place::Group(*group)),
            Destination::Cidr(prefix) => {
                around.extend(std::iter::successors(Some(*prefix), IpNet::supernet).map(Place::Cidr));
            }
            Destination::Domain(pattern) => {
                let name = pattern.apex().as_str();
                let above = |name: &&'r str| name.split_once('.').map(|(_, above)| above);
                around.extend(std::iter::successors(Some(name), above).map(Place::Name));
            }
        }
        let in_place = |place: Place<'r>| {
            let earlier = self.by_place.get(&place).into_iter().flatten().copied();
            let mut earlier = earlier.take_while(|earlier| *earlier < index).take(MAX_COMPARED);
            earlier.find(|earlier| self.rules.get(*earlier).is_some_and(|earlier| covers(earlier, rule)))
        };
        around.into_iter().filter_map(in_place).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `deny` or `allow`, a target, and what the rule is told of besides.
    fn rule(text: &str) -> Rule {
        let mut words = text.split(' ');
        let (action, target) = (words.next().expect(text), words.next().expect(text));
        let action = if action == "allow" { Action::Allow } else { Action::Deny };
        let mut rule = crate::parse_target(target).expect(text).into_rule(action);
        for word in words {
            match word.split_once('=').expect(text) {
                ("protocol", name) => {
                    rule.protocols = Protocol::ALL.into_iter().filter(|it| it.as_str() == name).collect();
                }
                ("expires", secs) => rule.expires = Some(UnixTime::from_secs(secs.parse().expect(text))),
                ("direction", "any") => rule.direction = RuleDirection::Any,
                (word, _) => panic!("{word}"),
            }
        }
        rule
    }

    #[test]
    fn what_a_policy_is_warned_of() {
        const CASES: &[(&[&str], &[&str])] = &[
            (&["deny .ads.example", "allow api.example.com:443", "allow public"], &[]),
            (
                &["allow *.b.example", "allow a.b.example:443"],
                &["rule 2 never matches: rule 1 matches first"],
            ),
            (&["allow a.b.example:443", "allow *.b.example"], &[]),
            (&["allow *.b.example", "allow .b.example"], &[]),
            (&["allow .b.example", "allow *.b.example"], &["rule 2 never matches: rule 1 matches first"]),
            (
                &["deny b.example", "deny b.example protocol=tcp"],
                &["rule 2 never matches: rule 1 matches first"],
            ),
            (&["deny b.example protocol=tcp", "deny b.example"], &[]),
            (&["deny b.example", "deny b.example direction=any"], &[]),
            (
                &["allow b.example:80-90", "allow b.example:85,80"],
                &["rule 2 never matches: rule 1 matches first"],
            ),
            // An allowed name that the address is not pinned to leads to the rules behind.
            (&["allow b.example", "deny b.example"], &[]),
            (&["deny 8.0.0.0/8", "allow 8.8.8.8"], &["rule 2 never matches: rule 1 matches first"]),
            (&["deny 8.8.8.8", "allow 8.0.0.0/8"], &[]),
            // All of IPv6 is not what is translated.
            (&["allow 2002::/15", "deny 2002:808:808::/48"], &[]),
            (&["deny 2002::/15", "deny 2002:808:808::/48"], &["rule 2 never matches: rule 1 matches first"]),
            (&["deny any", "allow public"], &["rule 2 never matches: rule 1 matches first"]),
            // The last rule says where the name may lead.
            (&["allow in.example", "deny any", "allow 10.0.0.5"], &["rule 3 allows addresses"]),
            (&["deny any expires=20", "allow public"], &["rule 1 denies until 1970-01-01T00:00:20Z only"]),
            (&["allow public expires=5"], &["rule 1 expired 1970-01-01T00:00:05Z"]),
            (&["allow public expires=15"], &[]),
            (&["allow public expires=15", "allow public"], &[]),
            (&["allow any"], &["rule 1 allows every address"]),
            (&["allow 0.0.0.0/0:443"], &["rule 1 allows every address"]),
            (&["allow private"], &["rule 1 allows addresses that are not of the internet"]),
            (&["allow 10.1.0.0/16"], &["rule 1 allows addresses that are not of the internet"]),
            (&["allow 8.0.0.0/5"], &["rule 1 allows addresses that are not of the internet"]),
            (&["allow fd12::1:443"], &["rule 1 allows addresses that are not of the internet"]),
            (&["allow 2606:4700::/32"], &[]),
            (
                &["allow loopback:80"],
                &["rule 1 never matches: nothing leaves for loopback", "rule 1 allows addresses"],
            ),
            (
                &["allow 2606:4700::/32 protocol=icmpv4"],
                &["rule 1 never matches: its protocol and its addresses are of different IP versions"],
            ),
        ];
        for (rules, expected) in CASES {
            let policy = Policy::new(rules.iter().map(|text| rule(text)).collect());
            let warnings = policy.warnings(UnixTime::from_secs(10));
            let shown: Vec<String> = warnings.iter().map(Warning::to_string).collect();
            assert_eq!(shown.len(), expected.len(), "{rules:?}: {shown:?}");
            for (shown, expected) in shown.iter().zip(*expected) {
                assert!(shown.starts_with(expected), "{rules:?}: {shown}");
            }
        }
        let defaults = crate::Defaults { egress: Action::Allow, ..Default::default() };
        let shown = Policy::with_defaults(Vec::new(), defaults).warnings(UnixTime::default());
        assert_eq!(shown, [Warning::DefaultAllows { direction: Direction::Egress }]);
    }

    #[test]
    fn very_many_rules_for_one_place_are_not_all_held_against_each_other() {
        let rules: Vec<Rule> = (1..=50_000).map(|port| rule(&format!("deny 8.8.8.8:{port}"))).collect();
        assert!(Policy::new(rules).warnings(UnixTime::default()).is_empty());
    }
}
