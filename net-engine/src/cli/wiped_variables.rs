//! Secrets in the environment this process was started with.
#![allow(unsafe_code, reason = "the strings the kernel has put there have no safe way to be changed")]

use std::ffi::CString;

use nix::libc::{explicit_bzero, getenv, strlen};

/// Wipes the values of variables where they stand: they are empty from then on.
///
/// To be called while there is one thread, and nobody has a value as a string of C.
pub(super) fn wipe<'n>(names: impl IntoIterator<Item = &'n String>) {
    for name in names {
        let Ok(name) = CString::new(name.as_str()) else { continue };
        // SAFETY: one thread alone reads the environment, and it is here.
        let value = unsafe { getenv(name.as_ptr()) };
        if !value.is_null() {
            // SAFETY: a string that ends with NUL, in memory that is this process's to write to: the kernel, or
            // setenv, has put it there.
            unsafe { explicit_bzero(value.cast(), strlen(value)) };
        }
    }
}
