use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::ParseError;
use crate::handshake::finished;
use crate::reader::Reader;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// RFC 6066, section 3: the only name type there is.
const HOST_NAME: u8 = 0;
/// RFC 1035, section 2.3.4.
const MAX_NAME_BYTES: usize = 253;

/// More extensions than any client sends; a hello with more is malformed.
const MAX_EXTENSIONS: usize = 256;

/// A whole ClientHello, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    legacy_version: u16,
    cipher_suites: &'a [u8],
    /// Each well-formed and of a type of its own: checked when the hello was parsed.
    extensions: &'a [u8],
}

/// Why a ClientHello's server_name is no name to decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameError {
    /// The extension contradicts its own lengths, or holds no name.
    Malformed,
    /// More than one name (RFC 6066 forbids two of one type).
    TwoNames,
    /// No bytes.
    Empty,
    /// More than 253 bytes.
    TooLong,
    /// An IP address, which RFC 6066 does not permit.
    IpAddress,
    /// A byte that no host name has: NUL, a space, anything outside ASCII.
    InvalidByte,
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

impl<'a> ClientHello<'a> {
    /// Parses the body of a handshake message.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_fields(message).ok_or(ParseError::Malformed)?
    }

    fn parse_fields(message: &'a [u8]) -> Option<Result<Self, ParseError>> {
        const RANDOM_BYTES: usize = 32;
        let mut reader = Reader::new(message);
        let legacy_version = reader.u16()?;
        reader.take(RANDOM_BYTES)?;
        reader.vector_u8().filter(|session_id| session_id.rest().len() <= 32)?;
        let cipher_suites = reader.vector_u16()?.rest();
        let compression = reader.vector_u8()?.rest();
        if cipher_suites.is_empty() || cipher_suites.len() % 2 != 0 || compression.is_empty() {
            return None;
        }
        // Hellos before TLS 1.3 may end here (RFC 5246, section 7.4.1.2).
        let extensions = if reader.is_empty() { Reader::new(&[]) } else { reader.vector_u16()? };
        if let Err(error) = finished(reader) {
            return Some(Err(error));
        }
        let extensions = extensions.rest();
        Some(check_extensions(extensions).map(|()| Self { legacy_version, cipher_suites, extensions }))
    }

    fn extension(&self, wanted: u16) -> Option<Reader<'a>> {
        Extensions(Reader::new(self.extensions)).find(|(kind, _)| *kind == wanted).map(|(_, body)| body)
    }

    /// The version field, which TLS 1.3 clients set to that of TLS 1.2.
    pub fn legacy_version(&self) -> u16 {
        self.legacy_version
    }

    /// The cipher suites offered.
    pub fn cipher_suites(&self) -> U16List<'a> {
        U16List(self.cipher_suites)
    }

    /// The name the client wants; `None` when it says none.
    ///
    /// # Errors
    /// [`NameError`] when there is something, and it is no name to decide by.
    pub fn server_name(&self) -> Result<Option<&'a [u8]>, NameError> {
        let Some(mut extension) = self.extension(SERVER_NAME) else { return Ok(None) };
        let mut list = extension.vector_u16().ok_or(NameError::Malformed)?;
        if !extension.is_empty() {
            return Err(NameError::Malformed);
        }
        let kind = list.u8().ok_or(NameError::Malformed)?;
        let name = list.vector_u16().ok_or(NameError::Malformed)?.rest();
        if kind != HOST_NAME {
            return Err(NameError::Malformed);
        }
        if !list.is_empty() {
            return Err(NameError::TwoNames);
        }
        check_name(name).map(|()| Some(name))
    }

    /// The name as a [`net_core::HostName`].
    ///
    /// # Errors
    /// [`NameError`].
    #[cfg(feature = "core")]
    pub fn host_name(&self) -> Result<Option<net_core::HostName>, NameError> {
        use net_core::HostNameError as E;
        let Some(bytes) = self.server_name()? else { return Ok(None) };
        match net_core::HostName::from_ascii(bytes) {
            Ok(name) => Ok(Some(name)),
            Err(E::IpAddress) => Err(NameError::IpAddress),
            Err(E::TooLong | E::LabelTooLong) => Err(NameError::TooLong),
            Err(E::Empty) => Err(NameError::Empty),
            Err(_) => Err(NameError::InvalidByte),
        }
    }

    /// The application protocols offered (RFC 7301), in the client's order.
    pub fn alpn(&self) -> Alpn<'a> {
        let list = self.extension(ALPN).and_then(|mut extension| extension.vector_u16());
        Alpn(list.unwrap_or_else(|| Reader::new(&[])))
    }

    /// The versions offered (RFC 8446, section 4.2.1), GREASE included.
    pub fn supported_versions(&self) -> U16List<'a> {
        let list = self.extension(SUPPORTED_VERSIONS).and_then(|mut extension| extension.vector_u8());
        U16List(list.map_or(&[], Reader::rest))
    }

    /// The groups offered (RFC 8446, section 4.2.7), GREASE included.
    pub fn supported_groups(&self) -> U16List<'a> {
        let list = self.extension(SUPPORTED_GROUPS).and_then(|mut extension| extension.vector_u16());
        U16List(list.map_or(&[], Reader::rest))
    }

    /// Whether key shares are offered: a TLS 1.3 client.
    pub fn has_key_share(&self) -> bool {
        self.extension(KEY_SHARE).is_some()
    }

    /// Whether there is an encrypted ClientHello (RFC 9849), or GREASE that looks like one: the
    /// two cannot be told apart.
    pub fn has_ech(&self) -> bool {
        self.extension(ENCRYPTED_CLIENT_HELLO).is_some()
    }
}

fn check_name(name: &[u8]) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let bare = name.strip_suffix(b".").unwrap_or(name);
    if bare.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    if let Ok(text) = core::str::from_utf8(bare)
        && (text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok())
    {
        return Err(NameError::IpAddress);
    }
    if bare.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        Ok(())
    } else {
        Err(NameError::InvalidByte)
    }
}

struct Extensions<'a>(Reader<'a>);

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, Reader<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.u16()?, self.0.vector_u16()?))
    }
}

fn check_extensions(bytes: &[u8]) -> Result<(), ParseError> {
    let mut seen = [0u16; MAX_EXTENSIONS];
    let mut count = 0;
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let (Some(kind), Some(_)) = (reader.u16(), reader.vector_u16()) else {
            return Err(ParseError::Malformed);
        };
        if seen[..count].contains(&kind) {
            return Err(ParseError::DuplicateExtension);
        }
        *seen.get_mut(count).ok_or(ParseError::Malformed)? = kind;
        count += 1;
    }
    Ok(())
}

/// Protocol names, in the client's order.
#[derive(Clone, Copy, Debug)]
pub struct Alpn<'a>(Reader<'a>);

impl<'a> Iterator for Alpn<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.0.vector_u8().map(Reader::rest).filter(|protocol| !protocol.is_empty())
    }
}

/// Two-byte code points, in the client's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct U16List<'a>(&'a [u8]);

impl Iterator for U16List<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*value))
    }
}
