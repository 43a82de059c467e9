use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use net_core::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Stack, now};
use crate::core::{FlowId, StreamRead, StreamWrite};

/// The engine's end of one of the guest's TCP connections.
///
/// It reads and writes the socket's own rings; there is no second buffer. Dropping it after
/// [`close`](Self::close) lets what was written be delivered; dropping it earlier resets the
/// connection.
pub(crate) struct GuestStream {
    stack: Stack,
    id: FlowId,
}

impl GuestStream {
    /// The stream of an accepted flow. There is one per flow.
    pub(crate) fn new(stack: Stack, id: FlowId) -> Self {
        Self { stack, id }
    }

    /// Lends what the guest has sent; `take` says how much of it was used. `None` is its FIN.
    pub(crate) fn poll_read_with<R>(
        &self,
        context: &mut Context<'_>,
        take: impl FnOnce(&mut Context<'_>, &[u8]) -> (usize, R),
    ) -> Poll<io::Result<Option<R>>> {
        let (poll, is_changed) = self.stack.with(|gateway| {
            let mut is_changed = false;
            let read = gateway.read(self.id, |bytes| {
                let Some(allowance) = self.allowance(Direction::Egress, context) else { return (0, None) };
                let (count, result) = take(context, &bytes[..bytes.len().min(allowance)]);
                self.note_carried(Direction::Egress, allowance, count);
                is_changed = count > 0 || allowance < usize::MAX;
                (count, Some(result))
            });
            let poll = match read {
                StreamRead::Data(Some(result)) => Poll::Ready(Ok(Some(result))),
                // It waits for its bound; the driver learns until when.
                StreamRead::Data(None) => {
                    is_changed = true;
                    gateway.register_reader(self.id, context.waker());
                    Poll::Pending
                }
                StreamRead::Finished => Poll::Ready(Ok(None)),
                StreamRead::Reset => Poll::Ready(Err(reset())),
                StreamRead::Blocked => {
                    gateway.register_reader(self.id, context.waker());
                    Poll::Pending
                }
            };
            (poll, is_changed)
        });
        if is_changed {
            self.stack.wake_driver();
        }
        poll
    }

    /// Lends room for what goes to the guest; `fill` says how much of it was used.
    pub(crate) fn poll_write_with<R>(
        &self,
        context: &mut Context<'_>,
        fill: impl FnOnce(&mut Context<'_>, &mut [u8]) -> (usize, R),
    ) -> Poll<io::Result<R>> {
        let (poll, is_changed) = self.stack.with(|gateway| {
            let mut is_changed = false;
            let write = gateway.write(self.id, |room| {
                let Some(allowance) = self.allowance(Direction::Ingress, context) else { return (0, None) };
                let most = room.len().min(allowance);
                let (count, result) = fill(context, &mut room[..most]);
                self.note_carried(Direction::Ingress, allowance, count);
                is_changed = count > 0 || allowance < usize::MAX;
                (count, Some(result))
            });
            let poll = match write {
                StreamWrite::Room(Some(result)) => Poll::Ready(Ok(result)),
                // It waits for its bound; the driver learns until when.
                StreamWrite::Room(None) => {
                    is_changed = true;
                    gateway.register_writer(self.id, context.waker());
                    Poll::Pending
                }
                StreamWrite::Reset => Poll::Ready(Err(reset())),
                StreamWrite::Blocked => {
                    gateway.register_writer(self.id, context.waker());
                    Poll::Pending
                }
            };
            (poll, is_changed)
        });
        if is_changed {
            self.stack.wake_driver();
        }
        poll
    }

    /// How much may be carried now by what the flow's rule says; `None` where it must wait, and then the
    /// task is woken.
    fn allowance(&self, direction: Direction, context: &Context<'_>) -> Option<usize> {
        let mut shapers = self.stack.shapers();
        // The clock is read for those alone that are bounded.
        if !shapers.is_in_use() {
            return Some(usize::MAX);
        }
        shapers.poll(self.id, direction, context.waker(), now())
    }

    fn note_carried(&self, direction: Direction, allowance: usize, bytes: usize) {
        if allowance < usize::MAX {
            self.stack.shapers().spend(self.id, direction, bytes, now());
        }
    }

    /// Has the task woken when the guest sends or resets, whatever else it waits for.
    pub(crate) fn wake_on_change(&self, context: &Context<'_>) {
        self.stack.with(|gateway| gateway.register_reader(self.id, context.waker()));
    }

    /// Sends FIN once everything written has been delivered.
    pub(crate) fn close(&self) {
        self.stack.close(self.id);
    }

    /// Resets the connection.
    pub(crate) fn abort(&self) {
        self.stack.with(|gateway| gateway.abort(self.id));
        self.stack.wake_driver();
    }
}

impl Drop for GuestStream {
    fn drop(&mut self) {
        self.stack.note_released(self.id);
    }
}

impl AsyncRead for GuestStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_with(context, |_, bytes| {
            let count = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..count]);
            (count, ())
        })
        .map_ok(|_| ())
    }
}

impl AsyncWrite for GuestStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |_, room| {
            let count = buffer.len().min(room.len());
            room[..count].copy_from_slice(&buffer[..count]);
            (count, count)
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |_, room| {
            let mut filled = 0;
            for buffer in buffers {
                let count = buffer.len().min(room.len() - filled);
                room[filled..filled + count].copy_from_slice(&buffer[..count]);
                filled += count;
            }
            (filled, filled)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is in the ring is sent as the guest's window allows; nothing waits for a flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
