use h2::Reason;
use http::Request;

use super::admitted::UpstreamBody;

/// Why a request got no response.
pub(super) enum SendError {
    /// Upstream's connection has ended before any of it was sent, or where it is no harm to send it again.
    Again(Box<Request<UpstreamBody>>),
    /// The guest's body broke off.
    Body,
    /// Upstream has reset its stream, or never looked at it.
    Reset(Reason),
    /// Upstream's connection has ended, or what it said was no response.
    Upstream,
}

impl From<h2::Error> for SendError {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            // Streams it has looked at outlive its word of farewell (RFC 9113, section 6.8).
            Some(Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => {
                Self::Reset(Reason::REFUSED_STREAM)
            }
            Some(reason) if error.is_reset() && error.is_remote() => Self::Reset(reason),
            // We have, for the body.
            Some(_) if error.is_reset() && !error.is_library() => Self::Body,
            Some(_) | None => Self::Upstream,
        }
    }
}
