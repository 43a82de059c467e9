//! The header of a record (RFC 8446, section 5.1), as far as it is there.

use crate::ParseError;

pub(crate) const HEADER_BYTES: usize = 5;
const MAX_RECORD_BYTES: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// What a header says that may be cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// A handshake record with a body of this many bytes, at least one.
    Record(usize),
    /// Nothing can be told before this many bytes of it are there.
    Cut(usize),
}

/// The header of the first record of a stream.
pub(crate) fn first(bytes: &[u8]) -> Result<Header, ParseError> {
    match bytes {
        [HANDSHAKE, 3, ..] | [HANDSHAKE] | [] => later(bytes),
        [high, rest @ ..] if high & 0x80 != 0 => ssl_v2(rest).map(Header::Cut),
        [..] => Err(ParseError::NotTls),
    }
}

/// The header of any other record.
pub(crate) fn later(bytes: &[u8]) -> Result<Header, ParseError> {
    match *bytes {
        [] => Ok(Header::Cut(1)),
        [HANDSHAKE] => Ok(Header::Cut(2)),
        // The major version is 3 from SSL 3.0 on; the minor one must be ignored.
        [HANDSHAKE, 3, _, high, low, ..] => match usize::from(u16::from_be_bytes([high, low])) {
            length @ 1..=MAX_RECORD_BYTES => Ok(Header::Record(length)),
            _ => Err(ParseError::RecordLength),
        },
        [HANDSHAKE, 3, ..] => Ok(Header::Cut(HEADER_BYTES)),
        [..] => Err(ParseError::UnexpectedRecord),
    }
}

/// Two bytes of length with the top bit set, the message type, the version. `rest` is what
/// follows the first byte.
fn ssl_v2(rest: &[u8]) -> Result<usize, ParseError> {
    match *rest {
        [] | [_] => Ok(3),
        [_, CLIENT_HELLO] | [_, CLIENT_HELLO, _] => Ok(5),
        [_, CLIENT_HELLO, 0, 2, ..] | [_, CLIENT_HELLO, 3, _, ..] => Err(ParseError::SslV2),
        [..] => Err(ParseError::NotTls),
    }
}

/// The kind and length of a handshake message (RFC 8446, section 4), as far as they are there:
/// `None` when the length is not.
pub(crate) fn message_length(header: &[u8]) -> Result<Option<usize>, ParseError> {
    match *header {
        [] => Ok(None),
        [CLIENT_HELLO, high, middle, low, ..] => {
            Ok(Some(usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)))
        }
        [CLIENT_HELLO, ..] => Ok(None),
        [..] => Err(ParseError::NotClientHello),
    }
}
