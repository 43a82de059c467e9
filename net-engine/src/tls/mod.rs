//! TLS that is opened: upstream's handshake, then the guest's.

mod deny;
mod intercept;
mod last_flight;
mod read_ahead;
mod upstream;
mod upstream_tls;

pub(crate) use deny::deny;
pub(crate) use intercept::{accept_guest, intercept};
