use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::sys::uio::{readv, writev};
use tokio::io::unix::AsyncFd;

use super::virtio_header::{self, HEADER_BYTES};
use super::{FrameMeta, Received, sys};

/// A descriptor that carries one frame behind a virtio-net header with each system call.
pub(crate) struct VnetFd(State);

enum State {
    /// Not polled yet: the reactor to register with is that of the thread that polls first.
    Idle(OwnedFd),
    Registered(AsyncFd<OwnedFd>),
    /// Registration failed.
    Failed,
}

impl VnetFd {
    /// `descriptor` is non-blocking.
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self(State::Idle(descriptor))
    }

    fn registered(&mut self) -> io::Result<&AsyncFd<OwnedFd>> {
        if let State::Idle(_) = self.0 {
            let State::Idle(descriptor) = std::mem::replace(&mut self.0, State::Failed) else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            self.0 = State::Registered(sys::register(descriptor)?);
        }
        match &self.0 {
            State::Registered(descriptor) => Ok(descriptor),
            State::Idle(_) | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        let descriptor = self.registered()?;
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
                Err(Errno::EINTR) => {}
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
        let descriptor = self.registered()?;
        let header = virtio_header::encode(meta);
        loop {
            let mut ready = ready!(descriptor.poll_write_ready(context))?;
            match writev(descriptor.get_ref(), &[IoSlice::new(&header), IoSlice::new(frame)]) {
                Ok(_) => return Poll::Ready(Ok(())),
                // The kernel has no room: the frame waits, it is not lost.
                Err(Errno::EAGAIN) => ready.clear_ready(),
                // No room below the socket, which announces no change: offer it again at the next
                // turn.
                Err(Errno::ENOBUFS) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}
