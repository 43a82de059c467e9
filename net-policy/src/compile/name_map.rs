use std::hash::{DefaultHasher, Hasher as _};

use hashbrown::HashTable;
use net_core::{HostName, HostPattern};

use crate::{Action, Rule, UnixTime};

use super::cases::{Cases, CasesBuilder, Found, Id, List, Ordered, least};
use super::condition::Wanted;
use super::{ByName, NONE, Position};

/// The rules for names: a tree of labels from the right, so that a name passes every apex it is below.
///
/// A lookup takes a step for each label that some rule's name has in that place, so what a guest makes
/// up ends where the rules end. The hash has no key: only the owner's names are in the tree.
#[derive(Default)]
pub(super) struct NameMap {
    nodes: Vec<Node>,
    children: Children,
}

/// The root, above every top-level domain.
const ROOT: u32 = 0;

#[derive(Default)]
struct Node {
    /// Rules for the name itself.
    at: Rules,
    /// Rules for every name below it.
    below: Rules,
}

#[derive(Default)]
struct Rules {
    allow: Id,
    deny: Id,
    /// Of the rules for some requests.
    allows_some: List,
    denies_some: List,
    /// The least of all these.
    first: Position,
    resolve: Ordered,
}

/// From a node and a label to the node below.
#[derive(Default)]
struct Children {
    table: HashTable<Edge>,
    /// Every label, one after the other.
    labels: String,
}

struct Edge {
    parent: u32,
    child: u32,
    /// Where the label starts in `labels`.
    start: u32,
    len: u8,
}

impl Children {
    fn hash(parent: u32, label: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(label.as_bytes());
        hasher.write_u32(parent);
        hasher.finish()
    }

    fn label<'l>(labels: &'l str, edge: &Edge) -> &'l str {
        let start = edge.start as usize;
        labels.get(start..start + usize::from(edge.len)).unwrap_or_default()
    }

    fn get(&self, parent: u32, label: &str) -> Option<u32> {
        let is_it = |edge: &Edge| edge.parent == parent && Self::label(&self.labels, edge) == label;
        self.table.find(Self::hash(parent, label), is_it).map(|edge| edge.child)
    }

    fn insert(&mut self, parent: u32, label: &str, child: u32) {
        let start = u32::try_from(self.labels.len()).unwrap_or(u32::MAX);
        self.labels.push_str(label);
        let len = u8::try_from(label.len()).unwrap_or(u8::MAX);
        let labels = &self.labels;
        let hash = |edge: &Edge| Self::hash(edge.parent, Self::label(labels, edge));
        self.table.insert_unique(Self::hash(parent, label), Edge { parent, child, start, len }, hash);
    }
}

impl NameMap {
    /// The rules for a name, from its top-level domain to itself.
    fn walk<'m>(&'m self, name: &HostName, mut visit: impl FnMut(&'m Rules)) {
        let mut labels = name.labels().rev().peekable();
        let mut node = ROOT;
        while let Some(label) = labels.next() {
            let Some(child) = self.children.get(node, label) else { return };
            let Some(rules) = self.nodes.get(child as usize) else { return };
            visit(if labels.peek().is_some() { &rules.below } else { &rules.at });
            node = child;
        }
    }

    /// The first rules for a name that cover the flow, among those before `limit`.
    pub(super) fn first(
        &self,
        name: &HostName,
        cases: &Cases,
        wanted: &Wanted,
        limit: Position,
        decides: impl Fn(Position) -> bool,
    ) -> ByName {
        let none = Found { first: limit, decides: limit };
        let mut found = ByName { allow: limit, deny: limit, allows_some: none, denies_some: none };
        self.walk(name, |rules| {
            // An allowing rule may turn out not to match, so only a denying one ends the search.
            if rules.first < found.deny {
                found.deny = cases.first(rules.deny, wanted, found.deny);
                found.allow = cases.first(rules.allow, wanted, found.allow);
                cases.find(rules.allows_some, wanted, &mut found.allows_some, &decides);
                cases.find(rules.denies_some, wanted, &mut found.denies_some, &decides);
            }
        });
        found
    }

    /// The first rule that says whether a name may be resolved, or `limit` where that comes first.
    pub(super) fn resolves(
        &self,
        name: &HostName,
        cases: &Cases,
        wall: UnixTime,
        limit: Position,
    ) -> Position {
        let mut first = limit;
        self.walk(name, |rules| {
            if rules.first < first {
                first = cases.first_alive(rules.resolve, wall, first);
            }
        });
        first
    }
}

/// Makes a [`NameMap`] of rules in ascending order.
#[derive(Default)]
pub(super) struct Builder {
    children: Children,
    nodes: Vec<(Places, Places)>,
}

#[derive(Default)]
struct Places {
    allow: Vec<Position>,
    deny: Vec<Position>,
    allows_some: Vec<Position>,
    denies_some: Vec<Position>,
    resolve: Vec<Position>,
}

impl Builder {
    /// Adds a rule; `lets_resolve` where it says whether its names may be resolved.
    pub(super) fn add(&mut self, pattern: &HostPattern, position: Position, rule: &Rule, lets_resolve: bool) {
        if self.nodes.is_empty() {
            self.nodes.push(Default::default());
        }
        let mut node = ROOT;
        for label in pattern.apex().labels().rev() {
            node = self.children.get(node, label).unwrap_or_else(|| {
                let child = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
                self.nodes.push(Default::default());
                self.children.insert(node, label, child);
                child
            });
        }
        let Some((at, below)) = self.nodes.get_mut(node as usize) else { return };
        let lists: &mut [&mut Places] = match pattern {
            HostPattern::Exact(_) => &mut [at],
            HostPattern::Subdomains(_) => &mut [below],
            HostPattern::Suffix(_) => &mut [at, below],
        };
        for list in lists {
            match (rule.action, &rule.http) {
                (Action::Allow, None) => list.allow.push(position),
                (Action::Deny, None) => list.deny.push(position),
                (Action::Allow, Some(_)) => list.allows_some.push(position),
                (Action::Deny, Some(_)) => list.denies_some.push(position),
            }
            if lets_resolve {
                list.resolve.push(position);
            }
        }
    }

    pub(super) fn build(self, builder: &mut CasesBuilder) -> NameMap {
        let mut rules = |positions: &Places| Rules {
            allow: builder.cases(&positions.allow),
            deny: builder.cases(&positions.deny),
            allows_some: builder.list(&positions.allows_some),
            denies_some: builder.list(&positions.denies_some),
            first: [&positions.allow, &positions.deny, &positions.allows_some, &positions.denies_some]
                .map(|positions| least(positions))
                .into_iter()
                .fold(NONE, Position::min),
            resolve: builder.ordered(&positions.resolve),
        };
        let nodes =
            self.nodes.iter().map(|(at, below)| Node { at: rules(at), below: rules(below) }).collect();
        NameMap { nodes, children: self.children }
    }
}
