//! HTTP between a guest and an upstream: parsed, checked, and written anew by hyper.
//!
//! Every request must be for an authority that leads to the rule which allowed the stream. Heads
//! pass through substitution, bodies through it or the detector, responses through the scrubber. Bodies are streamed, small ones of a stated length excepted, and nothing of a refused
//! request goes on.

mod authority;
mod body;
mod bridge;
mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guarded;
mod guest_body;
mod headers;
mod held;
mod incoming;
mod opening;
mod refusal;
mod request_filter;
mod response_filter;
mod sender;
mod serve;
mod sides;
mod tunnel;
mod worst;

pub(crate) use bridge::{bridge_opaque, bridge_plain, bridge_tls, deny_tls, nothing_at_stake};
pub(crate) use tunnel::carry;
