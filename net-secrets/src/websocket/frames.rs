use bytes::{Buf, Bytes};
use thiserror::Error;

use super::frame::{FrameError, Header, MAX_HEADER_BYTES, Opcode, apply_mask};
use super::payload::Payloads;
use super::{Rewriting, Scrubbing, WebSocketRewriter, WebSocketScrubber};
use crate::wiped::{Wiped, reserve, sensitive};
use crate::{MAX_GROWN_BYTES, Scrubber, SecretSet, Violation};

/// The most a control frame carries (section 5.5).
pub(super) const MAX_CONTROL_BYTES: usize = 125;

/// The opcode of what ends a direction.
const CLOSE: u8 = 8;

/// Why a WebSocket must end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// A placeholder where it may not go. Nothing of its message has left, if that fitted what may be
    /// held.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// What came is no WebSocket without extensions.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// One direction of a WebSocket, its messages rewritten.
///
/// A message that is whole goes on as one frame. One that is longer than may be held goes on in
/// fragments of what has been seen of it. Masks are the guest's own.
pub struct Frames<P> {
    payloads: P,
    /// How much of a message may wait for its end.
    max_held_bytes: usize,
    /// A header that has not come to its end.
    header: Vec<u8>,
    /// The frame whose payload comes.
    frame: Option<Frame>,
    message: Option<Message>,
    /// The last one that was seen.
    mask: [u8; 4],
}

struct Frame {
    header: Header,
    /// How much of the payload has come.
    seen: u64,
    /// How much of that was left for the next call, unmasked.
    left: usize,
    /// The payload, of a control frame.
    control: Vec<u8>,
}

struct Message {
    is_text: bool,
    mask: Option<[u8; 4]>,
    /// Rewritten, and not gone on.
    pending: Wiped,
    /// Whether a fragment has gone on.
    has_begun: bool,
}

#[allow(private_bounds, reason = "whose payloads are rewritten is said by the two aliases")]
impl<P: Payloads> Frames<P> {
    pub(crate) fn new(payloads: P, max_held_bytes: usize) -> Self {
        Self { payloads, max_held_bytes, header: Vec::new(), frame: None, message: None, mask: [0; 4] }
    }

    /// Takes the next bytes; the frames that may go on.
    ///
    /// Stops where more than [`MAX_GROWN_BYTES`] were written: what is left in `chunk` is for the next call,
    /// in front of what comes behind it.
    ///
    /// # Errors
    /// [`WebSocketError`]: nothing more may go on. The frames before have, which are lost where they came
    /// with the same call.
    pub fn feed(&mut self, chunk: &mut Bytes) -> Result<Bytes, WebSocketError> {
        let mut out = Wiped::default();
        while out.len() <= MAX_GROWN_BYTES {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.next_header(chunk)? {
                    Some(header) => Frame { header, seen: 0, left: 0, control: Vec::new() },
                    None => break,
                },
            };
            self.take_payload(frame, chunk, &mut out)?;
            // Its end may be in this chunk.
            self.flush_long(self.max_held_bytes.max(MAX_GROWN_BYTES), &mut out);
            if self.frame.is_some() && chunk.is_empty() {
                break;
            }
        }
        self.flush_long(self.max_held_bytes, &mut out);
        Ok(sensitive(out))
    }

    /// How much of a message waits for its end.
    pub fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.pending.len())
    }

    /// What waits for the end of its message, as a fragment that need not: what follows is looked at as it
    /// comes.
    #[must_use]
    pub fn release(&mut self) -> Bytes {
        let mut out = Wiped::default();
        if let Some(message) = self.message.as_mut().filter(|message| !message.pending.is_empty()) {
            message.write(false, &mut out);
        }
        sensitive(out)
    }

    /// The frame that ends this direction (section 5.5.1), after which there is none; of `reason` what fits.
    #[must_use]
    pub fn close(&self, code: u16, reason: &str) -> Bytes {
        let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_BYTES - 2)];
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        let mut out = Wiped::default();
        write(true, Opcode::Control(CLOSE), P::ARE_MASKED.then_some(self.mask), &payload, &mut out);
        sensitive(out)
    }

    /// The next frame's header, checked against what came before.
    fn next_header(&mut self, chunk: &mut Bytes) -> Result<Option<Header>, FrameError> {
        let known = self.header.len();
        let more = chunk.len().min(MAX_HEADER_BYTES - known);
        self.header.extend_from_slice(&chunk[..more]);
        let Some((header, used)) = Header::parse(&self.header)? else {
            chunk.advance(more);
            return Ok(None);
        };
        // What was known was no header.
        chunk.advance(used.saturating_sub(known));
        self.header.clear();
        if header.mask.is_some() != P::ARE_MASKED {
            return Err(FrameError::Mask);
        }
        self.mask = header.mask.unwrap_or_default();
        let is_text = match (header.opcode, &self.message) {
            (Opcode::Control(_), _) | (Opcode::Continuation, Some(_)) => return Ok(Some(header)),
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(FrameError::Fragment);
            }
            (Opcode::Text, None) => true,
            (Opcode::Binary, None) => false,
        };
        let pending = Wiped::default();
        self.message = Some(Message { is_text, mask: header.mask, pending, has_begun: false });
        Ok(Some(header))
    }

    /// Takes what has come of a frame's payload. The frame is kept where there is more to come.
    fn take_payload(
        &mut self,
        mut frame: Frame,
        chunk: &mut Bytes,
        out: &mut Wiped,
    ) -> Result<(), WebSocketError> {
        let mut bytes = frame.next_bytes(chunk);
        let mut is_whole = frame.seen == frame.header.payload_bytes;
        if let Opcode::Control(_) = frame.header.opcode {
            // At most 125 bytes.
            frame.control.extend_from_slice(&bytes);
            if is_whole {
                let payload = self.payloads.control(std::mem::take(&mut frame.control).into())?;
                write(true, frame.header.opcode, frame.header.mask, &payload, out);
            }
        } else if let Some(message) = &mut self.message {
            let rewritten = self.payloads.data(message.is_text, &mut bytes)?;
            push(&mut message.pending, &rewritten);
            if !bytes.is_empty() {
                is_whole = false;
                frame.left = bytes.len();
                *chunk = [&bytes[..], chunk].concat().into();
            }
            if is_whole && frame.header.is_last {
                let rewritten = self.payloads.end()?;
                push(&mut message.pending, &rewritten);
                message.write(true, out);
                self.message = None;
            }
        }
        self.frame = (!is_whole).then_some(frame);
        Ok(())
    }

    /// Sends on what is too long to be held any longer.
    fn flush_long(&mut self, max_bytes: usize, out: &mut Wiped) {
        if let Some(message) = &mut self.message
            && message.pending.len() > max_bytes
        {
            message.write(false, out);
        }
    }
}

impl Frame {
    /// What has come of the payload, unmasked.
    fn next_bytes(&mut self, chunk: &mut Bytes) -> Bytes {
        if self.left > 0 {
            return chunk.split_to(std::mem::take(&mut self.left).min(chunk.len()));
        }
        let left = self.header.payload_bytes - self.seen;
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let bytes = chunk.split_to(count);
        let offset = self.seen;
        self.seen += count as u64;
        match self.header.mask.filter(|_| count > 0) {
            Some(mask) => {
                let mut plain = bytes.to_vec();
                apply_mask(mask, offset, &mut plain);
                plain.into()
            }
            None => bytes,
        }
    }
}

impl WebSocketRewriter {
    /// Goes on with the secrets of `next`, from the next message on.
    pub fn follow(&mut self, next: &SecretSet) {
        Rewriting::follow(&mut self.payloads, next);
    }
}

impl WebSocketScrubber {
    /// Goes on with what `next` looks for. What is held back stays so.
    pub fn follow(&mut self, next: Scrubber) {
        Scrubbing::follow(&mut self.payloads, next);
    }
}

impl Message {
    /// Writes what is pending as a frame.
    fn write(&mut self, is_last: bool, out: &mut Wiped) {
        let opcode = match (self.has_begun, self.is_text) {
            (true, _) => Opcode::Continuation,
            (false, true) => Opcode::Text,
            (false, false) => Opcode::Binary,
        };
        write(is_last, opcode, self.mask, &self.pending, out);
        self.has_begun = true;
        self.pending = Wiped::default();
    }
}

fn push(pending: &mut Wiped, bytes: &[u8]) {
    reserve(pending, bytes.len());
    pending.extend_from_slice(bytes);
}

fn write(is_last: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8], out: &mut Wiped) {
    reserve(out, MAX_HEADER_BYTES + payload.len());
    Header::write(is_last, opcode, mask, payload, out);
}
