//! The configuration file: every flag of `run` as a key. `docs/config.md` describes it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use net_policy::{Defaults, Preset, Rule};
use serde::Deserialize;
use toml::Spanned;

use super::args::{ConfigureArg, ConstraintsArg};
use super::limits::LimitSetting;
use super::secret_action::ActionKey;
use super::secret_places::PlaceKeys;
use super::shaping::{ShapingConfig, ShapingKeys};
use super::sources;

/// A setting as it was written, and where: what an error about it names.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) place: String,
    pub(super) text: String,
}

impl Written {
    /// The values of one flag.
    pub(super) fn on_command_line(flag: &'static str, texts: &[String]) -> Vec<Self> {
        texts.iter().map(|text| Self { place: flag.to_owned(), text: text.clone() }).collect()
    }

    /// The value of one flag.
    pub(super) fn path_on_command_line(flag: &'static str, path: Option<&Path>) -> Option<Self> {
        path.map(|path| Self { place: flag.to_owned(), text: path.display().to_string() })
    }

    /// What an error is about: the place and the text, which is never a secret's value.
    pub(super) fn named(&self) -> String {
        format!("{} \"{}\"", self.place, self.text)
    }
}

/// What a file says; every key may be absent.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) deny: Vec<Written>,
    pub(super) allow: Vec<Written>,
    pub(super) rules: Vec<Rule>,
    pub(super) preset: Preset,
    pub(super) defaults: Defaults,
    /// Prefixes behind which the host's network reaches IPv4.
    pub(super) nat64: Vec<Written>,
    /// With the place it was written.
    pub(super) intercept: Option<(String, Vec<u16>)>,
    pub(super) bypass: Vec<Written>,
    pub(super) refuse_ech: bool,
    pub(super) secrets: Vec<SecretConfig>,
    /// What a violation leads to where its secret does not say; with the place it was written.
    pub(super) on_violation: Option<(String, ActionKey)>,
    pub(super) terminate_after: Option<NonZeroU32>,
    pub(super) nameservers: Vec<Written>,
    pub(super) upstream_ca: Vec<Written>,
    pub(super) upstream: Vec<UpstreamConfig>,
    pub(super) proxies: Vec<ProxyConfig>,
    pub(super) ca_dir: Option<Written>,
    pub(super) ca_cert: Option<Written>,
    pub(super) ca_key: Option<Written>,
    pub(super) name_constraints: ConstraintsArg,
    pub(super) dangerous_tls_keylog: Option<Written>,
    pub(super) publish: Vec<Written>,
    pub(super) link: Option<LinkConfig>,
    pub(super) configure: ConfigureArg,
    pub(super) offload: Option<bool>,
    /// With the place it was written.
    pub(super) mtu: Option<(String, u16)>,
    pub(super) host_alias: Option<Written>,
    pub(super) host_ports: Vec<Written>,
    pub(super) dangerous_host_ports: Vec<Written>,
    pub(super) dns_denial: DenialConfig,
    pub(super) strict_hosts: Option<bool>,
    pub(super) readable_denials: Option<bool>,
    pub(super) shaping: ShapingConfig,
    pub(super) limits: Vec<LimitSetting>,
    /// The file's keys that hold from the next run on, as they were written.
    pub(super) others: toml::Table,
}

#[derive(Debug)]
pub(super) struct SecretConfig {
    /// The file, the line and `secrets.<env>`.
    pub(super) place: String,
    pub(super) env: String,
    pub(super) source: String,
    pub(super) hosts: Vec<Written>,
    /// With the place it was written; likewise below.
    pub(super) dangerous_any_host: Option<(String, bool)>,
    /// Not to be shown: it may be a value by mistake.
    pub(super) placeholder: Option<Written>,
    pub(super) format: Option<Written>,
    /// Not to be shown.
    pub(super) sample: Option<Written>,
    pub(super) on_violation: Option<(String, ActionKey)>,
    pub(super) passthrough: Vec<Written>,
    pub(super) ttl: Option<Written>,
    pub(super) usage: PlaceKeys,
}

/// What is different about some upstreams.
#[derive(Debug)]
pub(super) struct UpstreamConfig {
    /// The file, the line and `upstream`.
    pub(super) place: String,
    pub(super) hosts: Vec<Written>,
    pub(super) ca: Vec<Written>,
    pub(super) spki_pins: Vec<Written>,
    pub(super) client_cert: Option<Written>,
    /// A source of the key, not to be shown: it may be a command with a value in it.
    pub(super) client_key: Option<Written>,
    pub(super) dangerous_skip_verification: bool,
}

/// A proxy.
#[derive(Clone, Debug)]
pub(super) struct ProxyConfig {
    /// The file, the line and `proxy`.
    pub(super) place: String,
    /// Not to be shown: somebody may have put a password there.
    pub(super) url: Written,
    pub(super) name: Option<Written>,
    pub(super) hosts: Option<Vec<Written>>,
    pub(super) except: Vec<Written>,
    pub(super) ca: Vec<Written>,
    /// Sources, not to be shown: each may be a command with a value in it.
    pub(super) username: Option<Written>,
    pub(super) password: Option<Written>,
    pub(super) connect_timeout: Option<Written>,
    pub(super) by_address: bool,
    pub(super) others: OthersConfig,
}

impl ProxyConfig {
    /// A proxy of which nothing but the url is said.
    pub(super) fn of_flag(url: Written) -> Self {
        Self {
            place: url.place.clone(),
            url,
            name: None,
            hosts: None,
            except: Vec::new(),
            ca: Vec::new(),
            username: None,
            password: None,
            connect_timeout: None,
            by_address: false,
            others: OthersConfig::Refuse,
        }
    }
}

/// What becomes of what no proxy carries.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OthersConfig {
    #[default]
    Refuse,
    Direct,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LinkConfig {
    Auto,
    Tap,
    Packet,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DenialConfig {
    #[default]
    Refused,
    Nxdomain,
}

/// The file's own shape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct Keys {
    #[serde(default)]
    deny: Vec<Spanned<String>>,
    #[serde(default)]
    allow: Vec<Spanned<String>>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    preset: Preset,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    nat64: Vec<Spanned<String>>,
    intercept: Option<Spanned<Vec<u16>>>,
    #[serde(default)]
    bypass: Vec<Spanned<String>>,
    #[serde(default)]
    refuse_ech: bool,
    #[serde(default)]
    secrets: Vec<SecretKeys>,
    on_violation: Option<Spanned<ActionKey>>,
    terminate_after: Option<NonZeroU32>,
    #[serde(default)]
    nameservers: Vec<Spanned<String>>,
    #[serde(default)]
    upstream_ca: Vec<Spanned<String>>,
    #[serde(default)]
    upstream: Vec<Spanned<UpstreamKeys>>,
    #[serde(default)]
    proxy: Vec<Spanned<ProxyKeys>>,
    ca_dir: Option<Spanned<String>>,
    ca_cert: Option<Spanned<String>>,
    ca_key: Option<Spanned<String>>,
    #[serde(default)]
    name_constraints: ConstraintsArg,
    dangerous_tls_keylog: Option<Spanned<String>>,
    #[serde(default)]
    publish: Vec<Spanned<String>>,
    link: Option<LinkConfig>,
    #[serde(default)]
    configure: ConfigureArg,
    offload: Option<bool>,
    mtu: Option<Spanned<u16>>,
    host_alias: Option<Spanned<String>>,
    #[serde(default)]
    host_ports: Vec<Spanned<String>>,
    #[serde(default)]
    dangerous_host_ports: Vec<Spanned<String>>,
    #[serde(default)]
    dns_denial: DenialConfig,
    strict_hosts: Option<bool>,
    readable_denials: Option<bool>,
    #[serde(default)]
    shaping: ShapingKeys,
    #[serde(default)]
    limits: BTreeMap<String, Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct SecretKeys {
    env: Spanned<String>,
    source: String,
    #[serde(default)]
    hosts: Vec<Spanned<String>>,
    dangerous_any_host: Option<Spanned<bool>>,
    placeholder: Option<Spanned<String>>,
    format: Option<Spanned<String>>,
    sample: Option<Spanned<String>>,
    on_violation: Option<Spanned<ActionKey>>,
    #[serde(default)]
    passthrough: Vec<Spanned<String>>,
    ttl: Option<Spanned<String>>,
    #[serde(default)]
    usage: PlaceKeys,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct UpstreamKeys {
    hosts: Vec<Spanned<String>>,
    #[serde(default)]
    ca: Vec<Spanned<String>>,
    #[serde(default)]
    spki_pins: Vec<Spanned<String>>,
    client_cert: Option<Spanned<String>>,
    client_key: Option<Spanned<String>>,
    #[serde(default)]
    dangerous_skip_verification: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct ProxyKeys {
    url: Spanned<String>,
    name: Option<Spanned<String>>,
    hosts: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    except: Vec<Spanned<String>>,
    #[serde(default)]
    ca: Vec<Spanned<String>>,
    username: Option<Spanned<String>>,
    password: Option<Spanned<String>>,
    connect_timeout: Option<Spanned<String>>,
    #[serde(default)]
    by_address: bool,
    #[serde(default)]
    udp: OthersConfig,
}

impl Config {
    /// Reads a file; also where it is, see [`sources::read_file`].
    ///
    /// # Errors
    /// One line that names the file, the line and what is wrong there.
    pub(super) fn read(path: &Path) -> Result<(Self, Option<PathBuf>)> {
        let file = path.display().to_string();
        let (bytes, place) = sources::read_file(path).with_context(|| format!("--config {file}"))?;
        let text = String::from_utf8(bytes).map_err(|_| anyhow!("--config {file}: is not UTF-8"))?;
        Ok((Self::parse(&file, &text)?, place))
    }

    /// What the text of a file says.
    ///
    /// # Errors
    /// One line that names the file, the line and what is wrong there.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self> {
        let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let wrong = |key: &str, error: &toml::de::Error| {
            let line = error.span().map_or(1, |span| line(span.start));
            let message = error.message().replace('\n', " ");
            // What remembers its place is a value inside of itself to serde.
            let key = key.strip_suffix(".$__serde_spanned_private_value").unwrap_or(key);
            match key {
                "" | "." => anyhow!("{file} line {line}: {message}"),
                key => anyhow!("{file} line {line}: {key}: {message}"),
            }
        };
        let parsed = toml::Deserializer::parse(text).map_err(|error| wrong("", &error))?;
        let keys: Keys = serde_path_to_error::deserialize(parsed)
            .map_err(|error| wrong(&error.path().to_string(), error.inner()))?;
        let place = |key: &str, at: usize| format!("{file} line {}: {key}", line(at));
        let written = |key: &str, value: Spanned<String>| Written {
            place: place(key, value.span().start),
            text: value.into_inner(),
        };
        let list = |key: &str, values: Vec<Spanned<String>>| -> Vec<Written> {
            values.into_iter().map(|value| written(key, value)).collect()
        };
        let secret = |keys: SecretKeys| {
            let Written { place: at, text: env } = written("secrets", keys.env);
            let key = |name: &str| format!("secrets.{env}.{name}");
            SecretConfig {
                source: keys.source,
                hosts: list(&key("hosts"), keys.hosts),
                dangerous_any_host: keys
                    .dangerous_any_host
                    .map(|any| (place(&key("dangerous_any_host"), any.span().start), any.into_inner())),
                placeholder: keys.placeholder.map(|text| written(&key("placeholder"), text)),
                format: keys.format.map(|text| written(&key("format"), text)),
                sample: keys.sample.map(|text| written(&key("sample"), text)),
                on_violation: keys
                    .on_violation
                    .map(|action| (place(&key("on_violation"), action.span().start), action.into_inner())),
                passthrough: list(&key("passthrough"), keys.passthrough),
                ttl: keys.ttl.map(|ttl| written(&key("ttl"), ttl)),
                usage: keys.usage,
                place: format!("{at}.{env}"),
                env,
            }
        };
        let upstream = |keys: Spanned<UpstreamKeys>| {
            let place = place("upstream", keys.span().start);
            let keys = keys.into_inner();
            UpstreamConfig {
                place,
                hosts: list("upstream.hosts", keys.hosts),
                ca: list("upstream.ca", keys.ca),
                spki_pins: list("upstream.spki_pins", keys.spki_pins),
                client_cert: keys.client_cert.map(|path| written("upstream.client_cert", path)),
                client_key: keys.client_key.map(|source| written("upstream.client_key", source)),
                dangerous_skip_verification: keys.dangerous_skip_verification,
            }
        };
        let limit = |(name, value): (String, Spanned<toml::Value>)| LimitSetting {
            place: place("limits", value.span().start),
            name,
            value: value.into_inner(),
        };
        let proxy = |keys: Spanned<ProxyKeys>| {
            let place = place("proxy", keys.span().start);
            let keys = keys.into_inner();
            ProxyConfig {
                place,
                url: written("proxy.url", keys.url),
                name: keys.name.map(|name| written("proxy.name", name)),
                hosts: keys.hosts.map(|hosts| list("proxy.hosts", hosts)),
                except: list("proxy.except", keys.except),
                ca: list("proxy.ca", keys.ca),
                username: keys.username.map(|source| written("proxy.username", source)),
                password: keys.password.map(|source| written("proxy.password", source)),
                connect_timeout: keys.connect_timeout.map(|time| written("proxy.connect_timeout", time)),
                by_address: keys.by_address,
                others: keys.udp,
            }
        };
        Ok(Self {
            deny: list("deny", keys.deny),
            allow: list("allow", keys.allow),
            rules: keys.rules,
            preset: keys.preset,
            defaults: keys.defaults,
            nat64: list("nat64", keys.nat64),
            intercept: keys
                .intercept
                .map(|ports| (place("intercept", ports.span().start), ports.into_inner())),
            bypass: list("bypass", keys.bypass),
            refuse_ech: keys.refuse_ech,
            secrets: keys.secrets.into_iter().map(secret).collect(),
            on_violation: keys
                .on_violation
                .map(|action| (place("on_violation", action.span().start), action.into_inner())),
            terminate_after: keys.terminate_after,
            nameservers: list("nameservers", keys.nameservers),
            upstream_ca: list("upstream_ca", keys.upstream_ca),
            upstream: keys.upstream.into_iter().map(upstream).collect(),
            proxies: keys.proxy.into_iter().map(proxy).collect(),
            ca_dir: keys.ca_dir.map(|path| written("ca_dir", path)),
            ca_cert: keys.ca_cert.map(|path| written("ca_cert", path)),
            ca_key: keys.ca_key.map(|path| written("ca_key", path)),
            name_constraints: keys.name_constraints,
            dangerous_tls_keylog: keys.dangerous_tls_keylog.map(|path| written("dangerous_tls_keylog", path)),
            publish: list("publish", keys.publish),
            link: keys.link,
            configure: keys.configure,
            offload: keys.offload,
            mtu: keys.mtu.map(|mtu| (place("mtu", mtu.span().start), mtu.into_inner())),
            host_alias: keys.host_alias.map(|alias| written("host_alias", alias)),
            host_ports: list("host_ports", keys.host_ports),
            dangerous_host_ports: list("dangerous_host_ports", keys.dangerous_host_ports),
            dns_denial: keys.dns_denial,
            strict_hosts: keys.strict_hosts,
            readable_denials: keys.readable_denials,
            shaping: keys.shaping.written(written),
            limits: keys.limits.into_iter().map(limit).collect(),
            others: others(text),
        })
    }
}

/// The keys of a file that are not taken over as they change; the file has been parsed before.
fn others(text: &str) -> toml::Table {
    let mut table: toml::Table = text.parse().unwrap_or_default();
    for key in ["deny", "allow", "rules", "preset", "defaults", "shaping"] {
        table.remove(key);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_and_line() {
        const CASES: &[(&str, &str)] = &[
            ("allow = []\nalow = []\n", "f.toml line 2: alow: unknown field `alow`"),
            (
                "[[rules]]\naction = \"maybe\"\nto = \"any\"\n",
                "f.toml line 2: rules[0].action: unknown variant `maybe`",
            ),
            (
                "[[rules]]\naction = \"deny\"\nto = \"we*b.example\"\n",
                "f.toml line 3: rules[0].to: \"we*b.example\": not a name pattern: a `*` stands",
            ),
            (
                "[[rules]]\naction = \"deny\"\nto = \"any\"\nexpires = \"soon\"\n",
                "f.toml line 4: rules[0].expires: \"soon\": not a time: write it in UTC, as in",
            ),
            (
                "[[rules]]\naction = \"deny\"\nto = \"any\"\nwhy = \"\"\n",
                "f.toml line 4: rules[0].why: unknown field",
            ),
            ("\npreset = \"open\"\n", "f.toml line 2: preset: unknown variant `open`"),
            ("\nmtu = \"big\"\n", "f.toml line 2: mtu: invalid type: string \"big\", expected u16"),
            ("[[secrets]]\nenv = \"A\"\n", "f.toml line 1: secrets[0]: missing field `source`"),
            (
                "[[secrets]]\nenv = \"A\"\nsource = \"env:A\"\nhosts = []\nusage = { places = [\"cookies\"] }\n",
                "f.toml line 5: secrets[0].usage.places[0]: unknown variant `cookies`",
            ),
            ("allow = []\ndeny = [\n", "f.toml line 2: "),
            ("terminate_after = 0\n", "f.toml line 1: terminate_after: invalid value: integer `0`"),
        ];
        for (text, expected) in CASES {
            let error = Config::parse("f.toml", text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
            assert!(!error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn a_setting_knows_where_it_was_written() {
        let text = "allow = [\n  \"a.example\",\n  \"b.example\",\n]\n\n[[rules]]\naction = \"deny\"\nto = \"any\"\n\n\
                    [[secrets]]\nenv = \"TOKEN\"\nsource = \"env:T\"\nhosts = [\"c.example\"]\n";
        let config = Config::parse("f.toml", text).expect(text);
        assert_eq!(config.allow[1].named(), "f.toml line 3: allow \"b.example\"");
        assert_eq!(config.rules[0].to_string(), "deny any");
        assert_eq!(config.secrets[0].place, "f.toml line 11: secrets.TOKEN");
        assert_eq!(config.secrets[0].hosts[0].named(), "f.toml line 13: secrets.TOKEN.hosts \"c.example\"");
    }

    #[test]
    fn the_documented_example_is_valid() {
        let documentation = include_str!("../../../docs/config.md");
        let example = documentation.split("```toml").nth(1).and_then(|rest| rest.split("```").next());
        let config = Config::parse("docs/config.md", example.expect("docs/config.md has an example"))
            .expect("it is valid");
        assert!(!config.rules.is_empty() && !config.secrets.is_empty());
    }
}
