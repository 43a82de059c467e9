use net_tls::Alpn;

/// The HTTP of a plain stream or of what ALPN chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge where the stream is plain.
    Http2,
}

impl HttpVersion {
    /// What a stream that negotiated `alpn` speaks, if it is HTTP.
    pub(crate) fn of(alpn: Alpn) -> Self {
        match alpn {
            Alpn::Http2 => Self::Http2,
            Alpn::Nothing | Alpn::Http1 | Alpn::Dot => Self::Http1,
        }
    }
}
