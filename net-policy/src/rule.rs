use std::fmt;

use net_core::{Direction, Protocol};

use crate::{Destination, PortSet};

/// What a rule says of the flows it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// A set of protocols; the empty set means every protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Protocols(Vec<Protocol>);

impl Protocols {
    /// Every protocol.
    pub const fn any() -> Self {
        Self(Vec::new())
    }

    /// Whether `protocol` is in the set.
    pub fn contains(&self, protocol: Protocol) -> bool {
        self.0.is_empty() || self.0.contains(&protocol)
    }

    /// Whether every protocol is in the set.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Protocol> for Protocols {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().collect())
    }
}

/// The place of a rule in its policy, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub(crate) usize);

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Rule {
    /// Whether direction, protocol and port are the rule's.
    pub(crate) fn covers(&self, direction: Direction, protocol: Protocol, port: u16) -> bool {
        self.direction.covers(direction)
            && self.protocols.contains(protocol)
            && (self.ports.contains(port) || matches!(protocol, Protocol::IcmpV4 | Protocol::IcmpV6))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.destination)?;
        if !self.ports.is_any() {
            write!(f, ":{}", self.ports)?;
        }
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}
