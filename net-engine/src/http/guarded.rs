use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use net_secrets::{Detector, Violation};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read from the guest at once.
const CHUNK_BYTES: usize = 16 << 10;

/// A stream from the guest on which no placeholder passes: what is read of it went through a
/// detector.
pub(super) struct Guarded<S> {
    stream: S,
    detector: Detector,
    /// Bytes that may go.
    passed: Bytes,
    has_ended: bool,
    violation: Option<Violation>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, detector: Detector) -> Self {
        Self { stream, detector, passed: Bytes::new(), has_ended: false, violation: None }
    }

    /// What the stream was found to hold, after a read failed.
    pub(super) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.passed.is_empty() && !this.has_ended {
            let mut chunk = BytesMut::zeroed(CHUNK_BYTES.min(buffer.remaining().max(1)));
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            let count = read.filled().len();
            if count == 0 {
                this.has_ended = true;
                this.passed = this.detector.finish();
                break;
            }
            chunk.truncate(count);
            match this.detector.feed(chunk.freeze()) {
                Ok(passed) => this.passed = passed,
                Err(violation) => {
                    this.violation = Some(violation);
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
            }
        }
        let count = this.passed.len().min(buffer.remaining());
        buffer.put_slice(&this.passed[..count]);
        this.passed.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
