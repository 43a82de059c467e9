//! A reader of HTTP/1.1 that takes what RFC 9112 has a sender generate, and nothing else.

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// Whether some chunk has an extension.
    pub(super) has_extensions: bool,
}

pub(super) enum Read {
    /// And how many bytes it has.
    Whole(Message, usize),
    Partial,
    Wrong(&'static str),
}

/// Fields that are about one connection, or written anew.
pub(super) const FRAMING: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "accept-encoding",
];

/// Why reading stopped.
enum Stop {
    Partial,
    Wrong(&'static str),
}

impl Message {
    pub(super) fn host(&self) -> &[u8] {
        let host = self.fields.iter().find(|(name, _)| name == "host");
        host.map_or(&[], |(_, value)| value)
    }

    /// The fields that concern the recipient, in the order of names.
    pub(super) fn fields(&self) -> Vec<(String, Vec<u8>)> {
        let mut fields = self.fields.clone();
        fields.retain(|(name, _)| !FRAMING.contains(&name.as_str()));
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        fields
    }

    /// The target without scheme and authority.
    pub(super) fn origin_form(&self) -> Vec<u8> {
        let Some(rest) = self.target.strip_prefix(b"http://") else { return self.target.clone() };
        let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let path = &rest[path..];
        if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() }
    }
}

/// Reads the first request.
pub(super) fn read(bytes: &[u8]) -> Read {
    let mut reader = Reader { bytes, at: 0 };
    match reader.message() {
        Ok(message) => Read::Whole(message, reader.at),
        Err(Stop::Partial) => Read::Partial,
        Err(Stop::Wrong(why)) => Read::Wrong(why),
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn message(&mut self) -> Result<Message, Stop> {
        let line = self.line()?;
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Stop::Wrong("a request line has three words"));
        };
        if !is_token(method) || version != b"HTTP/1.1" {
            return Err(Stop::Wrong("a request line begins with a method and ends with a version"));
        }
        let has_form = target.starts_with(b"/") || target.starts_with(b"http://") || target == b"*";
        if !has_form || !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return Err(Stop::Wrong("a target is a path"));
        }
        let fields = self.fields()?;
        let all = |wanted: &str| -> Vec<&[u8]> {
            let values = fields.iter().filter(|(name, _)| name == wanted);
            values.map(|(_, value)| value.as_slice()).collect()
        };
        if all("host").len() != 1 {
            return Err(Stop::Wrong("a request has one host"));
        }
        let mut has_extensions = false;
        let body = match (all("transfer-encoding").as_slice(), all("content-length").as_slice()) {
            ([], []) => Vec::new(),
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => self.chunks(&mut has_extensions)?,
            ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
                self.take(length.ok_or(Stop::Wrong("a length is a number"))?)?.to_vec()
            }
            _ => return Err(Stop::Wrong("a body is framed in one way")),
        };
        Ok(Message { method: method.to_vec(), target: target.to_vec(), fields, body, has_extensions })
    }

    fn chunks(&mut self, has_extensions: &mut bool) -> Result<Vec<u8>, Stop> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let (size, extension) = line.split_at(digits);
            let size = std::str::from_utf8(size).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            let size = size.ok_or(Stop::Wrong("a chunk has a size"))?;
            if !extension.is_empty() {
                if !extension.starts_with(b";") || !is_text(extension) {
                    return Err(Stop::Wrong("a chunk's size is followed by nothing"));
                }
                *has_extensions = true;
            }
            if size == 0 {
                self.fields()?;
                return Ok(body);
            }
            body.extend_from_slice(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(Stop::Wrong("a chunk ends with its line"));
            }
        }
    }

    /// Fields up to the empty line.
    fn fields(&mut self) -> Result<Vec<(String, Vec<u8>)>, Stop> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let colon =
                line.iter().position(|byte| *byte == b':').ok_or(Stop::Wrong("a field has a colon"))?;
            let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
            if !is_token(name) || !is_text(value) {
                return Err(Stop::Wrong("a field has a name and a value"));
            }
            fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
        }
    }

    /// A line without its end, which is CRLF.
    fn line(&mut self) -> Result<&'b [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or(Stop::Partial)?;
        match rest.get(end..end + 2) {
            Some(b"\r\n") => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            None if rest[end] == b'\r' => Err(Stop::Partial),
            _ => Err(Stop::Wrong("a line ends with CRLF")),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], Stop> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or(Stop::Partial)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

/// VCHAR, obs-text, SP and HTAB (RFC 9110, section 5.5).
fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

/// Without the white space around.
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_sender_may_write_is_read() {
        // The bytes, and the body where it is a request.
        const CASES: &[(&str, Option<&str>)] = &[
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some("")),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcd", Some("abc")),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: 1\r\n\r\n",
                Some("abc"),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\nabc\r\n0\r\n\r\n",
                Some("abc"),
            ),
            ("GET / HTTP/1.1\nHost: a\n\n", None),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", None),
            ("GET / HTTP/1.1\r\n\r\n", None),
            ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost: a\r\nx: 1\r\n 2\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", None),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                None,
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", None),
        ];
        for (bytes, expected) in CASES {
            let body = match read(bytes.as_bytes()) {
                Read::Whole(message, _) => Some(String::from_utf8_lossy(&message.body).into_owned()),
                Read::Partial => panic!("{bytes:?} is whole"),
                Read::Wrong(_) => None,
            };
            assert_eq!(body.as_deref(), *expected, "{bytes:?}");
            // Every beginning of a request is the beginning of one.
            if let Read::Whole(_, length) = read(bytes.as_bytes()) {
                let is_partial = |end: usize| matches!(read(&bytes.as_bytes()[..end]), Read::Partial);
                assert!((0..length).all(is_partial), "{bytes:?}");
            }
        }
    }
}
