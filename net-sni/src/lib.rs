//! From the first bytes of a stream, or the first datagrams of a QUIC flow, to a ClientHello and
//! its server_name.
//!
//! [`classify`] tells TLS, HTTP and SSH apart by as few bytes as possible. [`sniff`] reads the
//! ClientHello (RFC 8446, section 4.1.2) out of a prefix of the stream and borrows from it.
//! [`Sniffer`] takes the stream in pieces, joins what is spread over records, and borrows from a
//! buffer of the caller. With feature `quic`, `QuicSniffer` does the same for datagrams.
//!
//! The crate does not decide anything, opens nothing but QUIC Initial packets (whose keys are
//! public), allocates nothing, and depends on nothing by default. Feature `core` adds conversions
//! to `net_core::HostName`, `fingerprint` adds JA4, `quic` adds QUIC versions 1 and 2.
//!
//! **Trust.** Every byte is hostile. No input panics; work is linear in its length; memory is
//! what the caller lends. Truncated, malformed, not TLS and without a name are four different
//! answers, and none but the first changes with more bytes.
//!
//! ```
//! use net_sni::{FirstFlight, MAX_HELLO_BYTES, ParseError, Sniffer, Status, classify, sniff};
//!
//! assert_eq!(classify(b"GET / HTTP/1.1\r\n"), Status::Complete(FirstFlight::Http1));
//! assert_eq!(sniff(b"GET / HTTP/1.1\r\n"), Err(ParseError::NotTls));
//! assert_eq!(sniff(&[22, 3, 1]), Ok(Status::Partial { at_least: 5 }));
//!
//! let mut sniffer = Sniffer::new(vec![0; MAX_HELLO_BYTES]);
//! assert_eq!(sniffer.handle(&[22, 3, 1]), Ok(Status::Partial { at_least: 5 }));
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::as_conversions)]

#[cfg(any(test, fuzzing))]
extern crate std;

mod classify;
mod client_hello;
mod error;
mod extension;
#[cfg(feature = "fingerprint")]
mod fingerprint;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
mod joiner;
mod list;
mod named_group;
#[cfg(feature = "quic")]
mod quic;
mod reader;
mod record;
mod server_name;
mod sniff;
mod sniffer;
mod status;
#[cfg(test)]
mod tests;

pub use classify::{FirstFlight, classify};
pub use client_hello::{ClientHello, Ech};
pub use error::{MalformedExtension, ParseError};
pub use extension::{Extension, Extensions};
#[cfg(feature = "fingerprint")]
pub use fingerprint::{Ja4, Transport};
pub use list::{Alpn, KeyShare, KeyShares, U16List, is_grease};
pub use named_group::NamedGroup;
#[cfg(feature = "quic")]
pub use quic::{InitialIds, QUIC_BUFFER_BYTES, QuicError, QuicSniffer};
pub use server_name::NameError;
pub use sniff::sniff;
pub use sniffer::{Fragments, MAX_HELLO_BYTES, Sniffer};
pub use status::Status;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
