use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::reader::Reader;

/// RFC 6066, section 3: the only name type there is.
const HOST_NAME: u8 = 0;
/// RFC 1035, section 2.3.4: 255 bytes on the wire, 253 as text without the trailing dot.
const MAX_NAME_BYTES: usize = 253;

/// Why a ClientHello's server_name is no name to decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameError {
    /// The extension contradicts its own lengths, holds no name, or one of an unknown type.
    Malformed,
    /// More than one name (RFC 6066 forbids two of one type, and there is but one type).
    TwoNames,
    /// No bytes, or only the trailing dot.
    Empty,
    /// More than 253 bytes without the trailing dot.
    TooLong,
    /// An IP address, which RFC 6066 does not permit.
    IpAddress,
    /// A byte that no host name has: NUL, a space, anything outside ASCII.
    InvalidByte,
}

#[cfg(feature = "core")]
impl NameError {
    /// The guest's: it wrote the name.
    pub const fn fault(self) -> net_core::Fault {
        net_core::Fault::Guest
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the server_name extension is malformed",
            Self::TwoNames => "the server_name extension has two names",
            Self::Empty => "the server_name is empty",
            Self::TooLong => "the server_name is too long",
            Self::IpAddress => "the server_name is an ip address",
            Self::InvalidByte => "the server_name has a byte no host name has",
        })
    }
}

impl core::error::Error for NameError {}

/// The one name in the extension's body.
pub(crate) fn parse(mut body: Reader<'_>) -> Result<&[u8], NameError> {
    let mut list = body.vector_u16().filter(|_| body.is_empty()).ok_or(NameError::Malformed)?;
    if list.u8() != Some(HOST_NAME) {
        return Err(NameError::Malformed);
    }
    let name = list.vector_u16().ok_or(NameError::Malformed)?.rest();
    match list.u8() {
        None => check(name).map(|()| name),
        Some(HOST_NAME) => Err(NameError::TwoNames),
        // What follows a type nobody knows cannot be read: it may be another name to whoever does.
        Some(_) => Err(NameError::Malformed),
    }
}

fn check(name: &[u8]) -> Result<(), NameError> {
    let bare = name.strip_suffix(b".").unwrap_or(name);
    if bare.is_empty() {
        return Err(NameError::Empty);
    }
    if bare.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    let valid = bare.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    // Only these can be an address: the others need no second look.
    let numeric = if valid { bare.last().is_some_and(u8::is_ascii_digit) } else { bare.contains(&b':') };
    if numeric
        && let Ok(text) = core::str::from_utf8(bare)
        && (text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok())
    {
        return Err(NameError::IpAddress);
    }
    if valid { Ok(()) } else { Err(NameError::InvalidByte) }
}
