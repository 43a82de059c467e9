//! A WebSocket beside secrets: its messages are looked into both ways (RFC 6455).

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderValue};
use net_core::{Flow, HostName};
use net_secrets::{Destination, SecretSet, WebSocketError, WebSocketRewriter, WebSocketScrubber};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use zeroize::Zeroizing;

use super::tunnel::{Duplex, TunnelEnd, carry, close_lingering, pass_on_end};
use crate::core::FlowId;
use crate::guest::{Context, LeakPlace, Room, StreamInfo};

/// What is read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// What a held message has room for at first.
const MIN_ROOM_BYTES: usize = 4 << 10;

/// Of the codes that say why a WebSocket ends (section 7.4.1).
const PROTOCOL_ERROR: u16 = 1002;
const POLICY_VIOLATION: u16 = 1008;

/// A WebSocket to be: what its messages will pass.
pub(super) struct WebSocket {
    up: Up,
    down: Down,
    ending: Rc<Ending>,
}

/// Whether that is the protocol a request offers to switch to.
pub(super) fn is_offered(upgrade: &HeaderValue) -> bool {
    upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// Offers no extension: what one makes of messages, as compression does, could not be looked into.
pub(super) fn offer_no_extension(headers: &mut HeaderMap) {
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
}

/// Whether upstream has chosen an extension all the same.
pub(super) fn has_extension(headers: &HeaderMap) -> bool {
    headers.contains_key(SEC_WEBSOCKET_EXTENSIONS)
}

impl WebSocket {
    /// One on the stream that `info` says, with `name`.
    pub(super) fn new(
        context: &Rc<Context>,
        info: &StreamInfo,
        name: Option<&HostName>,
        secrets: &SecretSet,
    ) -> Self {
        let to = info.destination(name);
        let generation = context.secrets_generation();
        let up = Up {
            rewriter: secrets.websocket_rewriter(&to, context.limits.max_held_body_bytes),
            generation,
            room: None,
            deadline: None,
            context: Rc::clone(context),
        };
        let down = Down {
            scrubber: secrets.websocket_scrubber(&to),
            host: name.cloned(),
            generation,
            context: Rc::clone(context),
        };
        let ending = Rc::new(Ending {
            why: RefCell::new(None),
            waiting: [Cell::new(None), Cell::new(None)],
            flow: info.flow,
            name: name.or(info.name.as_ref()).cloned(),
            context: Rc::clone(context),
        });
        Self { up, down, ending }
    }

    /// Carries messages until both sides have ended, or one of them must not be carried on: then both are told
    /// by a last frame.
    pub(super) async fn carry(self, id: FlowId, guest: TunnelEnd, upstream: TunnelEnd) {
        let Self { up, down, ending } = self;
        let context = Rc::clone(&ending.context);
        let mut guest = Messages::new(guest, up, Rc::clone(&ending));
        let mut upstream = Messages::new(upstream, down, Rc::clone(&ending));
        let carried = carry(&mut guest, &mut upstream, &context.limits).await;
        pass_on_end(&context.stack, id, &mut guest, carried, &context.limits).await;
        if ending.why.borrow().is_some() {
            close_lingering(guest.stream).await;
        }
    }
}

/// How a WebSocket ends that we end, which its two directions share.
struct Ending {
    /// A code, and what the guest may read.
    why: RefCell<Option<(u16, String)>>,
    /// Who waits for bytes: the guest's direction, and upstream's.
    waiting: [Cell<Option<Waker>>; 2],
    flow: Flow,
    name: Option<HostName>,
    context: Rc<Context>,
}

impl Ending {
    /// The first that is found ends it.
    fn handle_error(&self, error: &WebSocketError) {
        let code = if let WebSocketError::Violation(violation) = error {
            self.context.report_violation(&self.flow, self.name.clone(), LeakPlace::WebSocket, violation);
            POLICY_VIOLATION
        } else {
            PROTOCOL_ERROR
        };
        self.why.borrow_mut().get_or_insert_with(|| (code, error.to_string()));
        self.waiting.iter().filter_map(Cell::take).for_each(Waker::wake);
    }
}

/// What the messages of one direction pass.
trait Direction: Unpin {
    /// Which one of [`Ending::waiting`].
    const NUMBER: usize;

    /// The frames that may go on of what has come, as [`WebSocketRewriter::feed`] says.
    fn feed(&mut self, chunk: &mut Bytes) -> Result<Bytes, WebSocketError>;

    /// What may be held no longer.
    fn poll_held(&mut self, task: &mut Task<'_>) -> Poll<Bytes>;

    /// The last frame.
    fn close(&self, code: u16, why: &str) -> Bytes;
}

/// What the guest says: placeholders become values.
struct Up {
    rewriter: WebSocketRewriter,
    /// The swap of the secrets it knows of.
    generation: u64,
    /// That of the message it holds.
    room: Option<Room>,
    /// Until when the message may be held.
    deadline: Option<Pin<Box<Sleep>>>,
    context: Rc<Context>,
}

impl Direction for Up {
    const NUMBER: usize = 0;

    fn feed(&mut self, chunk: &mut Bytes) -> Result<Bytes, WebSocketError> {
        let generation = self.context.secrets_generation();
        if self.generation != generation {
            self.generation = generation;
            self.rewriter.follow(&self.context.secrets());
        }
        let fed = self.rewriter.feed(chunk)?;
        let held = self.rewriter.held_bytes();
        if held == 0 {
            (self.room, self.deadline) = (None, None);
            return Ok(fed);
        }
        if self.room.as_ref().is_none_or(|room| room.bytes() < held) {
            self.room = None;
            let bytes = held.checked_next_power_of_two().unwrap_or(held).max(MIN_ROOM_BYTES);
            self.room = self.context.held_bytes.take(bytes);
        }
        if self.room.is_none() {
            self.deadline = None;
            return Ok(joined(fed, self.rewriter.release()));
        }
        if self.deadline.is_none() {
            self.deadline = Some(Box::pin(sleep(self.context.limits.held_body_timeout)));
        }
        Ok(fed)
    }

    fn poll_held(&mut self, task: &mut Task<'_>) -> Poll<Bytes> {
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(task));
        // For what comes behind it.
        deadline.as_mut().reset(Instant::now() + self.context.limits.held_body_timeout);
        Poll::Ready(self.rewriter.release())
    }

    /// Why is the guest's affair alone.
    fn close(&self, code: u16, _: &str) -> Bytes {
        self.rewriter.close(code, "")
    }
}

/// What upstream says: values become placeholders.
struct Down {
    scrubber: WebSocketScrubber,
    host: Option<HostName>,
    /// The swap of the secrets it knows of.
    generation: u64,
    context: Rc<Context>,
}

impl Direction for Down {
    const NUMBER: usize = 1;

    fn feed(&mut self, chunk: &mut Bytes) -> Result<Bytes, WebSocketError> {
        let generation = self.context.secrets_generation();
        if self.generation != generation {
            self.generation = generation;
            let from = Destination { host: self.host.as_ref(), port: 0, is_verified: false };
            // Where the host has none any more, what was looked for does no harm.
            if let Some(next) = self.context.secrets().scrubber(&from) {
                self.scrubber.follow(next);
            }
        }
        self.scrubber.feed(chunk)
    }

    /// Of a message what has come goes on.
    fn poll_held(&mut self, _: &mut Task<'_>) -> Poll<Bytes> {
        Poll::Pending
    }

    fn close(&self, code: u16, why: &str) -> Bytes {
        self.scrubber.close(code, why)
    }
}

/// One end of a WebSocket: what is read of it went through what looks into messages, whole frames at a time.
struct Messages<D> {
    stream: Box<dyn Duplex>,
    direction: D,
    /// What has come and was not looked into.
    chunk: Bytes,
    /// What may go on.
    passed: Bytes,
    has_ended: bool,
    ending: Rc<Ending>,
}

impl<D> Messages<D> {
    fn new(end: TunnelEnd, direction: D, ending: Rc<Ending>) -> Self {
        let TunnelEnd { stream, unread } = end;
        Self { stream, direction, chunk: unread, passed: Bytes::new(), has_ended: false, ending }
    }
}

impl<D: Direction> AsyncRead for Messages<D> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.passed.is_empty() && !this.has_ended {
            if let Some((code, why)) = &*this.ending.why.borrow() {
                this.has_ended = true;
                this.passed = this.direction.close(*code, why);
                break;
            }
            if !this.chunk.is_empty() {
                match this.direction.feed(&mut this.chunk) {
                    Ok(passed) => this.passed = passed,
                    Err(error) => this.ending.handle_error(&error),
                }
                continue;
            }
            let mut chunk = Zeroizing::new(vec![0; CHUNK_BYTES]);
            let mut read = ReadBuf::new(&mut chunk);
            match Pin::new(&mut this.stream).poll_read(task, &mut read) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    this.ending.waiting[D::NUMBER].set(Some(task.waker().clone()));
                    this.passed = ready!(this.direction.poll_held(task));
                    continue;
                }
            }
            let count = read.filled().len();
            // A message that has not come to its end then never will.
            this.has_ended = count == 0;
            chunk.truncate(count);
            this.chunk = Bytes::from_owner(chunk);
        }
        let count = this.passed.len().min(buffer.remaining());
        buffer.put_slice(&this.passed[..count]);
        this.passed.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<D: Direction> AsyncWrite for Messages<D> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

/// One behind the other.
fn joined(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        _ => Bytes::from_owner(Zeroizing::new([&first[..], &second].concat())),
    }
}
