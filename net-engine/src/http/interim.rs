//! Interim responses.

use http::header::{CONTENT_LENGTH, TE, TRAILER};
use http::{HeaderMap, Response, StatusCode};
use net_core::Limits;
use net_secrets::Scrubber;

use super::headers;

/// What each field of a header block counts besides its bytes (RFC 9113, section 10.5.1).
const FIELD_BYTES: usize = 32;

/// How many interim responses may still go on, and with how many bytes.
pub(super) struct Interims {
    count: usize,
    bytes: usize,
}

impl Interims {
    /// For one request: as many as [`Limits::max_interim_responses`], which together are one header block.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { count: limits.max_interim_responses, bytes: limits.max_header_bytes }
    }

    /// Makes one of upstream's the guest's; `None` for one that is not passed on: beyond the bounds, or said of
    /// a connection alone. 100 is for each side to say for itself, 101 is no HTTP/2 (RFC 9113, section 8.6).
    pub(super) fn pass(&mut self, head: Response<()>, scrubber: Option<&Scrubber>) -> Option<Response<()>> {
        if [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS].contains(&head.status()) {
            return None;
        }
        let bytes = size_of_block(head.headers());
        self.count = self.count.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(bytes)?;
        let (mut parts, ()) = head.into_parts();
        headers::to_guest(&mut parts.headers, scrubber);
        for name in [CONTENT_LENGTH, TRAILER, TE] {
            parts.headers.remove(name);
        }
        let mut passed = Response::new(());
        *passed.status_mut() = parts.status;
        *passed.headers_mut() = parts.headers;
        Some(passed)
    }
}

fn size_of_block(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(status: u16, link: &str) -> Response<()> {
        let head = Response::builder().status(status).header("link", link).header("content-length", "3");
        head.header("connection", "x-hop").header("x-hop", "1").body(()).unwrap()
    }

    #[test]
    fn what_is_for_the_guest_goes_on_without_what_is_for_the_connection() {
        for status in [102, 103, 199] {
            let passed = Interims::new(&Limits::default()).pass(hints(status, "</x>"), None).expect("passed");
            assert_eq!(passed.status(), status);
            let names: Vec<&str> = passed.headers().keys().map(|name| name.as_str()).collect();
            assert_eq!(names, ["link"], "{status}");
        }
        for status in [100, 101] {
            assert!(Interims::new(&Limits::default()).pass(hints(status, "</x>"), None).is_none());
        }
    }

    #[test]
    fn neither_their_number_nor_their_bytes_exceed_the_bound() {
        let limits = Limits { max_interim_responses: 3, max_header_bytes: 1_000, ..Limits::default() };
        for (link, expected) in [("x", 3), (&*"x".repeat(400), 1), (&*"x".repeat(1_000), 0)] {
            let mut interims = Interims::new(&limits);
            let passed = (0..10).filter_map(|_| interims.pass(hints(103, link), None)).count();
            assert_eq!(passed, expected, "{} bytes", link.len());
        }
    }
}
