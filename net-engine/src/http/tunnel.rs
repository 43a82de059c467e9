//! What follows HTTP on a stream: bytes, once both sides have agreed to another protocol.

use bytes::Bytes;
use net_core::Limits;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::time::timeout;

use crate::core::FlowId;
use crate::guest::{Activity, Stack};

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

/// Carries what follows HTTP on the flow `id`, to its end: see [`carry`] and [`pass_on_end`].
pub(super) async fn tunnel(
    stack: &Stack,
    id: FlowId,
    mut guest: TunnelEnd,
    mut upstream: TunnelEnd,
    limits: &Limits,
) {
    let carried = async {
        upstream.stream.write_all(&guest.unread).await?;
        guest.stream.write_all(&upstream.unread).await?;
        carry(&mut guest.stream, &mut upstream.stream, limits).await
    };
    let carried = carried.await;
    pass_on_end(stack, id, &mut guest.stream, carried, limits).await;
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

/// Ends the guest's half as upstream has ended its own: after all that came, and where it broke off without the
/// word that TLS has for an end (close_notify), without it. Any other error resets the guest, once its stream is
/// dropped.
///
/// A server that ends its connection instead of its TLS is common; what it said before is as good as any.
pub(super) async fn pass_on_end<G: Duplex>(
    stack: &Stack,
    id: FlowId,
    guest: &mut G,
    carried: std::io::Result<()>,
    limits: &Limits,
) {
    // A guest that takes nothing any more is not waited for.
    let patience = limits.drain_timeout;
    match carried {
        Ok(()) => drop(timeout(patience, guest.shutdown()).await),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            if matches!(timeout(patience, guest.flush()).await, Ok(Ok(()))) {
                stack.close(id);
            }
        }
        Err(_) => {}
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
