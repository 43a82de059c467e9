//! The little HTTP/1.1 there is: requests without bodies, or with one that does not end.

use std::io::{self, Read};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A KiB.
    Short,
    /// Bytes without end.
    Source,
    /// Somebody to send bytes without end to.
    Sink,
    /// Likewise, in chunks.
    ChunkedSink,
}

/// What a body without end says its length is: more than anybody waits for.
const ENDLESS: u64 = 1 << 50;

/// How long the body of the answer to [`Wish::Short`] is.
const SHORT_BYTES: usize = 1 << 10;

/// A head that is longer is none of ours.
const MAX_HEAD_BYTES: usize = 4 << 10;

impl Wish {
    fn line(self) -> &'static str {
        match self {
            Self::Short => "GET /short",
            Self::Source => "GET /source",
            Self::Sink => "POST /sink",
            Self::ChunkedSink => "POST /chunks",
        }
    }

    /// The request's head.
    pub(super) fn request(self, authority: &str) -> String {
        // Of a type in which a secret may stand.
        let kind = "content-type: application/json\r\n";
        let body = match self {
            Self::Short | Self::Source => String::new(),
            Self::Sink => format!("{kind}content-length: {ENDLESS}\r\n"),
            Self::ChunkedSink => format!("{kind}transfer-encoding: chunked\r\n"),
        };
        format!("{} HTTP/1.1\r\nhost: {authority}\r\n{body}\r\n", self.line())
    }

    /// Reads a request's head; `None` at the end of the stream.
    pub(super) fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let Some(head) = read_head(stream)? else { return Ok(None) };
        [Self::Short, Self::Source, Self::Sink, Self::ChunkedSink]
            .into_iter()
            .find(|wish| head.starts_with(wish.line().as_bytes()))
            .map(Some)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// What a server answers at once.
    pub(super) fn answer(self) -> Vec<u8> {
        let head = |length: u64| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        match self {
            Self::Short => [&head(SHORT_BYTES as u64)[..], &[b'x'; SHORT_BYTES]].concat(),
            Self::Source => head(ENDLESS),
            Self::Sink | Self::ChunkedSink => Vec::new(),
        }
    }
}

/// Reads the whole answer to [`Wish::Short`].
pub(super) fn read_short(stream: &mut impl Read) -> io::Result<()> {
    let mut buffer = [0; 2 * SHORT_BYTES];
    let mut length = 0;
    loop {
        length += match stream.read(&mut buffer[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => more,
        };
        let read = &buffer[..length];
        if !read.starts_with(&b"HTTP/1.1 200"[..length.min(12)]) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // A relay may have added headers of its own.
        if head_end(read).is_some_and(|end| length - end >= SHORT_BYTES) {
            return Ok(());
        }
    }
}

/// Reads until a head is whole; what follows it is a body that nobody looks at.
pub(super) fn read_head(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = vec![0; MAX_HEAD_BYTES];
    let mut length = 0;
    loop {
        match stream.read(&mut head[length..])? {
            0 if length == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
        if head_end(&head[..length]).is_some() {
            head.truncate(length);
            return Ok(Some(head));
        }
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for wish in [Wish::Short, Wish::Source, Wish::Sink, Wish::ChunkedSink] {
            let request = wish.request("a.test:1");
            assert_eq!(Wish::read(&mut request.as_bytes()).expect("a request"), Some(wish));
            let cut = &request.as_bytes()[..request.len() - 1];
            assert!(Wish::read(&mut &*cut).is_err());
        }
        assert_eq!(Wish::read(&mut &b""[..]).expect("an end"), None);
        assert!(Wish::read(&mut &b"GET /other HTTP/1.1\r\n\r\n"[..]).is_err());
    }

    #[test]
    fn a_short_answer_is_read_whole() {
        let answer = Wish::Short.answer();
        read_short(&mut &answer[..]).expect("an answer");
        assert!(read_short(&mut &answer[..answer.len() - 1]).is_err());
        assert!(read_short(&mut &b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..]).is_err());
    }
}
