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

/// The position of a rule in its policy, counted from 0.
pub(crate) type Position = u32;

/// Behind every rule: none matches.
pub(crate) const NONE: Position = Position::MAX;

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
    pub(crate) first: Position,
    /// Of those for an address, a prefix or a group.
    pub(crate) as_such: Position,
}

/// The first rules for a name.
#[derive(Clone, Copy)]
pub(crate) struct ByName {
    /// Of those that allow it.
    pub(crate) allow: Position,
    /// Of those that deny it.
    pub(crate) deny: Position,
    /// Of those that allow some requests to it.
    pub(crate) allows_some: Found,
    /// Of those that deny some requests to it.
    pub(crate) denies_some: Found,
}

/// The rules of each place, in their order.
#[derive(Default)]
struct Places {
    any: Vec<Position>,
    groups: [Vec<Position>; Group::COUNT],
    v4: BTreeMap<(u32, u8), Vec<Position>>,
    v6: BTreeMap<(u128, u8), Vec<Position>>,
    translated: BTreeMap<(u128, u8), Vec<Position>>,
    names: name_map::Builder,
    domains: Vec<Position>,
    resolve: Vec<Position>,
}

impl Places {
    fn add(&mut self, position: Position, rule: &Rule) {
        match &rule.destination {
            Destination::Any => self.any.push(position),
            Destination::Group(group) => self.groups[group.place()].push(position),
            Destination::Cidr(IpNet::V4(net)) => {
                let key = (u32::from(net.network()), net.prefix_len());
                self.v4.entry(key).or_default().push(position);
            }
            Destination::Cidr(IpNet::V6(net)) => {
                let key = (u128::from(net.network()), net.prefix_len());
                self.v6.entry(key).or_default().push(position);
                if judges_own_bits(&IpNet::V6(*net), rule.action) {
                    self.translated.entry(key).or_default().push(position);
                }
            }
            Destination::Domain(pattern) => {
                self.domains.push(position);
                self.names.add(pattern, position, rule, lets_resolve(rule));
            }
        }
        let is_for_any_name = match rule.destination {
            // The host has a name of its own, and a rule for a name is for that name.
            Destination::Group(Group::Host) | Destination::Domain(_) => false,
            Destination::Any => lets_resolve(rule),
            // Some other address of the name may not be denied.
            Destination::Group(_) | Destination::Cidr(_) => allows_egress(rule),
        };
        if is_for_any_name {
            self.resolve.push(position);
        }
    }
}

/// Whether a rule for the place of a name says if the name may be resolved: one that allows does, and
/// one that denies where it is for every flow.
fn lets_resolve(rule: &Rule) -> bool {
    allows_egress(rule) || (rule.direction.covers(Direction::Egress) && rule.covers_everything())
}

fn allows_egress(rule: &Rule) -> bool {
    rule.action == Action::Allow && rule.direction.covers(Direction::Egress)
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let (mut builder, mut places) = (CasesBuilder::default(), Places::default());
        for (position, rule) in (0..NONE).zip(rules) {
            builder.add(rule);
            places.add(position, rule);
        }
        let permits = |position: &Position| rules.get(*position as usize).is_some_and(allows_egress);
        let groups = places.groups.each_ref().map(|positions| GroupRules {
            cases: builder.cases(positions),
            is_permitted: positions.iter().any(permits),
        });
        let allows_any = places.any.iter().any(permits);
        Self {
            any: builder.cases(&places.any),
            has_groups: places.groups.iter().any(|positions| !positions.is_empty()),
            v4: AddressTrie::new(places.v4, &mut builder, permits),
            v6: AddressTrie::new(places.v6, &mut builder, permits),
            translated: AddressTrie::new(places.translated, &mut builder, permits),
            names: places.names.build(&mut builder),
            domains: builder.cases_that_never_expire(&places.domains),
            resolve: builder.ordered(&places.resolve),
            reaches_host: allows_any || groups[Group::Host.place()].is_permitted,
            allows_any,
            groups,
            cases: builder.build(),
        }
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
        limit: Position,
        decides: impl Fn(Position) -> bool,
    ) -> ByName {
        self.names.first(name, &self.cases, wanted, limit, decides)
    }

    /// The first rule that says whether a name may be resolved.
    pub(crate) fn resolves(&self, name: &HostName, wall: UnixTime) -> Position {
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
    pub(crate) fn first_domain(&self, wanted: &Wanted) -> Position {
        self.cases.first(self.domains, wanted, NONE)
    }
}
