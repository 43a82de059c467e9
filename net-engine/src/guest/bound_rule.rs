use net_policy::RuleId;

/// The rule a stream was allowed by, and the policy it is a rule of: the number of a rule means
/// nothing in another policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BoundRule {
    pub(crate) id: RuleId,
    /// Counts the policies of a guest.
    pub(crate) generation: u64,
    /// Whether a name that a stream shows could lead to another rule.
    pub(crate) names_matter: bool,
    /// Whether it lets anything be inside of TLS.
    pub(crate) is_opaque: bool,
}
