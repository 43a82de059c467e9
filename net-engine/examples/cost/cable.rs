//! The in-process pair, with a bell: the engine sees what the guest has sent when it is rung.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use net_engine::link::{self, FrameMeta, Link, LinkCapabilities, PairGuest, PairLink, Received};

/// Frames of one direction: more than any round has.
const CAPACITY: usize = 256;

/// Makes the cable: the engine's end, and the guest's.
pub(crate) fn cable(capabilities: LinkCapabilities) -> (BelledLink, CableGuest) {
    let (link, guest) = link::pair(capabilities, CAPACITY);
    let bell = Bell::default();
    (BelledLink { link, bell: bell.clone() }, CableGuest { guest, bell })
}

/// Who is to be told that frames wait.
#[derive(Clone, Default)]
struct Bell(Arc<Mutex<Option<Waker>>>);

impl Bell {
    fn set(&self, waker: Option<Waker>) -> Option<Waker> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), waker)
    }
}

/// The engine's end. The pair alone would wake the engine at the first of several frames, and how
/// many it then finds would be a race.
pub(crate) struct BelledLink {
    link: PairLink,
    bell: Bell,
}

impl Link for BelledLink {
    fn capabilities(&self) -> LinkCapabilities {
        self.link.capabilities()
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        let received = self.link.poll_receive(&mut Context::from_waker(Waker::noop()), buffer);
        if received.is_pending() {
            self.bell.set(Some(context.waker().clone()));
        }
        received
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        meta: &FrameMeta,
        frame: &[u8],
    ) -> Poll<io::Result<()>> {
        self.link.poll_send(context, meta, frame)
    }
}

/// The guest's end.
pub(crate) struct CableGuest {
    guest: PairGuest,
    bell: Bell,
}

impl CableGuest {
    /// Puts a frame on the cable; nobody is told.
    pub(crate) fn send(&mut self, meta: &FrameMeta, frame: &[u8]) -> io::Result<()> {
        match self.guest.poll_send(&mut Context::from_waker(Waker::noop()), meta, frame) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// Tells the engine of all that was sent.
    pub(crate) fn ring(&self) {
        if let Some(waker) = self.bell.set(None) {
            waker.wake();
        }
    }

    /// Takes the next frame, if there is one.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        match self.guest.poll_receive(&mut Context::from_waker(Waker::noop()), buffer) {
            Poll::Ready(received) => received.map(Some),
            Poll::Pending => Ok(None),
        }
    }
}
