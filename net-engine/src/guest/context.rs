use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use net_core::{Flow, HostName, HostPattern, Limits, Protocol};
use net_policy::dns::DenialStyle;
use net_policy::{
    Decision, DenyReason, Exhausted, HostAddresses, Layer, NameDecision, NameTable, Policy, Query,
    RequestLine, RuleId, VirtualPair,
};
use net_secrets::SecretSet;
use net_tls::LeafSubject;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

use super::{
    BoundRule, Denial, DeniedRequest, DialError, Event, EventQueue, Far, GuestConfig, HeldBytes, Hosts,
    Interception, Resolvers, RuleLabel, Stack, SwapError, Terms, TlsParts, UpstreamSide, ViolationAction,
    VirtualFlows, intercepted_names,
};
use crate::core::{FlowId, GuestAddresses, Refusal};

const HTTP_PORT: u16 = 80;

/// What a guest's sessions share, all on one thread.
///
/// Nothing here is borrowed across an await.
pub(crate) struct Context {
    pub(crate) stack: Stack,
    pub(crate) limits: Limits,
    pub(crate) events: EventQueue,
    pub(crate) tls: TlsParts,
    pub(crate) host_alias: HostName,
    pub(crate) resolvers: Resolvers,
    pub(crate) dns_denial: DenialStyle,
    addresses: GuestAddresses,
    redirects: HashMap<SocketAddr, SocketAddr>,
    intercepted_ports: BTreeSet<u16>,
    /// Whether its end was told.
    authority_reported: Cell<bool>,
    bypass: Vec<HostPattern>,
    refuses_ech: bool,
    policy: RefCell<Policy>,
    /// Counts the policies: the number of a rule means nothing under another one.
    generation: Cell<u64>,
    /// Of the rules of this policy that have denied something.
    rule_labels: RefCell<HashMap<(Layer, RuleId, bool), Arc<str>>>,
    pins: RefCell<NameTable>,
    hosts: Hosts,
    pub(super) virtual_flows: RefCell<VirtualFlows>,
    secrets: RefCell<SecretSet>,
    /// Counts the swaps of them.
    secrets_generation: Cell<u64>,
    sessions: RefCell<HashMap<FlowId, Session>>,
    dns_queries: Rc<Cell<usize>>,
    pub(crate) held_bytes: HeldBytes,
    on_violation: ViolationAction,
    reports_opened: bool,
    /// Notified when the guest's network must end.
    terminated: Notify,
}

/// A running session, for the day the policy changes under it.
struct Session {
    flow: Flow,
    stage: Stage,
    /// What its running requests name, where it is for no one name: as many as run at once.
    shown: Vec<HostName>,
    /// Whether it is carried as bytes for no other reason than that there were no secrets.
    is_unread: bool,
    /// The request after which it left HTTP for another protocol.
    upgraded_by: Option<RequestLine>,
    /// Whether it was decided by the pins of its address, which then do not expire under it.
    holds_pins: bool,
    task: AbortHandle,
}

impl Session {
    fn new(flow: Flow, stage: Stage, holds_pins: bool, task: AbortHandle) -> Self {
        Self { flow, stage, shown: Vec::new(), is_unread: false, upgraded_by: None, holds_pins, task }
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
}

impl Stage {
    /// The name it is for.
    fn name(&self) -> Option<&HostName> {
        match self {
            Self::Dns | Self::Open => None,
            Self::Settled(name) | Self::Opened(name) => name.as_ref(),
        }
    }
}

impl Context {
    pub(crate) fn new(stack: Stack, events: EventQueue, config: GuestConfig) -> Self {
        let addresses = stack.with(|gateway| *gateway.addresses());
        let pins = NameTable::new(config.limits.max_pins, config.limits.max_pins_per_name)
            .with_grace(config.limits.pin_grace);
        let Interception { ports, bypass, refuse_ech, authority } = config.interception;
        let own = addresses.gateways().chain(addresses.gateway_link_local());
        let has_virtual = config.policy.has_virtual();
        let virtual_flows = VirtualFlows::new(config.virtual_pools, &config.limits, has_virtual);
        let hosts = Hosts::new(own, config.host_addresses, config.nat64, Instant::now());
        Self {
            stack,
            tls: TlsParts::new(
                authority,
                UpstreamSide::new(config.upstream_trust, config.host_trust),
                config.dangerous_tls_key_log,
                &config.limits,
            ),
            held_bytes: HeldBytes::new(config.limits.max_held_bytes),
            events,
            intercepted_ports: ports,
            authority_reported: Cell::new(false),
            bypass,
            refuses_ech: refuse_ech,
            host_alias: config.host_alias,
            resolvers: Resolvers::new(config.nameservers),
            dns_denial: config.dns_denial,
            limits: config.limits,
            redirects: config.redirects,
            addresses,
            policy: RefCell::new(config.policy),
            generation: Cell::new(0),
            rule_labels: RefCell::default(),
            pins: RefCell::new(pins),
            hosts,
            virtual_flows: RefCell::new(virtual_flows),
            secrets: RefCell::new(config.secrets),
            secrets_generation: Cell::new(0),
            sessions: RefCell::new(HashMap::new()),
            dns_queries: Rc::default(),
            on_violation: config.on_violation,
            reports_opened: config.reports_opened,
            terminated: Notify::new(),
        }
    }

    /// May this flow leave, as far as is known?
    pub(crate) fn decide(&self, flow: &Flow, name: Option<&HostName>) -> Decision {
        self.ask(flow, name, Policy::decide)
    }

    /// May this flow leave, of which no request can be seen?
    fn decide_unseen(&self, flow: &Flow, name: Option<&HostName>) -> Decision {
        self.ask(flow, name, Policy::decide_unseen)
    }

    /// May this request leave, on a flow whose requests are decided one by one?
    pub(crate) fn decide_request(
        &self,
        flow: &Flow,
        name: Option<&HostName>,
        request: &RequestLine,
    ) -> Decision {
        self.ask(flow, name, |policy, query| policy.decide_request(query, request))
    }

    /// May a flow leave for a name's real address, as far as is known?
    pub(super) fn is_allowed_at(&self, flow: &Flow, real: IpAddr, name: &HostName) -> bool {
        let decision = self.decide_at(flow, real, Some(name), Policy::decide);
        matches!(decision, Decision::Allow { .. } | Decision::PerRequest { .. })
    }

    /// Asks the policy about a flow: where its address stands for a name, about that name and the real
    /// address it leads to, whatever is asked.
    fn ask(
        &self,
        flow: &Flow,
        name: Option<&HostName>,
        ask: impl FnOnce(&Policy, &Query<'_>) -> Decision,
    ) -> Decision {
        let far = self.virtual_flows.borrow().far(flow);
        match far {
            Far::Address => self.decide_at(flow, flow.upstream.ip(), name, ask),
            Far::Nobody => denied(DenyReason::Unassigned),
            Far::Name(own, _) if name.is_some_and(|name| *name != own) => denied(DenyReason::OtherName),
            // Nothing is pinned to the name any more.
            Far::Name(_, None) => denied(DenyReason::NotPinned),
            Far::Name(own, Some(real)) => self.decide_at(flow, real, Some(&own), ask),
        }
    }

    fn decide_at(
        &self,
        flow: &Flow,
        address: IpAddr,
        name: Option<&HostName>,
        ask: impl FnOnce(&Policy, &Query<'_>) -> Decision,
    ) -> Decision {
        let now = Instant::now();
        self.hosts.with(now, |hosts| {
            // What stands for a name is no real address, by whatever translation it would be reached.
            if self.virtual_flows.borrow().contains(hosts.normalise(address)) {
                return denied(DenyReason::Unassigned);
            }
            let query = Query {
                direction: net_core::Direction::Egress,
                protocol: flow.protocol,
                address,
                port: flow.upstream.port(),
                name,
                pins: &self.pins.borrow(),
                hosts,
                now,
                wall: SystemTime::now().into(),
            };
            ask(&self.policy.borrow(), &query)
        })
    }

    /// What is said of a flow now, if it shows this name.
    pub(crate) fn terms(&self, flow: &Flow, name: Option<&HostName>) -> Terms {
        let decision = self.decide(flow, name);
        let unseen = match decision {
            Decision::PerRequest { .. } => self.decide_unseen(flow, name),
            Decision::Allow { .. } | Decision::Deny { .. } | Decision::NeedName => decision,
        };
        let rests_on_name = |decision| match decision {
            Decision::Allow { rule } | Decision::PerRequest { rule } => {
                self.policy.borrow().rests_on_name(rule)
            }
            Decision::Deny { .. } | Decision::NeedName => false,
        };
        let rests_on_name = rests_on_name(decision) || rests_on_name(unseen);
        Terms { decision, unseen, rests_on_name, is_looked_into: self.looks_into(flow) }
    }

    /// A rule that has just decided.
    pub(crate) fn bind(&self, flow: &Flow, rule: RuleId) -> BoundRule {
        let egress = net_core::Direction::Egress;
        let names_matter =
            self.policy.borrow().names_matter(rule, egress, flow.protocol, flow.upstream.port());
        BoundRule { id: rule, generation: self.generation.get(), names_matter }
    }

    /// May this name be resolved?
    pub(crate) fn decide_name(&self, name: &HostName) -> NameDecision {
        self.policy.borrow().decide_name(name, SystemTime::now().into())
    }

    /// The addresses that stand for a name, where its rule wants it answered with such: for `ttl`, from now
    /// on. Where all are in use the name has none, which is an event.
    pub(crate) fn virtual_pair(&self, name: &HostName, ttl: Duration) -> Option<VirtualPair> {
        if !self.policy.borrow().is_virtual(name, SystemTime::now().into()) {
            return None;
        }
        let pair = self.virtual_flows.borrow_mut().addresses.address_of(name, ttl, Instant::now());
        if let Err(Exhausted) = pair {
            self.events.push(Event::LimitReached { limit: "max_virtual_names" });
        }
        pair.ok()
    }

    /// Whether an address stands for a name or for nobody.
    pub(crate) fn is_virtual(&self, address: IpAddr) -> bool {
        self.virtual_flows.borrow().contains(address)
    }

    /// The name an address stands for.
    pub(crate) fn name_of(&self, address: IpAddr) -> Option<HostName> {
        self.virtual_flows.borrow().addresses.name_of(address).cloned()
    }

    /// Runs `work` on the policy, the pins and the host's addresses.
    pub(crate) fn with_policy<R>(
        &self,
        work: impl FnOnce(&Policy, &mut NameTable, &HostAddresses) -> R,
    ) -> R {
        self.hosts
            .with(Instant::now(), |hosts| work(&self.policy.borrow(), &mut self.pins.borrow_mut(), hosts))
    }

    /// The secrets of this moment; a clone shares them.
    pub(crate) fn secrets(&self) -> SecretSet {
        self.secrets.borrow().clone()
    }

    /// Changes with every swap of the secrets.
    pub(crate) fn secrets_generation(&self) -> u64 {
        self.secrets_generation.get()
    }

    /// Replaces the secrets: live connections use the new ones from their next request on. Where there
    /// were none, those that are carried unread for that reason end.
    pub(crate) fn swap_secrets(&self, secrets: SecretSet) {
        let previous = self.secrets();
        let are_first = previous.is_empty() && !secrets.is_empty();
        // More values than one automaton can hold are looked for without those that were replaced.
        let now = Instant::now();
        let until = now + self.limits.retired_secret_timeout;
        let successor = secrets.clone().succeeding(&previous, until, now).unwrap_or(secrets);
        *self.secrets.borrow_mut() = successor;
        self.secrets_generation.set(self.secrets_generation.get() + 1);
        if !are_first {
            return;
        }
        let sessions = self.sessions.borrow();
        let unread = sessions.iter().filter(|(_, session)| session.is_unread);
        let unread: Vec<(FlowId, Flow, Option<HostName>)> =
            unread.map(|(id, session)| (*id, session.flow, session.stage.name().cloned())).collect();
        drop(sessions);
        for (id, flow, name) in unread {
            self.events.push(Event::EndedUnread { flow, name });
            self.reset_session(id);
        }
        self.stack.wake_driver();
    }

    /// Forgets values that were replaced, each when its time is over. Never ends.
    pub(crate) async fn forget_retired(&self) {
        loop {
            let until = self.secrets.borrow().retired_until();
            let Some(until) = until else { return std::future::pending().await };
            sleep_until(until.into()).await;
            let expired = self.secrets().expire(Instant::now());
            // Fewer values than before make an automaton.
            if let Ok(secrets) = expired {
                *self.secrets.borrow_mut() = secrets;
            }
        }
    }

    /// Counts the policies so far: what was said under one holds no longer than it does.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Whether a policy lets TLS be opened to names that the authority may not sign for.
    fn exceeds_authority(&self, policy: &Policy) -> bool {
        let Some(authority) = self.tls.authority().filter(|authority| authority.constraints().is_some())
        else {
            return false;
        };
        intercepted_names(policy, &self.intercepted_ports)
            .is_none_or(|names| names.into_iter().any(|name| !authority.permits(&LeafSubject::Name(name))))
    }

    /// Tells the embedder, once, that the authority is about to end.
    pub(crate) async fn authority_ends(&self) {
        let Some(authority) = self.tls.authority().filter(|_| !self.authority_reported.get()) else {
            return std::future::pending().await;
        };
        // Looked at again afterwards: the host may have slept meanwhile, or set its clock.
        while let Ok(left) = authority.renew_at().duration_since(SystemTime::now()) {
            tokio::time::sleep(left.max(Duration::from_secs(1))).await;
        }
        self.authority_reported.set(true);
        self.events.push(Event::AuthorityEnds { at: authority.not_after() });
    }

    /// Replaces the policy and ends every session that the new one does not allow; how many those were.
    pub(crate) fn swap_policy(&self, policy: Policy) -> Result<usize, SwapError> {
        if self.exceeds_authority(&policy) && !self.exceeds_authority(&self.policy.borrow()) {
            return Err(SwapError::NeedsNewAuthority);
        }
        self.virtual_flows.borrow_mut().policy_changed(policy.has_virtual());
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
                    Stage::Open => (false, !session.is_unread),
                    Stage::Settled(_) => (true, false),
                    Stage::Opened(_) => (true, !session.is_unread),
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
                    None if is_read => terms.decision,
                    None => terms.unseen,
                    Some(request) => self.decide_request(&session.flow, name.as_ref(), request),
                };
                let stays = match decision {
                    // What is carried as bytes shows no name any more that might be denied.
                    Decision::Allow { rule } if is_settled && name.is_none() && terms.is_looked_into => {
                        !self.bind(&session.flow, rule).names_matter
                    }
                    Decision::Allow { .. } | Decision::PerRequest { .. } => true,
                    Decision::NeedName => !is_settled,
                    Decision::Deny { .. } => false,
                };
                (!stays).then_some((*id, session.flow, name, decision))
            })
            .collect();
        let ended = verdicts.len();
        for (id, flow, name, decision) in verdicts {
            self.report_denial(&flow, name, &decision);
            self.reset_session(id);
        }
        self.stack.wake_driver();
        Ok(ended)
    }

    fn reset_session(&self, id: FlowId) {
        self.end_session(id);
        self.stack.with(|gateway| {
            gateway.refuse(id, Refusal::Reset);
            gateway.abort(id);
        });
    }

    /// Tells the embedder that a flow is carried, if it wants to know.
    pub(crate) fn report_opened(&self, flow: &Flow, name: Option<&HostName>) {
        if self.reports_opened {
            let decision = self.decide(flow, name);
            let why = self.policy.borrow().describe(&decision);
            let (name, real) = (self.named(flow, name.cloned()), self.real_address(flow));
            self.events.push(Event::Opened { flow: *flow, name, real, why });
        }
    }

    /// Tells the embedder that a flow was refused.
    pub(crate) fn report_denial(&self, flow: &Flow, name: Option<HostName>, decision: &Decision) {
        let (name, real) = (self.named(flow, name), self.real_address(flow));
        let why = self.denial(decision);
        self.events.push(Event::Denied { flow: *flow, name, real, why });
    }

    /// Tells the embedder that a request was refused.
    pub(crate) fn report_denied_request(
        &self,
        flow: &Flow,
        name: Option<HostName>,
        request: &RequestLine,
        decision: &Decision,
    ) {
        let (name, real) = (self.named(flow, name), self.real_address(flow));
        let (request, why) = (DeniedRequest::of(request), self.denial(decision));
        self.events.push(Event::RequestDenied { flow: *flow, name, real, request, why });
    }

    fn denial(&self, decision: &Decision) -> Denial {
        match *decision {
            Decision::Deny { rule: Some(rule), reason, layer } => {
                Denial::Rule { rule: self.rule_label(layer, rule, decision), reason }
            }
            Decision::Deny { rule: None, reason, layer } => Denial::Default { reason, layer },
            Decision::NeedName => Denial::NeedName,
            Decision::Allow { rule } | Decision::PerRequest { rule } => {
                Denial::Unnamed(self.rule_label(Layer::Own, rule, decision))
            }
        }
    }

    /// Tells the embedder that a flow is none that is carried, whatever the rules.
    pub(crate) fn report_protocol(&self, flow: &Flow, name: Option<HostName>, why: &'static str) {
        let (name, real) = (self.named(flow, name), self.real_address(flow));
        self.events.push(Event::Denied { flow: *flow, name, real, why: Denial::Protocol(why) });
    }

    /// Tells the embedder that a flow was not reached.
    pub(crate) fn report_dial_failure(&self, flow: &Flow, error: DialError) {
        let (name, real) = (self.virtual_name(flow), self.real_address(flow));
        self.events.push(Event::DialFailed { flow: *flow, name, real, error });
    }

    /// The name a flow shows, or that its address stands for.
    fn named(&self, flow: &Flow, shown: Option<HostName>) -> Option<HostName> {
        shown.or_else(|| self.virtual_name(flow))
    }

    /// A rule in words, put there once: denials are as many as a guest likes.
    fn rule_label(&self, layer: Layer, id: RuleId, decision: &Decision) -> RuleLabel {
        // Where none of a flow's requests can be seen the words say so, too.
        let is_unseen = matches!(decision, Decision::Deny { reason: DenyReason::NotHttp, .. });
        let mut labels = self.rule_labels.borrow_mut();
        let text = labels
            .entry((layer, id, is_unseen))
            .or_insert_with(|| self.policy.borrow().describe(decision).into());
        RuleLabel { id, text: Arc::clone(text) }
    }

    /// Tells the embedder that a placeholder was on its way where it may not go, and ends the guest
    /// if that is what the owner wants.
    pub(crate) fn report_violation(&self, flow: &Flow, name: Option<HostName>, why: String) {
        self.events.push(Event::Violation { flow: *flow, name, why });
        match self.on_violation {
            ViolationAction::Block => {}
            ViolationAction::Terminate => self.terminated.notify_one(),
        }
    }

    /// Waits until the guest's network must end.
    pub(crate) async fn terminated(&self) {
        self.terminated.notified().await;
    }

    /// Where upstream is dialled: elsewhere if the owner says so, and for the gateway's own address
    /// on the host's loopback.
    pub(crate) fn dial_address(&self, flow: &Flow) -> SocketAddr {
        let upstream = self.reached(flow);
        if let Some(elsewhere) = self.redirects.get(&upstream) {
            return *elsewhere;
        }
        // The policy looks through translations, so a translated gateway is the gateway here too.
        let reached = self.hosts.with(Instant::now(), |hosts| hosts.normalise(upstream.ip()));
        let is_gateway = self.addresses.is_gateway(reached);
        match upstream.ip() {
            IpAddr::V4(_) if is_gateway => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), upstream.port()),
            IpAddr::V6(_) if is_gateway => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), upstream.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => upstream,
        }
    }

    /// The addresses the host alias resolves to.
    pub(crate) fn gateways(&self) -> Vec<IpAddr> {
        self.addresses.gateways().collect()
    }

    /// Whether the first flight to this port is read before a flow goes on.
    fn looks_into(&self, flow: &Flow) -> bool {
        let port = flow.upstream.port();
        // HTTP without TLS has no form over UDP.
        let is_plain_http = port == HTTP_PORT && flow.protocol == Protocol::Tcp;
        is_plain_http || self.intercepted_ports.contains(&port)
    }

    /// Whether TLS is opened at all.
    pub(crate) fn opens_tls(&self) -> bool {
        self.tls.has_authority() && !self.intercepted_ports.is_empty()
    }

    /// Whether TLS to this port and name is opened.
    pub(crate) fn intercepts(&self, port: u16, name: Option<&HostName>) -> bool {
        let is_bypassed = name.is_some_and(|name| self.bypass.iter().any(|pattern| pattern.matches(name)));
        self.tls.has_authority() && self.intercepted_ports.contains(&port) && !is_bypassed
    }

    /// Whether a hello that may hide its name is refused where it would be passed on.
    pub(crate) fn refuses_ech(&self, has_ech: bool) -> bool {
        self.refuses_ech && has_ech
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
        self.sessions.borrow_mut().insert(id, Session::new(flow, stage, holds_pins, task));
    }

    /// Notes that a session is carried for good, for `name` or for its address.
    pub(crate) fn settle_session(&self, id: FlowId, flow: &Flow, name: Option<&HostName>) {
        self.report_opened(flow, name);
        self.with_session(id, |session| session.stage = Stage::Settled(name.cloned()));
    }

    /// Notes that the TLS of a session is opened, for `name` or for its address.
    pub(crate) fn settle_opened(&self, id: FlowId, flow: &Flow, name: Option<&HostName>) {
        self.report_opened(flow, name);
        self.with_session(id, |session| session.stage = Stage::Opened(name.cloned()));
    }

    /// Notes that a session left HTTP for a protocol that is carried as bytes, for `name` where it is for
    /// no other, and after this request, where requests are decided one by one.
    pub(crate) fn settle_tunnel(&self, id: FlowId, name: Option<&HostName>, request: Option<RequestLine>) {
        self.with_session(id, |session| {
            session.upgraded_by = request;
            if name.is_some() || matches!(session.stage, Stage::Open) {
                session.stage = Stage::Settled(name.cloned());
            }
            session.is_unread = true;
        });
    }

    /// Notes that a session is carried as bytes only because there are no secrets.
    pub(crate) fn note_unread(&self, id: FlowId) {
        self.with_session(id, |session| session.is_unread = true);
    }

    /// Notes a request's name for as long as it runs: see [`ShownName`](super::ShownName).
    pub(super) fn show_name(&self, id: FlowId, name: &HostName) {
        self.with_session(id, |session| session.shown.push(name.clone()));
    }

    pub(super) fn hide_name(&self, id: FlowId, name: &HostName) {
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
            self.release_pins(&session);
            session.task.abort();
        }
    }

    pub(crate) fn leave_session(&self, id: FlowId) {
        let session = self.sessions.borrow_mut().remove(&id);
        if let Some(session) = session {
            self.release_pins(&session);
        }
    }

    fn release_pins(&self, session: &Session) {
        if session.holds_pins {
            self.pins.borrow_mut().release(session.flow.upstream.ip());
        }
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// A place among the DNS queries in flight, given back on drop.
    pub(crate) fn enter_dns_query(&self) -> Option<DnsPlace> {
        let count = self.dns_queries.get();
        if count >= self.limits.max_dns_queries {
            return None;
        }
        self.dns_queries.set(count + 1);
        Some(DnsPlace(Rc::clone(&self.dns_queries)))
    }
}

/// A denial without a rule.
const fn denied(reason: DenyReason) -> Decision {
    Decision::Deny { rule: None, reason, layer: Layer::Own }
}

/// See [`Context::enter_dns_query`].
pub(crate) struct DnsPlace(Rc<Cell<usize>>);

impl Drop for DnsPlace {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
