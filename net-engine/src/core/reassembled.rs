use net_core::Flow;

use super::fragments::Whole;
use super::ingress::IpPacket;
use super::{Claims, DropReason, Passage};

/// A UDP datagram of the guest that came in fragments.
#[derive(Debug)]
pub struct Reassembled {
    flow: Flow,
    passage: Passage,
    whole: Whole,
    payload: std::ops::Range<usize>,
}

impl Reassembled {
    /// Checks what was put together as if it had come in one piece; its checksum in any case, for no link
    /// leaves that of fragments open.
    pub(super) fn new(whole: Whole, claims: &Claims) -> Result<Self, DropReason> {
        let packet = whole.packet();
        let is_v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let parsed =
            if is_v6 { IpPacket::parse_v6(packet, claims)? } else { IpPacket::parse_v4(packet, claims)? };
        let (flow, payload) = parsed.udp(true)?;
        const UDP_HEADER_BYTES: usize = 8;
        let start = parsed.header_bytes + UDP_HEADER_BYTES;
        let payload = start..start + payload.len();
        // Who has cut it lets it be cut.
        let passage = Passage { may_be_cut: true, ..parsed.passage() };
        Ok(Self { flow, passage, whole, payload })
    }

    /// Its 5-tuple.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// How its first fragment asks to be carried.
    pub fn passage(&self) -> Passage {
        self.passage
    }

    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        self.whole.packet().get(self.payload.clone()).unwrap_or_default()
    }

    /// The whole IP packet, for [`Gateway::push_unreachable`](super::Gateway::push_unreachable).
    pub fn packet(&self) -> &[u8] {
        self.whole.packet()
    }
}
