use std::sync::Arc;

use bytes::Bytes;

use crate::binding::Toward;
use crate::compiled::Compiled;
use crate::hits::Hits;
use crate::levels::Levels;
use crate::{Destination, Violation};

/// A suffix that may grow into a placeholder is held back once it is this long.
const MIN_HELD_BYTES: usize = 8;

/// Finds placeholders in a stream of bytes, however it is cut.
///
/// Looks at the bytes as they are, percent-decoded, once and twice, and with the escapes of JSON
/// strings undone, before that and behind it. Holds back at most the longest form of a placeholder.
pub struct Detector(Option<Looking>);

/// A detector that has something to look for.
struct Looking {
    compiled: Arc<Compiled>,
    /// `None` for a stream to nobody in particular.
    to: Option<Toward>,
    passing: Vec<bool>,
    levels: Levels,
    held: Vec<u8>,
}

impl Detector {
    pub(crate) fn new(compiled: Option<Arc<Compiled>>, to: Option<&Destination<'_>>) -> Self {
        Self(compiled.map(|compiled| {
            let (passing, levels) = (compiled.passing(to), Levels::new(&compiled));
            Looking { compiled, to: to.map(Toward::from), passing, levels, held: Vec::new() }
        }))
    }

    /// Takes the next bytes; what may leave now, uncopied where nothing is held back.
    ///
    /// # Errors
    /// [`Violation`]: nothing more of the stream may leave.
    pub fn feed(&mut self, chunk: Bytes) -> Result<Bytes, Violation> {
        self.feed_from(chunk, 0)
    }

    /// As [`Self::feed`], where somebody has seen already that no form begins in the first `clean` bytes as they are.
    pub(crate) fn feed_from(&mut self, chunk: Bytes, clean: usize) -> Result<Bytes, Violation> {
        let Some(looking) = &mut self.0 else { return Ok(chunk) };
        looking.search(&chunk, clean)?;
        let bytes = behind(&mut looking.held, chunk);
        let open = looking.compiled.detect_forms.open_suffix(&bytes, MIN_HELD_BYTES);
        looking.held = bytes[open..].to_vec();
        Ok(bytes.slice(..open))
    }

    /// The stream has ended: what was held back may leave.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        self.0.as_mut().map(|looking| std::mem::take(&mut looking.held).into()).unwrap_or_default()
    }

    /// Something stands here that is part of no placeholder: what was held back may leave.
    ///
    /// # Errors
    /// [`Violation`].
    pub(crate) fn separate(&mut self) -> Result<Bytes, Violation> {
        if let Some(looking) = &mut self.0 {
            looking.search(&[0], 0)?;
        }
        Ok(self.finish())
    }
}

impl Looking {
    fn search(&mut self, bytes: &[u8], clean: usize) -> Result<(), Violation> {
        let mut hits = Hits::new(&self.compiled, &self.passing);
        self.levels.feed(&self.compiled, bytes, clean, &mut hits);
        self.compiled.verdict(&hits, self.to.as_ref().map(Toward::as_destination).as_ref())
    }
}

/// What was held back and the next bytes in one.
pub(crate) fn behind(held: &mut Vec<u8>, chunk: Bytes) -> Bytes {
    if held.is_empty() {
        return chunk;
    }
    let mut bytes = std::mem::take(held);
    bytes.extend_from_slice(&chunk);
    bytes.into()
}
