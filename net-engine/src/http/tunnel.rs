//! What follows HTTP on a stream: bytes, once both sides have agreed to another protocol.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};

/// What is read at once each way: more than a TLS record holds, so that records are full.
const BUFFER_BYTES: usize = 64 << 10;

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
    copy_bidirectional_with_sizes(guest, upstream, BUFFER_BYTES, BUFFER_BYTES).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

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
        let count = tokio::select! {
            _ = carry(&mut guest, &mut upstream) => 0,
            count = read => count,
        };
        assert_eq!(count, BYTES);
    }
}
