//! An allocator for programs that hold secrets.
#![allow(unsafe_code, reason = "an allocator is unsafe to be; each block says why it is sound")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::explicit_bzero;

static IS_WIPING: AtomicBool = AtomicBool::new(true);

/// The system's allocator, which wipes what it is given back: libraries free buffers that had values in them. For
/// `#[global_allocator]`.
pub struct WipingAllocator;

impl WipingAllocator {
    /// Wipes nothing any more: there is nothing to hide.
    #[cfg(feature = "cli")]
    pub(crate) fn stop() {
        IS_WIPING.store(false, Ordering::Relaxed);
    }

    fn is_wiping() -> bool {
        IS_WIPING.load(Ordering::Relaxed)
    }
}

// SAFETY: memory is the system allocator's, by the layouts it was asked for with.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if Self::is_wiping() {
            // SAFETY: so many bytes are the caller's, who needs them no more. Not a plain write: what goes before a
            // free may be left out.
            unsafe { explicit_bzero(memory.cast(), layout.size()) };
        }
        // SAFETY: as the caller says.
        unsafe { System.dealloc(memory, layout) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !Self::is_wiping() {
            // SAFETY: as the caller says.
            return unsafe { System.realloc(memory, layout, new_size) };
        }
        // SAFETY: the caller sees to it that the size is not 0 and does not overflow with the alignment, which is one
        // already.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both are as long at least, and the new one is nobody's yet.
            unsafe { new.copy_from_nonoverlapping(memory, layout.size().min(new_size)) };
            // SAFETY: the old one is the caller's, who needs it no more.
            unsafe { self.dealloc(memory, layout) };
        }
        new
    }
}
