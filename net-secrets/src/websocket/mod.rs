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

/// The payloads of whole frames, unmasked.
#[cfg(any(test, fuzzing))]
pub(crate) fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut payloads, mut rest) = (Vec::new(), bytes);
    while let Ok(Some((header, used))) = frame::Header::parse(rest) {
        let end =
            usize::try_from(header.payload_bytes).map_or(usize::MAX, |length| used.saturating_add(length));
        let Some(payload) = rest.get(used..end) else { break };
        let mut payload = payload.to_vec();
        if let Some(mask) = header.mask {
            frame::apply_mask(mask, 0, &mut payload);
        }
        payloads.push(payload);
        rest = &rest[end..];
    }
    payloads
}
