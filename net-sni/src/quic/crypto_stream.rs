use core::ops::Range;

use super::frame::Crypto;
use crate::QuicError;
use crate::joiner::MESSAGE_HEADER_BYTES;
use crate::record::message_length;
use crate::{ClientHello, ParseError, Status};

/// How many separate runs of bytes may be there at once. Clients that scatter their hello on
/// purpose make about a dozen.
const MAX_RUNS: usize = 64;

/// What is there of a CRYPTO stream whose bytes are in a buffer lent to each call.
#[derive(Clone, Debug)]
pub(crate) struct CryptoStream {
    /// In rising order; between two there is a gap. Those past `count` are empty.
    runs: [Run; MAX_RUNS],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    start: usize,
    end: usize,
}

impl CryptoStream {
    pub(crate) const fn new() -> Self {
        Self { runs: [Run { start: 0, end: 0 }; MAX_RUNS], count: 0 }
    }

    /// Adds a frame. Work is bounded by its length and [`MAX_RUNS`].
    pub(crate) fn insert(&mut self, frame: Crypto<'_>, buffer: &mut [u8]) -> Result<(), QuicError> {
        let end = frame.offset.checked_add(frame.bytes.len()).ok_or(QuicError::TooLarge)?;
        let place = buffer.get_mut(frame.offset..end).ok_or(QuicError::TooLarge)?;
        if frame.bytes.is_empty() {
            return Ok(());
        }
        let mut merged = Run { start: frame.offset, end };
        let touched = self.touched(merged);
        for run in &self.runs[touched.clone()] {
            let overlap = run.start.max(frame.offset) - frame.offset..run.end.min(end) - frame.offset;
            if place.get(overlap.clone()) != frame.bytes.get(overlap) {
                return Err(QuicError::Conflict);
            }
            merged.start = merged.start.min(run.start);
            merged.end = merged.end.max(run.end);
        }
        place.copy_from_slice(frame.bytes);
        self.replace(touched, merged)
    }

    /// The runs that overlap or adjoin this one.
    fn touched(&self, new: Run) -> Range<usize> {
        let runs = &self.runs[..self.count];
        let first = runs.iter().take_while(|run| run.end < new.start).count();
        let after = runs.iter().take_while(|run| run.start <= new.end).count();
        first..after
    }

    fn replace(&mut self, touched: Range<usize>, merged: Run) -> Result<(), QuicError> {
        if touched.is_empty() {
            if self.count == MAX_RUNS {
                return Err(QuicError::TooManyGaps);
            }
            self.runs.copy_within(touched.start..self.count, touched.start + 1);
            self.count += 1;
        } else {
            self.runs.copy_within(touched.end..self.count, touched.start + 1);
            self.count -= touched.len() - 1;
        }
        self.runs[touched.start] = merged;
        Ok(())
    }

    /// The hello, once the stream has all of it. `at_least` counts the stream's bytes.
    pub(crate) fn answer<'b>(&self, buffer: &'b [u8]) -> Result<Status<ClientHello<'b>>, QuicError> {
        let known = match self.runs[..self.count].first() {
            Some(Run { start: 0, end }) => buffer.get(..*end).unwrap_or_default(),
            Some(_) | None => &[],
        };
        let Some(length) = message_length(known).map_err(QuicError::Hello)? else {
            let at_least = if known.is_empty() { 1 } else { MESSAGE_HEADER_BYTES };
            return Ok(Status::Partial { at_least });
        };
        let end = MESSAGE_HEADER_BYTES + length;
        if end > buffer.len() {
            return Err(QuicError::Hello(ParseError::TooLarge));
        }
        match known.get(MESSAGE_HEADER_BYTES..end) {
            Some(message) => ClientHello::parse(message).map(Status::Complete).map_err(QuicError::Hello),
            None => Ok(Status::Partial { at_least: end }),
        }
    }
}
