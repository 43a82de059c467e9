//! One guest: what its sessions share, its streams, and the words for what becomes of them.
//!
//! Nothing here knows TLS, HTTP or DNS as protocols, nor the tasks that drive them: those are above.
#![allow(clippy::disallowed_methods, reason = "the clock of the shell is read here")]

mod activity;
mod bound_rule;
mod config;
mod context;
mod denial;
mod denied_request;
mod dial;
mod event;
mod farewell;
mod fate;
mod flow_caps;
mod guest_stream;
mod held_bytes;
mod host_ports;
mod host_trust;
mod hosts;
mod http_version;
mod inbound;
mod inbound_error;
mod inner;
mod intercept_error;
mod intercepted_names;
mod nameservers;
mod new_names;
mod old_servers;
mod prefixed;
mod proof;
mod proxy_protocol;
mod publication;
mod raw_echoes;
mod shown_name;
mod stack;
mod stream_info;
mod swap_error;
mod tls_parts;
mod upstream_side;
mod violation_report;
mod virtual_flows;
mod way;

pub(crate) use activity::Activity;
pub(crate) use bound_rule::BoundRule;
pub use config::{
    DEFAULT_HOST_ALIAS, GuestConfig, Interception, Termination, TerminationHook, ViolationAction,
};
pub(crate) use context::{Context, DnsPlace, Stage};
pub use denial::{Denial, RuleLabel};
pub use denied_request::DeniedRequest;
pub use dial::DialError;
use dial::dial;
pub use event::Event;
pub(crate) use event::EventQueue;
pub(crate) use farewell::{ACCESS_DENIED, FAREWELL, fail, send_alert};
pub(crate) use fate::{Datagram, Opaque, Quic, Terms, Tls, Wait};
pub(crate) use flow_caps::{Capped, FlowCaps};
pub(crate) use guest_stream::GuestStream;
pub(crate) use held_bytes::{HeldBytes, Room};
pub use host_ports::{HostPortError, HostPorts, HostTarget};
pub use host_trust::{HostTrust, HostTrustError};
pub use hosts::HostInterfaces;
pub(crate) use hosts::Hosts;
pub(crate) use http_version::HttpVersion;
pub use inbound_error::InboundError;
pub(crate) use inner::{Inner, InnerProtocol, InnerTerms};
pub use intercept_error::{GuestAlert, InterceptError};
pub(crate) use intercepted_names::intercepted_names;
pub(crate) use nameservers::{DNS_OVER_TLS_PORT, DNS_PORT, Resolvers, answers_for_names};
pub use nameservers::{DnsTransport, Nameserver, NameserverError, Nameservers};
pub(crate) use new_names::Admission;
use new_names::NewNames;
use old_servers::OldServers;
pub(crate) use prefixed::Prefixed;
pub(crate) use proof::Proof;
pub use proxy_protocol::ProxyProtocol;
pub(crate) use publication::Listener;
pub use publication::{Publication, PublicationId};
pub use raw_echoes::RawEchoSockets;
pub(crate) use raw_echoes::open_raw;
pub(crate) use shown_name::ShownName;
pub(crate) use stack::Stack;
pub(crate) use stream_info::StreamInfo;
pub use swap_error::SwapError;
pub(crate) use tls_parts::TlsParts;
pub(crate) use upstream_side::UpstreamSide;
pub use violation_report::{LeakPlace, ViolationReport};
pub(crate) use virtual_flows::VirtualFlow;
use virtual_flows::{Far, VirtualFlows};
pub(crate) use way::dial_flow;

/// The clock of the shell.
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
