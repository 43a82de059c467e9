use std::cell::OnceCell;
use std::net::IpAddr;

use net_core::{Direction, HostName};

use crate::compile::{ByAddress, ByName, Position, Wanted};
use crate::policy::Compiled;
use crate::query::{Requests, Verdict};
use crate::{Action, Decision, DenyReason, Group, HostAddresses, Layer, Policy, Query, RequestLine, RuleId};

impl Policy {
    /// May this flow go on?
    ///
    /// Allocates nothing. Work does not grow with the number of rules: it is a lookup of the address
    /// and one of each name (the shown one, else those pinned to the address, of which
    /// [`NameTable`](crate::NameTable) keeps 256 at most; it ends with the second of two names that
    /// disagree). A lookup asks each prefix around the address (at most 33 or 129 that rules name) or
    /// each label of the name that rules name for its first rule, in a binary search over the ports its
    /// rules tell apart. Tried one by one are only rules with an expiry, where a place has more than four,
    /// and rules for some requests to a name.
    ///
    /// Of those, one that allows some requests allows the flow for the time being, and one that denies some
    /// does not deny it: [`Decision::PerRequest`] says that they matter. Where a flow cannot be one of HTTP
    /// (it is not TCP, or comes to the guest) the answer is that of [`decide_unseen`](Self::decide_unseen).
    pub fn decide(&self, query: &Query<'_>) -> Decision {
        self.decide_with(query, if query.may_show_requests() { Requests::ToCome } else { Requests::Unseen })
    }

    /// May this flow go on though none of its requests can be seen: it is not HTTP, or is not looked into?
    ///
    /// A rule that allows some requests allows nothing then, and one that denies some denies them all, for
    /// any might be among those. Never [`Decision::PerRequest`]. Work as for [`decide`](Self::decide).
    pub fn decide_unseen(&self, query: &Query<'_>) -> Decision {
        self.decide_with(query, Requests::Unseen)
    }

    /// May this request go on, on a flow that [`decide`](Self::decide) allows? The name in the query is the
    /// one the request is for.
    ///
    /// Rules are tried in their order, and one for other requests is skipped. What is malformed matches
    /// none, and is denied wherever requests are decided one by one. Never [`Decision::PerRequest`].
    /// Allocates nothing; tries the rules for some requests to the name one by one.
    pub fn decide_request(&self, query: &Query<'_>, request: &RequestLine) -> Decision {
        if !query.may_show_requests() {
            return self.decide_unseen(query);
        }
        if request.normal_path().is_some() {
            return self.decide_with(query, Requests::This(request));
        }
        match self.decide(query) {
            Decision::PerRequest { .. } => Decision::denied(DenyReason::Malformed),
            decided @ (Decision::Allow { .. } | Decision::Deny { .. } | Decision::NeedName) => decided,
        }
    }

    fn decide_with(&self, query: &Query<'_>, requests: Requests<'_>) -> Decision {
        if query.is_reserved() {
            return Decision::denied(DenyReason::Reserved);
        }
        let at = At::new(query, requests);
        let own = ForAddress::new(&self.own, &at);
        let floor = self.floor.as_ref().map(|floor| ForAddress::new(floor, &at));
        let decide = |name: Option<(&HostName, bool)>| {
            let decision = own.decide(&at, name);
            floor.as_ref().map_or(decision, |floor| decision.over(|| floor.decide(&at, name)))
        };
        let Query { pins, now, .. } = *query;
        if let Some(name) = query.name {
            return decide(Some((name, pins.is_pinned(name, query.address, now))));
        }
        let mut verdict: Option<Decision> = None;
        for (name, is_own) in pins.pins_of(query.address, at.normal, now) {
            let found = decide(Some((name, is_own || pins.is_pinned(name, query.address, now))));
            let joined = verdict.map_or(found, |others| others.both(found));
            if joined == Decision::NeedName {
                // No further name changes that.
                return joined;
            }
            verdict = Some(joined);
        }
        verdict.unwrap_or_else(|| decide(None))
    }
}

/// What rules ask of a flow, looked up once at most.
struct At<'q> {
    address: IpAddr,
    /// What is reached by way of the address.
    normal: IpAddr,
    group: OnceCell<Option<Group>>,
    wanted: Wanted,
    direction: Direction,
    hosts: &'q HostAddresses,
    requests: Requests<'q>,
}

impl<'q> At<'q> {
    fn new(query: &Query<'q>, requests: Requests<'q>) -> Self {
        let Query { direction, protocol, address, port, hosts, wall, .. } = *query;
        let (normal, wanted) = (hosts.normalise(address), Wanted::new(direction, protocol, port, wall));
        Self { address, normal, group: OnceCell::new(), wanted, direction, hosts, requests }
    }

    /// The group of the address; many policies never ask.
    fn group(&self) -> Option<Group> {
        *self.group.get_or_init(|| Group::of(self.normal, self.hosts))
    }
}

/// What one layer's rules say of the address: the same for all its names.
struct ForAddress<'p> {
    layer: &'p Compiled,
    by_address: ByAddress,
}

impl<'p> ForAddress<'p> {
    fn new(layer: &'p Compiled, at: &At<'_>) -> Self {
        let group = if layer.index.has_groups { at.group() } else { None };
        let by_address = layer.index.by_address(at.address, at.normal, group, &at.wanted);
        Self { layer, by_address }
    }

    /// The first rule that matches, for a flow with this name (and whether the address is pinned to it)
    /// or none.
    fn decide(&self, at: &At<'_>, name: Option<(&HostName, bool)>) -> Decision {
        let ByAddress { first, .. } = self.by_address;
        let Some((name, is_pinned)) = name else { return self.verdict(at, first, DenyReason::Default) };
        let verdict_of = |position: Position| {
            self.layer
                .rules
                .get(position as usize)
                .map_or(Verdict::OtherRequests, |rule| at.requests.verdict(rule))
        };
        let decides = |position| verdict_of(position) == Verdict::Decides;
        let ByName { allow, deny, allows_some, denies_some } =
            self.layer.index.by_name(name, &at.wanted, first, decides);
        // Denying by name needs no pin; allowing does, or a false name would open any address.
        let otherwise = first.min(deny).min(denies_some.decides);
        let allow = allow.min(allows_some.decides);
        let (position, reason) = if allow.min(allows_some.first) >= otherwise {
            (otherwise, DenyReason::Default)
        } else {
            match self.reach(at, is_pinned) {
                Ok(()) if allow < otherwise => (allow, DenyReason::Default),
                Ok(()) => (otherwise, at.requests.skipped()),
                Err(why) => (otherwise, why),
            }
        };
        let decision = self.verdict(at, position, reason);
        let is_for_some =
            (position == allows_some.decides && position < otherwise) || denies_some.first < position;
        match (decision, at.requests) {
            (Decision::Allow { rule }, Requests::ToCome) if is_for_some => Decision::PerRequest { rule },
            _ => decision,
        }
    }

    /// Whether a name that is allowed opens the address of a flow: it must be pinned to the name, and
    /// where it is not public the owner must allow it as such, for this protocol and port.
    fn reach(&self, at: &At<'_>, is_pinned: bool) -> Result<(), DenyReason> {
        if !is_pinned {
            return Err(DenyReason::NotPinned);
        }
        let is_open = at.group() == Some(Group::Public)
            || self.layer.action(self.by_address.as_such) == Some(Action::Allow);
        if is_open { Ok(()) } else { Err(DenyReason::NotPublic) }
    }

    /// What the rule at `position` says, or the default, and in that case why.
    fn verdict(&self, at: &At<'_>, position: Position, otherwise: DenyReason) -> Decision {
        let rule = RuleId::own(position);
        match self.layer.action(position) {
            Some(Action::Allow) => Decision::Allow { rule },
            Some(Action::Deny) => {
                let reason = self
                    .layer
                    .rules
                    .get(rule.index())
                    .map_or(DenyReason::Rule, |it| at.requests.denial_by(it));
                Decision::Deny { rule: Some(rule), reason, layer: Layer::Own }
            }
            None => match self.layer.defaults.of(at.direction) {
                Action::Allow => Decision::Allow { rule: RuleId::after(&self.layer.rules) },
                Action::Deny => Decision::denied(otherwise),
            },
        }
    }
}
