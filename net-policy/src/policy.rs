use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use net_core::{Direction, HostName, Protocol};
use thiserror::Error;

use crate::compile::{Index, Position, Wanted};
use crate::{
    Action, Decision, Defaults, DenyReason, HostAddresses, Layer, NameDecision, Rule, RuleId, UnixTime,
};

/// Ordered rules; the first that matches decides, and what none matches is left to the default of its
/// direction, which denies unless something else was said.
///
/// Immutable, compiled when it is made, and cheap to clone.
#[derive(Clone, Default)]
pub struct Policy {
    pub(crate) own: Arc<Compiled>,
    /// What must agree before anything is allowed.
    pub(crate) floor: Option<Arc<Compiled>>,
}

/// One layer of a policy.
#[derive(Default)]
pub(crate) struct Compiled {
    pub(crate) rules: Vec<Rule>,
    pub(crate) defaults: Defaults,
    pub(crate) index: Index,
}

/// Why a policy cannot be put over a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a policy has at most one floor, and a floor has none of its own")]
pub struct FloorError;

impl Policy {
    /// A policy of these rules, in this order. Without rules it denies everything.
    ///
    /// Conditions on requests are for rules for names ([`Rule::for_requests`], [`PolicyBuilder`](crate::PolicyBuilder)
    /// and files see to it). With one, any other rule allows nothing, or denies whatever it is for.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self::with_defaults(rules, Defaults::default())
    }

    /// A policy of these rules, in this order, and what holds where none matches.
    pub fn with_defaults(rules: Vec<Rule>, defaults: Defaults) -> Self {
        let rules: Vec<Rule> = rules.into_iter().map(without_misplaced_condition).collect();
        let index = Index::new(&rules);
        Self { own: Arc::new(Compiled { rules, defaults, index }), floor: None }
    }

    /// This policy where `floor` agrees: what either denies is denied.
    ///
    /// # Errors
    /// [`FloorError`] where one of them has a floor already.
    pub fn with_floor(self, floor: &Self) -> Result<Self, FloorError> {
        match (&self.floor, &floor.floor) {
            (None, None) => Ok(Self { floor: Some(Arc::clone(&floor.own)), own: self.own }),
            (Some(_), _) | (_, Some(_)) => Err(FloorError),
        }
    }

    /// Whether there is a floor.
    pub fn has_floor(&self) -> bool {
        self.floor.is_some()
    }

    /// The rules in order, without those of the floor.
    pub fn rules(&self) -> &[Rule] {
        &self.own.rules
    }

    /// What becomes of flows that no rule matches.
    pub fn defaults(&self) -> Defaults {
        self.own.defaults
    }

    /// A rule of this policy; `None` for the default.
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.own.rule(id)
    }

    /// May this name be resolved?
    ///
    /// It may when some egress rule could allow a flow to it on some port; a rule that denies the
    /// name on every port and protocol, and comes first, wins.
    pub fn decide_name(&self, name: &HostName, wall: UnixTime) -> NameDecision {
        let decision = self.own.decide_name(name, wall);
        match (&self.floor, decision) {
            (Some(floor), NameDecision::Allow { rule }) => match floor.decide_name(name, wall) {
                NameDecision::Allow { rule: agreed } => NameDecision::Allow { rule: rule.over(agreed) },
                NameDecision::Deny { rule, reason, .. } => {
                    NameDecision::Deny { rule, reason, layer: Layer::Floor }
                }
            },
            (Some(_), NameDecision::Deny { .. }) | (None, _) => decision,
        }
    }

    /// Whether the rule that lets the name be resolved wants it answered with addresses of its own.
    pub fn is_virtual(&self, name: &HostName, wall: UnixTime) -> bool {
        matches!(self.decide_name(name, wall), NameDecision::Allow { rule }
            if self.rule(rule).is_some_and(Rule::is_virtual))
    }

    /// Whether some rule wants its names answered with addresses of their own. Work grows with the rules.
    pub fn has_virtual(&self) -> bool {
        self.rules().iter().any(Rule::is_virtual)
    }

    /// Whether some egress rule could allow a flow to the host: then its alias is answered. Rules that
    /// have expired count: this opens nothing.
    pub fn may_reach_host(&self) -> bool {
        self.layers().all(|(_, layer)| layer.index.reaches_host || layer.defaults.egress == Action::Allow)
    }

    /// Whether the owner allows this address as such: by an address, a prefix or a group, and not
    /// merely by `any`, which is enough for a floor. Only then may a name lead to an address that is not
    /// public. Rules that have expired count: this opens nothing.
    pub fn permits_address(&self, address: IpAddr, hosts: &HostAddresses) -> bool {
        let agrees = |floor: &Arc<Compiled>| {
            let Compiled { index, defaults, .. } = &**floor;
            index.permits(address, hosts) || index.allows_any || defaults.egress == Action::Allow
        };
        self.own.index.permits(address, hosts) && self.floor.as_ref().is_none_or(agrees)
    }

    /// Whether a rule, or the one of the floor that agreed, decides by name: what it allows must go on
    /// showing that name.
    pub fn rests_on_name(&self, rule: RuleId) -> bool {
        self.parts(rule)
            .any(|(layer, rule)| layer.rule(rule).is_some_and(|rule| rule.destination.is_domain()))
    }

    /// Whether a rule, and the one of the floor that agreed, decides by name and by nothing else: at whatever address
    /// the name is, no rule for addresses would have denied it before. Work grows with the rules before it.
    pub fn rests_on_name_alone(
        &self,
        rule: RuleId,
        direction: Direction,
        protocol: Protocol,
        port: u16,
    ) -> bool {
        let denies_addresses = |rule: &Rule| {
            rule.action == Action::Deny
                && !rule.destination.is_domain()
                && rule.covers(direction, protocol, port)
        };
        self.parts(rule).all(|(layer, rule)| {
            let before = layer.rules.get(..rule.index()).unwrap_or_default();
            layer.rule(rule).is_some_and(|rule| rule.destination.is_domain())
                && !before.iter().any(denies_addresses)
        })
    }

    /// The proxies that rules name. Work grows with the rules.
    pub fn chosen_proxies(&self) -> impl Iterator<Item = &str> {
        self.rules().iter().filter_map(Rule::chosen_proxy)
    }

    /// Whether anything may be inside of TLS that a rule allows, by the rule itself, and by that of the floor
    /// that agreed where that is for a name.
    pub fn is_opaque(&self, rule: RuleId) -> bool {
        self.rule(rule).is_some_and(Rule::is_opaque)
            && self.parts(rule).all(|(layer, rule)| {
                layer.rule(rule).is_none_or(|rule| rule.is_opaque() || !rule.destination.is_domain())
            })
    }

    /// Whether a name shown by a flow to this port could lead to another rule than `rule`, which
    /// decided it: the rule itself is for a name, or one before it is, be it here or in the floor.
    pub fn names_matter(&self, rule: RuleId, direction: Direction, protocol: Protocol, port: u16) -> bool {
        let wanted = Wanted::timeless(direction, protocol, port);
        self.parts(rule).any(|(layer, rule)| layer.index.first_domain(&wanted) as usize <= rule.index())
    }

    /// A decision in words.
    pub fn describe(&self, decision: &Decision) -> String {
        match *decision {
            Decision::Allow { rule } => self.own.label(rule),
            Decision::PerRequest { rule } => format!("{}, each request by itself", self.own.label(rule)),
            Decision::Deny { rule, reason, layer } => self.denial(layer, rule, reason),
            Decision::NeedName => "only a name can tell".to_owned(),
        }
    }

    /// A name's decision in words.
    pub fn describe_name(&self, decision: &NameDecision) -> String {
        match *decision {
            NameDecision::Allow { rule } => self.own.label(rule),
            NameDecision::Deny { rule, reason, layer } => self.denial(layer, rule, reason),
        }
    }

    fn denial(&self, layer: Layer, rule: Option<RuleId>, reason: DenyReason) -> String {
        let (prefix, compiled) = match (layer, &self.floor) {
            (Layer::Floor, Some(floor)) => ("floor ", floor),
            (Layer::Floor, None) | (Layer::Own, _) => ("", &self.own),
        };
        match rule {
            Some(rule) if reason == DenyReason::NotHttp => {
                format!("{prefix}{} ({})", compiled.label(rule), reason.as_str())
            }
            Some(rule) => format!("{prefix}{}", compiled.label(rule)),
            None => format!("{prefix}default ({})", reason.as_str()),
        }
    }

    /// The policy itself and its floor.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (Layer, &Compiled)> {
        let floor = self.floor.as_deref().map(|floor| (Layer::Floor, floor));
        [(Layer::Own, &*self.own)].into_iter().chain(floor)
    }

    /// The rules that agreed, each with its layer.
    fn parts(&self, rule: RuleId) -> impl Iterator<Item = (&Compiled, RuleId)> {
        let floor = self.floor.as_deref().zip(rule.of_floor());
        [(&*self.own, rule)].into_iter().chain(floor)
    }
}

/// Without the condition nobody could check, on the safe side.
fn without_misplaced_condition(mut rule: Rule) -> Rule {
    if rule.is_misplaced() {
        rule.http = None;
        if rule.action == Action::Allow {
            rule.expires = Some(UnixTime::default());
        }
    }
    rule
}

impl Compiled {
    pub(crate) fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id.index())
    }

    /// What the rule at `position` says; `None` where there is none.
    pub(crate) fn action(&self, position: Position) -> Option<Action> {
        self.rules.get(position as usize).map(|rule| rule.action)
    }

    fn decide_name(&self, name: &HostName, wall: UnixTime) -> NameDecision {
        let position = self.index.resolves(name, wall);
        match self.action(position) {
            Some(Action::Allow) => NameDecision::Allow { rule: RuleId::own(position) },
            Some(Action::Deny) => NameDecision::Deny {
                rule: Some(RuleId::own(position)),
                reason: DenyReason::Rule,
                layer: Layer::Own,
            },
            None if self.defaults.egress == Action::Allow => {
                NameDecision::Allow { rule: RuleId::after(&self.rules) }
            }
            None => NameDecision::Deny { rule: None, reason: DenyReason::Default, layer: Layer::Own },
        }
    }

    fn parts(&self) -> (&[Rule], Defaults) {
        (&self.rules, self.defaults)
    }

    pub(crate) fn label(&self, id: RuleId) -> String {
        match self.rule(id) {
            Some(rule) => format!("rule {}: {rule}", id.index() + 1),
            None => "default".to_owned(),
        }
    }
}

impl Decision {
    /// This decision of a policy where its floor agrees.
    pub(crate) fn over(self, floor: impl FnOnce() -> Self) -> Self {
        let (rule, is_per_request) = match self {
            Self::Allow { rule } => (rule, false),
            Self::PerRequest { rule } => (rule, true),
            Self::Deny { .. } | Self::NeedName => return self,
        };
        match floor() {
            Self::Allow { rule: agreed } if !is_per_request => Self::Allow { rule: rule.over(agreed) },
            Self::Allow { rule: agreed } | Self::PerRequest { rule: agreed } => {
                Self::PerRequest { rule: rule.over(agreed) }
            }
            Self::Deny { rule, reason, .. } => Self::Deny { rule, reason, layer: Layer::Floor },
            Self::NeedName => Self::NeedName,
        }
    }
}

impl PartialEq for Policy {
    /// Whether both have the same rules, defaults and floor.
    fn eq(&self, other: &Self) -> bool {
        self.layers().map(|(_, layer)| layer.parts()).eq(other.layers().map(|(_, layer)| layer.parts()))
    }
}

impl Eq for Policy {}

impl fmt::Debug for Policy {
    /// Counts, not contents: a policy may have very many rules.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("rules", &self.own.rules.len())
            .field("defaults", &self.own.defaults)
            .field("floor", &self.floor.as_ref().map(|floor| floor.rules.len()))
            .finish()
    }
}
