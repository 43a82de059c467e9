//! Ports of UDP that are published: who sends there, and what the guest answers them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use net_core::{Flow, Limits, Protocol};

use super::super::host_socket::{HostSocket, SendError};
use super::super::receiver::{Batch, Receiver};
use super::super::seldom::Seldom;
use super::batch::{self, Ends, Heard, Peers};
use super::{State, Udp};
use crate::core::{Passage, Undelivery};
use crate::guest::{Context, Event, PublicationId};

/// Ports tried where the one of a peer is taken, or is one that the guest's answers would not come back from.
const MAX_PORTS: u16 = 64;

/// Ports that are given to nobody else (RFC 6335, section 6).
const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// How long a port that was part of a flood is treated as one that is.
const FLOOD_IS_OVER: Duration = Duration::from_secs(5);

/// What is sent there is a question for our resolver, whoever asks it.
const DNS_PORT: u16 = 53;

/// The published ports, and who has sent there: each peer is remembered from its first datagram that the rules let
/// in until none has passed for [`Limits::udp_idle_timeout`], and there are
/// [`Limits::max_udp_peers`] of them at most; the one that was not used for longest yields.
pub(super) struct Published {
    ports: HashMap<PublicationId, Port>,
    by_ends: HashMap<Ends, Peer>,
    by_peer: HashMap<(PublicationId, SocketAddr), Ends>,
    /// In the order they were used.
    by_use: BTreeMap<Use, Ends>,
    uses: u64,
    max_peers: usize,
    idle_timeout: Duration,
    next_port: u16,
}

/// When a peer was used, and which use of all that was.
type Use = (Instant, u64);

struct Port {
    receiver: Receiver,
    guest_port: u16,
    denials: Seldom,
    yields: Seldom,
    /// When the guest last sent more from there than it may, to others than those who have sent to the port.
    flooded: Option<Instant>,
}

struct Peer {
    publication: PublicationId,
    /// Where it is, as the socket has it.
    address: SocketAddr,
    last_use: Use,
}

impl Published {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            ports: HashMap::new(),
            by_ends: HashMap::new(),
            by_peer: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            max_peers: limits.max_udp_peers.max(1),
            idle_timeout: limits.udp_idle_timeout,
            next_port: FIRST_DYNAMIC_PORT,
        }
    }

    pub(super) fn peer_count(&self) -> usize {
        self.by_ends.len()
    }

    /// The guest's ports that are published and are no part of a flood, in rising order.
    pub(super) fn guest_ports(&self, now: Instant) -> Vec<u16> {
        let is_quiet = |port: &&Port| port.flooded.is_none_or(|at| now >= at + FLOOD_IS_OVER);
        let mut ports: Vec<u16> = self.ports.values().filter(is_quiet).map(|port| port.guest_port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// A port of the guest has sent more than it may. Work is that of all published ports.
    pub(super) fn note_flood(&mut self, guest_port: u16, now: Instant) {
        for port in self.ports.values_mut().filter(|port| port.guest_port == guest_port) {
            port.flooded = Some(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ((used, _), _) = self.by_use.first_key_value()?;
        Some(*used + self.idle_timeout)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.end_oldest();
        }
    }

    /// Closes a port, and forgets who has sent there; whether it was served.
    pub(super) fn withdraw(&mut self, id: PublicationId) -> bool {
        let was_served = self.ports.remove(&id).is_some();
        self.retain(|_, peer| peer.publication != id);
        was_served
    }

    /// Forgets whom a new policy does not let in; how many those were.
    pub(super) fn policy_changed(&mut self, context: &Context) -> usize {
        self.retain(|(guest, _), peer| {
            let from = peer.address.ip().to_canonical();
            let decided = context.decide_inbound(Protocol::Udp, from, guest.port());
            if let Err(decision) = &decided {
                context.report_inbound_denial(from, guest.port(), decision);
            }
            decided.is_ok()
        })
    }

    /// The socket by which a peer is answered, and where it is; `None` where the guest's datagram is for none.
    fn handle_egress(&mut self, flow: &Flow, now: Instant) -> Option<(&Receiver, SocketAddr)> {
        let ends = (flow.guest, flow.upstream);
        let peer = self.by_ends.get(&ends)?;
        let (address, publication) = (peer.address, peer.publication);
        self.touch(ends, now);
        let port = self.ports.get(&publication)?;
        Some((&port.receiver, address))
    }

    /// Whom a datagram to a published port is from, as the guest sees it; `None` where it is not let in.
    fn handle_ingress(
        &mut self,
        context: &Context,
        id: PublicationId,
        from: SocketAddr,
        now: Instant,
    ) -> Option<Ends> {
        if let Some(ends) = self.by_peer.get(&(id, from)).copied() {
            self.touch(ends, now);
            return Some(ends);
        }
        let port = self.ports.get(&id)?;
        let guest_port = port.guest_port;
        // A socket of both families has those of IPv4 in the words of IPv6.
        let peer = SocketAddr::new(from.ip().to_canonical(), from.port());
        if let Err(decision) = context.decide_inbound(Protocol::Udp, peer.ip(), guest_port) {
            if port.denials.is_due(now) {
                context.report_inbound_denial(peer.ip(), guest_port, &decision);
            }
            return None;
        }
        // Of its own family where the guest has an address of that.
        let flow = context.inbound_flows(Protocol::Udp, Some(peer), guest_port).into_iter().next()?;
        let ends = (flow.guest, self.free(flow.guest, flow.upstream)?);
        let is_full = self.by_ends.len() >= self.max_peers;
        // Who comes while others yield for it is told of as seldom as they are.
        let is_told = !is_full || self.ports.get(&id)?.yields.is_due(now);
        if is_full {
            self.end_oldest();
        }
        if is_full && is_told {
            context.events.push(Event::LimitReached { limit: "max_udp_peers" });
        }
        self.uses += 1;
        let last_use = (now, self.uses);
        self.by_use.insert(last_use, ends);
        self.by_peer.insert((id, from), ends);
        self.by_ends.insert(ends, Peer { publication: id, address: from, last_use });
        if is_told {
            context.report_inbound(peer.ip(), guest_port);
        }
        Some(ends)
    }

    /// A peer's address with its own port, or another where that one is of no use.
    fn free(&mut self, guest: SocketAddr, mut shown: SocketAddr) -> Option<SocketAddr> {
        for _ in 0..MAX_PORTS {
            let is_free = !matches!(shown.port(), 0 | DNS_PORT);
            if is_free && !self.by_ends.contains_key(&(guest, shown)) {
                return Some(shown);
            }
            shown.set_port(self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
        }
        None
    }

    fn touch(&mut self, ends: Ends, now: Instant) {
        let Some(peer) = self.by_ends.get_mut(&ends) else { return };
        self.by_use.remove(&peer.last_use);
        self.uses += 1;
        peer.last_use = (now, self.uses);
        self.by_use.insert(peer.last_use, ends);
    }

    fn end_oldest(&mut self) {
        let Some((_, ends)) = self.by_use.pop_first() else { return };
        if let Some(peer) = self.by_ends.remove(&ends) {
            self.by_peer.remove(&(peer.publication, peer.address));
        }
    }

    fn retain(&mut self, mut stays: impl FnMut(&Ends, &Peer) -> bool) -> usize {
        let before = self.by_ends.len();
        let Self { by_ends, by_peer, by_use, .. } = self;
        by_ends.retain(|ends, peer| {
            let stays = stays(ends, peer);
            if !stays {
                by_peer.remove(&(peer.publication, peer.address));
                by_use.remove(&peer.last_use);
            }
            stays
        });
        before - by_ends.len()
    }
}

impl Udp {
    /// Serves a port of the guest's from now on, by a socket that is bound.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn publish(
        self: &Rc<Self>,
        id: PublicationId,
        socket: UdpSocket,
        guest_port: u16,
    ) -> io::Result<()> {
        let own = Rc::clone(self);
        let socket = HostSocket::bound(socket)?;
        let receiver =
            Receiver::serve(socket, self.context.stack.clone(), move |socket| take_batch(&own, socket, id));
        self.state().published.ports.insert(
            id,
            Port {
                receiver,
                guest_port,
                denials: Seldom::default(),
                yields: Seldom::default(),
                flooded: None,
            },
        );
        Ok(())
    }

    /// Closes a port; whether it was served.
    pub(crate) fn withdraw(&self, id: PublicationId) -> bool {
        self.state().published.withdraw(id)
    }
}

impl State {
    /// Answers a peer of a published port; `None` where the guest's datagram is for none.
    pub(super) fn answer(
        &mut self,
        flow: &Flow,
        payload: &[u8],
        passage: Passage,
        now: Instant,
    ) -> Option<Result<(), Undelivery>> {
        let (receiver, address) = self.published.handle_egress(flow, now)?;
        if self.outbox.join(flow, payload, passage) {
            return Some(Ok(()));
        }
        self.outbox.flush(&mut self.counters);
        if self.outbox.begin(receiver.socket(), flow, payload, (address, passage), false) {
            return Some(Ok(()));
        }
        match receiver.send(payload, address, passage) {
            Ok(()) => self.counters.sent += 1,
            Err(SendError::Lost) => self.counters.lost += 1,
            Err(SendError::Undelivered(why)) => {
                return Some(Err(why.seen_as(address.ip(), flow.upstream.ip())));
            }
        }
        Some(Ok(()))
    }
}

/// Hands the guest what has come to a published port.
fn take_batch(udp: &Udp, socket: &HostSocket, id: PublicationId) -> Batch {
    let context = &*udp.context;
    let State { published, inbox, counters, .. } = &mut *udp.state();
    batch::take(&context.stack, socket, inbox, counters, &mut Senders { published, context, id })
}

/// Those who send to a published port.
struct Senders<'p> {
    published: &'p mut Published,
    context: &'p Context,
    id: PublicationId,
}

impl Peers for Senders<'_> {
    fn at(&self, address: SocketAddr) -> Option<Ends> {
        self.published.by_peer.get(&(self.id, address)).copied()
    }

    fn heard(&mut self, from: SocketAddr, _: usize, now: Instant) -> Heard {
        let ends = self.published.handle_ingress(self.context, self.id, from, now);
        ends.map_or(Heard::Stranger, Heard::Peer)
    }
}
