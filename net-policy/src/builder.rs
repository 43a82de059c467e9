use thiserror::Error;

use crate::{Action, Defaults, Policy, Preset, Rule, TargetError, parse_target};

/// Makes a [`Policy`], rule by rule; what is wrong is said at the end.
///
/// ```
/// use net_policy::{Policy, Preset};
///
/// let policy = Policy::builder().deny(".ads.example").allow("host:5432").preset(Preset::PublicOnly).build()?;
/// assert_eq!(policy.rules().len(), 3);
/// let error = Policy::builder().allow("example.com").deny("we*b.example").build().unwrap_err();
/// assert_eq!(error.number, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PolicyBuilder {
    rules: Vec<Rule>,
    preset: Preset,
    defaults: Defaults,
    /// The first rule that could not be read.
    error: Option<BuildError>,
}

/// Why there is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("rule {number}")]
pub struct BuildError {
    /// The rule, counted from 1 in the order they were added.
    pub number: usize,
    /// What is wrong with its target.
    pub source: TargetError,
}

impl PolicyBuilder {
    /// Adds a rule behind those before it.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Allows flows from the guest to a target, in the form [`parse_target`] reads.
    pub fn allow(self, target: &str) -> Self {
        self.target(target, Action::Allow)
    }

    /// Denies flows from the guest to a target, in the form [`parse_target`] reads.
    pub fn deny(self, target: &str) -> Self {
        self.target(target, Action::Deny)
    }

    fn target(mut self, target: &str, action: Action) -> Self {
        match parse_target(target) {
            Ok(target) => self.rule(target.into_rule(action)),
            Err(source) => {
                let number = self.rules.len() + 1;
                self.error.get_or_insert(BuildError { number, source });
                self
            }
        }
    }

    /// Ends the policy with these rules, whatever is added later.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// What becomes of flows that no rule matches.
    pub fn defaults(mut self, defaults: Defaults) -> Self {
        self.defaults = defaults;
        self
    }

    /// Compiles the rules.
    ///
    /// # Errors
    /// [`BuildError`] for the first target that could not be read.
    pub fn build(mut self) -> Result<Policy, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.rules.extend(self.preset.rules());
        Ok(Policy::with_defaults(self.rules, self.defaults))
    }
}

impl Policy {
    /// A policy without rules, to add some to.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }
}
