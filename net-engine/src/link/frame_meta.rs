/// What a virtio-net header says of a frame (virtio 1.3, section 5.1.6), decoded.
///
/// Offsets count from the first byte of the Ethernet header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameMeta {
    /// What is known of the transport checksum.
    pub checksum: Checksum,
    /// How the frame is to be cut into segments, when it is larger than the MTU allows.
    pub segmentation: Option<Segmentation>,
}

/// What is known of a frame's transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// The field holds the whole sum; the receiver verifies it.
    #[default]
    Full,
    /// Someone trusted has verified it already.
    Verified,
    /// The field holds only the folded pseudo-header sum; whoever puts the frame on a wire
    /// completes it.
    Partial {
        /// Where summing starts: the transport header.
        start: u16,
        /// Where the sum goes, counted from `start`.
        offset: u16,
    },
}

/// A super-segment: the payload is cut into pieces of `size`, each with a copy of the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// The family of the network header.
    pub kind: SegmentationKind,
    /// Bytes of Ethernet, IP and transport header together.
    pub header_bytes: u16,
    /// Payload bytes of each segment: the receiver's MSS, or those of a datagram.
    pub size: u16,
}

/// The family of a super-segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either: each piece is a datagram. Taken from the guest; given to it where the link
    /// [cuts datagrams](super::Link::cuts_datagrams).
    Udp,
}
