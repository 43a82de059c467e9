//! Proxies on the way to upstream: which there are, which one a connection takes, and what is said to it.
//!
//! What is said is `socks` and `connect`, values that are fed with what the proxy has sent; `dial` drives them over
//! a connection. Nothing here decides whether a connection may be: it was allowed before.
//!
//! **Trust.** A proxy is upstream: what it says is hostile, read within bounds, and shown to nobody.

mod connect;
mod credentials;
mod dial;
mod dialogue;
mod error;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod list;
mod server;
mod socks;
mod stream;
mod url;

pub(crate) use credentials::Secret;
pub use credentials::{CredentialsError, ProxyCredentials};
pub(crate) use dial::connect_tcp;
pub(crate) use dialogue::ProxyTarget;
pub use error::ProxyError;
#[cfg(any(test, fuzzing))]
pub(crate) use fuzzing::replies_are_read_in_any_pieces;
pub use list::ProxyListError;
pub(crate) use list::{Proxies, Route, Towards};
pub use server::Proxy;
pub(crate) use stream::UpstreamStream;
pub use url::{ProxyScheme, ProxyUrl, ProxyUrlError};
