//! `bench engine`: a guest's load through our engine, and through its peers beside it.
//!
//! Two namespaces stand for a host and the network behind it (`network`); each *system* (`system`)
//! connects an agent (`crate::load`) to them in its own way and is measured on each *axis* (`axis`)
//! by orders to that agent (`running`) and by what the kernel knows of the system's process
//! (`usage`). What opens TLS, and TLS itself, are systems of their own (`tls`). The systems take turns, so that what the machine does meanwhile hits all alike.

mod axis;
mod guests;
mod launch;
mod machine;
mod mitmproxy;
mod network;
mod quiet;
mod ratio;
mod report;
mod running;
mod samples;
mod sampling;
mod schedule;
mod session;
mod system;
mod tls;
mod usage;

pub(crate) use axis::Axis;
pub(crate) use machine::Machine;
pub(crate) use ratio::Ratio;
pub(crate) use report::{Absent, Figure, Findings, number};
pub(crate) use schedule::{Plan, run};
pub(crate) use system::System;
pub(crate) use tls::System as TlsSystem;
