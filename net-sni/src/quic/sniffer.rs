use super::crypto_stream::CryptoStream;
use super::frame::CryptoFrames;
use super::packet::{self, Initial, Packet, Version};
use super::protection::{Keys, OpenError};
use crate::{ClientHello, QuicError, Status};

/// Room for every hello and every packet of a client: 16 KiB each.
pub const QUIC_BUFFER_BYTES: usize = 32 << 10;

/// RFC 9000, section 14.1.
const MIN_DATAGRAM_BYTES: usize = 1200;
/// What the client makes up must be long enough (RFC 9000, section 7.2).
const MIN_CONNECTION_ID_BYTES: usize = 8;

/// Reads a ClientHello out of the first datagrams a client sends, in versions 1 (RFC 9000, 9001)
/// and 2 (RFC 9369).
///
/// Initial packets are opened with the keys that the first of them shows, and the CRYPTO frames
/// put in order, whatever packets and datagrams they come in. The client's datagrams are not
/// changed.
///
/// `B` lends a fixed run of bytes, as for [`Sniffer`](crate::Sniffer): its first half holds the
/// CRYPTO stream, its second half the packet being opened. Use [`QUIC_BUFFER_BYTES`] where nothing
/// speaks for less. Nothing else grows; work is linear in the bytes of the datagrams, and keys are
/// derived once.
///
/// The flow is judged by its first datagram: where that is no readable QUIC, so is the flow. Once
/// a packet was opened, what does not open, has another connection ID or comes in a datagram too
/// short for an Initial packet is left out, as a server would. A client may start a second
/// connection, with another connection ID and another name, from the same port: that is another
/// flow to the server, and another `QuicSniffer`.
#[derive(Clone)]
pub struct QuicSniffer<B> {
    buffer: B,
    flow: Option<Flow>,
    stream: CryptoStream,
    wrong: Option<QuicError>,
}

/// What the first packet settles.
#[derive(Clone)]
struct Flow {
    keys: Keys,
    version: Version,
    destination: [u8; 20],
    destination_length: usize,
    /// Above every packet number opened so far.
    next_number: u64,
    /// Whether a packet was opened with the keys.
    is_open: bool,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> QuicSniffer<B> {
    /// Starts at the first datagram of a flow. What is in `buffer` does not matter.
    pub const fn new(buffer: B) -> Self {
        Self { buffer, flow: None, stream: CryptoStream::new(), wrong: None }
    }

    /// Takes the payload of the next datagram from the client.
    ///
    /// `at_least` counts the bytes of the CRYPTO stream that make a hello, as far as that is
    /// known. Once there is an answer it stays: more datagrams are ignored.
    ///
    /// # Errors
    /// [`QuicError`]; final.
    pub fn handle(&mut self, datagram: &[u8]) -> Result<Status<ClientHello<'_>>, QuicError> {
        if self.wrong.is_none() && !matches!(self.answer(), Ok(Status::Complete(_)) | Err(_)) {
            self.wrong = self.packets(datagram).err();
        }
        self.answer()
    }

    /// Holds a later datagram of the same flow against the answer, which [`handle`](Self::handle) leaves
    /// as it is: what is sent again must say the same. The answer stays, whatever comes out.
    ///
    /// # Errors
    /// [`QuicError::Conflict`] where the datagram contradicts the hello, and any other error where its
    /// packets open and are wrong. What does not open, or belongs to another connection, says nothing.
    pub fn check(&mut self, datagram: &[u8]) -> Result<(), QuicError> {
        self.packets(datagram)
    }

    fn answer(&self) -> Result<Status<ClientHello<'_>>, QuicError> {
        match self.wrong {
            Some(error) => Err(error),
            None => self.stream.answer(halves(self.buffer.as_ref()).0),
        }
    }

    /// Gives the buffer back.
    pub fn into_buffer(self) -> B {
        self.buffer
    }

    fn packets(&mut self, datagram: &[u8]) -> Result<(), QuicError> {
        let mut rest = datagram;
        loop {
            match packet::parse(rest) {
                Ok((Packet::Initial(initial), tail)) => {
                    self.initial(&initial, datagram.len())?;
                    rest = tail;
                }
                Ok((Packet::Other, tail)) => rest = tail,
                // What follows the first packet may be anything (RFC 9000, section 12.2).
                Err(error) if self.flow.is_none() && rest.len() == datagram.len() => return Err(error),
                Err(_) => break,
            }
            if rest.is_empty() {
                break;
            }
        }
        match &self.flow {
            // A server reads on behind a packet that does not open; so did this.
            Some(flow) if !flow.is_open => Err(QuicError::Unauthentic),
            Some(_) | None => Ok(()),
        }
    }

    fn initial(&mut self, initial: &Initial<'_>, datagram_bytes: usize) -> Result<(), QuicError> {
        let is_first = self.flow.is_none();
        let is_short = datagram_bytes < MIN_DATAGRAM_BYTES;
        if is_first && is_short {
            return Err(QuicError::DatagramTooShort);
        }
        let flow = match &mut self.flow {
            Some(flow) if is_short || !flow.owns(initial) => return Ok(()),
            Some(flow) => flow,
            none => none.insert(Flow::new(initial)?),
        };
        let (stream, scratch) = halves_mut(self.buffer.as_mut());
        let opened = match flow.keys.open(initial, flow.next_number, scratch) {
            Ok(opened) => opened,
            Err(OpenError::TooLarge) => return Err(QuicError::TooLarge),
            Err(OpenError::Malformed) => return Err(QuicError::MalformedFrame),
            Err(OpenError::Unauthentic) => return Ok(()),
        };
        flow.is_open = true;
        flow.next_number = flow.next_number.max(opened.number + 1);
        let mut frames = CryptoFrames::new(opened.payload);
        while let Some(frame) = frames.next()? {
            self.stream.insert(frame, stream)?;
        }
        Ok(())
    }
}

impl Flow {
    fn new(initial: &Initial<'_>) -> Result<Self, QuicError> {
        let destination_length = initial.destination.len();
        let mut destination = [0; 20];
        if destination_length < MIN_CONNECTION_ID_BYTES {
            return Err(QuicError::MalformedPacket);
        }
        let room = destination.get_mut(..destination_length).ok_or(QuicError::MalformedPacket)?;
        room.copy_from_slice(initial.destination);
        let keys = Keys::client(initial.version, initial.destination);
        Ok(Self {
            keys,
            version: initial.version,
            destination,
            destination_length,
            next_number: 0,
            is_open: false,
        })
    }

    fn owns(&self, initial: &Initial<'_>) -> bool {
        self.version == initial.version
            && self.destination.get(..self.destination_length) == Some(initial.destination)
    }
}

fn halves(buffer: &[u8]) -> (&[u8], &[u8]) {
    buffer.split_at(buffer.len() / 2)
}

fn halves_mut(buffer: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    buffer.split_at_mut(buffer.len() / 2)
}
