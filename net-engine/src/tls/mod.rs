//! TLS towards the guest and towards upstream.

mod intercept;
mod intercept_error;
mod parts;

pub(crate) use intercept::{StreamInfo, intercept};
pub use intercept_error::InterceptError;
pub(crate) use parts::TlsParts;
