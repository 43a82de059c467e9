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
//! let binding = Binding {
//!     env: "TOKEN".into(),
//!     placeholder: placeholder.clone(),
//!     value: SecretValue::new(b"s3cret-value".to_vec()),
//!     hosts: vec!["api.example.com".parse()?],
//! };
//! let secrets = SecretSet::compile(vec![binding])?;
//! let host = "api.example.com".parse()?;
//! let to = Destination { host: Some(&host), is_verified: true };
//! let value = format!("Bearer {placeholder}");
//! let replaced = secrets.substitute_header(&to, "authorization", value.as_bytes())?;
//! assert_eq!(replaced.as_deref(), Some(&b"Bearer s3cret-value".to_vec()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod binding;
mod detector;
mod echoes;
mod forms;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
mod json;
mod levels;
mod patterns;
mod percent;
mod placeholder;
mod prefilter;
mod scrub;
mod scrubber;
mod set;
mod source;
#[cfg(test)]
mod tests;
mod value;
mod violation;

pub use binding::{Binding, Destination};
pub use detector::Detector;
pub use placeholder::{MARKER, Placeholder, PlaceholderError};
pub use scrubber::Scrubber;
pub use set::{CompileError, SecretSet};
pub use source::{SecretSource, SecretSpec, SourceError};
pub use value::SecretValue;
pub use violation::{Violation, ViolationKind};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
