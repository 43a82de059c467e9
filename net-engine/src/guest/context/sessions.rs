//! The sessions that run, and what becomes of them when the policy changes under them.

use std::collections::HashSet;
use std::net::IpAddr;

use net_core::{Flow, HostName, Protocol};
use net_policy::{Decision, Policy, RequestLine};
use tokio::task::AbortHandle;

use super::Context;
use crate::core::{FlowId, Refusal};
use crate::guest::way::{Taken, Way};
use crate::guest::{Capped, Inner, InnerTerms, SwapError};

/// A running session, for the day the policy changes under it.
pub(super) struct Session {
    flow: Flow,
    stage: Stage,
    /// What its running requests name, where it is for no one name: as many as run at once.
    shown: Vec<HostName>,
    /// Whether it is carried as bytes for no other reason than that there were no secrets.
    is_unread: bool,
    /// Whether it left HTTP for another protocol, after the request that is named where requests are decided one
    /// by one.
    is_tunnel: bool,
    upgraded_by: Option<RequestLine>,
    /// What its content was held to, where it was found to be no HTTP inside of TLS.
    opaque: Option<InnerTerms>,
    /// Whether it was decided by the pins of its address, which then do not expire under it.
    holds_pins: bool,
    /// The way of its connection to upstream, the last one where it has had several.
    taken: Option<Taken>,
    task: AbortHandle,
}

impl Session {
    fn new(flow: Flow, stage: Stage, holds_pins: bool, task: AbortHandle) -> Self {
        Self {
            flow,
            stage,
            shown: Vec::new(),
            is_unread: false,
            is_tunnel: false,
            upgraded_by: None,
            opaque: None,
            holds_pins,
            taken: None,
            task,
        }
    }

    /// Whether the guest has begun it, to somebody else than us.
    fn is_outbound(&self) -> bool {
        !matches!(self.stage, Stage::Dns | Stage::Inbound { .. })
    }

    /// Whether further requests may be read of it.
    fn shows_requests(&self) -> bool {
        !self.is_unread && !self.is_tunnel
    }
}

/// What the policy has said of a session, and so what a new one must say for it to stay.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// It ends here: the policy is asked about its names, not about itself.
    Dns,
    /// It may be decided again, by a name: what is not denied may stay.
    Open,
    /// It is carried for good, for this name or for its address: it must be allowed.
    Settled(Option<HostName>),
    /// The same, and its TLS is opened: what it carries may be decided request by request.
    Opened(Option<HostName>),
    /// Somebody else has begun it, by a port of the guest's that is published.
    Inbound {
        /// Who.
        peer: IpAddr,
    },
}

impl Stage {
    /// The name it is for.
    fn name(&self) -> Option<&HostName> {
        match self {
            Self::Dns | Self::Open | Self::Inbound { .. } => None,
            Self::Settled(name) | Self::Opened(name) => name.as_ref(),
        }
    }
}

impl Context {
    /// Replaces the policy and ends every session that the new one does not allow, or not by the way that it has
    /// taken; how many those were.
    ///
    /// # Errors
    /// [`SwapError`]; nothing has changed then.
    pub(crate) fn swap_policy(&self, policy: Policy) -> Result<usize, SwapError> {
        if self.exceeds_authority(&policy) && !self.exceeds_authority(&self.policy.borrow()) {
            return Err(SwapError::NeedsNewAuthority);
        }
        self.virtual_flows.borrow_mut().policy_changed(policy.has_virtual());
        self.has_chosen_proxies.set(policy.chosen_proxies().next().is_some());
        *self.policy.borrow_mut() = policy;
        self.generation.set(self.generation.get() + 1);
        self.rule_labels.borrow_mut().clear();
        let verdicts: Vec<(FlowId, Flow, Option<HostName>, Decision)> = self
            .sessions
            .borrow()
            .iter()
            .filter_map(|(id, session)| {
                let (is_settled, is_read) = match &session.stage {
                    Stage::Dns => return None,
                    Stage::Inbound { peer } => {
                        let refused =
                            self.decide_inbound(Protocol::Tcp, *peer, session.flow.guest.port()).err();
                        return refused.map(|decision| (*id, session.flow, None, decision));
                    }
                    Stage::Open => (false, session.shows_requests()),
                    Stage::Settled(_) => (true, false),
                    Stage::Opened(_) => (true, session.shows_requests()),
                };
                for shown in &session.shown {
                    let decision = self.decide(&session.flow, Some(shown));
                    if let Decision::Deny { .. } = decision {
                        return Some((*id, session.flow, Some(shown.clone()), decision));
                    }
                }
                let name = session.stage.name().cloned();
                let terms = self.terms(&session.flow, name.as_ref());
                let decision = match &session.upgraded_by {
                    // Of what was read the next request is decided anew.
                    None if is_read && session.opaque.is_none() => terms.decision,
                    None => terms.unseen,
                    Some(request) => self.decide_request(&session.flow, name.as_ref(), request),
                };
                let stays = match decision {
                    // What is carried as bytes shows no name any more that might be denied.
                    Decision::Allow { rule } if is_settled && name.is_none() && terms.is_looked_into => {
                        !self.bind(&session.flow, rule).names_matter
                    }
                    // What is no HTTP stays where it need not be HTTP.
                    Decision::Allow { .. } => session.opaque.is_none_or(|terms| {
                        let terms = self.inner(&session.flow, name.as_ref(), terms.protocol);
                        terms.inner() != Inner::Http
                    }),
                    Decision::PerRequest { .. } => true,
                    Decision::NeedName => !is_settled,
                    Decision::Deny { .. } => false,
                };
                (!stays).then_some((*id, session.flow, name, decision))
            })
            .collect();
        let refused: HashSet<FlowId> = verdicts.iter().map(|(id, ..)| *id).collect();
        let led_otherwise: Vec<(FlowId, Flow, Option<HostName>)> = self
            .sessions
            .borrow()
            .iter()
            .filter(|(id, _)| !refused.contains(id))
            .filter_map(|(id, session)| {
                let taken = session.taken.as_ref()?;
                let is_other = self.is_led_otherwise(&session.flow, taken);
                is_other.then(|| (*id, session.flow, taken.shown.clone()))
            })
            .collect();
        let ended = verdicts.len() + led_otherwise.len();
        self.reshape_sessions();
        for (id, flow, name) in led_otherwise {
            self.report_protocol(&flow, name, "the policy has it go by another proxy, or by none");
            self.reset_session(id);
        }
        for (id, flow, name, decision) in verdicts {
            self.report_denial(&flow, name, &decision);
            self.reset_session(id);
        }
        self.stack.wake_driver();
        Ok(ended)
    }

    pub(super) fn reset_session(&self, id: FlowId) {
        self.end_session(id);
        self.stack.with(|gateway| {
            gateway.refuse(id, Refusal::Reset);
            gateway.abort(id);
        });
    }

    /// Notes a session, which keeps the pins of its address where it was decided by them.
    pub(crate) fn enter_session(
        &self,
        id: FlowId,
        flow: Flow,
        stage: Stage,
        holds_pins: bool,
        task: AbortHandle,
    ) {
        if holds_pins {
            self.pins.borrow_mut().hold(flow.upstream.ip());
        }
        let session = Session::new(flow, stage, holds_pins, task);
        let is_outbound = session.is_outbound();
        self.sessions.borrow_mut().insert(id, session);
        if is_outbound {
            self.flow_caps.borrow_mut().enter(flow.upstream);
            self.shape_session(id, &flow, None);
        }
    }

    /// Notes the way a session was dialled.
    pub(in crate::guest) fn note_way(&self, id: FlowId, taken: Taken) {
        self.with_session(id, |session| session.taken = Some(taken));
    }

    /// Whether a session was dialled this way.
    pub(in crate::guest) fn has_taken(&self, id: FlowId, way: &Way) -> bool {
        let sessions = self.sessions.borrow();
        let taken = sessions.get(&id).and_then(|session| session.taken.as_ref());
        taken.is_some_and(|taken| taken.way == *way)
    }

    /// Notes that a session is carried for good, for `name` or for its address.
    pub(crate) fn settle_session(&self, id: FlowId, flow: &Flow, name: Option<&HostName>) {
        self.report_opened(flow, name);
        self.with_session(id, |session| session.stage = Stage::Settled(name.cloned()));
        self.shape_session(id, flow, name);
    }

    /// Notes that the TLS of a session is opened, for `name` or for its address.
    pub(crate) fn settle_opened(&self, id: FlowId, flow: &Flow, name: Option<&HostName>) {
        self.report_opened(flow, name);
        self.with_session(id, |session| session.stage = Stage::Opened(name.cloned()));
        self.shape_session(id, flow, name);
    }

    /// Notes that a session left HTTP for a protocol in which no further request shows, for `name` where it is
    /// for no other, and after this request, where requests are decided one by one. It is `unread` where
    /// nobody looks for secrets in it.
    pub(crate) fn settle_tunnel(
        &self,
        id: FlowId,
        name: Option<&HostName>,
        request: Option<RequestLine>,
        is_unread: bool,
    ) {
        self.with_session(id, |session| {
            session.is_tunnel = true;
            session.upgraded_by = request;
            if name.is_some() || matches!(session.stage, Stage::Open) {
                session.stage = Stage::Settled(name.cloned());
            }
            session.is_unread = is_unread;
        });
    }

    /// The sessions that are carried as bytes only because there are no secrets.
    pub(super) fn unread_sessions(&self) -> Vec<(FlowId, Flow, Option<HostName>)> {
        let sessions = self.sessions.borrow();
        let unread = sessions.iter().filter(|(_, session)| session.is_unread);
        unread.map(|(id, session)| (*id, session.flow, session.stage.name().cloned())).collect()
    }

    /// Notes that a session is carried as bytes only because there are no secrets.
    pub(crate) fn note_unread(&self, id: FlowId) {
        self.with_session(id, |session| session.is_unread = true);
    }

    /// Notes that a session is carried as bytes because it need not be HTTP.
    pub(crate) fn note_opaque(&self, id: FlowId, terms: InnerTerms) {
        self.with_session(id, |session| {
            session.opaque = Some(terms);
            // Without secrets nobody looks for them.
            session.is_unread |= self.secrets.borrow().is_empty();
        });
    }

    /// Notes a request's name for as long as it runs: see [`ShownName`](super::ShownName).
    pub(in crate::guest) fn show_name(&self, id: FlowId, name: &HostName) {
        let mut flow = None;
        self.with_session(id, |session| {
            session.shown.push(name.clone());
            flow = Some(session.flow);
        });
        // What a stream carries is its newest request's, as far as anybody can tell.
        if let Some(flow) = flow {
            self.shape_session(id, &flow, Some(name));
        }
    }

    pub(in crate::guest) fn hide_name(&self, id: FlowId, name: &HostName) {
        self.with_session(id, |session| {
            if let Some(place) = session.shown.iter().position(|shown| shown == name) {
                session.shown.swap_remove(place);
            }
        });
    }

    fn with_session(&self, id: FlowId, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.borrow_mut().get_mut(&id) {
            change(session);
        }
    }

    /// Ends a session where it stands, with whatever it holds.
    pub(crate) fn end_session(&self, id: FlowId) {
        // Not in one expression: the aborted task may be dropped at once, and leaves the map itself.
        let session = self.sessions.borrow_mut().remove(&id);
        if let Some(session) = session {
            self.release(id, &session);
            session.task.abort();
        }
    }

    pub(crate) fn leave_session(&self, id: FlowId) {
        let session = self.sessions.borrow_mut().remove(&id);
        if let Some(session) = session {
            self.release(id, &session);
        }
    }

    /// Sessions that rules bound, each with the name it is for or has shown last.
    pub(super) fn shown_sessions(&self) -> Vec<(FlowId, Flow, Option<HostName>)> {
        let sessions = self.sessions.borrow();
        let bounded = sessions.iter().filter(|(_, session)| session.is_outbound());
        bounded
            .map(|(id, session)| {
                let name = session.shown.last().or_else(|| session.stage.name());
                (*id, session.flow, name.cloned())
            })
            .collect()
    }

    /// Gives back what a session held that has left.
    fn release(&self, id: FlowId, session: &Session) {
        if session.holds_pins {
            self.pins.borrow_mut().release(session.flow.upstream.ip());
        }
        if session.is_outbound() {
            self.flow_caps.borrow_mut().leave(session.flow.upstream);
        }
        self.unshape_session(id);
    }

    /// Whether the guest may begin one more flow to a destination.
    ///
    /// # Errors
    /// [`Capped`], by the bound that has refused it.
    pub(crate) fn admit_flow(&self, flow: &Flow) -> Result<(), Capped> {
        self.flow_caps.borrow_mut().admit(flow.upstream)
    }

    /// How many flows were refused by the bound of their destination.
    pub(crate) fn capped_flows(&self) -> u64 {
        self.flow_caps.borrow().over_destination()
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.borrow().len()
    }
}
