use crate::QuicError;
use crate::reader::Reader;

/// RFC 9000, section 17.2: of versions 1 and 2.
const MAX_CONNECTION_ID_BYTES: usize = 20;

/// The versions whose Initial packets can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// RFC 9000.
    One,
    /// RFC 9369.
    Two,
}

impl Version {
    const fn of(wire: u32) -> Option<Self> {
        match wire {
            1 => Some(Self::One),
            0x6b33_43cf => Some(Self::Two),
            _ => None,
        }
    }
}

/// The first packet of a datagram, or of what is left of one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packet<'a> {
    Initial(Initial<'a>),
    /// 0-RTT or Handshake: no part of the hello is in it.
    Other,
}

/// An Initial packet, still protected (RFC 9000, section 17.2.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initial<'a> {
    pub(crate) version: Version,
    pub(crate) destination: &'a [u8],
    /// From the first byte of the header to the last one of the tag.
    pub(crate) bytes: &'a [u8],
    /// Where in `bytes` the packet number starts.
    pub(crate) number_at: usize,
}

/// The first packet in `bytes`, and the packets coalesced with it (RFC 9000, section 12.2).
pub(crate) fn parse(bytes: &[u8]) -> Result<(Packet<'_>, &[u8]), QuicError> {
    const LONG: u8 = 0x80;
    const FIXED: u8 = 0x40;
    let mut reader = Reader::new(bytes);
    let first = reader.u8().ok_or(QuicError::NotQuic)?;
    if first & LONG == 0 {
        return Err(if first & FIXED == 0 { QuicError::NotQuic } else { QuicError::ShortHeader });
    }
    // The fixed bit is not looked at: a client may clear it (RFC 9287, section 3.1).
    let version = match reader.u32().ok_or(QuicError::NotQuic)? {
        0 => return Err(QuicError::VersionNegotiation),
        wire => Version::of(wire).ok_or(QuicError::UnknownVersion(wire))?,
    };
    long(bytes, reader, first, version).ok_or(QuicError::MalformedPacket)
}

fn long<'a>(
    bytes: &'a [u8],
    mut reader: Reader<'a>,
    first: u8,
    version: Version,
) -> Option<(Packet<'a>, &'a [u8])> {
    let destination = reader.vector_u8()?.rest();
    let source = reader.vector_u8()?.rest();
    if destination.len().max(source.len()) > MAX_CONNECTION_ID_BYTES {
        return None;
    }
    let is_initial = match (version, first >> 4 & 3) {
        (Version::One, 0) | (Version::Two, 1) => true,
        // Retry, which only servers send.
        (Version::One, 3) | (Version::Two, 0) => return None,
        (Version::One | Version::Two, _) => false,
    };
    if is_initial {
        let token_length = reader.varint()?;
        reader.take(token_length)?;
    }
    let length = reader.varint()?;
    let number_at = bytes.len() - reader.rest().len();
    reader.take(length)?;
    let (bytes, rest) = bytes.split_at_checked(number_at + length)?;
    let packet = if is_initial {
        Packet::Initial(Initial { version, destination, bytes, number_at })
    } else {
        Packet::Other
    };
    Some((packet, rest))
}
