use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use crate::normalise;

/// A prefix behind which a translator reaches IPv4 (RFC 6052, section 2.2), besides the well-known
/// one, which [`normalise`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nat64Prefix {
    /// No bit is set behind the prefix.
    prefix: Ipv6Addr,
    /// One of [`LENGTHS`].
    bits: u8,
}

/// The lengths a translator's prefix may have.
const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// An octet that is no part of the IPv4 address, whatever the length.
const SKIPPED_OCTET: usize = 8;

/// Why text is no [`Nat64Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a nat64 prefix: its length is 32, 40, 48, 56, 64 or 96, as in `2001:db8:64::/96`")]
pub struct Nat64PrefixError;

impl Nat64Prefix {
    /// A prefix; bits of `address` behind it are ignored.
    ///
    /// # Errors
    /// [`Nat64PrefixError`] when no translator's prefix is that long.
    pub fn new(address: Ipv6Addr, bits: u8) -> Result<Self, Nat64PrefixError> {
        if !LENGTHS.contains(&bits) {
            return Err(Nat64PrefixError);
        }
        let mask = u128::MAX << (128 - u32::from(bits));
        Ok(Self { prefix: Ipv6Addr::from_bits(address.to_bits() & mask), bits })
    }

    /// The IPv4 address that is reached by way of `address`, where it lies behind the prefix.
    pub fn embedded_ipv4(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if (address.to_bits() ^ self.prefix.to_bits()) >> (128 - u32::from(self.bits)) != 0 {
            return None;
        }
        let octets = (0..).zip(address.octets());
        let mut behind = octets
            .filter(|(index, _)| *index >= usize::from(self.bits / 8) && *index != SKIPPED_OCTET)
            .map(|(_, octet)| octet);
        Some(Ipv4Addr::new(behind.next()?, behind.next()?, behind.next()?, behind.next()?))
    }

    /// [`normalise`], with these prefixes too.
    pub fn normalise(prefixes: &[Self], address: IpAddr) -> IpAddr {
        let inner = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => prefixes.iter().find_map(|prefix| prefix.embedded_ipv4(v6)),
        };
        inner.map_or_else(|| normalise(address), IpAddr::V4)
    }
}

impl FromStr for Nat64Prefix {
    type Err = Nat64PrefixError;

    /// Parses an address, a slash and a length.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) = text.split_once('/').ok_or(Nat64PrefixError)?;
        let address = address.parse().map_err(|_| Nat64PrefixError)?;
        Self::new(address, bits.parse().map_err(|_| Nat64PrefixError)?)
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.prefix, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_6052() {
        // Section 2.4.
        const CASES: &[(&str, &str)] = &[
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
        ];
        for (prefix, address) in CASES {
            let parsed: Nat64Prefix = prefix.parse().expect(prefix);
            assert_eq!(parsed.to_string(), *prefix);
            let inner = parsed.embedded_ipv4(address.parse().expect(address));
            assert_eq!(inner, Some(Ipv4Addr::new(192, 0, 2, 33)), "{prefix} {address}");
            assert_eq!(parsed.embedded_ipv4("2001:db9::c000:221".parse().expect("an address")), None);
        }
    }

    #[test]
    fn other_lengths_are_none() {
        for text in ["2001:db8::", "2001:db8::/33", "2001:db8::/128", "10.0.0.0/32", "/96", "2001:db8::/+64x"]
        {
            assert_eq!(text.parse::<Nat64Prefix>(), Err(Nat64PrefixError), "{text}");
        }
    }

    #[test]
    fn what_lies_behind_a_prefix_is_looked_through() {
        let prefixes = ["64:ff9b:1::/96".parse().expect("a prefix")];
        const CASES: &[(&str, &str)] = &[
            ("64:ff9b:1::a00:1", "10.0.0.1"),
            ("64:ff9b::a00:1", "10.0.0.1"),
            ("64:ff9b:2::a00:1", "64:ff9b:2::a00:1"),
            ("10.0.0.1", "10.0.0.1"),
        ];
        for (address, expected) in CASES {
            let normal = Nat64Prefix::normalise(&prefixes, address.parse().expect(address));
            assert_eq!(normal.to_string(), *expected, "{address}");
        }
    }
}
