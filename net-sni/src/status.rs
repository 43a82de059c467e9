use core::convert::Infallible;

/// What the bytes so far show.
///
/// `F` is what stands for a hello that cannot be lent in one piece; only [`sniff`](crate::sniff)
/// has such an answer, and elsewhere the variant is empty and needs no arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Status<T, F = Infallible> {
    /// Everything: more bytes show the same.
    Complete(T),
    /// Too little: no answer is possible with fewer bytes than this.
    Partial {
        /// Bytes, counted from the start of the stream; always more than there were.
        at_least: usize,
    },
    /// All that this call can tell; more bytes show the same.
    Fragmented(F),
}
