use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use net_core::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// When a stream last moved a byte, whoever moves them, and whether one of its halves is closed.
#[derive(Clone)]
pub(crate) struct Activity(Rc<State>);

struct State {
    last_moved: Cell<Instant>,
    is_half_closed: Cell<bool>,
    /// Notified when a half is closed: patience is shorter from then on.
    half_closed: Notify,
}

impl Activity {
    pub(crate) fn starts_now() -> Self {
        Self(Rc::new(State {
            last_moved: Cell::new(Instant::now()),
            is_half_closed: Cell::new(false),
            half_closed: Notify::new(),
        }))
    }

    /// A stream whose reads and writes count.
    pub(crate) fn watch<S>(&self, stream: S) -> Watched<S> {
        Watched { stream, activity: self.clone() }
    }

    /// Waits until nothing has moved for `patience`.
    pub(crate) async fn quiet_for(&self, patience: Duration) {
        while let Some(deadline) = self.deadline(patience) {
            // Not with every byte: the timer is looked at when it fires.
            sleep_until(deadline).await;
        }
    }

    /// Waits until nothing has moved for [`Limits::tcp_idle_timeout`], or, once the watched stream has
    /// ended or was shut down, for [`Limits::drain_timeout`].
    pub(crate) async fn quiet_between_halves(&self, limits: &Limits) {
        let both_open = async {
            while !self.0.is_half_closed.get() {
                self.0.half_closed.notified().await;
            }
        };
        tokio::select! {
            () = self.quiet_for(limits.tcp_idle_timeout) => {}
            () = both_open => self.quiet_for(limits.drain_timeout).await,
        }
    }

    /// When patience ends if nothing moves; `None` once it has.
    fn deadline(&self, patience: Duration) -> Option<Instant> {
        let deadline = self.0.last_moved.get() + patience;
        (deadline > Instant::now()).then_some(deadline)
    }

    fn note(&self) {
        self.0.last_moved.set(Instant::now());
    }

    fn note_half_closed(&self) {
        if !self.0.is_half_closed.replace(true) {
            self.0.half_closed.notify_one();
        }
    }
}

/// See [`Activity::watch`].
pub(crate) struct Watched<S> {
    stream: S,
    activity: Activity,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.activity.note();
        if read.is_ok() && buffer.filled().len() == before && buffer.remaining() > 0 {
            self.activity.note_half_closed();
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, buffer));
        self.activity.note();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, buffers));
        self.activity.note();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.note();
        self.activity.note_half_closed();
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
