//! A secret as flags and file have it, checked without its value.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use net_core::{HostName, HostPattern};
use net_secrets::{
    Action, Binding, Hosts, Placeholder, PlaceholderFormat, SecretSource, SecretSpec, SecretValue,
};

use super::args::PolicyArgs;
use super::config::{Config, SecretConfig, Written};
use super::secret_action::{self, ActionKey};
use super::secret_places::{PlaceKeys, Usage};

/// How long a value may be said to be good for.
const TTL_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600);

/// A secret before its value is read.
pub(super) struct SecretSettings {
    /// Where it was written: what an error names.
    pub(super) place: String,
    pub(super) spec: SecretSpec,
    placeholder: PlaceholderSettings,
    usage: Usage,
    on_violation: Action,
    passthrough: Vec<HostPattern>,
    /// How long what a command prints is good for; for ever without it.
    pub(super) ttl: Option<Duration>,
}

/// What stands for the value.
enum PlaceholderSettings {
    /// This, by its owner's choice.
    Own(Placeholder),
    /// One that is drawn.
    Drawn(PlaceholderFormat),
}

impl SecretSettings {
    /// Those of the command line, then those of the file.
    ///
    /// # Errors
    /// One line that names the place and the key, and what to do.
    pub(super) fn all(flags: &PolicyArgs, config: &Config) -> Result<Vec<Self>> {
        let default = match (flags.on_violation, &config.on_violation) {
            (Some(flag), _) => flag.action(),
            (None, Some((place, ActionKey::Passthrough))) => {
                bail!("{place}: \"passthrough\" is for single secrets, which name the hosts in passthrough")
            }
            (None, Some((_, key))) => key.action(),
            (None, None) => Action::default(),
        };
        let of_flags = flags.secret.iter().map(|text| Self::of_flag(text, default));
        of_flags.chain(config.secrets.iter().map(|secret| Self::of_file(secret, default))).collect()
    }

    fn of_flag(text: &str, on_violation: Action) -> Result<Self> {
        // The text names a source, so it may be shown, but for a value that is one.
        let shown = text.split_once("dangerous-value:").map_or(text, |(before, _)| before);
        let spec = SecretSpec::parse(text).with_context(|| format!("--secret \"{shown}\""))?;
        let place = format!("--secret {}", spec.env);
        let usage = PlaceKeys::default().check(&place)?;
        let placeholder = PlaceholderSettings::Drawn(PlaceholderFormat::default());
        Ok(Self { place, spec, placeholder, usage, on_violation, passthrough: Vec::new(), ttl: None })
    }

    fn of_file(secret: &SecretConfig, default: Action) -> Result<Self> {
        let place = &secret.place;
        let pattern = |text: &Written| HostPattern::parse(&text.text).with_context(|| text.named());
        let hosts = match &secret.dangerous_any_host {
            Some((place, true)) if !secret.hosts.is_empty() => {
                bail!("{place}: is every host: leave hosts out, or this")
            }
            Some((_, true)) => Hosts::DangerousAny,
            Some((_, false)) | None if secret.hosts.is_empty() => {
                bail!("{place}: hosts: name at least one, as in hosts = [\"api.example.com\"]")
            }
            Some((_, false)) | None => Hosts::Named(secret.hosts.iter().map(pattern).collect::<Result<_>>()?),
        };
        let spec = SecretSpec::new(&secret.env, &secret.source, hosts).with_context(|| place.clone())?;
        let usage = secret.usage.check(&format!("{place}.usage"))?;
        let passthrough = secret.passthrough.iter().map(pattern).collect::<Result<Vec<_>>>()?;
        let on_violation = match &secret.on_violation {
            Some((place, ActionKey::Passthrough)) if passthrough.is_empty() => {
                bail!(
                    "{place}: name those who may see the placeholder, as in passthrough = [\"log.example.com\"]"
                )
            }
            Some((_, key)) => key.action(),
            None => default,
        };
        let placeholder = PlaceholderSettings::of_file(secret)?;
        let ttl = secret.ttl.as_ref().map(|ttl| ttl_of(ttl, &spec.source)).transpose()?;
        Ok(Self { place: place.clone(), spec, placeholder, usage, on_violation, passthrough, ttl })
    }

    /// What it is with this value.
    ///
    /// # Errors
    /// The system gives no randomness for a placeholder.
    pub(super) fn bind(self, value: SecretValue) -> Result<Binding> {
        let Self { place, spec, placeholder, usage, on_violation, passthrough, .. } = self;
        let placeholder = match placeholder {
            PlaceholderSettings::Own(placeholder) => placeholder,
            PlaceholderSettings::Drawn(format) => {
                let mut random = [0; 16];
                getrandom::fill(&mut random).map_err(|_| anyhow!("{place}: no randomness"))?;
                format.generate(random)
            }
        };
        let binding = Binding::new(spec.env, placeholder, value, Vec::new());
        Ok(usage.apply(Binding { hosts: spec.hosts, on_violation, passthrough, ..binding }))
    }

    /// Whether it is for this host and port.
    pub(super) fn is_for(&self, host: Option<&HostName>, port: u16) -> bool {
        let is_host = match &self.spec.hosts {
            Hosts::Named(patterns) => {
                host.is_some_and(|host| patterns.iter().any(|pattern| pattern.matches(host)))
            }
            Hosts::DangerousAny => true,
        };
        is_host && self.usage.has_port(port)
    }

    /// How it is used.
    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What its owner may not have meant.
    pub(super) fn warnings(&self) -> Vec<String> {
        let env = &self.spec.env;
        let mut warnings = Vec::new();
        if self.spec.hosts == Hosts::DangerousAny {
            warnings.push(format!(
                "secret {env} goes to every host that the rules allow, servers of the command's own included \
                 (dangerous_any_host)"
            ));
        }
        if matches!(self.spec.source, SecretSource::DangerousValue(_)) {
            warnings.push(format!(
                "the value of secret {env} is in the settings, for whoever reads them (dangerous-value)"
            ));
        }
        if !self.usage.requires_tls_identity() {
            warnings.push(format!(
                "secret {env} goes to servers that have not proved who they are, and over plain HTTP \
                 (require_tls_identity = false)"
            ));
        }
        warnings
    }
}

impl PlaceholderSettings {
    fn of_file(secret: &SecretConfig) -> Result<Self> {
        let own = secret.placeholder.as_ref();
        let chosen = [own, secret.format.as_ref(), secret.sample.as_ref()];
        if let [_, second, ..] = chosen.into_iter().flatten().collect::<Vec<_>>()[..] {
            bail!("{}: placeholder, format and sample exclude each other: keep one", second.place);
        }
        // What is written is not shown: it may be the real thing.
        Ok(match secret {
            SecretConfig { placeholder: Some(text), .. } => {
                Self::Own(Placeholder::from_user(&text.text).with_context(|| text.place.clone())?)
            }
            SecretConfig { format: Some(name), .. } => {
                Self::Drawn(PlaceholderFormat::named(&name.text).with_context(|| name.named())?)
            }
            SecretConfig { sample: Some(sample), .. } => {
                Self::Drawn(PlaceholderFormat::like(&sample.text).with_context(|| sample.place.clone())?)
            }
            SecretConfig { .. } => Self::Drawn(PlaceholderFormat::default()),
        })
    }
}

/// One line: where it comes from, towards whom and where it may stand, and what a violation leads to.
impl fmt::Display for SecretSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec, usage, on_violation, passthrough, .. } = self;
        write!(f, "secret {} from ", spec.env)?;
        match &spec.source {
            SecretSource::Env(name) => write!(f, "env:{name}")?,
            SecretSource::File(path) => write!(f, "file:{}", path.display())?,
            // A command may have a value in it.
            SecretSource::Command(_) => match self.ttl {
                Some(ttl) => write!(f, "a command every {}", humantime::format_duration(ttl))?,
                None => f.write_str("a command")?,
            },
            SecretSource::DangerousValue(_) | _ => f.write_str("the settings")?,
        }
        match &spec.hosts {
            Hosts::Named(hosts) => write!(f, " to {}", list(hosts))?,
            Hosts::DangerousAny => f.write_str(" to any host")?,
        }
        write!(f, " {usage}")?;
        write!(f, "; elsewhere {}", secret_action::name(*on_violation))?;
        if !passthrough.is_empty() {
            write!(f, ", but {} may see the placeholder", list(passthrough))?;
        }
        Ok(())
    }
}

fn ttl_of(text: &Written, source: &SecretSource) -> Result<Duration> {
    let SecretSource::Command(_) = source else {
        bail!("{}: is for what a command prints, and the source is none: leave it out", text.place)
    };
    let ttl = humantime::parse_duration(&text.text).ok().filter(|ttl| TTL_RANGE.contains(ttl));
    ttl.with_context(|| format!("{}: write a time from 1s to 365d, as in \"10m\"", text.named()))
}

fn list(patterns: &[HostPattern]) -> String {
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "[[secrets]]\nenv = \"KEY\"\nsource = \"dangerous-value:hunter22\"\n";

    fn settings(text: &str) -> Result<Vec<SecretSettings>> {
        SecretSettings::all(&PolicyArgs::default(), &Config::parse("f.toml", text)?)
    }

    fn binding(rest: &str) -> Binding {
        let mut all = settings(&format!("{BEFORE}{rest}")).expect(rest);
        let one = all.pop().expect(rest);
        one.bind(SecretValue::new(b"hunter22".to_vec())).expect(rest)
    }

    #[test]
    fn what_a_file_says_is_in_the_binding() {
        let own = binding("hosts = [\"a.example\"]\nplaceholder = \"my-placeholder\"\n");
        assert_eq!(own.placeholder.as_str(), "my-placeholder");
        assert_eq!(own.hosts, Hosts::Named(vec!["a.example".parse().expect("a name")]));
        assert_eq!((own.on_violation, own.passthrough), (Action::BlockAndLog, Vec::new()));

        let github = binding("hosts = [\"a.example\"]\nformat = \"github\"\non_violation = \"block\"\n");
        let text = github.placeholder.as_str();
        assert!(text.starts_with("ghp_") && text.len() == 40, "{text}");
        assert_eq!(github.on_violation, Action::Block);
        let again = binding("hosts = [\"a.example\"]\nformat = \"github\"\n");
        assert_ne!(github.placeholder, again.placeholder, "drawn each time");

        let like = binding("dangerous_any_host = true\nsample = \"sk-proj-Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8\"\n");
        let text = like.placeholder.as_str();
        assert!(text.starts_with("sk-proj-") && text.len() == 32, "{text}");
        assert_eq!(like.hosts, Hosts::DangerousAny);

        let passing =
            "hosts = [\"a.example\"]\non_violation = \"passthrough\"\npassthrough = [\"log.example\"]\n";
        let passing = binding(passing);
        assert_eq!((passing.on_violation, passing.passthrough.len()), (Action::BlockAndLog, 1));
    }

    #[test]
    fn what_a_violation_leads_to_is_said_once_for_all_and_for_single_secrets() {
        // The file's head, the secret's own, the flag; what is due.
        const CASES: &[(&str, &str, Option<ActionKey>, Action)] = &[
            ("", "", None, Action::BlockAndLog),
            ("block", "", None, Action::Block),
            ("block_and_terminate", "", None, Action::BlockAndTerminate),
            ("block", "block_and_terminate", None, Action::BlockAndTerminate),
            ("block_and_terminate", "block", None, Action::Block),
            ("block", "", Some(ActionKey::BlockAndTerminate), Action::BlockAndTerminate),
            ("", "block", Some(ActionKey::BlockAndTerminate), Action::Block),
        ];
        for (head, own, flag, expected) in CASES {
            let key = |word: &str| match word {
                "" => String::new(),
                word => format!("on_violation = \"{word}\"\n"),
            };
            let text = format!("{}{BEFORE}hosts = [\"a.example\"]\n{}", key(head), key(own));
            let config = Config::parse("f.toml", &text).expect(&text);
            let flags = PolicyArgs { on_violation: *flag, ..PolicyArgs::default() };
            let all = SecretSettings::all(&flags, &config).expect(&text);
            assert_eq!(all[0].on_violation, *expected, "{head}, {own}, {flag:?}");
        }
    }

    #[test]
    fn an_error_names_the_line_the_key_and_the_remedy_and_no_value() {
        const HOSTS: &str = "hosts = [\"a.example\"]\n";
        // What follows source on line 4, and the error.
        const CASES: &[(&str, &str)] = &[
            ("", "f.toml line 2: secrets.KEY: hosts: name at least one, as in"),
            ("hosts = []\n", "f.toml line 2: secrets.KEY: hosts: name at least one"),
            ("hosts = []\ndangerous_any_host = false\n", "f.toml line 2: secrets.KEY: hosts: name at least"),
            ("hosts = [\"*\"]\n", "f.toml line 4: secrets.KEY.hosts \"*\""),
            (
                "hosts = [\"a.example\"]\ndangerous_any_host = true\n",
                "f.toml line 5: secrets.KEY.dangerous_any_host: is every host: leave hosts out",
            ),
            ("format = \"gold\"\n", "f.toml line 5: secrets.KEY.format \"gold\": formats are plain,"),
            ("sample = \"hunter22\"\n", "f.toml line 5: secrets.KEY.sample: a sample has room for"),
            ("placeholder = \"short\"\n", "f.toml line 5: secrets.KEY.placeholder: a placeholder has 8 to"),
            (
                "format = \"github\"\nplaceholder = \"my-placeholder\"\n",
                "f.toml line 5: secrets.KEY.format: placeholder, format and sample exclude each other: keep",
            ),
            (
                "on_violation = \"passthrough\"\n",
                "f.toml line 5: secrets.KEY.on_violation: name those who may see the placeholder, as in",
            ),
            ("ttl = \"10m\"\n", "f.toml line 5: secrets.KEY.ttl: is for what a command prints"),
            ("passthrough = [\"log\", \"*\"]\n", "f.toml line 5: secrets.KEY.passthrough \"*\""),
            (
                "on_violation = \"warn\"\n",
                "f.toml line 5: secrets[0].on_violation: unknown variant `warn`, expected one of `block`, \
                 `block_and_log`, `block_and_terminate`, `passthrough`",
            ),
            (
                "usage = { ports = [0] }\n",
                "f.toml line 5: secrets[0].usage.ports[0]: a port from 1 to 65535, or a range of them in",
            ),
        ];
        for (rest, expected) in CASES {
            let hosts = if rest.is_empty() || rest.starts_with("hosts") { "" } else { HOSTS };
            let error = settings(&format!("{BEFORE}{hosts}{rest}")).err().expect(rest);
            let error = format!("{error:#}");
            assert!(error.starts_with(expected), "{rest}: {error}");
            assert!(!error.contains("hunter22") && !error.contains('\n'), "{rest}: {error}");
        }
        let error =
            settings(&format!("on_violation = \"passthrough\"\n{BEFORE}{HOSTS}")).err().expect("no hosts");
        assert!(error.to_string().starts_with("f.toml line 1: on_violation: \"passthrough\" is for single"));
    }

    #[test]
    fn what_is_dangerous_is_warned_of() {
        let text = "[[secrets]]\nenv = \"A\"\nsource = \"env:A\"\ndangerous_any_host = true\n\n\
                    [[secrets]]\nenv = \"B\"\nsource = \"dangerous-value:hunter22\"\nhosts = [\"b.example\"]\n\
                    usage = { require_tls_identity = false }\n\n\
                    [[secrets]]\nenv = \"C\"\nsource = \"cmd:cat hunter22\"\nttl = \"600s\"\nhosts = [\"c.example\", \"*.d.example\"]\n\
                    on_violation = \"block_and_terminate\"\npassthrough = [\"log.example\"]\n\
                    usage = { ports = [443, \"8000-8080\"], places = [\"headers\", \"body\"], header_names = [\"x-key\"] }\n";
        let all = settings(text).expect("three secrets");
        let warnings: Vec<Vec<String>> = all.iter().map(SecretSettings::warnings).collect();
        assert_eq!(warnings.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 0], "{warnings:?}");
        let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "secret A from env:A to any host in headers, basic_auth; elsewhere block_and_log",
                "secret B from the settings to b.example in headers, basic_auth, without TLS too; elsewhere \
                 block_and_log",
                "secret C from a command every 10m to c.example, *.d.example on ports 443, 8000-8080 in headers (x-key), \
                 body; elsewhere block_and_terminate, but log.example may see the placeholder",
            ]
        );
    }
}
