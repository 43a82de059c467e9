use bytes::Bytes;
use zeroize::Zeroizing;

use crate::index::Index;
use crate::view::{Unit, View};
use crate::wiped::Wiped;

/// Replaces values in a stream that is read in one way. What stands as it is passes the stages behind
/// the first unseen: each of them replaces only what its escapes hide.
pub(crate) struct Stage {
    view: View,
    /// May grow into a value; begins with a whole unit.
    held: Wiped,
}

impl Stage {
    pub(crate) fn new(view: View) -> Self {
        Self { view, held: Zeroizing::default() }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes the next bytes; what may pass now, uncopied where nothing is found or held back.
    pub(crate) fn feed(&mut self, index: &Index, chunk: Bytes) -> Bytes {
        if chunk.is_empty() {
            return chunk;
        }
        if self.held.is_empty() {
            let (clean, used) = clean(index, self.view, &chunk, false);
            self.held.extend_from_slice(&chunk[used..]);
            return clean.map_or_else(|| chunk.slice(..used), Bytes::from);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.held.len() + chunk.len()));
        bytes.extend_from_slice(&self.held);
        bytes.extend_from_slice(&chunk);
        let (clean, used) = clean(index, self.view, &bytes, false);
        self.held = Zeroizing::new(bytes[used..].to_vec());
        clean.map_or_else(|| Bytes::copy_from_slice(&bytes[..used]), Bytes::from)
    }

    /// The stream has ended: what was held back, clean.
    pub(crate) fn finish(&mut self, index: &Index) -> Bytes {
        let bytes = std::mem::take(&mut self.held);
        clean(index, self.view, &bytes, true).0.map_or_else(|| Bytes::copy_from_slice(&bytes), Bytes::from)
    }
}

/// Replaces the values in `bytes`, as far as they can no longer grow, or all of them where `is_last`:
/// the result, `None` where there are none, and for how much of `bytes` it is.
pub(crate) fn clean(index: &Index, view: View, bytes: &[u8], is_last: bool) -> (Option<Vec<u8>>, usize) {
    if view.sign(bytes).is_none() {
        let open = if is_last { bytes.len() } else { index.open_suffix(bytes) };
        return if view == View::Raw { clean_raw(index, bytes, open) } else { (None, open) };
    }
    let (decoded, whole) = decode(view, bytes, is_last);
    let open = if is_last { decoded.len() } else { index.open_suffix(&decoded) };
    let mut walk = Walk { view, bytes, raw: 0, decoded: 0 };
    let (mut clean, mut done, mut at): (Option<Vec<u8>>, _, _) = (None, 0, 0);
    while let Some((start, echo)) = index.find(&decoded, at, open) {
        let (from, _) = walk.unit_of(start);
        let mut ahead = walk;
        let (_, to) = ahead.unit_of(start + echo.bytes - 1);
        if bytes[from..to] == decoded[start..start + echo.bytes] {
            // It stands as it is: that is another stage's.
            at = start + 1;
            continue;
        }
        let clean = clean.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
        clean.extend_from_slice(&bytes[done..from]);
        clean.extend_from_slice(&echo.replacement);
        (walk, done, at) = (ahead, to, start + echo.bytes);
        // A unit may stand for more than the value's last byte.
        while at < decoded.len() && walk.unit_of(at).0 < done {
            at += 1;
        }
    }
    let passed = if open < decoded.len() { walk.unit_of(open).0 } else { whole };
    let end = passed.max(done);
    if let Some(clean) = &mut clean {
        clean.extend_from_slice(&bytes[done..end]);
    }
    (clean, end)
}

fn clean_raw(index: &Index, bytes: &[u8], open: usize) -> (Option<Vec<u8>>, usize) {
    let (mut clean, mut done): (Option<Vec<u8>>, _) = (None, 0);
    while let Some((start, echo)) = index.find(bytes, done, open) {
        let clean = clean.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
        clean.extend_from_slice(&bytes[done..start]);
        clean.extend_from_slice(&echo.replacement);
        done = start + echo.bytes;
    }
    let end = open.max(done);
    if let Some(clean) = &mut clean {
        clean.extend_from_slice(&bytes[done..end]);
    }
    (clean, end)
}

/// Decodes whole units, and for how much of `bytes` that is.
fn decode(view: View, bytes: &[u8], is_last: bool) -> (Wiped, usize) {
    let mut decoded = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut at = 0;
    loop {
        let Some(sign) = view.sign(&bytes[at..]) else {
            decoded.extend_from_slice(&bytes[at..]);
            return (decoded, bytes.len());
        };
        decoded.extend_from_slice(&bytes[at..at + sign]);
        at += sign;
        match view.unit(&bytes[at..]) {
            Unit::Whole { bytes, count, used } => {
                decoded.extend_from_slice(&bytes[..count]);
                at += used;
            }
            Unit::Partial if is_last => {
                // Nothing comes that would complete it.
                decoded.push(bytes[at]);
                at += 1;
            }
            Unit::Partial => return (decoded, at),
        }
    }
}

/// From decoded bytes back to those they stand for, in one pass.
#[derive(Clone, Copy)]
struct Walk<'b> {
    view: View,
    bytes: &'b [u8],
    /// A unit begins here, and what it stands for there.
    raw: usize,
    decoded: usize,
}

impl Walk<'_> {
    /// Where the unit begins and ends that the decoded byte at `at` is of. Never goes back behind a unit.
    fn unit_of(&mut self, at: usize) -> (usize, usize) {
        loop {
            let rest = &self.bytes[self.raw..];
            let rest = &rest[..rest.len().min(at.saturating_sub(self.decoded) + 1)];
            let plain = self.view.sign(rest).unwrap_or(rest.len());
            if self.decoded + plain > at {
                // A byte that stands for itself.
                let raw = self.raw + (at - self.decoded);
                return (raw, raw + 1);
            }
            self.raw += plain;
            self.decoded += plain;
            let (count, used) = match self.view.unit(&self.bytes[self.raw..]) {
                Unit::Whole { count, used, .. } => (count, used),
                Unit::Partial => (1, 1),
            };
            if self.decoded + count > at {
                return (self.raw, self.raw + used);
            }
            self.raw += used;
            self.decoded += count;
        }
    }
}
