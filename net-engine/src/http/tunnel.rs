//! What follows HTTP on a stream: bytes, once both sides have agreed to another protocol.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use net_core::Limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::tunnel_buffer::TunnelBuffer;
use crate::core::FlowId;
use crate::guest::{Activity, Context as GuestContext, FAREWELL, Stack};

/// What moves one way before other tasks of the thread get their turn.
const BUDGET_BYTES: usize = 1 << 20;

/// A stream whose kind no longer matters.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// One end of a tunnel: the stream, and what was read from it beyond the last HTTP message.
pub(super) struct TunnelEnd {
    pub(super) stream: Box<dyn Duplex>,
    pub(super) unread: Bytes,
}

/// Carries what follows HTTP on the flow `id`, to its end: see [`carry`] and [`pass_on_end`].
pub(super) async fn tunnel(
    stack: &Stack,
    id: FlowId,
    mut guest: TunnelEnd,
    mut upstream: TunnelEnd,
    limits: &Limits,
) {
    let carried = async {
        upstream.stream.write_all(&guest.unread).await?;
        guest.stream.write_all(&upstream.unread).await?;
        carry(&mut guest.stream, &mut upstream.stream, limits).await
    };
    let carried = carried.await;
    pass_on_end(stack, id, &mut guest.stream, carried, limits).await;
}

/// Moves bytes both ways until both halves are closed.
///
/// # Errors
/// One side failed, or nothing moved for [`Limits::tcp_idle_timeout`], with one half closed for
/// [`Limits::drain_timeout`].
pub(super) async fn carry<G: Duplex, U: Duplex>(
    guest: &mut G,
    upstream: &mut U,
    limits: &Limits,
) -> io::Result<()> {
    let activity = Activity::starts_now();
    let mut guest = activity.watch(guest);
    let (mut up, mut down) = (Half::new(), Half::new());
    let both = poll_fn(|task| {
        let up = up.poll(task, &mut guest, upstream)?;
        let down = down.poll(task, upstream, &mut guest)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    tokio::select! {
        carried = both => carried,
        () = activity.quiet_between_halves(limits) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The same for the flow `id`, and no longer than its guest is there; `None` where it has gone.
pub(crate) async fn carry_while_guest<G: Duplex, U: Duplex>(
    context: &GuestContext,
    id: FlowId,
    guest: &mut G,
    upstream: &mut U,
) -> Option<io::Result<()>> {
    tokio::select! {
        // What a read has found is not lost over what ends the stream besides.
        biased;
        carried = carry(guest, upstream, &context.limits) => Some(carried),
        () = context.stack.guest_reset(id) => None,
    }
}

/// One way: what was read and is not yet written.
struct Half {
    /// `None` while there is nothing in it: a stream that is quiet holds none.
    buffer: Option<TunnelBuffer>,
    state: State,
}

enum State {
    Open,
    /// The reader has ended; what was read is still to be written.
    Ended,
    /// And the writer knows.
    Closed,
    /// The reader has broken off; what was read before is still to be written.
    Broken(io::Error),
}

impl Half {
    fn new() -> Self {
        Self { buffer: None, state: State::Open }
    }

    /// Ready once the reader's end has been passed on.
    fn poll(
        &mut self,
        task: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut budget = BUDGET_BYTES;
        loop {
            let waits = self.fill(task, from);
            if let Some(buffer) = &mut self.buffer {
                while !buffer.unwritten().is_empty() {
                    match ready!(Pin::new(&mut *to).poll_write(task, buffer.unwritten()))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        count => buffer.note_written(count),
                    }
                }
                budget = budget.saturating_sub(buffer.len());
                if waits || !matches!(self.state, State::Open) {
                    self.buffer = None;
                } else {
                    buffer.clear();
                }
            }
            match self.state {
                State::Open => {}
                State::Ended => {
                    ready!(Pin::new(&mut *to).poll_shutdown(task))?;
                    self.state = State::Closed;
                }
                State::Closed => return Poll::Ready(Ok(())),
                State::Broken(_) => {
                    ready!(Pin::new(&mut *to).poll_flush(task))?;
                    if let State::Broken(error) = std::mem::replace(&mut self.state, State::Closed) {
                        return Poll::Ready(Err(error));
                    }
                }
            }
            if waits {
                ready!(Pin::new(&mut *to).poll_flush(task))?;
                return Poll::Pending;
            }
            if budget == 0 {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Reads until the buffer is full or the reader waits, which is said.
    fn fill(&mut self, task: &mut Context<'_>, from: &mut (impl AsyncRead + Unpin)) -> bool {
        while matches!(self.state, State::Open) {
            let buffer = self.buffer.get_or_insert_with(TunnelBuffer::take);
            let mut room = ReadBuf::new(buffer.room());
            if room.remaining() == 0 {
                break;
            }
            match Pin::new(&mut *from).poll_read(task, &mut room) {
                Poll::Pending => return true,
                Poll::Ready(Ok(())) if room.filled().is_empty() => self.state = State::Ended,
                Poll::Ready(Ok(())) => {
                    let count = room.filled().len();
                    buffer.note_filled(count);
                }
                Poll::Ready(Err(error)) => self.state = State::Broken(error),
            }
        }
        false
    }
}

/// Ends the guest's half as upstream has ended its own: after all that came, and where it broke off without the
/// word that TLS has for an end (close_notify), without it. Any other error resets the guest, once its stream is
/// dropped.
///
/// A server that ends its connection instead of its TLS is common; what it said before is as good as any.
pub(super) async fn pass_on_end<G: Duplex>(
    stack: &Stack,
    id: FlowId,
    guest: &mut G,
    carried: io::Result<()>,
    limits: &Limits,
) {
    // A guest that takes nothing any more is not waited for.
    let patience = limits.drain_timeout;
    match carried {
        Ok(()) => drop(timeout(patience, guest.shutdown()).await),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            if matches!(timeout(patience, guest.flush()).await, Ok(Ok(()))) {
                stack.close(id);
            }
        }
        Err(_) => {}
    }
}

/// Closes our half and reads on until the guest closes its own, for [`FAREWELL`] at most: a reset for what it
/// still sends would take the last answer from it (RFC 9112, section 9.6).
pub(super) async fn close_lingering(mut guest: Box<dyn Duplex>) {
    let closing = async {
        if guest.shutdown().await.is_err() {
            return;
        }
        let mut ignored = [0; 4096];
        while guest.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    };
    let _ = timeout(FAREWELL, closing).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::http::tunnel_buffer::BUFFER_BYTES;

    #[tokio::test]
    async fn what_came_at_once_goes_on_at_once() {
        const BYTES: usize = 48 << 10;
        let (mut one, mut guest) = duplex(BYTES);
        let (mut other, mut upstream) = duplex(BYTES);
        one.write_all(&[0; BYTES]).await.expect("room");
        let read = async {
            let mut buffer = vec![0; BYTES];
            other.read(&mut buffer).await.expect("bytes")
        };
        let limits = Limits::default();
        let count = tokio::select! {
            _ = carry(&mut guest, &mut upstream, &limits) => 0,
            count = read => count,
        };
        assert_eq!(count, BYTES);
    }

    /// Gives its bytes a piece at a time, as TLS gives records, and keeps what is written.
    struct Pieces {
        left: usize,
        written: Vec<usize>,
    }

    const PIECE_BYTES: usize = 16 << 10;

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.left.min(PIECE_BYTES).min(buffer.remaining());
            buffer.put_slice(&[0; PIECE_BYTES][..count]);
            self.left -= count;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.written.push(buffer.len());
            Poll::Ready(Ok(buffer.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn records_go_on_several_at_a_time_and_none_is_lost() {
        // More than its turn, so that it must come back for the rest.
        const BYTES: usize = 2 * BUDGET_BYTES + 5 * PIECE_BYTES + 1;
        let [mut guest, mut upstream] = [BYTES, 1].map(|left| Pieces { left, written: Vec::new() });
        carry(&mut guest, &mut upstream, &Limits::default()).await.expect("both end");
        assert_eq!(guest.written, [1]);
        assert_eq!(upstream.written.iter().sum::<usize>(), BYTES);
        assert_eq!(upstream.written.len(), BYTES.div_ceil(BUFFER_BYTES));
    }

    #[tokio::test]
    async fn what_was_read_before_an_error_is_written() {
        let (mut one, mut guest) = duplex(64);
        let mut upstream = Broken(b"so far");
        let limits = Limits::default();
        let carried = carry(&mut guest, &mut upstream, &limits).await;
        assert_eq!(carried.map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
        let mut heard = [0; 6];
        one.read_exact(&mut heard).await.expect("what came before");
        assert_eq!(&heard, b"so far");
    }

    #[tokio::test]
    async fn with_a_half_closed_patience_is_short() {
        let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
        for guest_closes in [true, false] {
            let (mut one, mut guest) = duplex(64);
            let (mut other, mut upstream) = duplex(64);
            let began = Instant::now();
            let peers = async {
                // While both are open, neither has to say anything.
                sleep(2 * limits.drain_timeout).await;
                let closing = if guest_closes { &mut one } else { &mut other };
                closing.shutdown().await.expect("an open stream");
                std::future::pending::<()>().await;
            };
            let ended = tokio::select! {
                ended = carry(&mut guest, &mut upstream, &limits) => ended,
                () = peers => Ok(()),
                () = sleep(Duration::from_secs(10)) => Ok(()),
            };
            let kind = ended.map_err(|error| error.kind());
            assert_eq!(kind, Err(io::ErrorKind::TimedOut), "the guest closes: {guest_closes}");
            assert!(began.elapsed() >= 3 * limits.drain_timeout, "the guest closes: {guest_closes}");
        }
    }

    /// Gives these bytes, and breaks off.
    struct Broken(&'static [u8]);

    impl AsyncRead for Broken {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let bytes = std::mem::take(&mut self.0);
            buffer.put_slice(bytes);
            if bytes.is_empty() {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            } else {
                Poll::Ready(Ok(()))
            }
        }
    }

    impl AsyncWrite for Broken {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
