use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What is read at once: some records.
const BUFFER_BYTES: usize = 128 << 10;

/// Buffers a thread keeps for the next stream that reads.
const MAX_SPARE: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// A socket that is read in large pieces, however small those are that are asked for: rustls asks for
/// 4 KiB at a time, which is five system calls a record.
///
/// A stream without unread bytes holds no buffer.
pub(crate) struct ReadAhead<S> {
    stream: S,
    unread: BytesMut,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, unread: BytesMut::new() }
    }

    pub(super) fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Gives an empty buffer back.
    fn release(&mut self) {
        let mut buffer = std::mem::take(&mut self.unread);
        buffer.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MAX_SPARE && buffer.try_reclaim(BUFFER_BYTES) {
                spare.push(buffer);
            }
        });
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.unread.is_empty() {
            this.unread =
                SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES));
            let read = pin!(this.stream.read_buf(&mut this.unread)).poll(context);
            if !matches!(read, Poll::Ready(Ok(1..))) {
                this.release();
                return read.map_ok(drop);
            }
        }
        let count = this.unread.len().min(into.remaining());
        into.put_slice(&this.unread[..count]);
        this.unread.advance(count);
        if this.unread.is_empty() {
            this.release();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// A stream that counts how often it is asked.
    struct Counted<S>(S, usize);

    impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    #[tokio::test]
    async fn what_came_at_once_is_read_at_once_and_in_order() {
        const BYTES: usize = 20_000;
        let sent: Vec<u8> = (0..BYTES).map(|index| index.to_le_bytes()[0]).collect();
        let (mut far, near) = duplex(BYTES);
        far.write_all(&sent).await.expect("room");
        drop(far);
        let mut near = ReadAhead::new(Counted(near, 0));
        let mut read = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match near.read(&mut piece).await.expect("an open stream") {
                0 => break,
                count => read.extend_from_slice(&piece[..count]),
            }
        }
        assert_eq!(read, sent);
        // The bytes, and the end.
        assert_eq!(near.stream.1, 2);
    }

    #[tokio::test]
    async fn without_unread_bytes_there_is_no_buffer() {
        let (mut far, near) = duplex(64);
        let mut near = ReadAhead::new(near);
        far.write_all(&[1; 3]).await.expect("room");
        near.read_exact(&mut [0; 2]).await.expect("bytes");
        assert_eq!(near.unread[..], [1]);
        near.read_exact(&mut [0; 1]).await.expect("a byte");
        assert_eq!(near.unread.capacity(), 0);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(1), near.read(&mut [0])).await;
        assert!(waits.is_err() && near.unread.capacity() == 0);
        // The buffer is at hand for the next one.
        assert_eq!(SPARE.with_borrow(Vec::len), 1);
    }
}
