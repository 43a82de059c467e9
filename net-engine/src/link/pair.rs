use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{FrameMeta, Link, LinkCapabilities, MAX_FRAME_BYTES, Received};

/// Makes a cable inside this process: the engine's end, and the guest's.
///
/// At most `capacity` frames wait in each direction; a sender that finds no room waits. The ends
/// may live on different threads. Dropping one cuts the cable for the other.
pub fn pair(capabilities: LinkCapabilities, capacity: usize) -> (PairLink, PairGuest) {
    let (up, down) = (Queue::new(capacity), Queue::new(capacity));
    let link = PairLink { capabilities, ends: Ends { from: Arc::clone(&up), to: Arc::clone(&down) } };
    (link, PairGuest(Ends { from: down, to: up }))
}

/// The engine's end of an in-process cable.
pub struct PairLink {
    capabilities: LinkCapabilities,
    ends: Ends,
}

/// The guest's end of an in-process cable.
pub struct PairGuest(Ends);

impl PairGuest {
    /// Takes the next frame from the engine into `buffer`, which holds [`MAX_FRAME_BYTES`].
    ///
    /// # Errors
    /// `BrokenPipe` when the engine's end is gone.
    pub fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        self.0.from.poll_pop(context, buffer)
    }

    /// Gives one frame to the engine. `Pending` means it was not taken: offer it again.
    ///
    /// # Errors
    /// `BrokenPipe` when the engine's end is gone, `InvalidInput` for a frame above
    /// [`MAX_FRAME_BYTES`].
    pub fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        meta: &FrameMeta,
        frame: &[u8],
    ) -> Poll<io::Result<()>> {
        self.0.to.poll_push(context, meta, frame)
    }
}

impl Link for PairLink {
    fn capabilities(&self) -> LinkCapabilities {
        self.capabilities
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        self.ends.from.poll_pop(context, buffer)
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        meta: &FrameMeta,
        frame: &[u8],
    ) -> Poll<io::Result<()>> {
        self.ends.to.poll_push(context, meta, frame)
    }
}

struct Ends {
    from: Arc<Queue>,
    to: Arc<Queue>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.from.cut();
        self.to.cut();
    }
}

/// One direction of the cable.
struct Queue {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<(FrameMeta, Vec<u8>)>,
    /// Buffers of frames that were taken.
    spare: Vec<Vec<u8>>,
    receiver: Option<Waker>,
    sender: Option<Waker>,
    is_cut: bool,
}

impl Queue {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity: capacity.max(1), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_push(&self, context: &mut Context<'_>, meta: &FrameMeta, frame: &[u8]) -> Poll<io::Result<()>> {
        if frame.len() > MAX_FRAME_BYTES {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        let mut state = self.lock();
        if state.is_cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.frames.len() >= self.capacity {
            state.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut bytes = state.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(frame);
        state.frames.push_back((*meta, bytes));
        let receiver = state.receiver.take();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_pop(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        let mut state = self.lock();
        let Some((meta, bytes)) = state.frames.pop_front() else {
            if state.is_cut {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            state.receiver = Some(context.waker().clone());
            return Poll::Pending;
        };
        let len = bytes.len();
        let copied = buffer.get_mut(..len).map(|room| room.copy_from_slice(&bytes));
        if state.spare.len() < self.capacity.min(8) {
            state.spare.push(bytes);
        }
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
        Poll::Ready(copied.map(|()| Received { len, meta }).ok_or_else(|| io::ErrorKind::InvalidInput.into()))
    }

    fn cut(&self) {
        let mut state = self.lock();
        state.is_cut = true;
        let wakers = [state.receiver.take(), state.sender.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABILITIES: LinkCapabilities = LinkCapabilities { mtu: 1500, offload: false };

    #[test]
    fn a_full_cable_refuses_and_loses_nothing() {
        let (mut link, mut guest) = pair(CAPABILITIES, 2);
        let mut context = Context::from_waker(Waker::noop());
        let meta = FrameMeta::default();
        for byte in 0..2 {
            assert!(guest.poll_send(&mut context, &meta, &[byte; 60]).is_ready());
        }
        assert!(guest.poll_send(&mut context, &meta, &[2; 60]).is_pending());
        let mut buffer = vec![0; MAX_FRAME_BYTES];
        for byte in 0..2 {
            let Poll::Ready(Ok(received)) = link.poll_receive(&mut context, &mut buffer) else {
                panic!("frame {byte} was lost");
            };
            assert_eq!(&buffer[..received.len], [byte; 60]);
        }
        assert!(link.poll_receive(&mut context, &mut buffer).is_pending());
        drop(guest);
        assert!(matches!(link.poll_receive(&mut context, &mut buffer), Poll::Ready(Err(_))));
        assert!(matches!(link.poll_send(&mut context, &meta, &[0; 60]), Poll::Ready(Err(_))));
    }
}
