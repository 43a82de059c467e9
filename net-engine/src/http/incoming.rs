use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming as Http1Incoming;

use super::body::BodyError;
use super::http2_body::Http2Body;

/// A body as its sender sends it, whatever HTTP it comes over.
pub(super) enum Incoming {
    Http1(Http1Incoming),
    Http2(Http2Body),
}

impl From<Http1Incoming> for Incoming {
    fn from(body: Http1Incoming) -> Self {
        Self::Http1(body)
    }
}

impl From<Http2Body> for Incoming {
    fn from(body: Http2Body) -> Self {
        Self::Http2(body)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Http2(body) => Pin::new(body).poll_frame(context),
            Self::Http1(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(BodyError::from))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
