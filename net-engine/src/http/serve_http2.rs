//! A guest's end of HTTP/2: h2 reads frames, and what becomes of requests is written side by side.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::BodyError;
use super::forward::{Unanswered, forward};
use super::guest_body::GuestBody;
use super::http2_answer::Http2Answer;
use super::http2_body::Http2Body;
use super::http2_send::{Cut, passed_on, send_body};
use super::incoming::Incoming;
use super::sender::{HTTP2_SEND_BYTES, header_bytes, window_bytes};
use super::serve::Stream;

/// Streams that the guest has reset and that nobody has looked at, those that we have reset for what it did
/// wrong: one that causes more of them is told to calm down, and its connection ends.
const MAX_RESET_STREAMS: usize = 20;
const MAX_WRONG_STREAMS: usize = 1_024;

/// Serves a connection to its end. All of its requests end with it.
pub(super) async fn serve_http2<G>(served: &Rc<Stream>, guest: G)
where
    G: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &served.context.limits;
    let handshake = Builder::new()
        .max_header_list_size(u32::try_from(header_bytes(&served.context)).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.max_http2_streams)
        .initial_window_size(window_bytes(limits.http2_stream_window_bytes))
        .initial_connection_window_size(window_bytes(limits.http2_window_bytes))
        .max_send_buffer_size(HTTP2_SEND_BYTES)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(Some(MAX_WRONG_STREAMS))
        .handshake::<_, Bytes>(guest)
        .await;
    let mut connection = match handshake {
        Ok(connection) => connection,
        Err(error) => return served.note_end(is_no_http2(&error)),
    };
    let mut requests = FuturesUnordered::new();
    let mut over = pin!(served.over.notified());
    let mut is_over = false;
    let ended = poll_fn(|task| {
        if !is_over && over.as_mut().poll(task).is_ready() {
            is_over = true;
            connection.graceful_shutdown();
        }
        loop {
            // First, so that what they write goes out with what the connection does next.
            while let Poll::Ready(Some(())) = requests.poll_next_unpin(task) {}
            match connection.poll_accept(task) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    requests.push(answer(Rc::clone(served), request, respond));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    // A guest that breaks HTTP has been answered by h2; what it did wrong is its own affair.
    let ended = ended.await;
    served.note_end(ended.as_ref().is_err_and(is_no_http2));
}

/// Whether what a connection ended with were no frames.
fn is_no_http2(error: &h2::Error) -> bool {
    error.is_library() && error.reason() == Some(Reason::PROTOCOL_ERROR)
}

/// Answers one request, unless its guest takes it back.
async fn answer(served: Rc<Stream>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let answer = Rc::new(Http2Answer::new(respond));
    let (parts, stream) = request.into_parts();
    let waits =
        parts.headers.get(EXPECT).is_some_and(|word| word.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let body = Http2Body::of_request(stream, &parts.headers, waits.then(|| Rc::clone(&answer)));
    let form = served.exchange.form(&parts.headers);
    let request = Request::from_parts(parts, Incoming::from(body));
    let answered = tokio::select! {
        answered = forward(&served, request, Some(&answer)) => answered,
        () = answer.taken_back() => return,
    };
    let response = match answered {
        Ok(response) => Some(response),
        Err(Unanswered::Refused(refusal)) => Some(served.exchange.answer(&refusal, form)),
        Err(Unanswered::Reset(reason)) => {
            answer.reset(reason);
            None
        }
    };
    if served.exchange.has_ended() {
        served.over.notify_one();
    }
    if let Some(response) = response {
        send(&answer, response).await;
    }
}

/// Sends a response to its end; one that breaks off ends in a reset.
async fn send(answer: &Http2Answer, response: Response<GuestBody>) {
    let (mut parts, body) = response.into_parts();
    let ends = body.is_end_stream();
    if let Some(length) = body.size_hint().exact().filter(|_| !ends) {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let mut stream = match answer.begin(Response::from_parts(parts, ()), ends) {
        Ok(_) if ends => return,
        Ok(stream) => stream,
        Err(_) => return answer.reset(Reason::INTERNAL_ERROR),
    };
    if let Err(Cut::Body(error)) = send_body(body, &mut stream).await {
        stream.send_reset(reason(&error));
    }
}

/// Why a response has no end, as upstream has said it where that means something to the guest.
fn reason(error: &BodyError) -> Reason {
    match error {
        BodyError::Http2(error) if error.is_reset() && error.is_remote() => {
            error.reason().and_then(passed_on).unwrap_or(Reason::INTERNAL_ERROR)
        }
        BodyError::Http1(_)
        | BodyError::Http2(_)
        | BodyError::Violation(_)
        | BodyError::Digest(_)
        | BodyError::Coding(_) => Reason::INTERNAL_ERROR,
    }
}
