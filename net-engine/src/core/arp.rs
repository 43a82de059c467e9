//! Address resolution for IPv4 (RFC 826): the gateway answers for itself and for nobody else.

use std::net::Ipv4Addr;

use super::{DropReason, MacAddress};

/// Bytes of an ARP packet for IPv4 over Ethernet.
pub(crate) const PACKET_BYTES: usize = 28;

const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];
/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const PREFIX: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

/// A request for the gateway's address that the guest is entitled to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) sender: Ipv4Addr,
}

/// What to do with an ARP packet of the guest.
///
/// `Ok(None)` is a packet that needs no answer: a reply, an announcement, a probe for an address
/// that is not ours.
pub(crate) fn parse(
    packet: &[u8],
    guest_mac: MacAddress,
    guest: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<Option<Request>, DropReason> {
    let packet: &[u8; PACKET_BYTES] =
        packet.get(..PACKET_BYTES).and_then(|p| p.try_into().ok()).ok_or(DropReason::Malformed)?;
    if packet[..6] != PREFIX {
        return Err(DropReason::Malformed);
    }
    let sender = Ipv4Addr::new(packet[14], packet[15], packet[16], packet[17]);
    let target = Ipv4Addr::new(packet[24], packet[25], packet[26], packet[27]);
    // An RFC 5227 probe has no sender address; any other claim must be the guest's own.
    if packet[8..14] != guest_mac.0 || !(sender == guest || sender.is_unspecified()) {
        return Err(DropReason::Spoofed);
    }
    Ok((packet[6..8] == REQUEST && target == gateway).then_some(Request { sender }))
}

/// Writes the reply "`gateway` is at `gateway_mac`" into `packet` of [`PACKET_BYTES`].
pub(crate) fn emit_reply(
    packet: &mut [u8],
    request: Request,
    guest_mac: MacAddress,
    gateway_mac: MacAddress,
    gateway: Ipv4Addr,
) {
    packet[..6].copy_from_slice(&PREFIX);
    packet[6..8].copy_from_slice(&REPLY);
    packet[8..14].copy_from_slice(&gateway_mac.0);
    packet[14..18].copy_from_slice(&gateway.octets());
    packet[18..24].copy_from_slice(&guest_mac.0);
    packet[24..28].copy_from_slice(&request.sender.octets());
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
    const GATEWAY_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn request(sender_mac: MacAddress, sender: Ipv4Addr, target: Ipv4Addr) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        emit_reply(&mut packet, Request { sender: target }, MacAddress([0; 6]), sender_mac, sender);
        packet[6..8].copy_from_slice(&REQUEST);
        packet
    }

    #[test]
    fn only_the_guest_asks_and_only_for_the_gateway() {
        let other = Ipv4Addr::new(10, 0, 0, 3);
        let unspecified = Ipv4Addr::UNSPECIFIED;
        let cases = [
            (request(GUEST_MAC, GUEST, GATEWAY), Ok(Some(Request { sender: GUEST }))),
            (request(GUEST_MAC, unspecified, GATEWAY), Ok(Some(Request { sender: unspecified }))),
            (request(GUEST_MAC, GUEST, other), Ok(None)),
            (request(GUEST_MAC, unspecified, GUEST), Ok(None)),
            (request(GUEST_MAC, GUEST, GUEST), Ok(None)),
            (request(GUEST_MAC, GATEWAY, GATEWAY), Err(DropReason::Spoofed)),
            (request(GATEWAY_MAC, GUEST, GATEWAY), Err(DropReason::Spoofed)),
        ];
        for (index, (packet, expected)) in cases.iter().enumerate() {
            assert_eq!(parse(packet, GUEST_MAC, GUEST, GATEWAY), *expected, "case {index}");
        }
        for len in 0..PACKET_BYTES {
            let cut = &cases[0].0[..len];
            assert_eq!(parse(cut, GUEST_MAC, GUEST, GATEWAY), Err(DropReason::Malformed), "{len} bytes");
        }
    }
}
