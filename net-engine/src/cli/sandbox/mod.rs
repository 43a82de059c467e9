//! The sandbox of `run`: a command in namespaces of its own, with one interface.
//!
//! Two processes stand between the engine and the command: the *keeper* enters the namespaces
//! and waits; *init* is process 1 inside, mounts what the command needs to see and reaps; the
//! command is its child, without capabilities. When any of them dies, the others die too.
//!
//! Keeper and init are forks of the engine and hold in memory what it held: neither is dumpable,
//! from the fork to the end, so that nobody reads it.

mod command;
mod covers;
mod kernel_files;
mod mount_attributes;
mod mounts;
mod namespaces;
mod netlink;
mod process;
mod setup_error;
mod user_namespace;

use std::ffi::{CString, OsString};
use std::path::PathBuf;

use crate::core::GuestAddresses;

pub(crate) use covers::Cover;
pub(crate) use process::{Sandbox, spawn, spawn_aside};
pub(crate) use user_namespace::make as make_user_namespace;

/// How frames reach the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkKind {
    /// A TAP interface.
    Tap,
    /// A veth pair with a packet socket.
    Packet,
}

/// What a sandbox is made of.
pub(crate) struct SandboxPlan {
    /// `None`: TAP where it can be opened, else a packet socket.
    pub(crate) link: Option<LinkKind>,
    pub(crate) addresses: GuestAddresses,
    /// Whether the interface has them before the command starts; else it is up and has its MAC.
    pub(crate) is_configured: bool,
    pub(crate) mtu: u16,
    /// Whether a terminal controls the engine, whose foreground is its process group.
    pub(crate) has_terminal: bool,
    /// The command and its arguments; not empty.
    pub(crate) command: Vec<CString>,
    /// The command's whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// What stands in place of `/etc/resolv.conf`.
    pub(crate) resolv_conf: PathBuf,
    /// What stands in place of the system's certificate bundles, where something does.
    pub(crate) ca_bundle: Option<PathBuf>,
    /// What the command must not read.
    pub(crate) covers: Vec<Cover>,
    /// An empty file that stands in place of those that are files.
    pub(crate) empty: PathBuf,
    /// An empty directory that stands in place of the others.
    pub(crate) empty_directory: PathBuf,
}
