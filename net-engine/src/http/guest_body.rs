use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::body::{BodyError, Filtered};
use super::response_filter::ResponseFilter;
use crate::guest::ShownName;

/// A body towards the guest.
pub(super) struct GuestBody {
    source: Source,
    /// The name its request showed, for as long as the response runs.
    _shown: Option<ShownName>,
}

#[allow(clippy::large_enum_variant, reason = "nearly all are upstream's: a box would be one more for each")]
enum Source {
    /// Our own words, or none.
    Own(Full<Bytes>),
    /// What upstream sends.
    Upstream(Filtered<ResponseFilter>),
}

impl GuestBody {
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        Self { source: Source::Own(Full::new(text.into())), _shown: None }
    }

    pub(super) fn empty() -> Self {
        Self::own(Bytes::new())
    }

    pub(super) fn upstream(body: Filtered<ResponseFilter>, shown: Option<ShownName>) -> Self {
        Self { source: Source::Upstream(body), _shown: shown }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Own(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(|never: Infallible| match never {})))
            }
            Source::Upstream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(body) => body.is_end_stream(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(body) => body.size_hint(),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}
