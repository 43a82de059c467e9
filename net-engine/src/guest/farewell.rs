//! How a stream is ended that was not carried to its end.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::timeout;

use super::{GuestStream, InterceptError};

/// RFC 8446, section 6.2.
pub(crate) const ACCESS_DENIED: u8 = 49;

/// How long a guest may go on sending what nobody reads after the last it is told.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// Tells the guest by an alert or a reset; `guest` has sent its first flight and got nothing.
pub(crate) async fn fail(guest: &GuestStream, error: InterceptError) -> InterceptError {
    match error.alert() {
        Some(alert) => send_alert(guest, alert).await,
        None => guest.abort(),
    }
    error
}

/// Ends a TLS stream before its ServerHello with a fatal alert (RFC 8446, section 6).
pub(crate) async fn send_alert(guest: &GuestStream, description: u8) {
    const FATAL: u8 = 2;
    let record = [21, 3, 3, 0, 2, FATAL, description];
    let sent = poll_fn(|context| {
        guest.poll_write_with(context, |_, room| {
            let count = record.len().min(room.len());
            room[..count].copy_from_slice(&record[..count]);
            (count, ())
        })
    });
    // The ring of a stream on which nothing was sent has room for seven bytes.
    let _ = sent.await;
    guest.close();
    // A reset for what the guest still sends would take the alert from it.
    let ignore = async {
        while let Ok(Some(())) =
            poll_fn(|context| guest.poll_read_with(context, |_, bytes| (bytes.len(), ()))).await
        {}
    };
    let _ = timeout(FAREWELL, ignore).await;
}
