use crate::Status;

/// What the first bytes of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FirstFlight {
    /// A TLS handshake record; go on with [`sniff`](crate::sniff).
    Tls,
    /// An HTTP/1 request line.
    Http1,
    /// The HTTP/2 connection preface (RFC 9113, section 3.4).
    Http2,
    /// An SSH identification string (RFC 4253, section 4.2).
    Ssh,
    /// None of these.
    Other,
}

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SSH: &[u8] = b"SSH-";

/// Longest method that is taken for one: registered methods have 17 letters at most.
const MAX_METHOD_BYTES: usize = 24;

/// Tells a stream's protocol by as few bytes as possible.
///
/// `prefix` is the stream from its first byte on; at most 26 bytes of it are looked at. The answer
/// is about the start of a protocol, not about its rest: a stream that is `Tls` may hold no hello,
/// and one that is `Http1` no request. An answer stays, and `at_least` promises too little rather
/// than too much: no answer is possible before it.
pub fn classify(prefix: &[u8]) -> Status<FirstFlight> {
    match *prefix {
        [] => Status::Partial { at_least: 1 },
        // The minor version must be ignored (RFC 8446, section 5.1): what else looks like this?
        [22, 3, ..] => Status::Complete(FirstFlight::Tls),
        [22] => Status::Partial { at_least: 2 },
        [first, ..] if first.is_ascii_uppercase() => text(prefix),
        [..] => Status::Complete(FirstFlight::Other),
    }
}

fn text(prefix: &[u8]) -> Status<FirstFlight> {
    for (marker, kind) in [(HTTP2_PREFACE, FirstFlight::Http2), (SSH, FirstFlight::Ssh)] {
        if prefix.starts_with(marker) {
            return Status::Complete(kind);
        }
        if marker.starts_with(prefix) {
            // The next byte may tell it from the marker.
            return Status::Partial { at_least: prefix.len() + 1 };
        }
    }
    request_line(prefix)
}

/// method SP request-target. Methods are case-sensitive, and those of the registry upper case (RFC
/// 9110, sections 9.1 and 16.1.2). The version is not waited for: in doubt a stream is better taken
/// for HTTP, which then has to parse.
fn request_line(line: &[u8]) -> Status<FirstFlight> {
    let method = line.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    match (line.get(method), line.get(method + 1)) {
        (_, _) if method > MAX_METHOD_BYTES => Status::Complete(FirstFlight::Other),
        (None, _) => Status::Partial { at_least: line.len() + 1 },
        (Some(b' '), None) => Status::Partial { at_least: line.len() + 1 },
        (Some(b' '), Some(target)) if target.is_ascii_graphic() => Status::Complete(FirstFlight::Http1),
        (Some(_), _) => Status::Complete(FirstFlight::Other),
    }
}
