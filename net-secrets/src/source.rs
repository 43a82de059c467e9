use std::fmt;
use std::path::PathBuf;

use net_core::{HostPattern, HostPatternError};
use thiserror::Error;

use crate::{Hosts, SecretValue};

/// Where a secret's value comes from. It is parsed here and read by the caller.
#[derive(Clone)]
#[non_exhaustive]
pub enum SecretSource {
    /// A variable of the owner's environment.
    Env(String),
    /// A file.
    File(PathBuf),
    /// What a shell command prints.
    Command(String),
    /// The value itself: it is where the source is written, in a file or the arguments of a process,
    /// for others to read.
    DangerousValue(SecretValue),
}

/// A secret as written on a command line: `ENV=SOURCE@HOST[,HOST…]`.
#[derive(Clone, Debug)]
pub struct SecretSpec {
    /// The variable the guest sees.
    pub env: String,
    /// Where the value comes from.
    pub source: SecretSource,
    /// Towards whom. Not empty.
    pub hosts: Hosts,
}

/// Why text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No `=` or no `@`.
    #[error("a secret is written as ENV=SOURCE@HOST, as in TOKEN=env:TOKEN@api.example.com")]
    Shape,
    /// The part before `=` is no variable's name.
    #[error("an environment variable has letters, digits and underscores, and no digit first")]
    Env,
    /// The source is of no known kind.
    #[error("a source is env:NAME, file:PATH, cmd:COMMAND or dangerous-value:VALUE")]
    Kind,
    /// Nothing behind the kind.
    #[error("the source says where, and names nothing")]
    Empty,
    /// Bound to no host: it could never be used.
    #[error("hosts: name at least one")]
    NoHosts,
    /// A host is no pattern.
    #[error("the host is no name pattern")]
    Host(#[from] HostPatternError),
}

impl SecretSource {
    /// Parses `env:NAME`, `file:PATH`, `cmd:COMMAND` or `dangerous-value:VALUE`.
    ///
    /// # Errors
    /// `Kind`, `Empty` and `Env`.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let (kind, rest) = text.split_once(':').ok_or(SourceError::Kind)?;
        let source = match kind {
            "env" if rest.is_empty() || is_variable(rest) => Self::Env(rest.to_owned()),
            "env" => return Err(SourceError::Env),
            "file" => Self::File(rest.into()),
            "cmd" => Self::Command(rest.to_owned()),
            "dangerous-value" => Self::DangerousValue(SecretValue::new(rest.as_bytes().to_vec())),
            _ => return Err(SourceError::Kind),
        };
        if rest.is_empty() { Err(SourceError::Empty) } else { Ok(source) }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Command(command) => f.debug_tuple("Command").field(command).finish(),
            Self::DangerousValue(_) => f.write_str("DangerousValue"),
        }
    }
}

impl SecretSpec {
    /// Parses `ENV=SOURCE@HOST[,HOST…]`; the last `@` counts, so that commands may hold others.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let (env, rest) = text.split_once('=').ok_or(SourceError::Shape)?;
        let (source, hosts) = rest.rsplit_once('@').ok_or(SourceError::Shape)?;
        let hosts = hosts.split(',').map(HostPattern::parse).collect::<Result<_, _>>()?;
        Self::new(env, source, Hosts::Named(hosts))
    }

    /// A secret from its parts, however they were written down.
    ///
    /// # Errors
    /// `Env`, `NoHosts`, and those of [`SecretSource::parse`].
    pub fn new(env: &str, source: &str, hosts: Hosts) -> Result<Self, SourceError> {
        if !is_variable(env) {
            return Err(SourceError::Env);
        }
        if hosts == Hosts::Named(Vec::new()) {
            return Err(SourceError::NoHosts);
        }
        Ok(Self { env: env.to_owned(), source: SecretSource::parse(source)?, hosts })
    }
}

fn is_variable(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs() {
        const CASES: &[(&str, Result<(), SourceError>)] = &[
            ("TOKEN=env:TOKEN@api.example.com", Ok(())),
            ("TOKEN=file:/run/token@api.example.com,*.example.org", Ok(())),
            ("TOKEN=cmd:pass show me@work@api.example.com", Ok(())),
            ("TOKEN", Err(SourceError::Shape)),
            ("TOKEN=env:TOKEN", Err(SourceError::Shape)),
            ("1TOKEN=env:TOKEN@a.b", Err(SourceError::Env)),
            ("=env:TOKEN@a.b", Err(SourceError::Env)),
            ("TOKEN=env:A-B@a.b", Err(SourceError::Env)),
            ("TOKEN=env:@a.b", Err(SourceError::Empty)),
            ("TOKEN=vault:x@a.b", Err(SourceError::Kind)),
            ("TOKEN=plain@a.b", Err(SourceError::Kind)),
            ("TOKEN=env:TOKEN@*", Err(SourceError::Host(HostPatternError::BareWildcard))),
        ];
        for (text, expected) in CASES {
            assert_eq!(SecretSpec::parse(text).map(drop), *expected, "{text}");
        }
        let spec = SecretSpec::parse("T=cmd:a@b c@d.e").expect("a command with an at sign");
        assert!(matches!(spec.source, SecretSource::Command(command) if command == "a@b c"));
        let spec = SecretSpec::parse("T=dangerous-value:hunter22@d.e").expect("a value");
        assert!(!format!("{spec:?}").contains("hunter22"), "{spec:?}");
        let SecretSource::DangerousValue(value) = spec.source else { panic!("a value") };
        assert_eq!(value.expose(), b"hunter22");
    }
}
