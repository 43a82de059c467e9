use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stack;
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
        let (poll, used) = self.stack.with(|gateway| {
            let mut used = 0;
            let read = gateway.read(self.id, |bytes| {
                let (count, result) = take(context, bytes);
                used = count;
                (count, result)
            });
            let poll = match read {
                StreamRead::Data(result) => Poll::Ready(Ok(Some(result))),
                StreamRead::Finished => Poll::Ready(Ok(None)),
                StreamRead::Reset => Poll::Ready(Err(reset())),
                StreamRead::Blocked => {
                    gateway.register_reader(self.id, context.waker());
                    Poll::Pending
                }
            };
            (poll, used)
        });
        if used > 0 {
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
        let (poll, used) = self.stack.with(|gateway| {
            let mut used = 0;
            let write = gateway.write(self.id, |room| {
                let (count, result) = fill(context, room);
                used = count;
                (count, result)
            });
            let poll = match write {
                StreamWrite::Room(result) => Poll::Ready(Ok(result)),
                StreamWrite::Reset => Poll::Ready(Err(reset())),
                StreamWrite::Blocked => {
                    gateway.register_writer(self.id, context.waker());
                    Poll::Pending
                }
            };
            (poll, used)
        });
        if used > 0 {
            self.stack.wake_driver();
        }
        poll
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
