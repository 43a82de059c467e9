//! Mint and verify: the interception authority, its leaves, and both rustls configurations.
//!
//! [`Authority`] signs a certificate for whatever name a guest connects to; [`guest_config`] shows
//! it to the guest. [`upstream_config`] verifies the real server against [`UpstreamTrust`]. Where
//! the real server's certificate is bad, [`FaultMirror`] makes one with the same fault, so that
//! the guest's own verifier says what is wrong.
//!
//! The crate reads no files, opens no sockets and keeps no clock: PEM goes in and out, `now` is an
//! argument. Keys and serials are drawn from the crypto provider, aws-lc-rs.
//!
//! **Trust.** Certificates and keys brought by the owner are parsed strictly; names come from
//! guests and are [`net_core::HostName`]s already.
//!
//! ```
//! use std::time::SystemTime;
//! use net_tls::{Authority, AuthorityParams, LeafSubject};
//!
//! # #[allow(clippy::disallowed_methods)]
//! let now = SystemTime::now();
//! let authority = Authority::generate(&AuthorityParams::default(), now)?;
//! let leaf = authority.mint(&LeafSubject::Name("example.com".parse()?), now)?;
//! let key = leaf.certified_key()?;
//! assert_eq!(key.cert.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod alpn;
mod alpn_memory;
mod authority;
mod authority_certificate;
mod authority_error;
mod authority_key;
mod client_identity;
mod clock;
mod fatal_alert;
mod fault_mirror;
mod fifo_map;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
mod guest_config;
mod leaf;
mod leaf_cache;
mod name_constraints;
mod provider;
mod spki_pin;
mod trust_kit;
mod upstream_config;
mod upstream_sessions;
mod upstream_trust;
mod upstream_verifier;

pub use alpn::{Alpn, AlpnOffer};
pub use alpn_memory::{AlpnMemory, AlpnQuestion};
pub use authority::{Authority, AuthorityParams};
pub use authority_certificate::AuthorityCertificate;
pub use authority_error::AuthorityError;
pub use client_identity::{ClientIdentity, ClientIdentityError};
pub use clock::system_clock;
pub use fatal_alert::fatal_alert;
pub use fault_mirror::{FaultMirror, UpstreamFault};
pub use guest_config::guest_config;
pub use leaf::{Leaf, LeafSubject, MintError};
pub use leaf_cache::LeafCache;
pub use name_constraints::{MAX_SUBTREES, NameConstraints};
pub use spki_pin::{SpkiPin, SpkiPinError};
pub use trust_kit::{
    CaFileError, KEY_STORE_PASSWORD, KeyStoreError, TRUST_VARIABLES, TrustFile, TrustVariable, bundle,
    key_store, parse_ca_pem,
};
pub use upstream_config::upstream_config;
pub use upstream_trust::UpstreamTrust;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
