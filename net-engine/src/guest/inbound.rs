//! Connections towards the guest: who may have one.

use std::net::{IpAddr, SocketAddr};
use std::time::{Instant, SystemTime};

use net_core::{Direction, Flow, Protocol};
use net_policy::{Decision, DenyReason, Layer, Query};

use super::{Context, Event, InboundError};

impl Context {
    /// May `peer` connect or send to a port of the guest's that is published?
    ///
    /// What no rule says anything of is allowed: that it is published is the rule.
    pub(crate) fn decide_inbound(
        &self,
        protocol: Protocol,
        peer: IpAddr,
        guest_port: u16,
    ) -> Result<(), Decision> {
        let now = Instant::now();
        let decision = self.with_policy(|policy, pins, hosts| {
            policy.decide(&Query {
                direction: Direction::Ingress,
                protocol,
                address: peer,
                port: guest_port,
                name: None,
                pins: &*pins,
                hosts,
                now,
                wall: SystemTime::now().into(),
            })
        });
        match decision {
            Decision::Allow { .. } => Ok(()),
            Decision::Deny { rule: None, reason: DenyReason::Default, layer: Layer::Own } => Ok(()),
            Decision::Deny { .. } | Decision::NeedName | Decision::PerRequest { .. } => Err(decision),
        }
    }

    pub(crate) fn report_inbound_denial(&self, peer: IpAddr, guest_port: u16, decision: &Decision) {
        let why = self.denial(decision);
        self.events.push(Event::InboundDenied { peer, guest_port, why });
    }

    pub(crate) fn report_inbound(&self, peer: IpAddr, guest_port: u16) {
        if self.reports_opened() {
            self.events.push(Event::InboundOpened { peer, guest_port });
        }
    }

    pub(crate) fn report_inbound_failure(&self, guest_port: u16, error: InboundError) {
        self.events.push(Event::InboundFailed { guest_port, error });
    }

    /// The flows by which the guest may hear of a connection from `peer`: from that very address where it is
    /// one of the guest's network, from the gateway's where it is the host's own; of its family first.
    pub(crate) fn inbound_flows(
        &self,
        protocol: Protocol,
        peer: Option<SocketAddr>,
        guest_port: u16,
    ) -> Vec<Flow> {
        let addresses = &self.addresses;
        let pairs = [
            addresses.ipv4.map(|pair| (IpAddr::V4(pair.guest), IpAddr::V4(pair.gateway))),
            addresses.ipv6.map(|pair| (IpAddr::V6(pair.guest), IpAddr::V6(pair.gateway))),
        ];
        let port = peer.map_or(0, |peer| peer.port());
        let shown = peer.map(|peer| peer.ip()).filter(|peer| !self.is_own_address(*peer));
        let flows = pairs.into_iter().flatten().map(|(guest, gateway)| {
            let far = shown.filter(|shown| shown.is_ipv4() == guest.is_ipv4()).unwrap_or(gateway);
            Flow { protocol, guest: SocketAddr::new(guest, guest_port), upstream: SocketAddr::new(far, port) }
        });
        let mut flows: Vec<Flow> = flows.collect();
        flows.sort_by_key(|flow| peer.is_some_and(|peer| peer.is_ipv4() != flow.guest.is_ipv4()));
        flows
    }

    /// Whether an address means this host, or nobody on the guest's network.
    fn is_own_address(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || address.is_unspecified()
            || matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
            || self.is_virtual(address)
            || self.with_policy(|_, _, hosts| hosts.contains(address))
    }
}
