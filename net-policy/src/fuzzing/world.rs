//! Policies and flows made of bytes: few names, addresses and ports, so that rules meet flows.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use net_core::{Direction, HostName, HostPattern, Protocol};

use crate::{
    Action, Defaults, Destination, Group, HostAddresses, HttpCondition, NameTable, PortSet, Protocols, Query,
    RequestLine, Rule, RuleDirection, UnixTime,
};

const NAMES: &[&str] = &[
    "example",
    "a.example",
    "b.a.example",
    "c.b.a.example",
    "aa.example",
    "b.example",
    "x.b.example",
    "org",
    "evil.org",
];

const ADDRESSES: &[&str] = &[
    "1.1.1.1",
    "1.2.3.4",
    "1.2.3.5",
    "10.0.0.1",
    "10.0.0.2",
    "172.16.0.1",
    "192.0.2.1",
    "169.254.169.254",
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "::",
    "::1",
    "fd00::1",
    "fe80::1",
    "fd00:ec2::254",
    "2606:4700::1",
    "2606:4700::2",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "::ffff:1.2.3.4",
    "::ffff:10.0.0.1",
    "::1.2.3.4",
    "64:ff9b::102:304",
    "64:ff9b::a00:1",
    "64:ff9b:1::102:304",
    "64:ff9b:1::a00:1",
    "2002:102:304::1",
    "2002:a00:1::1",
    "2001::fefd:fcfb",
];

const PORTS: &[u16] = &[1, 2, 22, 80, 443, 8080, 65_534, 65_535];

/// Bytes read one by one; zeros when they have run out.
pub(crate) struct Source<'b>(&'b [u8]);

impl<'b> Source<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.byte().is_multiple_of(count)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    pub(crate) fn name(&mut self) -> HostName {
        HostName::parse(self.pick(NAMES)).expect("a name")
    }

    pub(crate) fn address(&mut self) -> IpAddr {
        self.pick(ADDRESSES).parse().expect("an address")
    }

    pub(crate) fn port(&mut self) -> u16 {
        self.pick(PORTS)
    }

    fn action(&mut self) -> Action {
        self.pick(&[Action::Allow, Action::Deny])
    }

    /// Few times, so that expiries and clocks meet.
    pub(crate) fn time(&mut self) -> UnixTime {
        UnixTime::from_secs(u64::from(self.byte() % 4))
    }

    fn destination(&mut self) -> Destination {
        match self.byte() % 8 {
            0 => Destination::Any,
            1 => Destination::Group(self.pick(&[
                Group::Public,
                Group::Loopback,
                Group::Private,
                Group::LinkLocal,
                Group::Metadata,
                Group::Multicast,
                Group::Host,
            ])),
            2..=4 => {
                let wrap = self.pick(&[
                    HostPattern::Exact as fn(_) -> _,
                    HostPattern::Subdomains,
                    HostPattern::Suffix,
                ]);
                Destination::Domain(wrap(self.name()))
            }
            _ => {
                let address = self.address();
                let longest = if address.is_ipv4() { 32 } else { 128 };
                let bits = longest - self.pick(&[0, 0, 1, 2, 8, 12, 16, 24, 32, 96, 112, 128]).min(longest);
                Destination::Cidr(IpNet::new(address, bits).expect("a prefix").trunc())
            }
        }
    }

    fn ports(&mut self) -> PortSet {
        let count = self.pick(&[0, 0, 1, 1, 2, 3]);
        (0..count).fold(PortSet::any(), |set, _| {
            let (one, other) = (self.port(), self.port());
            set.with(one.min(other), one.max(other)).expect("a range")
        })
    }

    fn protocols(&mut self) -> Protocols {
        let bits = self.pick(&[0, 0, 0, 1, 1, 2, 3, 4, 12, 15]);
        let all = Protocol::ALL.into_iter().enumerate();
        all.filter(|(index, _)| bits & (1 << index) != 0).map(|(_, protocol)| protocol).collect()
    }

    fn condition(&mut self) -> HttpCondition {
        let methods = self.pick(&[&[] as &[_], &["GET"], &["GET", "HEAD"], &["DELETE"]]);
        let paths = self.pick(&[&["/v1/*", "/health"] as &[_], &["/**"], &["/v1"], &["/*/x"]]);
        HttpCondition::parse(methods, paths).expect("a condition")
    }

    pub(crate) fn request(&mut self) -> RequestLine {
        let method = self.pick(&["GET", "HEAD", "DELETE", "POST", "get"]);
        RequestLine::new(
            method,
            self.pick(&["/", "/v1", "/v1/x", "/v1/../health", "/%2e/v1", "//v1", "/%00"]),
        )
    }

    pub(crate) fn rule(&mut self) -> Rule {
        let rule = self.rule_for_flows();
        // Only names have them, and half of those here have one.
        let has_condition = rule.destination.is_domain() && self.one_in(2);
        Rule { http: has_condition.then(|| self.condition()), ..rule }
    }

    /// A rule for some requests, and no other condition.
    #[cfg(test)]
    pub(crate) fn rule_for_requests(&mut self) -> Rule {
        let place = Destination::Domain(HostPattern::Suffix(self.name()));
        Rule { http: Some(self.condition()), ..Rule::new(self.action(), place) }
    }

    fn rule_for_flows(&mut self) -> Rule {
        let rule = Rule {
            direction: self.pick(&[
                RuleDirection::Egress,
                RuleDirection::Egress,
                RuleDirection::Ingress,
                RuleDirection::Any,
            ]),
            protocols: self.protocols(),
            ports: self.ports(),
            expires: (self.one_in(4)).then(|| self.time()),
            ..Rule::new(self.action(), self.destination())
        };
        if self.one_in(4) { rule.clone().virtually().unwrap_or(rule) } else { rule }
    }

    /// Up to 255 rules; every third policy piles them on one destination.
    pub(crate) fn rules(&mut self) -> Vec<Rule> {
        let place = (self.one_in(3)).then(|| self.destination());
        let count = self.byte();
        let mut rules = Vec::new();
        while rules.len() < usize::from(count) && !self.is_empty() {
            let mut rule = self.rule();
            if let Some(place) = &place
                && !self.one_in(4)
            {
                rule.destination = place.clone();
                rule.http = rule.http.filter(|_| rule.destination.is_domain());
            }
            rules.push(rule);
        }
        rules
    }

    pub(crate) fn defaults(&mut self) -> Defaults {
        match self.byte() % 8 {
            0 => Defaults { egress: Action::Allow, ingress: Action::Deny },
            1 => Defaults { egress: Action::Allow, ingress: Action::Allow },
            2 => Defaults { egress: Action::Deny, ingress: Action::Allow },
            _ => Defaults::default(),
        }
    }

    pub(crate) fn hosts(&mut self) -> HostAddresses {
        let own: Vec<IpAddr> = (0..self.byte() % 3).map(|_| self.address()).collect();
        let nat64 = (self.one_in(2)).then(|| "64:ff9b:1::/96".parse().expect("a prefix"));
        own.into_iter().collect::<HostAddresses>().with_nat64(nat64)
    }

    pub(crate) fn pins(&mut self, now: Instant) -> NameTable {
        let mut pins = NameTable::new(100, 10);
        for _ in 0..self.byte() % 16 {
            let (name, address) = (self.name(), self.address());
            pins.pin(&name, address, Duration::from_secs(60), now);
        }
        pins
    }
}

/// A flow, without what it is decided by.
pub(crate) struct Flow {
    pub(crate) direction: Direction,
    pub(crate) protocol: Protocol,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) name: Option<HostName>,
    pub(crate) wall: UnixTime,
}

impl Source<'_> {
    pub(crate) fn flow(&mut self) -> Flow {
        Flow {
            direction: self.pick(&[
                Direction::Egress,
                Direction::Egress,
                Direction::Egress,
                Direction::Ingress,
            ]),
            protocol: self.pick(&Protocol::ALL),
            address: self.address(),
            port: self.port(),
            name: (self.one_in(2)).then(|| self.name()),
            wall: self.time(),
        }
    }
}

impl Flow {
    pub(crate) fn query<'q>(
        &'q self,
        pins: &'q NameTable,
        hosts: &'q HostAddresses,
        now: Instant,
    ) -> Query<'q> {
        let Self { direction, protocol, address, port, name, wall } = self;
        Query {
            direction: *direction,
            protocol: *protocol,
            address: *address,
            port: *port,
            name: name.as_ref(),
            pins,
            hosts,
            now,
            wall: *wall,
        }
    }
}
