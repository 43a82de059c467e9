//! An engine with one guest, whose destinations are servers of the test.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use net_core::Limits;
use net_engine::link::{self, LinkCapabilities};
use net_engine::{Engine, Event, GuestConfig, Nameservers, TerminationHook, ViolationAction};
use net_policy::{Action, Policy, parse_target};
use net_secrets::{Binding, Placeholder, SecretSet, SecretValue};
use tokio::time::timeout;

use crate::guest::{Guest, Stream, resolver};
use crate::upstream::Upstream;

/// The zone.
pub(crate) const HOST_A: (&str, Ipv4Addr) = ("a.example", Ipv4Addr::new(9, 9, 9, 1));
pub(crate) const HOST_B: (&str, Ipv4Addr) = ("b.example", Ipv4Addr::new(9, 9, 9, 2));

/// Long enough for anything that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a world is made of.
#[derive(Default)]
pub(crate) struct Setup {
    /// `allow`ed targets, in order.
    pub(crate) allow: &'static [&'static str],
    /// Where an address and port lead.
    pub(crate) redirects: Vec<((Ipv4Addr, u16), SocketAddr)>,
    /// Whether a secret is configured, for `secret.example`.
    pub(crate) with_secret: bool,
    pub(crate) limits: Limits,
    pub(crate) on_violation: ViolationAction,
    pub(crate) on_termination: Option<TerminationHook>,
}

/// The guest's side of the one secret.
pub(crate) fn placeholder() -> Placeholder {
    Placeholder::generate(*b"a test's entropy")
}

pub(crate) struct World {
    /// Its drop joins the worker.
    pub(crate) engine: Engine,
    pub(crate) handle: net_engine::Guest,
    pub(crate) guest: Guest,
    resolver: SocketAddr,
}

pub(crate) fn policy(allow: &[&str]) -> Policy {
    Policy::new(allow.iter().map(|text| parse_target(text).unwrap().into_rule(Action::Allow)).collect())
}

impl World {
    pub(crate) async fn new(setup: Setup) -> Self {
        let upstream = Upstream::start(&[HOST_A, HOST_B]).await.unwrap();
        let secrets = if setup.with_secret {
            let binding = Binding {
                env: "TOKEN".to_owned(),
                placeholder: placeholder(),
                value: SecretValue::new(b"the-real-value-0".to_vec()),
                hosts: vec!["secret.example".parse().unwrap()],
            };
            SecretSet::compile(vec![binding]).unwrap()
        } else {
            SecretSet::default()
        };
        let redirects: HashMap<_, _> = setup
            .redirects
            .into_iter()
            .map(|((address, port), to)| (SocketAddr::new(IpAddr::V4(address), port), to))
            .collect();
        let config = GuestConfig {
            policy: policy(setup.allow),
            secrets,
            nameservers: Nameservers::Fixed(vec![upstream.resolver]),
            redirects,
            limits: setup.limits,
            on_violation: setup.on_violation,
            on_termination: setup.on_termination,
            ..GuestConfig::default()
        };
        let engine = Engine::builder().build().unwrap();
        let (engine_end, guest_end) = link::pair(LinkCapabilities { mtu: 1500, offload: false }, 256);
        let handle = engine.attach(0, Box::new(engine_end), config).await.unwrap();
        let guest = Guest::boot(handle.addresses(), guest_end);
        let resolver = resolver(handle.addresses());
        Self { engine, handle, guest, resolver }
    }

    /// Has the guest ask for a name, so that its addresses are pinned.
    pub(crate) async fn resolve(&self, name: &str) {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::A));
        let answer = self.guest.exchange(self.resolver, &query.to_vec().unwrap()).await.unwrap();
        assert!(!Message::from_vec(&answer).unwrap().answers.is_empty(), "{name} did not resolve");
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

    pub(crate) async fn event(&self) -> Event {
        timeout(PATIENCE, self.handle.next_event()).await.expect("an event").expect("a running guest")
    }
}

/// Runs a test on one thread with tasks of its own.
pub(crate) fn run<R>(test: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async { timeout(6 * PATIENCE, test).await.expect("a test that ends") }))
}
