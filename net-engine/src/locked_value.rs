//! Memory for values of secrets that is not written to swap.
#![allow(unsafe_code, reason = "a mapping is lent as a slice; each block says why that holds")]

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::slice;

use net_secrets::ValueStore;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
use zeroize::Zeroize as _;

/// One value in pages of its own: locked where the system allows it (`RLIMIT_MEMLOCK`), zeroed before they go.
///
/// A process that is forked has zeros in their place, and nothing locked.
pub struct LockedValue {
    /// `bytes` from here are a mapping of this value's own, initialised and never moved.
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
    /// At most `bytes`: less for an empty value alone.
    length: usize,
    is_locked: bool,
}

// SAFETY: a mapping is plain memory owned by this value; nothing ties it to a thread.
unsafe impl Send for LockedValue {}
// SAFETY: nothing writes to it while it is shared.
unsafe impl Sync for LockedValue {}

impl LockedValue {
    /// Copies a value; the caller wipes what it was read into. A whole page is taken, however short the value.
    ///
    /// # Errors
    /// The system gives no memory. That it locks none is no error: see [`ValueStore::is_locked`].
    pub fn new(value: &[u8]) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(value.len()).unwrap_or(NonZeroUsize::MIN);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE)? };
        // SAFETY: the range is our mapping, which holds nothing yet. Kernels that know no such advice (before 4.14)
        // leave it as it is.
        let _ = unsafe { madvise(start, bytes.get(), MmapAdvise::MADV_WIPEONFORK) };
        // SAFETY: the range is our mapping.
        let is_locked = unsafe { mlock(start, bytes.get()) }.is_ok();
        // SAFETY: the mapping has room for all of `value`, and overlaps nothing that existed before.
        unsafe { start.cast::<u8>().copy_from_nonoverlapping(NonNull::from(value).cast(), value.len()) };
        Ok(Self { start, bytes, length: value.len(), is_locked })
    }
}

impl ValueStore for LockedValue {
    fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes were written, and the mapping stays for as long as `self` does.
        unsafe { slice::from_raw_parts(self.start.cast().as_ptr(), self.length) }
    }

    fn is_locked(&self) -> bool {
        self.is_locked
    }
}

impl Drop for LockedValue {
    fn drop(&mut self) {
        // SAFETY: so many bytes are initialised, and no slice of them is alive.
        unsafe { slice::from_raw_parts_mut(self.start.cast::<u8>().as_ptr(), self.length) }.zeroize();
        // SAFETY: the range is exactly our mapping, and no slice of it is alive. It ends the lock too.
        let _ = unsafe { munmap(self.start, self.bytes.get()) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::*;

    /// What the kernel says of the mapping an address is in.
    fn flags(address: usize) -> String {
        let maps = fs::read_to_string("/proc/self/smaps").expect("procfs");
        let mut is_it = false;
        for line in maps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let number = |text: &str| usize::from_str_radix(text, 16).ok();
            if let Some((Some(from), Some(to))) = range.map(|(from, to)| (number(from), number(to))) {
                is_it = (from..to).contains(&address);
            } else if is_it && let Some(flags) = line.strip_prefix("VmFlags:") {
                return format!("{flags} ");
            }
        }
        String::new()
    }

    #[test]
    fn a_value_is_locked_where_that_is_allowed_and_works_where_it_is_not() {
        for value in [&b"a value"[..], b"", &[7; 64 << 10]] {
            let locked = LockedValue::new(value).expect("memory");
            assert_eq!(locked.bytes(), value);
            let flags = flags(locked.start.as_ptr().addr());
            assert_eq!(flags.contains(" lo "), locked.is_locked(), "{flags}");
            assert!(flags.contains(" wf ") && !flags.contains(" dd "), "{flags}");
        }
        let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).expect("a limit");
        if soft >= 4096 {
            assert!(LockedValue::new(b"a value").expect("memory").is_locked());
        }
        // Root may lock however low the limit is, for as long as it has the capability.
        #[cfg(feature = "cli")]
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_IPC_LOCK)
            .expect("it can be given up");
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, hard).expect("a lower limit");
        let unlocked = LockedValue::new(b"a value").expect("memory");
        setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).expect("the limit it was");
        assert_eq!(unlocked.bytes(), b"a value");
        if cfg!(feature = "cli") {
            assert!(!unlocked.is_locked() && !flags(unlocked.start.as_ptr().addr()).contains(" lo "));
        }
    }
}
