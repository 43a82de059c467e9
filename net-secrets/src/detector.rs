use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};

use crate::forms::open_suffix;
use crate::set::Compiled;
use crate::{Violation, ViolationKind};

/// A suffix that may grow into a placeholder is held back once it is this long.
const MIN_HELD_BYTES: usize = 8;

/// Finds placeholders in a stream of bytes, however it is cut.
///
/// Looks at the bytes as they are and percent-decoded, once and twice. Holds back at most the
/// longest form of a placeholder.
pub struct Detector {
    compiled: Option<Arc<Compiled>>,
    /// Raw, decoded once, decoded twice; empty without secrets.
    scanners: Vec<Scanner>,
    /// Bytes since the last percent sign, as far as they matter.
    since_escape: usize,
    held: Vec<u8>,
}

impl Detector {
    pub(crate) fn new(compiled: Option<Arc<Compiled>>) -> Self {
        let scanners = compiled.as_deref().map(|compiled| Scanner::all(compiled).into()).unwrap_or_default();
        Self { compiled, scanners, since_escape: usize::MAX, held: Vec::new() }
    }

    /// Takes the next bytes; what may leave now.
    ///
    /// # Errors
    /// [`Violation`]: nothing more of the stream may leave.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Vec<u8>, Violation> {
        let Some(compiled) = &self.compiled else { return Ok(chunk.to_vec()) };
        let longest = compiled.detect_forms.iter().map(Vec::len).max().unwrap_or(0);
        match chunk.iter().rposition(|byte| *byte == b'%') {
            Some(last) => self.since_escape = chunk.len() - last,
            None => self.since_escape = self.since_escape.saturating_add(chunk.len()),
        }
        if self.since_escape.saturating_sub(chunk.len()) > longest {
            // No escape is near: what is decoded is what there is, and one scan tells for all.
            if let Some((raw, decoded)) = self.scanners.split_first_mut() {
                raw.feed(compiled, chunk)?;
                decoded.iter_mut().for_each(|scanner| scanner.state = raw.state);
            }
        } else {
            self.scanners.iter_mut().try_for_each(|scanner| scanner.feed(compiled, chunk))?;
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        let open = open_suffix(&bytes, &compiled.detect_forms, MIN_HELD_BYTES);
        self.held = bytes.split_off(open);
        Ok(bytes)
    }

    /// The stream has ended: what was held back may leave.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// Scans a whole text.
pub(crate) fn scan(compiled: &Compiled, text: &[u8]) -> Result<(), Violation> {
    Scanner::all(compiled).iter_mut().try_for_each(|scanner| scanner.feed(compiled, text))
}

/// One automaton run over a stream, behind some percent decoders.
struct Scanner {
    state: StateID,
    decoders: Vec<PercentDecoder>,
}

impl Scanner {
    /// Raw, decoded once, decoded twice.
    fn all(compiled: &Compiled) -> [Self; 3] {
        // An unanchored start exists in every automaton that is built with default options.
        let state = compiled.detect.start_state(Anchored::No).unwrap_or_default();
        [0, 1, 2].map(|times| Self { state, decoders: vec![PercentDecoder::default(); times] })
    }

    fn feed(&mut self, compiled: &Compiled, chunk: &[u8]) -> Result<(), Violation> {
        for byte in chunk {
            self.push(compiled, *byte, 0)?;
        }
        Ok(())
    }

    fn push(&mut self, compiled: &Compiled, byte: u8, level: usize) -> Result<(), Violation> {
        let Some(decoder) = self.decoders.get_mut(level) else { return self.step(compiled, byte) };
        let (decoded, count) = decoder.push(byte);
        for byte in decoded.into_iter().take(count) {
            self.push(compiled, byte, level + 1)?;
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

/// Percent-decodes a stream (RFC 3986, section 2.1); what is no escape passes unchanged.
#[derive(Clone, Copy, Default)]
enum PercentDecoder {
    #[default]
    Plain,
    Percent,
    Digit(u8),
}

impl PercentDecoder {
    /// Takes a byte; up to three come out.
    fn push(&mut self, byte: u8) -> ([u8; 3], usize) {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (next, out, count) = match *self {
            Self::Plain if byte == b'%' => (Self::Percent, [0; 3], 0),
            Self::Plain => (Self::Plain, [byte, 0, 0], 1),
            Self::Percent if digit(byte).is_some() => (Self::Digit(byte), [0; 3], 0),
            Self::Percent if byte == b'%' => (Self::Percent, [b'%', 0, 0], 1),
            Self::Percent => (Self::Plain, [b'%', byte, 0], 2),
            Self::Digit(high) => match (digit(high), digit(byte)) {
                (Some(high), Some(low)) => (Self::Plain, [high << 4 | low, 0, 0], 1),
                _ if byte == b'%' => (Self::Percent, [b'%', high, 0], 2),
                _ => (Self::Plain, [b'%', high, byte], 3),
            },
        };
        *self = next;
        (out, count)
    }
}
