use std::sync::Arc;

use bytes::Bytes;

use crate::Violation;
use crate::levels::Levels;
use crate::set::Compiled;

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
    levels: Levels,
    held: Vec<u8>,
}

impl Detector {
    pub(crate) fn new(compiled: Option<Arc<Compiled>>) -> Self {
        Self(compiled.map(|compiled| {
            let levels = Levels::new(&compiled);
            Looking { compiled, levels, held: Vec::new() }
        }))
    }

    /// Takes the next bytes; what may leave now, uncopied where nothing is held back.
    ///
    /// # Errors
    /// [`Violation`]: nothing more of the stream may leave.
    pub fn feed(&mut self, chunk: Bytes) -> Result<Bytes, Violation> {
        let Some(Looking { compiled, levels, held }) = &mut self.0 else { return Ok(chunk) };
        levels.feed(compiled, &chunk)?;
        if !levels.is_within(compiled) {
            // No form has begun.
            return Ok(behind(held, chunk));
        }
        let bytes = behind(held, chunk);
        let open = compiled.detect_forms.open_suffix(&bytes, MIN_HELD_BYTES);
        *held = bytes[open..].to_vec();
        Ok(bytes.slice(..open))
    }

    /// The stream has ended: what was held back may leave.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        self.0.as_mut().map(|looking| std::mem::take(&mut looking.held).into()).unwrap_or_default()
    }
}

/// What was held back and the next bytes in one.
fn behind(held: &mut Vec<u8>, chunk: Bytes) -> Bytes {
    if held.is_empty() {
        return chunk;
    }
    let mut bytes = std::mem::take(held);
    bytes.extend_from_slice(&chunk);
    bytes.into()
}

/// Scans a whole text.
pub(crate) fn scan(compiled: &Compiled, text: &[u8]) -> Result<(), Violation> {
    Levels::new(compiled).feed(compiled, text)
}
