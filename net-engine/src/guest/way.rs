//! The way a flow takes to upstream: directly, or by a proxy.

use std::rc::Rc;
use std::time::{Duration, Instant};

use net_core::{Direction, Flow, HostName, Protocol};
use net_policy::{Decision, HostAddresses, RuleId};

use super::{Context, DialError, Event, Terms, dial};
use crate::core::FlowId;
use crate::proxy::{Proxy, ProxyError, ProxyTarget, Route, Towards, UpstreamStream};

/// The way of one flow.
#[derive(Clone, PartialEq)]
pub(super) struct Way {
    route: Route,
    /// What a proxy is told in place of the address.
    name: Option<HostName>,
}

/// The way a session was dialled.
pub(super) struct Taken {
    /// The name it had shown by then.
    pub(super) shown: Option<HostName>,
    pub(super) way: Way,
}

impl Context {
    /// Whether all flows go directly: most guests have no proxies, and no flow pays for those of others.
    fn knows_no_proxies(&self) -> bool {
        self.proxies.is_empty() && !self.has_chosen_proxies.get()
    }

    /// Whom a flow may be for: the name that it shows or that its address stands for, else those of its address.
    fn names_of(&self, flow: &Flow, shown: Option<&HostName>) -> Vec<HostName> {
        if let Some(name) = self.virtual_name(flow).or_else(|| shown.cloned()) {
            return vec![name];
        }
        let address = self.reached(flow).ip();
        let now = Instant::now();
        // All of them, which are bounded: the one that goes by a proxy may be any.
        self.with_policy(|_, pins, _| pins.names_of(address, now).cloned().collect())
    }

    /// The routes that a flow by this rule may take, one for each of its names.
    fn routes(&self, flow: &Flow, rule: Option<RuleId>, names: &[HostName]) -> Vec<Route> {
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
            if names.is_empty() {
                return vec![route(None)];
            }
            names.iter().map(|name| route(Some(name))).collect()
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

    /// Decided anew: where a flow is not allowed, not yet or not any more, there is none.
    ///
    /// # Errors
    /// [`DialError::Denied`].
    fn way(&self, flow: &Flow, shown: Option<&HostName>) -> Result<Way, DialError> {
        let rule = self.rule_of(flow, shown);
        if rule.is_none() {
            return Err(DialError::Denied);
        }
        if self.knows_no_proxies() {
            return Ok(Way { route: Route::Direct, name: None });
        }
        let names = self.names_of(flow, shown);
        let routes = self.routes(flow, rule, &names);
        // Where the names differ nobody goes past a proxy that one of them is for.
        let indirect = routes.iter().find(|route| **route != Route::Direct);
        let route = indirect.cloned().unwrap_or(Route::Direct);
        let tells_names = matches!(&route, Route::Via(proxy) if proxy.tells_names());
        let name = match &*names {
            [name] if tells_names && self.rests_on_name_alone(flow, rule) => Some(name.clone()),
            _ => None,
        };
        Ok(Way { route, name })
    }

    /// Whether the connection of a session took another way than what shows this name has to take.
    pub(crate) fn goes_otherwise(&self, id: FlowId, flow: &Flow, shown: Option<&HostName>) -> bool {
        if self.knows_no_proxies() {
            return false;
        }
        self.way(flow, shown).map_or(true, |way| !self.has_taken(id, &way))
    }

    /// Whether a flow is to go by another way than this one now. Where it may not go any more, whoever decides it says
    /// so, and its next dial.
    fn has_other_way(&self, flow: &Flow, shown: Option<&HostName>, taken: &Way) -> bool {
        if self.knows_no_proxies() && taken.route == Route::Direct {
            return false;
        }
        self.way(flow, shown).is_ok_and(|way| way != *taken)
    }

    /// Whether a session is to go by another way than it was dialled.
    pub(super) fn is_led_otherwise(&self, flow: &Flow, taken: &Taken) -> bool {
        self.has_other_way(flow, taken.shown.as_ref(), &taken.way)
    }

    /// Whether a name that shows later on a stream could say that it goes another way, its rule being the same.
    pub(crate) fn names_choose_the_way(&self) -> bool {
        self.proxies.look_at_names()
    }

    /// Whether the name that a flow is about to show says by which way it goes: then it is not dialled before.
    pub(crate) fn way_needs_name(&self, flow: &Flow, terms: &Terms) -> bool {
        if self.knows_no_proxies() || !terms.is_looked_into {
            return false;
        }
        let (rule, names) = (self.rule_of(flow, None), self.names_of(flow, None));
        if names.len() < 2 {
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
        if self.knows_no_proxies() {
            return false;
        }
        match self.way(flow, shown).map(|way| way.route) {
            Ok(Route::Direct) => false,
            Ok(Route::Via(proxy)) => !proxy.lets_others_pass(),
            Ok(Route::Nowhere) | Err(_) => true,
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
/// its addresses that answers. `shown` is the name the flow has shown. The session `id` is noted to have taken it.
///
/// # Errors
/// [`DialError`], that of the last address; `Denied` where the policy does not allow it any more.
pub(crate) async fn dial_flow(
    context: &Context,
    id: FlowId,
    flow: &Flow,
    shown: Option<&HostName>,
) -> Result<UpstreamStream, DialError> {
    let deadline = Instant::now() + context.limits.connect_timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / context.untried(flow).saturating_add(1);
        let way = context.way(flow, shown)?;
        let dialled = match &way.route {
            Route::Direct => dial(context.dial_address(flow), share).await.map(UpstreamStream::from),
            Route::Nowhere => return Err(DialError::Proxy(ProxyError::Unknown)),
            Route::Via(proxy) => {
                // A proxy that resolves the name has tried its addresses.
                let share = if way.name.is_some() { left } else { share };
                // On the heap: a flow that is dialled directly does not carry the room.
                Box::pin(dial_by(context, flow, shown, proxy, way.name.as_ref(), share)).await
            }
        };
        let error = match dialled {
            // The policy, or what is known of names, may have changed meanwhile.
            Ok(_) if context.has_other_way(flow, shown, &way) => continue,
            Ok(connected) => {
                context.note_way(id, Taken { shown: shown.cloned(), way });
                return Ok(connected);
            }
            Err(error) if way.name.is_some() => return Err(error),
            Err(error) => error,
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::{Ipv4Addr, SocketAddr};

    use net_policy::Policy;

    use super::*;
    use crate::core::{Gateway, GatewayConfig, GuestAddresses};
    use crate::guest::{EventQueue, GuestConfig, Stack, now};
    use crate::link::LinkCapabilities;

    fn context(policy: Policy, redirects: HashMap<SocketAddr, SocketAddr>) -> Context {
        let config = GuestConfig { policy, redirects, ..GuestConfig::default() };
        let gateway = GatewayConfig {
            addresses: GuestAddresses::default(),
            link: LinkCapabilities { mtu: 1500, offload: false },
            limits: config.limits.clone(),
            random_seed: 1,
            autoconfiguration: None,
        };
        let stack = Stack::new(Gateway::new(gateway, now()).expect("a gateway"));
        Context::new(stack, EventQueue::new(8), config)
    }

    #[tokio::test]
    async fn nothing_is_dialled_that_is_not_allowed_at_the_time() {
        let server = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        server.set_nonblocking(true).expect("a socket");
        let upstream = SocketAddr::from(([9, 9, 9, 9], 80));
        let redirects = HashMap::from([(upstream, server.local_addr().expect("an address"))]);
        let guest = (Ipv4Addr::new(10, 0, 0, 2), 40_000).into();
        let flow = Flow { protocol: Protocol::Tcp, guest, upstream };
        let names = ["a.example", "b.example"].map(|name| name.parse::<HostName>().expect(name));
        let cases = [
            (Policy::builder().allow("public"), Ok(())),
            (Policy::builder(), Err(DialError::Denied)),
            // One of the names of its address is denied, and none is shown.
            (Policy::builder().deny("b.example").allow("public"), Err(DialError::Denied)),
        ];
        for (policy, expected) in cases {
            let context = context(policy.build().expect("rules"), redirects.clone());
            for name in &names {
                context
                    .with_policy(|_, pins, _| pins.pin(name, upstream.ip(), Duration::from_secs(9), now()));
            }
            let dialled = dial_flow(&context, FlowId::nobody(), &flow, None).await;
            assert_eq!(dialled.map(drop), expected);
            assert_eq!(server.accept().is_ok(), expected.is_ok());
        }
    }
}
