use std::collections::VecDeque;

use crate::link::FrameMeta;

/// Buffers kept for the next frames; a queue that ran fuller gives the rest back.
const MAX_SPARE: usize = 8;

/// A frame on its way to the guest.
#[derive(Debug)]
pub struct QueuedFrame {
    /// Its virtio-net metadata.
    pub meta: FrameMeta,
    buffer: Vec<u8>,
    len: usize,
}

impl QueuedFrame {
    /// The frame from its Ethernet header on.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// Frames that wait for the link, at most `capacity` of them.
///
/// When it is full, sockets are not asked for more: nothing is dropped and nothing grows. The
/// buffers are reused, so that a frame costs no allocation once the queue is warm.
#[derive(Debug)]
pub(crate) struct FrameQueue {
    capacity: usize,
    waiting: VecDeque<QueuedFrame>,
    spare: Vec<Vec<u8>>,
}

impl FrameQueue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), waiting: VecDeque::new(), spare: Vec::new() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.capacity
    }

    /// Appends a frame of `len` bytes that `fill` writes; `fill` returns what it computed.
    ///
    /// The slice holds old bytes: `fill` writes all of it.
    pub(crate) fn push<R>(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> (FrameMeta, R)) -> R {
        let mut buffer = self.spare.pop().unwrap_or_default();
        // Buffers never shrink, so only growth is zeroed and a warm queue writes each byte once.
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let (meta, result) = fill(&mut buffer[..len]);
        self.waiting.push_back(QueuedFrame { meta, buffer, len });
        result
    }

    pub(crate) fn front(&self) -> Option<&QueuedFrame> {
        self.waiting.front()
    }

    /// Removes the front frame; its length in bytes.
    pub(crate) fn pop(&mut self) -> Option<usize> {
        let frame = self.waiting.pop_front()?;
        if self.spare.len() < MAX_SPARE {
            self.spare.push(frame.buffer);
        }
        Some(frame.len)
    }
}
