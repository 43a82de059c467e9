//! What a guest's sessions share: whom they ask, and who hears of it.

mod reports;
mod secrets;
mod sessions;
mod shaping;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use net_core::{Flow, HostName, HostPattern, Limits, Protocol};
use net_policy::dns::DenialStyle;
use net_policy::{
    Decision, DenyReason, Exhausted, HostAddresses, Layer, NameDecision, NameTable, Policy, Query,
    RequestLine, RuleId, VirtualPair,
};
use net_secrets::{Destination, SecretSet, ViolationCount};
use net_tls::LeafSubject;
use tokio::sync::Notify;

use self::sessions::Session;
pub(crate) use self::sessions::Stage;
use super::{
    BoundRule, Event, EventQueue, Far, FlowCaps, GuestConfig, HeldBytes, HostPorts, Hosts, InnerProtocol,
    InnerTerms, Interception, OldServers, Resolvers, Stack, Terms, TlsParts, UpstreamSide, ViolationAction,
    ViolationReport, VirtualFlows, intercepted_names,
};
use crate::core::{FlowId, GuestAddresses};
use crate::proxy::Proxies;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

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
    /// See [`GuestConfig::strict_hosts`].
    pub(crate) strict_hosts: bool,
    /// See [`GuestConfig::readable_denials`].
    pub(crate) readable_denials: bool,
    pub(super) addresses: GuestAddresses,
    redirects: HashMap<SocketAddr, SocketAddr>,
    host_ports: HostPorts,
    pub(super) proxies: Proxies,
    /// Whether rules of the policy name some.
    pub(super) has_chosen_proxies: Cell<bool>,
    intercepted_ports: BTreeSet<u16>,
    /// Whether its end was told.
    authority_reported: Cell<bool>,
    bypass: Vec<HostPattern>,
    refuses_ech: bool,
    policy: RefCell<Policy>,
    /// Whether some rule of it bounds what its flows carry.
    has_shaping: Cell<bool>,
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
    flow_caps: RefCell<FlowCaps>,
    dns_queries: Rc<Cell<usize>>,
    pub(crate) held_bytes: HeldBytes,
    /// Where a body goes whole or not at all.
    pub(crate) old_servers: OldServers,
    on_violation: ViolationAction,
    violations: RefCell<ViolationCount>,
    reports_opened: bool,
    /// The violation that the guest's network must end for.
    fatal: RefCell<Option<ViolationReport>>,
    /// Notified when there is one.
    terminated: Notify,
}

impl Context {
    pub(crate) fn new(stack: Stack, events: EventQueue, config: GuestConfig) -> Self {
        let addresses = stack.with(|gateway| *gateway.addresses());
        let pins = NameTable::new(config.limits.max_pins, config.limits.max_pins_per_name)
            .with_grace(config.limits.pin_grace);
        let Interception { ports, bypass, refuse_ech, authority } = config.interception;
        let own = addresses.gateways().chain(addresses.gateway_link_local());
        let has_virtual = config.policy.has_virtual();
        let has_chosen_proxies = Cell::new(config.policy.chosen_proxies().next().is_some());
        let virtual_flows = VirtualFlows::new(config.virtual_pools, &config.limits, has_virtual);
        stack.shape_link(&config.shaping);
        let flow_caps = FlowCaps::new(&config.limits);
        let hosts = Hosts::new(own, config.host_addresses, config.nat64, Instant::now());
        Self {
            stack,
            tls: TlsParts::new(
                authority,
                UpstreamSide::new(config.upstream_trust, config.host_trust),
                config.dangerous_tls_key_log,
                &config.limits,
                events.clone(),
            ),
            held_bytes: HeldBytes::new(config.limits.max_held_bytes),
            old_servers: OldServers::default(),
            events,
            intercepted_ports: ports,
            authority_reported: Cell::new(false),
            bypass,
            refuses_ech: refuse_ech,
            host_alias: config.host_alias,
            resolvers: Resolvers::new(config.nameservers),
            dns_denial: config.dns_denial,
            strict_hosts: config.strict_hosts,
            readable_denials: config.readable_denials,
            limits: config.limits,
            redirects: config.redirects,
            host_ports: config.host_ports,
            proxies: Proxies::new(config.proxies),
            has_chosen_proxies,
            addresses,
            has_shaping: Cell::new(config.policy.has_shaping()),
            policy: RefCell::new(config.policy),
            generation: Cell::new(0),
            rule_labels: RefCell::default(),
            pins: RefCell::new(pins),
            hosts,
            virtual_flows: RefCell::new(virtual_flows),
            secrets: RefCell::new(config.secrets),
            secrets_generation: Cell::new(0),
            sessions: RefCell::new(HashMap::new()),
            flow_caps: RefCell::new(flow_caps),
            dns_queries: Rc::default(),
            on_violation: config.on_violation,
            violations: RefCell::new(ViolationCount::new(config.terminate_after)),
            reports_opened: config.reports_opened,
            fatal: RefCell::default(),
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
        let (is_looked_into, is_strict) = (self.looks_into(flow), self.strict_hosts);
        Terms { decision, unseen, rests_on_name, is_looked_into, is_strict }
    }

    /// A rule that has just decided.
    pub(crate) fn bind(&self, flow: &Flow, rule: RuleId) -> BoundRule {
        let egress = net_core::Direction::Egress;
        let names_matter =
            self.policy.borrow().names_matter(rule, egress, flow.protocol, flow.upstream.port());
        let is_opaque = self.policy.borrow().is_opaque(rule);
        BoundRule { id: rule, generation: self.generation.get(), names_matter, is_opaque }
    }

    /// What the content of a stream is held to that is for `name` or for its address.
    pub(crate) fn inner(&self, flow: &Flow, name: Option<&HostName>, protocol: InnerProtocol) -> InnerTerms {
        let decision = self.decide(flow, name);
        let rule = match decision {
            Decision::Allow { rule } | Decision::PerRequest { rule } => Some(self.bind(flow, rule)),
            Decision::Deny { .. } | Decision::NeedName => None,
        };
        let names_matter = rule.is_none_or(|rule| rule.names_matter);
        let secrets = self.secrets();
        let from = Destination { host: name, port: flow.upstream.port(), is_verified: false };
        InnerTerms {
            nothing_at_stake: !names_matter && secrets.looks_for_nothing(),
            names_matter,
            is_per_request: !matches!(decision, Decision::Allow { .. }),
            is_opaque: rule.is_some_and(|rule| rule.is_opaque),
            is_scrubbed: secrets.scrubber(&from).is_some(),
            is_strict: self.strict_hosts,
            protocol,
        }
    }

    /// Whether a stream to this port is HTTP unless it says otherwise.
    pub(crate) fn is_port_of_http(port: u16) -> bool {
        port == HTTP_PORT || port == HTTPS_PORT
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

    /// Waits until the guest's network must end: for what.
    pub(crate) async fn terminated(&self) -> ViolationReport {
        loop {
            self.terminated.notified().await;
            if let Some(report) = self.fatal_violation() {
                return report;
            }
        }
    }

    /// The violation that the guest's network must end for, once.
    pub(crate) fn fatal_violation(&self) -> Option<ViolationReport> {
        self.fatal.borrow_mut().take()
    }

    /// Where upstream is dialled: elsewhere if the owner says so, and for the gateway's own address
    /// where its port leads, which is on the host's loopback unless that is said to be elsewhere.
    pub(crate) fn dial_address(&self, flow: &Flow) -> SocketAddr {
        let upstream = self.reached(flow);
        if let Some(elsewhere) = self.redirects.get(&upstream) {
            return *elsewhere;
        }
        // The policy looks through translations, so a translated gateway is the gateway here too.
        let reached = self.hosts.with(Instant::now(), |hosts| hosts.normalise(upstream.ip()));
        if self.addresses.is_gateway(reached) { self.host_ports.dialled(flow) } else { upstream }
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
