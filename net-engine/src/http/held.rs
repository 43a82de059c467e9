//! Request bodies that are read whole before their request goes on.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use zeroize::Zeroizing;

use super::body::{BodyError, Filter, Filtered};
use crate::guest::Room;

/// Bytes that keep their room for as long as anybody has them, and are zeroed then.
struct Kept {
    bytes: Zeroizing<Vec<u8>>,
    _room: Room,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body the beginning of which was read before.
pub(super) struct HeldBody<F> {
    /// Zeroed when dropped: values are in it.
    held: Zeroizing<Vec<u8>>,
    room: Option<Room>,
    trailers: Option<HeaderMap>,
    /// `None` once it was read to its end.
    rest: Option<Filtered<F>>,
}

impl<F: Filter> HeldBody<F> {
    /// A body of `bytes` to hold in `room`, nothing of which was read yet.
    pub(super) fn new(rest: Filtered<F>, bytes: usize, room: Room) -> Self {
        // In one piece: the guest says how many bytes come, and not in how many frames.
        let held = Zeroizing::new(Vec::with_capacity(bytes));
        Self { held, room: Some(room), trailers: None, rest: Some(rest) }
    }

    /// Has room from now on, where it had none.
    pub(super) fn keep_in(&mut self, room: Room) {
        self.room = Some(room);
    }

    /// Whether there is room for it.
    pub(super) fn is_kept(&self) -> bool {
        self.room.is_some()
    }

    /// None at all.
    pub(super) fn empty() -> Self {
        Self { held: Zeroizing::default(), room: None, trailers: None, rest: None }
    }

    /// A body that is passed on as it comes.
    pub(super) fn streamed(rest: Filtered<F>) -> Self {
        Self { held: Zeroizing::default(), room: None, trailers: None, rest: Some(rest) }
    }

    /// The data, once all of it is held.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.rest.is_none().then_some(&self.held)
    }

    /// Reads the body to its end, or until more than `max_bytes` of it are held. What was read is kept when
    /// this is dropped before.
    ///
    /// # Errors
    /// What the body was found to hold, or that it could not be read.
    pub(super) async fn fill(&mut self, max_bytes: usize) -> Result<(), BodyError> {
        while let Some(rest) = self.rest.as_mut().filter(|_| self.held.len() <= max_bytes) {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *rest).poll_frame(context)).await;
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => push(&mut self.held, &data),
                Some(Err(frame)) => self.trailers = frame.into_trailers().ok(),
                None => self.rest = None,
            }
        }
        Ok(())
    }
}

impl<F: Filter> Body for HeldBody<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.held.is_empty() {
            let bytes = std::mem::take(&mut self.held);
            let data = match self.room.take() {
                Some(room) => Bytes::from_owner(Kept { bytes, _room: room }),
                None => Bytes::from_owner(bytes),
            };
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(rest).poll_frame(context));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let rest_has_ended = self.rest.as_ref().is_none_or(Filtered::is_end_stream);
        self.held.is_empty() && self.trailers.is_none() && rest_has_ended
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let held = u64::try_from(self.held.len()).unwrap_or(u64::MAX);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

/// Appends without leaving a copy behind, as a vector does that moves when it grows.
fn push(held: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    if held.capacity() - held.len() < data.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((held.len() + data.len()) * 2));
        larger.extend_from_slice(held);
        *held = larger;
    }
    held.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::HeldBytes;

    #[test]
    fn the_room_is_that_of_all_bodies_and_comes_back() {
        let held = HeldBytes::new(10);
        let six = held.take(6).expect("there is room");
        assert!(held.take(5).is_none() && held.take(usize::MAX).is_none());
        let four = held.take(4).expect("there is room");
        let kept = Bytes::from_owner(Kept { bytes: vec![0; 6].into(), _room: six });
        let part = kept.slice(2..3);
        drop((kept, four));
        assert!(held.take(5).is_none(), "a part keeps it all");
        drop(part);
        assert!(held.take(10).is_some());
    }
}
