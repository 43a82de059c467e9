//! Who is let through: new flows, and the connections of QUIC that begin on them.

use std::rc::Rc;
use std::time::Instant;

use net_core::{Flow, HostName};
use net_policy::Decision;

use super::quic_gate::{ConnectionId, Held, Seen};
use super::{Peer, State};
use crate::core::Unreachable;
use crate::event::Event;
use crate::shell::Context;
use crate::shell::fate::{Datagram, Quic, Terms};

/// Names that the QUIC connections of one flow may show. A client has one.
const MAX_NAMES: usize = 8;

impl State {
    /// Takes the datagram of a flow that is not carried yet.
    pub(super) fn begin(
        &mut self,
        context: &Rc<Context>,
        flow: &Flow,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Unreachable> {
        let terms = context.terms(flow, None);
        match terms.datagram() {
            Datagram::Carry => {
                self.open(context, flow, None, &terms, now);
                self.forward(context, flow, payload)
            }
            Datagram::Look => match self.gates.see(flow, payload, false, now) {
                Seen::Held | Seen::Dropped => Ok(()),
                Seen::NoHello => {
                    let admitted = self.admit_opaque(context, flow, &terms, now);
                    self.pass(context, flow, admitted, None, &Held::default(), payload)
                }
                Seen::Unreadable => {
                    // Some server may read it all the same.
                    deny(context, flow, None, "it begins as quic, and cannot be read");
                    Err(Unreachable::Port)
                }
                Seen::Hello { id, name, held } => {
                    let admitted = self.admit(context, flow, name, now);
                    self.pass(context, flow, admitted, Some(id), &held, payload)
                }
            },
            Datagram::Deny => {
                context.report_denial(flow, None, &terms.decision);
                Err(Unreachable::Prohibited)
            }
        }
    }

    /// Decides a QUIC connection by the name it shows, and lets its flow pass where it may.
    pub(super) fn admit(
        &mut self,
        context: &Rc<Context>,
        flow: &Flow,
        name: Result<Option<HostName>, ()>,
        now: Instant,
    ) -> Result<(), Unreachable> {
        let Ok(name) = name else {
            deny(context, flow, None, "the name it shows is no host name");
            return Err(Unreachable::Prohibited);
        };
        if let Some(name) = &name
            && let Err(violation) = context.secrets().check(name.as_str().as_bytes())
        {
            context.report_violation(flow, None, violation.to_string());
            return Err(Unreachable::Prohibited);
        }
        let terms = context.terms(flow, name.as_ref());
        match terms.quic(context.intercepts(flow.upstream.port(), name.as_ref())) {
            Quic::Carry => {}
            // At once, so that the client falls back to TCP in milliseconds.
            Quic::ToTcp => return Err(Unreachable::Port),
            Quic::Deny | Quic::NoName => {
                context.report_denial(flow, name, &terms.decision);
                return Err(Unreachable::Prohibited);
            }
        }
        if self.table.outbound_to(flow.guest, flow.upstream).is_none() {
            // What is said without the name goes for all connections of the flow.
            self.open(context, flow, name.as_ref(), &context.terms(flow, None), now);
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
            outbound.peer.names.push(name);
        }
        Ok(())
    }

    /// Lets a flow without a hello pass where it may.
    fn admit_opaque(
        &mut self,
        context: &Rc<Context>,
        flow: &Flow,
        terms: &Terms,
        now: Instant,
    ) -> Result<(), Unreachable> {
        match (terms.not_quic(), terms.decision) {
            (Quic::Carry, _) => {
                self.open(context, flow, None, terms, now);
                Ok(())
            }
            (Quic::NoName, Decision::Allow { .. }) => {
                deny(context, flow, None, "it is not quic, and its rule rests on a name");
                Err(Unreachable::Prohibited)
            }
            (Quic::Deny | Quic::NoName | Quic::ToTcp, _) => {
                context.report_denial(flow, None, &terms.decision);
                Err(Unreachable::Prohibited)
            }
        }
    }

    /// Sends what was held and the datagram behind it, where the flow was admitted.
    pub(super) fn pass(
        &mut self,
        context: &Rc<Context>,
        flow: &Flow,
        admitted: Result<(), Unreachable>,
        id: Option<ConnectionId>,
        held: &Held,
        payload: &[u8],
    ) -> Result<(), Unreachable> {
        if let (Err(_), Some(id)) = (admitted, id) {
            self.gates.forget(flow, id);
        }
        admitted?;
        held.iter().chain([payload]).try_for_each(|datagram| self.forward(context, flow, datagram))
    }
}

impl Peer {
    /// Why a policy does not let it stay, with the name it was carried for.
    pub(super) fn refused_name(
        &self,
        context: &Context,
        flow: &Flow,
    ) -> Option<(Option<HostName>, Decision)> {
        let refuses = |name: Option<&HostName>| {
            let terms = context.terms(flow, name);
            let stays = match terms.decision {
                // What is carried shows no name any more that might be denied.
                Decision::Allow { rule } if name.is_none() && terms.is_looked_into => {
                    !context.bind(flow, rule).names_matter
                }
                Decision::Allow { .. } => true,
                Decision::NeedName | Decision::Deny { .. } => false,
            };
            (!stays).then(|| (name.cloned(), terms.decision))
        };
        match &*self.names {
            [] => refuses(None),
            names => names.iter().find_map(|name| refuses(Some(name))),
        }
    }
}

/// Tells the embedder of a denial that no rule stands behind.
pub(super) fn deny(context: &Context, flow: &Flow, name: Option<HostName>, why: &str) {
    context.events.push(Event::Denied { flow: *flow, name, why: why.to_owned() });
}
