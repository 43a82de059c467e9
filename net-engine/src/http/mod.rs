//! HTTP between a guest and an upstream: parsed, checked, and written anew, HTTP/1 by hyper, HTTP/2 by h2.
//!
//! Every request must be for an authority that leads to the rule which allowed the stream. Heads
//! pass through substitution, bodies through it or the detector, responses through the scrubber. Bodies are streamed, small ones of a stated length excepted, and nothing of a refused
//! request goes on.

mod admitted;
mod authority;
mod body;
mod bridge;
mod coding;
mod exchange;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guarded;
mod guest_body;
mod headers;
mod held;
mod http1_sender;
mod http2_answer;
mod http2_body;
mod http2_send;
mod http2_sender;
mod http2_upload;
mod incoming;
mod interim;
mod opening;
mod refusal;
mod request_filter;
mod response_filter;
mod send_error;
mod sender;
mod serve;
mod serve_http1;
mod serve_http2;
mod sides;
mod target;
mod tunnel;
mod tunnel_buffer;
mod upstream;
mod websocket;
mod worst;

pub(crate) use bridge::{bridge_opaque, bridge_plain, bridge_tls, deny_tls, nothing_at_stake};
pub(crate) use tunnel::{Duplex, carry_while_guest};
pub(crate) use upstream::Dialler;
