//! Proxies as people write them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use net_core::HostName;
use net_policy::{DIRECT, Policy, Target, parse_target};
use net_secrets::{SecretSource, SecretValue};
use net_tls::{UpstreamTrust, parse_ca_pem};

use super::config::{OthersConfig, ProxyConfig, Written};
use super::resolver;
use super::sandbox::Cover;
use super::sources;
use crate::{Proxy, ProxyCredentials, ProxyScheme, ProxyUrl};

/// A proxy as it was written, checked; no secret has been read, and no name looked up.
pub(super) struct ProxySettings {
    /// What an error names: never the url, in which a password may be.
    place: String,
    url: ProxyUrl,
    name: Option<String>,
    hosts: Option<Vec<Target>>,
    exceptions: Vec<Target>,
    trust: UpstreamTrust,
    credentials: Option<[Source; 2]>,
    connect_timeout: Option<Duration>,
    by_address: bool,
    lets_others_pass: bool,
}

/// Where a user name or a password comes from.
struct Source {
    place: String,
    source: SecretSource,
}

/// The proxies, and what reading their credentials has shown.
#[derive(Default)]
pub(super) struct ReadProxies {
    pub(super) proxies: Vec<Proxy>,
    /// Variables that hold some of it.
    pub(super) removed_variables: BTreeSet<String>,
    /// Files that hold some of it.
    pub(super) covers: Vec<Cover>,
}

impl ProxySettings {
    /// The proxies of the file, then those of the command line.
    ///
    /// # Errors
    /// One line that names where the setting was written, and nothing in which a password may be.
    pub(super) fn new(
        written: &[ProxyConfig],
        flags: &[String],
        trust: &UpstreamTrust,
        policy: &Policy,
    ) -> Result<Vec<Self>> {
        let of_flags = Written::on_command_line("--proxy", flags).into_iter().map(ProxyConfig::of_flag);
        let all: Vec<ProxyConfig> = written.iter().cloned().chain(of_flags).collect();
        let all = all.iter().map(|one| Self::parse(one, trust)).collect::<Result<Vec<Self>>>()?;
        let mut names = BTreeSet::from([DIRECT]);
        for one in &all {
            if let Some(name) = &one.name
                && !names.insert(name)
            {
                bail!("{}.name: \"{name}\" is taken: give each proxy a name of its own", one.place);
            }
        }
        for chosen in policy.chosen_proxies() {
            if !names.contains(chosen) {
                bail!("rules: proxy = \"{chosen}\": no [[proxy]] has that name");
            }
        }
        Ok(all)
    }

    fn parse(config: &ProxyConfig, trust: &UpstreamTrust) -> Result<Self> {
        let ProxyConfig { url, name, hosts, except, ca, username, password, connect_timeout, .. } = config;
        let place = config.place.clone();
        let parsed: ProxyUrl = url.text.parse().with_context(|| url.place.clone())?;
        let targets = |texts: &[Written]| -> Result<Vec<Target>> {
            texts.iter().map(|text| parse_target(&text.text).with_context(|| text.named())).collect()
        };
        let mut trust = trust.clone();
        for file in ca {
            if parsed.scheme() != ProxyScheme::Https {
                bail!("{}: only a proxy of https:// has a certificate", file.named());
            }
            let (pem, _) = sources::read_file(file.text.as_ref()).with_context(|| file.named())?;
            let certificates = parse_ca_pem(&pem)
                .with_context(|| format!("{}: give a PEM file of certificates", file.named()))?;
            trust.add(certificates);
        }
        let source = |text: &Written| -> Result<Source> {
            let source = SecretSource::parse(&text.text).with_context(|| text.place.clone())?;
            Ok(Source { place: text.place.clone(), source })
        };
        let credentials = match (username, password) {
            (None, None) => None,
            (Some(username), Some(password)) => Some([source(username)?, source(password)?]),
            (Some(username), None) => bail!("{}: needs a password too", username.place),
            (None, Some(password)) => bail!("{}: needs a username too", password.place),
        };
        let connect_timeout = connect_timeout.as_ref().map(|text| {
            let timeout = humantime::parse_duration(&text.text).ok().filter(|timeout| !timeout.is_zero());
            timeout.with_context(|| format!("{}: write a time, as in \"10s\"", text.named()))
        });
        Ok(Self {
            place,
            url: parsed,
            name: name.as_ref().map(|name| name.text.clone()),
            hosts: hosts.as_deref().map(targets).transpose()?,
            exceptions: targets(except)?,
            trust,
            credentials,
            connect_timeout: connect_timeout.transpose()?,
            by_address: config.by_address,
            lets_others_pass: matches!(config.others, OthersConfig::Direct),
        })
    }

    /// The proxy as far as it is known, at these addresses.
    pub(super) fn proxy(&self, addresses: Vec<SocketAddr>) -> Proxy {
        let mut proxy =
            Proxy::new(self.url.clone(), addresses).trusting(&self.trust).except(self.exceptions.clone());
        if let Some(name) = &self.name {
            proxy = proxy.named(name.clone());
        }
        if let Some(hosts) = &self.hosts {
            proxy = proxy.for_hosts(hosts.clone());
        }
        if let Some(timeout) = self.connect_timeout {
            proxy = proxy.with_connect_timeout(timeout);
        }
        if self.by_address {
            proxy = proxy.by_address();
        }
        if self.lets_others_pass {
            proxy = proxy.letting_others_pass();
        }
        proxy
    }

    /// Looks the proxies' names up, once, by the host's own means, and reads their credentials.
    ///
    /// # Errors
    /// One line that names the setting, and nothing of what was read.
    pub(super) fn read(all: Vec<Self>) -> Result<ReadProxies> {
        let mut read = ReadProxies::default();
        for settings in all {
            let addresses = match (settings.url.address(), settings.url.name()) {
                (Some(address), _) => vec![address],
                (None, Some(name)) => {
                    look_up(name, settings.url.port()).with_context(|| format!("{}.url", settings.place))?
                }
                (None, None) => Vec::new(),
            };
            let mut proxy = settings.proxy(addresses);
            if let Some([username, password]) = settings.credentials {
                let (username, password) = (username.read(&mut read)?, password.read(&mut read)?);
                let credentials = ProxyCredentials::new(username, password);
                proxy = proxy.with_credentials(credentials.with_context(|| settings.place.clone())?);
            }
            read.proxies.push(proxy);
        }
        Ok(read)
    }
}

impl Source {
    fn read(self, read: &mut ReadProxies) -> Result<SecretValue> {
        let (value, file) = sources::read(&self.source).with_context(|| self.place.clone())?;
        if let SecretSource::Env(name) = self.source {
            read.removed_variables.insert(name);
        }
        if let Some(path) = file
            && read.covers.iter().all(|cover| cover.path != path)
        {
            read.covers.push(Cover { path, field: self.place });
        }
        Ok(value)
    }
}

fn look_up(name: &HostName, port: u16) -> Result<Vec<SocketAddr>> {
    let addresses = resolver::look_up(name.as_str(), port)?;
    if addresses.is_empty() { Err(anyhow!("{name} has no address")) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::super::args::PolicyArgs;
    use super::super::config::Config;
    use super::super::plan;
    use super::*;

    fn settings(text: &str, flags: &[String]) -> Result<Vec<ProxySettings>> {
        let config = Config::parse("f.toml", text)?;
        let policy = plan::policy(&PolicyArgs::default(), &config)?;
        ProxySettings::new(&config.proxies, flags, &UpstreamTrust::default(), &policy)
    }

    fn error(text: &str) -> String {
        format!("{:#}", settings(text, &[]).and_then(ProxySettings::read).map(drop).expect_err(text))
    }

    #[test]
    fn an_error_names_the_field_and_shows_no_password() {
        let of = |keys: &str| format!("[[proxy]]\nurl = \"http://192.0.2.1:3128\"\n{keys}");
        let cases = [
            ("[[proxy]]\nname = \"corp\"".to_owned(), "missing field `url`"),
            (
                "[[proxy]]\nurl = \"http://me:hunter22@192.0.2.1:3128\"".to_owned(),
                "f.toml line 2: proxy.url: a url has no place for a secret: give `username` and `password`",
            ),
            (
                "[[proxy]]\nurl = \"192.0.2.1:3128\"".to_owned(),
                "line 2: proxy.url: a proxy's url begins with",
            ),
            (of("password = \"cmd:echo hunter22\""), "line 3: proxy.password: needs a username too"),
            (of("username = \"cmd:echo hunter22\""), "line 3: proxy.username: needs a password too"),
            (of("username = \"cmd:echo me\"\npassword = \"hunter22\""), "line 4: proxy.password: "),
            (
                of("username = \"cmd:echo me:you\"\npassword = \"cmd:echo hunter22\""),
                "f.toml line 1: proxy: a user name has no colon in it",
            ),
            (of("hosts = [\"a.b:x\"]"), "line 3: proxy.hosts \"a.b:x\": "),
            (of("except = [\"a*b\"]"), "line 3: proxy.except \"a*b\": "),
            (of("ca = [\"/nowhere\"]"), "line 3: proxy.ca \"/nowhere\": only a proxy of https://"),
            (of("connect_timeout = \"soon\""), "line 3: proxy.connect_timeout \"soon\": write a time"),
            (of("udp = \"maybe\""), "udp: unknown variant `maybe`, expected `refuse` or `direct`"),
            (of("name = \"direct\""), "proxy.name: \"direct\" is taken"),
            (
                of("name = \"a\"\n[[proxy]]\nname = \"a\"\nurl = \"http://192.0.2.1:1\""),
                "name: \"a\" is taken",
            ),
            (
                "[[rules]]\naction = \"allow\"\nto = \"any\"\nproxy = \"corp\"".to_owned(),
                "rules: proxy = \"corp\": no [[proxy]] has that name",
            ),
            (
                "[[rules]]\naction = \"deny\"\nto = \"any\"\nproxy = \"corp\"".to_owned(),
                "rules[0]: proxy is for rules that allow",
            ),
        ];
        for (text, expected) in cases {
            let error = error(&text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter22") && !error.contains('\n'), "{error}");
        }
        let flag = settings("", &["http://me:hunter22@192.0.2.1:1".to_owned()]).map(drop);
        let error = format!("{:#}", flag.expect_err("a password"));
        assert!(error.starts_with("--proxy: a url has no place for a secret"), "{error}");
    }

    #[test]
    fn what_holds_credentials_is_kept_from_the_command() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = std::fs::canonicalize(directory.path()).expect("a path").join("password");
        std::fs::write(&path, "hunter22\n").expect("a file");
        let text = format!(
            "[[proxy]]\nurl = \"socks5h://192.0.2.1:1080\"\nusername = \"cmd:echo me\"\npassword = \"file:{}\"\n\
             name = \"corp\"\n[[rules]]\naction = \"allow\"\nto = \"any\"\nproxy = \"corp\"",
            path.display()
        );
        let all = settings(&text, &["https://192.0.2.1:3128".to_owned()]).expect(&text);
        let read = ProxySettings::read(all).expect("credentials");
        assert_eq!(read.covers.iter().map(|cover| &cover.path).collect::<Vec<_>>(), [&path]);
        let shown = format!("{:?}", read.proxies);
        assert_eq!(shown, "[Proxy(corp (socks5h://192.0.2.1:1080)), Proxy(https://192.0.2.1:3128)]");
    }
}
