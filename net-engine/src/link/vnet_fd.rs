use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::uio::{readv, writev};
use tokio::io::unix::AsyncFd;
use tokio::time::{Sleep, sleep};

use super::virtio_header::{self, HEADER_BYTES};
use super::{FrameMeta, Received};
use crate::sys;

/// How long a kernel without room for a frame is left alone: it announces no change.
const NO_ROOM: Duration = Duration::from_millis(1);

/// A descriptor that carries one frame behind a virtio-net header with each system call.
pub(crate) struct VnetFd {
    state: State,
    /// Set while the kernel has no room.
    pause: Option<Pin<Box<Sleep>>>,
}

enum State {
    /// Not polled yet: the reactor to register with is that of the thread that polls first.
    Idle(OwnedFd),
    Registered(AsyncFd<OwnedFd>),
    /// Registration failed.
    Failed,
}

impl State {
    fn registered(&mut self) -> io::Result<&AsyncFd<OwnedFd>> {
        if let Self::Idle(_) = self {
            let Self::Idle(descriptor) = std::mem::replace(self, Self::Failed) else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            *self = Self::Registered(sys::register(descriptor)?);
        }
        match self {
            Self::Registered(descriptor) => Ok(descriptor),
            Self::Idle(_) | Self::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl VnetFd {
    /// `descriptor` is non-blocking.
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self { state: State::Idle(descriptor), pause: None }
    }

    /// The descriptor, before the first poll.
    pub(crate) fn unregistered(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Idle(descriptor) => Some(descriptor.as_fd()),
            State::Registered(_) | State::Failed => None,
        }
    }

    /// The descriptor, registered or not.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Idle(descriptor) => Some(descriptor.as_fd()),
            State::Registered(descriptor) => Some(descriptor.get_ref().as_fd()),
            State::Failed => None,
        }
    }

    pub(crate) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        let descriptor = self.state.registered()?;
        loop {
            let mut ready = ready!(descriptor.poll_read_ready(context))?;
            let mut header = [0; HEADER_BYTES];
            let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
            match readv(descriptor.get_ref(), &mut parts) {
                Ok(count) if count >= HEADER_BYTES => {
                    let meta = virtio_header::decode(&header);
                    return Poll::Ready(Ok(Received { len: count - HEADER_BYTES, meta }));
                }
                // A packet socket returns nothing when its interface is gone.
                Ok(_) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                // The interface was set down, which is said once: it may come up again.
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    pub(crate) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        meta: &FrameMeta,
        frame: &[u8],
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let descriptor = self.state.registered()?;
        let header = virtio_header::encode(meta);
        loop {
            let mut ready = ready!(descriptor.poll_write_ready(context))?;
            match writev(descriptor.get_ref(), &[IoSlice::new(&header), IoSlice::new(frame)]) {
                Ok(_) => return Poll::Ready(Ok(())),
                // The kernel has no room: the frame waits, it is not lost.
                Err(Errno::EAGAIN) => ready.clear_ready(),
                // No room below the descriptor: the frame is offered again a little later.
                Err(Errno::ENOBUFS | Errno::ENOMEM) => {
                    let mut pause = Box::pin(sleep(NO_ROOM));
                    if pause.as_mut().poll(context).is_pending() {
                        self.pause = Some(pause);
                        return Poll::Pending;
                    }
                }
                // Nobody takes frames from an interface that is down, and nobody will take one that is
                // larger than it allows: they are lost as they would be on any cable.
                Err(Errno::EIO | Errno::ENETDOWN | Errno::EMSGSIZE) => return Poll::Ready(Ok(())),
                Err(Errno::EINTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}
