use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use net_core::{HostName, HostPattern, Limits, Nat64Prefix, Shaping};
use net_policy::dns::DenialStyle;
use net_policy::{Action, Policy, Rule, parse_target};

use super::args::{ConfigureArg, LinkArg, MTU_RANGE, PolicyArgs, RunArgs};
use super::authority::AuthoritySettings;
use super::config::{Config, DenialConfig, LinkConfig, Written};
use super::held_secrets::{HeldSecrets, ReadSecrets};
use super::limits::{self, LimitSetting};
use super::proxies::ProxySettings;
use super::refresher::Refresher;
use super::sandbox::{Cover, LinkKind};
use super::secret_settings::SecretSettings;
use super::trust::{Anchors, TrustFiles};
use super::upstreams::{Identities, UpstreamSettings};
use super::watch::Place;
use super::{host_ports, publish, resolver, shaping};
use crate::core::Autoconfiguration;
use crate::{DEFAULT_HOST_ALIAS, GuestConfig, HostPorts, Interception};

const DEFAULT_MTU: u16 = 1500;
const DEFAULT_INTERCEPTED_PORT: u16 = 443;

/// Said where values are not locked.
pub(super) const UNLOCKED: &str =
    "the system locks no memory for the values of secrets: they may be written to swap (ulimit -l)";

/// Everything `run` needs to know, checked: nothing has been started to find it out.
pub(super) struct Plan {
    pub(super) guest: GuestConfig,
    pub(super) link: Option<LinkKind>,
    /// Whether frames may be longer than the MTU, and without their checksums.
    pub(super) offload: bool,
    /// Whether the interface is set up before the command starts.
    pub(super) is_configured: bool,
    pub(super) mtu: u16,
    /// What the command trusts, where TLS is opened.
    pub(super) trust: Option<TrustFiles>,
    /// Variables that held secrets: the command does not get them.
    pub(super) removed_variables: BTreeSet<String>,
    /// Files that hold secrets: the command does not read them.
    pub(super) covers: Vec<Cover>,
    /// What the file says.
    pub(super) config: Config,
    /// Where it is, if its rules are taken over as they change.
    pub(super) watched: Option<Place>,
    /// Ports of the command that others may connect to, bound once the sandbox was split off.
    pub(super) publish: Vec<Written>,
    /// What its owner may not have meant.
    pub(super) warnings: Vec<String>,
    /// The secrets `guest` has, which may change.
    pub(super) held: HeldSecrets,
    /// What makes them change.
    pub(super) refresher: Refresher,
}

/// Flags and file joined and checked, as far as that needs no secret's value.
pub(super) struct Settings {
    pub(super) policy: Policy,
    link: Option<LinkKind>,
    offload: bool,
    configure: ConfigureArg,
    mtu: u16,
    ports: BTreeSet<u16>,
    bypass: Vec<HostPattern>,
    refuse_ech: bool,
    nameservers: Vec<Written>,
    anchors: Anchors,
    pub(super) upstreams: Vec<UpstreamSettings>,
    pub(super) proxies: Vec<ProxySettings>,
    pub(super) host_alias: HostName,
    pub(super) host_ports: HostPorts,
    dns_denial: DenialStyle,
    strict_hosts: bool,
    readable_denials: bool,
    pub(super) nat64: Vec<Nat64Prefix>,
    pub(super) shaping: Shaping,
    pub(super) secrets: Vec<SecretSettings>,
    pub(super) terminate_after: Option<NonZeroU32>,
    authority: AuthoritySettings,
    limits: Limits,
}

impl Settings {
    /// # Errors
    /// One line that names where the setting was written, and the setting.
    pub(super) fn new(flags: &PolicyArgs, config: &Config) -> Result<Self> {
        let mtu = match &config.mtu {
            None => DEFAULT_MTU,
            Some((_, mtu)) if MTU_RANGE.contains(&i64::from(*mtu)) => *mtu,
            Some((place, mtu)) => {
                let (least, most) = MTU_RANGE.into_inner();
                bail!("{place}: {mtu} is not between {least} and {most}")
            }
        };
        let joined = |file: &[Written], flag, texts: &[String]| -> Vec<Written> {
            file.iter().cloned().chain(Written::on_command_line(flag, texts)).collect()
        };
        let authorities: Vec<String> =
            flags.upstream_ca.iter().map(|path| path.display().to_string()).collect();
        let host_alias = match &config.host_alias {
            Some(alias) => HostName::parse(&alias.text).with_context(|| alias.named())?,
            None => HostName::parse(DEFAULT_HOST_ALIAS)?,
        };
        let nameservers = joined(&config.nameservers, "--nameserver", &flags.nameserver);
        resolver::check(&nameservers)?;
        publish::check(&config.publish)?;
        let host_ports = host_ports::host_ports(
            &joined(&config.host_ports, "--host-port", &flags.host_port),
            &joined(&config.dangerous_host_ports, "--dangerous-host-port", &flags.dangerous_host_port),
        )?;
        let anchors = Anchors::read(&joined(&config.upstream_ca, "--upstream-ca", &authorities))?;
        let upstreams = config.upstream.iter().map(|one| UpstreamSettings::new(one, &anchors.upstream));
        let upstreams = upstreams.collect::<Result<_>>()?;
        let policy = policy(flags, config)?;
        let proxies = ProxySettings::new(&config.proxies, &flags.proxy, &anchors.upstream, &policy)?;
        Ok(Self {
            policy,
            link: match config.link {
                Some(LinkConfig::Tap) => Some(LinkKind::Tap),
                Some(LinkConfig::Packet) => Some(LinkKind::Packet),
                Some(LinkConfig::Auto) | None => None,
            },
            offload: config.offload.unwrap_or(true),
            configure: config.configure,
            mtu,
            ports: intercepted_ports(flags, config)?,
            bypass: patterns(&joined(&config.bypass, "--bypass", &flags.bypass))?,
            refuse_ech: flags.refuse_ech || config.refuse_ech,
            nameservers,
            anchors,
            upstreams,
            proxies,
            host_alias,
            host_ports,
            dns_denial: match config.dns_denial {
                DenialConfig::Refused => DenialStyle::Refused,
                DenialConfig::Nxdomain => DenialStyle::NxDomain,
            },
            strict_hosts: !flags.no_strict_hosts && config.strict_hosts.unwrap_or(true),
            readable_denials: flags.readable_denials || config.readable_denials.unwrap_or_default(),
            nat64: nat64_prefixes(&config.nat64)?,
            shaping: shaping::shaping(&flags.shaping, &config.shaping)?,
            secrets: SecretSettings::all(flags, config)?,
            terminate_after: flags.terminate_after.or(config.terminate_after),
            authority: AuthoritySettings::new(&flags.authority, config)?,
            limits: limits(flags, config)?,
        })
    }
}

impl Settings {
    /// Whether TLS to this port and name is opened.
    pub(super) fn opens(&self, port: u16, name: Option<&HostName>) -> bool {
        let is_bypassed = name.is_some_and(|name| self.bypass.iter().any(|pattern| pattern.matches(name)));
        self.ports.contains(&port) && !is_bypassed
    }
}

impl Plan {
    /// Joins flags and file, and reads the secrets.
    pub(super) fn new(args: &RunArgs) -> Result<Self> {
        let (config, config_file) = match &args.config {
            Some(path) => Config::read(path)?,
            None => Default::default(),
        };
        let settings = Settings::new(&args.policy, &config)?;
        let publish = [config.publish.clone(), Written::on_command_line("--publish", &args.publish)].concat();
        publish::check(&publish)?;
        let mut warnings: Vec<_> = settings.secrets.iter().flat_map(SecretSettings::warnings).collect();
        warnings.extend(host_ports::warnings(&settings.host_ports, settings.policy.may_reach_host()));
        let ReadSecrets { held, refresher, mut removed_variables, mut covers } =
            ReadSecrets::new(settings.secrets)?;
        if !held.are_locked() {
            warnings.push(UNLOCKED.to_owned());
        }
        let secrets = held.compile()?;
        let identities = UpstreamSettings::read(settings.upstreams)?;
        let Identities { trust: host_trust, removed_variables: of_keys, covers: over_keys } = identities;
        removed_variables.extend(of_keys);
        covers.extend(over_keys);
        let read_proxies = ProxySettings::read(settings.proxies)?;
        removed_variables.extend(read_proxies.removed_variables);
        covers.extend(read_proxies.covers);
        let watched = match &args.config {
            Some(path) if args.watch => Some(Place::find(path)?),
            Some(_) | None => None,
        };
        covers.extend(watched.as_ref().map(Place::cover));
        // A source may be a command with a value in it.
        if let Some(path) = config_file
            && (!config.secrets.is_empty()
                || config.upstream.iter().any(|one| one.client_key.is_some())
                || config.proxies.iter().any(|one| one.password.is_some()))
        {
            covers.push(Cover { path, field: "--config".to_owned() });
        }
        let authority = if settings.ports.is_empty() {
            None
        } else {
            let (authority, hidden) =
                settings.authority.prepare(&settings.policy, &settings.ports, watched.is_some())?;
            covers.extend(hidden);
            Some(authority)
        };
        let dangerous_tls_key_log = settings.authority.open_key_log(&mut covers)?;
        let anchors = settings.anchors;
        let trust = match &authority {
            Some(authority) => Some(anchors.for_command(authority.certificate_pem())?),
            None => None,
        };
        let is_configured = args.configure.unwrap_or(settings.configure) == ConfigureArg::Static;
        let guest = GuestConfig {
            autoconfiguration: (!is_configured).then(Autoconfiguration::default),
            policy: settings.policy,
            interception: Interception {
                ports: settings.ports,
                bypass: settings.bypass,
                refuse_ech: settings.refuse_ech,
                authority,
            },
            secrets,
            nameservers: resolver::nameservers(&settings.nameservers)?,
            upstream_trust: anchors.upstream,
            host_trust,
            dangerous_tls_key_log,
            host_alias: settings.host_alias,
            host_ports: settings.host_ports,
            dns_denial: settings.dns_denial,
            strict_hosts: settings.strict_hosts,
            readable_denials: settings.readable_denials,
            nat64: settings.nat64,
            shaping: settings.shaping,
            terminate_after: settings.terminate_after,
            proxies: read_proxies.proxies,
            reports_opened: args.verbose > 0,
            limits: settings.limits,
            ..GuestConfig::default()
        };
        let link = args.link.map_or(settings.link, LinkArg::kind);
        let offload = settings.offload && !args.no_offload;
        let mtu = args.mtu.unwrap_or(settings.mtu);
        Ok(Self {
            guest,
            link,
            offload,
            is_configured,
            mtu,
            trust,
            removed_variables,
            covers,
            config,
            watched,
            publish,
            warnings,
            held,
            refresher,
        })
    }
}

/// The rules of flags and file: denials, then the rules of the file, then what is allowed, then the preset.
///
/// # Errors
/// One line that names where a rule was written, and the rule.
pub(super) fn policy(flags: &PolicyArgs, config: &Config) -> Result<Policy> {
    let rules = |texts: &[Written], flag, flags: &[String], action| -> Result<Vec<Rule>> {
        let texts = texts.iter().cloned().chain(Written::on_command_line(flag, flags));
        let rule =
            |text: Written| Ok(parse_target(&text.text).with_context(|| text.named())?.into_rule(action));
        texts.map(rule).collect()
    };
    let mut all = rules(&config.deny, "--deny", &flags.deny, Action::Deny)?;
    all.extend(config.rules.iter().cloned());
    all.extend(rules(&config.allow, "--allow", &flags.allow, Action::Allow)?);
    all.extend(config.preset.rules());
    Ok(Policy::with_defaults(all, config.defaults))
}

fn limits(flags: &PolicyArgs, config: &Config) -> Result<Limits> {
    let flags = flags.limit.iter().map(|text| LimitSetting::on_command_line(text));
    let settings: Vec<_> = config.limits.iter().cloned().map(Ok).chain(flags).collect::<Result<_>>()?;
    limits::limits(&settings)
}

fn nat64_prefixes(texts: &[Written]) -> Result<Vec<Nat64Prefix>> {
    texts.iter().map(|text| text.text.parse().with_context(|| text.named())).collect()
}

fn intercepted_ports(flags: &PolicyArgs, config: &Config) -> Result<BTreeSet<u16>> {
    if flags.no_intercept {
        return Ok(BTreeSet::new());
    }
    if !flags.intercept.is_empty() {
        return Ok(flags.intercept.iter().copied().collect());
    }
    let Some((place, ports)) = &config.intercept else {
        return Ok(BTreeSet::from([DEFAULT_INTERCEPTED_PORT]));
    };
    if ports.contains(&0) {
        bail!("{place}: 0 is no port");
    }
    Ok(ports.iter().copied().collect())
}

fn patterns(texts: &[Written]) -> Result<Vec<HostPattern>> {
    texts.iter().map(|text| HostPattern::parse(&text.text).with_context(|| text.named())).collect()
}

#[allow(clippy::disallowed_methods, reason = "the binary owns the clock")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use net_secrets::Destination;

    use super::*;

    #[test]
    fn a_secret_is_used_where_the_file_says() {
        let text = "[[secrets]]\nenv = \"KEY\"\nsource = \"dangerous-value:hunter22\"\nhosts = [\"a.example\"]\n\
                    placeholder = \"my-placeholder\"\nusage = { places = [\"query\"] }\n";
        let config = Config::parse("f.toml", text).expect(text);
        let settings = SecretSettings::all(&PolicyArgs::default(), &config).expect("settings");
        let secrets = ReadSecrets::new(settings).expect("a value").held.compile().expect("a set");
        let host = "a.example".parse().expect("a name");
        let to = Destination { host: Some(&host), port: 443, is_verified: true };
        let target = secrets.substitute_target(&to, b"/?k=my-placeholder").expect("bound to the query");
        assert_eq!(target.as_deref().map(Vec::as_slice), Some(&b"/?k=hunter22"[..]));
        assert!(secrets.substitute_header(&to, "x-key", b"my-placeholder").is_err());
    }
}
