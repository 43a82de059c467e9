use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::scrub::Scrub;

/// Turns real values back into placeholders in a stream of bytes, however it is cut.
///
/// Holds back at most the longest form of a value. A longer value wins over one it starts with.
pub struct Scrubber {
    scrub: Arc<Scrub>,
    held: Zeroizing<Vec<u8>>,
}

impl Scrubber {
    pub(crate) fn new(scrub: Arc<Scrub>) -> Self {
        Self { scrub, held: Zeroizing::default() }
    }

    /// Goes on with what `next` looks for. What is held back stays so.
    pub fn follow(&mut self, next: Self) {
        self.scrub = next.scrub;
    }

    /// Takes the next bytes; what may go to the guest now, uncopied where nothing is found or held
    /// back.
    pub fn feed(&mut self, chunk: Bytes) -> Bytes {
        if self.held.is_empty() {
            let (clean, used) = self.clean(&chunk);
            return clean.unwrap_or_else(|| chunk.slice(..used));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.held.len() + chunk.len()));
        bytes.extend_from_slice(&self.held);
        bytes.extend_from_slice(&chunk);
        let (clean, used) = self.clean(&bytes);
        clean.unwrap_or_else(|| Bytes::copy_from_slice(&bytes[..used]))
    }

    /// The stream has ended: what was held back, cleaned.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let bytes = std::mem::take(&mut self.held);
        match self.scrub.replace(&bytes, bytes.len()) {
            (Some(clean), _) => clean.into(),
            (None, _) => Bytes::copy_from_slice(&bytes),
        }
    }

    /// Cleans a whole text; `None` when nothing was found.
    pub fn scrub(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.scrub.replace(text, text.len()).0
    }

    /// Cleans what can no longer grow and holds the rest back; `None` when nothing was found, and
    /// how much that was.
    fn clean(&mut self, bytes: &[u8]) -> (Option<Bytes>, usize) {
        let (clean, used) = self.scrub.replace(bytes, self.scrub.open_suffix(bytes));
        self.held = Zeroizing::new(bytes[used..].to_vec());
        (clean.map(Bytes::from), used)
    }
}
