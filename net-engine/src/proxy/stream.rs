use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use nix::libc::MSG_MORE;
use nix::sys::socket::{MsgFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client;

/// What is read of TLS to see whether upstream has said something.
const PEEK_BYTES: usize = 1 << 10;

/// A connection with upstream: its own, or one inside of that with a proxy.
pub(crate) struct UpstreamStream {
    /// What upstream had said when the proxy's answer was read.
    early: Bytes,
    carrier: Carrier,
    /// Whether what is written now is the last of it.
    ends_soon: bool,
}

enum Carrier {
    Plain(TcpStream),
    Tls(Box<client::TlsStream<TcpStream>>),
}

impl UpstreamStream {
    pub(super) fn plain(stream: TcpStream, early: Bytes) -> Self {
        Self { early, carrier: Carrier::Plain(stream), ends_soon: false }
    }

    pub(super) fn tls(stream: client::TlsStream<TcpStream>, early: Bytes) -> Self {
        Self { early, carrier: Carrier::Tls(Box::new(stream)), ends_soon: false }
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

    /// Says that it is shut down as soon as all is written: what is written from now on may wait for that.
    pub(crate) fn ends_soon(&mut self) {
        self.ends_soon = true;
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

/// Writes what an end follows: the kernel keeps it for the segment of that.
fn poll_write_last(stream: &TcpStream, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(task))?;
        let written = stream.try_io(Interest::WRITABLE, || {
            // nix has no name for it.
            let flags = MsgFlags::from_bits_retain(MSG_MORE) | MsgFlags::MSG_NOSIGNAL;
            Ok(send(stream.as_raw_fd(), bytes, flags)?)
        });
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
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
        let ends_soon = self.ends_soon;
        match &mut self.carrier {
            Carrier::Plain(stream) if ends_soon => poll_write_last(stream, task, bytes),
            Carrier::Plain(stream) => Pin::new(stream).poll_write(task, bytes),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(task, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let ends_soon = self.ends_soon;
        match &mut self.carrier {
            Carrier::Plain(stream) if ends_soon => {
                let first = pieces.iter().find(|piece| !piece.is_empty());
                poll_write_last(stream, task, first.map_or(&[], |piece| piece))
            }
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_an_end_follows_goes_with_it() {
        /// The kernel keeps it for a fifth of a second, which a test that was not let run may have missed.
        const TRIES: usize = 10;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let mut kept = 0;
        for _ in 0..TRIES {
            let near =
                TcpStream::connect(listener.local_addr().expect("a port")).await.expect("a connection");
            near.set_nodelay(true).expect("a socket");
            let (mut far, _) = listener.accept().await.expect("a connection");
            let mut near = UpstreamStream::from(near);
            near.write_all(b"before").await.expect("room");
            far.read_exact(&mut [0; 6]).await.expect("what goes at once");
            near.ends_soon();
            near.write_all(b"bye").await.expect("room");
            // Over loopback it would be there by now.
            let mut room = [0; 8];
            let early = far.try_read(&mut room).map_err(|error| error.kind());
            kept += usize::from(early == Err(io::ErrorKind::WouldBlock));
            near.shutdown().await.expect("an end");
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.expect("an end");
            assert_eq!(early.unwrap_or(0) + rest.len(), 3);
        }
        assert!(kept > 0, "it went by itself");
    }
}
