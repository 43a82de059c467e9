use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that bodies of one guest may hold at one time.
#[derive(Clone)]
pub(crate) struct HeldBytes {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl HeldBytes {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: Arc::default(), max }
    }

    /// Room for `bytes`, given back when it and what was put there is dropped.
    pub(crate) fn take(&self, bytes: usize) -> Option<Room> {
        // One thread takes; only giving back may happen elsewhere.
        let fits = self.used.load(Ordering::Relaxed).checked_add(bytes).is_some_and(|used| used <= self.max);
        fits.then(|| {
            self.used.fetch_add(bytes, Ordering::Relaxed);
            Room { used: Arc::clone(&self.used), bytes }
        })
    }
}

/// See [`HeldBytes::take`].
pub(crate) struct Room {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
