use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use thiserror::Error;

/// Where DNS is asked for, over UDP and TCP (RFC 1035, section 4.2).
pub(crate) const DNS_PORT: u16 = 53;

/// Where DNS is asked for over TLS (RFC 7858, section 3.1).
pub(crate) const DNS_OVER_TLS_PORT: u16 = 853;

/// Other services that answer for names over UDP, which no datagram of a guest's reaches: NetBIOS (RFC 1002, section 4.2),
/// mDNS (RFC 6762) and LLMNR (RFC 4795).
pub(crate) const OTHER_NAME_PORTS: [u16; 3] = [137, 5353, 5355];

/// Whether datagrams to this port ask for names elsewhere than on port 53, where they are decided: by one of
/// [`OTHER_NAME_PORTS`], or by DNS over DTLS or QUIC (RFC 8094, RFC 9250).
pub(crate) fn answers_for_names(port: u16) -> bool {
    port == DNS_OVER_TLS_PORT || OTHER_NAME_PORTS.contains(&port)
}

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
    /// These, in this order; one that does not answer is asked after the others for a while.
    Fixed(Vec<Nameserver>),
}

/// A resolver, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nameserver {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is asked.
    pub transport: DnsTransport,
}

/// How a resolver is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DnsTransport {
    /// Over UDP, and over TCP what does not fit (RFC 7766).
    Udp,
    /// Over TCP alone, one connection for all.
    Tcp,
    /// Over TLS (RFC 7858): its certificate must prove this name or address.
    Tls(ServerName<'static>),
}

/// Why text is no nameserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameserverError {
    /// What stands where the address should.
    #[error(
        "a nameserver is an address, `address:port` or `[v6 address]:port`, behind `tcp://` or `tls://` where it is so asked"
    )]
    Address,
    /// Port 0.
    #[error("port 0 is none: leave it out for the usual one")]
    Port,
    /// A scheme of another kind.
    #[error("a nameserver is asked by `udp://`, `tcp://` or `tls://`")]
    Scheme,
    /// What follows the `#`.
    #[error(
        "behind `#` stands the name in the certificate of a `tls://` nameserver, such as `tls://9.9.9.9#dns.quad9.net`"
    )]
    Name,
}

impl From<SocketAddr> for Nameserver {
    /// One that is asked over UDP.
    fn from(address: SocketAddr) -> Self {
        Self { address, transport: DnsTransport::Udp }
    }
}

impl FromStr for Nameserver {
    type Err = NameserverError;

    /// Parses `IP`, `IP:port` or `[v6]:port`, with `tcp://` or `tls://` in front where it is so asked, and
    /// `#NAME` behind `tls://` where its certificate is for a name.
    fn from_str(text: &str) -> Result<Self, NameserverError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("udp", text));
        let (place, name) = match rest.split_once('#') {
            Some((place, name)) => (place, Some(name)),
            None => (rest, None),
        };
        let usual_port = if scheme == "tls" { DNS_OVER_TLS_PORT } else { DNS_PORT };
        let address = address(place, usual_port)?;
        let transport = match (scheme, name) {
            ("udp", None) => DnsTransport::Udp,
            ("tcp", None) => DnsTransport::Tcp,
            ("tls", None) => DnsTransport::Tls(address.ip().into()),
            ("tls", Some(name)) => {
                DnsTransport::Tls(ServerName::try_from(name.to_owned()).map_err(|_| NameserverError::Name)?)
            }
            ("udp" | "tcp", Some(_)) => return Err(NameserverError::Name),
            _ => return Err(NameserverError::Scheme),
        };
        Ok(Self { address, transport })
    }
}

fn address(text: &str, usual_port: u16) -> Result<SocketAddr, NameserverError> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match bracketed.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, usual_port),
        Err(_) => text.parse().map_err(|_| NameserverError::Address)?,
    };
    if address.port() == 0 { Err(NameserverError::Port) } else { Ok(address) }
}

/// The resolvers of one guest as they are now.
pub(crate) struct Resolvers {
    configured: Nameservers,
    read: RefCell<Option<(Instant, Vec<Nameserver>)>>,
}

impl Resolvers {
    pub(crate) fn new(configured: Nameservers) -> Self {
        Self { configured, read: RefCell::default() }
    }

    /// The resolvers to ask, in order.
    pub(crate) fn current(&self, now: Instant) -> Vec<Nameserver> {
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

fn read_resolv_conf(path: &Path) -> Vec<Nameserver> {
    // A host without the file has no resolver: queries fail, they are not sent elsewhere.
    parse_resolv_conf(&fs::read_to_string(path).unwrap_or_default())
}

/// resolv.conf(5): `nameserver` lines; everything else concerns searching, which the guest does.
fn parse_resolv_conf(text: &str) -> Vec<Nameserver> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()).flatten()
        })
        // A scope id names an interface by its name, which a socket address cannot carry.
        .filter_map(|word| word.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, DNS_PORT).into())
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
        let expected: [Nameserver; 2] = ["10.0.0.1", "fd00::1"].map(|text| text.parse().unwrap());
        assert_eq!(parse_resolv_conf(text), expected);
    }

    #[test]
    fn one_nameserver() {
        use NameserverError::{Address, Name, Port, Scheme};
        const CASES: &[(&str, Result<&str, NameserverError>)] = &[
            ("10.0.0.1", Ok("10.0.0.1:53 Udp")),
            ("10.0.0.1:5353", Ok("10.0.0.1:5353 Udp")),
            ("fd00::1", Ok("[fd00::1]:53 Udp")),
            ("[fd00::1]", Ok("[fd00::1]:53 Udp")),
            ("[fd00::1]:5353", Ok("[fd00::1]:5353 Udp")),
            ("udp://10.0.0.1", Ok("10.0.0.1:53 Udp")),
            ("tcp://10.0.0.1:54", Ok("10.0.0.1:54 Tcp")),
            ("tls://10.0.0.1", Ok("10.0.0.1:853 Tls(IpAddress(V4(Ipv4Addr([10, 0, 0, 1]))))")),
            ("tls://[fd00::1]:8853#dns.example", Ok("[fd00::1]:8853 Tls(DnsName(\"dns.example\"))")),
            ("tls://10.0.0.1#", Err(Name)),
            ("10.0.0.1#dns.example", Err(Name)),
            ("https://10.0.0.1", Err(Scheme)),
            ("resolver.example", Err(Address)),
            ("10.0.0.1:", Err(Address)),
            ("10.0.0.1:0", Err(Port)),
            ("", Err(Address)),
        ];
        for (text, expected) in CASES {
            let parsed =
                text.parse().map(|server: Nameserver| format!("{} {:?}", server.address, server.transport));
            assert_eq!(parsed, expected.map(str::to_owned), "{text}");
        }
    }
}
