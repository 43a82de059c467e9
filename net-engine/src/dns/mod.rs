//! DNS for the guest: every query, to whatever resolver, is answered by us.
//!
//! Names are decided by the policy, exchanged with resolvers we chose, and the addresses that
//! come back are pinned to the name. The wire format and its rules are `net_policy::dns`; this
//! is the exchange.

mod cache;
mod lookup;
mod service;
mod stream;
mod upstream;

pub(crate) use lookup::Lookups;
pub(crate) use service::answer_datagram;
pub(crate) use stream::serve_stream;
