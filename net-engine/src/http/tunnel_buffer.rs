use std::cell::RefCell;

use zeroize::Zeroize as _;

/// What is read before it is written, each way: some TLS records, which are then sent with one system call.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// Buffers a thread keeps for the next half that reads: as many as are in use at one time, mostly.
const MAX_SPARE: usize = 4;

thread_local! {
    /// All zero.
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// What was read on one way of a tunnel and is not yet written.
///
/// It may have values of secrets in it (messages of a WebSocket have), so what was in it is zeroed when it is
/// dropped; and the bytes are then kept: a stream that carries little has no use for 64 KiB zeroed anew.
pub(super) struct TunnelBuffer {
    bytes: Box<[u8]>,
    /// The most that was in it at one time.
    used: usize,
    /// Up to where it was read, at most `used`.
    filled: usize,
    /// Up to where it was written, at most `filled`.
    written: usize,
}

impl TunnelBuffer {
    /// An empty one.
    pub(super) fn take() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let bytes = spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into());
        Self { bytes, used: 0, filled: 0, written: 0 }
    }

    /// Where more is read into.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// Notes how much was read into the room.
    pub(super) fn note_filled(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.bytes.len());
        self.used = self.used.max(self.filled);
    }

    /// What was read and is not yet written.
    pub(super) fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.written..self.filled).unwrap_or_default()
    }

    /// Notes how much of that was written.
    pub(super) fn note_written(&mut self, count: usize) {
        self.written = (self.written + count).min(self.filled);
    }

    /// How much was read since it was empty.
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Makes it empty.
    pub(super) fn clear(&mut self) {
        (self.filled, self.written) = (0, 0);
    }
}

impl Drop for TunnelBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes[..self.used].zeroize();
        // Not where the thread has ended.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MAX_SPARE {
                spare.push(bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut TunnelBuffer, text: &[u8]) {
        buffer.room()[..text.len()].copy_from_slice(text);
        buffer.note_filled(text.len());
    }

    #[test]
    fn what_is_given_on_to_the_next_is_zero_and_little_is_kept() {
        let mut all: Vec<_> = (0..2 * MAX_SPARE).map(|_| TunnelBuffer::take()).collect();
        for buffer in &mut all {
            fill(buffer, b"a value that is long");
            buffer.note_written(4);
            assert_eq!(buffer.unwritten(), b"lue that is long".as_slice());
            buffer.clear();
            fill(buffer, b"and another");
        }
        drop(all);
        SPARE.with_borrow(|spare| {
            assert_eq!(spare.len(), MAX_SPARE);
            assert!(
                spare.iter().all(|bytes| bytes.len() == BUFFER_BYTES && bytes.iter().all(|byte| *byte == 0))
            );
        });
        assert_eq!(TunnelBuffer::take().len(), 0);
    }
}
