//! The reference model: every rule tried in order, for each decision. Slow, and easy to believe.
//!
//! The index in `compile` must agree with it on everything; tests and the fuzz target
//! `policy_compile_eq_linear` hold them side by side, the bench compares their speed.

use std::net::IpAddr;

use net_core::{Direction, HostName, Protocol};

use crate::query::{Requests, Verdict};
use crate::{
    Action, Decision, Defaults, DenyReason, Destination, Group, HostAddresses, NameDecision, Query,
    RequestLine, Rule, RuleId, UnixTime,
};

/// Rules, and what holds where none matches.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'r> {
    /// In their order.
    pub rules: &'r [Rule],
    /// What none of them matches.
    pub defaults: Defaults,
}

impl Linear<'_> {
    /// See [`Policy::decide`](crate::Policy::decide).
    pub fn decide(&self, query: &Query<'_>) -> Decision {
        self.decide_with(query, if query.may_show_requests() { Requests::ToCome } else { Requests::Unseen })
    }

    /// See [`Policy::decide_unseen`](crate::Policy::decide_unseen).
    pub fn decide_unseen(&self, query: &Query<'_>) -> Decision {
        self.decide_with(query, Requests::Unseen)
    }

    /// See [`Policy::decide_request`](crate::Policy::decide_request).
    pub fn decide_request(&self, query: &Query<'_>, request: &RequestLine) -> Decision {
        let flow = self.decide(query);
        match (flow, request.normal_path()) {
            (Decision::PerRequest { .. }, None) => Decision::denied(DenyReason::Malformed),
            (_, Some(_)) if query.may_show_requests() => self.decide_with(query, Requests::This(request)),
            (_, Some(_) | None) => flow,
        }
    }

    fn decide_with(&self, query: &Query<'_>, requests: Requests<'_>) -> Decision {
        if query.is_reserved() {
            return Decision::denied(DenyReason::Reserved);
        }
        if let Some(name) = query.name {
            return self.first_match(query, Some(name), requests);
        }
        let mut verdict = None;
        for name in self.names(query) {
            let own = self.first_match(query, Some(name), requests);
            verdict = Some(verdict.map_or(own, |others: Decision| others.both(own)));
        }
        verdict.unwrap_or_else(|| self.first_match(query, None, requests))
    }

    /// The names a flow may be for before it has shown one.
    pub fn names<'q>(&self, query: &Query<'q>) -> impl Iterator<Item = &'q HostName> {
        let inner = query.hosts.normalise(query.address);
        query.pins.pins_of(query.address, inner, query.now).map(|(name, _)| name)
    }

    /// What becomes of a flow that has this name, or none.
    fn first_match(&self, query: &Query<'_>, name: Option<&HostName>, requests: Requests<'_>) -> Decision {
        let mut reason = DenyReason::Default;
        // Whether a rule that could decide is for some requests that are still to come.
        let mut is_per_request = false;
        let allow = |rule: RuleId, is_per_request: bool| {
            if is_per_request { Decision::PerRequest { rule } } else { Decision::Allow { rule } }
        };
        for (index, rule) in (0..).zip(self.rules) {
            if rule.is_expired(query.wall) || !rule.covers(query.direction, query.protocol, query.port) {
                continue;
            }
            let matches = match (&rule.destination, name) {
                (Destination::Domain(_), None) => false,
                (Destination::Domain(pattern), Some(name)) if !pattern.matches(name) => false,
                // Denying by name needs no pin; allowing does, or a false name would open any address.
                (Destination::Domain(_), Some(name)) => {
                    let reached = if rule.action == Action::Deny { Ok(()) } else { self.reach(query, name) };
                    match (reached, requests.verdict(rule)) {
                        (Err(why), _) => {
                            reason = why;
                            false
                        }
                        (Ok(()), Verdict::Decides) => {
                            is_per_request |= rule.http.is_some() && matches!(requests, Requests::ToCome);
                            true
                        }
                        (Ok(()), Verdict::DeniesSome) => {
                            is_per_request = true;
                            false
                        }
                        (Ok(()), Verdict::OtherRequests | Verdict::Unseen) => {
                            if rule.action == Action::Allow {
                                reason = requests.skipped();
                            }
                            false
                        }
                    }
                }
                (destination, _) => destination.contains(query.address, rule.action, query.hosts),
            };
            if matches {
                return match rule.action {
                    Action::Allow => allow(RuleId::own(index), is_per_request),
                    Action::Deny => Decision::Deny {
                        rule: Some(RuleId::own(index)),
                        reason: requests.denial_by(rule),
                        layer: Default::default(),
                    },
                };
            }
        }
        match self.defaults.of(query.direction) {
            Action::Allow => allow(RuleId::after(self.rules), is_per_request),
            Action::Deny => Decision::denied(reason),
        }
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
            !rule.is_expired(query.wall)
                && rule.covers(query.direction, query.protocol, query.port)
                && permits_as_such(rule, query.address, query.hosts)
        });
        match first.map(|rule| rule.action) {
            Some(Action::Allow) => Ok(()),
            Some(Action::Deny) | None => Err(DenyReason::NotPublic),
        }
    }

    /// See [`Policy::decide_name`](crate::Policy::decide_name).
    pub fn decide_name(&self, name: &HostName, wall: UnixTime) -> NameDecision {
        for (index, rule) in (0..).zip(self.rules) {
            if !rule.direction.covers(Direction::Egress) || rule.is_expired(wall) {
                continue;
            }
            let rule_id = RuleId::own(index);
            let denied = NameDecision::Deny {
                rule: Some(rule_id),
                reason: DenyReason::Rule,
                layer: Default::default(),
            };
            match (&rule.destination, rule.action) {
                (Destination::Domain(pattern), Action::Allow) if pattern.matches(name) => {
                    return NameDecision::Allow { rule: rule_id };
                }
                (Destination::Domain(pattern), Action::Deny)
                    if pattern.matches(name) && rule.covers_everything() =>
                {
                    return denied;
                }
                (Destination::Any, Action::Deny) if rule.covers_everything() => return denied,
                // The host has a name of its own; any other address may be behind any name.
                (Destination::Group(Group::Host), _) => {}
                (Destination::Any | Destination::Cidr(_) | Destination::Group(_), Action::Allow) => {
                    return NameDecision::Allow { rule: rule_id };
                }
                (_, Action::Allow | Action::Deny) => {}
            }
        }
        match self.defaults.egress {
            Action::Allow => NameDecision::Allow { rule: RuleId::after(self.rules) },
            Action::Deny => {
                NameDecision::Deny { rule: None, reason: DenyReason::Default, layer: Default::default() }
            }
        }
    }

    /// See [`Policy::may_reach_host`](crate::Policy::may_reach_host).
    pub fn may_reach_host(&self) -> bool {
        self.defaults.egress == Action::Allow
            || self.rules.iter().any(|rule| {
                rule.action == Action::Allow
                    && rule.direction.covers(Direction::Egress)
                    && matches!(rule.destination, Destination::Any | Destination::Group(Group::Host))
            })
    }

    /// See [`Policy::permits_address`](crate::Policy::permits_address).
    pub fn permits_address(&self, address: IpAddr, hosts: &HostAddresses) -> bool {
        self.rules.iter().any(|rule| {
            rule.action == Action::Allow
                && rule.direction.covers(Direction::Egress)
                && permits_as_such(rule, address, hosts)
        })
    }

    /// See [`Policy::names_matter`](crate::Policy::names_matter).
    pub fn names_matter(&self, rule: RuleId, direction: Direction, protocol: Protocol, port: u16) -> bool {
        let last = rule.index().saturating_add(1);
        let mut before = self.rules.iter().take(last);
        before.any(|rule| rule.destination.is_domain() && rule.covers(direction, protocol, port))
    }
}

/// Whether a rule means an address by an address, a prefix or a group.
fn permits_as_such(rule: &Rule, address: IpAddr, hosts: &HostAddresses) -> bool {
    matches!(rule.destination, Destination::Cidr(_) | Destination::Group(_))
        && rule.destination.contains(address, rule.action, hosts)
}
