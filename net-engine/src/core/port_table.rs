//! Which port of the guest has which socket, and whom it has sent to (RFC 4787).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::recency::{Ends, Recency};
use super::slots::Slots;

/// Ports below this are well-known (RFC 6335, section 6): what is asked there once is answered soon or
/// never, so that RFC 4787, REQ-5 (a), lets its mapping end sooner.
const FIRST_USER_PORT: u16 = 1024;

/// What a table may hold, each bound with the field of [`Limits`](net_core::Limits) it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Ports of the guest; the one that was not used for longest yields.
    pub(crate) max_mappings: (usize, &'static str),
    /// Peers of all of them.
    pub(crate) max_peers: (usize, &'static str),
    /// A peer with which nothing was exchanged.
    pub(crate) idle_timeout: Duration,
    /// One that was asked once, at a well-known port.
    pub(crate) exchange_timeout: Duration,
}

/// The guest's end and the far end, as the guest sees it.
type Ports = (SocketAddr, SocketAddr);

/// Ports of the guest with a state `M` each (their sockets), and for each the peers it has sent to,
/// with a state `P` each (what was decided of them).
///
/// A port has one mapping whatever it sends to, and what comes back must come from a peer:
/// endpoint-independent mapping, address and port-dependent filtering. A mapping lives as long as one
/// of its peers, a peer as long as something passes in either direction.
///
/// After any call that takes `&mut self`, drain [`poll_ended`](Self::poll_ended). Work per datagram is
/// constant; memory is bounded by its [`Bounds`].
pub(crate) struct PortTable<M, P> {
    bounds: Bounds,
    mappings: Slots<Mapping<M>>,
    by_guest: HashMap<SocketAddr, usize>,
    /// All mappings.
    mapping_use: Recency,
    mapping_list: Ends,
    peers: Slots<Peer<P>>,
    by_ports: HashMap<Ports, usize>,
    /// By the address the host sends to. Where two peers share one, the guest has sent to this one last.
    by_dialled: HashMap<Ports, usize>,
    /// All peers: each list is in the order of its deadlines.
    peer_use: Recency,
    exchanges: Ends,
    lasting: Ends,
    /// The peers of each mapping.
    own_use: Recency,
    ended: VecDeque<Ended<M, P>>,
    /// Mappings there have ever been.
    opened: u64,
}

struct Mapping<M> {
    guest: SocketAddr,
    state: M,
    peers: Ends,
    /// How many were opened before.
    nth: u64,
    /// Whether something has come for it, since it was last said to be [part of a flood](PortTable::note_flood).
    is_answered: bool,
}

struct Peer<P> {
    ports: Ports,
    dialled: SocketAddr,
    mapping: usize,
    state: P,
    used: Instant,
    /// Whether the guest has sent one datagram so far, to a well-known port.
    is_exchange: bool,
}

/// What is no more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended<M, P> {
    /// A port of the guest has no peer left.
    Mapping(M),
    /// Nothing comes back from a peer any more.
    Peer {
        state: P,
        /// The bound that made it yield, if one did.
        limit: Option<&'static str>,
    },
}

/// A peer the guest sends to.
pub(crate) struct Outbound<'t, M, P> {
    pub(crate) mapping: &'t mut M,
    pub(crate) peer: &'t mut P,
    /// Where the host sends it.
    pub(crate) dialled: SocketAddr,
    /// Whether the guest has sent once so far, to where a question and its answer may be all.
    pub(crate) is_exchange: bool,
}

impl<M, P> PortTable<M, P> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            mappings: Slots::new(),
            by_guest: HashMap::new(),
            mapping_use: Recency::default(),
            mapping_list: Ends::default(),
            peers: Slots::new(),
            by_ports: HashMap::new(),
            by_dialled: HashMap::new(),
            peer_use: Recency::default(),
            exchanges: Ends::default(),
            lasting: Ends::default(),
            own_use: Recency::default(),
            ended: VecDeque::new(),
            opened: 0,
        }
    }

    pub(crate) fn mapping_count(&self) -> usize {
        self.mappings.len()
    }

    pub(crate) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// The guest sends from `guest` to `upstream`; `None` when it must be [opened](Self::open) first.
    pub(crate) fn handle_egress(
        &mut self,
        guest: SocketAddr,
        upstream: SocketAddr,
        now: Instant,
    ) -> Option<Outbound<'_, M, P>> {
        let slot = *self.by_ports.get(&(guest, upstream))?;
        let peer = self.peers.get_mut(slot)?;
        if peer.is_exchange {
            peer.is_exchange = false;
            self.peer_use.remove(&mut self.exchanges, slot);
            self.peer_use.append(&mut self.lasting, slot);
        }
        self.by_dialled.insert((guest, peer.dialled), slot);
        self.touch(slot, now);
        self.outbound(slot)
    }

    /// Opens a peer, which the policy allows, and where the port has none yet, its mapping. The first
    /// datagram is taken as sent.
    pub(crate) fn open(
        &mut self,
        (guest, upstream): Ports,
        dialled: SocketAddr,
        peer: P,
        mapping: impl FnOnce() -> M,
        now: Instant,
    ) {
        self.end(guest, upstream);
        self.make_room_for_peer(guest);
        let owner = match self.by_guest.get(&guest) {
            Some(owner) => *owner,
            None => {
                while self.mappings.len() >= self.bounds.max_mappings.0.max(1) {
                    let Some(oldest) = self.mapping_list.oldest() else { break };
                    self.end_mapping(oldest, Some(self.bounds.max_mappings.1));
                }
                let (nth, is_answered) = (self.opened, false);
                self.opened += 1;
                let mapping = Mapping { guest, state: mapping(), peers: Ends::default(), nth, is_answered };
                let owner = self.mappings.insert(mapping);
                self.by_guest.insert(guest, owner);
                self.mapping_use.append(&mut self.mapping_list, owner);
                owner
            }
        };
        let is_exchange = upstream.port() < FIRST_USER_PORT;
        let ports = (guest, upstream);
        let entry = Peer { ports, dialled, mapping: owner, state: peer, used: now, is_exchange };
        let slot = self.peers.insert(entry);
        self.by_ports.insert(ports, slot);
        self.by_dialled.insert((guest, dialled), slot);
        let list = if is_exchange { &mut self.exchanges } else { &mut self.lasting };
        self.peer_use.append(list, slot);
        if let Some(mapping) = self.mappings.get_mut(owner) {
            self.own_use.append(&mut mapping.peers, slot);
        }
        self.touch(slot, now);
    }

    /// A peer, as [`handle_egress`](Self::handle_egress) gives it; nothing lives longer for it.
    pub(crate) fn outbound_to(
        &mut self,
        guest: SocketAddr,
        upstream: SocketAddr,
    ) -> Option<Outbound<'_, M, P>> {
        let slot = *self.by_ports.get(&(guest, upstream))?;
        self.outbound(slot)
    }

    /// The socket of `guest` has received something from `from`: the far end as the guest knows it.
    /// `None` where the guest has not sent there, or not for long.
    pub(crate) fn handle_ingress(
        &mut self,
        guest: SocketAddr,
        from: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        let slot = *self.by_dialled.get(&(guest, from))?;
        self.touch(slot, now);
        let owner = self.peers.get(slot).map(|peer| peer.mapping);
        if let Some(mapping) = owner.and_then(|owner| self.mappings.get_mut(owner)) {
            mapping.is_answered = true;
        }
        self.peers.get(slot).map(|peer| peer.ports.1)
    }

    /// Ports whose peers have answered, at most so many, and the oldest of them. Work is that of all mappings.
    pub(crate) fn answered_ports(&self, most: usize) -> Vec<u16> {
        let all = self.by_guest.values().filter_map(|owner| self.mappings.get(*owner));
        let mut answered: Vec<(u64, u16)> = all
            .filter(|mapping| mapping.is_answered)
            .map(|mapping| (mapping.nth, mapping.guest.port()))
            .collect();
        answered.sort_unstable();
        answered.truncate(most);
        answered.into_iter().map(|(_, port)| port).collect()
    }

    /// A port has sent more than it may: it counts as not answered, until it is again.
    pub(crate) fn note_flood(&mut self, guest: SocketAddr) {
        if let Some(mapping) = self.by_guest.get(&guest).and_then(|owner| self.mappings.get_mut(*owner)) {
            mapping.is_answered = false;
        }
    }

    /// Like [`handle_ingress`](Self::handle_ingress) for what is no datagram of the peer: nothing lives
    /// longer for it.
    pub(crate) fn peer_at(&self, guest: SocketAddr, dialled: SocketAddr) -> Option<SocketAddr> {
        let slot = *self.by_dialled.get(&(guest, dialled))?;
        self.peers.get(slot).map(|peer| peer.ports.1)
    }

    /// What was decided of the peer at an address.
    pub(crate) fn state_at(&self, guest: SocketAddr, dialled: SocketAddr) -> Option<&P> {
        let slot = *self.by_dialled.get(&(guest, dialled))?;
        self.peers.get(slot).map(|peer| &peer.state)
    }

    /// Ends a peer, if there is such a one.
    pub(crate) fn end(&mut self, guest: SocketAddr, upstream: SocketAddr) {
        if let Some(slot) = self.by_ports.get(&(guest, upstream)) {
            self.end_peer(*slot, None);
        }
    }

    /// Ends every peer that `keep` does not want any more.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(SocketAddr, SocketAddr, &mut P) -> bool) {
        let slots: Vec<usize> = self.by_ports.values().copied().collect();
        for slot in slots {
            let Some(peer) = self.peers.get_mut(slot) else { continue };
            let (guest, upstream) = peer.ports;
            if !keep(guest, upstream, &mut peer.state) {
                self.end_peer(slot, None);
            }
        }
    }

    /// Ends what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((deadline, slot)) = self.next_due() {
            if deadline > now {
                return;
            }
            self.end_peer(slot, None);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_due().map(|(deadline, _)| deadline)
    }

    /// What has ended since the last call; call until `None`.
    #[must_use]
    pub(crate) fn poll_ended(&mut self) -> Option<Ended<M, P>> {
        self.ended.pop_front()
    }

    fn next_due(&self) -> Option<(Instant, usize)> {
        let exchange = (&self.exchanges, self.bounds.exchange_timeout);
        let lasting = (&self.lasting, self.bounds.idle_timeout);
        let due = [exchange, lasting].into_iter().filter_map(|(list, patience)| {
            let slot = list.oldest()?;
            Some((self.peers.get(slot)?.used + patience, slot))
        });
        due.min()
    }

    fn make_room_for_peer(&mut self, guest: SocketAddr) {
        while self.peers.len() >= self.bounds.max_peers.0.max(1) {
            // A port that sends everywhere loses its own peers, not those of others; and not its last one,
            // with which its mapping would go.
            let own = self.by_guest.get(&guest).and_then(|owner| self.mappings.get(*owner));
            let own = own.filter(|mapping| !mapping.peers.is_single());
            let own = own.and_then(|mapping| mapping.peers.oldest());
            let Some(slot) = own.or_else(|| self.least_recent()) else { return };
            self.end_peer(slot, Some(self.bounds.max_peers.1));
        }
    }

    fn least_recent(&self) -> Option<usize> {
        let oldest = [self.exchanges.oldest(), self.lasting.oldest()].into_iter().flatten();
        oldest.min_by_key(|slot| self.peers.get(*slot).map(|peer| peer.used))
    }

    fn touch(&mut self, slot: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        peer.used = now;
        let list = if peer.is_exchange { &mut self.exchanges } else { &mut self.lasting };
        self.peer_use.touch(list, slot);
        self.mapping_use.touch(&mut self.mapping_list, peer.mapping);
        if let Some(mapping) = self.mappings.get_mut(peer.mapping) {
            self.own_use.touch(&mut mapping.peers, slot);
        }
    }

    fn outbound(&mut self, slot: usize) -> Option<Outbound<'_, M, P>> {
        let peer = self.peers.get_mut(slot)?;
        let mapping = self.mappings.get_mut(peer.mapping)?;
        let (dialled, is_exchange) = (peer.dialled, peer.is_exchange);
        Some(Outbound { mapping: &mut mapping.state, peer: &mut peer.state, dialled, is_exchange })
    }

    fn end_peer(&mut self, slot: usize, limit: Option<&'static str>) {
        let Some(peer) = self.peers.remove(slot) else { return };
        let (guest, _) = peer.ports;
        self.by_ports.remove(&peer.ports);
        if self.by_dialled.get(&(guest, peer.dialled)) == Some(&slot) {
            self.by_dialled.remove(&(guest, peer.dialled));
        }
        let list = if peer.is_exchange { &mut self.exchanges } else { &mut self.lasting };
        self.peer_use.remove(list, slot);
        self.ended.push_back(Ended::Peer { state: peer.state, limit });
        let Some(mapping) = self.mappings.get_mut(peer.mapping) else { return };
        self.own_use.remove(&mut mapping.peers, slot);
        if mapping.peers.oldest().is_none() {
            self.end_mapping(peer.mapping, None);
        }
    }

    /// Ends a mapping with its peers.
    fn end_mapping(&mut self, owner: usize, limit: Option<&'static str>) {
        while let Some(slot) = self.mappings.get(owner).and_then(|mapping| mapping.peers.oldest()) {
            // The last one takes the mapping along.
            self.end_peer(slot, limit);
        }
        if let Some(mapping) = self.mappings.remove(owner) {
            self.mapping_use.remove(&mut self.mapping_list, owner);
            self.by_guest.remove(&mapping.guest);
            self.ended.push_back(Ended::Mapping(mapping.state));
        }
    }
}

#[cfg(test)]
mod tests;
