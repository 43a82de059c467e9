use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Whether the group bit is set (IEEE 802, section 8.2).
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The link-local address with the modified EUI-64 identifier (RFC 4291, appendix A).
    pub const fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The two IPv4 addresses of a guest's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Pair {
    /// The guest's address.
    pub guest: Ipv4Addr,
    /// The gateway's address: router, DNS server and host alias.
    pub gateway: Ipv4Addr,
    /// Length of the on-link prefix.
    pub prefix_len: u8,
}

impl Ipv4Pair {
    /// Everybody on the link.
    pub(crate) const fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.guest.to_bits() | (u32::MAX >> self.prefix_len))
    }
}

/// The two IPv6 addresses of a guest's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Pair {
    /// The guest's address.
    pub guest: Ipv6Addr,
    /// The gateway's address: router, DNS server and host alias.
    pub gateway: Ipv6Addr,
    /// Length of the on-link prefix.
    pub prefix_len: u8,
}

/// Every address on a guest's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestAddresses {
    /// The guest's interface.
    pub guest_mac: MacAddress,
    /// Ours.
    pub gateway_mac: MacAddress,
    /// IPv4, when the guest has it.
    pub ipv4: Option<Ipv4Pair>,
    /// IPv6, when the guest has it.
    pub ipv6: Option<Ipv6Pair>,
}

/// Why a set of addresses makes no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither family has addresses.
    #[error("a guest needs an ipv4 or an ipv6 address")]
    NoFamily,
    /// A MAC address with the group bit, or the same one twice.
    #[error("guest and gateway need different unicast mac addresses")]
    Mac,
    /// Guest and gateway are equal, not unicast, or not in one prefix.
    #[error("guest and gateway need different unicast addresses in one prefix")]
    Pair,
    /// The prefix length is not one of the family.
    #[error("the prefix length is out of range")]
    PrefixLen,
    /// Above [`GuestAddresses::MAX_SLOT`].
    #[error("the slot is above {}", GuestAddresses::MAX_SLOT)]
    Slot,
}

impl Default for GuestAddresses {
    /// Those of slot 0: 172.16.0.2/30 and fd6e:6574::2/64 behind gateways `.1`, `::1`.
    fn default() -> Self {
        Self::in_slot(0)
    }
}

impl GuestAddresses {
    /// The addresses of one guest among many: the same for the same slot, no two slots' alike.
    ///
    /// MAC addresses are locally administered; IPv4 is a /30 out of 172.16.0.0/12, IPv6 a /64 out of
    /// fd6e:6574::/48. In both the gateway is `1` and the guest `2`.
    ///
    /// # Errors
    /// [`AddressError::Slot`] above [`MAX_SLOT`](Self::MAX_SLOT).
    pub fn for_slot(slot: u64) -> Result<Self, AddressError> {
        match u16::try_from(slot) {
            Ok(slot) => Ok(Self::in_slot(slot)),
            Err(_) => Err(AddressError::Slot),
        }
    }

    /// The last slot: a /48 has as many /64s.
    pub const MAX_SLOT: u64 = u16::MAX as u64;

    fn in_slot(slot: u16) -> Self {
        // Slot by slot four MAC and IPv4 addresses: network, gateway, guest, broadcast.
        let [_, first, second, third] = (u32::from(slot) * 4).to_be_bytes();
        let mac = |host: u8| MacAddress([0x02, 0x6e, 0x65, first, second, third | host]);
        let v4 = |host: u8| Ipv4Addr::new(172, 16 + first, second, third | host);
        let v6 = |host| Ipv6Addr::new(0xfd6e, 0x6574, 0, slot, 0, 0, 0, host);
        Self {
            guest_mac: mac(2),
            gateway_mac: mac(1),
            ipv4: Some(Ipv4Pair { guest: v4(2), gateway: v4(1), prefix_len: 30 }),
            ipv6: Some(Ipv6Pair { guest: v6(2), gateway: v6(1), prefix_len: 64 }),
        }
    }

    /// Checks that the addresses make a link.
    ///
    /// # Errors
    /// [`AddressError`], the first one found.
    pub fn validate(&self) -> Result<(), AddressError> {
        if self.ipv4.is_none() && self.ipv6.is_none() {
            return Err(AddressError::NoFamily);
        }
        if self.guest_mac == self.gateway_mac || self.guest_mac.is_group() || self.gateway_mac.is_group() {
            return Err(AddressError::Mac);
        }
        if let Some(Ipv4Pair { guest, gateway, prefix_len }) = self.ipv4 {
            let unicast = |a: Ipv4Addr| {
                !a.is_unspecified() && !a.is_broadcast() && !a.is_multicast() && !a.is_loopback()
            };
            if !(1..=30).contains(&prefix_len) {
                return Err(AddressError::PrefixLen);
            }
            let differing = (guest.to_bits() ^ gateway.to_bits()) >> (32 - prefix_len);
            if guest == gateway || differing != 0 || !unicast(guest) || !unicast(gateway) {
                return Err(AddressError::Pair);
            }
        }
        if let Some(Ipv6Pair { guest, gateway, prefix_len }) = self.ipv6 {
            let unicast = |a: Ipv6Addr| !a.is_unspecified() && !a.is_multicast() && !a.is_loopback();
            if !(1..=126).contains(&prefix_len) {
                return Err(AddressError::PrefixLen);
            }
            let differing = (guest.to_bits() ^ gateway.to_bits()) >> (128 - prefix_len);
            if guest == gateway || differing != 0 || !unicast(guest) || !unicast(gateway) {
                return Err(AddressError::Pair);
            }
        }
        Ok(())
    }

    /// Whether the guest may send from `source`.
    pub fn is_guest(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(v4) => self.ipv4.is_some_and(|pair| pair.guest == v4),
            IpAddr::V6(v6) => self.ipv6.is_some_and(|pair| pair.guest == v6),
        }
    }

    /// Whether `destination` is the gateway itself.
    pub fn is_gateway(&self, destination: IpAddr) -> bool {
        self.gateways().chain(self.gateway_link_local()).any(|own| own == destination)
    }

    /// The gateway's link-local address, where there is IPv6.
    pub fn gateway_link_local(&self) -> Option<IpAddr> {
        self.ipv6.map(|_| IpAddr::V6(self.gateway_mac.link_local()))
    }

    /// The gateway's routable addresses, IPv4 first: what a name for it resolves to.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.ipv4.map(|pair| IpAddr::V4(pair.gateway));
        let v6 = self.ipv6.map(|pair| IpAddr::V6(pair.gateway));
        v4.into_iter().chain(v6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_addresses_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for slot in [0, 1, 63, 64, 16_383, 16_384, GuestAddresses::MAX_SLOT] {
            let own = GuestAddresses::for_slot(slot).unwrap();
            assert_eq!(own.validate(), Ok(()), "slot {slot}");
            assert_eq!(own.guest_mac.0[0] & 3, 2, "locally administered and unicast");
            let (v4, v6) = (own.ipv4.unwrap(), own.ipv6.unwrap());
            assert!(seen.insert((own.guest_mac, v4.guest, v6.guest)), "slot {slot}");
            assert_eq!(
                u32::from(v4.guest.octets()[0]) << 4 | u32::from(v4.guest.octets()[1]) >> 4,
                172 << 4 | 1
            );
        }
        assert_eq!(GuestAddresses::for_slot(GuestAddresses::MAX_SLOT + 1), Err(AddressError::Slot));
        let second = GuestAddresses::for_slot(1).unwrap();
        assert_eq!(second.ipv4.unwrap().gateway, Ipv4Addr::new(172, 16, 0, 5));
        assert_eq!(second.ipv6.unwrap().guest, "fd6e:6574:0:1::2".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn validation() {
        let good = GuestAddresses::default();
        assert_eq!(good.validate(), Ok(()));
        let none = GuestAddresses { ipv4: None, ipv6: None, ..good };
        assert_eq!(none.validate(), Err(AddressError::NoFamily));
        let same_mac = GuestAddresses { guest_mac: good.gateway_mac, ..good };
        assert_eq!(same_mac.validate(), Err(AddressError::Mac));
        let apart = Ipv4Pair {
            guest: Ipv4Addr::new(10, 0, 0, 2),
            gateway: Ipv4Addr::new(10, 0, 1, 1),
            prefix_len: 30,
        };
        assert_eq!(GuestAddresses { ipv4: Some(apart), ..good }.validate(), Err(AddressError::Pair));
        let wide = Ipv4Pair { prefix_len: 33, ..apart };
        assert_eq!(GuestAddresses { ipv4: Some(wide), ..good }.validate(), Err(AddressError::PrefixLen));
    }
}
