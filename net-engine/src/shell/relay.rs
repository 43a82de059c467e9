use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use net_core::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::core::FlowId;
use crate::guest::{Context as GuestContext, GuestStream};
use crate::http::carry_while_guest;
use crate::proxy::UpstreamStream;

/// Bytes a relay moves before other tasks of the thread get their turn.
const BUDGET_BYTES: usize = 1 << 20;

/// Why a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelayEnd {
    /// Both sides closed their half.
    Finished,
    /// The guest reset the connection.
    GuestReset,
    /// Upstream reset the connection.
    UpstreamReset,
    /// Neither side moved a byte for [`Limits::tcp_idle_timeout`], or, with one half closed, for
    /// [`Limits::drain_timeout`].
    Idle,
}

/// Moves bytes both ways until both halves are closed.
///
/// The guest's ring is written into the host socket and the host socket read into the guest's
/// ring; nothing is buffered in between, so back-pressure is the window. The halves close
/// independently.
pub(crate) async fn relay(guest: &GuestStream, upstream: &mut TcpStream, limits: &Limits) -> RelayEnd {
    let mut halves = Halves { up_open: true, down_open: true, last_moved: Instant::now() };
    let mut idle = pin!(sleep_until(halves.deadline(limits)));
    let end = poll_fn(|context| halves.poll(context, guest, upstream, limits, idle.as_mut())).await;
    match end {
        RelayEnd::Finished => {}
        RelayEnd::GuestReset => reset_on_drop(upstream),
        RelayEnd::UpstreamReset => guest.abort(),
        RelayEnd::Idle => {
            reset_on_drop(upstream);
            guest.abort();
        }
    }
    end
}

/// Moves bytes both ways until both halves are closed, whatever carries upstream's: what goes inside of another
/// stream is buffered on its way.
pub(crate) async fn relay_upstream(
    context: &GuestContext,
    id: FlowId,
    mut guest: GuestStream,
    mut upstream: UpstreamStream,
) {
    if let Some(socket) = upstream.as_plain() {
        relay(&guest, socket, &context.limits).await;
        return;
    }
    let carried = carry_while_guest(context, id, &mut guest, &mut upstream).await;
    if carried.is_none_or(|carried| carried.is_err()) {
        upstream.reset_on_drop();
        guest.abort();
    }
}

/// Has the kernel send RST when the socket is dropped: the guest's reset is passed on.
fn reset_on_drop(upstream: &TcpStream) {
    // Failing to set it means a FIN is sent instead: less exact, equally final.
    let _ = upstream.set_zero_linger();
}

struct Halves {
    up_open: bool,
    down_open: bool,
    last_moved: Instant,
}

impl Halves {
    fn deadline(&self, limits: &Limits) -> Instant {
        let both = self.up_open && self.down_open;
        let patience: Duration = if both { limits.tcp_idle_timeout } else { limits.drain_timeout };
        self.last_moved + patience
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        guest: &GuestStream,
        upstream: &mut TcpStream,
        limits: &Limits,
        mut idle: Pin<&mut Sleep>,
    ) -> Poll<RelayEnd> {
        let mut budget = BUDGET_BYTES;
        let mut moved = false;
        while self.up_open {
            match move_up(context, guest, upstream) {
                Poll::Ready(Ok(Some(count))) => {
                    moved = true;
                    budget = budget.saturating_sub(count);
                }
                Poll::Ready(Ok(None)) => {
                    // Where both halves are closed, closing the socket says it too.
                    if self.down_open {
                        ready_shutdown(context, upstream);
                    }
                    (self.up_open, moved) = (false, true);
                }
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending => break,
            }
            if budget == 0 {
                break;
            }
        }
        let mut budget_down = BUDGET_BYTES;
        while self.down_open {
            match move_down(context, guest, upstream) {
                Poll::Ready(Ok(0)) => {
                    guest.close();
                    (self.down_open, moved) = (false, true);
                }
                Poll::Ready(Ok(count)) => {
                    moved = true;
                    budget_down = budget_down.saturating_sub(count);
                }
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending => break,
            }
            if budget_down == 0 {
                break;
            }
        }
        if !self.up_open && !self.down_open {
            return Poll::Ready(RelayEnd::Finished);
        }
        if moved {
            self.last_moved = Instant::now();
        }
        if budget == 0 || budget_down == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // A reset is noticed also while both directions wait for upstream.
        guest.wake_on_change(context);
        // The timer is moved only when it fires, not with every byte.
        while idle.as_mut().poll(context).is_ready() {
            let deadline = self.deadline(limits);
            if deadline <= Instant::now() {
                return Poll::Ready(RelayEnd::Idle);
            }
            idle.as_mut().reset(deadline);
        }
        let deadline = self.deadline(limits);
        if moved && deadline < idle.deadline() {
            // A half has closed: the shorter patience counts from now.
            idle.as_mut().reset(deadline);
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// One step from the guest to upstream: bytes moved, or `None` at the guest's FIN.
///
/// The socket is written by `poll_write`, not by `try_write`: after a short write it waits for room
/// without asking the kernel once more.
fn move_up(
    context: &mut Context<'_>,
    guest: &GuestStream,
    upstream: &mut TcpStream,
) -> Poll<Result<Option<usize>, RelayEnd>> {
    let step = guest.poll_read_with(context, |context, bytes| {
        let written = Pin::new(upstream).poll_write(context, bytes);
        let count = if let Poll::Ready(Ok(count)) = written { count } else { 0 };
        (count, written)
    });
    match ready!(step) {
        Ok(None) => Poll::Ready(Ok(None)),
        // While the kernel's buffer is full the guest's window closes.
        Ok(Some(written)) => written.map(|written| written.map(Some).map_err(|_| RelayEnd::UpstreamReset)),
        Err(_) => Poll::Ready(Err(RelayEnd::GuestReset)),
    }
}

/// One step from upstream to the guest: bytes moved, 0 at upstream's FIN.
fn move_down(
    context: &mut Context<'_>,
    guest: &GuestStream,
    upstream: &mut TcpStream,
) -> Poll<Result<usize, RelayEnd>> {
    let step = guest.poll_write_with(context, |context, room| {
        let mut buffer = ReadBuf::new(room);
        let read = Pin::new(upstream).poll_read(context, &mut buffer);
        let count = buffer.filled().len();
        (count, read.map_ok(|()| count))
    });
    match ready!(step) {
        Ok(read) => read.map_err(|_| RelayEnd::UpstreamReset),
        Err(_) => Poll::Ready(Err(RelayEnd::GuestReset)),
    }
}

fn ready_shutdown(context: &mut Context<'_>, upstream: &mut TcpStream) {
    // Shutting down a TCP socket is one system call that never waits; it fails only when the
    // connection is gone, which the other half reports.
    let _ = Pin::new(upstream).poll_shutdown(context);
}
