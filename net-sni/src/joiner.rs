use crate::record::{self, HEADER_BYTES, Header};
use crate::{ClientHello, ParseError, Status};

/// RFC 8446, section 4.
pub(crate) const MESSAGE_HEADER_BYTES: usize = 4;

/// Joins the first handshake message of a stream, whose body goes to a buffer lent to each call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joiner {
    /// The bytes of the stream that were looked at; none is after an answer.
    seen: usize,
    record_header: [u8; HEADER_BYTES],
    /// In `0..=HEADER_BYTES`; all of it while the body is read.
    record_header_length: usize,
    /// What the record still promises.
    record_left: usize,
    message_header: [u8; MESSAGE_HEADER_BYTES],
    message_header_length: usize,
    /// How much of the message's body is in the buffer.
    joined: usize,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    /// The record header, or the message header, is not whole.
    Headers,
    /// The message has a body of this many bytes, and the buffer room for it.
    Body(usize),
    /// The message has a body of this many bytes, and the buffer all of it.
    Whole(usize),
    Wrong(ParseError),
}

impl Joiner {
    pub(crate) const fn new() -> Self {
        Self {
            seen: 0,
            record_header: [0; HEADER_BYTES],
            record_header_length: 0,
            record_left: 0,
            message_header: [0; MESSAGE_HEADER_BYTES],
            message_header_length: 0,
            joined: 0,
            progress: Progress::Headers,
        }
    }

    /// Takes the next bytes of the stream. Each is looked at once.
    pub(crate) fn feed(&mut self, buffer: &mut [u8], mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.progress {
                Progress::Whole(_) | Progress::Wrong(_) => return,
                Progress::Headers | Progress::Body(_) if self.record_left == 0 => self.record_header(bytes),
                Progress::Headers => self.message_header(bytes, buffer.len()),
                Progress::Body(length) => self.body(bytes, buffer, length),
            };
            match taken {
                Ok(count) => {
                    self.seen += count;
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) => self.progress = Progress::Wrong(error),
            }
        }
    }

    /// What is known so far. `buffer` is the one that [`Self::feed`] was given.
    pub(crate) fn answer<'b>(&self, buffer: &'b [u8]) -> Result<Status<ClientHello<'b>>, ParseError> {
        match self.progress {
            Progress::Wrong(error) => Err(error),
            Progress::Whole(length) => {
                ClientHello::parse(buffer.get(..length).unwrap_or_default()).map(Status::Complete)
            }
            Progress::Headers | Progress::Body(_) => {
                Ok(Status::Partial { at_least: self.seen + self.missing()? })
            }
        }
    }

    /// The fewest bytes that can bring an answer.
    fn missing(&self) -> Result<usize, ParseError> {
        if self.record_left == 0 {
            return Ok(match self.header()? {
                Header::Cut(at_least) => at_least - self.record_header_length,
                Header::Record(_) => 1,
            });
        }
        let wanted = match self.progress {
            Progress::Headers if self.message_header_length == 0 => 1,
            Progress::Headers => MESSAGE_HEADER_BYTES - self.message_header_length,
            Progress::Body(length) | Progress::Whole(length) => length - self.joined,
            Progress::Wrong(_) => 0,
        };
        // Where the record ends before that, the first byte of the next one may be wrong.
        Ok(if wanted <= self.record_left { wanted } else { self.record_left + 1 })
    }

    fn header(&self) -> Result<Header, ParseError> {
        let header = &self.record_header[..self.record_header_length];
        if self.seen == self.record_header_length { record::first(header) } else { record::later(header) }
    }

    /// One byte of it: it is short, and each of its bytes may be wrong.
    fn record_header(&mut self, bytes: &[u8]) -> Result<usize, ParseError> {
        if self.record_header_length == HEADER_BYTES {
            self.record_header_length = 0;
        }
        let first = self.seen == self.record_header_length;
        let (Some(free), [byte, ..]) = (self.record_header.get_mut(self.record_header_length), bytes) else {
            return Ok(0);
        };
        *free = *byte;
        self.record_header_length += 1;
        let header = &self.record_header[..self.record_header_length];
        match if first { record::first(header)? } else { record::later(header)? } {
            Header::Record(length) => self.record_left = length,
            Header::Cut(_) => {}
        }
        Ok(1)
    }

    fn message_header(&mut self, bytes: &[u8], room: usize) -> Result<usize, ParseError> {
        let free = &mut self.message_header[self.message_header_length..];
        let count = free.len().min(self.record_left).min(bytes.len());
        free[..count].copy_from_slice(&bytes[..count]);
        self.message_header_length += count;
        self.record_left -= count;
        match record::message_length(&self.message_header[..self.message_header_length])? {
            Some(length) if length > room => return Err(ParseError::TooLarge),
            Some(0) => self.progress = Progress::Whole(0),
            Some(length) => self.progress = Progress::Body(length),
            None => {}
        }
        Ok(count)
    }

    fn body(&mut self, bytes: &[u8], buffer: &mut [u8], length: usize) -> Result<usize, ParseError> {
        // A caller whose buffer shrank between two calls is told that it is too small.
        let free = buffer.get_mut(self.joined..length).ok_or(ParseError::TooLarge)?;
        let count = free.len().min(self.record_left).min(bytes.len());
        free[..count].copy_from_slice(&bytes[..count]);
        self.joined += count;
        self.record_left -= count;
        if self.joined == length {
            self.progress = Progress::Whole(length);
        }
        Ok(count)
    }
}
