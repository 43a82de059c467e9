use std::net::IpAddr;

use http::header::HOST;
use http::uri::Authority as UriAuthority;
use http::{Method, Request, StatusCode, Version};
use net_core::HostName;

/// Whom a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

/// A name or an address, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(HostName),
    Address(IpAddr),
}

/// Why a request has no one authority, with the status it is answered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityError {
    /// None where one is due, or more than one.
    NotOne,
    /// User information, or no host at all.
    Malformed,
    /// Target and Host name different ones.
    Contradiction,
    /// A tunnel inside the stream would carry what nobody has looked at.
    Connect,
}

impl AuthorityError {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NotOne | Self::Malformed | Self::Contradiction => StatusCode::BAD_REQUEST,
            Self::Connect => StatusCode::FORBIDDEN,
        }
    }

    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::NotOne => "a request names exactly one host",
            Self::Malformed => "the request's host is malformed",
            Self::Contradiction => "the request's target and host header differ",
            Self::Connect => "connect is not carried inside a connection",
        }
    }
}

impl Authority {
    /// The one authority of a request (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, AuthorityError> {
        if request.method() == Method::CONNECT {
            return Err(AuthorityError::Connect);
        }
        let mut headers = request.headers().get_all(HOST).iter();
        let header = match (headers.next(), headers.next()) {
            (None, _) => None,
            (Some(value), None) => Some(Self::parse(value.as_bytes())?),
            (Some(_), Some(_)) => return Err(AuthorityError::NotOne),
        };
        let target = request.uri().authority().map(|own| Self::parse(own.as_str().as_bytes())).transpose()?;
        match (target, header) {
            (None, None) => Err(AuthorityError::NotOne),
            // HTTP/1.1 needs the header even beside an absolute target.
            (Some(_), None) if request.version() == Version::HTTP_11 => Err(AuthorityError::NotOne),
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (Some(target), Some(header)) if target == header => Ok(target),
            (Some(_), Some(_)) => Err(AuthorityError::Contradiction),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, AuthorityError> {
        let parsed = UriAuthority::try_from(bytes).map_err(|_| AuthorityError::Malformed)?;
        if bytes.contains(&b'@') {
            return Err(AuthorityError::Malformed);
        }
        let text = parsed.host();
        let port = match parsed.as_str().strip_prefix(text) {
            Some("" | ":") => None,
            // `Authority::port` has no number for one that is out of range, and no error either.
            Some(rest) => {
                let number = rest.strip_prefix(':').ok_or(AuthorityError::Malformed)?;
                Some(number.parse().map_err(|_| AuthorityError::Malformed)?)
            }
            None => return Err(AuthorityError::Malformed),
        };
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let host = match bare.parse::<IpAddr>() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(HostName::parse(bare).map_err(|_| AuthorityError::Malformed)?),
        };
        Ok(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_authority() {
        use AuthorityError as E;
        type Case =
            (&'static str, &'static str, &'static [&'static str], Result<&'static str, AuthorityError>);
        const CASES: &[Case] = &[
            ("GET", "/", &["a.example"], Ok("a.example")),
            ("GET", "/", &["A.Example.:8080"], Ok("a.example:8080")),
            ("GET", "/", &["10.0.0.1"], Ok("10.0.0.1")),
            ("GET", "/", &["[fd00::1]:80"], Ok("fd00::1:80")),
            ("GET", "http://a.example/", &["a.example"], Ok("a.example")),
            ("GET", "http://a.example/", &["b.example"], Err(E::Contradiction)),
            ("GET", "http://a.example/", &[], Err(E::NotOne)),
            ("GET", "http://u@a.example/", &["a.example"], Err(E::Malformed)),
            ("GET", "/", &[], Err(E::NotOne)),
            ("GET", "/", &["a.example", "a.example"], Err(E::NotOne)),
            ("GET", "/", &["a.example", "b.example"], Err(E::NotOne)),
            ("GET", "/", &["u@a.example"], Err(E::Malformed)),
            ("GET", "/", &["a example"], Err(E::Malformed)),
            ("GET", "/", &["a.example:99999"], Err(E::Malformed)),
            ("GET", "/", &["a.example/x"], Err(E::Malformed)),
            ("GET", "/", &[""], Err(E::Malformed)),
            ("CONNECT", "a.example:443", &["a.example:443"], Err(E::Connect)),
        ];
        for (method, target, hosts, expected) in CASES {
            let mut request = Request::builder().method(*method).uri(*target);
            for host in *hosts {
                request = request.header(HOST, *host);
            }
            let shown = Authority::of(&request.body(()).unwrap()).map(|authority| {
                let host = match authority.host {
                    Host::Name(name) => name.to_string(),
                    Host::Address(address) => address.to_string(),
                };
                authority.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
            });
            assert_eq!(shown.as_deref().map_err(|error| *error), *expected, "{method} {target} {hosts:?}");
        }
    }
}
