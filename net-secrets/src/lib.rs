//! Placeholder to secret: bindings, detection and substitution, without I/O.
//!
//! The guest holds a [`Placeholder`]; the real value is a [`SecretValue`]; the [`Binding`] that
//! joins them says towards which hosts. A [`SecretSet`] replaces placeholders in header values
//! and Basic credentials of requests to those hosts, finds them everywhere else (raw, in base64 at
//! every alignment, in hex, percent-encoded, with the escapes of JSON), and turns values that come
//! back into placeholders.
//!
//! The crate reads no files and runs no commands: a [`SecretSource`] is parsed here and read by
//! the caller.
//!
//! **Trust.** Requests and responses are hostile. Work per byte does not depend on the number of
//! secrets; memory of a stream is bounded by the longest form of one and, where it holds escapes, by
//! three blocks of 16 KiB.
//!
//! ```
//! use net_secrets::{Binding, Destination, Placeholder, SecretSet, SecretValue};
//!
//! let placeholder = Placeholder::generate([7; 16]);
//! let value = SecretValue::new(b"s3cret-value".to_vec());
//! let hosts = vec!["api.example.com".parse()?];
//! let binding = Binding::new("TOKEN", placeholder.clone(), value, hosts);
//! let secrets = SecretSet::compile(vec![binding], [7; 8])?;
//! let host = "api.example.com".parse()?;
//! let to = Destination { host: Some(&host), port: 443, is_verified: true };
//! let value = format!("Bearer {placeholder}");
//! let replaced = secrets.substitute_header(&to, "authorization", value.as_bytes())?;
//! assert_eq!(replaced.as_deref(), Some(&b"Bearer s3cret-value".to_vec()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod binding;
mod body;
mod compiled;
mod credential;
mod detector;
mod digest;
mod echoes;
mod escape;
mod finder;
mod format;
mod forms;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
mod header;
mod hits;
mod index;
mod json;
mod levels;
mod media;
mod patterns;
mod percent;
mod place;
mod placeholder;
mod prefilter;
mod sample;
mod scrub;
mod scrubber;
mod set;
mod skip;
mod source;
mod stage;
mod target;
#[cfg(test)]
mod tests;
mod unit;
mod value;
mod view;
mod violation;
mod websocket;
mod wiped;

pub use binding::{Binding, Destination, Hosts};
pub use body::{BodyRewriter, MAX_GROWN_BYTES};
pub use credential::{CredentialVerdict, ForeignCredentials};
pub use detector::Detector;
pub use digest::{DigestError, is_digest, renew_digest};
pub use format::{FormatError, PlaceholderFormat};
pub use media::{BodyTypes, MediaPattern, MediaPatternError};
pub use place::{HeaderNames, Places};
pub use placeholder::{MARKER, Placeholder, PlaceholderError};
pub use scrubber::Scrubber;
pub use set::{CompileError, SecretSet};
pub use source::{SecretSource, SecretSpec, SourceError};
pub use value::{SecretValue, ValueStore};
pub use violation::{Action, Violation, ViolationCount, ViolationKind};
pub use websocket::{FrameError, WebSocketError, WebSocketRewriter, WebSocketScrubber};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
