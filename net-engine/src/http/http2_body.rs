use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};

use super::body::BodyError;
use super::http2_answer::Http2Answer;
use super::http2_upload::Upload;

/// A body that comes over HTTP/2. What is taken of it may be sent again: the window is the bound of what waits.
pub(super) struct Http2Body {
    stream: RecvStream,
    /// Of a stated length, what has not come.
    left: Option<u64>,
    has_data_ended: bool,
    /// Whom to tell that the body is wanted.
    expectation: Option<Rc<Http2Answer>>,
    /// The request's own body, which goes on beside the response and ends with it where it breaks off.
    upload: Option<Upload>,
}

impl Http2Body {
    /// A request's, whose guest may wait to be told that it is wanted.
    pub(super) fn of_request(
        stream: RecvStream,
        headers: &HeaderMap,
        expectation: Option<Rc<Http2Answer>>,
    ) -> Self {
        Self { expectation, ..Self::new(stream, headers) }
    }

    /// A response's, to a request whose body may still be on its way.
    pub(super) fn of_response(stream: RecvStream, headers: &HeaderMap, upload: Option<Upload>) -> Self {
        let mut body = Self { upload, ..Self::new(stream, headers) };
        body.note_end();
        body
    }

    fn new(stream: RecvStream, headers: &HeaderMap) -> Self {
        // h2 takes no message that states two, or one that is no number.
        let left = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Self { stream, left, has_data_ended: false, expectation: None, upload: None }
    }

    /// Who sees the end coming need not ask for it.
    fn note_end(&mut self) {
        if self.stream.is_end_stream()
            && let Some(upload) = self.upload.take()
        {
            // A server that answers early may want all of the request (RFC 9113, section 8.1).
            upload.go_on();
        }
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if !this.has_data_ended {
            let polled = this.stream.poll_data(context);
            if polled.is_pending()
                && let Some(answer) = this.expectation.take()
            {
                answer.proceed();
            }
            if let Some(data) = ready!(polled) {
                let data = data?;
                // An error here is one of the stream, which the next read shows.
                let _ = this.stream.flow_control().release_capacity(data.len());
                let taken = u64::try_from(data.len()).unwrap_or(u64::MAX);
                this.left = this.left.map(|left| left.saturating_sub(taken));
                this.note_end();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            this.has_data_ended = true;
        }
        let trailers = ready!(this.stream.poll_trailers(context))?;
        this.note_end();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
