use std::future::poll_fn;
use std::pin::Pin;
use std::task::{self, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::{Request, Response};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::admitted::UpstreamBody;
use super::headers;
use super::http2_body::Http2Body;
use super::http2_upload::Upload;
use super::send_error::SendError;
use super::sender::{HTTP2_SEND_BYTES, Inform, header_bytes, window_bytes};
use crate::guest::{Context, InterceptError};

/// Sends requests over a connection of HTTP/2, at one time as many as upstream permits.
#[derive(Clone)]
pub(super) struct Http2Sender(SendRequest<Bytes>);

impl Http2Sender {
    /// The connection is to be driven beside; it ends with the last sender.
    pub(super) async fn handshake<U>(
        stream: U,
        context: &Context,
    ) -> Result<(Self, Connection<U, Bytes>), InterceptError>
    where
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = &context.limits;
        let handshake = Builder::new()
            .enable_push(false)
            .max_header_list_size(u32::try_from(header_bytes(context)).unwrap_or(u32::MAX))
            .initial_window_size(window_bytes(limits.http2_stream_window_bytes))
            .initial_connection_window_size(window_bytes(limits.http2_window_bytes))
            .max_send_buffer_size(HTTP2_SEND_BYTES)
            .handshake(stream);
        let (requests, connection) = handshake.await.map_err(|_| InterceptError::UpstreamHttp)?;
        Ok((Self(requests), connection))
    }

    /// Whether the connection stands.
    pub(super) async fn is_ready(&self) -> bool {
        let mut requests = self.0.clone();
        poll_fn(|task| requests.poll_ready(task)).await.is_ok()
    }

    /// Sends a request; `inform` is given the interim responses.
    pub(super) async fn send(
        &self,
        request: Request<UpstreamBody>,
        mut inform: Inform<'_>,
    ) -> Result<Response<Http2Body>, SendError> {
        // One of its own: another request may wait for its turn in the one that is shared.
        let mut requests = self.0.clone();
        if poll_fn(|task| requests.poll_ready(task)).await.is_err() {
            return Err(SendError::Again(Box::new(request)));
        }
        let (mut parts, body) = request.into_parts();
        let ends = body.is_end_stream();
        headers::state_length(&mut parts, body.size_hint().exact());
        let (mut response, to) = requests.send_request(Request::from_parts(parts, ()), ends)?;
        let upload = if ends { None } else { Upload::start(body, to, requests) };
        let (parts, stream) =
            poll_fn(|task| poll_response(&mut response, &mut inform, task)).await?.into_parts();
        let body = Http2Body::of_response(stream, &parts.headers, upload);
        Ok(Response::from_parts(parts, body))
    }
}

fn poll_response(
    response: &mut ResponseFuture,
    inform: &mut Inform<'_>,
    task: &mut task::Context<'_>,
) -> Poll<Result<Response<RecvStream>, h2::Error>> {
    if let Some(inform) = inform {
        while let Poll::Ready(Some(head)) = response.poll_informational(task)? {
            inform(head);
        }
    }
    Pin::new(response).poll(task)
}
