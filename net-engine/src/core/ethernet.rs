use crate::core::MacAddress;

/// Bytes of an Ethernet II header.
pub(crate) const HEADER_BYTES: usize = 14;

/// The ethertypes a guest may use (IEEE 802 numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EtherType {
    Ipv4,
    Arp,
    Ipv6,
}

impl EtherType {
    fn from_wire(value: u16) -> Option<Self> {
        match value {
            0x0800 => Some(Self::Ipv4),
            0x0806 => Some(Self::Arp),
            0x86dd => Some(Self::Ipv6),
            // VLAN tags (0x8100, 0x88a8) included: there is one untagged guest on the link.
            _ => None,
        }
    }

    const fn to_wire(self) -> [u8; 2] {
        match self {
            Self::Ipv4 => [0x08, 0x00],
            Self::Arp => [0x08, 0x06],
            Self::Ipv6 => [0x86, 0xdd],
        }
    }
}

/// A parsed header; the payload is what follows it in the frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EthernetHeader {
    pub(crate) destination: MacAddress,
    pub(crate) source: MacAddress,
    /// `None` for a type no guest of ours needs.
    pub(crate) ether_type: Option<EtherType>,
}

impl EthernetHeader {
    /// `None` when the frame is shorter than a header.
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1, ..] = *frame else { return None };
        Some(Self {
            destination: MacAddress([d0, d1, d2, d3, d4, d5]),
            source: MacAddress([s0, s1, s2, s3, s4, s5]),
            ether_type: EtherType::from_wire(u16::from_be_bytes([t0, t1])),
        })
    }
}

/// Writes a header into the first [`HEADER_BYTES`] of `frame`, which has room for it.
pub(crate) fn emit(frame: &mut [u8], destination: MacAddress, source: MacAddress, ether_type: EtherType) {
    frame[0..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&ether_type.to_wire());
}
