use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use net_secrets::{DigestError, Violation};
use thiserror::Error;

use super::coding::{CodingError, Decoder, MAX_PIECES};
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
    #[error(transparent)]
    Coding(#[from] CodingError),
}

/// What is done to the bytes of a body on their way.
pub(super) trait Filter: Unpin {
    /// What may go now of `chunk`, of which it may leave some for the next call; where it leaves some and gives
    /// nothing, after others had their turn.
    fn data(&mut self, chunk: &mut Bytes) -> Result<Bytes, BodyError>;
    /// What was held back and may go now.
    fn end(&mut self) -> Result<Bytes, BodyError>;
    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), BodyError>;
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
    /// What undoes the body's coding before the filter, and what it left of a frame.
    decoder: Option<(Decoder, Bytes)>,
    /// What was decoded since others had their turn.
    pieces: usize,
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
        Self {
            body,
            filter,
            state: State::Reading,
            keeps_length,
            has_data: false,
            pending: Bytes::new(),
            decoder: None,
            pieces: 0,
        }
    }

    /// The same body without its coding.
    pub(super) fn decoded(self, decoder: Option<Decoder>) -> Self {
        let keeps_length = self.keeps_length && decoder.is_none();
        Self { decoder: decoder.map(|decoder| (decoder, Bytes::new())), keeps_length, ..self }
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
                if this.pending.is_empty() {
                    continue;
                }
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some((decoder, coded)) = &mut this.decoder
                && !(coded.is_empty() && decoder.is_drained())
            {
                if this.pieces == MAX_PIECES {
                    this.pieces = 0;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                this.pieces += 1;
                this.pending = decoder.decode(coded).inspect_err(|_| this.state = State::Done)?;
                continue;
            }
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            let Some(filter) = &mut this.filter else {
                return Poll::Ready(frame);
            };
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(chunk)) => {
                    this.has_data = true;
                    match &mut this.decoder {
                        Some((_, coded)) => *coded = chunk,
                        None => this.pending = chunk,
                    }
                }
                Some(Err(frame)) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    filter.trailers(&mut trailers)?;
                    finish(&this.decoder)?;
                    let rest = filter.end()?;
                    this.state = State::Trailers(trailers);
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
                None => {
                    this.state = State::Done;
                    finish(&this.decoder)?;
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

/// Whether what was decoded has come to its end with the body.
fn finish(decoder: &Option<(Decoder, Bytes)>) -> Result<(), CodingError> {
    decoder.as_ref().map_or(Ok(()), |(decoder, _)| decoder.finish())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::rc::Rc;

    use flate2::{Compress, Compression, FlushCompress};
    use http::{Request, Response};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::coding::Coding;
    use super::*;

    /// Counts what it is given, and holds all of it back.
    struct Counting(Rc<Cell<usize>>);

    impl Filter for Counting {
        fn data(&mut self, chunk: &mut Bytes) -> Result<Bytes, BodyError> {
            self.0.set(self.0.get() + 1);
            chunk.clear();
            Ok(Bytes::new())
        }

        fn end(&mut self) -> Result<Bytes, BodyError> {
            Ok(Bytes::new())
        }

        fn trailers(&mut self, _trailers: &mut HeaderMap) -> Result<(), BodyError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn content_in_many_members_lets_others_have_their_turn() {
        const MEMBERS: usize = 3_000;
        let mut member = Vec::with_capacity(64);
        let mut coder = Compress::new_gzip(Compression::new(6), 15);
        coder.compress_vec(b"x", &mut member, FlushCompress::Finish).expect("content");
        let coded = member.repeat(MEMBERS);
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            coded.len()
        );
        let (mut guest, engine) = duplex(1 << 20);
        guest.write_all(&[head.as_bytes(), &coded].concat()).await.expect("room");
        let most = Cell::new(0);
        let serve = service_fn(|request: Request<hyper::body::Incoming>| {
            let most = &most;
            async move {
                let count = Rc::new(Cell::new(0));
                let filter = Some(Counting(Rc::clone(&count)));
                let mut body = Filtered::new(request.into_body().into(), filter, false)
                    .decoded(Some(Decoder::new(Coding::Gzip)));
                let end = poll_fn(|context| {
                    let before = count.get();
                    let polled = Pin::new(&mut body).poll_frame(context);
                    most.set(most.get().max(count.get() - before));
                    polled
                });
                assert!(end.await.is_none(), "all of it is held back, and nothing is wrong");
                assert_eq!(count.get(), MEMBERS);
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        });
        http1::Builder::new().serve_connection(TokioIo::new(engine), serve).await.expect("a request");
        let mut answer = String::new();
        guest.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!((1..=MAX_PIECES).contains(&most.get()), "{} in one turn", most.get());
    }
}
