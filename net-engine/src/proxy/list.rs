use std::net::IpAddr;
use std::rc::Rc;

use net_core::HostName;
use net_policy::{DIRECT, Destination, Group, HostAddresses, Target};
use thiserror::Error;

use super::Proxy;

/// Why proxies cannot be used together, or one of them not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyListError {
    /// Two have one name, or one has the name that means none.
    #[error("each name is that of one proxy, and none is called \"direct\"")]
    Name,
    /// It would be believed unseen.
    #[error("a proxy's certificate must be verified")]
    DangerousTrust,
}

/// The proxies of one guest; of those a connection may go by, the first is taken.
#[derive(Default)]
pub(crate) struct Proxies(Vec<Rc<Proxy>>);

/// How a connection goes.
#[derive(Clone)]
pub(crate) enum Route {
    Direct,
    Via(Rc<Proxy>),
    /// By a proxy that there is not.
    Nowhere,
}

impl PartialEq for Route {
    /// Whether it is the same proxy, not one like it.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Direct, Self::Direct) | (Self::Nowhere, Self::Nowhere) => true,
            (Self::Via(one), Self::Via(other)) => Rc::ptr_eq(one, other),
            (Self::Direct | Self::Via(_) | Self::Nowhere, _) => false,
        }
    }
}

/// Where a connection leads.
#[derive(Clone, Copy)]
pub(crate) struct Towards<'t> {
    /// The name it is known to be for.
    pub(crate) name: Option<&'t HostName>,
    pub(crate) address: IpAddr,
    /// `None` where the protocol has no ports.
    pub(crate) port: Option<u16>,
}

impl Proxies {
    /// Checks what a list must hold to.
    pub(crate) fn check(list: &[Proxy]) -> Result<(), ProxyListError> {
        for (place, proxy) in list.iter().enumerate() {
            let name = proxy.name.as_deref();
            let is_taken = list.iter().take(place).any(|other| other.name.as_deref() == name);
            if name.is_some() && (is_taken || name == Some(DIRECT)) {
                return Err(ProxyListError::Name);
            }
            if !proxy.verifies() {
                return Err(ProxyListError::DangerousTrust);
            }
        }
        Ok(())
    }

    pub(crate) fn new(list: Vec<Proxy>) -> Self {
        Self(list.into_iter().map(Rc::new).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a name can say by which of them a connection goes.
    pub(crate) fn look_at_names(&self) -> bool {
        let mut targets = self.0.iter().flat_map(|proxy| proxy.hosts.iter().chain(&proxy.exceptions));
        targets.any(|target| matches!(target.destination, Destination::Domain(_)))
    }

    /// How a connection goes: by the proxy its rule names, else by the first it is for. What leads to the host
    /// itself goes by none, unless its rule says so.
    pub(crate) fn route(&self, chosen: Option<&str>, towards: Towards<'_>, hosts: &HostAddresses) -> Route {
        if let Some(chosen) = chosen {
            let by_name = self.0.iter().find(|proxy| proxy.name.as_deref() == Some(chosen));
            return match by_name {
                Some(proxy) => Route::Via(Rc::clone(proxy)),
                None if chosen == DIRECT => Route::Direct,
                None => Route::Nowhere,
            };
        }
        let group = Group::of(towards.address, hosts);
        if matches!(group, Some(Group::Host | Group::Loopback)) {
            return Route::Direct;
        }
        let is_among = |targets: &[Target]| targets.iter().any(|target| is_of(target, towards, group, hosts));
        let first = self.0.iter().find(|proxy| is_among(&proxy.hosts) && !is_among(&proxy.exceptions));
        first.map_or(Route::Direct, |proxy| Route::Via(Rc::clone(proxy)))
    }
}

/// Whether a target has this destination among its own: by its name or by its address.
fn is_of(target: &Target, towards: Towards<'_>, group: Option<Group>, hosts: &HostAddresses) -> bool {
    let has_port = match towards.port {
        Some(port) => target.ports.contains(port),
        None => target.ports.is_any(),
    };
    has_port
        && match &target.destination {
            Destination::Any => true,
            Destination::Cidr(prefix) => {
                prefix.contains(&hosts.normalise(towards.address)) || prefix.contains(&towards.address)
            }
            Destination::Domain(pattern) => towards.name.is_some_and(|name| pattern.matches(name)),
            Destination::Group(wanted) => group == Some(*wanted),
            // What is added later is nobody's until it is known here.
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use net_policy::parse_target;
    use net_tls::UpstreamTrust;

    use super::*;

    fn proxy(port: u16, hosts: &[&str], exceptions: &[&str]) -> Proxy {
        let url = format!("socks5h://192.0.2.1:{port}").parse().expect("a url");
        let targets = |texts: &[&str]| texts.iter().map(|text| parse_target(text).expect(text)).collect();
        Proxy::new(url, Vec::new()).for_hosts(targets(hosts)).except(targets(exceptions))
    }

    #[test]
    fn the_first_proxy_that_is_for_it_is_taken() {
        let hosts: HostAddresses = [[172, 16, 0, 1].into(), [203, 0, 113, 7].into()].into_iter().collect();
        let list = Proxies::new(vec![
            proxy(1, &["*.corp.example", "10.1.0.0/16:443"], &["open.corp.example", "10.1.9.9"]),
            proxy(2, &["any"], &["private", "any:25", "2001:4:112:8::/64"]),
            proxy(3, &[], &[]).named("corp".to_owned()),
        ]);
        // The rule's choice, the name, the address, the port, and the proxy's port.
        type Case = (Option<&'static str>, Option<&'static str>, &'static str, Option<u16>, Option<u16>);
        const CASES: &[Case] = &[
            (None, Some("a.corp.example"), "9.9.9.9", Some(443), Some(1)),
            (None, Some("open.corp.example"), "9.9.9.9", Some(443), Some(2)),
            (None, Some("b.example"), "10.1.0.1", Some(443), Some(1)),
            (None, None, "10.1.0.1", Some(443), Some(1)),
            (None, None, "::ffff:10.1.0.1", Some(443), Some(1)),
            (None, None, "10.1.0.1", Some(80), None),
            (None, None, "10.1.9.9", Some(443), None),
            (None, None, "9.9.9.9", Some(80), Some(2)),
            (None, None, "9.9.9.9", Some(25), None),
            (None, None, "2001:4:112::1", Some(80), Some(2)),
            (None, None, "2001:4:112:8::1", Some(80), None),
            (None, None, "fd00::1", Some(80), None),
            // Ports are for what has some.
            (None, None, "9.9.9.9", None, Some(2)),
            (None, None, "10.1.0.1", None, None),
            // The host itself.
            (None, None, "172.16.0.1", Some(443), None),
            (None, None, "203.0.113.7", Some(443), None),
            (None, None, "127.0.0.1", Some(443), None),
            // A rule's choice goes before all that.
            (Some("corp"), None, "9.9.9.9", Some(80), Some(3)),
            (Some("corp"), None, "203.0.113.7", Some(80), Some(3)),
            (Some("direct"), Some("a.corp.example"), "9.9.9.9", Some(443), None),
        ];
        for (chosen, name, address, port, expected) in CASES {
            let name: Option<HostName> = name.map(|name| name.parse().expect(name));
            let address = address.parse().expect(address);
            let towards = Towards { name: name.as_ref(), address, port: *port };
            let found = match list.route(*chosen, towards, &hosts) {
                Route::Direct => None,
                Route::Via(proxy) => Some(proxy.url.port()),
                Route::Nowhere => panic!("{chosen:?}"),
            };
            assert_eq!(found, *expected, "{chosen:?} {name:?} {address} {port:?}");
        }
        let towards = Towards { name: None, address: [9, 9, 9, 9].into(), port: Some(80) };
        assert!(matches!(list.route(Some("other"), towards, &hosts), Route::Nowhere));
        assert!(matches!(Proxies::default().route(Some("corp"), towards, &hosts), Route::Nowhere));
        assert!(matches!(Proxies::default().route(None, towards, &hosts), Route::Direct));
    }

    #[test]
    fn a_list_is_checked() {
        let named = |name: &str| proxy(1, &[], &[]).named(name.to_owned());
        let dangerous = UpstreamTrust::default().dangerous_skip_verification();
        let cases = [
            (vec![named("a"), named("b"), proxy(1, &[], &[]), proxy(1, &[], &[])], Ok(())),
            (vec![named("a"), named("a")], Err(ProxyListError::Name)),
            (vec![named("direct")], Err(ProxyListError::Name)),
            (vec![proxy(1, &[], &[]).trusting(&dangerous)], Err(ProxyListError::DangerousTrust)),
        ];
        for (list, expected) in cases {
            assert_eq!(Proxies::check(&list), expected, "{list:?}");
        }
    }
}
