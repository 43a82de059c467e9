use crate::{Action, Destination, Group, Policy, Rule, RuleDirection};

/// Rules that many policies end with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Preset {
    /// Nothing is allowed.
    #[default]
    None,
    /// Everything is allowed, both ways.
    AllowAll,
    /// The internet is allowed.
    PublicOnly,
    /// The internet and the site's own networks are allowed; the host, its link and metadata services
    /// are not.
    NonLocal,
}

impl Preset {
    /// The rules it stands for.
    pub fn rules(self) -> Vec<Rule> {
        let allow = |destination| Rule::new(Action::Allow, destination);
        match self {
            Self::None => Vec::new(),
            Self::AllowAll => vec![Rule { direction: RuleDirection::Any, ..allow(Destination::Any) }],
            Self::PublicOnly => vec![allow(Destination::Group(Group::Public))],
            Self::NonLocal => {
                vec![allow(Destination::Group(Group::Public)), allow(Destination::Group(Group::Private))]
            }
        }
    }
}

impl From<Preset> for Policy {
    fn from(preset: Preset) -> Self {
        Self::new(preset.rules())
    }
}

impl Policy {
    /// Nothing is allowed: the default.
    pub fn none() -> Self {
        Preset::None.into()
    }

    /// See [`Preset::AllowAll`]. Addresses that are no destination stay denied.
    pub fn allow_all() -> Self {
        Preset::AllowAll.into()
    }

    /// See [`Preset::PublicOnly`].
    pub fn public_only() -> Self {
        Preset::PublicOnly.into()
    }

    /// See [`Preset::NonLocal`].
    pub fn non_local() -> Self {
        Preset::NonLocal.into()
    }
}
