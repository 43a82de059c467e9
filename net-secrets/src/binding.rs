use net_core::{HostName, HostPattern};

use crate::{Placeholder, SecretValue};

/// The permission to use one secret towards some hosts.
#[derive(Clone)]
pub struct Binding {
    /// The environment variable the guest knows it by.
    pub env: String,
    /// What the guest holds.
    pub placeholder: Placeholder,
    /// What upstream gets.
    pub value: SecretValue,
    /// Towards whom. Not empty.
    pub hosts: Vec<HostPattern>,
}

impl Binding {
    /// Whether the other has the same value behind the same placeholder for the same hosts.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.value.expose() == other.value.expose()
            && self.placeholder == other.placeholder
            && self.hosts == other.hosts
    }

    pub(crate) fn covers(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

/// Whom a request goes to.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'d> {
    /// Its name; `None` for a request to an address.
    pub host: Option<&'d HostName>,
    /// Whether a certificate has proved the name.
    pub is_verified: bool,
}
