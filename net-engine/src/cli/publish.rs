//! Ports of the command that others may connect to: read, checked, and bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};

use super::config::Written;
use super::ports::{bare_address, range};
use crate::{ProxyProtocol, Publication};

const SHAPE: &str =
    "write [ADDR:]PORT:COMMAND_PORT[/udp|/proxy-v1|/proxy-v2] or unix:PATH:COMMAND_PORT, as in `8080:80`";

/// Ports published by one setting.
#[derive(Debug, PartialEq, Eq)]
struct Published {
    at: Vec<Place>,
    /// Of the command, as many.
    ports: RangeInclusive<u16>,
    /// Whether its server is told who has connected.
    proxy_protocol: Option<ProxyProtocol>,
}

/// Where others connect.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
}

/// Checks settings.
///
/// # Errors
/// One line that names the setting and what is wrong with it.
pub(super) fn check(settings: &[Written]) -> Result<()> {
    settings.iter().try_for_each(|setting| parse(&setting.text).map(drop).with_context(|| setting.named()))
}

/// Binds what the settings say; nobody is received yet.
///
/// # Errors
/// One line that names the setting: it is none, or its port cannot be had.
pub(super) fn bind(settings: &[Written]) -> Result<Vec<Publication>> {
    let mut all = Vec::new();
    for setting in settings {
        let Published { at, ports, proxy_protocol } =
            parse(&setting.text).with_context(|| setting.named())?;
        for (place, port) in at.into_iter().zip(ports) {
            let bound = match &place {
                Place::Tcp(address) => Publication::tcp(*address, port),
                Place::Udp(address) => Publication::udp(*address, port),
                Place::Unix(path) => Publication::unix(path, port),
            };
            let bound = bound.map(|bound| match proxy_protocol {
                Some(version) => bound.with_proxy_protocol(version),
                None => bound,
            });
            all.push(bound.with_context(|| match place {
                Place::Tcp(address) | Place::Udp(address) => {
                    format!("{}: {address} cannot be listened on", setting.named())
                }
                Place::Unix(path) => {
                    let path = path.display();
                    format!("{}: {path} cannot be listened on; remove it if nobody does", setting.named())
                }
            })?);
        }
    }
    Ok(all)
}

fn parse(text: &str) -> Result<Published> {
    if let Some(rest) = text.strip_prefix("unix:") {
        let (path, port) = rest.rsplit_once(':').filter(|(path, _)| !path.is_empty()).ok_or_else(shape)?;
        let port = guest_ports(port)?;
        if port.start() != port.end() {
            bail!("a Unix socket leads to one port");
        }
        let at = vec![Place::Unix(path.into())];
        return Ok(Published { at, ports: port, proxy_protocol: None });
    }
    let proxy_protocol = match text.rsplit_once('/') {
        Some((_, "proxy-v1")) => Some(ProxyProtocol::V1),
        Some((_, "proxy-v2")) => Some(ProxyProtocol::V2),
        Some(_) | None => None,
    };
    let (text, place): (&str, fn(SocketAddr) -> Place) = match text.rsplit_once('/') {
        None => (text, Place::Tcp),
        Some((text, "tcp")) => (text, Place::Tcp),
        Some((text, "udp")) => (text, Place::Udp),
        Some((text, "proxy-v1" | "proxy-v2")) => (text, Place::Tcp),
        Some(_) => return Err(shape()),
    };
    let (host, guest) = text.rsplit_once(':').ok_or_else(shape)?;
    let ports = guest_ports(guest)?;
    let (address, host) = match host.rsplit_once(':') {
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), host),
        Some((address, port)) => (address_of(address)?, port),
    };
    let hosts = range(host).ok_or_else(shape)?;
    if hosts.clone().count() != ports.clone().count() {
        bail!("as many ports have to stand on the one side as on the other");
    }
    if *hosts.start() == 0 && hosts.end() != hosts.start() {
        bail!("0, a port of the system's choice, begins no range");
    }
    let at = hosts.map(|port| place(SocketAddr::new(address, port))).collect();
    Ok(Published { at, ports, proxy_protocol })
}

fn shape() -> anyhow::Error {
    anyhow!("{SHAPE}")
}

fn guest_ports(text: &str) -> Result<RangeInclusive<u16>> {
    let ports = range(text).ok_or_else(shape)?;
    if *ports.start() == 0 {
        bail!("0 is no port of the command");
    }
    Ok(ports)
}

fn address_of(text: &str) -> Result<IpAddr> {
    bare_address(text).ok_or_else(|| anyhow!("\"{text}\" is no address: {SHAPE}, with IPv6 in brackets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_where() {
        let udp = |address: &str| Place::Udp(address.parse().expect(address));
        let tcp = |address: &str| Place::Tcp(address.parse().expect(address));
        let cases = [
            ("8080:80", vec![tcp("127.0.0.1:8080")], 80..=80),
            ("0:80", vec![tcp("127.0.0.1:0")], 80..=80),
            ("8080:80/tcp", vec![tcp("127.0.0.1:8080")], 80..=80),
            ("8080:80/udp", vec![udp("127.0.0.1:8080")], 80..=80),
            ("[::]:53-54:53-54/udp", vec![udp("[::]:53"), udp("[::]:54")], 53..=54),
            ("0.0.0.0:443:8443", vec![tcp("0.0.0.0:443")], 8443..=8443),
            ("[::1]:8080:80", vec![tcp("[::1]:8080")], 80..=80),
            ("8000-8001:9000-9001", vec![tcp("127.0.0.1:8000"), tcp("127.0.0.1:8001")], 9000..=9001),
            ("unix:/run/a:b:80", vec![Place::Unix("/run/a:b".into())], 80..=80),
        ];
        for (text, at, ports) in cases {
            let expected = Published { at, ports, proxy_protocol: None };
            assert_eq!(parse(text).map_err(|error| error.to_string()), Ok(expected), "{text}");
        }
        let version = |text: &str| parse(text).map(|published| published.proxy_protocol).expect(text);
        assert_eq!(version("8080:80/proxy-v1"), Some(ProxyProtocol::V1));
        assert_eq!(version("[::1]:8080-8081:80-81/proxy-v2"), Some(ProxyProtocol::V2));
    }

    #[test]
    fn what_is_wrong_is_said() {
        const CASES: &[(&str, &str)] = &[
            ("80", "write [ADDR:]PORT:"),
            ("", "write [ADDR:]PORT:"),
            ("8080:", "write [ADDR:]PORT:"),
            ("a:80", "write [ADDR:]PORT:"),
            ("8080:80/sctp", "write [ADDR:]PORT:"),
            ("9-8:8-9", "write [ADDR:]PORT:"),
            ("65536:80", "write [ADDR:]PORT:"),
            ("unix::80", "write [ADDR:]PORT:"),
            ("8080:0", "0 is no port of the command"),
            ("0-1:8-9", "0, a port of the system's choice"),
            ("8000-8001:80", "as many ports"),
            ("::1:8080:80", "\"::1\" is no address"),
            ("localhost:8080:80", "\"localhost\" is no address"),
            ("unix:/run/a:80-81", "a Unix socket leads to one port"),
        ];
        for (text, expected) in CASES {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_had_names_the_setting() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("its address").port();
        let setting = Written { place: "--publish".to_owned(), text: format!("{port}:80") };
        let error = format!("{:#}", bind(&[setting]).expect_err("it is taken"));
        let expected = format!("--publish \"{port}:80\": 127.0.0.1:{port} cannot be listened on");
        assert!(error.starts_with(&expected), "{error}");
    }
}
