use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use net_core::{AddressClass, HostPattern, HostPatternError, normalise};
use thiserror::Error;

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
    const ALL: [(Self, &'static str); 7] = [
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
        match AddressClass::of(address) {
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

    /// The name used in rules.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(group, _)| *group == self).map_or("", |(_, name)| name)
    }
}

/// The addresses that mean the host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses(HashSet<IpAddr>);

impl HostAddresses {
    /// Whether `address` is the host's, in any of the forms it can be written in.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&normalise(address))
    }
}

impl FromIterator<IpAddr> for HostAddresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        Self(addresses.into_iter().map(normalise).collect())
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
    #[error("not a name pattern: {0}")]
    Pattern(#[from] HostPatternError),
}

impl Destination {
    /// Whether the rule is about names.
    pub fn is_domain(&self) -> bool {
        matches!(self, Self::Domain(_))
    }

    /// Whether an address lies in the destination. Names are never matched by address.
    pub(crate) fn contains(&self, address: IpAddr, hosts: &HostAddresses) -> bool {
        match self {
            Self::Any => true,
            Self::Cidr(prefix) => prefix.contains(&normalise(address)),
            Self::Group(group) => Group::of(address, hosts) == Some(*group),
            Self::Domain(_) => false,
        }
    }
}

/// A prefix inside an embedding range means the IPv4 prefix it embeds.
fn normalise_prefix(prefix: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    match (prefix, normalise(prefix.addr())) {
        (IpNet::V6(v6), IpAddr::V4(v4)) if v6.prefix_len() >= MAPPED_BITS => {
            ipnet::Ipv4Net::new(v4, v6.prefix_len() - MAPPED_BITS).map_or(prefix, |net| net.trunc().into())
        }
        _ => prefix.trunc(),
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
