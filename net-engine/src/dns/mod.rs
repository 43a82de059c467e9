//! DNS for the guest: every query, to whatever resolver, is answered by us.
//!
//! Names are decided by the policy, exchanged with resolvers we chose, and the addresses that
//! come back are pinned to the name. The wire format and its rules are `net_policy::dns`; this
//! is the exchange.

/// Where DNS is asked for, over UDP and TCP (RFC 1035, section 4.2).
pub(crate) const DNS_PORT: u16 = 53;

mod nameservers;
mod service;
mod stream;
mod upstream;

pub(crate) use nameservers::Resolvers;
pub use nameservers::{NameserverError, Nameservers};
pub(crate) use service::answer_datagram;
pub(crate) use stream::serve_stream;
