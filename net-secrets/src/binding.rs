use std::ops::RangeInclusive;

use net_core::{HostName, HostPattern};

use crate::place::Place;
use crate::{Action, ForeignCredentials, Placeholder, Places, SecretValue};

/// The permission to use one secret towards some hosts, in some places.
#[derive(Clone)]
pub struct Binding {
    /// The environment variable the guest knows it by.
    pub env: String,
    /// What the guest holds.
    pub placeholder: Placeholder,
    /// What upstream gets.
    pub value: SecretValue,
    /// Towards whom.
    pub hosts: Hosts,
    /// On which ports; empty for all.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Where in a request.
    pub places: Places,
    /// Whether a certificate must have proved the host's name.
    pub requires_tls_identity: bool,
    /// What a violation leads to.
    pub on_violation: Action,
    /// Hosts that may see the placeholder as it is, where it is not replaced.
    pub passthrough: Vec<HostPattern>,
    /// Whether the value is turned back into the placeholder in responses.
    pub scrubs_responses: bool,
    /// What becomes of credentials of the guest's own, towards `hosts`.
    pub foreign_credentials: ForeignCredentials,
}

/// Towards whom a secret may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// These. Not empty.
    Named(Vec<HostPattern>),
    /// Everybody, the guest's own servers included.
    DangerousAny,
}

impl Binding {
    /// A binding with what is usual: every port, headers and Basic credentials, a proved name.
    pub fn new(
        env: impl Into<String>,
        placeholder: Placeholder,
        value: SecretValue,
        hosts: Vec<HostPattern>,
    ) -> Self {
        Self {
            env: env.into(),
            placeholder,
            value,
            hosts: Hosts::Named(hosts),
            ports: Vec::new(),
            places: Places::default(),
            requires_tls_identity: true,
            on_violation: Action::default(),
            passthrough: Vec::new(),
            scrubs_responses: true,
            foreign_credentials: ForeignCredentials::default(),
        }
    }

    /// Whether the other has the same value behind the same placeholder for the same hosts.
    pub(crate) fn is_same_echo(&self, other: &Self) -> bool {
        self.value.expose() == other.value.expose()
            && self.placeholder == other.placeholder
            && self.hosts == other.hosts
            && self.scrubs_responses == other.scrubs_responses
    }

    /// Whether it is for the destination's host and port.
    pub(crate) fn covers(&self, to: &Destination<'_>) -> bool {
        let is_port = self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(&to.port));
        is_port && self.hosts.contain(to.host)
    }

    /// Whether the placeholder may go there as it is.
    pub(crate) fn passes(&self, to: &Destination<'_>) -> bool {
        to.host.is_some_and(|host| self.passthrough.iter().any(|pattern| pattern.matches(host)))
    }

    pub(crate) fn permits(&self, place: Place<'_>) -> bool {
        self.places.permit(place)
    }
}

impl Hosts {
    /// Whether they contain the host; addresses are only everybody's.
    pub(crate) fn contain(&self, host: Option<&HostName>) -> bool {
        match self {
            Self::Named(patterns) => {
                host.is_some_and(|host| patterns.iter().any(|pattern| pattern.matches(host)))
            }
            Self::DangerousAny => true,
        }
    }

    /// Whether some host may be in both.
    pub(crate) fn overlap(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named(one), Self::Named(two)) => {
                one.iter().any(|one| two.iter().any(|two| one.overlaps(two)))
            }
            (Self::DangerousAny, _) | (_, Self::DangerousAny) => true,
        }
    }

    /// The patterns that name some; none where it is everybody.
    pub(crate) fn patterns(&self) -> &[HostPattern] {
        match self {
            Self::Named(patterns) => patterns,
            Self::DangerousAny => &[],
        }
    }
}

/// Whom a request goes to.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'d> {
    /// Its name; `None` for a request to an address.
    pub host: Option<&'d HostName>,
    /// Its port.
    pub port: u16,
    /// Whether a certificate has proved the name.
    pub is_verified: bool,
}

/// A destination for as long as a stream lives.
#[derive(Clone)]
pub(crate) struct Toward {
    host: Option<HostName>,
    port: u16,
    is_verified: bool,
}

impl Toward {
    pub(crate) fn as_destination(&self) -> Destination<'_> {
        Destination { host: self.host.as_ref(), port: self.port, is_verified: self.is_verified }
    }
}

impl From<&Destination<'_>> for Toward {
    fn from(to: &Destination<'_>) -> Self {
        Self { host: to.host.cloned(), port: to.port, is_verified: to.is_verified }
    }
}
