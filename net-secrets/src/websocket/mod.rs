//! Messages of a WebSocket, rewritten on their way (RFC 6455).

mod frame;
mod frames;
mod payload;
#[cfg(test)]
mod tests;

pub use frame::FrameError;
pub(crate) use frames::Frames;
pub use frames::WebSocketError;
pub(crate) use payload::{Rewriting, Scrubbing};

/// What the guest sends: placeholders become values.
pub type WebSocketRewriter = Frames<Rewriting>;
/// What upstream sends: values become placeholders.
pub type WebSocketScrubber = Frames<Scrubbing>;
