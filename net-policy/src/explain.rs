use std::fmt;

use net_core::HostName;

use crate::policy::Compiled;
use crate::query::{Requests, Verdict};
use crate::rule::has_ports;
use crate::{
    Action, Decision, DenyReason, Destination, Group, Layer, Policy, Query, RequestLine, Rule, RuleId,
    UnixTime,
};

/// Why a flow is decided as it is: every rule that was looked at, and what came of it.
///
/// Found by trying the rules one after the other, for each name the flow may be for: this is for
/// people, and its cost grows with both.
#[derive(Debug)]
pub struct Explanation<'p> {
    policy: &'p Policy,
    query: String,
    decision: Decision,
    /// For each name and layer; none where the address is no destination.
    trials: Vec<Trial>,
}

/// The rules of one layer, tried for one name of the flow or for none.
#[derive(Debug)]
struct Trial {
    layer: Layer,
    /// The name, and whether the address is pinned to it.
    name: Option<(HostName, bool)>,
    steps: Vec<(RuleId, Outcome)>,
    decision: Decision,
}

/// What came of trying a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It decides.
    Matches,
    /// It matches nothing since then.
    Expired(UnixTime),
    /// It is for flows the other way.
    Direction,
    /// It is for other protocols.
    Protocol,
    /// It is for other ports.
    Ports,
    /// The address is not in its prefix.
    Address,
    /// The address is in this group, or in none.
    Group(Option<Group>),
    /// It is for another name.
    Name,
    /// It is for a name, and the flow has none.
    NoName,
    /// It allows the name, and our resolver never gave this address for it.
    NotPinned,
    /// It allows the name, and the address is not public and not allowed as such.
    NotPublic,
    /// It denies some of the requests, which are still to come.
    DeniesSome,
    /// It is for other requests.
    Request,
    /// It allows some requests, and none can be seen.
    NotHttp,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches => f.write_str("matches"),
            Self::Expired(when) => write!(f, "expired {when}"),
            Self::Direction => f.write_str("for the other direction"),
            Self::Protocol => f.write_str("for other protocols"),
            Self::Ports => f.write_str("for other ports"),
            Self::Address => f.write_str("for other addresses"),
            Self::Group(Some(group)) => write!(f, "the address is {}", group.as_str()),
            Self::Group(None) => f.write_str("the address is reserved"),
            Self::Name => f.write_str("for another name"),
            Self::NoName => f.write_str("for a name, and the address has none"),
            Self::NotPinned => f.write_str(DenyReason::NotPinned.as_str()),
            Self::NotPublic => f.write_str(DenyReason::NotPublic.as_str()),
            Self::DeniesSome => f.write_str("denies some of the requests to come"),
            Self::Request => f.write_str("for other requests"),
            Self::NotHttp => f.write_str("for some requests, and none can be seen"),
        }
    }
}

impl Policy {
    /// Decides a flow, and says why.
    pub fn explain(&self, query: &Query<'_>) -> Explanation<'_> {
        let requests = if query.may_show_requests() { Requests::ToCome } else { Requests::Unseen };
        self.explain_with(query, requests, "")
    }

    /// Decides a flow of which no request can be seen, and says why.
    pub fn explain_unseen(&self, query: &Query<'_>) -> Explanation<'_> {
        self.explain_with(query, Requests::Unseen, ", not read as HTTP")
    }

    /// Decides a request, and says why.
    pub fn explain_request(&self, query: &Query<'_>, request: &RequestLine) -> Explanation<'_> {
        if !query.may_show_requests() {
            return self.explain_unseen(query);
        }
        let Some(path) = request.normal_path() else {
            let mut explanation = self.explain(query);
            if let Decision::PerRequest { .. } = explanation.decision {
                explanation.decision = Decision::denied(DenyReason::Malformed);
            }
            return explanation;
        };
        self.explain_with(query, Requests::This(request), &format!(", {} {path}", request.method()))
    }

    fn explain_with(&self, query: &Query<'_>, requests: Requests<'_>, what: &str) -> Explanation<'_> {
        let mut trials = Vec::new();
        let decision = if query.is_reserved() {
            Decision::denied(DenyReason::Reserved)
        } else {
            let names = query.possible_names();
            let decisions = names.into_iter().map(|name| {
                let decide = |layer: &Compiled| layer.trial(query, name, requests);
                let own = decide(&self.own);
                let floor = self.floor.as_deref().map(|floor| Trial { layer: Layer::Floor, ..decide(floor) });
                let decision = own.decision;
                trials.push(own);
                match floor {
                    Some(floor) => {
                        let decision = decision.over(|| floor.decision);
                        trials.push(floor);
                        decision
                    }
                    None => decision,
                }
            });
            // Every flow has a name or none, so there is a first.
            decisions.reduce(Decision::both).unwrap_or(Decision::denied(DenyReason::Default))
        };
        let port = if has_ports(query.protocol) { format!(" port {}", query.port) } else { String::new() };
        let way = match query.direction {
            net_core::Direction::Egress => "to",
            net_core::Direction::Ingress => "from",
        };
        let shown = format!("{} {way} {}{port}{what}", query.protocol, query.address);
        Explanation { policy: self, query: shown, decision, trials }
    }
}

impl<'q> Query<'q> {
    /// The names the flow may be for, in alphabetic order, each with whether the address is pinned to it.
    fn possible_names(&self) -> Vec<Option<(&'q HostName, bool)>> {
        let Query { pins, address, hosts, now, name, .. } = *self;
        let with_pin = |name| Some((name, pins.is_pinned(name, address, now)));
        if let Some(name) = name {
            return vec![with_pin(name)];
        }
        let mut names: Vec<&HostName> =
            pins.pins_of(address, hosts.normalise(address), now).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { vec![None] } else { names.into_iter().map(with_pin).collect() }
    }
}

impl Compiled {
    fn trial(&self, query: &Query<'_>, name: Option<(&HostName, bool)>, requests: Requests<'_>) -> Trial {
        let mut steps = Vec::new();
        let mut reason = DenyReason::Default;
        let mut decision = None;
        let mut is_per_request = false;
        let allow = |rule: RuleId, is_per_request: bool| {
            if is_per_request { Decision::PerRequest { rule } } else { Decision::Allow { rule } }
        };
        for (index, rule) in (0..).zip(&self.rules) {
            let (id, outcome) = (RuleId::own(index), self.outcome(rule, query, name, requests));
            steps.push((id, outcome));
            match outcome {
                Outcome::Matches => {
                    is_per_request |= rule.http.is_some() && matches!(requests, Requests::ToCome);
                    decision = Some(match rule.action {
                        Action::Allow => allow(id, is_per_request),
                        Action::Deny => {
                            let reason = requests.denial_by(rule);
                            Decision::Deny { rule: Some(id), reason, layer: Layer::Own }
                        }
                    });
                    break;
                }
                Outcome::DeniesSome => is_per_request = true,
                Outcome::Request | Outcome::NotHttp if rule.action == Action::Allow => {
                    reason = requests.skipped();
                }
                Outcome::NotPinned => reason = DenyReason::NotPinned,
                Outcome::NotPublic => reason = DenyReason::NotPublic,
                Outcome::Expired(_)
                | Outcome::Direction
                | Outcome::Protocol
                | Outcome::Ports
                | Outcome::Address
                | Outcome::Group(_)
                | Outcome::Name
                | Outcome::NoName
                | Outcome::Request
                | Outcome::NotHttp => {}
            }
        }
        let decision = decision.unwrap_or_else(|| match self.defaults.of(query.direction) {
            Action::Allow => allow(RuleId::after(&self.rules), is_per_request),
            Action::Deny => Decision::denied(reason),
        });
        let name = name.map(|(name, is_pinned)| (name.clone(), is_pinned));
        Trial { layer: Layer::Own, name, steps, decision }
    }

    fn outcome(
        &self,
        rule: &Rule,
        query: &Query<'_>,
        name: Option<(&HostName, bool)>,
        requests: Requests<'_>,
    ) -> Outcome {
        let heeding_requests = || match requests.verdict(rule) {
            Verdict::Decides => Outcome::Matches,
            Verdict::DeniesSome => Outcome::DeniesSome,
            Verdict::OtherRequests => Outcome::Request,
            Verdict::Unseen => Outcome::NotHttp,
        };
        if let Some(miss) = miss(rule, query) {
            return miss;
        }
        match (&rule.destination, name) {
            (Destination::Domain(_), None) => Outcome::NoName,
            (Destination::Domain(pattern), Some((name, _))) if !pattern.matches(name) => Outcome::Name,
            (Destination::Domain(_), Some(_)) if rule.action == Action::Deny => heeding_requests(),
            (Destination::Domain(_), Some((_, false))) => Outcome::NotPinned,
            (Destination::Domain(_), Some((_, true))) if self.opens(query) => heeding_requests(),
            (Destination::Domain(_), Some((_, true))) => Outcome::NotPublic,
            (destination, _) if destination.contains(query.address, rule.action, query.hosts) => {
                Outcome::Matches
            }
            (Destination::Group(_), _) => Outcome::Group(Group::of(query.address, query.hosts)),
            (Destination::Any | Destination::Cidr(_), _) => Outcome::Address,
        }
    }

    /// Whether a name may lead to the address: a public one, or one that is allowed as such.
    fn opens(&self, query: &Query<'_>) -> bool {
        let is_as_such = |rule: &&Rule| {
            matches!(rule.destination, Destination::Cidr(_) | Destination::Group(_))
                && miss(rule, query).is_none()
                && rule.destination.contains(query.address, rule.action, query.hosts)
        };
        Group::of(query.address, query.hosts) == Some(Group::Public)
            || self.rules.iter().find(is_as_such).is_some_and(|rule| rule.action == Action::Allow)
    }
}

/// Why a rule is not for flows of this kind, whatever their destination.
fn miss(rule: &Rule, query: &Query<'_>) -> Option<Outcome> {
    let Query { direction, protocol, port, wall, .. } = *query;
    if let Some(expires) = rule.expires.filter(|_| rule.is_expired(wall)) {
        return Some(Outcome::Expired(expires));
    }
    if !rule.direction.covers(direction) {
        return Some(Outcome::Direction);
    }
    if !rule.covers_protocol(protocol) {
        return Some(Outcome::Protocol);
    }
    let is_outside = has_ports(protocol) && !rule.ports.contains(port);
    is_outside.then_some(Outcome::Ports)
}

impl Explanation<'_> {
    /// What the policy says.
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// Each rule that was looked at, with the layer it is of and what came of it, in that order.
    pub fn steps(&self) -> impl Iterator<Item = (Layer, RuleId, Outcome)> {
        let steps = |trial: &Trial| {
            let layer = trial.layer;
            trial.steps.iter().map(move |(rule, outcome)| (layer, *rule, *outcome)).collect::<Vec<_>>()
        };
        self.trials.iter().flat_map(steps)
    }
}

impl fmt::Display for Explanation<'_> {
    /// A heading for each name, a line for each rule, and the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Trial { layer, name, steps, .. } in &self.trials {
            write!(f, "{}", self.query)?;
            match name {
                Some((name, true)) => write!(f, ", for {name}, which it was resolved from")?,
                Some((name, false)) => write!(f, ", for {name}, which it was not resolved from")?,
                None => {}
            }
            let compiled = match (layer, &self.policy.floor) {
                (Layer::Floor, Some(floor)) => {
                    f.write_str(", by the floor")?;
                    floor
                }
                (Layer::Floor, None) | (Layer::Own, _) => &self.policy.own,
            };
            writeln!(f)?;
            for (rule, outcome) in steps {
                writeln!(f, "  {}: {outcome}", compiled.label(*rule))?;
            }
        }
        let verdict = match self.decision {
            Decision::Allow { .. } => "allowed",
            Decision::PerRequest { .. } => "allowed as HTTP",
            Decision::Deny { .. } => "denied",
            Decision::NeedName => "undecided",
        };
        write!(f, "{verdict}: {}", self.policy.describe(&self.decision))
    }
}
