use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};

use super::body::BodyError;

/// Why a body was not sent to its end.
pub(super) enum Cut {
    /// It broke off.
    Body(BodyError),
    /// Nobody wants more of it: the stream was reset, or its connection has ended.
    Reset,
}

/// Sends a body over a stream of HTTP/2, to its end or until that is reset. A piece of it is asked for when the
/// one before has gone into the stream's buffer, and goes there when there is room: what waits is one piece above
/// that buffer.
///
/// # Errors
/// [`Cut`]; then the stream is still to be reset.
pub(super) async fn send_body<B>(mut body: B, to: &mut SendStream<Bytes>) -> Result<(), Cut>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    while let Some(frame) = poll_fn(|task| next(&mut body, to, task)).await? {
        match frame.into_data() {
            Ok(data) => {
                let ends = body.is_end_stream();
                if !data.is_empty() {
                    // No more than the least, and for what is there: a claim on the connection's window that is
                    // not used stalls other streams.
                    to.reserve_capacity(1);
                    poll_fn(|task| room(to, task)).await?;
                }
                to.send_data(data, ends).map_err(|_| Cut::Reset)?;
                if ends {
                    return Ok(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    to.reserve_capacity(0);
                    return to.send_trailers(trailers).map_err(|_| Cut::Reset);
                }
            }
        }
    }
    to.send_data(Bytes::new(), true).map_err(|_| Cut::Reset)
}

/// The next of a body, unless nobody wants it.
fn next<B>(
    body: &mut B,
    to: &mut SendStream<Bytes>,
    task: &mut Context<'_>,
) -> Poll<Result<Option<Frame<Bytes>>, Cut>>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    if to.poll_reset(task).is_ready() {
        return Poll::Ready(Err(Cut::Reset));
    }
    let frame = ready!(Pin::new(body).poll_frame(task));
    Poll::Ready(frame.transpose().map_err(Cut::Body))
}

/// Waits until the stream takes something.
fn room(to: &mut SendStream<Bytes>, task: &mut Context<'_>) -> Poll<Result<(), Cut>> {
    if to.poll_reset(task).is_ready() {
        return Poll::Ready(Err(Cut::Reset));
    }
    while to.capacity() == 0 {
        match ready!(to.poll_capacity(task)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(Err(Cut::Reset)),
        }
    }
    Poll::Ready(Ok(()))
}

/// The reason of a reset by one side as the other is to hear it: that it is not wanted any more, was never looked
/// at, or is to come otherwise. Anything else is between us and the one.
pub(super) fn passed_on(reason: Reason) -> Option<Reason> {
    const MEANT: [Reason; 4] =
        [Reason::CANCEL, Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM, Reason::HTTP_1_1_REQUIRED];
    MEANT.contains(&reason).then_some(reason)
}
