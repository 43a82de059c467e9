//! Resolvers as people write them.

use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, Result, bail};
use net_core::HostName;

use super::config::Written;
use crate::{Nameserver, NameserverError, Nameservers};

/// The resolvers of flags and file, or the host's where there are none. Those that are given by name are
/// looked up once, by the host's own means.
///
/// # Errors
/// One line that names where it was written, and what.
pub(super) fn nameservers(texts: &[Written]) -> Result<Nameservers> {
    if texts.is_empty() {
        return Ok(Nameservers::System);
    }
    let mut list = Vec::new();
    for text in texts {
        list.extend(parse(&text.text, look_up).with_context(|| text.named())?);
    }
    Ok(Nameservers::Fixed(list))
}

/// Checks how they are written, and looks nothing up.
///
/// # Errors
/// Those of [`nameservers`], but for names that lead nowhere.
pub(super) fn check(texts: &[Written]) -> Result<()> {
    let somewhere = |_: &str, port| Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)]);
    texts.iter().try_for_each(|text| parse(&text.text, somewhere).map(drop).with_context(|| text.named()))
}

/// One resolver; as many as its name has addresses.
fn parse(text: &str, look_up: impl Fn(&str, u16) -> Result<Vec<SocketAddr>>) -> Result<Vec<Nameserver>> {
    match text.parse() {
        Ok(nameserver) => Ok(vec![nameserver]),
        Err(NameserverError::Address) => by_name(text, look_up),
        Err(error) => Err(error.into()),
    }
}

fn by_name(text: &str, look_up: impl Fn(&str, u16) -> Result<Vec<SocketAddr>>) -> Result<Vec<Nameserver>> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let (place, shown) = match rest.split_once('#') {
        Some((place, shown)) => (place, Some(shown)),
        None => (rest, None),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    };
    if HostName::parse(host).is_err() {
        return Err(NameserverError::Address.into());
    }
    // A certificate is for the name unless another is given.
    let shown = shown
        .or_else(|| (scheme == "tls://").then_some(host))
        .map_or_else(String::new, |name| format!("#{name}"));
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let addresses = look_up(host, 0)?;
    if addresses.is_empty() {
        bail!("{host} has no address");
    }
    let with = |address: SocketAddr| -> Result<Nameserver> {
        let place = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        Ok(format!("{scheme}{place}{port}{shown}").parse()?)
    };
    addresses.into_iter().map(with).collect()
}

/// The addresses of a name, by the host's own means.
///
/// # Errors
/// One line that names it.
pub(super) fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let found = (host, port).to_socket_addrs();
    Ok(found
        .with_context(|| format!("{host} cannot be resolved: give its address, or check the name"))?
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_may_be_given_by_name() {
        let look_up = |host: &str, port| -> Result<Vec<SocketAddr>> {
            assert_eq!(host, "dns.example");
            Ok(vec![SocketAddr::new([192, 0, 2, 53].into(), port), "[2001:db8::53]:0".parse()?])
        };
        const CASES: &[(&str, Option<&[&str]>)] = &[
            ("192.0.2.1", Some(&["192.0.2.1"])),
            ("dns.example", Some(&["192.0.2.53", "[2001:db8::53]"])),
            ("dns.example:5353", Some(&["192.0.2.53:5353", "[2001:db8::53]:5353"])),
            ("tcp://dns.example", Some(&["tcp://192.0.2.53", "tcp://[2001:db8::53]"])),
            (
                "tls://dns.example:8853",
                Some(&["tls://192.0.2.53:8853#dns.example", "tls://[2001:db8::53]:8853#dns.example"]),
            ),
            (
                "tls://dns.example#other.example",
                Some(&["tls://192.0.2.53#other.example", "tls://[2001:db8::53]#other.example"]),
            ),
            ("dns.example:0", None),
            ("dns.example:x", None),
            ("dns example", None),
            ("https://dns.example", None),
            ("dns.example#name", None),
        ];
        for (text, expected) in CASES {
            let found = parse(text, look_up).ok();
            let expected = expected.map(|list| list.iter().map(|text| text.parse().expect(text)).collect());
            assert_eq!(found, expected, "{text}");
        }
    }
}
