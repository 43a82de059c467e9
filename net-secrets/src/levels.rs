use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};

use crate::compiled::Compiled;
use crate::hits::Hits;
use crate::json::JsonDecoder;
use crate::percent::PercentDecoder;

/// What is decoded at once: it stays in the cache, and bounds the memory of a stream.
const BLOCK_BYTES: usize = 16 << 10;

/// What decoders may keep of an escape that goes on in the next piece.
const MAX_KEPT_BYTES: usize = 8;

/// Undoes one kind of escape in a stream.
pub(crate) trait Decoder: Copy + Default + Eq {
    /// What every escape begins with. Without it nothing is decoded.
    const SIGN: u8;

    /// Decodes `bytes` to the end of `decoded`.
    fn feed(&mut self, bytes: &[u8], decoded: &mut Vec<u8>);
}

/// A stream as it is and decoded: percent once and twice, as JSON, and both in either order.
pub(crate) struct Levels {
    raw: Scanner,
    percent: Percents,
    json: Decoded<JsonDecoder>,
    /// What the escapes of JSON hide.
    json_percent: Percents,
    /// JSON in what was percent-encoded, once and twice.
    percent_json: [Decoded<JsonDecoder>; 2],
}

/// Percent-decoded once and twice.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Percents {
    once: Decoded<PercentDecoder>,
    twice: Decoded<PercentDecoder>,
}

impl Percents {
    fn new(scanner: Scanner) -> Self {
        Self { once: Decoded::new(scanner), twice: Decoded::new(scanner) }
    }

    /// Whether both show what `below` shows, so far.
    fn are(&self, below: Decoded<JsonDecoder>) -> bool {
        *self == Self::new(below.scanner)
    }
}

impl Levels {
    pub(crate) fn new(compiled: &Compiled) -> Self {
        let raw = Scanner { state: compiled.detect_start };
        let percent = Percents::new(raw);
        let json = Decoded::new(raw);
        Self { raw, percent, json, json_percent: percent, percent_json: [json; 2] }
    }

    /// Takes the next bytes of the stream, in the first `clean` of which no form begins as they are. Where they have
    /// escapes, up to three blocks are held meanwhile.
    pub(crate) fn feed(&mut self, compiled: &Compiled, bytes: &[u8], clean: usize, hits: &mut Hits<'_>) {
        let mut scratch = <[Vec<u8>; 3]>::default();
        let mut clean = clean;
        for block in bytes.chunks(BLOCK_BYTES) {
            self.feed_block(compiled, block, clean, &mut scratch, hits);
            clean = clean.saturating_sub(block.len());
        }
    }

    /// Most levels show what another one shows. Levels that were in one state and see the same bytes
    /// are in one state again, so that one scan tells for both.
    fn feed_block(
        &mut self,
        compiled: &Compiled,
        bytes: &[u8],
        clean: usize,
        scratch: &mut [Vec<u8>; 3],
        hits: &mut Hits<'_>,
    ) {
        let Self { raw, percent, json, json_percent, percent_json: [once_json, twice_json] } = self;
        let [first, second, third] = scratch;
        let (percent_was, json_was, once_json_was) = (*percent, *json, *once_json);

        let block = raw.feed_all(compiled, bytes, clean, hits);
        let is_percent = if json_percent.are(*json) && json.pass(compiled, block, hits) {
            *json_percent = Percents::new(json.scanner);
            false
        } else {
            let shown = json.feed(compiled, block, first, hits);
            let is_percent = !shown.is_other && *json_percent == percent_was;
            if !is_percent {
                let shown = json_percent.once.feed(compiled, shown, second, hits);
                json_percent.twice.feed(compiled, shown, third, hits);
            }
            is_percent
        };

        let shown = percent.once.feed(compiled, block, first, hits);
        if !shown.is_other && *once_json == json_was {
            *once_json = *json;
        } else {
            once_json.feed(compiled, shown, second, hits);
        }
        let shown = percent.twice.feed(compiled, shown, second, hits);
        if !shown.is_other && *twice_json == once_json_was {
            *twice_json = *once_json;
        } else {
            twice_json.feed(compiled, shown, third, hits);
        }
        if is_percent {
            *json_percent = *percent;
        }
    }
}

/// A block of a level, and its scanner's state before and behind it.
#[derive(Clone, Copy)]
struct Shown<'b> {
    bytes: &'b [u8],
    has_percent: bool,
    has_backslash: bool,
    /// Whether the bytes differ from those of the level below.
    is_other: bool,
    before: Scanner,
    behind: Scanner,
}

impl<'b> Shown<'b> {
    fn new(bytes: &'b [u8], before: Scanner, behind: Scanner) -> Self {
        let has_escape = memchr::memchr2(b'%', b'\\', bytes).is_some();
        let has = |sign| has_escape && memchr::memchr(sign, bytes).is_some();
        Self { bytes, has_percent: has(b'%'), has_backslash: has(b'\\'), is_other: true, before, behind }
    }

    fn has(&self, sign: u8) -> bool {
        if sign == b'%' { self.has_percent } else { self.has_backslash }
    }
}

/// What the level below shows, decoded once more.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Decoded<D> {
    decoder: D,
    scanner: Scanner,
}

impl<D: Decoder> Decoded<D> {
    fn new(scanner: Scanner) -> Self {
        Self { decoder: D::default(), scanner }
    }

    /// Scans the next block of the level below, decoded into `scratch` where there is something to
    /// decode.
    fn feed<'b>(
        &mut self,
        compiled: &Compiled,
        below: Shown<'b>,
        scratch: &'b mut Vec<u8>,
        hits: &mut Hits<'_>,
    ) -> Shown<'b> {
        let before = self.scanner;
        if self.decoder == D::default() && before == below.before && !below.has(D::SIGN) {
            self.scanner = below.behind;
            return Shown { is_other: false, ..below };
        }
        scratch.clear();
        // No more than it decodes to, at once: what grows by itself is copied, and wiped, again and again.
        scratch.reserve(below.bytes.len() + MAX_KEPT_BYTES);
        self.decoder.feed(below.bytes, scratch);
        self.scanner.feed(compiled, scratch, 0, hits);
        Shown::new(scratch, before, self.scanner)
    }
}

impl Decoded<JsonDecoder> {
    /// Takes a block of the lowest level without decoding it, if that shows nothing new: where all escapes stand for
    /// bytes that are in no form, as those of line breaks and quotes do, what is between them was seen as it is.
    /// Levels above see nothing new either, as nothing is percent-encoded. `false` where nothing was done.
    fn pass(&mut self, compiled: &Compiled, block: Shown<'_>, hits: &mut Hits<'_>) -> bool {
        let is_within = self.decoder == JsonDecoder::Backslash;
        // What a plain escape ends is not gone on with behind it, whatever it was.
        let is_alike = is_within || self.decoder == JsonDecoder::default() && self.scanner == block.before;
        if !is_alike || block.has_percent || !(is_within || block.has_backslash) {
            return false;
        }
        let Some(behind) = compiled.behind_plain_escapes(block.bytes, is_within) else { return false };
        let rest = &block.bytes[behind..];
        // A backslash that is no escape's yet shows nothing.
        let (rest, is_open) = match rest {
            [rest @ .., b'\\'] => (rest, true),
            _ => (rest, false),
        };
        self.decoder = if is_open { JsonDecoder::Backslash } else { JsonDecoder::Plain };
        self.scanner = Scanner { state: compiled.detect_start };
        if is_open || block.behind.is_within(compiled) {
            // Nothing reaches over the last of them, nor is longer than the longest form.
            let end = &rest[rest.len().saturating_sub(compiled.detect_longest)..];
            self.scanner.feed(compiled, end, 0, hits);
        }
        true
    }
}

/// One automaton run over a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Scanner {
    state: StateID,
}

impl Scanner {
    /// Whether the stream ends in the beginning of a form.
    fn is_within(self, compiled: &Compiled) -> bool {
        self.state != compiled.detect_start
    }

    /// Scans the bytes of the lowest level.
    fn feed_all<'b>(
        &mut self,
        compiled: &Compiled,
        bytes: &'b [u8],
        clean: usize,
        hits: &mut Hits<'_>,
    ) -> Shown<'b> {
        let before = *self;
        self.feed(compiled, bytes, clean, hits);
        Shown::new(bytes, before, *self)
    }

    /// No form begins in the first `clean` bytes.
    fn feed(&mut self, compiled: &Compiled, bytes: &[u8], clean: usize, hits: &mut Hits<'_>) {
        let prefilter = &compiled.detect_prefilter;
        // A form that goes on in the next piece may have begun in these.
        let tail = bytes.len().saturating_sub(prefilter.bytes() - 1);
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if !self.is_within(compiled) && at < tail {
                let next = if at < clean { clean } else { prefilter.find(bytes, at).unwrap_or(tail) };
                let next = next.min(tail);
                if next > at {
                    at = next;
                    continue;
                }
            }
            self.step(compiled, *byte, hits);
            at += 1;
        }
    }

    fn step(&mut self, compiled: &Compiled, byte: u8, hits: &mut Hits<'_>) {
        self.state = compiled.detect.next_state(Anchored::No, self.state, byte);
        if compiled.detect.is_match(self.state) {
            for found in 0..compiled.detect.match_len(self.state) {
                let pattern = compiled.detect.match_pattern(self.state, found).as_usize();
                hits.note(compiled.detect_owner[pattern]);
            }
        }
    }
}
