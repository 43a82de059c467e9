use crate::UnixTime;

use super::condition::{Condition, PortSets, Wanted};
use super::port_table::PortTable;
use super::{NONE, Position};

/// So many rules for one place are tried one after the other; more get a [`PortTable`].
const FEW: usize = 4;

/// The rules of each place, and what each asks of a flow besides.
///
/// Asking one place for its first rule takes at most [`FEW`] comparisons, or one binary search over
/// the ports its rules tell apart and a comparison for each of its rules that has an expiry.
#[derive(Default)]
pub(crate) struct Cases {
    conditions: Vec<Condition>,
    port_sets: PortSets,
    positions: Vec<Position>,
    tables: Vec<PortTable>,
}

/// The rules of one place: a slice of `positions`, or one of `tables`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Id {
    start: u32,
    len: u32,
}

/// Rules of which only the order and the expiry matter: none stands behind one that never expires.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ordered {
    start: u32,
    len: u32,
}

/// Rules that are tried one after the other, in ascending order.
#[derive(Clone, Copy, Default)]
pub(super) struct List {
    start: u32,
    len: u32,
}

/// What of a [`List`] covers a flow.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// The first that does.
    pub(crate) first: Position,
    /// The first that decides, too.
    pub(crate) decides: Position,
}

impl Cases {
    /// Joins to what was found what of a list covers the flow, as far as it comes first.
    pub(super) fn find(
        &self,
        list: List,
        wanted: &Wanted,
        found: &mut Found,
        decides: impl Fn(Position) -> bool,
    ) {
        let positions = slice(&self.positions, list.start, list.len);
        for position in positions {
            if *position >= found.decides {
                return;
            }
            if !self.condition(*position).is_some_and(|it| it.covers(wanted, &self.port_sets)) {
                continue;
            }
            found.first = found.first.min(*position);
            if decides(*position) {
                found.decides = *position;
            }
        }
    }

    /// The first rule of a place that covers the flow, or `limit` where that comes first.
    pub(super) fn first(&self, id: Id, wanted: &Wanted, limit: Position) -> Position {
        if id.len as usize <= FEW {
            let positions = slice(&self.positions, id.start, id.len);
            let first = positions.iter().find(|position| {
                **position >= limit
                    || self.condition(**position).is_some_and(|it| it.covers(wanted, &self.port_sets))
            });
            return first.map_or(limit, |position| limit.min(*position));
        }
        let Some(table) = self.tables.get(id.start as usize) else { return limit };
        let first = table.first(wanted).min(limit);
        let expiring = table.expiring().iter().take_while(|position| **position < first).find(|position| {
            self.condition(**position).is_some_and(|condition| condition.covers(wanted, &self.port_sets))
        });
        expiring.copied().unwrap_or(first)
    }

    /// The first rule that has not expired, or `limit` where that comes first.
    pub(super) fn first_alive(&self, ordered: Ordered, wall: UnixTime, limit: Position) -> Position {
        let positions = slice(&self.positions, ordered.start, ordered.len);
        let mut alive = positions.iter().filter(|position| {
            self.condition(**position).is_some_and(|condition| condition.is_alive(wall.as_secs()))
        });
        alive.next().map_or(limit, |position| limit.min(*position))
    }

    fn condition(&self, position: Position) -> Option<&Condition> {
        self.conditions.get(position as usize)
    }
}

fn slice(positions: &[Position], start: u32, len: u32) -> &[Position] {
    let start = start as usize;
    positions.get(start..start + len as usize).unwrap_or_default()
}

/// Makes [`Cases`]; every condition is added before the first place.
#[derive(Default)]
pub(super) struct CasesBuilder {
    cases: Cases,
}

impl CasesBuilder {
    pub(super) fn add(&mut self, rule: &crate::Rule) {
        let condition = Condition::of(rule, &mut self.cases.port_sets);
        self.cases.conditions.push(condition);
    }

    /// The rules of a place, in ascending order.
    pub(super) fn cases(&mut self, positions: &[Position]) -> Id {
        self.with_expiry(positions, true)
    }

    /// The same, as if none of them ever expired.
    pub(super) fn cases_that_never_expire(&mut self, positions: &[Position]) -> Id {
        self.with_expiry(positions, false)
    }

    fn with_expiry(&mut self, positions: &[Position], is_heeded: bool) -> Id {
        let len = u32::try_from(positions.len()).unwrap_or(u32::MAX);
        let Cases { conditions, port_sets, tables, .. } = &mut self.cases;
        if positions.len() > FEW {
            let start = u32::try_from(tables.len()).unwrap_or(u32::MAX);
            tables.push(PortTable::new(positions, conditions, port_sets, is_heeded));
            return Id { start, len };
        }
        Id { start: self.append(positions), len }
    }

    /// Rules in ascending order, as far as one can matter.
    pub(super) fn ordered(&mut self, positions: &[Position]) -> Ordered {
        let never_expires = |position: &Position| {
            self.cases.conditions.get(*position as usize).is_some_and(Condition::never_expires)
        };
        let end = positions.iter().position(never_expires).map_or(positions.len(), |last| last + 1);
        let positions = positions.get(..end).unwrap_or_default();
        let len = u32::try_from(positions.len()).unwrap_or(u32::MAX);
        Ordered { start: self.append(positions), len }
    }

    /// Rules in ascending order.
    pub(super) fn list(&mut self, positions: &[Position]) -> List {
        let len = u32::try_from(positions.len()).unwrap_or(u32::MAX);
        List { start: self.append(positions), len }
    }

    fn append(&mut self, positions: &[Position]) -> u32 {
        let start = u32::try_from(self.cases.positions.len()).unwrap_or(u32::MAX);
        self.cases.positions.extend_from_slice(positions);
        start
    }

    pub(super) fn build(mut self) -> Cases {
        self.cases.port_sets.seal();
        self.cases
    }
}

/// The least of some rules in ascending order.
pub(super) fn least(positions: &[Position]) -> Position {
    positions.first().copied().unwrap_or(NONE)
}
