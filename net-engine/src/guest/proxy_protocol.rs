use std::net::{IpAddr, SocketAddr};

/// How a server behind a published port is told who has connected: by a header before everything else (the PROXY
/// protocol of HAProxy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, of a connection that is somebody else's.
const PROXY: u8 = 0x21;
/// The same, of one of which nothing more is said.
const LOCAL: u8 = 0x20;

const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

impl ProxyProtocol {
    /// The header of a connection from `peer` to `at`; of one over a Unix socket there are no addresses to tell.
    pub(crate) fn header(self, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
        let ends =
            ends.map(|ends| [ends.0, ends.1].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port())));
        match (self, ends) {
            (Self::V1, Some([peer, at])) if peer.is_ipv4() == at.is_ipv4() => {
                let family = if peer.is_ipv4() { "TCP4" } else { "TCP6" };
                let (from, to) = (peer.ip(), at.ip());
                format!("PROXY {family} {from} {to} {} {}\r\n", peer.port(), at.port()).into_bytes()
            }
            (Self::V1, _) => b"PROXY UNKNOWN\r\n".to_vec(),
            (Self::V2, Some([peer, at])) if peer.is_ipv4() == at.is_ipv4() => {
                let (family, bytes) = if peer.is_ipv4() { (TCP_OVER_IPV4, 12) } else { (TCP_OVER_IPV6, 36) };
                let mut header = [&SIGNATURE[..], &[PROXY, family, 0, bytes]].concat();
                for end in [peer, at] {
                    match end.ip() {
                        IpAddr::V4(address) => header.extend(address.octets()),
                        IpAddr::V6(address) => header.extend(address.octets()),
                    }
                }
                header.extend(peer.port().to_be_bytes());
                header.extend(at.port().to_be_bytes());
                header
            }
            (Self::V2, _) => [&SIGNATURE[..], &[LOCAL, 0, 0, 0]].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_who_has_connected_where() {
        let ends = |peer: &str, at: &str| Some((peer.parse().expect(peer), at.parse().expect(at)));
        let v4 = ends("192.0.2.7:50000", "203.0.113.1:8443");
        // What a socket of both families says of one of IPv4.
        let mapped = ends("[::ffff:192.0.2.7]:50000", "[::ffff:203.0.113.1]:8443");
        let v6 = ends("[2001:db8::7]:50000", "[2001:db8::1]:443");
        for ends in [v4, mapped] {
            assert_eq!(ProxyProtocol::V1.header(ends), b"PROXY TCP4 192.0.2.7 203.0.113.1 50000 8443\r\n");
            let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xcb\0\x71\x01\xc3\x50\x20\xfb";
            assert_eq!(ProxyProtocol::V2.header(ends), expected);
        }
        assert_eq!(ProxyProtocol::V1.header(v6), b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n");
        let header = ProxyProtocol::V2.header(v6);
        assert_eq!((header.len(), &header[12..16]), (16 + 36, &[0x21, 0x21, 0, 36][..]));
        assert_eq!(ProxyProtocol::V1.header(None), b"PROXY UNKNOWN\r\n");
        assert_eq!(ProxyProtocol::V2.header(None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }
}
