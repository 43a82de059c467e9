//! The tasks of a guest: frames moved, sessions started, streams told apart and relayed.
//!
//! Everything of one guest runs on one thread. [`driver`] moves frames between the link and the
//! gateway and starts a session per flow; a session decides, dials and relays.
#![allow(clippy::disallowed_methods, reason = "the shell owns the clock")]

mod dns_query;
mod dns_session;
mod driver;
mod first_flight;
mod flood_watch;
mod host_socket;
mod inbox;
mod mtus;
mod ping;
mod publish;
mod receiver;
mod relay;
mod seldom;
#[cfg(any(test, fuzzing))]
mod selection_model;
mod session;
mod udp;
mod waiting;

pub(crate) use driver::Driver;
pub(crate) use ping::Ping;
pub(crate) use publish::Publisher;
pub(crate) use relay::relay;
#[cfg(any(test, fuzzing))]
pub(crate) use selection_model::hellos_select_what_was_chosen;
pub(crate) use udp::Udp;
