//! The sans-IO gateway: frames and `now` in; frames, events and deadlines out.
//!
//! [`Gateway`] is the guest's whole network as a value. It opens no socket, reads no clock and
//! decides nothing: a SYN is held until the shell says what becomes of it. Read `gateway` first,
//! then `tcp_flow`.
#![deny(clippy::disallowed_methods)]

mod addresses;
mod arp;
mod autoconfiguration;
mod claims;
mod counters;
mod device;
#[cfg(not(any(test, fuzzing)))]
mod dhcp;
#[cfg(any(test, fuzzing))]
pub(crate) mod dhcp;
mod egress;
mod ethernet;
mod flow_io;
mod flow_table;
#[cfg(not(any(test, fuzzing)))]
mod fragments;
#[cfg(any(test, fuzzing))]
pub(crate) mod fragments;
mod frame_queue;
mod gateway;
mod icmp;
mod inbound;
mod ingress;
mod messages;
mod ndp;
mod passage;
mod port_table;
mod reassembled;
mod recency;
mod refusals;
mod router;
mod shaper;
mod shapers;
mod slots;
mod tcp_flow;
mod thinner;
mod tombstone;
mod udp;

pub use addresses::{AddressError, GuestAddresses, Ipv4Pair, Ipv6Pair, MacAddress};
pub use autoconfiguration::Autoconfiguration;
use claims::Claims;
pub use counters::{Counters, DropReason, UdpCounters};
pub use flow_table::FlowId;
pub use frame_queue::QueuedFrame;
pub(crate) use frame_queue::packets;
pub use gateway::{AcceptError, Gateway, GatewayConfig, Ingress};
pub(crate) use icmp::{ECHO_REPLIES, ECHO_REQUESTS, Echo, fill_checksum_v4, icmp_in_packet_v4};
pub use icmp::{IcmpError, Undelivery, Unreachable};
pub use inbound::ConnectError;
pub use passage::Passage;
pub(crate) use port_table::{Bounds, Ended, PortTable};
pub use reassembled::Reassembled;
pub(crate) use shaper::LinkShaper;
pub(crate) use shapers::{ShapedBy, Shapers};
pub use tcp_flow::{Refusal, StreamRead, StreamWrite};
pub(crate) use thinner::{Kind, Thinner};
