//! The scenes, one function each: what the guest does, what the evidence is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use net_engine::link::{self, LinkCapabilities};
use net_engine::{Engine, GuestConfig, Interception, Nameservers};
use net_policy::{Action, Policy, Rule, parse_target};
use net_secrets::{Binding, Placeholder, SecretSet, SecretValue};
use net_tls::{Authority, AuthorityParams, UpstreamTrust, parse_ca_pem};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::guest::{Guest, Stream, resolver};
use crate::upstream::{Upstream, closed_port};

/// The zone: public addresses that are dialled on loopback here.
const WEB: (&str, Ipv4Addr) = ("web.demo.test", Ipv4Addr::new(9, 9, 9, 10));
const API: (&str, Ipv4Addr) = ("api.demo.test", Ipv4Addr::new(9, 9, 9, 11));
const OTHER: (&str, Ipv4Addr) = ("other.demo.test", Ipv4Addr::new(9, 9, 9, 12));
const PINNED: (&str, Ipv4Addr) = ("pinned.demo.test", Ipv4Addr::new(9, 9, 9, 13));
const REBIND: (&str, Ipv4Addr) = ("rebind.demo.test", Ipv4Addr::new(10, 0, 0, 5));
const CLOSED: (&str, Ipv4Addr) = ("closed.demo.test", Ipv4Addr::new(9, 9, 9, 14));
const DENIED: &str = "denied.demo.test";
const DENIED_ADDRESS: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 99);

const SECRET: &str = "the-real-api-token-1f8a";

struct Stage {
    upstream: Upstream,
    guest: Guest,
    handle: net_engine::Guest,
    addresses: net_engine::core::GuestAddresses,
    authority_pem: String,
    placeholder: String,
}

/// Plays every scene; the number that failed.
pub(crate) async fn play() -> Result<usize> {
    let engine = Engine::builder().build()?;
    let stage = Stage::build(&engine).await?;
    println!("A guest with an Ethernet card of its own; its only way out is the engine.");
    let mut failed = 0;
    failed += show(1, "allowed plain HTTP", plain_http(&stage).await);
    failed += show(2, "allowed HTTPS, intercepted", intercepted(&stage).await);
    failed += show(3, "a name no rule allows", denied_name(&stage).await);
    failed += show(4, "an address no rule allows", denied_address(&stage).await);
    failed += show(5, "a secret the guest never holds", secret(&stage).await);
    failed += show(6, "its placeholder on the way to another host", stray_placeholder(&stage).await);
    failed += show(7, "bypass: a stream passed on as it is", bypass(&stage).await);
    failed += show(8, "a public name that points at a private address", rebinding(&stage).await);
    failed += show(9, "an allowed port on which nobody listens", refused(&stage).await);
    failed += show(10, "the end", end(stage, engine).await);
    Ok(failed)
}

fn show(number: usize, title: &str, outcome: Result<Vec<String>>) -> usize {
    println!("\n{number:>2}. {title}");
    match outcome {
        Ok(evidence) => {
            evidence.iter().for_each(|line| println!("      {line}"));
            println!("    ok");
            0
        }
        Err(error) => {
            println!("    FAILED: {error:#}");
            1
        }
    }
}

impl Stage {
    async fn build(engine: &Engine) -> Result<Self> {
        let upstream = Upstream::start(&[WEB, API, OTHER, PINNED, REBIND, CLOSED]).await?;
        let authority = Authority::generate(&AuthorityParams::default(), SystemTime::now())?;
        let authority_pem = authority.certificate_pem().to_owned();
        let placeholder = Placeholder::generate(*b"demo placeholder");
        let secrets = SecretSet::compile(
            vec![Binding::new(
                "API_TOKEN",
                placeholder.clone(),
                SecretValue::new(SECRET.into()),
                vec![API.0.parse()?],
            )],
            *b"demo key",
        )?;
        let mut upstream_trust = UpstreamTrust::default();
        upstream_trust.add(parse_ca_pem(upstream.authority_pem.as_bytes())?);
        let allow = |target: &str| -> Result<Rule> { Ok(parse_target(target)?.into_rule(Action::Allow)) };
        let policy = Policy::new(vec![
            allow("web.demo.test:80,443")?,
            allow("api.demo.test:443")?,
            allow("other.demo.test:443")?,
            allow("pinned.demo.test:443")?,
            allow("rebind.demo.test")?,
            allow("closed.demo.test:7")?,
        ]);
        let at = |address: Ipv4Addr, port| SocketAddr::new(IpAddr::V4(address), port);
        let mut redirects =
            HashMap::from([(at(WEB.1, 80), upstream.http), (at(CLOSED.1, 7), closed_port().await?)]);
        for (_, address) in [WEB, API, OTHER, PINNED] {
            redirects.insert(at(address, 443), upstream.https);
        }
        let config = GuestConfig {
            policy,
            interception: Interception {
                ports: [443].into(),
                bypass: vec![PINNED.0.parse()?],
                refuse_ech: false,
                authority: Some(authority),
            },
            secrets,
            nameservers: Nameservers::Fixed(vec![upstream.resolver.into()]),
            upstream_trust,
            redirects,
            ..GuestConfig::default()
        };
        let (engine_end, guest_end) = link::pair(LinkCapabilities { mtu: 1500, offload: false }, 256);
        let handle = engine.attach(0, Box::new(engine_end), config).await?;
        let addresses = *handle.addresses();
        let guest = Guest::boot(&addresses, guest_end);
        let placeholder = placeholder.to_string();
        Ok(Self { upstream, guest, handle, addresses, authority_pem, placeholder })
    }

    /// Asks for a name as the guest's resolver would; the addresses, or the response code.
    async fn resolve(&self, name: &str) -> Result<std::result::Result<Vec<Ipv4Addr>, String>> {
        let mut query = Message::query();
        query.metadata.id = 4711;
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_ascii(format!("{name}."))?, RecordType::A));
        let answer = self.guest.exchange(resolver(&self.addresses), &query.to_vec()?).await?;
        let answer = Message::from_vec(&answer)?;
        ensure!(answer.metadata.id == 4711, "the answer has another id");
        if answer.metadata.response_code != hickory_proto::op::ResponseCode::NoError {
            return Ok(Err(answer.metadata.response_code.to_string()));
        }
        let address = |data: &RData| if let RData::A(a) = data { Some(a.0) } else { None };
        Ok(Ok(answer.answers.iter().filter_map(|record| address(&record.data)).collect()))
    }

    async fn connect(&self, name: &str, port: u16) -> Result<Stream> {
        let addresses = self.resolve(name).await?;
        let addresses = addresses.map_err(|code| anyhow::anyhow!("{name} did not resolve: {code}"))?;
        let address = addresses.first().with_context(|| format!("{name} has no address"))?;
        Ok(self.guest.connect(SocketAddr::new(IpAddr::V4(*address), port)).await?)
    }

    /// A TLS connection that trusts exactly one authority, and that authority's name for it.
    async fn tls(
        &self,
        name: &str,
        trusted_pem: &str,
    ) -> Result<(tokio_rustls::client::TlsStream<Stream>, String)> {
        let stream = self.connect(name, 443).await?;
        let mut roots = UpstreamTrust::default();
        roots.add(parse_ca_pem(trusted_pem.as_bytes())?);
        let config = net_tls::upstream_config(&roots, vec![b"http/1.1".to_vec()], net_tls::system_clock());
        let name = ServerName::try_from(name.to_owned())?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let chain = stream.get_ref().1.peer_certificates().context("no certificate was shown")?;
        let leaf = chain.first().context("no leaf was shown")?;
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf)?;
        let issuer = leaf.issuer().to_string();
        Ok((stream, issuer))
    }

    async fn next_event(&self) -> Result<String> {
        let event = tokio::time::timeout(std::time::Duration::from_secs(5), self.handle.next_event());
        Ok(event.await?.context("the guest has stopped")?.to_string())
    }
}

/// One request; the response as text.
async fn request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &str,
    header: &str,
) -> Result<String> {
    let request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

fn status(response: &str) -> &str {
    response.lines().next().unwrap_or_default()
}

async fn plain_http(stage: &Stage) -> Result<Vec<String>> {
    let mut stream = stage.connect(WEB.0, 80).await?;
    let response = request(&mut stream, WEB.0, "").await?;
    ensure!(response.ends_with("hello from upstream\n"), "unexpected response: {response:?}");
    let seen = stage.upstream.take_seen();
    ensure!(seen.len() == 1, "upstream saw {seen:?}");
    Ok(vec![format!("guest got     {}", status(&response)), format!("upstream saw  {}", seen[0])])
}

async fn intercepted(stage: &Stage) -> Result<Vec<String>> {
    let (mut stream, issuer) = stage.tls(WEB.0, &stage.authority_pem).await?;
    ensure!(issuer.contains("net-engine sandbox authority"), "issuer is {issuer}");
    let response = request(&mut stream, WEB.0, "").await?;
    ensure!(response.ends_with("hello from upstream\n"), "unexpected response: {response:?}");
    stage.upstream.take_seen();
    Ok(vec![format!("guest saw issuer  {issuer}"), format!("guest got         {}", status(&response))])
}

async fn denied_name(stage: &Stage) -> Result<Vec<String>> {
    let Err(code) = stage.resolve(DENIED).await? else { bail!("{DENIED} resolved") };
    Ok(vec![format!("resolver said  {code}"), format!("event          {}", stage.next_event().await?)])
}

async fn denied_address(stage: &Stage) -> Result<Vec<String>> {
    let error = match stage.guest.connect(SocketAddr::new(IpAddr::V4(DENIED_ADDRESS), 443)).await {
        Ok(_) => bail!("the connection was accepted"),
        Err(error) => error,
    };
    ensure!(error.kind() == std::io::ErrorKind::ConnectionRefused, "the guest saw {error}");
    Ok(vec![format!("guest saw  {error}"), format!("event      {}", stage.next_event().await?)])
}

async fn secret(stage: &Stage) -> Result<Vec<String>> {
    let (mut stream, _) = stage.tls(API.0, &stage.authority_pem).await?;
    let header = format!("Authorization: Bearer {}\r\n", stage.placeholder);
    let response = request(&mut stream, API.0, &header).await?;
    let seen = stage.upstream.take_seen();
    ensure!(seen.len() == 1 && seen[0].contains(SECRET), "upstream saw {seen:?}");
    // Upstream sent back what it got: the value, in which the guest sees its placeholder.
    let echo = response.lines().find(|line| line.starts_with("upstream got")).unwrap_or_default();
    ensure!(!response.contains(SECRET), "the secret came back");
    ensure!(echo == format!("upstream got Bearer {}", stage.placeholder), "the guest got {response:?}");
    Ok(vec![
        format!("guest sent    {}", header.trim_end()),
        format!("upstream saw  {}", seen[0]),
        format!("guest got     {echo}"),
    ])
}

async fn stray_placeholder(stage: &Stage) -> Result<Vec<String>> {
    let (mut stream, _) = stage.tls(OTHER.0, &stage.authority_pem).await?;
    let header = format!("X-Token: {}\r\n", stage.placeholder);
    let response = request(&mut stream, OTHER.0, &header).await?;
    ensure!(status(&response).contains("403"), "the guest got {response:?}");
    let seen = stage.upstream.take_seen();
    ensure!(seen.is_empty(), "upstream saw {seen:?}");
    Ok(vec![
        format!("guest got     {}", status(&response)),
        "upstream saw  nothing".to_owned(),
        format!("event         {}", stage.next_event().await?),
    ])
}

async fn bypass(stage: &Stage) -> Result<Vec<String>> {
    let (mut stream, issuer) = stage.tls(PINNED.0, &stage.upstream.authority_pem).await?;
    ensure!(issuer.contains("the real internet authority"), "issuer is {issuer}");
    let response = request(&mut stream, PINNED.0, "").await?;
    ensure!(response.ends_with("hello from upstream\n"), "unexpected response: {response:?}");
    stage.upstream.take_seen();
    Ok(vec![format!("guest verified the real certificate, issued by {issuer}")])
}

async fn rebinding(stage: &Stage) -> Result<Vec<String>> {
    let Err(code) = stage.resolve(REBIND.0).await? else { bail!("{} resolved", REBIND.0) };
    Ok(vec![format!("resolver said  {code}"), format!("event          {}", stage.next_event().await?)])
}

async fn refused(stage: &Stage) -> Result<Vec<String>> {
    let error = match stage.connect(CLOSED.0, 7).await {
        Ok(_) => bail!("the connection was accepted"),
        Err(error) => error,
    };
    ensure!(error.to_string().contains("refused"), "the guest saw {error}");
    Ok(vec![format!("guest saw  {error}"), format!("event      {}", stage.next_event().await?)])
}

async fn end(stage: Stage, engine: Engine) -> Result<Vec<String>> {
    let counters = stage.handle.counters().await.context("the guest stopped early")?;
    stage.handle.stop().await;
    let before = threads()?;
    drop(engine);
    let after = threads()?;
    ensure!(before == after + 1, "{before} threads before the engine was dropped, {after} after");
    Ok(vec![
        format!(
            "{} frames in, {} out, {} flows opened, {} refused",
            counters.frames_received, counters.frames_sent, counters.flows_opened, counters.flows_refused
        ),
        format!("threads: {before} with the engine, {after} without"),
    ])
}

fn threads() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}
