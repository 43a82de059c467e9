use thiserror::Error;

/// Why a policy was not taken over; the one before holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SwapError {
    /// It lets TLS be opened to names the authority may not sign for, and the one before did not.
    #[error(
        "the policy allows names the authority is not permitted to sign for: it needs a new one, or name_constraints off"
    )]
    NeedsNewAuthority,
}
