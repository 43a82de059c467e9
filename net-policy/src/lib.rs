//! May this flow leave? Ordered first-match rules, name pins and DNS answers.
//!
//! A [`Policy`] is a list of rules; the first that matches decides, and what no rule matches is
//! denied. Rules by name work through pins: [`NameTable`] remembers which addresses *our* resolver
//! gave for a name, and a rule that allows a name opens those addresses and no others. Where the
//! names pinned to an address lead to different verdicts the answer is [`Decision::NeedName`]:
//! read the first flight, then ask again with the name it shows.
//!
//! The crate opens no socket and reads no clock. [`dns`] parses queries and filters answers; the
//! exchange with a resolver is the caller's.
//!
//! **Trust.** Rules come from the owner. Names, addresses, queries and answers are hostile.
//!
//! ```
//! use net_policy::{Action, Policy, Rule, parse_target};
//! use net_policy::NameDecision;
//!
//! let rule = parse_target("*.example.com:443")?.into_rule(Action::Allow);
//! let policy = Policy::new(vec![rule]);
//! assert!(matches!(policy.decide_name(&"api.example.com".parse()?), NameDecision::Allow { .. }));
//! assert!(matches!(policy.decide_name(&"example.org".parse()?), NameDecision::Deny { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod decide;
mod destination;

pub mod dns;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
mod name_table;
mod ports;
mod rule;
mod target;
#[cfg(test)]
mod tests;

pub use decide::{Decision, DenyReason, NameDecision, Policy, Query};
pub use destination::{Destination, DestinationError, Group, HostAddresses};
pub use name_table::{MIN_TTL, NameTable, PIN_GRACE};
pub use ports::{PortSet, PortSetError};
pub use rule::{Action, Protocols, Rule, RuleDirection, RuleId};
pub use target::{Target, TargetError, parse_target};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
