//! The words every `net-*` crate shares.
//!
//! Names, addresses and flows are parsed once, here, and travel through the workspace as types
//! that cannot hold a wrong value. The crate has no I/O, reads no clock and keeps no global state.
//!
//! **Frame of reference.** The *guest* is the sandboxed side, *upstream* the network side.
//! *Egress* runs from guest to upstream, *ingress* the other way.
//!
//! **What it does not do.** It decides nothing ([`AddressClass`] says what an address is, not
//! whether it may be reached) and it resolves nothing.
//!
//! **Trust.** Parsers of names take hostile bytes: none panics, none allocates more than the name it
//! returns. Patterns and rates are the owner's text.
//!
//! ```
//! use net_core::{AddressClass, HostName, HostPattern};
//!
//! let pattern = HostPattern::parse("*.example.com")?;
//! assert!(pattern.matches(&HostName::parse("API.Example.com.")?));
//! assert!(!pattern.matches(&HostName::parse("evilexample.com")?));
//!
//! let mapped = "::ffff:10.0.0.1".parse().expect("a literal address");
//! assert_eq!(AddressClass::of(mapped), AddressClass::Private);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod address;
mod fault;
mod flow;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
mod host_name;
mod host_pattern;
mod limits;
mod meter;
mod nat64;
mod rate;
mod shaping;
mod timer;
mod token_bucket;
mod turnstile;

pub use address::{AddressClass, embedded_ipv4, normalise};
pub use fault::Fault;
pub use flow::{Direction, Flow, Protocol};
pub use host_name::{HostName, HostNameError, MAX_HOST_NAME_BYTES};
pub use host_pattern::{HostPattern, HostPatternError};
pub use limits::Limits;
pub use meter::Meter;
pub use nat64::{Nat64Prefix, Nat64PrefixError};
pub use rate::{Bandwidth, PacketRate, Rate, RateError};
pub use shaping::{Shape, Shaping};
pub use timer::TimerQueue;
pub use token_bucket::TokenBucket;
pub use turnstile::{Entry, Ticket, Turn, Turnstile};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
