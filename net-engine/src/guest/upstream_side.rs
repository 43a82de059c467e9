use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use net_core::HostName;
use net_tls::{AlpnOffer, UpstreamTrust, system_clock};
use rustls::{ClientConfig, KeyLog};

use super::HostTrust;

/// Configurations kept, each with the sessions that may be taken up again.
const MAX_CONFIGS: usize = 32;

/// Which sessions a stream may take up: those with its port, under its trust and of its offer. That they
/// are with its name the sessions see to themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    offer: AlpnOffer,
    port: u16,
    /// The place among those for some hosts.
    trust: Option<usize>,
}

/// Our ends towards upstreams: whom they must prove to be, and what is remembered of them.
pub(crate) struct UpstreamSide {
    trust: UpstreamTrust,
    hosts: Vec<HostTrust>,
    /// The one that was not used for longest comes first, and yields.
    configs: VecDeque<(Key, Arc<ClientConfig>)>,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl UpstreamSide {
    pub(crate) fn new(trust: UpstreamTrust, hosts: Vec<HostTrust>) -> Self {
        Self { trust, hosts, configs: VecDeque::new(), key_log: None }
    }

    /// The same, telling `key_log` the secrets of every session.
    pub(super) fn with_key_log(self, key_log: Option<Arc<dyn KeyLog>>) -> Self {
        Self { key_log, ..self }
    }

    /// Our end towards the upstream of a stream, and whether a handshake proves who that is.
    pub(super) fn config(
        &mut self,
        name: Option<&HostName>,
        upstream: SocketAddr,
        offer: AlpnOffer,
    ) -> (Arc<ClientConfig>, bool) {
        let port = upstream.port();
        let is_own = |host: &HostTrust| host.is_of(name, upstream.ip(), port);
        let place = self.hosts.iter().position(is_own);
        let trust = place.and_then(|place| self.hosts.get(place)).map_or(&self.trust, HostTrust::trust);
        let verifies = trust.verifies();
        let key = Key { offer, port, trust: place };
        if let Some(at) = self.configs.iter().position(|(kept, _)| *kept == key)
            && let Some(used) = self.configs.remove(at)
        {
            let config = Arc::clone(&used.1);
            self.configs.push_back(used);
            return (config, verifies);
        }
        let mut config = net_tls::upstream_config(trust, offer.protocols(), system_clock());
        if let Some(key_log) = &self.key_log {
            Arc::make_mut(&mut config).key_log = Arc::clone(key_log);
        }
        if self.configs.len() >= MAX_CONFIGS {
            self.configs.pop_front();
        }
        self.configs.push_back((key, Arc::clone(&config)));
        (config, verifies)
    }

    /// Our end towards resolvers that are asked over TLS, who speak no other protocol.
    pub(super) fn resolver_config(&self) -> ClientConfig {
        net_tls::upstream_config(&self.trust, Vec::new(), system_clock()).as_ref().clone()
    }
}

#[cfg(test)]
mod tests {
    use net_policy::parse_target;

    use super::*;

    fn config(side: &mut UpstreamSide, name: &str, port: u16, offer: AlpnOffer) -> (Arc<ClientConfig>, bool) {
        side.config(Some(&name.parse().expect(name)), ([9, 9, 9, 1], port).into(), offer)
    }

    #[test]
    fn a_configuration_is_of_one_offer_port_and_trust() {
        let hosts = vec![parse_target("*.b.example").expect("a target")];
        let dangerous = UpstreamTrust::default().dangerous_skip_verification();
        let own = HostTrust::new(hosts, dangerous).expect("hosts");
        let mut side = UpstreamSide::new(UpstreamTrust::default(), vec![own]);
        let (first, verifies) = config(&mut side, "a.example", 443, AlpnOffer::Http2);
        assert!(verifies);
        // Another name under the same: sessions are told apart by their names.
        let (again, _) = config(&mut side, "c.example", 443, AlpnOffer::Http2);
        assert!(Arc::ptr_eq(&first, &again));
        let others = [
            ("a.example", 8443, AlpnOffer::Http2, true),
            ("a.example", 443, AlpnOffer::Http1, true),
            ("x.b.example", 443, AlpnOffer::Http2, false),
        ];
        for (name, port, offer, expected) in others {
            let (other, verifies) = config(&mut side, name, port, offer);
            assert!(!Arc::ptr_eq(&first, &other), "{name} {port} {offer:?}");
            assert_eq!(verifies, expected, "{name}");
        }
        for port in 0..1_000 {
            config(&mut side, "a.example", port, AlpnOffer::Nothing);
            assert!(side.configs.len() <= MAX_CONFIGS);
        }
    }
}
