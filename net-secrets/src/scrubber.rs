use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::index::Index;
use crate::stage::{Stage, clean};
use crate::view::View;

/// Ways in which responses are read; the last one only where a value has a space.
const VIEWS: [View; 4] = [View::Raw, View::Percent, View::Json, View::Form];

/// Turns real values back into placeholders in a stream of bytes, however it is cut.
///
/// Finds them as they are, in base64 and in hex, each also with any of its bytes percent-encoded or as
/// an escape of JSON. Holds back at most the longest of these. A longer value wins over one it starts
/// with.
pub struct Scrubber {
    index: Arc<Index>,
    /// Boxed: most streams are moved more often than they are fed.
    stages: Box<[Stage; VIEWS.len()]>,
}

impl Scrubber {
    pub(crate) fn new(index: Arc<Index>) -> Self {
        Self { index, stages: Box::new(VIEWS.map(Stage::new)) }
    }

    /// Goes on with what `next` looks for. What is held back stays so.
    pub fn follow(&mut self, next: Self) {
        self.index = next.index;
    }

    fn stages(&mut self) -> (&Index, &mut [Stage]) {
        // A set that was followed may have had a value with a space.
        let [.., last] = &*self.stages;
        let count = VIEWS.len() - usize::from(!self.index.has_space() && last.is_idle());
        (&self.index, &mut self.stages[..count])
    }

    /// Takes the next bytes; what may go to the guest now, uncopied where nothing is found or held
    /// back.
    pub fn feed(&mut self, chunk: Bytes) -> Bytes {
        let (index, stages) = self.stages();
        stages.iter_mut().fold(chunk, |chunk, stage| stage.feed(index, chunk))
    }

    /// The stream has ended: what was held back, cleaned.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let (index, stages) = self.stages();
        stages.iter_mut().fold(Bytes::new(), |rest, stage| {
            let fed = stage.feed(index, rest);
            let last = stage.finish(index);
            if fed.is_empty() { last } else { [&fed[..], &last].concat().into() }
        })
    }

    /// Cleans a whole text; `None` when nothing was found.
    pub fn scrub(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut found: Option<Zeroizing<Vec<u8>>> = None;
        let count = if self.index.has_space() { VIEWS.len() } else { VIEWS.len() - 1 };
        for view in &VIEWS[..count] {
            let text = found.as_deref().map_or(text, Vec::as_slice);
            if let (Some(clean), _) = clean(&self.index, *view, text, true) {
                found = Some(Zeroizing::new(clean));
            }
        }
        found.map(|mut found| std::mem::take(&mut *found))
    }
}
