//! TLS: an HTTP/1.1 server and its clients on rustls, and h2load beside nginx.
//!
//! One request is all there is: what is carried without being parsed and what is parsed bear the same
//! load. Whom a client trusts is told by `SSL_CERT_FILE`, as to any other program.

mod bulk;
mod client;
mod config;
mod flood;
mod h2;
mod handshake;
mod message;
mod request;
mod serve;
mod wide;

pub(super) use bulk::{down, up, up_chunked};
pub(super) use client::reach;
pub(super) use flood::run as flood;
pub(super) use h2::run as h2;
pub(super) use handshake::run as handshake;
pub(super) use request::run as request;
pub(crate) use serve::serve;

/// The name everybody asks for.
pub(crate) const NAME: &str = "tls.test";

/// Who signed the servers' certificate, by its common name.
pub(crate) const AUTHORITY: &str = "Bench Servers' CA";

/// Below it are names enough for a flood of them.
pub(crate) const FLOOD: &str = "flood.test";

/// Where [`serve()`] listens.
pub(crate) const PORT: u16 = 7443;

/// Where nginx speaks HTTP/2.
pub(crate) const HTTP2_PORT: u16 = 7444;
