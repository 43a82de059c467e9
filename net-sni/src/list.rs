use crate::reader::Reader;
use crate::{MalformedExtension, NamedGroup};

/// Whether a code point is one of the sixteen that mean nothing (RFC 8701): cipher suites,
/// extensions, groups, versions and signature algorithms share them.
pub const fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// Two-byte code points in the client's order, GREASE included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct U16List<'a>(&'a [u8]);

impl<'a> U16List<'a> {
    /// `None` where the bytes are no pairs, or none at all: no list of a hello may be empty.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len().is_multiple_of(2) && !bytes.is_empty()).then_some(Self(bytes))
    }
}

impl Iterator for U16List<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let (value, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = self.0.len() / 2;
        (length, Some(length))
    }
}

impl ExactSizeIterator for U16List<'_> {}

/// Protocol names (RFC 7301) in the client's order, GREASE included. None is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alpn<'a>(Reader<'a>);

impl<'a> Alpn<'a> {
    pub(crate) fn parse(mut body: Reader<'a>) -> Result<Self, MalformedExtension> {
        let list = body.vector_u16().filter(|list| body.is_empty() && !list.is_empty());
        let list = list.ok_or(MalformedExtension)?;
        let mut rest = list;
        while !rest.is_empty() {
            rest.vector_u8().filter(|protocol| !protocol.is_empty()).ok_or(MalformedExtension)?;
        }
        Ok(Self(list))
    }
}

impl<'a> Iterator for Alpn<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.vector_u8().map(Reader::rest)
    }
}

/// A group and the client's public key in it (RFC 8446, section 4.2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyShare<'a> {
    /// The group; GREASE included.
    pub group: NamedGroup,
    /// The key, at least one byte.
    pub key_exchange: &'a [u8],
}

/// Key shares in the client's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyShares<'a>(Reader<'a>);

impl<'a> KeyShares<'a> {
    pub(crate) fn parse(mut body: Reader<'a>) -> Result<Self, MalformedExtension> {
        let list = body.vector_u16().filter(|_| body.is_empty()).ok_or(MalformedExtension)?;
        let mut rest = list;
        while !rest.is_empty() {
            rest.u16().ok_or(MalformedExtension)?;
            rest.vector_u16().filter(|key| !key.is_empty()).ok_or(MalformedExtension)?;
        }
        Ok(Self(list))
    }
}

impl<'a> Iterator for KeyShares<'a> {
    type Item = KeyShare<'a>;

    fn next(&mut self) -> Option<KeyShare<'a>> {
        let group = NamedGroup(self.0.u16()?);
        Some(KeyShare { group, key_exchange: self.0.vector_u16()?.rest() })
    }
}
