//! What follows HTTP on a stream: bytes, once both sides have agreed to another protocol.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};

/// A stream whose kind no longer matters.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// One end of a tunnel: the stream, and what was read from it beyond the last HTTP message.
pub(super) struct TunnelEnd {
    pub(super) stream: Box<dyn Duplex>,
    pub(super) unread: Bytes,
}

/// Moves bytes both ways until both halves are closed or one side fails.
pub(super) async fn tunnel(mut guest: TunnelEnd, mut upstream: TunnelEnd) -> std::io::Result<()> {
    upstream.stream.write_all(&guest.unread).await?;
    guest.stream.write_all(&upstream.unread).await?;
    carry(&mut guest.stream, &mut upstream.stream).await
}

/// Moves bytes both ways until both halves are closed or one side fails.
pub(super) async fn carry<G: Duplex, U: Duplex>(guest: &mut G, upstream: &mut U) -> std::io::Result<()> {
    copy_bidirectional(guest, upstream).await.map(drop)
}
