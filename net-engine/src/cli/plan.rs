use std::collections::BTreeSet;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use net_core::{HostName, HostPattern};
use net_policy::{Action, Policy, Rule, parse_target};
use net_secrets::{Binding, Placeholder, SecretSet, SecretSource, SecretSpec, SecretValue};
use net_tls::{Authority, AuthorityParams};

use super::args::{PolicyArgs, RunArgs};
use super::config::{ActionConfig, Config, LinkConfig, SecretConfig};
use super::sandbox::{Cover, LinkKind};
use super::sources;
use super::trust::Anchors;
use crate::{DEFAULT_HOST_ALIAS, GuestConfig, Interception, Nameservers};

const DEFAULT_MTU: u16 = 1500;
const DEFAULT_INTERCEPTED_PORT: u16 = 443;

/// Everything `run` needs to know, checked: nothing has been started to find it out.
pub(super) struct Plan {
    pub(super) guest: GuestConfig,
    pub(super) link: Option<LinkKind>,
    pub(super) mtu: u16,
    /// The bundle the command is given, where TLS is opened.
    pub(super) ca_bundle: Option<String>,
    /// Variables that held secrets: the command does not get them.
    pub(super) removed_variables: BTreeSet<String>,
    /// Files that hold secrets: the command does not read them.
    pub(super) covers: Vec<Cover>,
}

/// What is known of the secrets once they have been read.
struct Secrets {
    secrets: SecretSet,
    removed_variables: BTreeSet<String>,
    covers: Vec<Cover>,
}

impl Plan {
    /// Joins flags and file.
    pub(super) fn new(args: &RunArgs) -> Result<Self> {
        let (config, config_file) = match &args.config {
            Some(path) => Config::read(path)?,
            None => Default::default(),
        };
        let flags = &args.policy;
        let link = match (args.link, config.link) {
            (Some(link), _) => link.kind(),
            (None, Some(LinkConfig::Tap)) => Some(LinkKind::Tap),
            (None, Some(LinkConfig::Packet)) => Some(LinkKind::Packet),
            (None, Some(LinkConfig::Auto) | None) => None,
        };
        let mtu = args.mtu.or(config.mtu).unwrap_or(DEFAULT_MTU);
        if !(1280..=65_520).contains(&mtu) {
            bail!("mtu: {mtu} is not between 1280 and 65520");
        }
        let Secrets { secrets, removed_variables, mut covers } = secrets(flags, &config)?;
        // A source may be a command with a value in it.
        if let Some(path) = config_file
            && !config.secrets.is_empty()
        {
            covers.push(Cover { path, field: "--config".to_owned() });
        }
        let files: Vec<_> = config.upstream_ca.iter().chain(&flags.upstream_ca).cloned().collect();
        let anchors = Anchors::read(&files)?;
        let ports = intercepted_ports(flags, &config);
        let bypass = patterns("--bypass", config.bypass.iter().chain(&flags.bypass))?;
        let authority = if ports.is_empty() {
            None
        } else {
            let params = AuthorityParams::default();
            Some(Authority::generate(&params, now()).context("the certificate authority")?)
        };
        let ca_bundle =
            authority.as_ref().map(|authority| anchors.bundle_for_command(authority.certificate_pem()));
        let alias = config.host_alias.as_deref().unwrap_or(DEFAULT_HOST_ALIAS);
        let guest = GuestConfig {
            policy: policy(flags, &config)?,
            interception: Interception { ports, bypass, authority },
            secrets,
            nameservers: nameservers(flags, &config)?,
            upstream_trust: anchors.upstream,
            host_alias: HostName::parse(alias).with_context(|| format!("host_alias \"{alias}\""))?,
            host_addresses: host_addresses(),
            ..GuestConfig::default()
        };
        Ok(Self { guest, link, mtu, ca_bundle, removed_variables, covers })
    }
}

/// Denials, then the rules of the file, then what is allowed.
pub(super) fn policy(flags: &PolicyArgs, config: &Config) -> Result<Policy> {
    let simple = |key: &str, targets: &mut dyn Iterator<Item = &String>, action| -> Result<Vec<Rule>> {
        targets.map(|target| rule(key, target, action)).collect()
    };
    let mut rules = simple("--deny", &mut config.deny.iter().chain(&flags.deny), Action::Deny)?;
    for entry in &config.rules {
        let action = match entry.action {
            ActionConfig::Allow => Action::Allow,
            ActionConfig::Deny => Action::Deny,
        };
        rules.push(Rule { name: entry.name.clone(), ..rule("rules.to", &entry.to, action)? });
    }
    rules.extend(simple("--allow", &mut config.allow.iter().chain(&flags.allow), Action::Allow)?);
    Ok(Policy::new(rules))
}

fn rule(key: &str, target: &str, action: Action) -> Result<Rule> {
    let target = parse_target(target).with_context(|| format!("{key} \"{target}\""))?;
    Ok(target.into_rule(action))
}

fn intercepted_ports(flags: &PolicyArgs, config: &Config) -> BTreeSet<u16> {
    if flags.no_intercept {
        return BTreeSet::new();
    }
    if !flags.intercept.is_empty() {
        return flags.intercept.iter().copied().collect();
    }
    match &config.intercept {
        Some(ports) => ports.iter().copied().collect(),
        None => BTreeSet::from([DEFAULT_INTERCEPTED_PORT]),
    }
}

fn patterns<'t>(key: &str, texts: impl Iterator<Item = &'t String>) -> Result<Vec<HostPattern>> {
    texts.map(|text| HostPattern::parse(text).with_context(|| format!("{key} \"{text}\""))).collect()
}

fn nameservers(flags: &PolicyArgs, config: &Config) -> Result<Nameservers> {
    let texts: Vec<&String> = config.nameservers.iter().chain(&flags.nameserver).collect();
    if texts.is_empty() {
        return Ok(Nameservers::System);
    }
    let parse =
        |text: &&String| Nameservers::parse_one(text).with_context(|| format!("--nameserver \"{text}\""));
    Ok(Nameservers::Fixed(texts.iter().map(parse).collect::<Result<_>>()?))
}

fn secrets(flags: &PolicyArgs, config: &Config) -> Result<Secrets> {
    let mut bindings = Vec::new();
    let (mut removed_variables, mut covers) = (BTreeSet::new(), Vec::new());
    let mut read = |field: &str, source: &SecretSource| -> Result<SecretValue> {
        let (value, file) = sources::read(source)?;
        covers.extend(file.map(|path| Cover { path, field: field.to_owned() }));
        if let SecretSource::Env(name) = source {
            removed_variables.insert(name.clone());
        }
        Ok(value)
    };
    for text in &flags.secret {
        // The text names a source and holds no value, so it may be shown.
        let spec = SecretSpec::parse(text).with_context(|| format!("--secret \"{text}\""))?;
        let field = format!("--secret {}", spec.env);
        let value = read(&field, &spec.source).with_context(|| field.clone())?;
        bindings.push(bind(&field, spec, value, None)?);
    }
    for SecretConfig { env, source, hosts, placeholder } in &config.secrets {
        let key = format!("secrets.{env}");
        let spec = SecretSpec {
            env: env.clone(),
            source: SecretSource::parse(source).with_context(|| format!("{key}.source"))?,
            hosts: patterns(&format!("{key}.hosts"), hosts.iter())?,
        };
        let placeholder = placeholder
            .as_deref()
            .map(|text| Placeholder::from_user(text).with_context(|| format!("{key}.placeholder")))
            .transpose()?;
        let field = format!("{key}.source");
        let value = read(&field, &spec.source).with_context(|| field.clone())?;
        bindings.push(bind(&key, spec, value, placeholder)?);
    }
    Ok(Secrets { secrets: SecretSet::compile(bindings)?, removed_variables, covers })
}

fn bind(
    key: &str,
    spec: SecretSpec,
    value: SecretValue,
    placeholder: Option<Placeholder>,
) -> Result<Binding> {
    let SecretSpec { env, hosts, source: _ } = spec;
    let placeholder = match placeholder {
        Some(placeholder) => placeholder,
        None => {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|_| anyhow::anyhow!("{key}: no randomness"))?;
            Placeholder::generate(random)
        }
    };
    Ok(Binding { env, placeholder, value, hosts })
}

/// The addresses of this machine's interfaces, which belong to the group `host`.
fn host_addresses() -> Vec<std::net::IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
        })
        .collect()
}

#[allow(clippy::disallowed_methods, reason = "the binary owns the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
