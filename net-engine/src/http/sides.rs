use http::uri::Scheme;

use crate::guest::HttpVersion;

/// What HTTP is spoken on the two sides of a stream.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    pub(super) guest: HttpVersion,
    pub(super) upstream: HttpVersion,
    /// Of the targets of HTTP/2 upstream: that of the stream, whatever the guest calls it.
    pub(super) scheme: Scheme,
}

impl Sides {
    /// A plain stream: both speak the same.
    pub(super) fn plain(version: HttpVersion) -> Self {
        Self { guest: version, upstream: version, scheme: Scheme::HTTP }
    }

    /// A stream of TLS.
    pub(super) fn tls(guest: HttpVersion, upstream: HttpVersion) -> Self {
        Self { guest, upstream, scheme: Scheme::HTTPS }
    }
}
