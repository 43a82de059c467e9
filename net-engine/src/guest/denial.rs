use std::fmt;
use std::sync::Arc;

use net_policy::{DenyReason, Layer, RuleId};

/// A rule as people know it: its number in its policy, and its text.
///
/// Made once per rule and policy; a clone shares the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleLabel {
    /// The number of the rule, which means nothing under another policy.
    pub id: RuleId,
    /// The rule, readable.
    pub text: Arc<str>,
}

/// Why a flow was refused: put into words by whoever shows it, not for every SYN of a port scan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// A rule says so.
    Rule {
        /// Which.
        rule: RuleLabel,
        /// How it came to decide.
        reason: DenyReason,
    },
    /// No rule decided.
    Default {
        /// How that came.
        reason: DenyReason,
        /// Of which rules.
        layer: Layer,
    },
    /// What is asked for there is given elsewhere, or shows itself to be something else, in these words.
    Protocol(&'static str),
    /// Names of its address lead to different verdicts, and it shows none.
    NeedName,
    /// A rule allows its address, but by a new policy the name matters, and it shows none any more.
    Unnamed(RuleLabel),
}

impl Denial {
    /// The rule that decided.
    pub(crate) fn rule(&self) -> Option<&str> {
        match self {
            Self::Rule { rule, .. } | Self::Unnamed(rule) => Some(&rule.text),
            Self::Default { .. } | Self::Protocol(_) | Self::NeedName => None,
        }
    }

    /// How it came.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Rule { reason, .. } | Self::Default { reason, .. } => reason.as_str(),
            Self::Protocol(why) => why,
            Self::NeedName => "only a name can tell",
            Self::Unnamed(_) => "a name could be denied, and it shows none",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { rule, .. } => f.write_str(&rule.text),
            Self::Default { reason, layer: Layer::Own } => write!(f, "default ({})", reason.as_str()),
            Self::Default { reason, layer: Layer::Floor } => {
                write!(f, "floor default ({})", reason.as_str())
            }
            Self::Protocol(why) => f.write_str(why),
            Self::NeedName => f.write_str("only a name can tell"),
            Self::Unnamed(rule) => write!(f, "{} (a name could be denied, and it shows none)", rule.text),
        }
    }
}
