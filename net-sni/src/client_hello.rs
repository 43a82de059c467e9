use crate::extension::{self, ExtensionBlock, Extensions};
use crate::reader::Reader;
use crate::{Alpn, KeyShares, MalformedExtension, NameError, NamedGroup, ParseError, U16List, server_name};

const RANDOM_BYTES: usize = 32;
/// RFC 8446, section 4.1.2, and every version before.
const MAX_SESSION_ID_BYTES: usize = 32;

/// A whole ClientHello (RFC 8446, section 4.1.2), borrowed.
///
/// Its lengths fit together and no extension comes twice. What is in an extension is looked at
/// when it is asked for: at most one pass over the hello a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    legacy_version: u16,
    random: &'a [u8],
    session_id: &'a [u8],
    cipher_suites: U16List<'a>,
    extensions: ExtensionBlock<'a>,
}

/// The encrypted_client_hello extension (RFC 9849, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ech {
    /// The hello is the outer one, and its server_name that of the provider; or the extension is
    /// GREASE. The two are made to look alike and cannot be told apart.
    Outer,
    /// The hello is the inner one, which nobody but a provider's front end should see.
    Inner,
    /// Neither; a server that knows the extension refuses the hello.
    Malformed,
}

impl<'a> ClientHello<'a> {
    /// Parses the body of a handshake message.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(message);
        let hello = Self::parse_fields(&mut reader).ok_or(ParseError::Malformed)?;
        // Hellos before TLS 1.3 may end here (RFC 5246, section 7.4.1.2).
        if reader.is_empty() {
            return Ok(hello);
        }
        let block = reader.vector_u16().filter(|_| reader.is_empty()).ok_or(ParseError::Malformed)?;
        Ok(Self { extensions: ExtensionBlock::parse(block.rest())?, ..hello })
    }

    fn parse_fields(reader: &mut Reader<'a>) -> Option<Self> {
        let legacy_version = reader.u16()?;
        let random = reader.take(RANDOM_BYTES)?;
        let session_id = reader.vector_u8()?.rest();
        let cipher_suites = U16List::parse(reader.vector_u16()?.rest())?;
        let compression_methods = reader.vector_u8()?;
        if session_id.len() > MAX_SESSION_ID_BYTES || compression_methods.is_empty() {
            return None;
        }
        let extensions = ExtensionBlock::EMPTY;
        Some(Self { legacy_version, random, session_id, cipher_suites, extensions })
    }

    /// The version field, which TLS 1.3 clients set to that of TLS 1.2.
    pub const fn legacy_version(&self) -> u16 {
        self.legacy_version
    }

    /// The client's random, 32 bytes.
    pub const fn random(&self) -> &'a [u8] {
        self.random
    }

    /// The session id, at most 32 bytes; TLS 1.3 clients fill it for old middleboxes.
    pub const fn session_id(&self) -> &'a [u8] {
        self.session_id
    }

    /// The cipher suites offered, at least one.
    pub const fn cipher_suites(&self) -> U16List<'a> {
        self.cipher_suites
    }

    /// Every extension, in the client's order.
    pub fn extensions(&self) -> Extensions<'a> {
        self.extensions.iter()
    }

    /// The name the client wants (RFC 6066, section 3), as it wrote it: case and a trailing dot
    /// are kept. `None` when it says none.
    ///
    /// # Errors
    /// [`NameError`] when there is something, and it is no name to decide by.
    pub fn server_name(&self) -> Result<Option<&'a [u8]>, NameError> {
        self.extensions.find(extension::SERVER_NAME).map(server_name::parse).transpose()
    }

    /// The name as a [`net_core::HostName`]. Allocates.
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

    /// The application protocols offered (RFC 7301), in the client's order; none when there is no
    /// such extension.
    ///
    /// # Errors
    /// [`MalformedExtension`]; an empty list or an empty name is that too.
    pub fn alpn(&self) -> Result<Alpn<'a>, MalformedExtension> {
        self.extensions.find(extension::ALPN).map_or_else(|| Ok(Alpn::default()), Alpn::parse)
    }

    /// The versions offered (RFC 8446, section 4.2.1); none when there is no such extension, and
    /// [`Self::legacy_version`] counts.
    ///
    /// # Errors
    /// [`MalformedExtension`]; an empty list is that too.
    pub fn supported_versions(&self) -> Result<U16List<'a>, MalformedExtension> {
        self.list(extension::SUPPORTED_VERSIONS, Reader::vector_u8)
    }

    /// The groups offered (RFC 8446, section 4.2.7); none when there is no such extension.
    ///
    /// # Errors
    /// [`MalformedExtension`]; an empty list is that too.
    pub fn supported_groups(&self) -> Result<impl Iterator<Item = NamedGroup> + use<'a>, MalformedExtension> {
        self.list(extension::SUPPORTED_GROUPS, Reader::vector_u16).map(|list| list.map(NamedGroup))
    }

    /// The signature algorithms offered (RFC 8446, section 4.2.3); none when there is no such
    /// extension.
    ///
    /// # Errors
    /// [`MalformedExtension`]; an empty list is that too.
    pub fn signature_algorithms(&self) -> Result<U16List<'a>, MalformedExtension> {
        self.list(extension::SIGNATURE_ALGORITHMS, Reader::vector_u16)
    }

    fn list(
        &self,
        kind: u16,
        vector: fn(&mut Reader<'a>) -> Option<Reader<'a>>,
    ) -> Result<U16List<'a>, MalformedExtension> {
        let Some(mut body) = self.extensions.find(kind) else { return Ok(U16List::default()) };
        let list = vector(&mut body).filter(|_| body.is_empty()).ok_or(MalformedExtension)?;
        U16List::parse(list.rest()).ok_or(MalformedExtension)
    }

    /// The key shares (RFC 8446, section 4.2.8): `None` from a client that does not speak TLS 1.3,
    /// an empty list from one that wants to be told the group.
    ///
    /// # Errors
    /// [`MalformedExtension`].
    pub fn key_shares(&self) -> Result<Option<KeyShares<'a>>, MalformedExtension> {
        self.extensions.find(extension::KEY_SHARE).map(KeyShares::parse).transpose()
    }

    /// Whether a group that withstands quantum computers is offered, with a key or without.
    pub fn offers_post_quantum(&self) -> bool {
        self.supported_groups().is_ok_and(|mut groups| groups.any(NamedGroup::is_post_quantum))
    }

    /// The largest record the client takes (RFC 8449); `None` when it sets no limit.
    ///
    /// # Errors
    /// [`MalformedExtension`].
    pub fn record_size_limit(&self) -> Result<Option<u16>, MalformedExtension> {
        let Some(mut body) = self.extensions.find(extension::RECORD_SIZE_LIMIT) else { return Ok(None) };
        let limit = body.u16().filter(|_| body.is_empty()).ok_or(MalformedExtension)?;
        Ok(Some(limit))
    }

    /// The encrypted ClientHello, or GREASE that looks like one; `None` when there is neither.
    pub fn ech(&self) -> Option<Ech> {
        let mut body = self.extensions.find(extension::ENCRYPTED_CLIENT_HELLO)?;
        Some(match body.u8() {
            Some(0) => Ech::Outer,
            Some(1) if body.is_empty() => Ech::Inner,
            Some(_) | None => Ech::Malformed,
        })
    }

    /// Whether the client takes session tickets (RFC 5077), or brings one.
    pub fn has_session_ticket(&self) -> bool {
        self.extensions.has(extension::SESSION_TICKET)
    }

    /// Whether the client offers pre-shared keys (RFC 8446, section 4.2.11): it resumes.
    pub fn has_pre_shared_key(&self) -> bool {
        self.extensions.has(extension::PRE_SHARED_KEY)
    }
}
