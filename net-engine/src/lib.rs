//! A sandbox's network in user space: a guest's Ethernet frames in, decided connections out.
//!
//! [`Engine`] carries guests on worker threads; [`Engine::attach`] takes a guest's [`link`] and its
//! [`GuestConfig`] and gives a [`Guest`] to watch, change and stop. [`core`] is the sans-IO gateway
//! underneath, usable alone.
//!
//! **What it does not do.** It gives no isolation but that of the network, and it does not look into
//! QUIC further than to the name it shows.
//!
//! **Trust.** The guest and upstream are hostile; the configuration is the owner's. `SECURITY.md`
//! lists the boundaries.
//!
//! ```no_run
//! use net_engine::{Engine, GuestConfig, link};
//! use net_policy::{Action, Policy, parse_target};
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().build()?;
//! let rule = parse_target("example.com:443")?.into_rule(Action::Allow);
//! let config = GuestConfig { policy: Policy::new(vec![rule]), ..GuestConfig::default() };
//! let (engine_end, guest_end) = link::pair(link::LinkCapabilities { mtu: 1500, offload: false }, 64);
//! let guest = engine.attach(0, Box::new(engine_end), config).await?;
//! // … hand `guest_end` to the VMM …
//! guest.stop().await;
//! # drop(guest_end);
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

mod buffer_pool;
#[cfg(feature = "cli")]
pub mod cli;
pub mod core;
mod dns;
mod engine;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, doc(hidden))]
pub mod fuzzing;
mod guest;
mod http;
pub mod link;
mod locked_value;
mod proxy;
mod shell;
mod sys;
mod tls;
mod wiping_allocator;

pub use engine::{AttachError, BuildError, Engine, EngineBuilder, Guest};
pub use guest::{
    DEFAULT_HOST_ALIAS, Denial, DeniedRequest, DialError, DnsTransport, Event, GuestAlert, GuestConfig,
    HostInterfaces, HostPortError, HostPorts, HostTarget, HostTrust, HostTrustError, InboundError,
    InterceptError, Interception, LeakPlace, Nameserver, NameserverError, Nameservers, ProxyProtocol,
    Publication, PublicationId, RawEchoSockets, RuleLabel, SwapError, Termination, TerminationHook,
    ViolationAction, ViolationReport,
};
pub use locked_value::LockedValue;
pub use proxy::{
    CredentialsError, Proxy, ProxyCredentials, ProxyError, ProxyListError, ProxyScheme, ProxyUrl,
    ProxyUrlError,
};
pub use wiping_allocator::WipingAllocator;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
