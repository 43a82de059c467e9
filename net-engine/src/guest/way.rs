//! The way a flow takes to upstream: directly, or by a proxy.

use std::rc::Rc;
use std::time::{Duration, Instant};

use net_core::{Direction, Flow, HostName, Protocol};
use net_policy::{Decision, HostAddresses, RuleId};

use super::{Context, DialError, Event, Terms, dial};
use crate::proxy::{Proxy, ProxyError, ProxyTarget, Route, Towards, UpstreamStream};

/// Names of one address that are looked at for the way to it.
const MAX_NAMES: usize = 16;

/// The way of one flow.
struct Way {
    route: Route,
    /// What a proxy is told in place of the address.
    name: Option<HostName>,
}

/// Whom a flow may be for: the name that it shows or that its address stands for, else those of its address.
struct Names {
    all: Vec<HostName>,
}

impl Context {
    /// Whether all flows go directly: most guests have no proxies, and no flow pays for those of others.
    fn knows_no_proxies(&self) -> bool {
        self.proxies.is_empty() && !self.has_chosen_proxies.get()
    }

    fn names_of(&self, flow: &Flow, shown: Option<&HostName>) -> Names {
        if let Some(name) = self.virtual_name(flow).or_else(|| shown.cloned()) {
            return Names { all: vec![name] };
        }
        let address = self.reached(flow).ip();
        let now = Instant::now();
        let all =
            self.with_policy(|_, pins, _| pins.names_of(address, now).take(MAX_NAMES).cloned().collect());
        Names { all }
    }

    /// The routes that a flow by this rule may take, one for each of its names.
    fn routes(&self, flow: &Flow, rule: Option<RuleId>, names: &Names) -> Vec<Route> {
        let reached = self.reached(flow);
        // What the owner leads elsewhere, and the gateway, are never another's to reach.
        if self.leads_elsewhere(flow) {
            return vec![Route::Direct];
        }
        let port = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp).then(|| reached.port());
        self.with_policy(|policy, _, hosts: &HostAddresses| {
            let chosen = rule.and_then(|rule| policy.rule(rule)).and_then(|rule| rule.chosen_proxy());
            let route =
                |name| self.proxies.route(chosen, Towards { name, address: reached.ip(), port }, hosts);
            if names.all.is_empty() {
                return vec![route(None)];
            }
            names.all.iter().map(|name| route(Some(name))).collect()
        })
    }

    /// The rule that lets a flow go, as far as is known.
    fn rule_of(&self, flow: &Flow, shown: Option<&HostName>) -> Option<RuleId> {
        match self.decide(flow, shown) {
            Decision::Allow { rule } | Decision::PerRequest { rule } => Some(rule),
            Decision::Deny { .. } | Decision::NeedName => None,
        }
    }

    /// Whether the proxy may be told a name in place of the address: the verdict is that name's, whatever
    /// address it leads to.
    fn rests_on_name_alone(&self, flow: &Flow, rule: Option<RuleId>) -> bool {
        let (protocol, port) = (flow.protocol, flow.upstream.port());
        rule.is_some_and(|rule| {
            self.with_policy(|policy, _, _| {
                policy.rests_on_name_alone(rule, Direction::Egress, protocol, port)
            })
        })
    }

    fn way(&self, flow: &Flow, shown: Option<&HostName>) -> Way {
        if self.knows_no_proxies() {
            return Way { route: Route::Direct, name: None };
        }
        let (rule, names) = (self.rule_of(flow, shown), self.names_of(flow, shown));
        let routes = self.routes(flow, rule, &names);
        // Where the names differ nobody goes past a proxy that one of them is for.
        let indirect = routes.iter().find(|route| **route != Route::Direct);
        let route = indirect.cloned().unwrap_or(Route::Direct);
        let tells_names = matches!(&route, Route::Via(proxy) if proxy.tells_names());
        let name = match &*names.all {
            [name] if tells_names && self.rests_on_name_alone(flow, rule) => Some(name.clone()),
            _ => None,
        };
        Way { route, name }
    }

    /// Whether the name that a flow is about to show says by which way it goes: then it is not dialled before.
    pub(crate) fn way_needs_name(&self, flow: &Flow, terms: &Terms) -> bool {
        if self.knows_no_proxies() || !terms.is_looked_into {
            return false;
        }
        let (rule, names) = (self.rule_of(flow, None), self.names_of(flow, None));
        if names.all.len() < 2 {
            return false;
        }
        let routes = self.routes(flow, rule, &names);
        let tells_names =
            routes.iter().any(|route| matches!(route, Route::Via(proxy) if proxy.tells_names()));
        routes.windows(2).any(|pair| pair[0] != pair[1])
            || tells_names && self.rests_on_name_alone(flow, rule)
    }

    /// Whether a flow that no proxy can carry is not to go past the one that it would go by.
    pub(crate) fn is_kept_from_passing(&self, flow: &Flow, shown: Option<&HostName>) -> bool {
        match self.way(flow, shown).route {
            Route::Direct => false,
            Route::Via(proxy) => !proxy.lets_others_pass(),
            Route::Nowhere => true,
        }
    }

    /// Whether a flow is led elsewhere than where the guest sends it.
    fn leads_elsewhere(&self, flow: &Flow) -> bool {
        self.dial_address(flow) != self.reached(flow)
    }

    fn report_proxy_failure(&self, flow: &Flow, shown: Option<&HostName>, proxy: &Proxy, error: ProxyError) {
        let name = self.virtual_name(flow).or_else(|| shown.cloned());
        let proxy = proxy.to_string();
        self.events.push(Event::ProxyFailed { flow: *flow, name, proxy, error });
    }
}

/// Connects to a flow's upstream, which is allowed, by the way that is its: where that is a name, to the first of
/// its addresses that answers. `shown` is the name the flow has shown.
///
/// # Errors
/// [`DialError`], that of the last address.
pub(crate) async fn dial_flow(
    context: &Context,
    flow: &Flow,
    shown: Option<&HostName>,
) -> Result<UpstreamStream, DialError> {
    let deadline = Instant::now() + context.limits.connect_timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / context.untried(flow).saturating_add(1);
        let error = match context.way(flow, shown) {
            Way { route: Route::Direct, .. } => match dial(context.dial_address(flow), share).await {
                Ok(connected) => return Ok(connected.into()),
                Err(error) => error,
            },
            Way { route: Route::Nowhere, .. } => return Err(DialError::Proxy(ProxyError::Unknown)),
            Way { route: Route::Via(proxy), name } => {
                // A proxy that resolves the name has tried its addresses.
                let (share, is_last) = if name.is_some() { (left, true) } else { (share, false) };
                // On the heap: a flow that is dialled directly does not carry the room.
                let dialling = Box::pin(dial_by(context, flow, shown, &proxy, name.as_ref(), share));
                match dialling.await {
                    Ok(connected) => return Ok(connected),
                    Err(error) if is_last => return Err(error),
                    Err(error) => error,
                }
            }
        };
        if !context.try_next(flow) {
            return Err(error);
        }
    }
}

async fn dial_by(
    context: &Context,
    flow: &Flow,
    shown: Option<&HostName>,
    proxy: &Rc<Proxy>,
    name: Option<&HostName>,
    patience: Duration,
) -> Result<UpstreamStream, DialError> {
    let reached = context.reached(flow);
    let target = match name {
        Some(name) => ProxyTarget::Name(name, reached.port()),
        None => ProxyTarget::Address(reached),
    };
    proxy.connect(target, patience).await.map_err(|error| {
        context.report_proxy_failure(flow, shown, proxy, error);
        DialError::Proxy(error)
    })
}
