//! A sandbox's network in user space.

#![deny(unsafe_code)]

pub mod link;
