use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response};
use net_core::{HostName, Limits};
use net_policy::RequestLine;
use tokio::time::timeout;

use super::body::{BodyError, Filtered};
use super::headers;
use super::held::HeldBody;
use super::interim::Interims;
use super::request_filter::RequestFilter;
use super::response_filter::ResponseFilter;
use super::websocket::WebSocket;
use crate::guest::{HeldBytes, ShownName};

/// A body towards upstream: as it comes, or read whole before.
pub(super) type UpstreamBody = HeldBody<RequestFilter>;

/// A request that may go on, and what its response must pass.
pub(super) struct Admitted {
    pub(super) request: Request<Filtered<RequestFilter>>,
    /// What the body's filter found, for the answer to the guest.
    pub(super) found: Arc<OnceLock<String>>,
    /// Where values may be put into the body.
    pub(super) rewriting: Option<Rewriting>,
    pub(super) rest: Rest,
}

impl Admitted {
    /// The request, what its body may be found to hold, and what `Exchange::finish` needs for its response.
    ///
    /// A body of a stated length is read whole first, as far as `limits` and the room in `held`
    /// permit.
    ///
    /// # Errors
    /// What a body that was read whole was found to hold, or that it could not be read.
    pub(super) async fn settle(
        self,
        limits: &Limits,
        held: &HeldBytes,
    ) -> Result<(Request<UpstreamBody>, Arc<OnceLock<String>>, Rest), BodyError> {
        let Self { request, found, rewriting, rest } = self;
        let (mut parts, body) = request.into_parts();
        let stated = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let to_hold =
            stated.filter(|bytes| body.has_filter() && (1..=limits.max_held_body_bytes).contains(bytes));
        // A body that values are put into may grow.
        let room = |bytes| if rewriting.is_some() { limits.max_held_body_bytes } else { bytes };
        let body = match to_hold.and_then(|bytes| Some((bytes, held.take(room(bytes))?))) {
            Some((bytes, taken)) => {
                let mut body = HeldBody::new(body, bytes, taken);
                // What has not come in time is searched as it passes.
                timeout(limits.held_body_timeout, body.fill(room(bytes))).await.unwrap_or(Ok(()))?;
                body
            }
            None => HeldBody::streamed(body),
        };
        if let Some(Rewriting { has_changed, is_decoded }) = rewriting {
            // Written again by hyper where it is known, else the body goes in chunks or frames.
            parts.headers.remove(CONTENT_LENGTH);
            let changes = is_decoded || body.whole().is_none() || has_changed.get();
            if changes {
                headers::renew_digests(&mut parts.headers, body.whole())?;
            }
        }
        Ok((Request::from_parts(parts, body), found, rest))
    }
}

/// What becomes of a body that values may be put into.
pub(super) struct Rewriting {
    /// Whether one was.
    pub(super) has_changed: Rc<Cell<bool>>,
    /// Whether it went on without the coding it came in.
    pub(super) is_decoded: bool,
}

/// What [`Exchange::finish`](super::exchange::Exchange::finish) needs to know of a request.
pub(super) struct Rest {
    pub(super) scrubber: Option<ResponseFilter>,
    pub(super) method: Method,
    /// Where the session is not for one name already.
    pub(super) shown: Option<ShownName>,
    /// The request, where requests are decided one by one.
    pub(super) decided: Option<RequestLine>,
    /// The protocol the guest offers to switch to.
    pub(super) upgrade: Option<HeaderValue>,
    /// What that is to pass, beside secrets.
    pub(super) websocket: Option<WebSocket>,
    pub(super) interims: Interims,
}

impl Rest {
    /// Makes an interim response the guest's; `None` where it is not passed on.
    pub(super) fn interim(&mut self, head: Response<()>) -> Option<Response<()>> {
        self.interims.pass(head, self.scrubber.as_mut().map(ResponseFilter::current))
    }

    /// The name the request shows, where the session is not for one.
    pub(super) fn shown(&self) -> Option<&HostName> {
        self.shown.as_ref().map(ShownName::name)
    }
}
