use std::sync::Arc;

use bytes::Bytes;

use super::frames::MAX_CONTROL_BYTES;
use crate::binding::Toward;
use crate::body::Content;
use crate::compiled::Compiled;
use crate::media::BodyKind;
use crate::{BodyRewriter, Destination, Scrubber, SecretSet, Violation};

/// What is done to the payloads of one direction.
pub trait Payloads: sealed::Payloads {}

impl Payloads for Rewriting {}
impl Payloads for Scrubbing {}

pub(super) mod sealed {
    use bytes::Bytes;

    use crate::Violation;

    pub trait Payloads {
        /// Whether frames are masked: those of clients are.
        const ARE_MASKED: bool;

        /// The next bytes of a message, text or binary; some may be left for the next call.
        fn data(&mut self, is_text: bool, bytes: &mut Bytes) -> Result<Bytes, Violation>;

        /// The message has ended: the rest of it.
        fn end(&mut self) -> Result<Bytes, Violation>;

        /// The whole payload of a control frame.
        fn control(&mut self, payload: Bytes) -> Result<Bytes, Violation>;
    }
}

/// Puts values into messages.
pub struct Rewriting {
    compiled: Option<Arc<Compiled>>,
    to: Toward,
    /// That of the message in flight, once it has begun with something other than white space.
    message: Option<BodyRewriter>,
}

impl Rewriting {
    pub(crate) fn new(compiled: Option<Arc<Compiled>>, to: &Destination<'_>) -> Self {
        Self { compiled, to: to.into(), message: None }
    }

    pub(super) fn follow(&mut self, next: &SecretSet) {
        self.compiled = next.compiled();
    }
}

impl sealed::Payloads for Rewriting {
    const ARE_MASKED: bool = true;

    fn data(&mut self, is_text: bool, bytes: &mut Bytes) -> Result<Bytes, Violation> {
        if self.message.is_none() {
            let Some(first) = bytes.trim_ascii_start().first() else { return Ok(std::mem::take(bytes)) };
            // What a message is written in is not said, but JSON shows.
            let kind = match first {
                b'{' | b'[' | b'"' if is_text => BodyKind::Json,
                _ if is_text => BodyKind::Text,
                _ => BodyKind::Binary,
            };
            let to = self.to.as_destination();
            self.message = Some(BodyRewriter::new(self.compiled.clone(), &to, Content::WebSocket(kind)));
        }
        self.message.as_mut().map_or(Ok(Bytes::new()), |message| message.feed_some(bytes))
    }

    fn end(&mut self) -> Result<Bytes, Violation> {
        self.message.take().map_or(Ok(Bytes::new()), |mut message| message.finish())
    }

    fn control(&mut self, payload: Bytes) -> Result<Bytes, Violation> {
        if let Some(compiled) = &self.compiled {
            compiled.check(&payload, Some(&self.to.as_destination()))?;
        }
        Ok(payload)
    }
}

/// Turns values back into placeholders.
pub struct Scrubbing {
    /// `None` where none is looked for.
    scrubber: Option<Scrubber>,
}

impl Scrubbing {
    pub(crate) fn new(scrubber: Option<Scrubber>) -> Self {
        Self { scrubber }
    }

    pub(super) fn follow(&mut self, next: Scrubber) {
        match &mut self.scrubber {
            Some(scrubber) => scrubber.follow(next),
            None => self.scrubber = Some(next),
        }
    }
}

impl sealed::Payloads for Scrubbing {
    const ARE_MASKED: bool = false;

    fn data(&mut self, _: bool, bytes: &mut Bytes) -> Result<Bytes, Violation> {
        let bytes = std::mem::take(bytes);
        Ok(match &mut self.scrubber {
            Some(scrubber) => scrubber.feed(bytes),
            None => bytes,
        })
    }

    fn end(&mut self) -> Result<Bytes, Violation> {
        Ok(self.scrubber.as_mut().map(Scrubber::finish).unwrap_or_default())
    }

    /// What grows beyond the most a control frame holds is cut.
    fn control(&mut self, payload: Bytes) -> Result<Bytes, Violation> {
        Ok(match self.scrubber.as_ref().and_then(|scrubber| scrubber.scrub(&payload)) {
            Some(mut clean) => {
                clean.truncate(MAX_CONTROL_BYTES);
                clean.into()
            }
            None => payload,
        })
    }
}
