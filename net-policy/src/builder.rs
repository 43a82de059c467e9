use thiserror::Error;

use crate::{
    Action, Defaults, HttpCondition, HttpConditionError, InnerError, Policy, Preset, ProxyRuleError, Rule,
    TargetError, VirtualIpError, parse_target,
};

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
    /// What is wrong with it.
    pub source: RuleError,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Its target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Its condition on requests.
    #[error(transparent)]
    Http(#[from] HttpConditionError),
    /// Its wish for addresses of its own.
    #[error(transparent)]
    VirtualIp(#[from] VirtualIpError),
    /// What it lets be inside of TLS.
    #[error(transparent)]
    Inner(#[from] InnerError),
    /// A proxy on a rule that cannot have one.
    #[error(transparent)]
    Proxy(#[from] ProxyRuleError),
}

impl PolicyBuilder {
    /// Adds a rule behind those before it.
    pub fn rule(self, rule: Rule) -> Self {
        self.add(rule.checked().map_err(RuleError::from))
    }

    /// Allows flows from the guest to a target, in the form [`parse_target`] reads.
    pub fn allow(self, target: &str) -> Self {
        self.target(target, Action::Allow)
    }

    /// Denies flows from the guest to a target, in the form [`parse_target`] reads.
    pub fn deny(self, target: &str) -> Self {
        self.target(target, Action::Deny)
    }

    /// Allows some requests of HTTP to a target, which is a name.
    ///
    /// ```
    /// use net_policy::{HttpCondition, Policy};
    ///
    /// let reads = HttpCondition::parse(&["GET", "HEAD"], &["/v1/models/*", "/health"])?;
    /// let policy = Policy::builder().allow_requests("api.example.com:443", reads.clone()).build()?;
    /// assert_eq!(
    ///     policy.rules()[0].to_string(),
    ///     "allow api.example.com:443 for GET,HEAD /v1/models/*,/health"
    /// );
    /// assert!(Policy::builder().allow_requests("public:443", reads).build().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_requests(self, target: &str, condition: HttpCondition) -> Self {
        self.requests(target, Action::Allow, condition)
    }

    /// Denies some requests of HTTP to a target, which is a name, and there whatever is not HTTP.
    pub fn deny_requests(self, target: &str, condition: HttpCondition) -> Self {
        self.requests(target, Action::Deny, condition)
    }

    fn requests(self, target: &str, action: Action, condition: HttpCondition) -> Self {
        let rule = parse_target(target).map_err(RuleError::from);
        self.add(rule.and_then(|target| Ok(target.into_rule(action).for_requests(condition)?)))
    }

    fn target(self, target: &str, action: Action) -> Self {
        self.add(parse_target(target).map(|target| target.into_rule(action)).map_err(RuleError::from))
    }

    fn add(mut self, rule: Result<Rule, RuleError>) -> Self {
        match rule {
            Ok(rule) => self.rules.push(rule),
            Err(source) => {
                let number = self.rules.len() + 1;
                self.error.get_or_insert(BuildError { number, source });
            }
        }
        self
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
    /// [`BuildError`] for the first rule that could not be made.
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
