use std::rc::Rc;

use h2::Reason;
use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode, Version};
use tokio::time::timeout;

use super::admitted::UpstreamBody;
use super::body::BodyError;
use super::exchange::Exchange;
use super::guest_body::GuestBody;
use super::headers;
use super::http2_answer::Http2Answer;
use super::http2_send::passed_on;
use super::incoming::Incoming;
use super::refusal::Refusal;
use super::send_error::SendError;
use super::sender::Inform;
use super::serve::Stream;
use super::upstream::NoSender;
use crate::guest::{Context, HttpVersion};

/// Connections that may end before a request has its response over one.
const MAX_CONNECTIONS: usize = 3;

/// Why a guest gets no response of upstream's.
pub(super) enum Unanswered {
    /// We answer instead.
    Refused(Refusal),
    /// Upstream has reset the stream for a reason that is the guest's to know.
    Reset(Reason),
}

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Unanswered {
    /// What it is to a guest that can be told in words alone.
    pub(super) fn refusal(self, exchange: &Exchange) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Reset(_) => no_response(exchange),
        }
    }
}

/// Where its connection has ended, that ends the guest's.
fn no_response(exchange: &Exchange) -> Refusal {
    exchange.refuse_one(StatusCode::BAD_GATEWAY, "upstream gave no response")
}

fn unreadable(exchange: &Exchange, error: BodyError) -> Refusal {
    match error {
        // It was reported where it was found.
        BodyError::Violation(violation) => exchange.refuse(StatusCode::FORBIDDEN, &violation.to_string()),
        BodyError::Digest(error) => exchange.refuse_one(StatusCode::FORBIDDEN, &error.to_string()),
        BodyError::Coding(error) => exchange.refuse_one(StatusCode::BAD_REQUEST, &error.to_string()),
        BodyError::Http1(_) | BodyError::Http2(_) => {
            exchange.refuse_one(StatusCode::BAD_REQUEST, "the request's body broke off")
        }
    }
}

/// Reads a body of unknown length whole, as far as it may be held, so that its length can be stated; whether it is
/// known now. Trailers have no place there.
async fn frame(context: &Context, request: &mut Request<UpstreamBody>) -> Result<bool, BodyError> {
    if !headers::is_unframed(request) {
        return Ok(true);
    }
    let max = context.limits.max_held_body_bytes;
    let body = request.body_mut();
    if !body.is_kept() {
        let Some(room) = context.held_bytes.take(max) else { return Ok(false) };
        body.keep_in(room);
    }
    timeout(context.limits.held_body_timeout, body.fill(max)).await.unwrap_or(Ok(()))?;
    let length = body.whole().map(<[u8]>::len);
    if let Some(length) = length {
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    Ok(length.is_some())
}

/// Sends a request on; what comes back, and before it to `answer` what comes before.
pub(super) async fn forward(
    served: &Stream,
    request: Request<Incoming>,
    answer: Option<&Rc<Http2Answer>>,
) -> Result<Response<GuestBody>, Unanswered> {
    let Stream { context, exchange, upstream, over, .. } = served;
    let refuse = |status, why: &str| exchange.refuse(status, why);
    let settled = exchange.admit(request)?.settle(&context.limits, &context.held_bytes).await;
    let (mut request, found, mut rest) = settled.map_err(|error| unreadable(exchange, error))?;
    let server = exchange.server();
    if exchange.sides().upstream == HttpVersion::Http1 && context.old_servers.have(server) {
        let is_whole = frame(context, &mut request).await.map_err(|error| unreadable(exchange, error))?;
        if !is_whole {
            let why = "this server speaks HTTP/1.0: it must be told the body's length";
            return Err(exchange.refuse_one(StatusCode::LENGTH_REQUIRED, why).into());
        }
    }
    let shown = rest.shown().cloned();
    let mut inform = |head| {
        if let (Some(answer), Some(head)) = (answer, rest.interim(head)) {
            answer.inform(head);
        }
    };
    let mut connections = 1;
    let response = loop {
        // A guest that takes its request back drops this: the sender does not go with it.
        let mut sender =
            upstream.sender(context, exchange, shown.as_ref()).await.map_err(|error| match error {
                NoSender::Failed(error) => refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
                NoSender::Elsewhere => {
                    let why = "this connection leads another way than this host's";
                    exchange.refuse_one(StatusCode::MISDIRECTED_REQUEST, why)
                }
            })?;
        sender.when_gone(over);
        let inform: Inform<'_> = if answer.is_some() { Some(&mut inform) } else { None };
        match sender.send(request, inform).await {
            // It has waited for a connection that ends: it waits for the next.
            Err(SendError::Again(again)) if connections < MAX_CONNECTIONS => request = *again,
            sent => break sent,
        }
        connections += 1;
    };
    match (response, found.get()) {
        (_, Some(why)) => Err(refuse(StatusCode::FORBIDDEN, why).into()),
        (Ok(response), None) => {
            context.old_servers.note(server, response.version() == Version::HTTP_10);
            Ok(exchange.finish(response, rest)?)
        }
        (Err(SendError::Body), None) => {
            Err(exchange.refuse_one(StatusCode::BAD_REQUEST, "the request's body broke off").into())
        }
        (Err(SendError::Reset(reason)), None) => Err(match passed_on(reason) {
            Some(reason) => Unanswered::Reset(reason),
            None => no_response(exchange).into(),
        }),
        (Err(SendError::Upstream | SendError::Again(_)), None) => Err(no_response(exchange).into()),
    }
}
