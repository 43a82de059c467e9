/// A cursor that never reads past its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// A vector behind a one-byte length (RFC 8446, section 3.4).
    pub(crate) fn vector_u8(&mut self) -> Option<Self> {
        let count = usize::from(self.u8()?);
        self.take(count).map(Self)
    }

    /// A vector behind a two-byte length.
    pub(crate) fn vector_u16(&mut self) -> Option<Self> {
        let count = usize::from(self.u16()?);
        self.take(count).map(Self)
    }

    #[cfg(feature = "quic")]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    /// A variable-length integer (RFC 9000, section 16) that is a length or an index; `None` also
    /// where it is none this machine has.
    #[cfg(feature = "quic")]
    pub(crate) fn varint(&mut self) -> Option<usize> {
        let first = self.u8()?;
        let mut value = u64::from(first & 0x3f);
        for byte in self.take((1 << (first >> 6)) - 1)? {
            value = value << 8 | u64::from(*byte);
        }
        usize::try_from(value).ok()
    }

    #[cfg(feature = "quic")]
    pub(crate) fn skip_zeros(&mut self) {
        let zeros = self.0.iter().take_while(|byte| **byte == 0).count();
        self.0 = &self.0[zeros..];
    }
}
