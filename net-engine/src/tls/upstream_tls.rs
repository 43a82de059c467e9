use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client;

use super::last_flight::LastFlight;
use super::read_ahead::ReadAhead;
use crate::proxy::UpstreamStream;

type Stream = client::TlsStream<LastFlight<ReadAhead<UpstreamStream>>>;

/// TLS with upstream, once its handshake is over.
pub(super) struct UpstreamTls(Stream);

impl UpstreamTls {
    /// The handshake of this stream is over.
    pub(super) fn new(mut stream: Stream) -> Self {
        stream.get_mut().0.client_is_done();
        Self(stream)
    }

    /// The protocol that was agreed on.
    pub(super) fn alpn_protocol(&self) -> Option<&[u8]> {
        self.0.get_ref().1.alpn_protocol()
    }
}

impl AsyncRead for UpstreamTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for UpstreamTls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The word of TLS for an end and that of TCP share a segment.
        self.0.get_mut().0.get_mut().get_mut().ends_soon();
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
