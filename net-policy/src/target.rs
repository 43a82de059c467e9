use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

use crate::{Action, Destination, DestinationError, PortSet, PortSetError, Rule};

/// A destination with its ports, as written on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to.
    pub destination: Destination,
    /// Which ports; every port where none were written.
    pub ports: PortSet,
}

/// Why text is no [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The part before the ports.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The part behind the last colon.
    #[error(transparent)]
    Ports(#[from] PortSetError),
    /// A `[` without its `]`, or something else than a port behind it.
    #[error("an ipv6 address with a port is written as in `[2001:db8::1]:443`")]
    Brackets,
}

/// Parses `PATTERN[:PORTS]`: a group, address, prefix or name pattern, with ports where a colon
/// follows. An IPv6 address with ports stands in brackets.
///
/// # Errors
/// [`TargetError`], naming the part that is wrong.
pub fn parse_target(text: &str) -> Result<Target, TargetError> {
    let any = |destination: &str| Ok(Target { destination: destination.parse()?, ports: PortSet::any() });
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, behind) = rest.split_once(']').ok_or(TargetError::Brackets)?;
        let destination = inside.parse()?;
        let ports = match behind.strip_prefix(':') {
            Some(ports) => ports.parse()?,
            None if behind.is_empty() => PortSet::any(),
            None => return Err(TargetError::Brackets),
        };
        return Ok(Target { destination, ports });
    }
    // Bare IPv6 addresses and prefixes are full of colons.
    if text.parse::<IpAddr>().is_ok() || text.matches(':').count() > 1 {
        return any(text);
    }
    match text.split_once(':') {
        Some((destination, ports)) => Ok(Target { destination: destination.parse()?, ports: ports.parse()? }),
        None => any(text),
    }
}

impl Target {
    /// The egress rule that allows or denies the target.
    pub fn into_rule(self, action: Action) -> Rule {
        Rule { ports: self.ports, ..Rule::new(action, self.destination) }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_target(text)
    }
}

impl fmt::Display for Target {
    /// In the form [`parse_target`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_target(f, &self.destination, &self.ports)
    }
}

/// A destination and its ports, in the form [`parse_target`] reads.
pub(crate) fn write_target(
    f: &mut fmt::Formatter<'_>,
    destination: &Destination,
    ports: &PortSet,
) -> fmt::Result {
    let is_v6 = matches!(destination, Destination::Cidr(IpNet::V6(_)));
    match (is_v6, ports.is_any()) {
        (_, true) => write!(f, "{destination}"),
        (true, false) => write!(f, "[{destination}]:{ports}"),
        (false, false) => write!(f, "{destination}:{ports}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        const CASES: &[(&str, Option<&str>)] = &[
            ("example.com", Some("example.com *")),
            ("*.Example.com:443", Some("*.example.com 443")),
            (".example.com:80,8000-8080", Some(".example.com 80,8000-8080")),
            ("10.0.0.1", Some("10.0.0.1 *")),
            ("10.0.0.1:22", Some("10.0.0.1 22")),
            ("10.1.2.3/8:22", Some("10.0.0.0/8 22")),
            ("::1", Some("::1 *")),
            ("fd00::/8", Some("fd00::/8 *")),
            ("[fd00::/8]:53", Some("fd00::/8 53")),
            ("[fd00::1]:443", Some("fd00::1 443")),
            ("::ffff:10.0.0.1", Some("10.0.0.1 *")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8 *")),
            ("host:8080", Some("host 8080")),
            ("any", Some("any *")),
            ("hOst", Some("host *")),
            ("ANY:80", Some("any 80")),
            // A name that reads like a keyword must not print as one.
            ("any.", None),
            ("host.", None),
            ("public", Some("public *")),
            ("bücher.example", Some("xn--bcher-kva.example *")),
            ("", None),
            ("example.com:", None),
            ("example.com:0", None),
            ("example.com:65536", None),
            ("example.com:9-8", None),
            ("example.com:+1", None),
            ("10.0.0.0/33", None),
            ("10.0.0/8", None),
            ("[fd00::1", None),
            ("[fd00::1]443", None),
            ("*", None),
            ("ex ample.com", None),
        ];
        for (text, expected) in CASES {
            let shown =
                parse_target(text).ok().map(|target| format!("{} {}", target.destination, target.ports));
            assert_eq!(shown.as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn the_corpus_holds() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/target");
        let files: Vec<_> = std::fs::read_dir(corpus).expect("a corpus").collect();
        assert!(files.len() >= 3, "the corpus is small: {}", files.len());
        for file in files {
            let path = file.expect("a file").path();
            crate::fuzzing::targets_round_trip(&std::fs::read_to_string(path).expect("text"));
        }
    }
}
