//! Links: how Ethernet frames reach the engine and leave it.
//!
//! A link is the guest's end of a cable. It moves whole frames with their virtio-net metadata,
//! refuses what does not fit instead of dropping it, and knows nothing of what is inside. The one exception is a
//! flood: while it is told to ([`Link::thin`]), it leaves away a share of the frames that begin something.

mod bpf;
mod frame_meta;
#[cfg(test)]
mod own_network;
mod packet;
mod pair;
mod tap;
mod thinning;
mod virtio_header;
mod vnet_fd;

use std::io;
use std::task::{Context, Poll};

pub use frame_meta::{Checksum, FrameMeta, Segmentation, SegmentationKind};
#[cfg(test)]
pub(crate) use own_network::test_in_own_network;
pub use packet::PacketLink;
pub use pair::{PairGuest, PairLink, pair};
pub use tap::TapLink;
pub(crate) use thinning::SPARED_SERVICES;
pub use thinning::{MAX_SHIFT, MAX_SPARED_PORTS, Thinning};

/// The largest frame a link carries: an Ethernet header and a full IP packet.
pub const MAX_FRAME_BYTES: usize = 14 + 65_535;

/// What a link can carry, fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkCapabilities {
    /// The IP MTU the guest's interface has, in bytes (Ethernet header not counted).
    pub mtu: u16,
    /// Whether frames carry virtio-net metadata in both directions: partial checksums and TCP
    /// super-segments of up to 64 KiB; those of UDP from the guest, and to it where [`Link::cuts_datagrams`]. Without it
    /// every frame is complete and fits the MTU.
    pub offload: bool,
}

/// One received frame; its bytes are in the buffer that was passed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the frame, Ethernet header included.
    pub len: usize,
    /// The frame's metadata; [`FrameMeta::default`] on links without offload.
    pub meta: FrameMeta,
}

/// A cable to one guest. A VMM implements this for its own queue.
///
/// The methods that poll follow the contract of [`Future::poll`]: on `Pending`
/// the waker of `context` is registered. They are called from one thread, the one the guest was
/// placed on; a descriptor is registered with that thread's reactor at the first poll.
///
/// # Errors
/// Any [`io::Error`] ends the link: the guest's flows are closed and its end is reported. A
/// frame that is merely malformed is not an error; hand it up, the engine drops it and counts it.
pub trait Link: Send {
    /// What the link can carry.
    fn capabilities(&self) -> LinkCapabilities;

    /// Whether a frame to the guest may hold several datagrams, marked by [`SegmentationKind::Udp`]; only where its
    /// capabilities have `offload`.
    fn cuts_datagrams(&self) -> bool {
        false
    }

    /// Takes the next frame from the guest into `buffer`, which holds [`MAX_FRAME_BYTES`].
    fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>>;

    /// Gives one frame to the guest. `Pending` means it was not taken: offer it again.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        meta: &FrameMeta,
        frame: &[u8],
    ) -> Poll<io::Result<()>>;

    /// From now on leaves away a share of the frames that begin something, where the link can do so for less than the
    /// engine: a guest floods, and most of them would be refused. One that cannot does nothing, and all is well
    /// but for the work.
    fn thin(&mut self, _thinning: &Thinning) {}
}
