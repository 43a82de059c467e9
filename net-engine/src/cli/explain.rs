//! `explain`: what would become of one flow, and why.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use net_core::{Direction, Flow, HostName, Protocol};
use net_policy::{
    Decision, Group, HostAddresses, MIN_TTL, NameDecision, NameTable, Query, RequestLine, VirtualPools,
};

use super::args::{ExplainArgs, PolicyArgs};
use super::config::Config;
use super::plan::{self, Settings};
use crate::HostInterfaces;
use crate::core::GuestAddresses;
use crate::proxy::{Proxies, Route, Towards};

/// What a name is taken to resolve to unless something else is said: public, and no service that a rule
/// is likely to name (PCP anycast, RFC 7723).
const ASSUMED_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 9);

/// Prints every rule that is looked at; the status says whether the flow is allowed.
pub(super) fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    let (config, _) = Config::read(&args.file)?;
    let settings = Settings::new(&PolicyArgs::default(), &config)?;
    let addresses = GuestAddresses::default();
    let interfaces = HostInterfaces::System.addresses().unwrap_or_default();
    let own = addresses.gateways().chain(addresses.gateway_link_local()).chain(interfaces);
    let hosts = own.collect::<HostAddresses>().with_nat64(settings.nat64.clone());
    let Far { mut name, address, port } = Far::parse(&args.target)?;
    let policy = &settings.policy;
    let (now, wall) = (crate::guest::now(), plan::now().into());
    let mut pins = NameTable::new(1, 1);
    let mut is_resolved = true;
    if let Some(address) = address
        && policy.has_virtual()
        && VirtualPools::default().contains(address)
    {
        println!("{address} stands for a name that was answered with it, or for none: then it is denied");
        println!("denied: no name was answered with it here");
        return Ok(ExitCode::from(1));
    }
    let address = match (&name, address, args.address) {
        (None, Some(address), None) => address,
        (None, _, _) => bail!("--address: only a name resolves to something"),
        (Some(alias), _, None) if *alias == settings.host_alias => {
            is_resolved = policy.may_reach_host();
            let answer = if is_resolved { "" } else { ", and is not answered: no rule could allow it" };
            println!("{alias} means this machine{answer}");
            name = None;
            addresses.gateways().next().ok_or_else(|| anyhow!("there is no gateway"))?
        }
        (Some(asked), _, given) => {
            let decision = policy.decide_name(asked, wall);
            is_resolved = matches!(decision, NameDecision::Allow { .. });
            let verb = if is_resolved { "may be" } else { "is not" };
            println!("{asked} {verb} resolved: {}", policy.describe_name(&decision));
            if is_resolved && policy.is_virtual(asked, wall) {
                println!("it is answered with an address of its own, which stands for what it resolves to");
            }
            let address = given.unwrap_or_else(|| {
                println!("taking it to resolve to {ASSUMED_ADDRESS}, a public address (see --address)");
                ASSUMED_ADDRESS.into()
            });
            let group = Group::of(address, &hosts);
            if group == Some(Group::Public) || policy.permits_address(address, &hosts) {
                pins.pin(asked, address, MIN_TTL, now);
            } else {
                is_resolved = false;
                let group = group.map_or("reserved", Group::as_str);
                println!("an answer with {address} is refused: it is {group}, and no rule allows it as such");
            }
            address
        }
    };
    let query = Query {
        direction: Direction::Egress,
        protocol: args.protocol.into(),
        address,
        port,
        name: name.as_ref(),
        pins: &pins,
        hosts: &hosts,
        now,
        wall,
    };
    let explanation = match args.request() {
        Some(request) => policy.explain_request(&query, &request),
        None => policy.explain(&query),
    };
    println!("{explanation}");
    if let Decision::Allow { rule } = explanation.decision()
        && policy.is_opaque(rule)
    {
        println!("inside TLS that is opened anything but HTTP is passed on as bytes too");
    }
    if let Decision::PerRequest { .. } = explanation.decision() {
        println!("where it is not HTTP, or is not looked into:\n{}", policy.explain_unseen(&query));
    }
    let is_allowed = matches!(explanation.decision(), Decision::Allow { .. } | Decision::PerRequest { .. });
    if is_allowed && is_resolved {
        let rule = match explanation.decision() {
            Decision::Allow { rule } | Decision::PerRequest { rule } => Some(rule),
            Decision::Deny { .. } | Decision::NeedName => None,
        };
        let chosen = rule.and_then(|rule| policy.rule(rule)).and_then(|rule| rule.chosen_proxy());
        let proxies = settings.proxies.iter().map(|one| one.proxy(Vec::new())).collect();
        let towards = Towards { name: name.as_ref(), address, port: Some(port) };
        if let Route::Via(proxy) = Proxies::new(proxies).route(chosen, towards, &hosts) {
            let protocol = args.protocol.into();
            let is_told_name = proxy.tells_names()
                && name.is_some()
                && rule
                    .is_some_and(|rule| policy.rests_on_name_alone(rule, Direction::Egress, protocol, port));
            let way = match (protocol == Protocol::Tcp, is_told_name, proxy.lets_others_pass()) {
                (true, true, _) => format!("by proxy {proxy}, which is told the name"),
                (true, false, _) => format!("by proxy {proxy}, which is told the address"),
                (false, _, true) => format!("past proxy {proxy}, which carries tcp alone"),
                (false, _, false) => {
                    format!("refused all the same: it would go past proxy {proxy}, which carries tcp alone")
                }
            };
            println!("{way}");
        }
    }
    if is_allowed && is_resolved && addresses.is_gateway(address) {
        let guest = SocketAddr::new(address, 0);
        let flow = Flow { protocol: query.protocol, guest, upstream: SocketAddr::new(address, port) };
        let dialled = settings.host_ports.dialled(&flow);
        if matches!(query.protocol, Protocol::Tcp | Protocol::Udp) {
            println!("it is this machine, where it leads to {dialled}");
        }
    }
    if is_allowed && !is_resolved {
        println!("denied all the same: the name leads nowhere");
    }
    if is_allowed && is_resolved && query.protocol == Protocol::Tcp {
        let is_opened = settings.opens(port, name.as_ref());
        for secret in settings.secrets.iter().filter(|secret| secret.is_for(name.as_ref(), port)) {
            let (env, usage) = (&secret.spec.env, secret.usage());
            match (is_opened, usage.requires_tls_identity()) {
                (true, _) => println!("secret {env} is put in there, in {}", usage.places()),
                (false, false) => println!("secret {env} is put in there without TLS, in {}", usage.places()),
                (false, true) => println!("secret {env} is not put in there: TLS is not opened"),
            }
        }
    }
    Ok(if is_allowed && is_resolved { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl ExplainArgs {
    /// The request that is asked about; its query has no part in it.
    fn request(&self) -> Option<RequestLine> {
        if self.method.is_none() && self.path.is_none() {
            return None;
        }
        let path = self.path.as_deref().unwrap_or("/");
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        Some(RequestLine::new(self.method.as_deref().unwrap_or("GET"), path))
    }
}

/// The far end of a flow, as it is written: a name or an address, and a port.
#[derive(Debug, PartialEq, Eq)]
struct Far {
    name: Option<HostName>,
    address: Option<IpAddr>,
    port: u16,
}

impl Far {
    fn parse(text: &str) -> Result<Self> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self { name: None, address: Some(socket.ip()), port: socket.port() });
        }
        let wrong = || format!("\"{text}\"");
        let shape = "write NAME:PORT, ADDRESS:PORT or [ADDRESS]:PORT, as in api.example.com:443";
        let (host, port) = text.rsplit_once(':').with_context(|| format!("{}: {shape}", wrong()))?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.with_context(|| format!("{}: the port is a number from 1 to 65535", wrong()))?;
        let name = HostName::parse_unicode(host).with_context(wrong)?;
        Ok(Self { name: Some(name), address: None, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_ends() {
        const CASES: &[(&str, Option<&str>)] = &[
            ("API.example.com:443", Some("api.example.com 443")),
            ("10.0.0.5:22", Some("10.0.0.5 22")),
            ("[2001:db8::1]:53", Some("2001:db8::1 53")),
            ("api.example.com", None),
            ("api.example.com:0", None),
            ("api.example.com:https", None),
            ("*.example.com:443", None),
            ("2001:db8::1", None),
            (":443", None),
        ];
        for (text, expected) in CASES {
            let shown = Far::parse(text).ok().map(|Far { name, address, port }| {
                let far = name.map_or_else(|| address.expect(text).to_string(), |name| name.to_string());
                format!("{far} {port}")
            });
            assert_eq!(shown.as_deref(), *expected, "{text}");
        }
    }
}
