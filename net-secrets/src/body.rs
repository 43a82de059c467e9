use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::binding::Toward;
use crate::compiled::{Compiled, Outcome};
use crate::detector::behind;
use crate::escape::Escape;
use crate::media::BodyKind;
use crate::place::Place;
use crate::wiped::{Wiped, concat, reserve, sensitive};
use crate::{Destination, Detector, Violation, ViolationKind};

/// What [`BodyRewriter::feed_some`] writes at most before it stops, up to one value and what stands before it.
pub const MAX_GROWN_BYTES: usize = 1 << 20;

/// Puts values into a body as it passes, however it is cut: the result is that of the whole.
///
/// Values are written so that they stand in the content as its type asks. What is no placeholder as it
/// is, but one encoded, is found as by a [`Detector`]. Buffers with a value in them are zeroed when dropped.
///
/// # What is held back
/// The end of what came, as long as it is the beginning of a placeholder as it is, from its first byte on: less than
/// the longest placeholder. Had the guest's cut let one byte of it leave, the value could not be put in its place any
/// more. A detector, which only has to stop what it looks for, lets beginnings of less than eight bytes go. In front of
/// that, what the detector holds back, a beginning of at least eight bytes of any form: less than the longest. Nothing
/// else is held: a byte with which no form can begin lets all of it go at once, and [`Self::finish`] whatever is left.
pub struct BodyRewriter {
    /// `None` where there are no secrets.
    compiled: Option<Arc<Compiled>>,
    to: Toward,
    content: Content,
    /// May be the beginning of a placeholder.
    held: Vec<u8>,
    /// Sees what is not replaced.
    detector: Detector,
    has_changed: bool,
}

/// What is rewritten.
pub(crate) enum Content {
    Body { media_type: String, kind: BodyKind },
    WebSocket(BodyKind),
}

impl Content {
    fn place(&self) -> Place<'_> {
        match self {
            Self::Body { media_type, .. } => Place::Body(media_type),
            Self::WebSocket(_) => Place::WebSocket,
        }
    }

    fn escape(&self) -> Escape<'_> {
        match self {
            Self::Body { kind, .. } | Self::WebSocket(kind) => Escape::Body(kind),
        }
    }
}

/// What became of some bytes.
struct Rewritten {
    /// The result; `None` where no placeholder was in them.
    out: Option<Wiped>,
    /// For how many of them it is.
    used: usize,
    /// Where behind these some form may begin.
    clean: usize,
}

impl BodyRewriter {
    pub(crate) fn new(compiled: Option<Arc<Compiled>>, to: &Destination<'_>, content: Content) -> Self {
        let detector = Detector::new(compiled.clone(), Some(to));
        Self { compiled, to: to.into(), content, held: Vec::new(), detector, has_changed: false }
    }

    /// Whether some placeholder may be replaced: the length of the body is not known before its end then.
    pub fn may_change(&self) -> bool {
        let to = self.to.as_destination();
        let place = self.content.place();
        self.compiled.as_ref().is_some_and(|compiled| {
            compiled.bindings.iter().any(|binding| binding.covers(&to) && binding.permits(place))
        })
    }

    /// Whether a placeholder was replaced.
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// Takes the next bytes; what may leave now, uncopied where nothing is replaced or held back.
    ///
    /// # Errors
    /// [`Violation`]: nothing more of the body may leave.
    pub fn feed(&mut self, mut chunk: Bytes) -> Result<Bytes, Violation> {
        self.step(&mut chunk, usize::MAX)
    }

    /// As [`Self::feed`], but stops where more than [`MAX_GROWN_BYTES`] were written for placeholders: what
    /// is left in `chunk` is for the next call. Short placeholders of long values make a body thousands of
    /// times as long, and who writes the body chooses how many there are.
    ///
    /// # Errors
    /// [`Violation`]: nothing more of the body may leave.
    pub fn feed_some(&mut self, chunk: &mut Bytes) -> Result<Bytes, Violation> {
        self.step(chunk, MAX_GROWN_BYTES)
    }

    fn step(&mut self, chunk: &mut Bytes, max_out: usize) -> Result<Bytes, Violation> {
        let chunk_now = std::mem::take(chunk);
        let Some(compiled) = self.compiled.clone() else { return Ok(chunk_now) };
        let bytes = behind(&mut self.held, chunk_now);
        let open = compiled.raw.open_suffix(&bytes);
        let Rewritten { out, used, clean } = self.rewrite(&compiled, &bytes, open, max_out)?;
        if used < open && out.as_ref().is_some_and(|out| out.len() > max_out) {
            *chunk = bytes.slice(used..);
            return self.pass(out, Bytes::new(), 0);
        }
        // Behind a placeholder that reached into what was open, less may be.
        let open = if used > open { used + compiled.raw.open_suffix(&bytes[used..]) } else { open };
        self.held = bytes[open..].to_vec();
        self.pass(out, bytes.slice(used..open), clean - used)
    }

    /// The body has ended: the rest of it.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn finish(&mut self) -> Result<Bytes, Violation> {
        let Some(compiled) = self.compiled.clone() else { return Ok(Bytes::new()) };
        let bytes = Bytes::from(std::mem::take(&mut self.held));
        let Rewritten { out, used, clean } = self.rewrite(&compiled, &bytes, bytes.len(), usize::MAX)?;
        let rest = self.pass(out, bytes.slice(used..), clean - used)?;
        let last = self.detector.finish();
        Ok(if last.is_empty() { rest } else { sensitive(concat(&[&rest, &last])) })
    }

    /// Rewrites up to the last placeholder that begins before `open`, or the one with which the result is
    /// longer than `max_out`.
    ///
    /// Nearly all bodies have nothing in them, and what is looked for as it is begins like one of what the detector
    /// looks for: each byte is searched once, for both.
    fn rewrite(
        &mut self,
        compiled: &Compiled,
        bytes: &Bytes,
        open: usize,
        max_out: usize,
    ) -> Result<Rewritten, Violation> {
        let (mut out, mut done): (Option<Wiped>, _) = (None, 0);
        let mut clean = compiled.clean_bytes(bytes, done);
        while let Some(found) = compiled.raw.find(bytes, done, clean, open) {
            let number = found.pattern().as_usize();
            let to = self.to.as_destination();
            let outcome = compiled.resolve(number, &to, self.content.place())?;
            let out = out.get_or_insert_with(|| Zeroizing::new(Vec::with_capacity(bytes.len() * 2)));
            reserve(out, found.start() - done);
            let passed = self.detector.feed_from(bytes.slice(done..found.start()), clean - done)?;
            out.extend_from_slice(&passed);
            out.extend_from_slice(&self.detector.separate()?);
            match outcome {
                Outcome::Replace(binding) => {
                    self.has_changed = true;
                    let value = binding.value.expose();
                    reserve(out, value.len() * self.content.escape().most_bytes());
                    let written = self.content.escape().write(value, out);
                    written.map_err(|_| compiled.violation(number, ViolationKind::Value))?;
                }
                Outcome::Pass => {
                    reserve(out, found.range().len());
                    out.extend_from_slice(&bytes[found.range()]);
                }
            }
            done = found.end();
            clean = compiled.clean_bytes(bytes, done);
            if out.len() > max_out {
                break;
            }
        }
        Ok(Rewritten { out, used: done, clean })
    }

    /// What was rewritten, and behind it what the detector lets pass of `rest`, in the first `clean` bytes of which no
    /// form begins.
    fn pass(&mut self, out: Option<Wiped>, rest: Bytes, clean: usize) -> Result<Bytes, Violation> {
        let rest = self.detector.feed_from(rest, clean)?;
        let Some(mut out) = out else { return Ok(rest) };
        reserve(&mut out, rest.len());
        out.extend_from_slice(&rest);
        Ok(sensitive(out))
    }
}
