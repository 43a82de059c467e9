use clap::ValueEnum;
use net_secrets::Action;
use serde::Deserialize;

/// What a violation leads to, as it is written in the file and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(super) enum ActionKey {
    /// It is refused, and nothing is said of it
    Block,
    /// It is refused, and said
    BlockAndLog,
    /// It is refused and said, and the command ends
    BlockAndTerminate,
    /// The hosts that are named get the placeholder as it is; towards others as `block_and_log`.
    #[value(skip)]
    Passthrough,
}

impl ActionKey {
    /// Towards whom the placeholder may not go.
    pub(super) fn action(self) -> Action {
        match self {
            Self::Block => Action::Block,
            Self::BlockAndLog | Self::Passthrough => Action::BlockAndLog,
            Self::BlockAndTerminate => Action::BlockAndTerminate,
        }
    }
}

/// The word for it.
pub(super) fn name(action: Action) -> &'static str {
    match action {
        Action::Block => "block",
        Action::BlockAndLog => "block_and_log",
        Action::BlockAndTerminate => "block_and_terminate",
    }
}
