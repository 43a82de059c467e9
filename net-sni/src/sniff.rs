use crate::joiner::MESSAGE_HEADER_BYTES;
use crate::record::{self, HEADER_BYTES, Header};
use crate::{ClientHello, Fragments, ParseError, Status};

/// Reads the ClientHello at the start of `prefix`, the bytes of a stream from its first one on.
///
/// The hello is borrowed from `prefix`: nothing is copied, nothing allocated, and the whole of it
/// is looked at once. That needs it in one record, as every client sends it that is not told
/// otherwise; one that is spread over several records is [`Status::Fragmented`], which joins them
/// in a buffer. It is an answer of its own because a value that straddles two records cannot be
/// lent as one slice, and a caller that forgot the case would have a hole.
///
/// The answer comes as soon as the bytes of the message are there, whatever the record around it
/// still promises.
///
/// # Errors
/// [`ParseError`]; final. `TooLarge` is none of them: what is larger than a record is fragmented.
pub fn sniff(prefix: &[u8]) -> Result<Status<ClientHello<'_>, Fragments<'_>>, ParseError> {
    let record_length = match record::first(prefix)? {
        Header::Record(length) => length,
        Header::Cut(at_least) => return Ok(Status::Partial { at_least }),
    };
    if record_length < MESSAGE_HEADER_BYTES {
        return Ok(Status::Fragmented(Fragments::new(prefix)));
    }
    let body = prefix.get(HEADER_BYTES..).unwrap_or_default();
    let Some(length) = record::message_length(body)? else {
        // The kind alone may be wrong.
        let at_least = if body.is_empty() { 1 } else { MESSAGE_HEADER_BYTES };
        return Ok(Status::Partial { at_least: HEADER_BYTES + at_least });
    };
    let end = MESSAGE_HEADER_BYTES + length;
    if end > record_length {
        return Ok(Status::Fragmented(Fragments::new(prefix)));
    }
    match body.get(MESSAGE_HEADER_BYTES..end) {
        Some(message) => ClientHello::parse(message).map(Status::Complete),
        None => Ok(Status::Partial { at_least: HEADER_BYTES + end }),
    }
}
