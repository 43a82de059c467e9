//! The shell around the gateway: sockets, clocks, tasks.
//!
//! Everything of one guest runs on one thread. [`driver`] moves frames between the link and the
//! gateway and starts a session per flow; a session decides, dials and relays.
#![allow(clippy::disallowed_methods, reason = "the shell owns the clock")]

mod activity;
mod bound_rule;
mod context;
mod dial;
mod driver;
mod fate;
mod first_flight;
mod guest_stream;
mod prefixed;
mod relay;
mod session;
mod stack;
mod udp;

pub(crate) use activity::Activity;
pub(crate) use bound_rule::BoundRule;
pub(crate) use context::Context;
pub use dial::DialError;
pub(crate) use dial::dial;
pub(crate) use driver::Driver;
pub(crate) use first_flight::{Hello, HttpVersion};
pub(crate) use guest_stream::GuestStream;
pub(crate) use prefixed::Prefixed;
pub(crate) use relay::relay;
pub(crate) use session::{FAREWELL, fail};
pub(crate) use stack::Stack;
pub(crate) use udp::Udp;

/// The clock of the shell.
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
