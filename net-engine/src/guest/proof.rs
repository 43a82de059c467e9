use net_core::HostName;

/// What upstream has proved by its certificate. Only a handshake that has verified one makes a
/// proof that says anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proof(Proved);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Proved {
    /// On plain streams, and where every certificate is believed.
    #[default]
    Nothing,
    Name(HostName),
    /// Without a server_name the flow's address is verified, which says nothing of names.
    Address,
}

impl Proof {
    /// The certificate was verified for the name that was asked for, or, without one, for the address.
    pub(crate) fn of_verified(name: Option<&HostName>) -> Self {
        Self(name.cloned().map_or(Proved::Address, Proved::Name))
    }

    /// Whether upstream is `name`.
    pub(crate) fn is_of(&self, name: &HostName) -> bool {
        match &self.0 {
            Proved::Name(own) => own == name,
            Proved::Nothing | Proved::Address => false,
        }
    }
}
