use super::{Checksum, FrameMeta, Segmentation, SegmentationKind};

/// Bytes of a `virtio_net_hdr` without `num_buffers` (virtio 1.3, section 5.1.6): what TAP and
/// packet sockets put before a frame unless told otherwise. Its numbers are in the host's order.
pub(crate) const HEADER_BYTES: usize = 10;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Not offered to the guest, but a veth pair passes on what its programs ask for (udp(7), `UDP_SEGMENT`).
const GSO_UDP_L4: u8 = 5;
/// The segment carries a congestion mark, which changes nothing for us.
const GSO_ECN: u8 = 0x80;

/// Encodes what goes before a frame.
pub(crate) fn encode(meta: &FrameMeta) -> [u8; HEADER_BYTES] {
    let (flags, start, offset) = match meta.checksum {
        Checksum::Full => (0, 0, 0),
        Checksum::Verified => (DATA_VALID, 0, 0),
        Checksum::Partial { start, offset } => (NEEDS_CSUM, start, offset),
    };
    let (gso_type, header_bytes, size) = match meta.segmentation {
        None => (GSO_NONE, 0, 0),
        Some(Segmentation { kind: SegmentationKind::TcpV4, header_bytes, size }) => {
            (GSO_TCPV4, header_bytes, size)
        }
        Some(Segmentation { kind: SegmentationKind::TcpV6, header_bytes, size }) => {
            (GSO_TCPV6, header_bytes, size)
        }
        Some(Segmentation { kind: SegmentationKind::Udp, header_bytes, size }) => {
            (GSO_UDP_L4, header_bytes, size)
        }
    };
    let mut header = [0; HEADER_BYTES];
    header[0] = flags;
    header[1] = gso_type;
    for (slot, value) in header[2..].chunks_exact_mut(2).zip([header_bytes, size, start, offset]) {
        slot.copy_from_slice(&value.to_ne_bytes());
    }
    header
}

/// Decodes what came before a frame. A segmentation nobody asked for is dropped: the frame is then
/// one large packet, which is what its IP header says too.
pub(crate) fn decode(header: &[u8; HEADER_BYTES]) -> FrameMeta {
    let field = |index: usize| u16::from_ne_bytes([header[index], header[index + 1]]);
    let checksum = if header[0] & NEEDS_CSUM != 0 {
        Checksum::Partial { start: field(6), offset: field(8) }
    } else if header[0] & DATA_VALID != 0 {
        Checksum::Verified
    } else {
        Checksum::Full
    };
    let kind = match header[1] & !GSO_ECN {
        GSO_TCPV4 => Some(SegmentationKind::TcpV4),
        GSO_TCPV6 => Some(SegmentationKind::TcpV6),
        GSO_UDP_L4 => Some(SegmentationKind::Udp),
        _ => None,
    };
    let segmentation = kind.map(|kind| Segmentation { kind, header_bytes: field(2), size: field(4) });
    FrameMeta { checksum, segmentation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(start: u16, offset: u16, header_bytes: u16, size: u16, which in 0u8..12) {
            let checksum = match which % 3 {
                0 => Checksum::Full,
                1 => Checksum::Verified,
                _ => Checksum::Partial { start, offset },
            };
            let segmentation = match which / 3 {
                0 => None,
                1 => Some(Segmentation { kind: SegmentationKind::TcpV4, header_bytes, size }),
                2 => Some(Segmentation { kind: SegmentationKind::TcpV6, header_bytes, size }),
                _ => Some(Segmentation { kind: SegmentationKind::Udp, header_bytes, size }),
            };
            let meta = FrameMeta { checksum, segmentation };
            prop_assert_eq!(decode(&encode(&meta)), meta);
        }

        #[test]
        fn any_header_decodes(header: [u8; HEADER_BYTES]) {
            decode(&header);
        }
    }
}
