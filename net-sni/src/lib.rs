//! From the first bytes of a stream to a ClientHello and its server_name.
//!
//! [`classify`] tells TLS, HTTP and SSH apart by as few bytes as possible; [`sniff`] reads the
//! ClientHello (RFC 8446, section 4.1.2) out of TLS records, however they were cut. Both take the
//! stream from its first byte and are asked again with a longer prefix while they say
//! [`Status::Partial`]. A verdict never changes with more bytes.
//!
//! The crate does not decide anything, decrypts nothing, allocates nothing, and depends on nothing
//! by default. Feature `core` adds conversions to `net_core::HostName`.
//!
//! **Trust.** Every byte is hostile. No input panics; work is linear in its length.
//!
//! ```
//! use net_sni::{FirstFlight, Status, classify};
//!
//! assert_eq!(classify(b"GET / HTTP/1.1\r\n"), Status::Complete(FirstFlight::Http1));
//! assert_eq!(classify(&[0x16, 3]), Status::Partial { at_least: 3 });
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::as_conversions)]

#[cfg(test)]
extern crate std;

mod classify;
mod client_hello;
mod error;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
mod handshake;
mod reader;
#[cfg(test)]
mod tests;

pub use classify::{FirstFlight, classify};
pub use client_hello::{Alpn, ClientHello, NameError, U16List};
pub use error::ParseError;
pub use handshake::{MAX_HELLO_BYTES, sniff};

/// What a prefix of a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Status<T> {
    /// Everything: a longer prefix shows the same.
    Complete(T),
    /// Not enough: ask again with at least this many bytes from the start of the stream.
    Partial {
        /// Bytes, counted from the start of the stream.
        at_least: usize,
    },
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
