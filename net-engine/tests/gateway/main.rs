//! The gateway against another TCP/IP stack, in virtual time: scenarios over a link that may lose,
//! reorder and damage frames, and frames no stack would send.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod autoconfiguration;
mod connections;
mod datagrams;
mod echo;
mod endings;
mod guest;
mod hostile;
mod inbound;
mod limits;
mod memory;
mod raw;
mod transfer;
mod wire;
mod world;
