use crate::joiner::Joiner;
use crate::{ClientHello, ParseError, Status};

/// Room for every ClientHello in use: post-quantum key shares and padding fit several times.
///
/// As much as rustls joins; OpenSSL would go on to twice that, for a hello nobody sends.
pub const MAX_HELLO_BYTES: usize = 64 << 10;

/// Reads a ClientHello out of a stream that comes in pieces.
///
/// The message is joined in `B`, anything that lends a fixed run of bytes: `[u8; N]`, `&mut [u8]`,
/// `Vec<u8>`, `Box<[u8]>`. Its length is the limit: a larger hello is `TooLarge` as soon as it
/// says how large it is. Use [`MAX_HELLO_BYTES`] where nothing speaks for less.
///
/// Nothing else grows. Every byte is looked at once, and none after the hello.
#[derive(Clone, Copy, Debug)]
pub struct Sniffer<B> {
    buffer: B,
    joiner: Joiner,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Sniffer<B> {
    /// Starts at the first byte of a stream. What is in `buffer` does not matter.
    pub const fn new(buffer: B) -> Self {
        Self { buffer, joiner: Joiner::new() }
    }

    /// Takes the next bytes of the stream, however it was cut.
    ///
    /// Once there is an answer it stays: more bytes are ignored.
    ///
    /// # Errors
    /// [`ParseError`]; final.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<Status<ClientHello<'_>>, ParseError> {
        self.joiner.feed(self.buffer.as_mut(), bytes);
        self.joiner.answer(self.buffer.as_ref())
    }

    /// Gives the buffer back.
    pub fn into_buffer(self) -> B {
        self.buffer
    }
}

/// The start of a stream whose ClientHello is spread over several records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragments<'a>(&'a [u8]);

impl<'a> Fragments<'a> {
    pub(crate) const fn new(prefix: &'a [u8]) -> Self {
        Self(prefix)
    }

    /// Joins the records in `buffer`, from which the hello is borrowed; the limit is its length.
    ///
    /// A caller that reads on from `Partial` does better to keep a [`Sniffer`], which looks at
    /// every byte once; this looks at all of them again.
    ///
    /// # Errors
    /// [`ParseError`]; final.
    pub fn join<'b>(&self, buffer: &'b mut [u8]) -> Result<Status<ClientHello<'b>>, ParseError> {
        let mut joiner = Joiner::new();
        joiner.feed(buffer, self.0);
        joiner.answer(buffer)
    }
}
