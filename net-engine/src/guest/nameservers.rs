use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use thiserror::Error;

/// Where DNS is asked for, over UDP and TCP (RFC 1035, section 4.2).
pub(crate) const DNS_PORT: u16 = 53;

/// Most nameservers taken from a resolv.conf; more than a resolver ever asks.
const MAX_SYSTEM_NAMESERVERS: usize = 8;

/// How old what was read may be: queries, which the guest makes, are no reason to read more often.
const REREAD: Duration = Duration::from_secs(1);

/// The resolvers names are asked of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Nameservers {
    /// Those of the host's `/etc/resolv.conf`, followed as it changes with the network the host is on.
    #[default]
    System,
    /// These, in this order.
    Fixed(Vec<SocketAddr>),
}

/// Why text is no nameserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a nameserver is an address, `address:port` or `[v6 address]:port`")]
pub struct NameserverError;

impl Nameservers {
    /// Parses one nameserver: `IP`, `IP:port` or `[v6]:port`; port 53 where none is given.
    ///
    /// # Errors
    /// [`NameserverError`].
    pub fn parse_one(text: &str) -> Result<SocketAddr, NameserverError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, DNS_PORT));
        }
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(Ok(address)) = bracketed.map(str::parse::<IpAddr>) {
            return Ok(SocketAddr::new(address, DNS_PORT));
        }
        text.parse().map_err(|_| NameserverError)
    }
}

/// The resolvers of one guest as they are now.
pub(crate) struct Resolvers {
    configured: Nameservers,
    read: RefCell<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Resolvers {
    pub(crate) fn new(configured: Nameservers) -> Self {
        Self { configured, read: RefCell::default() }
    }

    /// The resolvers to ask, in order.
    pub(crate) fn current(&self, now: Instant) -> Vec<SocketAddr> {
        if let Nameservers::Fixed(list) = &self.configured {
            return list.clone();
        }
        let mut read = self.read.borrow_mut();
        match &*read {
            Some((at, list)) if now.saturating_duration_since(*at) < REREAD => list.clone(),
            Some(_) | None => {
                let list = read_resolv_conf(Path::new("/etc/resolv.conf"));
                *read = Some((now, list.clone()));
                list
            }
        }
    }
}

fn read_resolv_conf(path: &Path) -> Vec<SocketAddr> {
    // A host without the file has no resolver: queries fail, they are not sent elsewhere.
    parse_resolv_conf(&fs::read_to_string(path).unwrap_or_default())
}

/// resolv.conf(5): `nameserver` lines; everything else concerns searching, which the guest does.
fn parse_resolv_conf(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()).flatten()
        })
        // A scope id names an interface by its name, which a socket address cannot carry.
        .filter_map(|word| word.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, DNS_PORT))
        .take(MAX_SYSTEM_NAMESERVERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf() {
        let text = "# generated\nsearch example\nnameserver 10.0.0.1\n nameserver\tfd00::1 \n\
                    nameserver fe80::1%eth0\nnameserver\noptions edns0\n;nameserver 10.0.0.9\n";
        let expected = ["10.0.0.1:53", "[fd00::1]:53"].map(|address| address.parse().unwrap());
        assert_eq!(parse_resolv_conf(text), expected);
    }

    #[test]
    fn one_nameserver() {
        const CASES: &[(&str, Option<&str>)] = &[
            ("10.0.0.1", Some("10.0.0.1:53")),
            ("10.0.0.1:5353", Some("10.0.0.1:5353")),
            ("fd00::1", Some("[fd00::1]:53")),
            ("[fd00::1]", Some("[fd00::1]:53")),
            ("[fd00::1]:5353", Some("[fd00::1]:5353")),
            ("resolver.example", None),
            ("10.0.0.1:", None),
            ("", None),
        ];
        for (text, expected) in CASES {
            let parsed = Nameservers::parse_one(text).ok().map(|address| address.to_string());
            assert_eq!(parsed.as_deref(), *expected, "{text}");
        }
    }
}
