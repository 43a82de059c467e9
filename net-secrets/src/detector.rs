use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use bytes::Bytes;

use crate::percent::PercentDecoder;
use crate::set::Compiled;
use crate::{Violation, ViolationKind};

/// A suffix that may grow into a placeholder is held back once it is this long.
const MIN_HELD_BYTES: usize = 8;

/// What is decoded at once: it stays in the cache, and bounds the memory of a stream.
const BLOCK_BYTES: usize = 16 << 10;

/// Finds placeholders in a stream of bytes, however it is cut.
///
/// Looks at the bytes as they are and percent-decoded, once and twice. Holds back at most the
/// longest form of a placeholder.
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
        if !levels.raw.is_within(compiled) {
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

/// A stream as it is, decoded once, and decoded twice.
struct Levels {
    raw: Scanner,
    decoded: [Decoded; 2],
}

impl Levels {
    fn new(compiled: &Compiled) -> Self {
        let raw = Scanner { state: compiled.detect_start };
        Self { raw, decoded: [Decoded::new(raw), Decoded::new(raw)] }
    }

    fn feed(&mut self, compiled: &Compiled, bytes: &[u8]) -> Result<(), Violation> {
        let Self { raw, decoded: [once, twice] } = self;
        for block in bytes.chunks(BLOCK_BYTES) {
            raw.feed(compiled, block)?;
            let (block, scanner) = once.feed(compiled, block, *raw)?;
            twice.feed(compiled, block, scanner)?;
        }
        Ok(())
    }
}

/// What the level below shows, percent-decoded once more.
struct Decoded {
    decoder: PercentDecoder,
    scanner: Scanner,
    /// Bytes of the level below since its last percent sign.
    since_escape: usize,
    block: Vec<u8>,
}

impl Decoded {
    fn new(scanner: Scanner) -> Self {
        Self { decoder: PercentDecoder::default(), scanner, since_escape: usize::MAX, block: Vec::new() }
    }

    /// Scans the next block of the level below, whose scanner has done so; the block decoded, and
    /// the scanner behind it.
    fn feed<'b>(
        &'b mut self,
        compiled: &Compiled,
        block: &'b [u8],
        below: Scanner,
    ) -> Result<(&'b [u8], Scanner), Violation> {
        match memchr::memrchr(b'%', block) {
            Some(last) => self.since_escape = block.len() - last,
            None => self.since_escape = self.since_escape.saturating_add(block.len()),
        }
        if self.since_escape > block.len() + compiled.detect_forms.longest() {
            // No escape is near: both levels show the same, and one scan tells for both.
            self.scanner = below;
            return Ok((block, below));
        }
        self.block.clear();
        self.decoder.feed(block, &mut self.block);
        self.scanner.feed(compiled, &self.block)?;
        Ok((&self.block, self.scanner))
    }
}

/// One automaton run over a stream.
#[derive(Clone, Copy)]
struct Scanner {
    state: StateID,
}

impl Scanner {
    /// Whether the stream ends in the beginning of a form.
    fn is_within(self, compiled: &Compiled) -> bool {
        self.state != compiled.detect_start
    }

    fn feed(&mut self, compiled: &Compiled, bytes: &[u8]) -> Result<(), Violation> {
        let prefilter = &compiled.detect_prefilter;
        // A form that goes on in the next piece may have begun in these.
        let tail = bytes.len().saturating_sub(prefilter.bytes() - 1);
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if !self.is_within(compiled) && at < tail {
                let next = prefilter.find(bytes, at).unwrap_or(tail);
                if next > at {
                    at = next;
                    continue;
                }
            }
            self.step(compiled, *byte)?;
            at += 1;
        }
        Ok(())
    }

    fn step(&mut self, compiled: &Compiled, byte: u8) -> Result<(), Violation> {
        self.state = compiled.detect.next_state(Anchored::No, self.state, byte);
        if !compiled.detect.is_match(self.state) {
            return Ok(());
        }
        let pattern = compiled.detect.match_pattern(self.state, 0).as_usize();
        let owner = &compiled.bindings[compiled.detect_owner[pattern]];
        Err(Violation { env: owner.env.clone(), kind: ViolationKind::Place })
    }
}
