//! Rules as an index: what a decision looks at does not grow with their number.
//!
//! Each place a rule can name (everything, a group, a prefix, a name) keeps the rules for it as
//! [`Cases`]; a decision asks the few places a flow is at for their first rule, and the least of
//! these is the first match.

mod address_trie;
mod cases;
mod condition;
mod name_map;
mod port_table;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use net_core::{Direction, HostName};

use crate::destination::judges_own_bits;
use crate::{Action, Destination, Group, HostAddresses, Rule, UnixTime};

use address_trie::AddressTrie;
use cases::{Cases, CasesBuilder, Found, Ordered};
pub(crate) use condition::Wanted;
use name_map::NameMap;

/// The place of a rule in its policy, counted from 0.
pub(crate) type Place = u32;

/// Behind every rule: none matches.
pub(crate) const NONE: Place = Place::MAX;

/// The rules of one policy, by what they are about.
#[derive(Default)]
pub(crate) struct Index {
    cases: Cases,
    /// For every address.
    any: cases::Id,
    /// For the addresses of a group, in the order of [`Group::ALL`].
    groups: [GroupRules; Group::COUNT],
    /// Whether some rule is for a group.
    pub(crate) has_groups: bool,
    v4: AddressTrie<u32>,
    v6: AddressTrie<u128>,
    /// Prefixes that judge addresses with an IPv4 one inside by their own bits.
    translated: AddressTrie<u128>,
    names: NameMap,
    /// Every rule for a name, expired or not.
    domains: cases::Id,
    /// What lets a name be resolved, or not, whatever the name.
    resolve: Ordered,
    /// Whether some rule allows flows to the host.
    pub(crate) reaches_host: bool,
    /// Whether some rule allows flows to everywhere.
    pub(crate) allows_any: bool,
}

#[derive(Clone, Copy, Default)]
struct GroupRules {
    cases: cases::Id,
    /// Whether a rule allows egress to it, on some port.
    is_permitted: bool,
}

/// The first rules for an address.
#[derive(Clone, Copy)]
pub(crate) struct ByAddress {
    /// Of all rules that are not for a name.
    pub(crate) first: Place,
    /// Of those for an address, a prefix or a group.
    pub(crate) as_such: Place,
}

/// The first rules for a name.
#[derive(Clone, Copy)]
pub(crate) struct ByName {
    /// Of those that allow it.
    pub(crate) allow: Place,
    /// Of those that deny it.
    pub(crate) deny: Place,
    /// Of those that allow some requests to it.
    pub(crate) allows_some: Found,
    /// Of those that deny some requests to it.
    pub(crate) denies_some: Found,
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut builder = CasesBuilder::default();
        let mut index = Self::default();
        let (mut any, mut domains, mut resolve) = (Vec::new(), Vec::new(), Vec::new());
        let mut groups: [Vec<Place>; Group::COUNT] = Default::default();
        let (mut v4, mut v6, mut translated) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut names = name_map::Builder::default();
        for (place, rule) in (0..NONE).zip(rules) {
            builder.add(rule);
            let is_egress = rule.direction.covers(Direction::Egress);
            let allows_egress = is_egress && rule.action == Action::Allow;
            match &rule.destination {
                Destination::Any => {
                    any.push(place);
                    index.allows_any |= allows_egress;
                    index.reaches_host |= allows_egress;
                    if allows_egress || (is_egress && rule.covers_everything()) {
                        resolve.push(place);
                    }
                }
                Destination::Group(group) => {
                    groups[group.place()].push(place);
                    index.has_groups = true;
                    index.groups[group.place()].is_permitted |= allows_egress;
                    if *group == Group::Host {
                        index.reaches_host |= allows_egress;
                    } else if allows_egress {
                        resolve.push(place);
                    }
                }
                Destination::Cidr(prefix) => {
                    if allows_egress {
                        resolve.push(place);
                    }
                    match prefix {
                        IpNet::V4(net) => {
                            let key = (u32::from(net.network()), net.prefix_len());
                            v4.entry(key).or_insert_with(Vec::new).push(place);
                        }
                        IpNet::V6(net) => {
                            let key = (u128::from(net.network()), net.prefix_len());
                            v6.entry(key).or_insert_with(Vec::new).push(place);
                            if judges_own_bits(prefix, rule.action) {
                                translated.entry(key).or_insert_with(Vec::new).push(place);
                            }
                        }
                    }
                }
                Destination::Domain(pattern) => {
                    domains.push(place);
                    names.add(pattern, place, rule);
                }
            }
        }
        index.any = builder.cases(&any);
        for (group, places) in index.groups.iter_mut().zip(&groups) {
            group.cases = builder.cases(places);
        }
        let permits = |place: Place| {
            rules
                .get(place as usize)
                .is_some_and(|rule| rule.action == Action::Allow && rule.direction.covers(Direction::Egress))
        };
        index.v4 = AddressTrie::new(v4, &mut builder, permits);
        index.v6 = AddressTrie::new(v6, &mut builder, permits);
        index.translated = AddressTrie::new(translated, &mut builder, permits);
        index.names = names.build(&mut builder);
        index.domains = builder.cases_that_never_expire(&domains);
        index.resolve = builder.ordered(&resolve);
        index.cases = builder.build();
        index
    }

    /// The first rules for an address; `normal` is what is reached by way of it.
    pub(crate) fn by_address(
        &self,
        address: IpAddr,
        normal: IpAddr,
        group: Option<Group>,
        wanted: &Wanted,
    ) -> ByAddress {
        let mut as_such = match group {
            Some(group) => self.cases.first(self.groups[group.place()].cases, wanted, NONE),
            None => NONE,
        };
        as_such = match normal {
            IpAddr::V4(v4) => self.v4.first(u32::from(v4), &self.cases, wanted, as_such),
            IpAddr::V6(v6) => self.v6.first(u128::from(v6), &self.cases, wanted, as_such),
        };
        if let (IpAddr::V6(own), true) = (address, address != normal) {
            as_such = self.translated.first(u128::from(own), &self.cases, wanted, as_such);
        }
        ByAddress { first: self.cases.first(self.any, wanted, as_such), as_such }
    }

    /// The first rules for a name among those before `limit`; `decides` says which of those for some
    /// requests do.
    pub(crate) fn by_name(
        &self,
        name: &HostName,
        wanted: &Wanted,
        limit: Place,
        decides: impl Fn(Place) -> bool,
    ) -> ByName {
        self.names.first(name, &self.cases, wanted, limit, decides)
    }

    /// The first rule that says whether a name may be resolved.
    pub(crate) fn resolves(&self, name: &HostName, wall: UnixTime) -> Place {
        let first = self.cases.first_alive(self.resolve, wall, NONE);
        self.names.resolves(name, &self.cases, wall, first)
    }

    /// Whether some rule for a group or prefix of the address allows egress to it.
    pub(crate) fn permits(&self, address: IpAddr, hosts: &HostAddresses) -> bool {
        let normal = hosts.normalise(address);
        let by_group = Group::of(normal, hosts).is_some_and(|group| self.groups[group.place()].is_permitted);
        let by_prefix = || match normal {
            IpAddr::V4(v4) => self.v4.permits(u32::from(v4)),
            IpAddr::V6(v6) => self.v6.permits(u128::from(v6)),
        };
        let by_own_bits = || match address {
            IpAddr::V6(own) if address != normal => self.translated.permits(u128::from(own)),
            IpAddr::V6(_) | IpAddr::V4(_) => false,
        };
        by_group || by_prefix() || by_own_bits()
    }

    /// The first rule for any name that covers the flow, which is a timeless one.
    pub(crate) fn first_domain(&self, wanted: &Wanted) -> Place {
        self.cases.first(self.domains, wanted, NONE)
    }
}
