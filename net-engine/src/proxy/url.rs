use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use net_core::HostName;
use thiserror::Error;

/// What is spoken to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyScheme {
    /// SOCKS 5 (RFC 1928), which is told addresses.
    Socks5,
    /// The same, which is told names, where that may be.
    Socks5h,
    /// CONNECT (RFC 9110, section 9.3.6).
    Http,
    /// The same inside of TLS.
    Https,
}

/// Where a proxy is, and what is spoken to it: `socks5h://proxy.example:1080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl {
    scheme: ProxyScheme,
    host: ProxyHost,
    port: u16,
}

/// Whom a proxy's certificate must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProxyHost {
    Name(HostName),
    Address(IpAddr),
}

/// Why text is no [`ProxyUrl`]. It is never shown with the text, in which a password may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// No scheme, or another.
    #[error("a proxy's url begins with socks5://, socks5h://, http:// or https://")]
    Scheme,
    /// A user name or a password.
    #[error("a url has no place for a secret: give `username` and `password` of [[proxy]] a source each")]
    Credentials,
    /// Neither a name nor an address, or an IPv6 address without brackets.
    #[error("the host is no name and no address; one of IPv6 stands in brackets")]
    Host,
    /// No port, or none.
    #[error("a port belongs behind the host, as in socks5h://proxy.example:1080")]
    Port,
    /// More than a port.
    #[error("nothing but a slash follows the port")]
    Path,
}

impl ProxyUrl {
    /// What is spoken.
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// The name that is to be looked up; `None` where the host is an address.
    pub fn name(&self) -> Option<&HostName> {
        match &self.host {
            ProxyHost::Name(name) => Some(name),
            ProxyHost::Address(_) => None,
        }
    }

    /// Where it is; `None` where the host is a name.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.host {
            ProxyHost::Address(address) => Some(SocketAddr::new(address, self.port)),
            ProxyHost::Name(_) => None,
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn host(&self) -> &ProxyHost {
        &self.host
    }
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(ProxyUrlError::Scheme)?;
        let scheme = match &*scheme.to_ascii_lowercase() {
            "socks5" => ProxyScheme::Socks5,
            "socks5h" => ProxyScheme::Socks5h,
            "http" => ProxyScheme::Http,
            "https" => ProxyScheme::Https,
            _ => return Err(ProxyUrlError::Scheme),
        };
        // A password may have a slash in it: whatever stands before an @ is one.
        if rest.contains('@') {
            return Err(ProxyUrlError::Credentials);
        }
        let (place, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err(ProxyUrlError::Path);
        }
        let (host, port) = match place.rsplit_once(':') {
            // The last colon of an address that ends with its bracket is its own.
            Some(_) if place.ends_with(']') => return Err(ProxyUrlError::Port),
            Some(parts) => parts,
            None => return Err(ProxyUrlError::Port),
        };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(ProxyUrlError::Port)?;
        let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match in_brackets {
            Some(v6) => Some(IpAddr::V6(v6.parse().map_err(|_| ProxyUrlError::Host)?)),
            None => host.parse().ok().map(IpAddr::V4),
        };
        let host = match address {
            Some(address) => ProxyHost::Address(address),
            None => ProxyHost::Name(HostName::parse(host).map_err(|_| ProxyUrlError::Host)?),
        };
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for ProxyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host {
            ProxyHost::Name(name) => write!(f, "{scheme}://{name}:{port}"),
            ProxyHost::Address(address) => write!(f, "{scheme}://{}", SocketAddr::new(*address, *port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_it_is_written() {
        for text in [
            "socks5://192.0.2.1:1080",
            "socks5h://proxy.example:1080",
            "http://[2001:db8::1]:3128",
            "https://proxy.example:443",
        ] {
            assert_eq!(text.parse::<ProxyUrl>().map(|url| url.to_string()), Ok(text.to_owned()));
        }
        let slash: ProxyUrl = "HTTP://Proxy.Example:8080/".parse().expect("a slash is no path");
        assert_eq!(slash.to_string(), "http://proxy.example:8080");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        use ProxyUrlError::{Credentials, Host, Path, Port, Scheme};
        const CASES: &[(&str, ProxyUrlError)] = &[
            ("proxy.example:1080", Scheme),
            ("socks4://proxy.example:1080", Scheme),
            ("", Scheme),
            ("http://me:pa55word@proxy.example:3128", Credentials),
            ("http://me:pa/55@word@proxy.example:3128", Credentials),
            ("http://me@proxy.example:3128", Credentials),
            ("http://proxy.example", Port),
            ("http://proxy.example:", Port),
            ("http://proxy.example:0", Port),
            ("http://proxy.example:65536", Port),
            ("http://[2001:db8::1]", Port),
            ("http://2001:db8::1:3128", Host),
            ("http://:3128", Host),
            ("http://[192.0.2.1]:3128", Host),
            ("http://proxy.example:3128/pac", Path),
            ("http://proxy.example:3128?x", Path),
        ];
        for (text, expected) in CASES {
            assert_eq!(text.parse::<ProxyUrl>(), Err(*expected), "{text}");
            assert!(!expected.to_string().contains("55"), "{text}");
        }
    }
}
