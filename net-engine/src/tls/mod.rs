//! TLS towards the guest and towards upstream.

mod intercept;
mod intercept_error;
mod offer;
mod parts;
mod upstream;

pub(crate) use intercept::{StreamInfo, accept_guest, intercept};
pub use intercept_error::{GuestAlert, InterceptError};
pub(crate) use parts::TlsParts;
