use crate::RuleId;

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It may go on.
    Allow {
        /// By this rule, or by the default of its direction.
        rule: RuleId,
    },
    /// It may go on as far as its requests may: some rule that could decide is for some requests only.
    ///
    /// The stream must be read as HTTP, and [`Policy::decide_request`](crate::Policy::decide_request) be
    /// asked about each request; what cannot be read is decided by
    /// [`Policy::decide_unseen`](crate::Policy::decide_unseen).
    PerRequest {
        /// The first rule, or the default, that could allow one.
        rule: RuleId,
    },
    /// It may not.
    Deny {
        /// By this rule; `None` when none matched.
        rule: Option<RuleId>,
        /// Why.
        reason: DenyReason,
        /// Whose rule it is, or who has none that allows it.
        layer: Layer,
    },
    /// The names of the address lead to different verdicts: read the first flight and ask again.
    NeedName,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum NameDecision {
    /// It may be resolved.
    Allow {
        /// By this rule, or by the default.
        rule: RuleId,
    },
    /// It may not.
    Deny {
        /// By this rule; `None` when none matched.
        rule: Option<RuleId>,
        /// Why.
        reason: DenyReason,
        /// Whose rule it is, or who has none that allows it.
        layer: Layer,
    },
}

/// Which of the two policies that must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The policy itself.
    #[default]
    Own,
    /// The one below it, see [`Policy::with_floor`](crate::Policy::with_floor).
    Floor,
}

/// Why a flow or a name is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenyReason {
    /// A rule says so.
    Rule,
    /// No rule matches.
    Default,
    /// A rule allows the name, and our resolver never gave this address for it.
    NotPinned,
    /// A rule allows the name, and what it resolves to is not public and not allowed as an address.
    NotPublic,
    /// Nothing may be sent to such an address.
    Reserved,
    /// Rules allow, or deny, some requests to the name, and here none can be seen: it is not HTTP, or not
    /// looked into.
    NotHttp,
    /// A rule allows other requests to the name.
    Request,
    /// Requests to the name are decided one by one, and this one is malformed, or one that servers read in
    /// different ways.
    Malformed,
    /// It is an address for names, and stands for none.
    Unassigned,
    /// The address stands for another name than the flow shows.
    OtherName,
}

impl DenyReason {
    /// Of two reasons the lesser tells more.
    const fn rank(self) -> u8 {
        match self {
            Self::Rule | Self::Reserved | Self::Unassigned | Self::OtherName | Self::Malformed => 0,
            Self::Request => 1,
            Self::NotHttp => 2,
            Self::NotPublic => 3,
            Self::NotPinned => 4,
            Self::Default => 5,
        }
    }

    /// Readable, for events and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "by rule",
            Self::Default => "no rule allows it",
            Self::NotPinned => "the address was not resolved for this name",
            Self::NotPublic => {
                "the name leads to an address that is not public, and no rule allows that address here"
            }
            Self::Reserved => "the address is no destination",
            Self::NotHttp => "a rule is for some requests to the name, and none can be seen here",
            Self::Request => "only other requests to the name are allowed",
            Self::Malformed => "the request's method or path is malformed or ambiguous",
            Self::Unassigned => "the address was given for no name",
            Self::OtherName => "the address was given for another name",
        }
    }
}

impl Decision {
    /// A denial by the policy itself, before or without a rule.
    pub(crate) const fn denied(reason: DenyReason) -> Self {
        Self::Deny { rule: None, reason, layer: Layer::Own }
    }

    /// What two names of one address lead to, in whatever order they come: of two rules with the same
    /// verdict the first. The name a stream shows says later which of them holds.
    pub(crate) fn both(self, other: Self) -> Self {
        match (self, other) {
            (Self::Allow { rule: one }, Self::Allow { rule: other }) => Self::Allow { rule: one.min(other) },
            (Self::PerRequest { rule: one }, Self::PerRequest { rule: other }) => {
                Self::PerRequest { rule: one.min(other) }
            }
            (
                Self::Deny { rule: own, reason, layer },
                Self::Deny { rule: others, reason: other_reason, layer: other_layer },
            ) => {
                // A rule tells more than that there was none, and that one nearly matched more than that
                // none did.
                let tells = |rule: Option<RuleId>, reason: DenyReason, layer: Layer| {
                    (rule.is_none(), layer == Layer::Floor, rule, reason.rank())
                };
                let is_first = tells(own, reason, layer) <= tells(others, other_reason, other_layer);
                if is_first { self } else { other }
            }
            (Self::Allow { .. }, Self::Deny { .. } | Self::PerRequest { .. })
            | (Self::PerRequest { .. }, Self::Allow { .. } | Self::Deny { .. })
            | (Self::Deny { .. }, Self::Allow { .. } | Self::PerRequest { .. })
            | (Self::NeedName, _)
            | (_, Self::NeedName) => Self::NeedName,
        }
    }
}
