use crate::client_hello::ClientHello;
use crate::reader::Reader;
use crate::{ParseError, Status};

/// The largest ClientHello that is read: post-quantum key shares and padding fit several times.
pub const MAX_HELLO_BYTES: usize = 64 << 10;

const RECORD_HEADER_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
/// RFC 8446, section 5.1.
const MAX_RECORD_BYTES: usize = 1 << 14;
const MESSAGE_HEADER_BYTES: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// Reads the ClientHello at the start of `prefix`, the bytes of a stream from its first one on.
///
/// `scratch` joins a hello that is spread over several records; one that lies in a single record
/// is borrowed from `prefix`. A hello larger than `scratch` that needs it is `TooLarge`.
///
/// # Errors
/// [`ParseError`]; final.
pub fn sniff<'a>(prefix: &'a [u8], scratch: &'a mut [u8]) -> Result<Status<ClientHello<'a>>, ParseError> {
    let first = match record(prefix, 0)? {
        Status::Complete(record) => record,
        Status::Partial { at_least } => return early(prefix, at_least),
    };
    let Some(length) = message_length(first.body)? else {
        return join(prefix, scratch);
    };
    match first.body.get(MESSAGE_HEADER_BYTES..MESSAGE_HEADER_BYTES + length) {
        Some(message) => ClientHello::parse(message).map(Status::Complete),
        None => join(prefix, scratch),
    }
}

/// The first record is cut short: its message may already be wrong.
fn early<'a>(prefix: &[u8], at_least: usize) -> Result<Status<ClientHello<'a>>, ParseError> {
    let body = prefix.get(RECORD_HEADER_BYTES..).unwrap_or_default();
    message_length(body)?;
    // The very next byte may be the wrong one until the message's header is there.
    let next = prefix.len() + 1;
    Ok(Status::Partial { at_least: if body.len() < MESSAGE_HEADER_BYTES { next } else { at_least } })
}

struct Record<'a> {
    body: &'a [u8],
    end: usize,
}

/// The record at `start`; `Partial` when it is cut short.
fn record(prefix: &[u8], start: usize) -> Result<Status<Record<'_>>, ParseError> {
    let Some(bytes) = prefix.get(start..) else {
        return Ok(Status::Partial { at_least: start + 1 });
    };
    let header = &bytes[..bytes.len().min(RECORD_HEADER_BYTES)];
    if let Some(kind) = header.first()
        && *kind != HANDSHAKE
    {
        return Err(match (start, header) {
            (0, [length, _, CLIENT_HELLO, ..]) if length & 0x80 != 0 => ParseError::SslV2,
            // The third byte tells SSLv2 from noise.
            (0, [length] | [length, _]) if length & 0x80 != 0 => {
                return Ok(Status::Partial { at_least: prefix.len() + 1 });
            }
            (0, _) => ParseError::NotTls,
            (_, _) => ParseError::UnexpectedRecord,
        });
    }
    // Every version from SSL 3.0 on says 3 here; the minor number means nothing (RFC 8446, 5.1).
    if header.get(1).is_some_and(|major| *major != 3) {
        return Err(if start == 0 { ParseError::NotTls } else { ParseError::UnexpectedRecord });
    }
    let Some([high, low]) = header.get(3..5) else {
        return Ok(Status::Partial { at_least: prefix.len() + 1 });
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length == 0 || length > MAX_RECORD_BYTES {
        return Err(ParseError::RecordLength);
    }
    let end = start + RECORD_HEADER_BYTES + length;
    match prefix.get(start + RECORD_HEADER_BYTES..end) {
        Some(body) => Ok(Status::Complete(Record { body, end })),
        None => Ok(Status::Partial { at_least: end }),
    }
}

/// The length of the handshake message, once its header is there.
fn message_length(body: &[u8]) -> Result<Option<usize>, ParseError> {
    if body.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(ParseError::NotClientHello);
    }
    let [_, high, middle, low, ..] = *body else { return Ok(None) };
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length > MAX_HELLO_BYTES { Err(ParseError::TooLarge) } else { Ok(Some(length)) }
}

/// Copies the bodies of the records into `scratch` until the message is whole.
fn join<'a>(prefix: &[u8], scratch: &'a mut [u8]) -> Result<Status<ClientHello<'a>>, ParseError> {
    let (mut start, mut joined) = (0, 0);
    loop {
        let needed = message_length(&scratch[..joined])?;
        if let Some(length) = needed
            && joined >= MESSAGE_HEADER_BYTES + length
        {
            let message = &scratch[MESSAGE_HEADER_BYTES..MESSAGE_HEADER_BYTES + length];
            return ClientHello::parse(message).map(Status::Complete);
        }
        match record(prefix, start)? {
            Status::Complete(record) => {
                let room = scratch.get_mut(joined..).unwrap_or_default();
                let room = room.get_mut(..record.body.len()).ok_or(ParseError::TooLarge)?;
                room.copy_from_slice(record.body);
                joined += record.body.len();
                start = record.end;
            }
            Status::Partial { at_least } => return Ok(Status::Partial { at_least }),
        }
    }
}

/// Whether a reader was used up, as a parse result.
pub(crate) fn finished(reader: Reader<'_>) -> Result<(), ParseError> {
    if reader.is_empty() { Ok(()) } else { Err(ParseError::Malformed) }
}
