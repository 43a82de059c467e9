use core::fmt;

/// Why a stream has no ClientHello. Final: no longer prefix has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseError {
    /// The first byte is no TLS handshake record.
    NotTls,
    /// A hello in the SSLv2 format, which carries no names (RFC 5246, appendix E.2).
    SslV2,
    /// A record that is no handshake record before the hello was complete.
    UnexpectedRecord,
    /// An empty record, or one above 2^14 bytes (RFC 8446, section 5.1).
    RecordLength,
    /// The first handshake message is no ClientHello.
    NotClientHello,
    /// The ClientHello is larger than the scratch space or [`MAX_HELLO_BYTES`](crate::MAX_HELLO_BYTES).
    TooLarge,
    /// A length inside the hello points past its end, or bytes are left over.
    Malformed,
    /// An extension appears twice (RFC 8446, section 4.2).
    DuplicateExtension,
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
