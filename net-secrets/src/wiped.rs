//! Buffers that hold a value for a moment.

use bytes::Bytes;
use zeroize::Zeroizing;

/// Zeroed when dropped.
pub(crate) type Wiped = Zeroizing<Vec<u8>>;

/// Makes room without leaving an unwiped copy behind, as a vector that grows by itself would.
pub(crate) fn reserve(bytes: &mut Wiped, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        let mut larger = Zeroizing::new(Vec::with_capacity((bytes.len() + more) * 2));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
}

/// The pieces in one buffer.
pub(crate) fn concat(pieces: &[&[u8]]) -> Wiped {
    let mut whole = Zeroizing::new(Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
    pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
    whole
}

/// Bytes that are zeroed when the last of their clones is dropped.
pub(crate) fn sensitive(bytes: Wiped) -> Bytes {
    Bytes::from_owner(bytes)
}
