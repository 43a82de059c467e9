use std::fmt;

use net_core::{Direction, Protocol};
use thiserror::Error;

use crate::target::write_target;
use crate::{Destination, HttpCondition, HttpConditionError, PortSet, UnixTime};

/// What a rule says of the flows it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Action {
    /// They may go on.
    Allow,
    /// They may not.
    Deny,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// Which directions a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RuleDirection {
    /// From the guest.
    #[default]
    Egress,
    /// To the guest.
    Ingress,
    /// Both.
    Any,
}

impl RuleDirection {
    pub(crate) fn covers(self, direction: Direction) -> bool {
        match self {
            Self::Egress => direction == Direction::Egress,
            Self::Ingress => direction == Direction::Ingress,
            Self::Any => true,
        }
    }
}

/// What may be inside of TLS that is opened, by the rule that allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Inner {
    /// Where the verdict rests on a name, HTTP, each of whose requests is held to that name.
    #[default]
    Http,
    /// HTTP, or anything else, which is passed on as bytes.
    Opaque,
}

/// A set of protocols; the empty set means every protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Protocols(u8);

impl Protocols {
    /// Every protocol.
    pub const fn any() -> Self {
        Self(0)
    }

    /// Whether `protocol` is in the set.
    pub fn contains(self, protocol: Protocol) -> bool {
        self.is_any() || self.0 & bit(protocol) != 0
    }

    /// Whether every protocol is in the set.
    pub fn is_any(self) -> bool {
        self.0 == 0
    }

    /// The protocols that were named; none where the set means all.
    pub fn iter(self) -> impl Iterator<Item = Protocol> {
        Protocol::ALL.into_iter().filter(move |protocol| self.0 & bit(*protocol) != 0)
    }
}

/// Each protocol's own bit.
fn bit(protocol: Protocol) -> u8 {
    1 << Protocol::ALL.iter().position(|known| *known == protocol).unwrap_or(Protocol::ALL.len())
}

impl FromIterator<Protocol> for Protocols {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().fold(0, |bits, protocol| bits | bit(protocol)))
    }
}

/// What becomes of flows that no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Defaults {
    /// Those from the guest.
    pub egress: Action,
    /// Those to the guest.
    pub ingress: Action,
}

impl Defaults {
    pub(crate) fn of(self, direction: Direction) -> Action {
        match direction {
            Direction::Egress => self.egress,
            Direction::Ingress => self.ingress,
        }
    }
}

impl Default for Defaults {
    /// They are denied.
    fn default() -> Self {
        Self { egress: Action::Deny, ingress: Action::Deny }
    }
}

/// The place of a rule in its policy, together with that of the rule of the floor that agreed, where
/// there is a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Counted from 0; the default is behind the last.
    own: u32,
    floor: Option<u32>,
}

impl RuleId {
    pub(crate) const fn own(own: u32) -> Self {
        Self { own, floor: None }
    }

    /// The default of a policy of these rules.
    pub(crate) fn after(rules: &[Rule]) -> Self {
        Self::own(u32::try_from(rules.len()).unwrap_or(u32::MAX))
    }

    /// The same, with the rule of the floor that agreed.
    pub(crate) const fn over(self, floor: Self) -> Self {
        Self { own: self.own, floor: Some(floor.own) }
    }

    /// The rule of the floor, as one of the floor's own.
    pub(crate) fn of_floor(self) -> Option<Self> {
        self.floor.map(Self::own)
    }

    pub(crate) const fn index(self) -> usize {
        self.own as usize
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::schema::RuleDef", into = "crate::schema::RuleDef")
)]
pub struct Rule {
    /// What people call it; shown with every decision.
    pub name: Option<String>,
    /// Which directions it is about.
    pub direction: RuleDirection,
    /// Where the flows go (egress) or come from (ingress).
    pub destination: Destination,
    /// Empty: every protocol.
    pub protocols: Protocols,
    /// Upstream's ports (egress) or the guest's (ingress). Empty: every port.
    pub ports: PortSet,
    /// What happens.
    pub action: Action,
    /// Which requests it is for, where its destination is a name: none but those it matches. ICMP has no
    /// requests, and such a rule nothing to say of it.
    ///
    /// Where requests cannot be seen (TLS that is not opened, UDP, anything that is not HTTP), a rule that
    /// allows some allows nothing, and one that denies some denies everything: neither a request that
    /// should not pass nor one that might be among those denied is passed on unread.
    pub http: Option<HttpCondition>,
    /// Whether the names it allows are answered with addresses that stand for them alone, see
    /// [`VirtualAddresses`](crate::VirtualAddresses). It means something only where the rule
    /// [can have it](Self::virtually).
    pub virtual_ip: bool,
    /// What may be inside of TLS that is opened. It means something only where the rule
    /// [can have it](Self::opaque).
    pub inner: Inner,
    /// The proxy by which connections go that it allows, or [`DIRECT`]; `None` leaves it to the proxies. It means
    /// something only where the rule [can have it](Self::by_proxy), and nothing for the decision.
    pub proxy: Option<String>,
    /// From then on it matches nothing.
    pub expires: Option<UnixTime>,
    /// Why it is there; for whoever reads the rules.
    pub comment: Option<String>,
}

impl Rule {
    /// A rule for egress, every protocol and every port.
    pub const fn new(action: Action, destination: Destination) -> Self {
        Self {
            name: None,
            direction: RuleDirection::Egress,
            destination,
            protocols: Protocols::any(),
            ports: PortSet::any(),
            action,
            http: None,
            virtual_ip: false,
            inner: Inner::Http,
            proxy: None,
            expires: None,
            comment: None,
        }
    }

    /// The same for some requests only.
    ///
    /// # Errors
    /// [`HttpConditionError::NotAName`] where the destination is no name.
    pub fn for_requests(self, condition: HttpCondition) -> Result<Self, HttpConditionError> {
        Self { http: Some(condition), ..self }.checked()
    }

    /// The rule, if its condition on requests is on a rule for a name.
    pub(crate) fn checked(self) -> Result<Self, HttpConditionError> {
        if self.is_misplaced() { Err(HttpConditionError::NotAName) } else { Ok(self) }
    }

    /// Whether it has a condition on requests without being for a name.
    pub(crate) fn is_misplaced(&self) -> bool {
        self.http.is_some() && !self.destination.is_domain()
    }

    /// The same rule, whose names are answered with addresses of their own.
    ///
    /// # Errors
    /// [`VirtualIpError`] unless the rule allows flows from the guest to a name.
    pub fn virtually(self) -> Result<Self, VirtualIpError> {
        if self.may_be_virtual() { Ok(Self { virtual_ip: true, ..self }) } else { Err(VirtualIpError) }
    }

    /// Whether the names it allows have addresses of their own.
    pub(crate) fn is_virtual(&self) -> bool {
        self.virtual_ip && self.may_be_virtual()
    }

    fn may_be_virtual(&self) -> bool {
        self.action == Action::Allow
            && self.destination.is_domain()
            && self.direction.covers(Direction::Egress)
    }

    /// The same rule, inside of whose TLS anything may be.
    ///
    /// # Errors
    /// [`InnerError`] unless the rule allows flows from the guest, and all requests.
    pub fn opaque(self) -> Result<Self, InnerError> {
        if self.may_be_opaque() { Ok(Self { inner: Inner::Opaque, ..self }) } else { Err(InnerError) }
    }

    /// Whether anything may be inside of the TLS it allows.
    pub(crate) fn is_opaque(&self) -> bool {
        self.inner == Inner::Opaque && self.may_be_opaque()
    }

    fn may_be_opaque(&self) -> bool {
        self.action == Action::Allow && self.http.is_none() && self.direction.covers(Direction::Egress)
    }

    /// The same rule, whose connections go by the proxy of this name, or by none where it is [`DIRECT`].
    ///
    /// # Errors
    /// [`ProxyRuleError`] unless the rule allows flows from the guest.
    pub fn by_proxy(self, proxy: String) -> Result<Self, ProxyRuleError> {
        if self.may_have_a_proxy() { Ok(Self { proxy: Some(proxy), ..self }) } else { Err(ProxyRuleError) }
    }

    /// The proxy by which what it allows goes.
    pub fn chosen_proxy(&self) -> Option<&str> {
        self.proxy.as_deref().filter(|_| self.may_have_a_proxy())
    }

    fn may_have_a_proxy(&self) -> bool {
        self.action == Action::Allow && self.direction.covers(Direction::Egress)
    }

    /// Whether it matches nothing any more.
    pub fn is_expired(&self, wall: UnixTime) -> bool {
        self.expires.is_some_and(|expires| expires <= wall)
    }

    /// Whether it is about every protocol, port and request.
    pub(crate) fn covers_everything(&self) -> bool {
        self.ports.is_any() && self.protocols.is_any() && self.http.is_none()
    }

    /// Whether it is about flows of this protocol.
    pub(crate) fn covers_protocol(&self, protocol: Protocol) -> bool {
        self.protocols.contains(protocol) && (self.http.is_none() || has_ports(protocol))
    }

    /// Whether direction, protocol and port are the rule's.
    pub(crate) fn covers(&self, direction: Direction, protocol: Protocol, port: u16) -> bool {
        self.direction.covers(direction)
            && self.covers_protocol(protocol)
            && (self.ports.contains(port) || !has_ports(protocol))
    }
}

/// Why a rule's names have no addresses of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("virtual_ip is for rules that allow a name, and flows from the guest")]
pub struct VirtualIpError;

/// Why a rule cannot let anything be inside of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("inner = \"opaque\" is for rules that allow flows from the guest, and all requests")]
pub struct InnerError;

/// What a rule has for a proxy where its connections go by none.
pub const DIRECT: &str = "direct";

/// Why a rule chooses no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("proxy is for rules that allow flows from the guest")]
pub struct ProxyRuleError;

/// Whether flows of a protocol have ports; where they have none every port matches.
pub(crate) fn has_ports(protocol: Protocol) -> bool {
    !matches!(protocol, Protocol::IcmpV4 | Protocol::IcmpV6)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.action)?;
        write_target(f, &self.destination, &self.ports)?;
        for (index, protocol) in self.protocols.iter().enumerate() {
            write!(f, "{}{protocol}", if index == 0 { " " } else { "," })?;
        }
        if let Some(http) = &self.http {
            write!(f, " for {http}")?;
        }
        match self.direction {
            RuleDirection::Egress => {}
            RuleDirection::Ingress => f.write_str(" ingress")?,
            RuleDirection::Any => f.write_str(" both ways")?,
        }
        if self.is_virtual() {
            f.write_str(" by an address of its own")?;
        }
        if self.is_opaque() {
            f.write_str(" with anything inside TLS")?;
        }
        match self.chosen_proxy() {
            None => {}
            Some(DIRECT) => f.write_str(" by no proxy")?,
            Some(proxy) => write!(f, " by proxy {proxy}")?,
        }
        if let Some(expires) = self.expires {
            write!(f, " until {expires}")?;
        }
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}
