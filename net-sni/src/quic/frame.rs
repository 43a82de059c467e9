use crate::QuicError;
use crate::reader::Reader;

/// A piece of the CRYPTO stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crypto<'a> {
    pub(crate) offset: usize,
    pub(crate) bytes: &'a [u8],
}

/// The CRYPTO frames of an Initial packet; the others it may hold are read and dropped (RFC 9000,
/// section 12.4, table 3).
pub(crate) struct CryptoFrames<'a>(Reader<'a>);

impl<'a> CryptoFrames<'a> {
    pub(crate) const fn new(payload: &'a [u8]) -> Self {
        Self(Reader::new(payload))
    }

    /// The next one, `None` at the end of the packet.
    pub(crate) fn next(&mut self) -> Result<Option<Crypto<'a>>, QuicError> {
        const PADDING: usize = 0x00;
        const PING: usize = 0x01;
        const ACK: usize = 0x02;
        const ACK_ECN: usize = 0x03;
        const CRYPTO: usize = 0x06;
        const CONNECTION_CLOSE: usize = 0x1c;
        loop {
            self.0.skip_zeros();
            if self.0.is_empty() {
                return Ok(None);
            }
            match self.0.varint() {
                Some(PADDING | PING) => {}
                Some(ACK) => self.ack(false).ok_or(QuicError::MalformedFrame)?,
                Some(ACK_ECN) => self.ack(true).ok_or(QuicError::MalformedFrame)?,
                Some(CRYPTO) => return self.crypto().ok_or(QuicError::MalformedFrame).map(Some),
                Some(CONNECTION_CLOSE) => return Err(QuicError::Closed),
                Some(_) | None => return Err(QuicError::MalformedFrame),
            }
        }
    }

    /// RFC 9000, section 19.6.
    fn crypto(&mut self) -> Option<Crypto<'a>> {
        let offset = self.0.varint()?;
        let length = self.0.varint()?;
        Some(Crypto { offset, bytes: self.0.take(length)? })
    }

    /// RFC 9000, section 19.3. Each range takes two bytes at least, so that the packet bounds them.
    fn ack(&mut self, ecn: bool) -> Option<()> {
        self.0.varint()?; // largest acknowledged
        self.0.varint()?; // delay
        let ranges = self.0.varint()?;
        self.0.varint()?; // first range
        for _ in 0..ranges {
            self.0.varint()?;
            self.0.varint()?;
        }
        if ecn {
            for _ in 0..3 {
                self.0.varint()?;
            }
        }
        Some(())
    }
}
