//! UDP between the guest and upstream: decided, sent, and what comes back.
//!
//! Each port of the guest that may send has a socket of the host (`receiver`); whom it has sent to is
//! in a [`PortTable`], and nobody else is heard. Where a name matters, the beginnings of QUIC connections
//! are read before anything of them leaves (`quic_gate`); [`Terms`] says what becomes of them.

mod batch;
mod outbox;
mod published;
mod quic_gate;
mod receiver;

use std::cell::{RefCell, RefMut};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use net_core::{Direction, Flow, HostName, Protocol, TokenBucket};
use net_policy::Decision;

use crate::core::{
    Bounds, Ended, Passage, PortTable, Refusal, ShapedBy, UdpCounters, Undelivery, Unreachable,
};
use crate::guest::{
    Context, Datagram, DialError, Event, LeakPlace, Quic, Terms, VirtualFlow, answers_for_names, now,
};
use outbox::{Failure, Outbox};
use published::Published;
use quic_gate::{ConnectionId, Held, QuicGates, Seen};

use super::host_socket::SendError;
use super::inbox::Inbox;
use super::receiver::Sockets;

/// Names that the QUIC connections of one flow may show. A client has one.
const MAX_NAMES: usize = 8;

/// The UDP of one guest.
pub(crate) struct Udp {
    context: Rc<Context>,
    state: RefCell<State>,
}

struct State {
    table: PortTable<Sockets, Peer>,
    gates: QuicGates,
    published: Published,
    inbox: Inbox,
    /// Empty between turns of the link.
    outbox: Outbox,
    /// Of flows that begin.
    bucket: TokenBucket,
    counters: UdpCounters,
    /// Datagrams of flows too many.
    refused: u64,
    /// Flows that were decided, whatever became of them.
    decided: u64,
}

/// A destination that was allowed.
struct Peer {
    /// Whether connections that begin are looked into.
    is_watched: bool,
    /// Whether it has carried a QUIC connection: what it sends is encrypted.
    is_quic: bool,
    /// What those connections were allowed for.
    names: Vec<HostName>,
    /// What bounds its rule's flows.
    shaped: Option<ShapedBy>,
    /// The pins of this address do not expire while the guest sends there.
    held_pins: Option<IpAddr>,
    /// Where its address stands for a name it means no other meanwhile.
    _far: Option<VirtualFlow>,
}

impl Udp {
    pub(crate) fn new(context: Rc<Context>) -> Self {
        let limits = &context.limits;
        let bounds = Bounds {
            max_mappings: (limits.max_udp_mappings, "max_udp_mappings"),
            max_peers: (limits.max_udp_peers, "max_udp_peers"),
            idle_timeout: limits.udp_idle_timeout,
            exchange_timeout: limits.udp_exchange_timeout,
        };
        let state = RefCell::new(State {
            table: PortTable::new(bounds),
            gates: QuicGates::new(limits),
            published: Published::new(limits),
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            bucket: TokenBucket::new(limits.new_udp_flows_per_second, limits.new_udp_flow_burst),
            counters: UdpCounters::default(),
            refused: 0,
            decided: 0,
        });
        Self { context, state }
    }

    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    pub(crate) fn counters(&self) -> UdpCounters {
        let state = self.state.borrow();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        UdpCounters {
            mappings: count(state.table.mapping_count()),
            peers: count(state.table.peer_count() + state.published.peer_count()),
            ..state.counters
        }
    }

    /// How many datagrams of flows too many there were so far.
    pub(crate) fn refused(&self) -> u64 {
        self.state.borrow().refused
    }

    /// How many flows were decided so far, most of which took a socket.
    pub(crate) fn decided(&self) -> u64 {
        self.state.borrow().decided
    }

    /// Ports of the guest that no flood is to be thinned at the cost of, at most so many: those that are published,
    /// then those that have been answered, the oldest first, for a flood is younger than what it comes upon. Where
    /// a port is part of the flood itself it is none of them.
    pub(crate) fn spared_ports(&self, most: usize, now: Instant) -> Vec<u16> {
        let state = self.state.borrow();
        let mut ports = state.published.guest_ports(now);
        for port in state.table.answered_ports(most) {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        ports.truncate(most);
        ports
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let state = self.state.borrow();
        let timeouts =
            [state.table.poll_timeout(), state.gates.poll_timeout(), state.published.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Forgets who was quiet for too long.
    pub(crate) fn handle_timeout(&self, now: Instant) {
        let mut state = self.state();
        state.table.handle_timeout(now);
        state.gates.handle_timeout(now);
        state.published.handle_timeout(now);
        state.settle(&self.context);
    }

    /// Ends what a new policy does not allow; how many flows that were.
    pub(crate) fn policy_changed(&self) -> usize {
        let context = &*self.context;
        let mut state = self.state();
        state.gates.clear();
        let mut ended = state.published.policy_changed(context);
        state.table.retain(|guest, upstream, peer| {
            let flow = Flow { protocol: Protocol::Udp, guest, upstream };
            let refused = peer.refused_name(context, &flow);
            if let Some((name, decision)) = &refused {
                context.report_denial(&flow, name.clone(), decision);
                ended += 1;
            }
            peer.is_watched = context.terms(&flow, None).must_look();
            peer.shaped = context.shape_of(&flow, peer.names.last());
            refused.is_none()
        });
        state.settle(context);
        ended
    }

    /// Takes a datagram of the guest, carried as it asks to be. Whatever becomes of it has become of it on return, or
    /// does at the [end of the turn](Self::end_turn), until when it may wait for others like it.
    ///
    /// # Errors
    /// What the guest is told instead of its delivery. A datagram that is lost for lack of room is none.
    pub(crate) fn send(
        self: &Rc<Self>,
        flow: &Flow,
        payload: &[u8],
        passage: Passage,
        now: Instant,
    ) -> Result<(), Undelivery> {
        let context = &*self.context;
        if self.state().join(context, flow, payload, passage) {
            return Ok(());
        }
        if let Some(answered) = self.state().answer(flow, payload, passage, now) {
            return answered;
        }
        if answers_for_names(flow.upstream.port()) {
            deny(context, flow, None, "names are asked for on port 53");
            return Err(Unreachable::Port.into());
        }
        let mut state = self.state();
        let known = state.table.handle_egress(flow.guest, flow.upstream, now);
        match known.map(|outbound| outbound.peer.is_watched) {
            Some(false) => state.forward(self, flow, payload, passage),
            Some(true) => match state.gates.see(flow, payload, true, now) {
                Seen::NoHello => state.forward(self, flow, payload, passage),
                Seen::Held | Seen::Dropped | Seen::Unreadable => Ok(()),
                Seen::Hello { id, name, has_ech, held } => {
                    let admitted = state.admit(self, flow, name, has_ech, now);
                    state.pass(self, flow, admitted, Some(id), &held, (payload, passage))
                }
            },
            None => state.begin(self, flow, payload, passage, now),
        }
    }

    /// Sends what waits for others like it; `has_more` says whether the link has more than was taken. `tell` is called
    /// with what did not leave.
    pub(crate) fn end_turn(&self, has_more: bool, mut tell: impl FnMut(&Flow, &[u8], Undelivery)) {
        let failures = {
            let State { outbox, counters, .. } = &mut *self.state();
            outbox.flush(counters);
            outbox.end_turn(has_more)
        };
        for Failure { flow, payload, why } in failures {
            tell(&flow, &payload, why);
        }
    }
}

impl State {
    /// Has the datagram of a flow go with those of it that wait; whether it does. All that was known of the flow in
    /// this turn goes for it too, but for what it says.
    fn join(&mut self, context: &Context, flow: &Flow, payload: &[u8], passage: Passage) -> bool {
        self.outbox.is_plain(flow)
            && context.secrets().check(payload).is_ok()
            && self.outbox.join(flow, payload, passage)
    }

    /// Takes the datagram of a flow that is not carried yet.
    fn begin(
        &mut self,
        udp: &Rc<Udp>,
        flow: &Flow,
        payload: &[u8],
        passage: Passage,
        now: Instant,
    ) -> Result<(), Undelivery> {
        let context = &*udp.context;
        if !self.bucket.take(now) {
            // Before it costs a decision, a socket or an answer: other flows wait behind it.
            self.counters.lost += 1;
            self.refused += 1;
            self.table.note_flood(flow.guest);
            self.published.note_flood(flow.guest.port(), now);
            context.events.push(Event::LimitReached { limit: "new_udp_flows_per_second" });
            return Ok(());
        }
        self.decided += 1;
        // Whom it is for, while it is decided; a peer that is opened holds it by itself.
        let _far = udp.context.enter_virtual(flow);
        let terms = context.terms(flow, None);
        match terms.datagram() {
            Datagram::Carry => {
                keep_from_passing(context, flow, None)?;
                self.open(udp, flow, None, &terms, now);
                self.forward(udp, flow, payload, passage)
            }
            Datagram::Look => match self.gates.see(flow, payload, false, now) {
                Seen::Held | Seen::Dropped => Ok(()),
                Seen::NoHello => {
                    let admitted = self.admit_opaque(udp, flow, &terms, now);
                    self.pass(udp, flow, admitted, None, &Held::default(), (payload, passage))
                }
                Seen::Unreadable => {
                    // Some server may read it all the same.
                    deny(context, flow, None, "it begins as quic, and cannot be read");
                    Err(Unreachable::Port.into())
                }
                Seen::Hello { id, name, has_ech, held } => {
                    let admitted = self.admit(udp, flow, name, has_ech, now);
                    self.pass(udp, flow, admitted, Some(id), &held, (payload, passage))
                }
            },
            Datagram::Deny => {
                context.report_denial(flow, None, &terms.unseen);
                Err(Unreachable::Prohibited.into())
            }
        }
    }

    /// Decides a QUIC connection by the name it shows, and lets its flow pass where it may.
    fn admit(
        &mut self,
        udp: &Rc<Udp>,
        flow: &Flow,
        name: Result<Option<HostName>, ()>,
        has_ech: bool,
        now: Instant,
    ) -> Result<(), Unreachable> {
        let context = &*udp.context;
        let Ok(name) = name else {
            deny(context, flow, None, "the name it shows is no host name");
            return Err(Unreachable::Prohibited);
        };
        if let Some(name) = &name
            && let Err(violation) = context.secrets().check(name.as_str().as_bytes())
        {
            context.report_violation(flow, None, LeakPlace::ServerName, &violation);
            return Err(Unreachable::Prohibited);
        }
        let terms = context.terms(flow, name.as_ref());
        // What TLS would be told over TCP it is told there.
        let is_for_tcp =
            context.intercepts(flow.upstream.port(), name.as_ref()) || context.refuses_ech(has_ech);
        match terms.quic(is_for_tcp) {
            Quic::Carry => keep_from_passing(context, flow, name.as_ref())?,
            // At once, so that the client falls back to TCP in milliseconds.
            Quic::ToTcp => return Err(Unreachable::Port),
            Quic::Deny | Quic::NoName => {
                context.report_denial(flow, name, &terms.unseen);
                return Err(Unreachable::Prohibited);
            }
        }
        if self.table.outbound_to(flow.guest, flow.upstream).is_none() {
            // What is said without the name goes for all connections of the flow.
            self.open(udp, flow, name.as_ref(), &context.terms(flow, None), now);
        }
        let Some(outbound) = self.table.outbound_to(flow.guest, flow.upstream) else { return Ok(()) };
        outbound.peer.is_quic = true;
        if let Some(name) = name
            && !outbound.peer.names.contains(&name)
        {
            if outbound.peer.names.len() >= MAX_NAMES {
                deny(context, flow, Some(name), "its flow has shown too many names");
                return Err(Unreachable::Prohibited);
            }
            outbound.peer.shaped = context.shape_of(flow, Some(&name));
            outbound.peer.names.push(name);
        }
        Ok(())
    }

    /// Lets a flow without a hello pass where it may.
    fn admit_opaque(
        &mut self,
        udp: &Rc<Udp>,
        flow: &Flow,
        terms: &Terms,
        now: Instant,
    ) -> Result<(), Unreachable> {
        let context = &*udp.context;
        match (terms.not_quic(), terms.unseen) {
            (Quic::Carry, _) => {
                keep_from_passing(context, flow, None)?;
                self.open(udp, flow, None, terms, now);
                Ok(())
            }
            (Quic::NoName, Decision::Allow { .. }) => {
                deny(context, flow, None, "it is not quic, and its rule rests on a name");
                Err(Unreachable::Prohibited)
            }
            (Quic::Deny | Quic::NoName | Quic::ToTcp, _) => {
                context.report_denial(flow, None, &terms.unseen);
                Err(Unreachable::Prohibited)
            }
        }
    }

    /// Sends what was held and the datagram behind it, where the flow was admitted; all are carried as that one asks
    /// to be, for one client has sent them.
    fn pass(
        &mut self,
        udp: &Rc<Udp>,
        flow: &Flow,
        admitted: Result<(), Unreachable>,
        id: Option<ConnectionId>,
        held: &Held,
        (payload, passage): (&[u8], Passage),
    ) -> Result<(), Undelivery> {
        if let (Err(_), Some(id)) = (admitted, id) {
            self.gates.forget(flow, id);
        }
        admitted?;
        held.iter().chain([payload]).try_for_each(|datagram| self.forward(udp, flow, datagram, passage))
    }

    /// Opens a peer that is allowed, for `name` or for its address; the terms are those without a name.
    fn open(&mut self, udp: &Rc<Udp>, flow: &Flow, name: Option<&HostName>, terms: &Terms, now: Instant) {
        let context = &*udp.context;
        // It may end another, of which nothing is to wait then.
        self.outbox.flush(&mut self.counters);
        let held_pins = terms.rests_on_pins().then(|| flow.upstream.ip());
        if let Some(address) = held_pins {
            context.with_policy(|_, pins, _| pins.hold(address));
        }
        let (is_quic, names) = (false, Vec::new());
        let _far = udp.context.enter_virtual(flow);
        let shaped = context.shape_of(flow, name);
        let peer = Peer { is_watched: terms.must_look(), is_quic, names, shaped, held_pins, _far };
        let (ports, dialled) = ((flow.guest, flow.upstream), context.dial_address(flow));
        // Its socket is opened by the first datagram.
        self.table.open(ports, dialled, peer, Sockets::default, now);
        self.settle(context);
        context.report_opened(flow, name);
    }

    /// Sends to a peer that is open.
    fn forward(
        &mut self,
        udp: &Rc<Udp>,
        flow: &Flow,
        payload: &[u8],
        passage: Passage,
    ) -> Result<(), Undelivery> {
        let context = &*udp.context;
        let outbound = self.table.outbound_to(flow.guest, flow.upstream);
        // It has just been found or opened.
        let Some(outbound) = outbound else { return Err(Unreachable::Host.into()) };
        if !outbound.peer.is_quic
            && let Err(violation) = context.secrets().check(payload)
        {
            context.report_violation(flow, None, LeakPlace::Datagram, &violation);
            return Err(Unreachable::Prohibited.into());
        }
        if let Some(shaped) = outbound.peer.shaped
            && !context.stack.shapers().take_datagram(shaped, Direction::Egress, payload.len(), now())
        {
            self.counters.shaped += 1;
            return Ok(());
        }
        let dialled = outbound.dialled;
        if self.outbox.join(flow, payload, passage) {
            return Ok(());
        }
        // They leave in the order they came.
        self.outbox.flush(&mut self.counters);
        let Peer { is_watched, is_quic, shaped, .. } = outbound.peer;
        // Its time was noted, and the rest is the same for all of its datagrams; but the second makes a question a flow.
        let is_plain = !*is_watched && !*is_quic && shaped.is_none() && !outbound.is_exchange;
        let sent = match outbound.mapping.towards(dialled, |is_v6| receiver::open(udp, flow.guest, is_v6)) {
            Ok(receiver) => {
                let (socket, way) = (receiver.socket(), (dialled, passage));
                if self.outbox.begin(socket, flow, payload, way, is_plain) {
                    return Ok(());
                }
                receiver.send(payload, dialled, passage)
            }
            Err(error) => {
                let error = DialError::from(error);
                context.report_dial_failure(flow, error);
                self.table.end(flow.guest, flow.upstream);
                self.settle(context);
                return Err(unreachable_of(error).into());
            }
        };
        match sent {
            Ok(()) => self.counters.sent += 1,
            Err(SendError::Lost) => self.counters.lost += 1,
            // Told of the family it was led to, and heard by one of the guest's.
            Err(SendError::Undelivered(why)) => return Err(why.seen_as(dialled.ip(), flow.upstream.ip())),
        }
        Ok(())
    }

    /// Lets go of what has ended.
    fn settle(&mut self, context: &Context) {
        while let Some(ended) = self.table.poll_ended() {
            match ended {
                // Its sockets close.
                Ended::Mapping(Sockets { .. }) => {}
                Ended::Peer { state: Peer { held_pins, .. }, limit } => {
                    if let Some(address) = held_pins {
                        context.with_policy(|_, pins, _| pins.release(address));
                    }
                    if let Some(limit) = limit {
                        context.events.push(Event::LimitReached { limit });
                    }
                }
            }
        }
    }
}

impl Peer {
    /// Why a policy does not let it stay, with the name it was carried for.
    fn refused_name(&self, context: &Context, flow: &Flow) -> Option<(Option<HostName>, Decision)> {
        let refuses = |name: Option<&HostName>| {
            let terms = context.terms(flow, name);
            let stays = match terms.unseen {
                // By its proxy it cannot go.
                Decision::Allow { .. } if context.is_kept_from_passing(flow, name) => false,
                // What is carried shows no name any more that might be denied.
                Decision::Allow { rule } if name.is_none() && terms.is_looked_into => {
                    !context.bind(flow, rule).names_matter
                }
                Decision::Allow { .. } => true,
                Decision::PerRequest { .. } | Decision::NeedName | Decision::Deny { .. } => false,
            };
            (!stays).then(|| (name.cloned(), terms.unseen))
        };
        match &*self.names {
            [] => refuses(None),
            names => names.iter().find_map(|name| refuses(Some(name))),
        }
    }
}

/// Refuses what would go by a proxy, which carries none of it: as if nobody listened, so that clients of QUIC fall
/// back to TCP at once.
pub(super) fn keep_from_passing(
    context: &Context,
    flow: &Flow,
    shown: Option<&HostName>,
) -> Result<(), Unreachable> {
    if context.is_kept_from_passing(flow, shown) {
        deny(context, flow, shown.cloned(), "it would go past its proxy, which carries tcp alone");
        return Err(Unreachable::Port);
    }
    Ok(())
}

/// What the guest is told where the host has no socket or no way.
pub(super) fn unreachable_of(error: DialError) -> Unreachable {
    match error.refusal() {
        Refusal::Unreachable(why) => why,
        Refusal::Reset | Refusal::Silence => Unreachable::Host,
    }
}

fn deny(context: &Context, flow: &Flow, name: Option<HostName>, why: &'static str) {
    context.report_protocol(flow, name, why);
}
