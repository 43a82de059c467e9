use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use net_policy::Target;
use net_tls::{UpstreamTrust, system_clock};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::url::ProxyHost;
use super::{ProxyCredentials, ProxyScheme, ProxyUrl};

/// A proxy, and what goes by it.
#[derive(Clone)]
pub struct Proxy {
    pub(super) url: ProxyUrl,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) credentials: Option<ProxyCredentials>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) name: Option<String>,
    /// What goes by it, unless it is among the exceptions.
    pub(super) hosts: Vec<Target>,
    pub(super) exceptions: Vec<Target>,
    tells_names: bool,
    lets_others_pass: bool,
    /// What TLS with it is made of, where there is some.
    pub(super) tls: Option<Arc<ClientConfig>>,
    verifies: bool,
}

impl Proxy {
    /// A proxy for everything, at these addresses, which are tried in their order.
    ///
    /// One of [`ProxyScheme::Https`] must be [trusted](Self::trusting) before it can be used.
    pub fn new(url: ProxyUrl, addresses: Vec<SocketAddr>) -> Self {
        let tells_names = url.scheme() != ProxyScheme::Socks5;
        let proxy = Self {
            url,
            addresses,
            credentials: None,
            connect_timeout: None,
            name: None,
            hosts: vec![Target {
                destination: net_policy::Destination::Any,
                ports: net_policy::PortSet::any(),
            }],
            exceptions: Vec::new(),
            tells_names,
            lets_others_pass: false,
            tls: None,
            verifies: true,
        };
        proxy.trusting(&UpstreamTrust::default())
    }

    /// The same, whose own certificate must lead to `trust`.
    #[must_use]
    pub fn trusting(mut self, trust: &UpstreamTrust) -> Self {
        self.verifies = trust.verifies();
        self.tls = (self.url.scheme() == ProxyScheme::Https)
            .then(|| net_tls::upstream_config(trust, Vec::new(), system_clock()));
        self
    }

    /// The same, by which only these go; a target with ports is for these ports alone.
    #[must_use]
    pub fn for_hosts(self, hosts: Vec<Target>) -> Self {
        Self { hosts, ..self }
    }

    /// The same, by which these do not go.
    #[must_use]
    pub fn except(self, exceptions: Vec<Target>) -> Self {
        Self { exceptions, ..self }
    }

    /// The same, to which we are known.
    #[must_use]
    pub fn with_credentials(self, credentials: ProxyCredentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// The same, which has this long to connect, and no longer than
    /// [`Limits::connect_timeout`](net_core::Limits::connect_timeout).
    #[must_use]
    pub fn with_connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: Some(timeout), ..self }
    }

    /// The same under a name, by which rules choose it ([`Rule::proxy`](net_policy::Rule::proxy)).
    #[must_use]
    pub fn named(self, name: String) -> Self {
        Self { name: Some(name), ..self }
    }

    /// The same, which is told addresses alone: those that were decided.
    #[must_use]
    pub fn by_address(self) -> Self {
        Self { tells_names: false, ..self }
    }

    /// The same, past which what it does not carry (UDP, echoes) goes directly. Otherwise that is refused to
    /// whatever would go by it.
    #[must_use]
    pub fn letting_others_pass(self) -> Self {
        Self { lets_others_pass: true, ..self }
    }

    /// Whether it resolves names, of connections that were allowed by their name alone.
    pub(crate) fn tells_names(&self) -> bool {
        self.tells_names
    }

    pub(crate) fn lets_others_pass(&self) -> bool {
        self.lets_others_pass
    }

    pub(super) fn verifies(&self) -> bool {
        self.verifies
    }

    /// Whom its certificate must be for.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        match self.url.host() {
            ProxyHost::Name(name) => ServerName::try_from(name.as_str().to_owned()).ok(),
            ProxyHost::Address(address) => Some(ServerName::from(*address)),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.url),
            None => self.url.fmt(f),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}
