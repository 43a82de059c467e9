//! What follows HTTP on a stream: bytes, once both sides have agreed to another protocol.

use bytes::Bytes;
use net_core::Limits;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};

use crate::guest::Activity;

/// What is read at once each way: more than a TLS record holds, so that records are full.
const BUFFER_BYTES: usize = 64 << 10;

/// A stream whose kind no longer matters.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// One end of a tunnel: the stream, and what was read from it beyond the last HTTP message.
pub(super) struct TunnelEnd {
    pub(super) stream: Box<dyn Duplex>,
    pub(super) unread: Bytes,
}

/// Carries what follows HTTP: see [`carry`].
pub(super) async fn tunnel(
    mut guest: TunnelEnd,
    mut upstream: TunnelEnd,
    limits: &Limits,
) -> std::io::Result<()> {
    upstream.stream.write_all(&guest.unread).await?;
    guest.stream.write_all(&upstream.unread).await?;
    carry(&mut guest.stream, &mut upstream.stream, limits).await
}

/// Moves bytes both ways until both halves are closed.
///
/// # Errors
/// One side failed, or nothing moved for [`Limits::tcp_idle_timeout`], with one half closed for
/// [`Limits::drain_timeout`].
pub(crate) async fn carry<G: Duplex, U: Duplex>(
    guest: &mut G,
    upstream: &mut U,
    limits: &Limits,
) -> std::io::Result<()> {
    let activity = Activity::starts_now();
    let mut guest = activity.watch(guest);
    tokio::select! {
        carried = copy_bidirectional_with_sizes(&mut guest, upstream, BUFFER_BYTES, BUFFER_BYTES) => {
            carried.map(drop)
        }
        () = activity.quiet_between_halves(limits) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, duplex};
    use tokio::time::{Instant, sleep};

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
        let limits = Limits::default();
        let count = tokio::select! {
            _ = carry(&mut guest, &mut upstream, &limits) => 0,
            count = read => count,
        };
        assert_eq!(count, BYTES);
    }

    #[tokio::test]
    async fn with_a_half_closed_patience_is_short() {
        let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
        for guest_closes in [true, false] {
            let (mut one, mut guest) = duplex(64);
            let (mut other, mut upstream) = duplex(64);
            let began = Instant::now();
            let peers = async {
                // While both are open, neither has to say anything.
                sleep(2 * limits.drain_timeout).await;
                let closing = if guest_closes { &mut one } else { &mut other };
                closing.shutdown().await.expect("an open stream");
                std::future::pending::<()>().await;
            };
            let ended = tokio::select! {
                ended = carry(&mut guest, &mut upstream, &limits) => ended,
                () = peers => Ok(()),
                () = sleep(Duration::from_secs(10)) => Ok(()),
            };
            let kind = ended.map_err(|error| error.kind());
            assert_eq!(kind, Err(std::io::ErrorKind::TimedOut), "the guest closes: {guest_closes}");
            assert!(began.elapsed() >= 3 * limits.drain_timeout, "the guest closes: {guest_closes}");
        }
    }
}
