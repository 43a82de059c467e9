use core::fmt;

/// Why a stream has no ClientHello. Final: no longer prefix has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseError {
    /// The first bytes are no TLS handshake record.
    NotTls,
    /// A hello in the SSLv2 format, which carries no names (RFC 5246, appendix E.2).
    SslV2,
    /// A record that is no handshake record before the hello was complete.
    UnexpectedRecord,
    /// An empty record, or one above 2^14 bytes (RFC 8446, section 5.1).
    RecordLength,
    /// The first handshake message is no ClientHello.
    NotClientHello,
    /// The ClientHello is larger than the buffer that should hold it.
    TooLarge,
    /// A length inside the hello points past its end, bytes are left over, or a list that must
    /// have something is empty.
    Malformed,
    /// An extension appears twice (RFC 8446, section 4.2).
    DuplicateExtension,
}

#[cfg(feature = "core")]
impl ParseError {
    /// The guest's: it wrote the bytes.
    pub const fn fault(self) -> net_core::Fault {
        net_core::Fault::Guest
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTls => "the stream is not tls",
            Self::SslV2 => "the hello is in the sslv2 format",
            Self::UnexpectedRecord => "a record other than handshake interrupts the hello",
            Self::RecordLength => "a tls record is empty or too long",
            Self::NotClientHello => "the first handshake message is no clienthello",
            Self::TooLarge => "the clienthello is too large",
            Self::Malformed => "the clienthello contradicts its own lengths",
            Self::DuplicateExtension => "an extension appears twice",
        })
    }
}

impl core::error::Error for ParseError {}

/// An extension of a whole hello that contradicts its own lengths, or has an empty list where the
/// standard wants an entry.
///
/// Servers that know the extension refuse such a hello; those that do not go on. That is why it
/// is an answer inside the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MalformedExtension;

impl fmt::Display for MalformedExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an extension contradicts its own lengths")
    }
}

impl core::error::Error for MalformedExtension {}
