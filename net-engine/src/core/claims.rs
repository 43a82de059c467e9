use std::net::{IpAddr, Ipv6Addr};

use super::router::AUTONOMOUS_PREFIX_LEN;
use super::{GuestAddresses, Ipv6Pair};

/// From which addresses the guest may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims {
    addresses: GuestAddresses,
    /// Whether it may choose addresses of its prefix itself.
    is_autonomous: bool,
}

impl Claims {
    pub(crate) fn new(addresses: GuestAddresses, is_autonomous: bool) -> Self {
        Self { addresses, is_autonomous }
    }

    pub(crate) fn addresses(&self) -> &GuestAddresses {
        &self.addresses
    }

    /// Whether a packet to `destination` may come from `source`.
    ///
    /// A guest chooses its link-local addresses itself (RFC 7217, RFC 8981); they are good on the link
    /// alone, where nobody is but us.
    pub(crate) fn permit(&self, source: IpAddr, destination: IpAddr) -> bool {
        match source {
            IpAddr::V6(own) if own.is_unicast_link_local() => {
                self.addresses.gateway_link_local() == Some(destination)
            }
            IpAddr::V4(_) | IpAddr::V6(_) => self.is_guest(source),
        }
    }

    /// Whether `address` is the guest's.
    pub(crate) fn is_guest(&self, address: IpAddr) -> bool {
        match (address, self.addresses.ipv6) {
            (IpAddr::V6(own), Some(pair)) if self.is_autonomous => is_in_prefix(own, pair),
            _ => self.addresses.is_guest(address),
        }
    }
}

/// Whether `own` is an address a host may form in the guest's prefix: neither ours nor that of every
/// router (RFC 4291, section 2.6.1).
fn is_in_prefix(own: Ipv6Addr, Ipv6Pair { guest, gateway, prefix_len }: Ipv6Pair) -> bool {
    if prefix_len != AUTONOMOUS_PREFIX_LEN {
        return own == guest;
    }
    let [network, host] = [own.to_bits() >> 64, own.to_bits() << 64];
    network == guest.to_bits() >> 64 && host != 0 && own != gateway
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_speaks_for_itself() {
        let addresses = GuestAddresses::default();
        let mut narrow = addresses;
        narrow.ipv6.as_mut().expect("both families").prefix_len = 96;
        let server = "2001:db8::7";
        let gateway = &*addresses.gateway_mac.link_local().to_string();
        // Source, destination; whether the given, the autonomous and the narrow autonomous one may.
        let cases = [
            ("172.16.0.2", "192.0.2.1", [true, true, true]),
            ("172.16.0.1", "192.0.2.1", [false, false, false]),
            ("0.0.0.0", "192.0.2.1", [false, false, false]),
            ("fd6e:6574::2", server, [true, true, true]),
            ("fd6e:6574::1", server, [false, false, false]),
            ("fd6e:6574::", server, [false, false, false]),
            ("fd6e:6574::3", server, [false, true, false]),
            ("fd6e:6574::a8b:1ff:fe23:4567", server, [false, true, false]),
            ("fd6e:6574:0:1::2", server, [false, false, false]),
            ("fe80::1234", server, [false, false, false]),
            ("fe80::1234", gateway, [true, true, true]),
            ("::", gateway, [false, false, false]),
        ];
        for (source, destination, expected) in cases {
            let parse = |text: &str| text.parse().expect("an address");
            let claims = [(addresses, false), (addresses, true), (narrow, true)];
            let permitted = claims.map(|(addresses, is_autonomous)| {
                Claims::new(addresses, is_autonomous).permit(parse(source), parse(destination))
            });
            assert_eq!(permitted, expected, "{source} to {destination}");
        }
    }
}
