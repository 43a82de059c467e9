use super::condition::{Condition, FLOW_KINDS, PortSets, Wanted};
use super::{NONE, Position};

/// Many rules for one place: which is the first, for every kind of flow and every port.
///
/// The ports are cut where some rule's range starts or ends, so there are at most two segments a
/// range, and 65,536 in all.
pub(super) struct PortTable {
    /// The first port of each segment; the first segment starts at 0.
    starts: Box<[u16]>,
    /// For each segment the first rule that never expires, by kind of flow.
    firsts: Box<[[Position; FLOW_KINDS]]>,
    /// The same for flows that have no port.
    portless: [Position; FLOW_KINDS],
    /// In ascending order; these are tried one after the other.
    expiring: Box<[Position]>,
}

impl PortTable {
    /// A table of rules in ascending order. Where the expiry is not heeded none of them has one.
    ///
    /// Takes O(ranges × log segments) for each kind of flow: a segment is filled once, by the first
    /// rule that covers it, and skipped from then on.
    pub(super) fn new(
        positions: &[Position],
        conditions: &[Condition],
        port_sets: &PortSets,
        heeds_expiry: bool,
    ) -> Self {
        let rules =
            || positions.iter().filter_map(|position| Some((*position, conditions.get(*position as usize)?)));
        let lasting = || rules().filter(|(_, condition)| !heeds_expiry || condition.never_expires());
        let mut starts = vec![0];
        for (first, last) in lasting().flat_map(|(_, condition)| condition.ranges(port_sets)) {
            starts.push(*first);
            starts.extend(last.checked_add(1));
        }
        starts.sort_unstable();
        starts.dedup();
        let mut firsts = vec![[NONE; FLOW_KINDS]; starts.len()];
        let mut portless = [NONE; FLOW_KINDS];
        for (kind, portless) in portless.iter_mut().enumerate() {
            let mut unfilled = Unfilled::new(starts.len());
            for (position, condition) in lasting().filter(|(_, condition)| condition.has_kind(kind)) {
                *portless = position.min(*portless);
                for (first, last) in condition.ranges(port_sets) {
                    let mut segment = unfilled.from(starts.partition_point(|start| start < first));
                    while let Some(row) = firsts.get_mut(segment).filter(|_| starts[segment] <= *last) {
                        row[kind] = position;
                        unfilled.fill(segment);
                        segment = unfilled.from(segment);
                    }
                }
            }
        }
        let expiring = rules().filter(|(_, condition)| heeds_expiry && !condition.never_expires());
        let expiring = expiring.map(|(position, _)| position).collect();
        Self { starts: starts.into(), firsts: firsts.into(), portless, expiring }
    }

    /// The first rule that never expires and covers the flow.
    pub(super) fn first(&self, wanted: &Wanted) -> Position {
        let row = match wanted.port {
            Some(port) => self.firsts.get(self.starts.partition_point(|start| *start <= port) - 1),
            None => Some(&self.portless),
        };
        row.and_then(|row| row.get(wanted.kind)).copied().unwrap_or(NONE)
    }

    pub(super) fn expiring(&self) -> &[Position] {
        &self.expiring
    }
}

/// Which segments have no rule yet: each points to itself while it has none, else somewhere behind.
struct Unfilled(Vec<usize>);

impl Unfilled {
    fn new(segments: usize) -> Self {
        Self((0..=segments).collect())
    }

    /// The first without a rule from this one on; one past the last where there is none.
    fn from(&mut self, segment: usize) -> usize {
        let mut found = segment;
        while self.0[found] != found {
            found = self.0[found];
        }
        let mut on_the_way = segment;
        while on_the_way != found {
            on_the_way = std::mem::replace(&mut self.0[on_the_way], found);
        }
        found
    }

    fn fill(&mut self, segment: usize) {
        self.0[segment] = segment + 1;
    }
}
