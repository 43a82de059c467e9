use std::io;

use thiserror::Error;

/// Why somebody who connected to a published port was sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InboundError {
    /// Nobody listens on the guest's port.
    #[error("the guest refused the connection")]
    Refused,
    /// As many flows are open as [`Limits`](net_core::Limits) permit.
    #[error("as many connections are open as may be")]
    Limit,
    /// The host gave no descriptor for the connection; it is asked again.
    #[error("this host could not accept a connection: {0}")]
    Accept(io::ErrorKind),
}
