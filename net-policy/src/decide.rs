use std::cell::OnceCell;
use std::net::IpAddr;

use net_core::{Direction, HostName};

use crate::compile::{ByAddress, ByName, Position, Wanted};
use crate::policy::Compiled;
use crate::{Action, Decision, DenyReason, Group, HostAddresses, Layer, Policy, Query, RuleId};

impl Policy {
    /// May this flow go on?
    ///
    /// Allocates nothing. Work does not grow with the number of rules: it is a lookup of the address
    /// and one of each name (the shown one, else those pinned to the address, of which
    /// [`NameTable`](crate::NameTable) keeps 256 at most; it ends with the second of two names that
    /// disagree). A lookup asks each prefix around the address (at most 33 or 129 that rules name) or
    /// each label of the name that rules name for its first rule, in a binary search over the ports its
    /// rules tell apart. Only rules with an expiry are tried one by one, where a place has more than four.
    pub fn decide(&self, query: &Query<'_>) -> Decision {
        if query.is_reserved() {
            return Decision::denied(DenyReason::Reserved);
        }
        let at = At::new(query);
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
}

impl<'q> At<'q> {
    fn new(query: &Query<'q>) -> Self {
        let Query { direction, protocol, address, port, hosts, wall, .. } = *query;
        let (normal, wanted) = (hosts.normalise(address), Wanted::new(direction, protocol, port, wall));
        Self { address, normal, group: OnceCell::new(), wanted, direction, hosts }
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
        let ByName { allow, deny } = self.layer.index.by_name(name, &at.wanted, first);
        // Denying by name needs no pin; allowing does, or a false name would open any address.
        let otherwise = first.min(deny);
        if allow >= otherwise {
            return self.verdict(at, otherwise, DenyReason::Default);
        }
        match self.reach(at, is_pinned) {
            Ok(()) => self.verdict(at, allow, DenyReason::Default),
            Err(why) => self.verdict(at, otherwise, why),
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
                Decision::Deny { rule: Some(rule), reason: DenyReason::Rule, layer: Layer::Own }
            }
            None => match self.layer.defaults.of(at.direction) {
                Action::Allow => Decision::Allow { rule: RuleId::after(&self.layer.rules) },
                Action::Deny => Decision::denied(otherwise),
            },
        }
    }
}
