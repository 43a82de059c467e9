use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for, by the IANA special-purpose address registries.
///
/// Whether an address belongs to the *host* depends on its interfaces, not on the address, and is
/// therefore no class here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AddressClass {
    /// Reachable over the internet.
    Public,
    /// The machine itself: 127.0.0.0/8, ::1.
    Loopback,
    /// A site's own networks: RFC 1918, unique local, carrier-grade NAT.
    Private,
    /// One link: 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// The metadata services of the large clouds, which hand out credentials.
    Metadata,
    /// Groups: 224.0.0.0/4, ff00::/8.
    Multicast,
    /// No destination for a guest: unspecified, broadcast, documentation, benchmarking, reserved.
    Reserved,
}

impl AddressClass {
    /// Classifies what `address` reaches: an IPv4 address embedded in an IPv6 one is looked
    /// through first (see [`normalise`]).
    pub fn of(address: IpAddr) -> Self {
        if METADATA.contains(&address) {
            return Self::Metadata;
        }
        let address = normalise(address);
        if METADATA.contains(&address) {
            return Self::Metadata;
        }
        match address {
            IpAddr::V4(v4) => lookup(u32::from(v4), 32, V4, Self::Public),
            // IANA has allocated only 2000::/3 for global unicast (RFC 4291, section 2.4).
            IpAddr::V6(v6) => lookup(u128::from(v6), 128, V6, Self::Reserved),
        }
    }

    /// The name used in rules and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The IPv4 address a gateway or a host stack would extract from `address`, if any.
///
/// Covers IPv4-mapped and IPv4-compatible (RFC 4291, section 2.5.5), NAT64 with the well-known
/// prefix (RFC 6052), 6to4 (RFC 3056) and the client address of Teredo (RFC 4380, section 4).
pub fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    let last = Ipv4Addr::new(a, b, c, d);
    match address.segments() {
        // `::` and `::1` are addresses of their own, not IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        // Teredo carries the address with every bit inverted.
        [0x2001, 0, ..] => Some(Ipv4Addr::from(!u32::from(last))),
        _ => None,
    }
}

/// Replaces an IPv6 address that carries an IPv4 one by the IPv4 address, so that a rule for the
/// one cannot be walked around by the other.
pub fn normalise(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => embedded_ipv4(v6).map_or(address, IpAddr::V4),
    }
}

/// Where clouds answer their instances with credentials or what leads to them.
const METADATA: &[IpAddr] = &[
    // AWS, GCP, Azure, OCI, DigitalOcean, Hetzner, OpenStack and most others.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)), // AWS ECS task credentials
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)), // AWS EKS pod identity
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),  // Tencent Cloud
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)), // Scaleway
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba Cloud
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)), // Azure WireServer
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),   // Oracle Cloud (classic)
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // AWS
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)), // AWS EKS pod identity
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // GCP
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), // OCI
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)), // Akamai (Linode)
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)), // Scaleway
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), // OpenStack
];

struct Row<N> {
    prefix: N,
    bits: u32,
    class: AddressClass,
}

const fn v4(octets: [u8; 4], bits: u32, class: AddressClass) -> Row<u32> {
    Row { prefix: u32::from_be_bytes(octets), bits, class }
}

const fn v6(segments: [u16; 8], bits: u32, class: AddressClass) -> Row<u128> {
    let [a, b, c, d, e, f, g, h] = segments;
    Row { prefix: Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits(), bits, class }
}

/// IANA IPv4 Special-Purpose Address Registry, every row of it, and the multicast block; the more
/// specific row comes first.
const V4: &[Row<u32>] = &[
    v4([0, 0, 0, 0], 8, AddressClass::Reserved), // "This network", RFC 791; this host, RFC 1122
    v4([10, 0, 0, 0], 8, AddressClass::Private), // private use, RFC 1918
    v4([100, 64, 0, 0], 10, AddressClass::Private), // shared address space, RFC 6598
    v4([127, 0, 0, 0], 8, AddressClass::Loopback), // loopback, RFC 1122
    v4([169, 254, 0, 0], 16, AddressClass::LinkLocal), // link local, RFC 3927
    v4([172, 16, 0, 0], 12, AddressClass::Private), // private use, RFC 1918
    v4([192, 0, 0, 8], 32, AddressClass::Reserved), // IPv4 dummy address, RFC 7600
    v4([192, 0, 0, 9], 32, AddressClass::Public), // PCP anycast, RFC 7723
    v4([192, 0, 0, 10], 32, AddressClass::Public), // TURN anycast, RFC 8155
    v4([192, 0, 0, 170], 32, AddressClass::Reserved), // NAT64/DNS64 discovery, RFC 7050
    v4([192, 0, 0, 171], 32, AddressClass::Reserved), // NAT64/DNS64 discovery, RFC 7050
    v4([192, 0, 0, 0], 29, AddressClass::Reserved), // IPv4 service continuity, RFC 7335
    v4([192, 0, 0, 0], 24, AddressClass::Reserved), // IETF protocol assignments, RFC 6890
    v4([192, 0, 2, 0], 24, AddressClass::Reserved), // TEST-NET-1, RFC 5737
    v4([192, 31, 196, 0], 24, AddressClass::Public), // AS112-v4, RFC 7535
    v4([192, 52, 193, 0], 24, AddressClass::Public), // AMT, RFC 7450
    v4([192, 88, 99, 2], 32, AddressClass::Reserved), // 6a44 relay anycast, RFC 6751
    v4([192, 88, 99, 0], 24, AddressClass::Reserved), // deprecated 6to4 relay anycast, RFC 7526
    v4([192, 168, 0, 0], 16, AddressClass::Private), // private use, RFC 1918
    v4([192, 175, 48, 0], 24, AddressClass::Public), // direct delegation AS112, RFC 7534
    v4([198, 18, 0, 0], 15, AddressClass::Reserved), // benchmarking, RFC 2544
    v4([198, 51, 100, 0], 24, AddressClass::Reserved), // TEST-NET-2, RFC 5737
    v4([203, 0, 113, 0], 24, AddressClass::Reserved), // TEST-NET-3, RFC 5737
    v4([224, 0, 0, 0], 4, AddressClass::Multicast), // multicast, RFC 5771
    v4([255, 255, 255, 255], 32, AddressClass::Reserved), // limited broadcast, RFC 8190, RFC 919
    v4([240, 0, 0, 0], 4, AddressClass::Reserved), // reserved, RFC 1112
];

/// IANA IPv6 Special-Purpose Address Registry, and the blocks of RFC 4291; the more specific row comes
/// first. The rows whose addresses embed an IPv4 one are absent, since [`normalise`] takes them out:
/// ::ffff:0:0/96 (RFC 4291), 64:ff9b::/96 (RFC 6052), 2001::/32 (RFC 4380), 2002::/16 (RFC 3056).
const V6: &[Row<u128>] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, AddressClass::Loopback), // loopback, RFC 4291
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, AddressClass::Reserved), // unspecified, RFC 4291
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, AddressClass::Reserved), // local-use translation, RFC 8215
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, AddressClass::Reserved), // discard only, RFC 6666
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, AddressClass::Reserved), // dummy prefix, RFC 9780
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, AddressClass::Public), // PCP anycast, RFC 7723
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, AddressClass::Public), // TURN anycast, RFC 8155
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, AddressClass::Public), // DNS-SD SRP anycast, RFC 9665
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, AddressClass::Reserved), // benchmarking, RFC 5180
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, AddressClass::Public), // AMT, RFC 7450
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, AddressClass::Public), // AS112-v6, RFC 7535
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, AddressClass::Reserved), // deprecated ORCHID, RFC 4843
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, AddressClass::Public), // ORCHIDv2, RFC 7343
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, AddressClass::Public), // drone remote ID, RFC 9374
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, AddressClass::Reserved), // IETF protocol assignments, RFC 2928
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, AddressClass::Reserved), // documentation, RFC 3849
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, AddressClass::Public), // direct delegation AS112, RFC 7534
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, AddressClass::Reserved), // documentation, RFC 9637
    v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, AddressClass::Public), // global unicast, RFC 4291
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::Reserved), // segment routing SIDs, RFC 9602
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, AddressClass::Private), // unique local, RFC 4193
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::LinkLocal), // link-local unicast, RFC 4291
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::Private), // deprecated site-local, RFC 3879
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, AddressClass::Multicast), // multicast, RFC 4291
];

fn lookup<N>(address: N, width: u32, table: &[Row<N>], default: AddressClass) -> AddressClass
where
    N: Copy + PartialEq + std::ops::BitXor<Output = N> + std::ops::Shr<u32, Output = N> + Default,
{
    table
        .iter()
        .find(|row| (address ^ row.prefix) >> (width - row.bits) == N::default())
        .map_or(default, |row| row.class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        use AddressClass as C;
        const CASES: &[(&str, AddressClass)] = &[
            ("1.1.1.1", C::Public),
            ("192.0.0.9", C::Public),
            ("192.31.196.1", C::Public),
            ("192.52.193.1", C::Public),
            ("192.175.48.1", C::Public),
            ("2620:4f:8000::1", C::Public),
            ("2001:3::1", C::Public),
            ("2001:4:112::1", C::Public),
            ("2001:30::1", C::Public),
            ("100.63.255.255", C::Public),
            ("100.128.0.0", C::Public),
            ("2606:4700::1111", C::Public),
            ("2001:20::1", C::Public),
            ("10.0.0.1", C::Private),
            ("172.31.255.255", C::Private),
            ("192.168.1.1", C::Private),
            ("100.64.0.1", C::Private),
            ("fd00::1", C::Private),
            ("fec0::1", C::Private),
            ("127.0.0.1", C::Loopback),
            ("127.255.255.254", C::Loopback),
            ("::1", C::Loopback),
            ("169.254.1.1", C::LinkLocal),
            ("fe80::1", C::LinkLocal),
            ("169.254.169.254", C::Metadata),
            ("169.254.170.2", C::Metadata),
            ("100.100.100.200", C::Metadata),
            ("168.63.129.16", C::Metadata),
            ("169.254.170.23", C::Metadata),
            ("169.254.0.23", C::Metadata),
            ("169.254.42.42", C::Metadata),
            ("192.0.0.192", C::Metadata),
            ("fd00:ec2::254", C::Metadata),
            ("fd00:ec2::23", C::Metadata),
            ("fd20:ce::254", C::Metadata),
            ("fd00:c1::a9fe:a9fe", C::Metadata),
            ("fd00:a9fe:a9fe::1", C::Metadata),
            ("fd00:42::42", C::Metadata),
            ("fe80::a9fe:a9fe", C::Metadata),
            ("64:ff9b::a9fe:a9fe", C::Metadata),
            ("2002:a9fe:a9fe::", C::Metadata),
            ("::ffff:169.254.169.254", C::Metadata),
            ("224.0.0.251", C::Multicast),
            ("ff02::1", C::Multicast),
            ("0.0.0.0", C::Reserved),
            ("0.1.2.3", C::Reserved),
            ("::", C::Reserved),
            ("192.0.0.1", C::Reserved),
            ("192.0.2.1", C::Reserved),
            ("198.18.0.1", C::Reserved),
            ("198.19.255.255", C::Reserved),
            ("198.51.100.1", C::Reserved),
            ("203.0.113.1", C::Reserved),
            ("240.0.0.1", C::Reserved),
            ("255.255.255.255", C::Reserved),
            ("192.0.0.8", C::Reserved),
            ("192.0.0.170", C::Reserved),
            ("192.88.99.2", C::Reserved),
            ("100:0:0:1::1", C::Reserved),
            ("2001:2::1", C::Reserved),
            ("2001:10::1", C::Reserved),
            ("2001:1ff::1", C::Reserved),
            ("5f00::1", C::Reserved),
            ("2001:db8::1", C::Reserved),
            ("3fff::1", C::Reserved),
            ("100::1", C::Reserved),
            ("64:ff9b:1::1", C::Reserved),
            ("4000::1", C::Reserved),
            ("5f00::1", C::Reserved),
            // Classed by what they reach.
            ("::ffff:10.0.0.1", C::Private),
            ("::10.0.0.1", C::Private),
            ("64:ff9b::a00:1", C::Private),
            ("64:ff9b::101:101", C::Public),
            ("2002:a00:1::1", C::Private),
            ("2002:7f00:1::1", C::Loopback),
            ("2001:0:101:101:0:0:f5ff:fffe", C::Private),
            ("::ffff:127.0.0.1", C::Loopback),
            ("::ffff:0.0.0.0", C::Reserved),
        ];
        for (address, expected) in CASES {
            let parsed: IpAddr = address.parse().expect(address);
            assert_eq!(AddressClass::of(parsed), *expected, "{address}");
        }
    }

    #[test]
    fn a_specific_row_is_never_hidden_by_a_wider_one() {
        for (index, row) in V4.iter().enumerate() {
            assert!(
                V4[..index]
                    .iter()
                    .all(|wider| wider.bits >= row.bits
                        || (wider.prefix ^ row.prefix) >> (32 - wider.bits) != 0)
            );
        }
        for (index, row) in V6.iter().enumerate() {
            assert!(V6[..index].iter().all(
                |wider| wider.bits >= row.bits || (wider.prefix ^ row.prefix) >> (128 - wider.bits) != 0
            ));
        }
    }
}
