use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use net_core::HostName;
use rcgen::{CidrSubnet, GeneralSubtree};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree as ParsedSubtree};

use crate::{AuthorityError, LeafSubject};

/// Most subtrees of one certificate: the guest is sent them in every handshake, and a verifier
/// compares each with each name.
pub const MAX_SUBTREES: usize = 256;

/// Which names and addresses an authority may sign for (RFC 5280, section 4.2.1.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    permitted: Subtrees,
    excluded: Subtrees,
}

/// Names and networks, the names in lower case and as they are in the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Subtrees {
    names: Vec<String>,
    networks: Vec<Network>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

const EVERY_V4: Network = Network { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 };
const EVERY_V6: Network = Network { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix: 0 };

impl NameConstraints {
    /// Permits `names` and all below them, and the networks, written as an address and the length of
    /// its prefix; what is not named is excluded, in words where no permitted subtree of its kind
    /// says so.
    ///
    /// # Errors
    /// `TooManySubtrees`, after names below other names have been dropped.
    pub fn permitting(
        names: impl IntoIterator<Item = HostName>,
        networks: impl IntoIterator<Item = (IpAddr, u8)>,
    ) -> Result<Self, AuthorityError> {
        let mut names: Vec<HostName> = names.into_iter().collect();
        // Parents first, so that what lies below one is never kept.
        names.sort_by_key(|name| name.as_str().len());
        let mut kept: Vec<HostName> = Vec::new();
        for name in names {
            if !kept.iter().any(|parent| name == *parent || name.is_subdomain_of(parent)) {
                if kept.len() == MAX_SUBTREES {
                    return Err(AuthorityError::TooManySubtrees);
                }
                kept.push(name);
            }
        }
        let networks: Vec<Network> = networks
            .into_iter()
            .map(|(address, prefix)| Network::new(address, prefix))
            .take(MAX_SUBTREES + 1)
            .collect();
        if kept.len() + networks.len() > MAX_SUBTREES {
            return Err(AuthorityError::TooManySubtrees);
        }
        let mut excluded = Subtrees::default();
        // Verifiers differ on whether a permitted network of one family excludes the other.
        if !networks.iter().any(|network| network.address.is_ipv4()) {
            excluded.networks.push(EVERY_V4);
        }
        if !networks.iter().any(|network| network.address.is_ipv6()) {
            excluded.networks.push(EVERY_V6);
        }
        let names: Vec<String> = kept.iter().map(|name| name.as_str().to_owned()).collect();
        if names.is_empty() {
            excluded.names.push(String::new());
        }
        Ok(Self { permitted: Subtrees { names, networks }, excluded })
    }

    /// Whether a leaf for `subject` would be accepted.
    pub fn permits(&self, subject: &LeafSubject) -> bool {
        let Self { permitted, excluded } = self;
        match subject {
            LeafSubject::Name(name) => {
                (permitted.names.is_empty() || permitted.covers_name(name.as_str()))
                    && !excluded.covers_name(name.as_str())
            }
            LeafSubject::Address(address) => {
                (permitted.networks.is_empty() || permitted.covers_address(*address))
                    && !excluded.covers_address(*address)
            }
        }
    }

    /// A name that may be signed for, if only some are.
    pub(crate) fn some_name(&self) -> Option<&str> {
        self.permitted.names.first().map(String::as_str)
    }

    /// What a certificate says; `None` where it does not constrain.
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Result<Option<Self>, AuthorityError> {
        let extension = certificate.name_constraints().map_err(|_| AuthorityError::Constraints)?;
        let Some(extension) = extension else { return Ok(None) };
        let subtrees = |parsed: &Option<Vec<ParsedSubtree<'_>>>| {
            parsed.as_deref().map_or_else(|| Ok(Subtrees::default()), Subtrees::parse)
        };
        let permitted = subtrees(&extension.value.permitted_subtrees)?;
        let excluded = subtrees(&extension.value.excluded_subtrees)?;
        Ok(Some(Self { permitted, excluded }))
    }

    pub(crate) fn to_rcgen(&self) -> rcgen::NameConstraints {
        rcgen::NameConstraints {
            permitted_subtrees: self.permitted.to_rcgen(),
            excluded_subtrees: self.excluded.to_rcgen(),
        }
    }
}

impl fmt::Display for NameConstraints {
    /// What is permitted, then what is excluded, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permitted: {}; excluded: {}", self.permitted, self.excluded)
    }
}

impl fmt::Display for Subtrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() && self.networks.is_empty() {
            return f.write_str("none");
        }
        let mut gap = "";
        for name in &self.names {
            let name = if name.is_empty() { "every name" } else { name };
            write!(f, "{gap}{name}")?;
            gap = ", ";
        }
        for Network { address, prefix } in &self.networks {
            write!(f, "{gap}{address}/{prefix}")?;
            gap = ", ";
        }
        Ok(())
    }
}

impl Subtrees {
    fn parse(parsed: &[ParsedSubtree<'_>]) -> Result<Self, AuthorityError> {
        let mut subtrees = Self::default();
        for subtree in parsed {
            #[allow(clippy::wildcard_enum_match_arm, reason = "leaves have names and addresses only")]
            match &subtree.base {
                GeneralName::DNSName(name) if name.is_ascii() => {
                    // Control characters would reach whoever prints them.
                    if name.chars().any(|c| c.is_ascii_control()) {
                        return Err(AuthorityError::Constraints);
                    }
                    subtrees.names.push(name.to_ascii_lowercase());
                }
                GeneralName::DNSName(_) => return Err(AuthorityError::Constraints),
                GeneralName::IPAddress(bytes) => {
                    subtrees.networks.push(Network::parse(bytes).ok_or(AuthorityError::Constraints)?);
                }
                _ => {}
            }
        }
        Ok(subtrees)
    }

    fn covers_name(&self, name: &str) -> bool {
        self.names.iter().any(|base| {
            // A leading dot is no form of RFC 5280, and read as "below it only" where it is read.
            let (base, is_strict) = base.strip_prefix('.').map_or((&**base, false), |base| (base, true));
            let above = name.strip_suffix(base);
            base.is_empty()
                || above.is_some_and(|rest| rest.ends_with('.') || (rest.is_empty() && !is_strict))
        })
    }

    fn covers_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| Network::new(address, network.prefix) == *network)
    }

    fn to_rcgen(&self) -> Vec<GeneralSubtree> {
        let names = self.names.iter().cloned().map(GeneralSubtree::DnsName);
        let networks = self.networks.iter().map(|Network { address, prefix }| {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, *prefix))
        });
        names.chain(networks).collect()
    }
}

impl Network {
    /// A prefix longer than the address is the address; bits behind the prefix are cleared.
    fn new(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let prefix = prefix.min(32);
                let bits = u128::from(v4.to_bits()) & mask(32, prefix);
                Self { address: Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(0)).into(), prefix }
            }
            IpAddr::V6(v6) => {
                let prefix = prefix.min(128);
                Self { address: Ipv6Addr::from_bits(v6.to_bits() & mask(128, prefix)).into(), prefix }
            }
        }
    }

    /// An address and its mask, as RFC 5280 has them.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (address, ones, zeros): (IpAddr, u32, u32) = match bytes.len() {
            8 => {
                let (address, mask) = bytes.split_first_chunk::<4>()?;
                let mask = u32::from_be_bytes(mask.try_into().ok()?);
                (Ipv4Addr::from(*address).into(), mask.leading_ones(), mask.count_ones())
            }
            32 => {
                let (address, mask) = bytes.split_first_chunk::<16>()?;
                let mask = u128::from_be_bytes(mask.try_into().ok()?);
                (Ipv6Addr::from(*address).into(), mask.leading_ones(), mask.count_ones())
            }
            _ => return None,
        };
        // A mask with holes is no prefix.
        (ones == zeros).then(|| Some(Self::new(address, u8::try_from(ones).ok()?)))?
    }
}

/// The first `prefix` of the last `width` bits.
fn mask(width: u32, prefix: u8) -> u128 {
    let all = u128::MAX >> (128 - width);
    let behind = width.saturating_sub(u32::from(prefix));
    all & u128::MAX.checked_shl(behind).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> LeafSubject {
        match text.parse::<IpAddr>() {
            Ok(address) => LeafSubject::Address(address),
            Err(_) => LeafSubject::Name(text.parse().expect(text)),
        }
    }

    #[test]
    fn what_is_permitted() {
        type Case = (&'static [&'static str], &'static [&'static str], &'static [(&'static str, bool)]);
        const CASES: &[Case] = &[
            (
                &["a.b"],
                &[],
                &[
                    ("a.b", true),
                    ("x.a.b", true),
                    ("x.y.a.b", true),
                    ("xa.b", false),
                    ("b", false),
                    ("a.b.c", false),
                    ("10.0.0.1", false),
                    ("fd00::1", false),
                ],
            ),
            (
                &["a.b"],
                &["10.1.2.3/8"],
                &[("a.b", true), ("10.255.0.1", true), ("11.0.0.1", false), ("fd00::1", false)],
            ),
            (
                &[],
                &["fd00::/8", "192.0.2.1/32"],
                &[
                    ("a.b", false),
                    ("fdff::1", true),
                    ("fe80::1", false),
                    ("192.0.2.1", true),
                    ("192.0.2.2", false),
                    ("::ffff:192.0.2.1", false),
                ],
            ),
            (&[], &["::/0"], &[("fe80::1", true), ("10.0.0.1", false)]),
            (&[], &[], &[("a.b", false), ("10.0.0.1", false), ("::1", false)]),
        ];
        for (names, networks, subjects) in CASES {
            let networks = networks.iter().map(|text| {
                let (address, prefix) = text.split_once('/').expect("a prefix");
                (address.parse().expect(text), prefix.parse().expect(text))
            });
            let names = names.iter().map(|name| name.parse().expect(name));
            let constraints = NameConstraints::permitting(names, networks).expect("few subtrees");
            for (text, expected) in *subjects {
                assert_eq!(constraints.permits(&subject(text)), *expected, "{text} under {constraints}");
            }
        }
    }

    #[test]
    fn names_below_others_are_one_subtree_and_too_many_are_refused() {
        let names = ["x.a.b", "a.b", "b.c", "a.b"].map(|name| name.parse().expect(name));
        let constraints = NameConstraints::permitting(names, []).expect("few subtrees");
        assert_eq!(constraints.permitted.names.len(), 2, "{constraints}");
        let many = |count: usize| (0..count).map(|index| format!("h{index}.test").parse().expect("a name"));
        assert!(NameConstraints::permitting(many(MAX_SUBTREES), []).is_ok());
        let refused = NameConstraints::permitting(many(MAX_SUBTREES + 1), []);
        assert_eq!(refused, Err(AuthorityError::TooManySubtrees));
        let address = (IpAddr::from([10, 0, 0, 1]), 32);
        let refused = NameConstraints::permitting(many(MAX_SUBTREES), [address]);
        assert_eq!(refused, Err(AuthorityError::TooManySubtrees));
    }

    #[test]
    fn masks_with_holes_are_no_prefix() {
        assert_eq!(Network::parse(&[10, 0, 0, 0, 255, 0, 0, 0]), Some(Network::new([10, 0, 0, 0].into(), 8)));
        assert_eq!(Network::parse(&[10, 0, 0, 0, 255, 0, 255, 0]), None);
        assert_eq!(Network::parse(&[10, 0, 0, 0]), None);
        assert_eq!(Network::parse(&[0; 32]), Some(EVERY_V6));
    }
}
