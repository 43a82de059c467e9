use core::fmt;

use crate::ParseError;

/// Why a QUIC flow shows no ClientHello. Final for the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuicError {
    /// The first datagram is no QUIC packet.
    NotQuic,
    /// The first datagram belongs to a connection that is already up: it has a short header, and
    /// keys nobody else knows.
    ShortHeader,
    /// A version negotiation packet, which only servers send (RFC 9000, section 17.2.1).
    VersionNegotiation,
    /// A version other than 1 (RFC 9000) and 2 (RFC 9369), whose packets cannot be read. Clients
    /// send reserved ones to provoke a version negotiation.
    UnknownVersion(u32),
    /// A packet header that contradicts its own lengths, or that no client sends.
    MalformedPacket,
    /// An Initial packet in a datagram below 1200 bytes, which servers discard (RFC 9000, section
    /// 14.1).
    DatagramTooShort,
    /// An Initial packet that its own connection ID does not open (RFC 9001, section 5.2).
    Unauthentic,
    /// A frame that is cut short, or that has no place in an Initial packet (RFC 9000, section
    /// 12.4).
    MalformedFrame,
    /// The client closed the connection before its hello was complete.
    Closed,
    /// Two CRYPTO frames disagree about the same byte (RFC 9000, section 2.2).
    Conflict,
    /// CRYPTO frames leave more gaps than any client does.
    TooManyGaps,
    /// A packet or a hello is larger than its half of the buffer.
    TooLarge,
    /// The CRYPTO stream is whole, and no ClientHello.
    Hello(ParseError),
}

#[cfg(feature = "core")]
impl QuicError {
    /// The guest's: it wrote the datagrams.
    pub const fn fault(self) -> net_core::Fault {
        net_core::Fault::Guest
    }
}

impl fmt::Display for QuicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotQuic => "the datagram is not quic",
            Self::ShortHeader => "the packet belongs to an established connection",
            Self::VersionNegotiation => "a client does not negotiate versions",
            Self::UnknownVersion(version) => return write!(f, "quic version {version:#010x} is unknown"),
            Self::MalformedPacket => "a packet header contradicts its own lengths",
            Self::DatagramTooShort => "a datagram with an initial packet is too short",
            Self::Unauthentic => "an initial packet does not open",
            Self::MalformedFrame => "a frame is cut short or out of place",
            Self::Closed => "the client closed the connection",
            Self::Conflict => "two crypto frames disagree",
            Self::TooManyGaps => "the crypto stream has too many gaps",
            Self::TooLarge => "a packet or the clienthello is too large",
            Self::Hello(_) => "the crypto stream holds no clienthello",
        })
    }
}

impl core::error::Error for QuicError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        if let Self::Hello(error) = self { Some(error) } else { None }
    }
}
