use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use net_core::{HostName, normalise};

/// A pin lives at least this long: a TTL of 0 still allows the connection it was asked for.
pub const MIN_TTL: Duration = Duration::from_secs(1);

/// A pin outlives its TTL by this much: JVMs, Go programs and browsers cache longer than they were
/// told, and would be denied what they were allowed a moment ago.
pub const PIN_GRACE: Duration = Duration::from_secs(60);

/// Longest TTL believed, so that one answer does not pin an address for ever.
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Which addresses our resolver gave for which names.
///
/// Bounded: at most `max_pins` pairs and `max_pins_per_name` addresses of a name; the one that
/// expires first yields.
#[derive(Debug)]
pub struct NameTable {
    max_pins: usize,
    max_pins_per_name: usize,
    by_address: HashMap<IpAddr, HashMap<HostName, Instant>>,
    by_name: HashMap<HostName, VecDeque<IpAddr>>,
    /// Every pair in the order it was last pinned.
    order: VecDeque<(HostName, IpAddr)>,
    len: usize,
}

impl NameTable {
    /// An empty table with its bounds.
    pub fn new(max_pins: usize, max_pins_per_name: usize) -> Self {
        Self {
            max_pins: max_pins.max(1),
            max_pins_per_name: max_pins_per_name.max(1),
            by_address: HashMap::new(),
            by_name: HashMap::new(),
            order: VecDeque::new(),
            len: 0,
        }
    }

    /// Pins `address` to `name` for `ttl` (see [`MIN_TTL`] and [`PIN_GRACE`]).
    pub fn pin(&mut self, name: &HostName, address: IpAddr, ttl: Duration, now: Instant) {
        let address = normalise(address);
        let expires = now + ttl.clamp(MIN_TTL, MAX_TTL) + PIN_GRACE;
        if let Some(pinned) = self.by_address.get_mut(&address).and_then(|names| names.get_mut(name)) {
            *pinned = expires.max(*pinned);
            return;
        }
        let full_name = self.by_name.get(name).filter(|list| list.len() >= self.max_pins_per_name);
        if let Some(oldest) = full_name.and_then(|list| list.front().copied()) {
            self.unpin(name, oldest);
        }
        while self.len >= self.max_pins {
            let Some((name, address)) = self.order.pop_front() else { break };
            self.unpin(&name, address);
        }
        self.by_address.entry(address).or_default().insert(name.clone(), expires);
        self.by_name.entry(name.clone()).or_default().push_back(address);
        self.order.push_back((name.clone(), address));
        self.len += 1;
        self.compact();
    }

    /// The names `address` is pinned to.
    pub fn names_of(&self, address: IpAddr, now: Instant) -> impl Iterator<Item = &HostName> {
        let names = self.by_address.get(&normalise(address));
        names.into_iter().flatten().filter(move |(_, expires)| **expires > now).map(|(name, _)| name)
    }

    /// Whether `address` is pinned to `name`.
    pub fn is_pinned(&self, name: &HostName, address: IpAddr, now: Instant) -> bool {
        let expires = self.by_address.get(&normalise(address)).and_then(|names| names.get(name));
        expires.is_some_and(|expires| *expires > now)
    }

    /// Removes what has expired.
    pub fn expire(&mut self, now: Instant) {
        let expired: Vec<(HostName, IpAddr)> = self
            .by_address
            .iter()
            .flat_map(|(address, names)| names.iter().map(move |(name, expires)| (name, *address, expires)))
            .filter(|(_, _, expires)| **expires <= now)
            .map(|(name, address, _)| (name.clone(), address))
            .collect();
        for (name, address) in expired {
            self.unpin(&name, address);
        }
    }

    /// The number of pins, expired ones included until they are removed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no pins.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn unpin(&mut self, name: &HostName, address: IpAddr) {
        let Some(names) = self.by_address.get_mut(&address) else { return };
        if names.remove(name).is_none() {
            return;
        }
        if names.is_empty() {
            self.by_address.remove(&address);
        }
        if let Some(list) = self.by_name.get_mut(name) {
            list.retain(|pinned| *pinned != address);
            if list.is_empty() {
                self.by_name.remove(name);
            }
        }
        self.len -= 1;
    }

    /// Pairs that were unpinned stay in `order` until it holds more of them than live ones.
    fn compact(&mut self) {
        const SLACK: usize = 64;
        if self.order.len() > 2 * self.len + SLACK {
            let by_address = &self.by_address;
            let mut seen = std::collections::HashSet::new();
            self.order.retain(|(name, address)| {
                by_address.get(address).is_some_and(|names| names.contains_key(name))
                    && seen.insert((name.clone(), *address))
            });
        }
    }
}
