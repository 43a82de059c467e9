use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client;

/// What is read of TLS to see whether upstream has said something.
const PEEK_BYTES: usize = 1 << 10;

/// A connection with upstream: its own, or one inside of that with a proxy.
pub(crate) struct UpstreamStream {
    /// What upstream had said when the proxy's answer was read.
    early: Bytes,
    carrier: Carrier,
}

enum Carrier {
    Plain(TcpStream),
    Tls(Box<client::TlsStream<TcpStream>>),
}

impl UpstreamStream {
    pub(super) fn plain(stream: TcpStream, early: Bytes) -> Self {
        Self { early, carrier: Carrier::Plain(stream) }
    }

    pub(super) fn tls(stream: client::TlsStream<TcpStream>, early: Bytes) -> Self {
        Self { early, carrier: Carrier::Tls(Box::new(stream)) }
    }

    /// The socket, where everything that is read and written is upstream's.
    pub(crate) fn as_plain(&mut self) -> Option<&mut TcpStream> {
        match &mut self.carrier {
            Carrier::Plain(stream) if self.early.is_empty() => Some(stream),
            Carrier::Plain(_) | Carrier::Tls(_) => None,
        }
    }

    /// Has the connection end with a reset when it is dropped. Failing to set it means a FIN: less exact, equally
    /// final.
    pub(crate) fn reset_on_drop(&self) {
        let socket = match &self.carrier {
            Carrier::Plain(stream) => stream,
            Carrier::Tls(stream) => stream.get_ref().0,
        };
        let _ = socket.set_zero_linger();
    }

    /// Waits until upstream has said something, or has ended. What it said is read later.
    pub(crate) async fn spoke(&mut self) {
        if !self.early.is_empty() {
            return;
        }
        match &mut self.carrier {
            // Failing to wait is an end, too.
            Carrier::Plain(stream) => drop(stream.readable().await),
            // That the socket is readable says nothing: TLS has messages of its own.
            Carrier::Tls(stream) => {
                let mut room = [0; PEEK_BYTES];
                let read = poll_fn(|task| {
                    let mut room = ReadBuf::new(&mut room);
                    let read = ready!(Pin::new(&mut **stream).poll_read(task, &mut room));
                    Poll::Ready(read.map(|()| Bytes::copy_from_slice(room.filled())))
                });
                self.early = read.await.unwrap_or_default();
            }
        }
    }
}

impl From<TcpStream> for UpstreamStream {
    fn from(stream: TcpStream) -> Self {
        Self::plain(stream, Bytes::new())
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(into.remaining());
            into.put_slice(&self.early[..count]);
            self.early.advance(count);
            return Poll::Ready(Ok(()));
        }
        match &mut self.carrier {
            Carrier::Plain(stream) => Pin::new(stream).poll_read(task, into),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(task, into),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => Pin::new(stream).poll_write(task, bytes),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(task, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => Pin::new(stream).poll_write_vectored(task, pieces),
            Carrier::Tls(stream) => Pin::new(stream).poll_write_vectored(task, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.carrier {
            Carrier::Plain(stream) => stream.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => Pin::new(stream).poll_flush(task),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(task),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => Pin::new(stream).poll_shutdown(task),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(task),
        }
    }
}
