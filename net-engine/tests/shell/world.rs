//! An engine with one guest, whose destinations are servers of the test.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use net_core::{Limits, Shaping};
use net_engine::link::{self, LinkCapabilities};
use net_engine::{
    Engine, Event, GuestConfig, HostPorts, HostTrust, Interception, Nameserver, Nameservers, Proxy,
    TerminationHook, ViolationAction,
};
use net_policy::dns::DenialStyle;
use net_policy::{Action, Policy, Rule, VirtualPools, parse_target};
use net_secrets::{Binding, Placeholder, SecretSet, SecretValue};
use net_tls::{Authority, AuthorityParams, NameConstraints, UpstreamTrust, parse_ca_pem};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::guest::{Guest, Stream, resolver};
use crate::server::Identity;
use crate::upstream::Upstream;

/// The zone.
pub(crate) const HOST_A: (&str, Ipv4Addr) = ("a.example", Ipv4Addr::new(9, 9, 9, 1));
pub(crate) const HOST_B: (&str, Ipv4Addr) = ("b.example", Ipv4Addr::new(9, 9, 9, 2));

/// Another name of the first host's address.
pub(crate) const ALIAS: (&str, Ipv4Addr) = ("alias.example", HOST_A.1);

/// Long enough for anything that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a world is made of.
#[derive(Default)]
pub(crate) struct Setup {
    /// Names of the first host's address, beside its own and the alias.
    pub(crate) more_names: Vec<String>,
    /// `allow`ed targets, in order.
    pub(crate) allow: &'static [&'static str],
    /// Targets that are allowed before those, by addresses of their own.
    pub(crate) virtually: &'static [&'static str],
    pub(crate) virtual_pools: VirtualPools,
    /// Denied targets, before all.
    pub(crate) deny: &'static [&'static str],
    /// Where an address and port lead.
    pub(crate) redirects: Vec<((Ipv4Addr, u16), SocketAddr)>,
    pub(crate) redirects_v6: Vec<((Ipv6Addr, u16), SocketAddr)>,
    /// Names whose TLS is passed on.
    pub(crate) bypass: &'static [&'static str],
    pub(crate) refuse_ech: bool,
    /// The authority the guest trusts.
    pub(crate) authority: AuthorityParams,
    /// Whether a secret is configured, for `secret.example` unless `bound_to` says otherwise.
    pub(crate) with_secret: bool,
    pub(crate) bound_to: Option<&'static str>,
    /// Other secrets than that one.
    pub(crate) secrets: SecretSet,
    /// Whether TLS to port 443 is opened, and whom the engine trusts.
    pub(crate) trusts: Option<String>,
    /// Whether the engine believes every upstream unseen.
    pub(crate) skips_verification: bool,
    /// Another port whose TLS is opened.
    pub(crate) also_opens: Option<u16>,
    /// Whether names inside are not held to the name outside.
    pub(crate) lax_hosts: bool,
    pub(crate) readable_denials: bool,
    /// The one name the authority may sign for.
    pub(crate) permitted: Option<&'static str>,
    pub(crate) host_trust: Vec<HostTrust>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) host_ports: HostPorts,
    pub(crate) limits: Limits,
    pub(crate) shaping: Shaping,
    /// Who is asked for names; the zone's server unless others are given.
    pub(crate) nameservers: Vec<Nameserver>,
    pub(crate) dns_denial: DenialStyle,
    pub(crate) on_violation: ViolationAction,
    pub(crate) terminate_after: Option<NonZeroU32>,
    pub(crate) on_termination: Option<TerminationHook>,
}

/// The guest's side of the one secret.
pub(crate) fn placeholder() -> Placeholder {
    Placeholder::generate(*b"a test's entropy")
}

/// The engine's side.
pub(crate) const VALUE: &str = "the-real-value-0";

/// The one secret, with this value and bound to this host.
pub(crate) fn secrets(value: &str, host: &str) -> SecretSet {
    secrets_with(value, host, |_| ())
}

/// The same with a binding that is changed.
pub(crate) fn secrets_with(value: &str, host: &str, change: impl FnOnce(&mut Binding)) -> SecretSet {
    let hosts = vec![host.parse().unwrap()];
    let mut binding = Binding::new("TOKEN", placeholder(), SecretValue::new(value.into()), hosts);
    change(&mut binding);
    SecretSet::compile(vec![binding], *b"test key").unwrap()
}

impl Setup {
    /// A guest that may connect to `a.example`, which is `server`, over TLS that is opened.
    pub(crate) fn of_a(identity: &Identity, server: SocketAddr) -> Self {
        Self {
            allow: &["a.example:443"],
            redirects: vec![((HOST_A.1, 443), server)],
            trusts: Some(identity.pem()),
            ..Self::default()
        }
    }
}

pub(crate) struct World {
    /// Its drop joins the worker.
    pub(crate) engine: Engine,
    pub(crate) handle: net_engine::Guest,
    pub(crate) guest: Guest,
    pub(crate) resolver: SocketAddr,
    /// What the guest trusts.
    authority_pem: String,
}

pub(crate) fn policy(allow: &[&str]) -> Policy {
    rules(&[], allow)
}

/// Denials before what is allowed.
pub(crate) fn rules(deny: &[&str], allow: &[&str]) -> Policy {
    let rules = |action, targets: &[&str]| -> Vec<Rule> {
        targets.iter().map(|text| parse_target(text).unwrap().into_rule(action)).collect()
    };
    Policy::new([rules(Action::Deny, deny), rules(Action::Allow, allow)].concat())
}

/// Denials, then what is allowed by addresses of its own, then other things that are allowed.
pub(crate) fn virtual_rules(deny: &[&str], virtually: &[&str], allow: &[&str]) -> Policy {
    let own = virtually.iter().map(|text| parse_target(text).unwrap().into_rule(Action::Allow));
    let own: Vec<Rule> = own.map(|rule| rule.virtually().unwrap()).collect();
    let (deny, allow) = (rules(deny, &[]), rules(&[], allow));
    Policy::new([deny.rules(), &own, allow.rules()].concat())
}

impl World {
    pub(crate) async fn new(setup: Setup) -> Self {
        let mut names = vec![HOST_A, HOST_B, ALIAS];
        names.extend(setup.more_names.iter().map(|name| (&**name, HOST_A.1)));
        let upstream = Upstream::start(&names).await.unwrap();
        let secrets = if setup.with_secret {
            secrets(VALUE, setup.bound_to.unwrap_or("secret.example"))
        } else {
            setup.secrets
        };
        let redirects: HashMap<_, _> = setup
            .redirects
            .into_iter()
            .map(|((address, port), to)| (SocketAddr::new(IpAddr::V4(address), port), to))
            .chain(setup.redirects_v6.into_iter().map(|(from, to)| (from.into(), to)))
            .collect();
        let mut params = setup.authority;
        if let Some(name) = setup.permitted {
            params.constraints = Some(NameConstraints::permitting([name.parse().unwrap()], []).unwrap());
        }
        let authority = Authority::generate(&params, SystemTime::now()).unwrap();
        let authority_pem = authority.certificate_pem().to_owned();
        let interception = Interception {
            ports: setup.trusts.iter().map(|_| 443).chain(setup.also_opens).collect(),
            bypass: setup.bypass.iter().map(|pattern| pattern.parse().unwrap()).collect(),
            refuse_ech: setup.refuse_ech,
            authority: Some(authority),
        };
        let upstream_trust = trust(setup.trusts.as_deref());
        let mut host_trust = setup.host_trust;
        if setup.skips_verification {
            let hosts = ["*.example", "0.0.0.0/0", "::/0"].map(|text| parse_target(text).unwrap());
            let dangerous = upstream_trust.clone().dangerous_skip_verification();
            host_trust.push(HostTrust::new(hosts.into(), dangerous).unwrap());
        }
        let nameservers =
            if setup.nameservers.is_empty() { vec![upstream.resolver.into()] } else { setup.nameservers };
        let config = GuestConfig {
            policy: virtual_rules(setup.deny, setup.virtually, setup.allow),
            virtual_pools: setup.virtual_pools,
            interception,
            upstream_trust,
            host_trust,
            secrets,
            nameservers: Nameservers::Fixed(nameservers),
            dns_denial: setup.dns_denial,
            redirects,
            proxies: setup.proxies,
            host_ports: setup.host_ports,
            limits: setup.limits,
            shaping: setup.shaping,
            strict_hosts: !setup.lax_hosts,
            readable_denials: setup.readable_denials,
            on_violation: setup.on_violation,
            terminate_after: setup.terminate_after,
            on_termination: setup.on_termination,
            ..GuestConfig::default()
        };
        let engine = Engine::builder().build().unwrap();
        let (engine_end, guest_end) = link::pair(LinkCapabilities { mtu: 1500, offload: false }, 256);
        let handle = engine.attach(0, Box::new(engine_end), config).await.unwrap();
        let guest = Guest::boot(handle.addresses(), guest_end);
        let resolver = resolver(handle.addresses());
        Self { engine, handle, guest, resolver, authority_pem }
    }

    /// Has the guest ask for a name's IPv4 addresses.
    pub(crate) async fn ask(&self, name: &str) -> Message {
        let answer = self.guest.exchange(self.resolver, &query(name).to_vec().unwrap()).await.unwrap();
        Message::from_vec(&answer).unwrap()
    }

    /// Has the guest ask for a name, so that its addresses are pinned.
    pub(crate) async fn resolve(&self, name: &str) {
        assert!(!self.ask(name).await.answers.is_empty(), "{name} did not resolve");
    }

    /// Resolves and connects.
    pub(crate) async fn connect(&self, (name, address): (&str, Ipv4Addr), port: u16) -> Stream {
        self.resolve(name).await;
        self.connect_to(address, port).await
    }

    pub(crate) async fn connect_to(&self, address: Ipv4Addr, port: u16) -> Stream {
        match self.guest.connect(SocketAddr::new(IpAddr::V4(address), port)).await {
            Ok(stream) => stream,
            Err(error) => panic!("{address}:{port}: {error}; {}", self.event().await),
        }
    }

    /// Resolves, connects and speaks TLS: `shown` is the server_name, or an address and none.
    pub(crate) async fn tls(
        &self,
        host: (&str, Ipv4Addr),
        shown: &str,
        alpn: &str,
    ) -> std::io::Result<TlsStream<Stream>> {
        self.resolve(host.0).await;
        self.tls_to(host.1, 443, shown, alpn).await
    }

    /// Connects and speaks TLS, offering `alpn` or nothing.
    pub(crate) async fn tls_to(
        &self,
        address: Ipv4Addr,
        port: u16,
        shown: &str,
        alpn: &str,
    ) -> std::io::Result<TlsStream<Stream>> {
        let protocols: &[&str] = if alpn.is_empty() { &[] } else { &[alpn] };
        self.tls_as(&self.client(protocols), address, port, shown).await
    }

    /// A client of the guest that offers these protocols, with the sessions it has had.
    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        net_tls::upstream_config(&trust(Some(&self.authority_pem)), protocols, net_tls::system_clock())
    }

    /// Connects and speaks TLS as this client.
    pub(crate) async fn tls_as(
        &self,
        client: &Arc<ClientConfig>,
        address: Ipv4Addr,
        port: u16,
        shown: &str,
    ) -> std::io::Result<TlsStream<Stream>> {
        let stream = self.connect_to(address, port).await;
        let shown = ServerName::try_from(shown.to_owned()).unwrap();
        let connecting = TlsConnector::from(Arc::clone(client)).connect(shown, stream);
        timeout(PATIENCE, connecting).await.expect("a handshake")
    }

    /// What the guest trusts, in PEM.
    pub(crate) fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// Has the guest forget the engine's authority.
    pub(crate) fn trust_nobody(&mut self) {
        self.authority_pem = Identity::new().pem();
    }

    pub(crate) async fn event(&self) -> Event {
        timeout(PATIENCE, self.handle.next_event()).await.expect("an event").expect("a running guest")
    }
}

/// A question for a name's IPv4 addresses.
pub(crate) fn query(name: &str) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::A));
    query
}

/// Whoever that authority signs.
pub(crate) fn trust(pem: Option<&str>) -> UpstreamTrust {
    let mut trust = UpstreamTrust::default();
    if let Some(pem) = pem {
        trust.add(parse_ca_pem(pem.as_bytes()).unwrap());
    }
    trust
}

/// Runs a test on one thread with tasks of its own.
pub(crate) fn run<R>(test: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async { timeout(6 * PATIENCE, test).await.expect("a test that ends") }))
}
