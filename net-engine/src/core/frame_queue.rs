use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::link::FrameMeta;

/// A frame on its way to the guest.
#[derive(Debug)]
pub struct QueuedFrame {
    /// Its virtio-net metadata.
    pub meta: FrameMeta,
    buffer: Vec<u8>,
    len: usize,
}

impl QueuedFrame {
    /// Packets the link makes of it.
    pub(crate) fn packets(&self) -> usize {
        packets(&self.meta, self.len)
    }

    /// The frame from its Ethernet header on.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// Packets a frame of `len` bytes is cut into.
pub(crate) fn packets(meta: &FrameMeta, len: usize) -> usize {
    meta.segmentation.map_or(1, |cut| {
        let payload = len.saturating_sub(cut.header_bytes.into());
        payload.div_ceil(usize::from(cut.size).max(1)).max(1)
    })
}

/// Frames that wait for the link: of streams at most `capacity`, and of datagrams a few more.
///
/// When it is full, sockets are not asked for more: nothing is dropped and nothing grows. The
/// buffers are reused, so that a frame costs no allocation once the queue is warm; those that were not
/// needed for a while are given back.
#[derive(Debug)]
pub(crate) struct FrameQueue {
    capacity: usize,
    /// What may wait besides the frame that is beyond it: at most [`MAX_BYTES`], less on links that are slow.
    max_bytes: usize,
    bytes: usize,
    waiting: VecDeque<QueuedFrame>,
    /// What the last frame that waits holds, where others may join it.
    tail: Option<Datagrams>,
    spare: Vec<Vec<u8>>,
    /// How many of `spare` were not needed since `trimmed`.
    untouched: usize,
    trimmed: Instant,
}

/// Datagrams that share a frame, or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagrams {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// Payload of each but for the last, which may be shorter.
    pub(crate) piece_bytes: usize,
    pub(crate) count: usize,
}

/// What may wait of bytes. The link copies a frame right after it was written here: a queue of 32 frames of 64 KiB
/// would be as large as the second cache of most processors, and be read from behind it.
const MAX_BYTES: usize = 512 << 10;

/// What datagrams that come together may fill beyond the point where no more are asked for.
const BATCH_FRAMES: usize = 256;

/// How long a buffer may lie unneeded. Bursts differ in size from one millisecond to the next, and a
/// buffer that is given back and taken again has to be paged in anew.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

impl FrameQueue {
    pub(crate) fn new(capacity: usize, now: Instant) -> Self {
        let (waiting, spare) = (VecDeque::new(), Vec::new());
        let (capacity, max_bytes) = (capacity.max(1), MAX_BYTES);
        Self { capacity, max_bytes, bytes: 0, waiting, tail: None, spare, untouched: 0, trimmed: now }
    }

    /// Bounds what waits by fewer bytes: on a slow link that is time.
    pub(crate) fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes.clamp(1, MAX_BYTES);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.capacity || self.bytes >= self.max_bytes
    }

    /// Whether datagrams should be asked for: beyond what streams may fill, or they would leave nothing to
    /// datagrams, which nobody sends again.
    pub(crate) fn has_room_for_datagrams(&self) -> bool {
        self.waiting.len() < 2 * self.capacity && self.bytes / 2 < self.max_bytes
    }

    /// Whether one more may come in, which may be many fragments: those that were asked for come several
    /// at a time.
    pub(crate) fn takes_datagram(&self) -> bool {
        self.waiting.len() < 2 * self.capacity + BATCH_FRAMES
    }

    /// Appends a frame of `len` bytes that `fill` writes; `fill` returns what it computed.
    ///
    /// The slice holds old bytes: `fill` writes all of it.
    pub(crate) fn push<R>(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> (FrameMeta, R)) -> R {
        let mut buffer = self.spare.pop().unwrap_or_default();
        self.untouched = self.untouched.min(self.spare.len());
        // Buffers never shrink, so only growth is zeroed and a warm queue writes each byte once.
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let (meta, result) = fill(&mut buffer[..len]);
        self.tail = None;
        self.waiting.push_back(QueuedFrame { meta, buffer, len });
        self.bytes += len;
        result
    }

    /// What the last frame holds, where others may join it: said of it by [`let_join`](Self::let_join), and true until
    /// it has left or another is behind it.
    pub(crate) fn tail(&self) -> Option<Datagrams> {
        self.tail
    }

    /// Lets others join the last frame, or no more.
    pub(crate) fn let_join(&mut self, tail: Option<Datagrams>) {
        self.tail = tail;
    }

    /// Makes the last frame longer by what `fill` writes behind the bytes it has; `fill` sees the whole.
    pub(crate) fn extend_last(&mut self, more: usize, fill: impl FnOnce(&mut [u8]) -> FrameMeta) {
        let Some(frame) = self.waiting.back_mut() else { return };
        let len = frame.len + more;
        if frame.buffer.len() < len {
            frame.buffer.resize(len, 0);
        }
        frame.meta = fill(&mut frame.buffer[..len]);
        frame.len = len;
        self.bytes += more;
    }

    /// Gives back the buffers that were not needed for a while.
    pub(crate) fn trim(&mut self, now: Instant) {
        if now.saturating_duration_since(self.trimmed) >= TRIM_INTERVAL {
            self.spare.truncate(self.spare.len().saturating_sub(self.untouched));
            self.untouched = self.spare.len();
            self.trimmed = now;
        }
    }

    pub(crate) fn front(&self) -> Option<&QueuedFrame> {
        self.waiting.front()
    }

    /// Removes the front frame; its length in bytes.
    pub(crate) fn pop(&mut self) -> Option<usize> {
        let frame = self.waiting.pop_front()?;
        self.bytes -= frame.len;
        if self.waiting.is_empty() {
            self.tail = None;
        }
        self.spare.push(frame.buffer);
        Some(frame.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_are_bounded_by_number_and_large_ones_by_bytes() {
        const CAPACITY: usize = 32;
        #[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
        let now = Instant::now();
        let fills = |frame_bytes: usize, slow: Option<usize>| {
            let mut queue = FrameQueue::new(CAPACITY, now);
            if let Some(max_bytes) = slow {
                queue.set_max_bytes(max_bytes);
            }
            let mut frames = 0;
            while !queue.is_full() {
                queue.push(frame_bytes, |_| (FrameMeta::default(), ()));
                frames += 1;
            }
            frames
        };
        assert_eq!(fills(1_514, None), CAPACITY);
        assert_eq!(fills(64 << 10, None), MAX_BYTES / (64 << 10));
        // A link that is told to be fast, or to have no bound, holds no more.
        assert_eq!(fills(64 << 10, Some(usize::MAX)), MAX_BYTES / (64 << 10));
        assert_eq!(fills(64 << 10, Some(100_000)), 2);
        assert_eq!(fills(64 << 10, Some(0)), 1);
    }

    #[test]
    fn buffers_are_kept_while_bursts_need_them() {
        #[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
        let mut now = Instant::now();
        let mut queue = FrameQueue::new(4, now);
        let mut burst = |frames: usize| {
            for _ in 0..frames {
                queue.push(100, |_| (FrameMeta::default(), ()));
            }
            while queue.pop().is_some() {}
            now += TRIM_INTERVAL / 2;
            queue.trim(now);
            queue.spare.len()
        };
        // Large and small bursts within one interval keep what the large ones need.
        assert_eq!([4, 1, 4, 1, 4, 1].map(&mut burst), [4; 6]);
        assert_eq!([1, 1, 1, 1].map(burst), [4, 1, 1, 1]);
    }
}
