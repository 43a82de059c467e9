use super::HTTP2;

/// The HTTP of a plain stream or of what ALPN chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge where the stream is plain.
    Http2,
}

impl HttpVersion {
    /// What ALPN chose, or nothing did.
    pub(crate) fn chosen(alpn: Option<&[u8]>) -> Self {
        if alpn == Some(HTTP2) { Self::Http2 } else { Self::Http1 }
    }
}
