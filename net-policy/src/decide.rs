use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use net_core::{AddressClass, Direction, HostName, Protocol};

use crate::{Action, Destination, Group, HostAddresses, NameTable, Rule, RuleId};

/// Ordered rules; the first that matches decides, and what none matches is denied.
///
/// Immutable and cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Arc<[Rule]>,
}

/// A flow to decide.
#[derive(Clone, Copy, Debug)]
pub struct Query<'q> {
    /// Who opens it.
    pub direction: Direction,
    /// Its protocol.
    pub protocol: Protocol,
    /// The far end's address.
    pub address: IpAddr,
    /// Upstream's port (egress) or the guest's (ingress).
    pub port: u16,
    /// The name the flow itself shows, once it has shown one.
    pub name: Option<&'q HostName>,
    /// Which addresses belong to which names.
    pub pins: &'q NameTable,
    /// Which addresses are the host's.
    pub hosts: &'q HostAddresses,
    /// When.
    pub now: Instant,
}

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It may go on.
    Allow {
        /// By this rule.
        rule: RuleId,
    },
    /// It may not.
    Deny {
        /// By this rule; `None` when none matched.
        rule: Option<RuleId>,
        /// Why.
        reason: DenyReason,
    },
    /// The names of the address lead to different verdicts: read the first flight and ask again.
    NeedName,
}

/// Why a flow or a name is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenyReason {
    /// A rule says so.
    Rule,
    /// No rule matches.
    Default,
    /// A rule allows the name, and our resolver never gave this address for it.
    NotPinned,
    /// A rule allows the name, and what it resolves to is not public and not allowed as an address.
    NotPublic,
    /// Nothing may be sent to such an address.
    Reserved,
}

impl DenyReason {
    /// Readable, for events and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "by rule",
            Self::Default => "no rule allows it",
            Self::NotPinned => "the address was not resolved for this name",
            Self::NotPublic => {
                "the name leads to an address that is not public, and no rule allows that address here"
            }
            Self::Reserved => "the address is no destination",
        }
    }
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum NameDecision {
    /// It may be resolved.
    Allow {
        /// By this rule.
        rule: RuleId,
    },
    /// It may not.
    Deny {
        /// By this rule; `None` when none matched.
        rule: Option<RuleId>,
        /// Why.
        reason: DenyReason,
    },
}

impl Policy {
    /// A policy of these rules, in this order. Without rules it denies everything.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into() }
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A rule of this policy.
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id.0)
    }

    /// May this flow go on?
    ///
    /// Work is linear in the rules and in the names pinned to the address, of which
    /// [`NameTable`] keeps few.
    pub fn decide(&self, query: &Query<'_>) -> Decision {
        if is_reserved(query) {
            return Decision::Deny { rule: None, reason: DenyReason::Reserved };
        }
        if let Some(name) = query.name {
            return self.first_match(query, Some(name));
        }
        let mut verdict = None;
        for name in query.pins.names_of(query.address, query.now) {
            let own = self.first_match(query, Some(name));
            let joined = verdict.map_or(own, |others| both(others, own));
            if joined == Decision::NeedName {
                // No further name changes that.
                return joined;
            }
            verdict = Some(joined);
        }
        verdict.unwrap_or_else(|| self.first_match(query, None))
    }

    fn first_match(&self, query: &Query<'_>, name: Option<&HostName>) -> Decision {
        let mut reason = DenyReason::Default;
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.covers(query.direction, query.protocol, query.port) {
                continue;
            }
            let matches = match (&rule.destination, name) {
                (Destination::Domain(_), None) => false,
                (Destination::Domain(pattern), Some(name)) if !pattern.matches(name) => false,
                // Denying by name needs no pin; allowing does, or a false name would open any address.
                (Destination::Domain(_), Some(_)) if rule.action == Action::Deny => true,
                (Destination::Domain(_), Some(name)) => match self.reach(query, name) {
                    Ok(()) => true,
                    Err(why) => {
                        reason = why;
                        false
                    }
                },
                (destination, _) => destination.contains(query.address, rule.action, query.hosts),
            };
            if matches {
                return verdict(rule, RuleId(index));
            }
        }
        Decision::Deny { rule: None, reason }
    }

    /// Whether a name that is allowed opens the address of a flow: it must be pinned to the name, and
    /// where it is not public the owner must allow it as such, for this protocol and port.
    fn reach(&self, query: &Query<'_>, name: &HostName) -> Result<(), DenyReason> {
        if !query.pins.is_pinned(name, query.address, query.now) {
            return Err(DenyReason::NotPinned);
        }
        if Group::of(query.address, query.hosts) == Some(Group::Public) {
            return Ok(());
        }
        let first = self.rules.iter().find(|rule| {
            rule.covers(query.direction, query.protocol, query.port)
                && permits_as_such(rule, query.address, query.hosts)
        });
        match first.map(|rule| rule.action) {
            Some(Action::Allow) => Ok(()),
            Some(Action::Deny) | None => Err(DenyReason::NotPublic),
        }
    }

    /// May this name be resolved?
    ///
    /// It may when some egress rule could allow a flow to it on some port; a rule that denies the
    /// name on every port and protocol, and comes first, wins.
    pub fn decide_name(&self, name: &HostName) -> NameDecision {
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.direction.covers(Direction::Egress) {
                continue;
            }
            let rule_id = RuleId(index);
            match (&rule.destination, rule.action) {
                (Destination::Domain(pattern), Action::Allow) if pattern.matches(name) => {
                    return NameDecision::Allow { rule: rule_id };
                }
                (Destination::Domain(pattern), Action::Deny)
                    if pattern.matches(name) && covers_everything(rule) =>
                {
                    return NameDecision::Deny { rule: Some(rule_id), reason: DenyReason::Rule };
                }
                (Destination::Any, Action::Deny) if covers_everything(rule) => {
                    return NameDecision::Deny { rule: Some(rule_id), reason: DenyReason::Rule };
                }
                // The host has a name of its own; any other address may be behind any name.
                (Destination::Group(Group::Host), _) => {}
                (Destination::Any | Destination::Cidr(_) | Destination::Group(_), Action::Allow) => {
                    return NameDecision::Allow { rule: rule_id };
                }
                (_, Action::Allow | Action::Deny) => {}
            }
        }
        NameDecision::Deny { rule: None, reason: DenyReason::Default }
    }

    /// Whether some egress rule could allow a flow to the host: then its alias is answered.
    pub fn may_reach_host(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.action == Action::Allow
                && rule.direction.covers(Direction::Egress)
                && matches!(rule.destination, Destination::Any | Destination::Group(Group::Host))
        })
    }

    /// Whether the owner allows this address as such: by an address, a prefix or a group, and not
    /// merely by `any` or `public`. Only then may a name lead to an address that is not public.
    pub fn permits_address(&self, address: IpAddr, hosts: &HostAddresses) -> bool {
        self.rules.iter().any(|rule| {
            rule.action == Action::Allow
                && rule.direction.covers(Direction::Egress)
                && permits_as_such(rule, address, hosts)
        })
    }

    /// Whether a rule decides by name: what it allows must go on showing that name.
    pub fn rests_on_name(&self, rule: RuleId) -> bool {
        self.rule(rule).is_some_and(|rule| rule.destination.is_domain())
    }

    /// Whether a name shown by a flow to this port could lead to another rule than `rule`, which
    /// decided it: the rule itself is for a name, or one before it is.
    pub fn names_matter(&self, rule: RuleId, direction: Direction, protocol: Protocol, port: u16) -> bool {
        self.rules
            .iter()
            .take(rule.0.saturating_add(1))
            .any(|rule| rule.destination.is_domain() && rule.covers(direction, protocol, port))
    }

    /// A decision in words.
    pub fn describe(&self, decision: &Decision) -> String {
        match decision {
            Decision::Allow { rule } => self.label(*rule),
            Decision::Deny { rule: Some(rule), .. } => self.label(*rule),
            Decision::Deny { rule: None, reason } => format!("default ({})", reason.as_str()),
            Decision::NeedName => "only a name can tell".to_owned(),
        }
    }

    /// A name's decision in words.
    pub fn describe_name(&self, decision: &NameDecision) -> String {
        match decision {
            NameDecision::Allow { rule } | NameDecision::Deny { rule: Some(rule), .. } => self.label(*rule),
            NameDecision::Deny { rule: None, reason } => format!("default ({})", reason.as_str()),
        }
    }

    fn label(&self, id: RuleId) -> String {
        let number = id.0 + 1;
        self.rule(id).map_or_else(|| format!("rule {number}"), |rule| format!("rule {number}: {rule}"))
    }
}

/// What two names of one address lead to, in whatever order they come: of two rules with the same
/// verdict the first. The name a stream shows says later which of them holds.
fn both(one: Decision, other: Decision) -> Decision {
    match (one, other) {
        (Decision::Allow { rule: one }, Decision::Allow { rule: other }) => {
            Decision::Allow { rule: one.min(other) }
        }
        (Decision::Deny { rule: own, reason }, Decision::Deny { rule: others, reason: other_reason }) => {
            // A rule tells more than that there was none, and `NotPinned` more than `Default`.
            let tells = |rule: Option<RuleId>, reason| (rule.is_none(), rule, reason == DenyReason::Default);
            if tells(own, reason) <= tells(others, other_reason) { one } else { other }
        }
        (Decision::Allow { .. }, Decision::Deny { .. }) | (Decision::Deny { .. }, Decision::Allow { .. }) => {
            Decision::NeedName
        }
        (Decision::NeedName, _) | (_, Decision::NeedName) => Decision::NeedName,
    }
}

fn verdict(rule: &Rule, id: RuleId) -> Decision {
    match rule.action {
        Action::Allow => Decision::Allow { rule: id },
        Action::Deny => Decision::Deny { rule: Some(id), reason: DenyReason::Rule },
    }
}

/// Whether a rule means an address by an address, a prefix or a group.
fn permits_as_such(rule: &Rule, address: IpAddr, hosts: &HostAddresses) -> bool {
    matches!(rule.destination, Destination::Cidr(_) | Destination::Group(_))
        && rule.destination.contains(address, rule.action, hosts)
}

fn covers_everything(rule: &Rule) -> bool {
    rule.ports.is_any() && rule.protocols.is_any()
}

/// Addresses nothing is ever sent to, whatever the rules say: the unspecified addresses mean the
/// machine that dials, and dialling them reaches the host's loopback.
fn is_reserved(query: &Query<'_>) -> bool {
    let address = net_core::normalise(query.address);
    query.direction == Direction::Egress
        && !query.hosts.contains(address)
        && (address.is_unspecified() || AddressClass::of(address) == AddressClass::Loopback)
}
