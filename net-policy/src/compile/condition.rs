use std::collections::HashMap;

use net_core::{Direction, Protocol};

use crate::rule::has_ports;
use crate::{Rule, UnixTime};

/// Directions times protocols: a bit for each kind of flow.
pub(super) const FLOW_KINDS: usize = 2 * Protocol::ALL.len();

/// What a rule asks of a flow besides its destination.
#[derive(Clone, Copy)]
pub(super) struct Condition {
    /// In seconds; never, where it is past all of [`UnixTime`].
    expires: u64,
    ports: Ports,
    /// The kinds of flows, see [`flow_bits`].
    flows: u8,
}

/// A set of ports.
#[derive(Clone, Copy)]
enum Ports {
    Any,
    Range((u16, u16)),
    /// One of [`PortSets`].
    Set(u32),
}

/// What a flow has.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// One bit of [`flow_bits`], by its place.
    pub(super) kind: usize,
    /// `None` where flows of the protocol have none, and every rule's ports match.
    pub(super) port: Option<u16>,
    /// `None` where no rule is held to have expired.
    wall: Option<u64>,
}

/// Sets of more than one range, each kept once: ascending and disjoint.
#[derive(Default)]
pub(super) struct PortSets {
    sets: Vec<Box<[(u16, u16)]>>,
    known: HashMap<Box<[(u16, u16)]>, u32>,
}

const NEVER: u64 = u64::MAX;

/// The kinds of flows of these directions and protocols.
fn flow_bits(rule: &Rule) -> u8 {
    let mut bits = 0;
    for direction in [Direction::Egress, Direction::Ingress] {
        for protocol in Protocol::ALL {
            if rule.direction.covers(direction) && rule.covers_protocol(protocol) {
                bits |= 1 << kind(direction, protocol);
            }
        }
    }
    bits
}

/// The place of a flow's bit.
fn kind(direction: Direction, protocol: Protocol) -> usize {
    let protocol = Protocol::ALL.iter().position(|known| *known == protocol).unwrap_or_default();
    match direction {
        Direction::Egress => protocol,
        Direction::Ingress => Protocol::ALL.len() + protocol,
    }
}

impl Wanted {
    pub(crate) fn new(direction: Direction, protocol: Protocol, port: u16, wall: UnixTime) -> Self {
        let port = has_ports(protocol).then_some(port);
        Self { kind: kind(direction, protocol), port, wall: Some(wall.as_secs()) }
    }

    /// A flow at a time when no rule has expired.
    pub(crate) fn timeless(direction: Direction, protocol: Protocol, port: u16) -> Self {
        Self { wall: None, ..Self::new(direction, protocol, port, UnixTime::default()) }
    }
}

impl Condition {
    pub(super) fn of(rule: &Rule, port_sets: &mut PortSets) -> Self {
        let ports = match *rule.ports.merged() {
            [] => Ports::Any,
            [range] => Ports::Range(range),
            ref ranges => Ports::Set(port_sets.keep(ranges)),
        };
        Self { expires: rule.expires.map_or(NEVER, UnixTime::as_secs), ports, flows: flow_bits(rule) }
    }

    pub(super) fn covers(&self, wanted: &Wanted, port_sets: &PortSets) -> bool {
        self.has_kind(wanted.kind)
            && wanted.wall.is_none_or(|wall| self.is_alive(wall))
            && wanted.port.is_none_or(|port| self.ports.contain(port, port_sets))
    }

    pub(super) fn is_alive(&self, wall: u64) -> bool {
        self.expires > wall
    }

    pub(super) fn never_expires(&self) -> bool {
        self.expires == NEVER
    }

    pub(super) fn has_kind(&self, kind: usize) -> bool {
        self.flows & (1 << kind) != 0
    }

    /// The ranges of the ports, ascending and disjoint.
    pub(super) fn ranges<'s>(&'s self, port_sets: &'s PortSets) -> &'s [(u16, u16)] {
        const ANY: &[(u16, u16)] = &[(0, u16::MAX)];
        match &self.ports {
            Ports::Any => ANY,
            Ports::Range(range) => std::slice::from_ref(range),
            Ports::Set(set) => port_sets.get(*set),
        }
    }
}

impl Ports {
    fn contain(self, port: u16, port_sets: &PortSets) -> bool {
        match self {
            Self::Any => true,
            Self::Range((first, last)) => (first..=last).contains(&port),
            Self::Set(set) => {
                let ranges = port_sets.get(set);
                let behind = ranges.partition_point(|(first, _)| *first <= port);
                behind
                    .checked_sub(1)
                    .and_then(|index| ranges.get(index))
                    .is_some_and(|(_, last)| port <= *last)
            }
        }
    }
}

impl PortSets {
    fn keep(&mut self, ranges: &[(u16, u16)]) -> u32 {
        if let Some(known) = self.known.get(ranges) {
            return *known;
        }
        let position = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.sets.push(ranges.into());
        self.known.insert(ranges.into(), position);
        position
    }

    fn get(&self, position: u32) -> &[(u16, u16)] {
        self.sets.get(position as usize).map_or(&[], |set| set)
    }

    /// Forgets what is only needed to keep each set once.
    pub(super) fn seal(&mut self) {
        self.known = HashMap::new();
    }
}
