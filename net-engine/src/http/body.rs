use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use net_secrets::{DigestError, Violation};
use thiserror::Error;

use super::incoming::Incoming;

/// Why a body ended early.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// What is done to the bytes of a body on their way.
pub(super) trait Filter: Unpin {
    /// What may go now of `chunk`, of which it may leave some for the next call.
    fn data(&mut self, chunk: &mut Bytes) -> Result<Bytes, Violation>;
    /// What was held back and may go now.
    fn end(&mut self) -> Result<Bytes, Violation>;
    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), Violation>;
}

/// A body whose bytes pass a filter.
pub(super) struct Filtered<F> {
    body: Incoming,
    filter: Option<F>,
    state: State,
    /// Whether the filter leaves the length as it is.
    keeps_length: bool,
    /// Whether the filter was given any bytes.
    has_data: bool,
    /// What the filter left of a frame.
    pending: Bytes,
}

enum State {
    Reading,
    /// The data has ended; trailers may follow.
    Trailers(HeaderMap),
    Done,
}

impl<F> Filtered<F> {
    /// `filter` of `None` passes everything.
    pub(super) fn new(body: Incoming, filter: Option<F>, keeps_length: bool) -> Self {
        let keeps_length = keeps_length || filter.is_none();
        Self { body, filter, state: State::Reading, keeps_length, has_data: false, pending: Bytes::new() }
    }
}

impl<F> Filtered<F> {
    pub(super) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }
}

impl<F: Filter> Body for Filtered<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Reading => self.state = State::Reading,
                State::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                State::Done => return Poll::Ready(None),
            }
            let this = &mut *self;
            if !this.pending.is_empty()
                && let Some(filter) = &mut this.filter
            {
                let passed = filter.data(&mut this.pending).inspect_err(|_| this.state = State::Done)?;
                if !passed.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(passed))));
                }
                continue;
            }
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            let Some(filter) = &mut this.filter else {
                return Poll::Ready(frame);
            };
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(chunk)) => {
                    this.has_data = true;
                    this.pending = chunk;
                }
                Some(Err(frame)) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    filter.trailers(&mut trailers)?;
                    let rest = filter.end()?;
                    this.state = State::Trailers(trailers);
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
                None => {
                    this.state = State::Done;
                    let rest = filter.end()?;
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.state {
            // A filter that was given bytes may still hold some when the body says that it has none.
            State::Reading => (self.filter.is_none() || !self.has_data) && self.body.is_end_stream(),
            State::Trailers(_) => false,
            State::Done => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.keeps_length { self.body.size_hint() } else { SizeHint::default() }
    }
}
