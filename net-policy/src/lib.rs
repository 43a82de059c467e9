//! May this flow leave? Ordered first-match rules, name pins and DNS answers.
//!
//! A [`Policy`] is a list of rules, compiled into an index; the first that matches decides, and what
//! no rule matches is denied. Rules by name work through pins: [`NameTable`] remembers which addresses *our* resolver
//! gave for a name, and a rule that allows a name opens those addresses and no others. Where the
//! names pinned to an address lead to different verdicts the answer is [`Decision::NeedName`]:
//! read the first flight, then ask again with the name it shows. Where rules are for some requests of HTTP
//! only it is [`Decision::PerRequest`]: read the stream as HTTP and ask [`Policy::decide_request`] each time,
//! or, where that cannot be, [`Policy::decide_unseen`].
//!
//! The crate opens no socket and reads no clock. [`dns`] parses queries and filters answers; the
//! exchange with a resolver is the caller's.
//!
//! **Trust.** Rules come from the owner. Names, addresses, queries and answers are hostile.
//!
//! ```
//! use net_policy::{Action, NameDecision, Policy, UnixTime, parse_target};
//!
//! let rule = parse_target("*.example.com:443")?.into_rule(Action::Allow);
//! let (policy, wall) = (Policy::new(vec![rule]), UnixTime::from_secs(1_800_000_000));
//! assert!(matches!(policy.decide_name(&"api.example.com".parse()?, wall), NameDecision::Allow { .. }));
//! assert!(matches!(policy.decide_name(&"example.org".parse()?, wall), NameDecision::Deny { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod builder;
mod compile;
mod covers;
mod decide;
mod decision;
mod destination;
pub mod dns;
mod explain;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
#[doc(hidden)]
pub mod linear;
mod name_table;
mod policy;
mod ports;
mod preset;
mod query;
mod request;
mod rule;
#[cfg(feature = "serde")]
mod schema;
mod target;
#[cfg(test)]
mod tests;
mod unix_time;
mod virtual_ip;
mod warnings;
mod widens;

pub use builder::{BuildError, PolicyBuilder, RuleError};
pub use decision::{Decision, DenyReason, Layer, NameDecision};
pub use destination::{Destination, DestinationError, Group, HostAddresses};
pub use explain::{Explanation, Outcome};
pub use name_table::{MIN_TTL, NameTable};
pub use policy::{FloorError, Policy};
pub use ports::{PortSet, PortSetError};
pub use preset::Preset;
pub use query::Query;
pub use request::{
    HttpCondition, HttpConditionError, MAX_PATH_BYTES, MAX_PATTERN_BYTES, MAX_WILDCARDS, Method, MethodError,
    PathPattern, PathPatternError, RequestLine,
};
pub use rule::{
    Action, DIRECT, Defaults, Inner, InnerError, Protocols, ProxyRuleError, Rule, RuleDirection, RuleId,
    VirtualIpError,
};
#[cfg(feature = "serde")]
pub use schema::PolicyTextError;
#[cfg(feature = "schema")]
pub use schema::policy_schema;
pub use target::{Target, TargetError, parse_target};
pub use unix_time::{UnixTime, UnixTimeError};
pub use virtual_ip::{Exhausted, VirtualAddresses, VirtualPair, VirtualPoolError, VirtualPools};
pub use warnings::{UnreachableReason, Warning};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
