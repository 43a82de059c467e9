use std::collections::BTreeMap;

use super::Position;
use super::cases::{Cases, CasesBuilder, Id, least};
use super::condition::Wanted;

/// An address as a number.
pub(super) trait Bits: Copy + Ord {
    const WIDTH: u32;
    const ZERO: Self;

    /// The last address of the prefix that starts here.
    fn last_of(self, prefix_len: u8) -> Self;

    /// The address behind.
    fn next(self) -> Option<Self>;

    /// The first bits as a number.
    fn top(self, bits: u32) -> usize;
}

macro_rules! bits {
    ($type:ty) => {
        impl Bits for $type {
            const WIDTH: u32 = <$type>::BITS;
            const ZERO: Self = 0;

            fn last_of(self, prefix_len: u8) -> Self {
                self | <$type>::MAX.checked_shr(prefix_len.into()).unwrap_or(0)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn top(self, bits: u32) -> usize {
                self.checked_shr(Self::WIDTH - bits).unwrap_or(0) as usize
            }
        }
    };
}

bits!(u32);
bits!(u128);

/// The rules for prefixes: a tree in which each prefix hangs below the longest that contains it.
///
/// The addresses are cut into segments where a prefix starts or ends, at most two a prefix, and each
/// segment knows the longest prefix around it. A lookup is a binary search for the segment, shortened
/// by a table over the first bits, and then a walk up the tree: at most 33 prefixes for IPv4 and 129
/// for IPv6, and only while a rule further up could come first.
#[derive(Default)]
pub(super) struct AddressTrie<K> {
    /// The first address of each segment, ascending; empty where there is no prefix.
    starts: Vec<K>,
    /// The longest prefix around each segment, or [`NO_NODE`].
    longest: Vec<u32>,
    nodes: Vec<Node>,
    /// How many bits `tops` looks at.
    top_bits: u32,
    /// For each value of the first bits the last segment that starts before it or with it.
    tops: Vec<u32>,
}

const NO_NODE: u32 = u32::MAX;

/// No larger table is made over the first bits.
const MAX_TOP_BITS: u32 = 16;

struct Node {
    /// The longest prefix around this one.
    parent: u32,
    /// The least of its rules.
    first: Position,
    /// The least of its rules and all those around it.
    first_around: Position,
    cases: Id,
    /// Whether a rule of it or around it allows egress.
    is_permitted: bool,
}

impl<K: Bits> AddressTrie<K> {
    /// A tree of prefixes, each a first address, a length, and its rules in ascending order.
    pub(super) fn new(
        prefixes: BTreeMap<(K, u8), Vec<Position>>,
        builder: &mut CasesBuilder,
        permits: impl Fn(&Position) -> bool + Copy,
    ) -> Self {
        let mut trie = Self {
            starts: Vec::new(),
            longest: Vec::new(),
            nodes: Vec::with_capacity(prefixes.len()),
            top_bits: 0,
            tops: Vec::new(),
        };
        // The prefixes around the current one, each with its last address.
        let mut around: Vec<(u32, K)> = Vec::new();
        // Shorter prefixes come before the longer ones that start at the same address.
        for ((start, prefix_len), positions) in prefixes {
            trie.leave(&mut around, Some(start));
            let parent = around.last().map_or(NO_NODE, |(node, _)| *node);
            let (mut first_around, mut is_permitted) = (least(&positions), positions.iter().any(permits));
            if let Some(parent) = trie.nodes.get(parent as usize) {
                first_around = first_around.min(parent.first_around);
                is_permitted |= parent.is_permitted;
            }
            let cases = builder.cases(&positions);
            let node = u32::try_from(trie.nodes.len()).unwrap_or(NO_NODE);
            trie.nodes.push(Node { parent, first: least(&positions), first_around, cases, is_permitted });
            trie.segment(start, node);
            around.push((node, start.last_of(prefix_len)));
        }
        trie.leave(&mut around, None);
        trie.index_tops();
        trie
    }

    /// Ends the prefixes that do not reach `next`, or all.
    fn leave(&mut self, around: &mut Vec<(u32, K)>, next: Option<K>) {
        while let Some((_, last)) = around.last().filter(|(_, last)| next.is_none_or(|next| *last < next)) {
            let behind = last.next();
            around.pop();
            if let Some(behind) = behind {
                self.segment(behind, around.last().map_or(NO_NODE, |(node, _)| *node));
            }
        }
    }

    /// From `start` on `node` is the longest prefix.
    fn segment(&mut self, start: K, node: u32) {
        if self.starts.last() == Some(&start) {
            self.longest.pop();
        } else {
            self.starts.push(start);
        }
        self.longest.push(node);
    }

    fn index_tops(&mut self) {
        if self.starts.is_empty() {
            return;
        }
        if self.starts.first() != Some(&K::ZERO) {
            self.starts.insert(0, K::ZERO);
            self.longest.insert(0, NO_NODE);
        }
        // As many entries as segments: the table never outweighs what it leads to.
        self.top_bits = self.starts.len().ilog2().min(MAX_TOP_BITS);
        let mut segment = 0;
        for top in 0..1 << self.top_bits {
            while self.starts.get(segment + 1).is_some_and(|start| start.top(self.top_bits) < top) {
                segment += 1;
            }
            self.tops.push(u32::try_from(segment).unwrap_or(u32::MAX));
        }
    }

    /// The longest prefix around an address.
    fn longest(&self, address: K) -> Option<&Node> {
        let top = address.top(self.top_bits);
        let low = *self.tops.get(top)? as usize;
        let high = self.tops.get(top + 1).map_or(self.starts.len(), |segment| *segment as usize + 1);
        let behind = low + self.starts.get(low..high)?.partition_point(|start| *start <= address);
        self.node(*self.longest.get(behind.checked_sub(1)?)?)
    }

    fn node(&self, node: u32) -> Option<&Node> {
        self.nodes.get(node as usize)
    }

    /// The first rule for an address that covers the flow, or `limit` where that comes first.
    pub(super) fn first(&self, address: K, cases: &Cases, wanted: &Wanted, limit: Position) -> Position {
        let mut first = limit;
        let mut next = self.longest(address);
        while let Some(node) = next.filter(|node| node.first_around < first) {
            if node.first < first {
                first = cases.first(node.cases, wanted, first);
            }
            next = self.node(node.parent);
        }
        first
    }

    /// Whether some rule for an address allows egress to it, on some port.
    pub(super) fn permits(&self, address: K) -> bool {
        self.longest(address).is_some_and(|node| node.is_permitted)
    }
}
