use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use net_core::{AddressClass, HostPattern, HostPatternError, Nat64Prefix, normalise};
use thiserror::Error;

use crate::Action;

/// Where a rule's flows go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Destination {
    /// Everywhere.
    Any,
    /// An address or a prefix.
    Cidr(IpNet),
    /// Names.
    Domain(HostPattern),
    /// A class of addresses.
    Group(Group),
}

/// Classes of addresses a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Group {
    /// The internet.
    Public,
    /// 127.0.0.0/8 and ::1.
    Loopback,
    /// A site's own networks.
    Private,
    /// One link.
    LinkLocal,
    /// The metadata services of clouds.
    Metadata,
    /// Groups of receivers.
    Multicast,
    /// The host: the gateway's address and those of the host's interfaces.
    Host,
}

impl Group {
    /// How many there are.
    pub(crate) const COUNT: usize = 7;

    const ALL: [(Self, &'static str); Self::COUNT] = [
        (Self::Public, "public"),
        (Self::Loopback, "loopback"),
        (Self::Private, "private"),
        (Self::LinkLocal, "link_local"),
        (Self::Metadata, "metadata"),
        (Self::Multicast, "multicast"),
        (Self::Host, "host"),
    ];

    /// The group of an address: exactly one, or none for addresses nothing may be sent to.
    ///
    /// The host's own addresses are in no other group, whatever their class.
    #[allow(clippy::wildcard_enum_match_arm, reason = "`AddressClass` may grow")]
    pub fn of(address: IpAddr, hosts: &HostAddresses) -> Option<Self> {
        if hosts.contains(address) {
            return Some(Self::Host);
        }
        match AddressClass::of(hosts.normalise(address)) {
            AddressClass::Public => Some(Self::Public),
            AddressClass::Loopback => Some(Self::Loopback),
            AddressClass::Private => Some(Self::Private),
            AddressClass::LinkLocal => Some(Self::LinkLocal),
            AddressClass::Metadata => Some(Self::Metadata),
            AddressClass::Multicast => Some(Self::Multicast),
            // A class added later is no destination until it has a group.
            AddressClass::Reserved | _ => None,
        }
    }

    /// Its place among the groups.
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Public => 0,
            Self::Loopback => 1,
            Self::Private => 2,
            Self::LinkLocal => 3,
            Self::Metadata => 4,
            Self::Multicast => 5,
            Self::Host => 6,
        }
    }

    /// The name used in rules.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self.place()].1
    }
}

/// What the host knows of addresses: which are its own, and behind which prefixes its network has a
/// translator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// In their normal form.
    own: HashSet<IpAddr>,
    nat64: Vec<Nat64Prefix>,
}

impl HostAddresses {
    /// The same, where what lies behind these prefixes is IPv4, too.
    #[must_use]
    pub fn with_nat64(self, prefixes: impl IntoIterator<Item = Nat64Prefix>) -> Self {
        let nat64: Vec<Nat64Prefix> = prefixes.into_iter().collect();
        let own = self.own.into_iter().map(|address| Nat64Prefix::normalise(&nat64, address)).collect();
        Self { own, nat64 }
    }

    /// Whether `address` is the host's, in any of the forms it can be written in.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.own.contains(&self.normalise(address))
    }

    /// What is reached by way of `address`: the IPv4 address inside it, if there is one.
    pub fn normalise(&self, address: IpAddr) -> IpAddr {
        Nat64Prefix::normalise(&self.nat64, address)
    }
}

impl FromIterator<IpAddr> for HostAddresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        Self { own: addresses.into_iter().map(normalise).collect(), nat64: Vec::new() }
    }
}

/// Why text is no [`Destination`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// A prefix whose length is out of range or whose address is none.
    #[error("not a prefix: write an address, a slash and a length, as in `10.0.0.0/8`")]
    Cidr,
    /// A name that reads like `any` or a group.
    #[error("a name that reads like a keyword: write `any` or the group without a trailing dot")]
    Keyword,
    /// Neither a group, an address, a prefix nor a pattern.
    #[error("not a name pattern")]
    Pattern(#[from] HostPatternError),
}

impl Destination {
    /// Whether the rule is about names.
    pub fn is_domain(&self) -> bool {
        matches!(self, Self::Domain(_))
    }

    /// Whether a rule with this destination is about an address. Names are never matched by address.
    ///
    /// An IPv6 address that carries an IPv4 one is judged by the latter. By its own bits it is
    /// denied too, but allowed only by a prefix of the translation itself, such as `2002::/16`:
    /// `::/0` does not open the IPv4 internet.
    pub(crate) fn contains(&self, address: IpAddr, action: Action, hosts: &HostAddresses) -> bool {
        match self {
            Self::Any => true,
            Self::Cidr(prefix) => {
                let by_own_bits = judges_own_bits(prefix, action);
                prefix.contains(&hosts.normalise(address)) || (by_own_bits && prefix.contains(&address))
            }
            Self::Group(group) => Group::of(address, hosts) == Some(*group),
            Self::Domain(_) => false,
        }
    }
}

/// The ranges in which [`normalise`] finds an IPv4 address.
const TRANSLATIONS: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::UNSPECIFIED, 96),                         // IPv4-compatible
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),    // IPv4-mapped
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96), // NAT64
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),    // 6to4
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),    // Teredo
];

/// Prefixes of addresses that are not of the internet and that a rule may well allow by mistake.
pub(crate) const SPECIAL: [&str; 8] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// Whether a rule for a prefix is about addresses that embed an IPv4 one by their own bits too.
pub(crate) fn judges_own_bits(prefix: &IpNet, action: Action) -> bool {
    action == Action::Deny || is_translation(prefix)
}

/// Whether a prefix lies in one of [`TRANSLATIONS`].
fn is_translation(prefix: &IpNet) -> bool {
    let IpNet::V6(prefix) = prefix else { return false };
    let mut ranges = TRANSLATIONS.iter().filter_map(|(start, len)| Ipv6Net::new(*start, *len).ok());
    ranges.any(|range| range.contains(prefix))
}

/// An IPv4-mapped prefix is an IPv4 prefix in another spelling.
fn normalise_prefix(prefix: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let mapped = match prefix {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS)),
    };
    match mapped.and_then(|(address, len)| Ipv4Net::new(address, len).ok()) {
        Some(v4) => v4.trunc().into(),
        None => prefix.trunc(),
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    /// Parses `any`, a group, an address, a prefix or a name pattern.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(keyword) = keyword(text) {
            return Ok(keyword);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Cidr(normalise(address).into()));
        }
        if text.contains('/') {
            let prefix = text.parse::<IpNet>().map_err(|_| DestinationError::Cidr)?;
            return Ok(Self::Cidr(normalise_prefix(prefix)));
        }
        let pattern = HostPattern::parse(text)?;
        if keyword(&pattern.to_string()).is_some() {
            // `any.` is a name to DNS; a rule that could be read both ways is none.
            return Err(DestinationError::Keyword);
        }
        Ok(Self::Domain(pattern))
    }
}

/// `any` and the groups, in any case.
fn keyword(text: &str) -> Option<Destination> {
    if text.eq_ignore_ascii_case("any") {
        return Some(Destination::Any);
    }
    let (group, _) = Group::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(text))?;
    Some(Destination::Group(*group))
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Cidr(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
                write!(f, "{}", prefix.addr())
            }
            Self::Cidr(prefix) => write!(f, "{prefix}"),
            Self::Domain(pattern) => write!(f, "{pattern}"),
            Self::Group(group) => f.write_str(group.as_str()),
        }
    }
}
