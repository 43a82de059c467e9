//! ICMP echo between the guest and upstream: `ping`, and `traceroute` by it.
//!
//! An identifier of the guest has a socket of the host (`receiver`), whatever it asks, or where the host lets nobody have
//! one an identifier on a raw socket (`raw`); whom it has asked is in a [`PortTable`], and what of late beside it (`asked`):
//! nothing else is heard. Every request is decided anew.

mod asked;
mod own_ident;
mod raw;
mod receiver;
mod sockets;

use std::cell::{RefCell, RefMut};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use net_core::{Direction, Flow, TokenBucket};
use net_policy::Decision;

use super::host_socket::SendError;
use super::inbox::Inbox;
use super::udp::unreachable_of;
use crate::core::{Bounds, Echo, Ended, Passage, PortTable, ShapedBy, Undelivery, Unreachable};
use crate::guest::{Context, DialError, Event, LeakPlace, RawEchoSockets, VirtualFlow};
use asked::Asked;
use raw::RawEchoes;
use sockets::EchoSockets;

/// The ICMP echo of one guest.
pub(crate) struct Ping {
    context: Rc<Context>,
    state: RefCell<State>,
}

struct State {
    table: Table,
    bucket: TokenBucket,
    /// Whether the last request was one too many.
    is_short: bool,
    raw: RawEchoes,
    /// Whether the owner was told that this host lets nobody ping.
    is_told: bool,
    /// Requests too many, since this was last asked.
    refused: u64,
    /// Made when the first socket is.
    inbox: Option<Inbox>,
    /// The message that leaves next.
    message: Vec<u8>,
}

type Table = PortTable<EchoSockets, Peer>;

/// A destination that was asked.
struct Peer {
    /// What bounds its rule's flows.
    shaped: Option<ShapedBy>,
    held_pins: Option<IpAddr>,
    asked: Asked,
    /// Where its address stands for a name it means no other meanwhile.
    _far: Option<VirtualFlow>,
}

impl Ping {
    pub(crate) fn new(context: Rc<Context>, given: RawEchoSockets) -> Self {
        let limits = &context.limits;
        let bounds = Bounds {
            max_mappings: (limits.max_echo_identifiers, "max_echo_identifiers"),
            max_peers: (limits.max_echo_peers, "max_echo_peers"),
            idle_timeout: limits.echo_idle_timeout,
            exchange_timeout: limits.echo_idle_timeout,
        };
        let state = State {
            table: PortTable::new(bounds),
            bucket: TokenBucket::new(limits.echoes_per_second, limits.echoes_per_second),
            is_short: false,
            raw: RawEchoes::new(given),
            is_told: false,
            refused: 0,
            inbox: None,
            message: Vec::new(),
        };
        Self { context, state: RefCell::new(state) }
    }

    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// How many requests were too many since this was last asked.
    pub(crate) fn take_refused(&self) -> u64 {
        std::mem::take(&mut self.state().refused)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.state.borrow().table.poll_timeout()
    }

    /// Forgets who was quiet for too long.
    pub(crate) fn handle_timeout(&self, now: Instant) {
        let mut state = self.state();
        state.table.handle_timeout(now);
        state.settle(&self.context);
    }

    /// Asks for an echo on the guest's behalf.
    ///
    /// # Errors
    /// What the guest is told instead. A request that is lost for lack of room, or is one too many, is none.
    pub(crate) fn ask(
        self: &Rc<Self>,
        flow: &Flow,
        sequence: u16,
        data: &[u8],
        passage: Passage,
        now: Instant,
    ) -> Result<(), Undelivery> {
        let context = &*self.context;
        let mut state = self.state();
        if !state.bucket.take(now) {
            state.refused += 1;
            // A flood is told of once, not once for each of its packets.
            if !std::mem::replace(&mut state.is_short, true) {
                context.events.push(Event::LimitReached { limit: "echoes_per_second" });
            }
            return Ok(());
        }
        state.is_short = false;
        // Whom it is for, while it is decided; a peer that is opened holds it by itself.
        let _far = self.context.enter_virtual(flow);
        let terms = context.terms(flow, None);
        if !matches!(terms.unseen, Decision::Allow { .. }) {
            state.table.end(flow.guest, flow.upstream);
            state.settle(context);
            context.report_denial(flow, None, &terms.unseen);
            return Err(Unreachable::Prohibited.into());
        }
        if let Err(violation) = context.secrets().check(data) {
            context.report_violation(flow, None, LeakPlace::Echo, &violation);
            return Err(Unreachable::Prohibited.into());
        }
        if context.is_kept_from_passing(flow, None) {
            state.table.end(flow.guest, flow.upstream);
            state.settle(context);
            context.report_protocol(flow, None, "it would go past its proxy, which carries tcp alone");
            return Err(Unreachable::Prohibited.into());
        }
        let shaped = context.shape_of(flow, None);
        if let Some(shaped) = shaped
            && !context.stack.shapers().take_datagram(shaped, Direction::Egress, data.len(), now)
        {
            // Lost, as on any link.
            return Ok(());
        }
        if let Some(outbound) = state.table.handle_egress(flow.guest, flow.upstream, now) {
            outbound.peer.shaped = shaped;
        } else {
            let held_pins = terms.rests_on_pins().then(|| flow.upstream.ip());
            if let Some(address) = held_pins {
                context.with_policy(|_, pins, _| pins.hold(address));
            }
            let peer =
                Peer { shaped, held_pins, asked: Asked::default(), _far: self.context.enter_virtual(flow) };
            let dialled = SocketAddr::new(context.dial_address(flow).ip(), flow.guest.port());
            state.table.open((flow.guest, flow.upstream), dialled, peer, EchoSockets::default, now);
            state.settle(context);
            context.report_opened(flow, None);
        }
        state.send(self, flow, sequence, data, passage)
    }
}

impl State {
    /// Sends to a peer that is open.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other error is as for a dial")]
    fn send(
        &mut self,
        ping: &Rc<Ping>,
        flow: &Flow,
        sequence: u16,
        data: &[u8],
        passage: Passage,
    ) -> Result<(), Undelivery> {
        let Self { table, raw, message, .. } = self;
        let Some(outbound) = table.outbound_to(flow.guest, flow.upstream) else {
            // It has just been found or opened.
            return Err(Unreachable::Host.into());
        };
        let to = outbound.dialled;
        outbound.peer.asked.enter(sequence, data);
        let echo = Echo { ident: flow.guest.port(), sequence, data };
        let sent = match outbound.mapping.towards(to.is_ipv6(), ping, flow.guest, raw) {
            Ok(socket) => {
                let sent = socket.send(&echo, to, passage, message);
                self.is_told = false;
                sent
            }
            Err(error) => {
                let error = match error.kind() {
                    io::ErrorKind::PermissionDenied => DialError::EchoForbidden,
                    _ => error.into(),
                };
                let context = &*ping.context;
                // It is the host's, and the same for every echo until its owner does something about it.
                if error != DialError::EchoForbidden || !std::mem::replace(&mut self.is_told, true) {
                    context.report_dial_failure(flow, error);
                }
                self.table.end(flow.guest, flow.upstream);
                self.settle(context);
                return Err(unreachable_of(error).into());
            }
        };
        match sent {
            // A request that is lost has no echo, as on any network.
            Ok(()) | Err(SendError::Lost) => Ok(()),
            Err(SendError::Undelivered(why)) => Err(why.seen_as(to.ip(), flow.upstream.ip())),
        }
    }

    /// Lets go of what has ended.
    fn settle(&mut self, context: &Context) {
        while let Some(ended) = self.table.poll_ended() {
            match ended {
                Ended::Mapping(sockets) => sockets.close(&mut self.raw),
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
