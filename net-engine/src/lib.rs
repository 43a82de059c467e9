//! A sandbox's network in user space.

#![deny(unsafe_code)]

mod buffer_pool;
pub mod core;
pub mod link;
