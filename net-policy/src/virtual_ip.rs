use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use net_core::{AddressClass, HostName};
use thiserror::Error;

use crate::MIN_TTL;

/// Where addresses that stand for names come from: prefixes that nobody on the internet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualPools {
    ipv4: Ipv4Net,
    ipv6: Ipv6Net,
}

/// Why prefixes make no [`VirtualPools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VirtualPoolError {
    /// Text that is not an IPv4 prefix and an IPv6 one.
    #[error("addresses of names come from an ipv4 and an ipv6 prefix, such as 198.18.0.0/15 and fd00:1::/64")]
    Malformed,
    /// Somebody may be reached there: it is neither private nor for benchmarks.
    #[error("addresses of names come from a private prefix or one for benchmarks, not from {0}")]
    Foreign(IpNet),
    /// There is no room for one name.
    #[error("{0} has no room for the address of a name")]
    TooSmall(IpNet),
    /// The guest's own link is in it, or it in the link.
    #[error("addresses of names come from {0}, which overlaps the guest's own link")]
    OnLink(IpNet),
}

/// Prefixes a pool may lie in: RFC 2544, RFC 1918, RFC 6598; RFC 4193, RFC 5180.
const FREE: [&str; 7] = [
    "198.18.0.0/15",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
    "2001:2::/48",
];

impl Default for VirtualPools {
    /// 198.18.0.0/15, which RFC 2544 keeps for benchmarks, and fd6e:6574:1::/64, a unique local prefix beside
    /// those of the guests' links.
    fn default() -> Self {
        Self {
            ipv4: Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
            ipv6: Ipv6Net::new_assert(Ipv6Addr::new(0xfd6e, 0x6574, 1, 0, 0, 0, 0, 0), 64),
        }
    }
}

impl VirtualPools {
    /// Pools of these prefixes.
    ///
    /// # Errors
    /// [`VirtualPoolError::Foreign`] or [`TooSmall`](VirtualPoolError::TooSmall) for the first that is none.
    pub fn new(ipv4: Ipv4Net, ipv6: Ipv6Net) -> Result<Self, VirtualPoolError> {
        for pool in [IpNet::V4(ipv4), IpNet::V6(ipv6)] {
            let mut free = FREE.iter().filter_map(|text| text.parse::<IpNet>().ok());
            if !free.any(|free| free.contains(&pool)) {
                return Err(VirtualPoolError::Foreign(pool));
            }
            if pool.max_prefix_len() - pool.prefix_len() < 2 {
                return Err(VirtualPoolError::TooSmall(pool));
            }
        }
        Ok(Self { ipv4: ipv4.trunc(), ipv6: ipv6.trunc() })
    }

    /// Pools of these prefixes, as they are written.
    ///
    /// # Errors
    /// [`VirtualPoolError::Malformed`], and those of [`new`](Self::new).
    pub fn parse(ipv4: &str, ipv6: &str) -> Result<Self, VirtualPoolError> {
        match (ipv4.parse(), ipv6.parse()) {
            (Ok(ipv4), Ok(ipv6)) => Self::new(ipv4, ipv6),
            (Err(_), _) | (_, Err(_)) => Err(VirtualPoolError::Malformed),
        }
    }

    /// Checks that a link's prefix, given by an address of it, is another.
    ///
    /// # Errors
    /// [`VirtualPoolError::OnLink`].
    pub fn check_link(&self, address: IpAddr, prefix_len: u8) -> Result<(), VirtualPoolError> {
        let Ok(link) = IpNet::new(address, prefix_len) else { return Ok(()) };
        let overlaps = |pool: &IpNet| pool.contains(&link) || link.contains(pool);
        match [self.ipv4.into(), self.ipv6.into()].into_iter().find(overlaps) {
            Some(pool) => Err(VirtualPoolError::OnLink(pool)),
            None => Ok(()),
        }
    }

    /// Whether `address` is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.ipv4.contains(&v4),
            IpAddr::V6(v6) => self.ipv6.contains(&v6),
        }
    }

    /// The pair at a place, counted from 1; `None` behind the last. The first and the last address of a
    /// prefix mean the network and all of it to some hosts.
    fn pair(&self, place: u32) -> Option<VirtualPair> {
        let ipv4 = self.ipv4.network().to_bits().checked_add(place)?;
        let ipv6 = self.ipv6.network().to_bits().checked_add(place.into())?;
        let is_inside = ipv4 < self.ipv4.broadcast().to_bits() && ipv6 < self.ipv6.broadcast().to_bits();
        is_inside.then(|| VirtualPair { ipv4: ipv4.into(), ipv6: ipv6.into() })
    }
}

/// The addresses that stand for one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VirtualPair {
    /// In answers to questions for A.
    pub ipv4: Ipv4Addr,
    /// In answers to questions for AAAA.
    pub ipv6: Ipv6Addr,
}

/// Why a name has no addresses of its own: all are in use, or may still be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("every address for names is in use")]
pub struct Exhausted;

/// Which addresses stand for which names: each name has a pair of its own, drawn in order.
///
/// An address means no other name while a flow [holds](Self::hold) it, nor before the last answer with it
/// is past its TTL and the grace, nor for the grace after the last flow. Then, and only when no address is
/// left that never meant one, the name that was idle for longest yields. Bounded by `max_names` and the
/// pools; work per call is logarithmic.
#[derive(Debug)]
pub struct VirtualAddresses {
    pools: VirtualPools,
    max_names: usize,
    grace: Duration,
    by_name: HashMap<HostName, usize>,
    by_address: HashMap<IpAddr, usize>,
    entries: Vec<Entry>,
    /// Entries that nobody holds, by when they may mean another name.
    idle: BTreeMap<Idle, usize>,
    /// The place of the pair to draw next; `None` behind the last.
    next_place: Option<u32>,
    next_age: u64,
}

/// When an entry may yield, and in which order those of one moment do.
type Idle = (Instant, u64);

#[derive(Debug)]
struct Entry {
    name: HostName,
    pair: VirtualPair,
    holders: usize,
    /// Its key in `idle`, while nobody holds it; else what it will be at least.
    idle: Idle,
}

impl VirtualAddresses {
    /// An empty table. `grace` is how long addresses are remembered past their TTL, as that of
    /// [`NameTable`](crate::NameTable).
    pub fn new(pools: VirtualPools, max_names: usize, grace: Duration) -> Self {
        Self {
            pools,
            max_names,
            grace,
            by_name: HashMap::new(),
            by_address: HashMap::new(),
            entries: Vec::new(),
            idle: BTreeMap::new(),
            next_place: Some(1),
            next_age: 0,
        }
    }

    /// Whether `address` is of the pools: it means a name, or nothing.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.pools.contains(address)
    }

    /// The name an address stands for.
    pub fn name_of(&self, address: IpAddr) -> Option<&HostName> {
        let entry = self.entries.get(*self.by_address.get(&address)?)?;
        Some(&entry.name)
    }

    /// The addresses of a name, which is about to be answered with them for `ttl`.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn address_of(
        &mut self,
        name: &HostName,
        ttl: Duration,
        now: Instant,
    ) -> Result<VirtualPair, Exhausted> {
        let slot = match self.by_name.get(name) {
            Some(slot) => *slot,
            None => self.assign(name, now)?,
        };
        let until = now + ttl.max(MIN_TTL) + self.grace;
        self.delay(slot, until);
        self.entries.get(slot).map(|entry| entry.pair).ok_or(Exhausted)
    }

    /// Notes that a flow to an address lives, until it is [released](Self::release) as often.
    pub fn hold(&mut self, address: IpAddr) {
        let Some(slot) = self.by_address.get(&address) else { return };
        let Some(entry) = self.entries.get_mut(*slot) else { return };
        entry.holders += 1;
        self.idle.remove(&entry.idle);
    }

    /// Undoes one [`hold`](Self::hold).
    pub fn release(&mut self, address: IpAddr, now: Instant) {
        let Some(slot) = self.by_address.get(&address).copied() else { return };
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let Some(holders) = entry.holders.checked_sub(1) else { return };
        entry.holders = holders;
        self.delay(slot, now + self.grace);
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no name has addresses.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An entry yields no sooner than `until`, and after those that yield then.
    fn delay(&mut self, slot: usize, until: Instant) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        self.idle.remove(&entry.idle);
        entry.idle = (entry.idle.0.max(until), self.next_age);
        self.next_age += 1;
        if entry.holders == 0 {
            self.idle.insert(entry.idle, slot);
        }
    }

    fn assign(&mut self, name: &HostName, now: Instant) -> Result<usize, Exhausted> {
        let slot = match self.draw() {
            Some(pair) => {
                let slot = self.entries.len();
                self.by_address.insert(pair.ipv4.into(), slot);
                self.by_address.insert(pair.ipv6.into(), slot);
                let idle = (now, self.next_age);
                self.entries.push(Entry { name: name.clone(), pair, holders: 0, idle });
                slot
            }
            None => {
                let ((from, _), slot) = self.idle.first_key_value().ok_or(Exhausted)?;
                let entry = self.entries.get_mut(*slot).filter(|_| *from <= now).ok_or(Exhausted)?;
                let previous = std::mem::replace(&mut entry.name, name.clone());
                self.by_name.remove(&previous);
                *slot
            }
        };
        self.by_name.insert(name.clone(), slot);
        Ok(slot)
    }

    /// The next pair that never meant a name.
    fn draw(&mut self) -> Option<VirtualPair> {
        if self.entries.len() >= self.max_names {
            return None;
        }
        loop {
            let place = self.next_place?;
            let pair = self.pools.pair(place);
            self.next_place = pair.and_then(|_| place.checked_add(1));
            let pair = pair?;
            // Some clouds keep theirs in a private prefix; what leads there must not look like it.
            let is_metadata = |address: IpAddr| AddressClass::of(address) == AddressClass::Metadata;
            if !is_metadata(pair.ipv4.into()) && !is_metadata(pair.ipv6.into()) {
                return Some(pair);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRACE: Duration = Duration::from_secs(60);
    const TTL: Duration = Duration::from_secs(30);

    fn name(index: usize) -> HostName {
        format!("n{index}.example").parse().unwrap()
    }

    fn pools(ipv4: &str, ipv6: &str) -> Result<VirtualPools, VirtualPoolError> {
        VirtualPools::parse(ipv4, ipv6)
    }

    /// Two names have room.
    fn small() -> VirtualAddresses {
        VirtualAddresses::new(pools("198.18.0.0/30", "fd00:1::/120").unwrap(), 100, GRACE)
    }

    #[allow(clippy::disallowed_methods, reason = "a test needs some moment to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_pool_lies_where_nobody_is_reached() {
        use VirtualPoolError as E;
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let cases = [
            ("198.18.0.0/15", "fd6e:6574:1::/64", Ok(())),
            ("10.1.0.0/16", "2001:2::/64", Ok(())),
            ("10.1.0.0", "fd00::/64", Err(E::Malformed)),
            ("fd00::/64", "10.1.0.0/16", Err(E::Malformed)),
            ("8.8.8.0/24", "fd00::/64", Err(E::Foreign(net("8.8.8.0/24")))),
            ("0.0.0.0/0", "fd00::/64", Err(E::Foreign(net("0.0.0.0/0")))),
            ("198.18.0.0/14", "fd00::/64", Err(E::Foreign(net("198.18.0.0/14")))),
            ("127.0.0.0/8", "fd00::/64", Err(E::Foreign(net("127.0.0.0/8")))),
            ("10.0.0.0/8", "2606:4700::/64", Err(E::Foreign(net("2606:4700::/64")))),
            ("10.0.0.0/31", "fd00::/64", Err(E::TooSmall(net("10.0.0.0/31")))),
            ("10.0.0.0/30", "fd00::/127", Err(E::TooSmall(net("fd00::/127")))),
        ];
        for (ipv4, ipv6, expected) in cases {
            assert_eq!(pools(ipv4, ipv6).map(|_| ()), expected, "{ipv4} {ipv6}");
        }
        let default = VirtualPools::default();
        assert_eq!(VirtualPools::new(default.ipv4, default.ipv6), Ok(default));
    }

    #[test]
    fn a_pool_is_not_the_guest_s_own_link() {
        let pools = pools("10.0.0.0/16", "fd00:1::/64").unwrap();
        let check = |address: &str, prefix_len| pools.check_link(address.parse().unwrap(), prefix_len);
        assert_eq!(check("172.16.0.2", 30), Ok(()));
        assert_eq!(check("fd00:2::2", 64), Ok(()));
        let v4 = Err(VirtualPoolError::OnLink("10.0.0.0/16".parse().unwrap()));
        assert_eq!(check("10.0.3.2", 30), v4);
        assert_eq!(check("10.200.0.2", 8), v4);
        assert_eq!(check("fd00:1::2", 126), Err(VirtualPoolError::OnLink("fd00:1::/64".parse().unwrap())));
    }

    #[test]
    fn addresses_are_drawn_in_order_and_never_a_metadata_service_s() {
        let now = start();
        let mut table = VirtualAddresses::new(VirtualPools::default(), 10, GRACE);
        let first = table.address_of(&name(0), TTL, now).unwrap();
        let second = table.address_of(&name(1), TTL, now).unwrap();
        assert_eq!((first.ipv4, second.ipv4), ([198, 18, 0, 1].into(), [198, 18, 0, 2].into()));
        assert_eq!(second.ipv6, "fd6e:6574:1::2".parse::<Ipv6Addr>().unwrap());
        assert_eq!(table.address_of(&name(0), TTL, now), Ok(first));
        assert_eq!(table.name_of(first.ipv6.into()), Some(&name(0)));
        assert_eq!(table.name_of([198, 18, 0, 3].into()), None);
        // fd00:ec2::23 and ::254 are AWS's.
        let mut table = VirtualAddresses::new(pools("10.0.0.0/16", "fd00:ec2::/64").unwrap(), 1_000, GRACE);
        for index in 0..1_000 {
            let pair = table.address_of(&name(index), TTL, now).unwrap();
            assert_ne!(AddressClass::of(pair.ipv6.into()), AddressClass::Metadata);
        }
        assert!(table.name_of("fd00:ec2::24".parse().unwrap()).is_some());
    }

    #[test]
    fn the_name_that_was_idle_for_longest_yields_and_only_when_nobody_may_know_its_address() {
        let (mut table, began) = (small(), start());
        let at = |seconds| began + Duration::from_secs(seconds);
        let first = table.address_of(&name(0), TTL, at(0)).unwrap();
        let second = table.address_of(&name(1), TTL, at(1)).unwrap();
        assert_eq!(table.address_of(&name(2), TTL, at(89)), Err(Exhausted));
        // Answered again, it is remembered again.
        assert_eq!(table.address_of(&name(0), TTL, at(80)), Ok(first));
        table.hold(second.ipv6.into());
        table.hold(second.ipv4.into());
        assert_eq!(table.address_of(&name(2), TTL, at(169)), Err(Exhausted));
        assert_eq!(table.address_of(&name(2), TTL, at(170)), Ok(first));
        assert_eq!(table.name_of(first.ipv4.into()), Some(&name(2)));
        table.release(second.ipv4.into(), at(500));
        assert_eq!(table.address_of(&name(3), TTL, at(900)), Ok(first));
        // Held once more, and for the grace after that.
        assert_eq!(table.address_of(&name(4), TTL, at(901)), Err(Exhausted));
        table.release(second.ipv6.into(), at(902));
        assert_eq!(table.address_of(&name(4), TTL, at(961)), Err(Exhausted));
        assert_eq!(table.address_of(&name(4), TTL, at(962)), Ok(second));
        assert_eq!(table.len(), 2);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Answer(usize, u64),
        Hold(usize),
        Release(usize),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..8usize, 0..90u64).prop_map(|(name, ttl)| Step::Answer(name, ttl)),
            2 => (0..8usize).prop_map(Step::Hold),
            2 => (0..8usize).prop_map(Step::Release),
            2 => (0..200u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// The model remembers of each address what it last meant, until when an answer with it may be
        /// remembered, and how many flows there are.
        #[test]
        fn an_address_never_means_two_names_while_anybody_may_use_it(
            steps in proptest::collection::vec(step(), 0..200),
            max_names in 1..5usize,
        ) {
            let mut now = start();
            let pools = pools("198.18.0.0/29", "fd00:1::/120").unwrap();
            let mut table = VirtualAddresses::new(pools, max_names, GRACE);
            let mut model: HashMap<IpAddr, (usize, Instant, usize)> = HashMap::new();
            for step in steps {
                match step {
                    Step::Answer(index, ttl) => {
                        let ttl = Duration::from_secs(ttl);
                        let has_own = model.values().any(|(known, _, _)| *known == index);
                        let Ok(pair) = table.address_of(&name(index), ttl, now) else {
                            // Refused only where every address is taken.
                            prop_assert!(!has_own && model.len() == 2 * max_names);
                            // Flows are to the IPv4 one of each pair.
                            let mut own = model.iter().filter(|(address, _)| address.is_ipv4());
                            prop_assert!(own.all(|(_, (_, until, held))| *held > 0 || *until > now));
                            continue;
                        };
                        let until = now + ttl.max(MIN_TTL) + GRACE;
                        for address in [IpAddr::from(pair.ipv4), pair.ipv6.into()] {
                            let known = model.entry(address).or_insert((index, until, 0));
                            if known.0 != index {
                                prop_assert!(known.1 <= now && known.2 == 0, "{address} meant another name");
                                *known = (index, until, 0);
                            }
                            known.1 = known.1.max(until);
                        }
                    }
                    Step::Hold(index) => {
                        let address = [198, 18, 0, u8::try_from(index).unwrap()].into();
                        table.hold(address);
                        model.entry(address).and_modify(|known| known.2 += 1);
                    }
                    Step::Release(index) => {
                        let address = [198, 18, 0, u8::try_from(index).unwrap()].into();
                        if let Some(known) = model.get_mut(&address).filter(|known| known.2 > 0) {
                            table.release(address, now);
                            known.1 = known.1.max(now + GRACE);
                            known.2 -= 1;
                        }
                    }
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                for (address, (index, _, _)) in &model {
                    prop_assert_eq!(table.name_of(*address), Some(&name(*index)));
                }
                prop_assert!(table.len() <= max_names);
            }
        }
    }
}
