use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use net_core::{HostName, Limits, normalise};

/// Names one address may have. A site shares its addresses among many; a guest that asks for one name
/// after the other below a domain of its own must not make each decision slow: so many names take some
/// 30 µs (`decide/names_of_address/256` of the bench).
const MAX_NAMES_PER_ADDRESS: usize = 256;

/// A pin lives at least this long: a TTL of 0 still allows the connection it was asked for.
pub const MIN_TTL: Duration = Duration::from_secs(1);

/// Longest TTL believed, and the longest grace, so that nothing pins an address for ever.
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Which addresses our resolver gave for which names.
///
/// Bounded: at most `max_pins` pairs, `max_pins_per_name` addresses of a name and 256 names of an
/// address; the one that was given longest ago yields.
///
/// A pin holds for the address as it was given. That an IPv4-mapped or NAT64 address (RFC 6052) is the
/// one inside is the translation's whole point, so these are one with it; 6to4 and Teredo (RFC 3056,
/// RFC 4380) carry an address that somebody else may have written there, so for them a pin of the
/// inner address only serves to deny.
#[derive(Debug)]
pub struct NameTable {
    max_pins: usize,
    max_pins_per_name: usize,
    grace: Duration,
    by_address: HashMap<IpAddr, HashMap<HostName, Pin>>,
    /// The addresses of each name, by the age of their pins.
    by_name: HashMap<HostName, BTreeMap<Age, IpAddr>>,
    /// Flows that live by the pins of an address; an address without them is not in it.
    holders: HashMap<IpAddr, usize>,
    /// Every pair, by the age of its pin.
    by_age: BTreeMap<Age, (HostName, IpAddr)>,
    next_age: Age,
}

/// Counts up with every pin.
type Age = u64;

#[derive(Clone, Copy, Debug)]
struct Pin {
    expires: Instant,
    age: Age,
    /// The address that a translator reaches it by, where it was given as one.
    translation: Option<Ipv6Addr>,
}

impl NameTable {
    /// An empty table with its bounds, and the default of [`Limits::pin_grace`].
    pub fn new(max_pins: usize, max_pins_per_name: usize) -> Self {
        Self {
            grace: Limits::default().pin_grace,
            max_pins: max_pins.max(1),
            max_pins_per_name: max_pins_per_name.max(1),
            by_address: HashMap::new(),
            by_name: HashMap::new(),
            holders: HashMap::new(),
            by_age: BTreeMap::new(),
            next_age: 0,
        }
    }

    /// The same table, whose pins outlive their TTL by this much, at most 24 h: JVMs, Go programs and
    /// browsers cache longer than they were told, and would be denied what they were allowed a moment ago.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace: grace.min(MAX_TTL), ..self }
    }

    /// Pins `address` to `name` for `ttl` (at least [`MIN_TTL`], at most 24 h) and the grace.
    pub fn pin(&mut self, name: &HostName, address: IpAddr, ttl: Duration, now: Instant) {
        let given = address;
        let address = translated(address);
        let expires = now + ttl.clamp(MIN_TTL, MAX_TTL) + self.grace;
        // A pin that is given again is the youngest, and never expires sooner than it would have.
        let before = self.unpin(name, address);
        let expires = before.map_or(expires, |pin| pin.expires.max(expires));
        let translation = match given {
            IpAddr::V6(v6) if given != address => Some(v6),
            IpAddr::V6(_) | IpAddr::V4(_) => before.and_then(|pin| pin.translation),
        };
        let full_name = self.by_name.get(name).filter(|pinned| pinned.len() >= self.max_pins_per_name);
        if let Some(oldest) = full_name.and_then(|pinned| pinned.values().next().copied()) {
            self.unpin(name, oldest);
        }
        let full_address = self.by_address.get(&address).filter(|names| names.len() >= MAX_NAMES_PER_ADDRESS);
        let oldest = full_address.and_then(|names| names.iter().min_by_key(|(_, pin)| pin.age));
        if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
            self.unpin(&oldest, address);
        }
        while self.by_age.len() >= self.max_pins {
            let Some((name, address)) = self.by_age.values().next().cloned() else { break };
            self.unpin(&name, address);
        }
        let age = self.next_age;
        self.next_age += 1;
        self.by_address.entry(address).or_default().insert(name.clone(), Pin { expires, age, translation });
        self.by_name.entry(name.clone()).or_default().insert(age, address);
        self.by_age.insert(age, (name.clone(), address));
    }

    /// The names `address`, or the address inside it, is pinned to.
    pub fn names_of(&self, address: IpAddr, now: Instant) -> impl Iterator<Item = &HostName> {
        self.pins_of(address, normalise(address), now).map(|(name, _)| name)
    }

    /// The names of `address`, each with whether it is pinned to the address itself, and those of the
    /// address `inner` it.
    pub(crate) fn pins_of(
        &self,
        address: IpAddr,
        inner: IpAddr,
        now: Instant,
    ) -> impl Iterator<Item = (&HostName, bool)> {
        let own = translated(address);
        let inner = (inner != own).then_some((inner, false));
        [Some((own, true)), inner].into_iter().flatten().flat_map(move |(key, is_own)| {
            let names = self.by_address.get(&key).into_iter().flatten();
            names.filter(move |(_, pin)| self.is_live(&key, pin, now)).map(move |(name, _)| (name, is_own))
        })
    }

    /// Whether `address` is pinned to `name`.
    pub fn is_pinned(&self, name: &HostName, address: IpAddr, now: Instant) -> bool {
        let address = translated(address);
        let pin = self.by_address.get(&address).and_then(|names| names.get(name));
        pin.is_some_and(|pin| self.is_live(&address, pin, now))
    }

    /// The addresses that are pinned to `name`, the one that was given last first; of those that a
    /// translator reaches, both.
    pub fn addresses_of(&self, name: &HostName, now: Instant) -> impl Iterator<Item = IpAddr> {
        let pinned = self.by_name.get(name).into_iter().flat_map(|pinned| pinned.values().rev());
        pinned.flat_map(move |address| {
            let pin = self.by_address.get(address).and_then(|names| names.get(name));
            let live = pin.filter(|pin| self.is_live(address, pin, now));
            let translation = live.and_then(|pin| pin.translation).map(IpAddr::V6);
            live.map(|_| *address).into_iter().chain(translation)
        })
    }

    fn is_live(&self, address: &IpAddr, pin: &Pin, now: Instant) -> bool {
        pin.expires > now || self.holders.contains_key(address)
    }

    /// Keeps the pins of an address from expiring until it is [released](Self::release) as often: a flow
    /// that was decided by them lives, and is decided by them again. They may still yield to younger ones.
    pub fn hold(&mut self, address: IpAddr) {
        *self.holders.entry(translated(address)).or_default() += 1;
    }

    /// Undoes one [`hold`](Self::hold).
    pub fn release(&mut self, address: IpAddr) {
        let address = translated(address);
        if let Some(holders) = self.holders.get_mut(&address) {
            *holders -= 1;
            if *holders == 0 {
                self.holders.remove(&address);
            }
        }
    }

    /// Removes what has expired.
    pub fn expire(&mut self, now: Instant) {
        let expired: Vec<(HostName, IpAddr)> = self
            .by_address
            .iter()
            .flat_map(|(address, names)| names.iter().map(move |(name, pin)| (name, *address, pin)))
            .filter(|(_, address, pin)| !self.is_live(address, pin, now))
            .map(|(name, address, _)| (name.clone(), address))
            .collect();
        for (name, address) in expired {
            self.unpin(&name, address);
        }
    }

    /// The number of pins, expired ones included until they are removed.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether there are no pins.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    fn unpin(&mut self, name: &HostName, address: IpAddr) -> Option<Pin> {
        let names = self.by_address.get_mut(&address)?;
        let pin = names.remove(name)?;
        if names.is_empty() {
            self.by_address.remove(&address);
        }
        if let Some(pinned) = self.by_name.get_mut(name) {
            pinned.remove(&pin.age);
            if pinned.is_empty() {
                self.by_name.remove(name);
            }
        }
        self.by_age.remove(&pin.age);
        Some(pin)
    }
}

/// The address that is reached by way of `address`, where a translator reaches it (RFC 4291, section
/// 2.5.5.2; RFC 6052).
fn translated(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let is_translation =
        v6.to_ipv4_mapped().is_some() || matches!(v6.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..]);
    if is_translation { normalise(address) } else { address }
}
