//! Words the engine's own lines on stderr must have, in one place.

/// A flow or a name that was not let through.
pub(crate) const DENIED: &str = "denied";
/// A placeholder on its way to where it is not bound.
pub(crate) const VIOLATION: &str = "violation";
/// No ClientHello in time, or not all of it.
pub(crate) const HELLO_TIMEOUT: &str = "HelloTimeout";
/// A ClientHello beyond every bound.
pub(crate) const HELLO_TOO_LARGE: &str = "HelloTooLarge";
/// Something else than TLS on a port that is intercepted.
pub(crate) const NOT_TLS: &str = "NotTls";
/// The guest ended the stream in the middle of its ClientHello.
pub(crate) const GUEST_CLOSED: &str = "GuestClosed";
/// The guest did not finish the handshake.
pub(crate) const HANDSHAKE_TIMEOUT: &str = "HandshakeTimeout";
/// The guest ended the handshake.
pub(crate) const HANDSHAKE_REFUSED: &str = "HandshakeRefused";
/// By an alert that says why, and what helps.
pub(crate) const DISTRUST: &str = "install the authority";
/// Upstream's certificate or handshake is at fault.
pub(crate) const UPSTREAM_TLS: &str = "UpstreamTls";
