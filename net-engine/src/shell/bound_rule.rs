use net_policy::RuleId;

/// The rule a stream was allowed by, and the policy it is a rule of: the number of a rule means
/// nothing in another policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BoundRule {
    pub(crate) id: RuleId,
    /// Counts the policies of a guest.
    pub(crate) generation: u64,
    /// Whether what the rule allows must go on showing a name.
    pub(crate) rests_on_name: bool,
}
