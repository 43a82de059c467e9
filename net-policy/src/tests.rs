#![allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use net_core::{Direction, HostName, Protocol, Shape, Shaping};
use proptest::prelude::*;

use crate::{
    Action, DIRECT, Decision, Defaults, DenyReason, HostAddresses, HttpCondition, HttpConditionError, Inner,
    InnerError, Layer, NameDecision, NameTable, Policy, ProxyRuleError, Query, RequestLine, Rule,
    RuleDirection, RuleId, ShapingError, UnixTime, VirtualIpError, parse_target,
};

mod answers;

fn rule(text: &str) -> Rule {
    let (action, target) = text.split_once(' ').expect(text);
    let action = if action == "allow" { Action::Allow } else { Action::Deny };
    parse_target(target).expect(text).into_rule(action)
}

fn policy(rules: &[&str]) -> Policy {
    Policy::new(rules.iter().map(|text| rule(text)).collect())
}

fn name(text: &str) -> HostName {
    HostName::parse(text).expect(text)
}

/// What a guest has resolved, and what belongs to the host.
struct World {
    pins: NameTable,
    hosts: HostAddresses,
    now: Instant,
    wall: UnixTime,
}

impl World {
    fn new(pins: &[(&str, &str)]) -> Self {
        let now = Instant::now();
        let mut table = NameTable::new(100, 10);
        for (host, address) in pins {
            table.pin(&name(host), address.parse().expect(address), Duration::from_secs(60), now);
        }
        let hosts =
            ["172.16.0.1", "9.9.9.9"].iter().map(|text| text.parse::<IpAddr>().expect(text)).collect();
        Self { pins: table, hosts, now, wall: UnixTime::default() }
    }

    fn decide(&self, policy: &Policy, address: &str, port: u16, shown: Option<&str>) -> Decision {
        let shown = shown.map(name);
        policy.decide(&self.query(address.parse().expect(address), port, shown.as_ref()))
    }

    fn query<'q>(&'q self, address: IpAddr, port: u16, name: Option<&'q HostName>) -> Query<'q> {
        let Self { pins, hosts, now, wall } = self;
        let (direction, protocol) = (Direction::Egress, Protocol::Tcp);
        Query { direction, protocol, address, port, name, pins, hosts, now: *now, wall: *wall }
    }
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow { .. } => "allow",
        Decision::Deny { reason: DenyReason::Rule, .. } => "rule",
        Decision::Deny { reason: DenyReason::Default, .. } => "default",
        Decision::Deny { reason: DenyReason::NotPinned, .. } => "not pinned",
        Decision::Deny { reason: DenyReason::NotPublic, .. } => "not public",
        Decision::Deny { reason: DenyReason::Reserved, .. } => "reserved",
        Decision::Deny { reason: DenyReason::NotHttp, .. } => "not http",
        Decision::Deny { reason: DenyReason::Request, .. } => "request",
        Decision::Deny { reason: DenyReason::Malformed, .. } => "malformed",
        Decision::PerRequest { .. } => "per request",
        Decision::Deny { reason: DenyReason::Unassigned, .. } => "unassigned",
        Decision::Deny { reason: DenyReason::OtherName, .. } => "other name",
        Decision::NeedName => "name",
    }
}

#[test]
fn decisions() {
    type Case = (&'static [&'static str], &'static str, u16, Option<&'static str>, &'static str);
    const PINS: &[(&str, &str)] = &[
        ("a.example", "1.1.1.1"),
        ("b.example", "2.2.2.2"),
        ("c.example", "2.2.2.2"),
        ("d.example", "1.1.1.1"),
    ];
    const CASES: &[Case] = &[
        (&[], "1.1.1.1", 443, None, "default"),
        (&["allow a.example"], "1.1.1.1", 443, Some("a.example"), "allow"),
        // Two names share 1.1.1.1 and only one is allowed.
        (&["allow a.example"], "1.1.1.1", 443, None, "name"),
        (&["allow a.example", "allow d.example"], "1.1.1.1", 443, None, "allow"),
        (&["allow a.example:80"], "1.1.1.1", 443, Some("a.example"), "default"),
        (&["allow a.example"], "3.3.3.3", 443, Some("a.example"), "not pinned"),
        (&["allow a.example"], "3.3.3.3", 443, None, "default"),
        (&["allow a.example"], "1.1.1.1", 443, Some("evil.example"), "default"),
        (&["allow *.example"], "1.1.1.1", 443, None, "allow"),
        (&["allow .a.example"], "1.1.1.1", 443, Some("a.example"), "allow"),
        (&["allow *.a.example"], "1.1.1.1", 443, Some("a.example"), "default"),
        // Denying by name needs no pin.
        (&["deny evil.example", "allow public"], "3.3.3.3", 443, Some("evil.example"), "rule"),
        (&["deny evil.example", "allow public"], "3.3.3.3", 443, None, "allow"),
        (&["deny b.example", "allow public"], "2.2.2.2", 443, None, "name"),
        (&["deny b.example", "deny c.example", "allow public"], "2.2.2.2", 443, None, "rule"),
        (&["allow public", "deny b.example"], "2.2.2.2", 443, None, "allow"),
        (&["allow public"], "10.0.0.1", 443, None, "default"),
        (&["allow public"], "::ffff:10.0.0.1", 443, None, "default"),
        (&["allow public"], "64:ff9b::a00:1", 443, None, "default"),
        (&["allow private"], "64:ff9b::a00:1", 443, None, "allow"),
        (&["allow 10.0.0.0/8"], "::ffff:10.0.0.1", 443, None, "allow"),
        (&["deny 10.0.0.0/8", "allow any"], "2002:a00:1::1", 443, None, "rule"),
        (&["allow public"], "169.254.169.254", 80, None, "default"),
        (&["allow link_local"], "169.254.169.254", 80, None, "default"),
        (&["allow metadata"], "169.254.169.254", 80, None, "allow"),
        // The host's own addresses are in no other group.
        (&["allow private"], "172.16.0.1", 80, None, "default"),
        (&["allow public"], "9.9.9.9", 80, None, "default"),
        (&["allow host"], "9.9.9.9", 80, None, "allow"),
        (&["allow host:80"], "172.16.0.1", 81, None, "default"),
        (&["allow any"], "0.0.0.0", 80, None, "reserved"),
        (&["allow any"], "::", 80, None, "reserved"),
        (&["allow any"], "127.0.0.1", 80, None, "reserved"),
        (&["allow any"], "::ffff:127.0.0.1", 80, None, "reserved"),
        (&["allow loopback"], "::1", 80, None, "reserved"),
    ];
    let world = World::new(PINS);
    for (rules, address, port, shown, expected) in CASES {
        let decision = world.decide(&policy(rules), address, *port, *shown);
        assert_eq!(word(decision), *expected, "{rules:?} for {address}:{port} {shown:?}");
    }
}

#[test]
fn names_that_may_be_resolved() {
    const CASES: &[(&[&str], &str, bool)] = &[
        (&[], "a.example", false),
        (&["allow a.example"], "a.example", true),
        (&["allow a.example"], "b.example", false),
        (&["allow a.example:22"], "a.example", true),
        (&["deny a.example:22", "allow a.example"], "a.example", true),
        (&["deny a.example", "allow public"], "a.example", false),
        (&["deny a.example", "allow public"], "b.example", true),
        (&["allow 10.0.0.0/8"], "a.example", true),
        (&["allow host"], "a.example", false),
        (&["deny any", "allow a.example"], "a.example", false),
        (&["allow a.example", "deny any"], "a.example", true),
    ];
    for (rules, text, expected) in CASES {
        let allowed =
            matches!(policy(rules).decide_name(&name(text), UnixTime::default()), NameDecision::Allow { .. });
        assert_eq!(allowed, *expected, "{rules:?} for {text}");
    }
}

#[test]
fn a_pin_expires_after_its_grace() {
    let mut world = World::new(&[("a.example", "1.1.1.1")]);
    let policy = policy(&["allow a.example"]);
    world.now += Duration::from_secs(60) + net_core::Limits::default().pin_grace - Duration::from_secs(1);
    assert_eq!(word(world.decide(&policy, "1.1.1.1", 443, Some("a.example"))), "allow");
    world.now += Duration::from_secs(2);
    assert_eq!(word(world.decide(&policy, "1.1.1.1", 443, Some("a.example"))), "not pinned");
    world.pins.expire(world.now);
    assert!(world.pins.is_empty());
}

#[test]
fn the_grace_of_pins_is_a_matter_of_choice_within_bounds() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let now = Instant::now();
    let (a, address) = (name("a.example"), IpAddr::from([1, 1, 1, 1]));
    for (grace, ttl, lives) in [
        (Duration::ZERO, Duration::ZERO, Duration::from_secs(1)),
        (Duration::from_secs(5), Duration::ZERO, Duration::from_secs(6)),
        (Duration::from_secs(5), Duration::from_secs(300), Duration::from_secs(305)),
        (Duration::MAX, Duration::MAX, 2 * DAY),
    ] {
        let mut table = NameTable::new(10, 10).with_grace(grace);
        table.pin(&a, address, ttl, now);
        let is_pinned = |at| table.is_pinned(&a, address, at);
        assert!(is_pinned(now + lives - Duration::from_millis(1)), "{grace:?} {ttl:?}");
        assert!(!is_pinned(now + lives), "{grace:?} {ttl:?}");
    }
}

#[test]
fn deleting_the_last_rule_does_not_open() {
    let world = World::new(&[("a.example", "1.1.1.1")]);
    for rules in [&["allow a.example"][..], &["deny b.example"], &["deny any"]] {
        let mut policy = policy(rules);
        policy = Policy::new(policy.rules()[1..].to_vec());
        assert_eq!(word(world.decide(&policy, "1.1.1.1", 443, Some("a.example"))), "default", "{rules:?}");
        let named = policy.decide_name(&name("a.example"), UnixTime::default());
        assert!(matches!(named, NameDecision::Deny { .. }), "{rules:?}");
    }
}

#[test]
fn a_name_is_the_same_in_every_spelling() {
    const CASES: &[(&str, &str, bool)] = &[
        ("allow API.Example.com.", "api.example.com", true),
        ("allow api.example.com", "API.EXAMPLE.COM.", true),
        ("allow b\u{fc}cher.example", "xn--bcher-kva.example", true),
        ("allow xn--bcher-kva.example", "XN--BCHER-KVA.example.", true),
        ("allow _sip._tcp.example.com", "_SIP._TCP.example.com", true),
        ("allow *.example.com", "evilexample.com", false),
        ("allow *.example.com", "example.com.evil.org", false),
        ("allow *.example.com", "example.com", false),
        ("allow *.example.com", "a.b.example.com.", true),
        ("allow .example.com", "example.com", true),
        ("allow .example.com", "evilexample.com", false),
        ("allow example.com", "www.example.com", false),
    ];
    for (text, asked, expected) in CASES {
        let world = World::new(&[(asked, "1.1.1.1")]);
        let policy = policy(&[text]);
        let resolves =
            matches!(policy.decide_name(&name(asked), UnixTime::default()), NameDecision::Allow { .. });
        let opens = word(world.decide(&policy, "1.1.1.1", 443, Some(asked))) == "allow";
        assert_eq!((resolves, opens), (*expected, *expected), "{text} for {asked}");
    }
}

#[test]
fn a_name_that_is_pointed_elsewhere_after_it_was_allowed_opens_nothing() {
    // Resolved to a public address, dialled at another one.
    let world = World::new(&[("a.example", "1.1.1.1")]);
    let policy = policy(&["allow a.example"]);
    for address in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "1.1.1.2", "fd00::1", "::ffff:10.0.0.1"] {
        let decision = word(world.decide(&policy, address, 443, Some("a.example")));
        assert!(["not pinned", "reserved"].contains(&decision), "{address}: {decision}");
    }
}

#[test]
fn a_pin_that_a_flow_lives_by_does_not_expire() {
    let mut world = World::new(&[("a.example", "1.1.1.1")]);
    let policy = policy(&["allow a.example"]);
    let address = IpAddr::from([1, 1, 1, 1]);
    for _ in 0..2 {
        world.pins.hold(address);
    }
    world.now += Duration::from_secs(24 * 60 * 60);
    for shown in [Some("a.example"), None] {
        assert_eq!(word(world.decide(&policy, "1.1.1.1", 443, shown)), "allow");
        world.pins.expire(world.now);
        world.pins.release(address);
    }
    assert_eq!(word(world.decide(&policy, "1.1.1.1", 443, Some("a.example"))), "not pinned");
    // What is not held is not released.
    world.pins.release(address);
}

#[test]
fn a_pin_that_is_given_again_is_the_youngest() {
    let now = Instant::now();
    let mut table = NameTable::new(3, 2);
    let (a, b) = (name("a.example"), name("b.example"));
    let address = |last: u8| IpAddr::from([1, 1, 1, last]);
    for (host, last) in [(&a, 1), (&a, 2), (&a, 1), (&b, 3), (&b, 4)] {
        table.pin(host, address(last), Duration::ZERO, now);
    }
    // Two of a name, three in all: of `a` the one that was given once has yielded.
    assert!(!table.is_pinned(&a, address(2), now));
    assert!(table.is_pinned(&a, address(1), now));
    assert_eq!(table.len(), 3);
}

#[test]
fn addresses_inside_addresses_are_judged_by_what_they_reach() {
    const CASES: &[(&[&str], &str, &str)] = &[
        (&["deny 2002::/16", "allow any"], "2002:808:808::1", "deny"),
        (&["deny 64:ff9b::/64", "allow any"], "64:ff9b::808:808", "deny"),
        (&["deny ::/0", "allow any"], "64:ff9b::808:808", "deny"),
        (&["deny ::/0", "allow any"], "2001:0:1::1", "deny"),
        (&["deny 8.8.8.8", "allow any"], "64:ff9b::808:808", "deny"),
        (&["deny 8.8.8.8", "allow any"], "2002:808:808::1", "deny"),
        (&["deny 8.8.8.8", "allow any"], "2001::f7f7:f7f7", "deny"),
        (&["allow 8.8.8.8"], "64:ff9b::808:808", "allow"),
        // A prefix of the translation allows what is translated, and no IPv4 address as such.
        (&["allow 2002::/16"], "2002:808:808::1", "allow"),
        (&["allow 2002:808::/32"], "8.8.8.8", "deny"),
        (&["allow 64:ff9b::/96"], "64:ff9b::808:808", "allow"),
        (&["allow 64:ff9b::/96"], "8.8.8.8", "deny"),
        (&["allow 2001::/96"], "8.8.8.8", "deny"),
        (&["allow 2002:a00:1::/112"], "10.0.9.9", "deny"),
        // All of IPv6 is not all of IPv4.
        (&["allow ::/0"], "64:ff9b::a00:1", "deny"),
        (&["allow ::/0"], "2606:4700::1111", "allow"),
        // Mapped is a spelling.
        (&["allow ::ffff:10.0.0.0/104"], "10.9.9.9", "allow"),
    ];
    for (rules, address, expected) in CASES {
        let policy = policy(rules);
        let decision = World::new(&[]).decide(&policy, address, 443, None);
        let allowed = matches!(decision, Decision::Allow { .. });
        assert_eq!(allowed, *expected == "allow", "{rules:?} {address}: {}", word(decision));
    }
}

#[test]
fn a_name_opens_no_port_of_a_private_address_that_its_owner_left_closed() {
    let world = World::new(&[("in.example", "10.0.0.5"), ("in.example", "172.16.0.1")]);
    const CASES: &[(&[&str], &str, u16, &str)] = &[
        (&["allow in.example"], "10.0.0.5", 22, "not public"),
        (&["allow in.example", "allow 10.0.0.5:8080"], "10.0.0.5", 22, "not public"),
        (&["allow in.example", "allow 10.0.0.5:8080"], "10.0.0.5", 8080, "allow"),
        (&["allow in.example", "allow private:8080"], "10.0.0.5", 22, "not public"),
        (&["allow in.example", "deny 10.0.0.5", "allow private"], "10.0.0.5", 22, "rule"),
        (&["allow in.example", "allow host:8080"], "172.16.0.1", 22, "not public"),
        (&["allow in.example", "allow host:8080"], "172.16.0.1", 8080, "allow"),
        // A rule for everything is not one for a private place.
        (&["allow in.example", "allow any"], "10.0.0.5", 22, "allow"),
    ];
    for (rules, address, port, expected) in CASES {
        for shown in [None, Some("in.example")] {
            let decision = world.decide(&policy(rules), address, *port, shown);
            assert_eq!(word(decision), *expected, "{rules:?} {address}:{port} {shown:?}");
        }
    }
}

#[test]
fn a_pin_holds_for_the_address_that_was_given() {
    const CASES: &[(&str, &str, bool)] = &[
        ("1.2.3.4", "::ffff:1.2.3.4", true),
        ("1.2.3.4", "64:ff9b::102:304", true),
        ("64:ff9b::102:304", "1.2.3.4", true),
        ("1.2.3.4", "2002:102:304::1", false),
        ("2002:102:304::1", "1.2.3.4", false),
        ("2002:102:304::1", "2002:102:304::2", false),
        ("1.2.3.4", "2001::fefd:fcfb", false),
    ];
    for (given, dialled, is_open) in CASES {
        let world = World::new(&[("a.example", given)]);
        let decision = world.decide(&policy(&["allow a.example"]), dialled, 443, Some("a.example"));
        assert_eq!(word(decision) == "allow", *is_open, "{given} {dialled}");
        // To deny, any spelling will do.
        if *given == "1.2.3.4" {
            let denied = world.decide(&policy(&["deny a.example", "allow any"]), dialled, 443, None);
            assert_eq!(word(denied), "rule", "{given} {dialled}");
        }
    }
}

#[test]
fn an_address_has_a_bounded_number_of_names() {
    let now = Instant::now();
    let mut table = NameTable::new(4_096, 16);
    let address = IpAddr::from([1, 1, 1, 1]);
    for index in 0..1_000 {
        table.pin(&name(&format!("h{index}.example")), address, Duration::ZERO, now);
    }
    assert_eq!(table.names_of(address, now).count(), 256);
    assert!(table.is_pinned(&name("h999.example"), address, now), "the newest holds");
    assert!(!table.is_pinned(&name("h743.example"), address, now), "the oldest yields");
}

#[test]
fn pins_are_bounded_and_the_oldest_yields() {
    let now = Instant::now();
    let mut table = NameTable::new(50, 4);
    for index in 0u8..200 {
        let host = name(&format!("h{}.example", index % 20));
        table.pin(&host, IpAddr::from([1, 1, 1, index]), Duration::ZERO, now);
        assert!(table.len() <= 50, "{}", table.len());
        assert!(table.is_pinned(&host, IpAddr::from([1, 1, 1, index]), now), "the newest holds");
    }
    let of_one: usize = (0u8..200)
        .filter(|index| table.is_pinned(&name("h3.example"), IpAddr::from([1, 1, 1, *index]), now))
        .count();
    assert!(of_one <= 4, "{of_one} of one name");
}

#[test]
fn a_name_pinned_to_the_address_and_to_the_one_inside_opens_it() {
    let world = World::new(&[("a.example", "2002:808:808::1"), ("a.example", "8.8.8.8")]);
    let policy = policy(&["allow a.example"]);
    assert_eq!(word(world.decide(&policy, "2002:808:808::1", 443, None)), "allow");
}

#[test]
fn a_nat64_prefix_of_the_network_is_looked_through() {
    const CASES: &[(&[&str], &str, &str)] = &[
        (&["allow public"], "64:ff9b:1::a00:1", "default"),
        (&["allow private"], "64:ff9b:1::a00:1", "allow"),
        (&["allow 8.8.8.8"], "64:ff9b:1::808:808", "allow"),
        (&["deny 8.8.8.8", "allow any"], "64:ff9b:1::808:808", "rule"),
        (&["deny 64:ff9b:1::/48", "allow any"], "64:ff9b:1::808:808", "rule"),
        (&["allow any"], "64:ff9b:1::7f00:1", "reserved"),
        (&["allow host"], "64:ff9b:1::909:909", "allow"),
        (&["allow link_local"], "64:ff9b:1::a9fe:a9fe", "default"),
        // Without the address inside, this is a name that nobody resolved.
        (&["deny a.example", "allow any"], "64:ff9b:1::101:101", "rule"),
    ];
    let mut world = World::new(&[("a.example", "1.1.1.1")]);
    let prefix = || "64:ff9b:1::/96".parse::<net_core::Nat64Prefix>().expect("a prefix");
    for (rules, address, expected) in CASES {
        world.hosts = world.hosts.clone().with_nat64([prefix()]);
        assert_eq!(word(world.decide(&policy(rules), address, 443, None)), *expected, "{rules:?} {address}");
    }
    // Where the network has no such translator the addresses are nothing at all.
    world.hosts = world.hosts.clone().with_nat64([]);
    assert_eq!(word(world.decide(&policy(&["allow private"]), "64:ff9b:1::a00:1", 443, None)), "default");
}

#[test]
fn an_expired_rule_matches_nothing() {
    let mut world = World::new(&[("a.example", "1.1.1.1"), ("in.example", "10.0.0.5")]);
    let until = |text: &str| Rule { expires: Some(UnixTime::from_secs(10)), ..rule(text) };
    let cases: &[(Vec<Rule>, &str, &str, &str)] = &[
        (vec![until("allow a.example")], "1.1.1.1", "allow", "default"),
        (vec![until("allow 1.1.1.1")], "1.1.1.1", "allow", "default"),
        (vec![until("deny public"), rule("allow any")], "1.1.1.1", "rule", "allow"),
        (vec![rule("allow in.example"), until("allow private")], "10.0.0.5", "allow", "not public"),
    ];
    for (rules, address, before, after) in cases {
        let policy = Policy::new(rules.clone());
        for (secs, expected) in [(0, before), (9, before), (10, after), (1_000, after)] {
            world.wall = UnixTime::from_secs(secs);
            assert_eq!(word(world.decide(&policy, address, 443, None)), *expected, "{rules:?} at {secs}");
        }
    }
    let policy = Policy::new(vec![until("allow a.example")]);
    let resolves = |secs| {
        let decision = policy.decide_name(&name("a.example"), UnixTime::from_secs(secs));
        matches!(decision, NameDecision::Allow { .. })
    };
    assert!(resolves(9) && !resolves(10));
}

#[test]
fn only_what_allows_a_name_gives_it_an_address_of_its_own() {
    let virtually = |text: &str| rule(text).virtually();
    assert_eq!(virtually("deny a.example"), Err(VirtualIpError));
    for text in ["allow any", "allow 10.0.0.0/8", "allow public", "deny any"] {
        assert_eq!(virtually(text), Err(VirtualIpError), "{text}");
        // Set by hand it means nothing.
        let policy = Policy::new(vec![Rule { virtual_ip: true, ..rule(text) }]);
        assert!(!policy.has_virtual() && !policy.is_virtual(&name("a.example"), UnixTime::default()));
    }
    let ingress = Rule { direction: RuleDirection::Ingress, ..rule("allow a.example") };
    assert_eq!(ingress.virtually(), Err(VirtualIpError));
    let own = virtually("allow *.example:22").unwrap();
    assert_eq!(own.to_string(), "allow *.example:22 by an address of its own");
    // The rule that lets a name be resolved says how.
    let cases = [
        (vec![own.clone()], true),
        (vec![rule("deny b.example"), own.clone()], true),
        (vec![rule("deny a.example"), own.clone()], false),
        (vec![rule("allow a.example:443"), own.clone()], false),
        (vec![own.clone(), rule("allow a.example:443")], true),
        (vec![Rule { expires: Some(UnixTime::default()), ..own.clone() }, rule("allow any")], false),
    ];
    for (rules, expected) in cases {
        let policy = Policy::new(rules.clone());
        assert!(policy.has_virtual());
        assert_eq!(policy.is_virtual(&name("a.example"), UnixTime::default()), expected, "{rules:?}");
        assert!(!policy.is_virtual(&name("a.test"), UnixTime::default()));
    }
    // A floor that does not let the name be resolved gives it no address either.
    let floor = Policy::new(vec![rule("allow b.example")]);
    let policy = Policy::new(vec![own]).with_floor(&floor).unwrap();
    let is_virtual = |text| policy.is_virtual(&name(text), UnixTime::default());
    assert!(is_virtual("b.example") && !is_virtual("a.example"));
}

#[test]
fn only_what_allows_all_requests_lets_anything_be_inside() {
    let opaque = |text: &str| rule(text).opaque();
    assert_eq!(opaque("deny a.example"), Err(InnerError));
    let ingress = Rule { direction: RuleDirection::Ingress, ..rule("allow a.example") };
    assert_eq!(ingress.opaque(), Err(InnerError));
    let some = rule("allow a.example").for_requests(HttpCondition::parse(&["GET"], &[]).unwrap()).unwrap();
    assert_eq!(some.clone().opaque(), Err(InnerError));
    // Set by hand it means nothing.
    let by_hand = Policy::new(vec![Rule { inner: Inner::Opaque, ..some }]);
    assert!(!by_hand.is_opaque(RuleId::own(0)) && !by_hand.is_opaque(RuleId::own(1)));
    let own = Policy::new(vec![opaque("allow .example").unwrap()]);
    assert!(own.is_opaque(RuleId::own(0)));
    // The floor's rule has its say where it is for a name.
    let floors = [("allow a.example", false), ("allow any", true), ("allow public", true)];
    let floors = floors.map(|(text, agrees)| (rule(text), agrees));
    for (floor, agrees) in floors.into_iter().chain([(opaque("allow a.example").unwrap(), true)]) {
        let floored = own.clone().with_floor(&Policy::new(vec![floor.clone()])).unwrap();
        assert_eq!(floored.is_opaque(RuleId::own(0).over(RuleId::own(0))), agrees, "{floor}");
    }
}

#[test]
fn only_what_allows_flows_from_the_guest_chooses_a_proxy() {
    let by_proxy = |rule: Rule, proxy: &str| rule.by_proxy(proxy.to_owned());
    assert_eq!(by_proxy(rule("deny any"), "corp"), Err(ProxyRuleError));
    let ingress = Rule { direction: RuleDirection::Ingress, ..rule("allow any") };
    assert_eq!(by_proxy(ingress, "corp"), Err(ProxyRuleError));
    // Set by hand it means nothing.
    let by_hand = Rule { proxy: Some("corp".to_owned()), ..rule("deny any") };
    assert_eq!(by_hand.chosen_proxy(), None);
    let corp = by_proxy(rule("allow a.example:443"), "corp").unwrap();
    assert_eq!(corp.to_string(), "allow a.example:443 by proxy corp");
    let none = by_proxy(rule("allow any"), DIRECT).unwrap();
    assert_eq!(none.to_string(), "allow any by no proxy");
    let policy = Policy::new(vec![by_hand, corp, none]);
    assert_eq!(policy.chosen_proxies().collect::<Vec<_>>(), ["corp", DIRECT]);
}

#[test]
fn a_decision_rests_on_a_name_alone_where_no_address_could_have_changed_it() {
    let alone =
        |policy: &Policy, rule| policy.rests_on_name_alone(rule, Direction::Egress, Protocol::Tcp, 443);
    // The rules, the last of which decides.
    const CASES: &[(&[&str], bool)] = &[
        (&["allow a.example"], true),
        (&["allow any"], false),
        (&["allow public"], false),
        (&["allow 10.0.0.0/8", "deny b.example", "allow a.example:443"], true),
        (&["deny 10.0.0.0/8", "allow a.example"], false),
        (&["deny metadata:443", "allow a.example"], false),
        (&["deny any:80", "allow a.example"], true),
        (&["allow a.example", "deny private"], false),
    ];
    for (rules, expected) in CASES {
        let policy = Policy::new(rules.iter().map(|text| rule(text)).collect());
        let last = RuleId::own(u32::try_from(rules.len() - 1).unwrap());
        assert_eq!(alone(&policy, last), *expected, "{rules:?}");
    }
    let ingress = Rule { direction: RuleDirection::Ingress, ..rule("deny any") };
    assert!(alone(&Policy::new(vec![ingress, rule("allow a.example")]), RuleId::own(1)));
    // The default is for no name.
    assert!(!alone(&Policy::default(), RuleId::after(&[])));
    // Of a floor the same is asked.
    let own = Policy::new(vec![rule("allow a.example")]);
    for (floor, at, expected) in [
        (vec![rule("allow .example")], 0, true),
        (vec![rule("allow any")], 0, false),
        (vec![rule("deny private"), rule("allow .example")], 1, false),
    ] {
        let floored = own.clone().with_floor(&Policy::new(floor.clone())).unwrap();
        assert_eq!(alone(&floored, RuleId::own(0).over(RuleId::own(at))), expected, "{floor:?}");
    }
}

#[test]
fn a_name_has_the_addresses_that_are_pinned_to_it_the_last_first() {
    let (mut pins, now) = (NameTable::new(10, 10).with_grace(Duration::ZERO), World::new(&[]).now);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let at = |seconds| now + Duration::from_secs(seconds);
    let of = |pins: &NameTable, now| {
        pins.addresses_of(&name("a.example"), now).map(|address| address.to_string()).collect::<Vec<_>>()
    };
    pins.pin(&name("a.example"), ip("9.9.9.9"), Duration::from_secs(60), now);
    pins.pin(&name("b.example"), ip("9.9.9.9"), Duration::from_secs(60), now);
    pins.pin(&name("a.example"), ip("2620:fe::9"), Duration::from_secs(30), now);
    assert_eq!(of(&pins, now), ["2620:fe::9", "9.9.9.9"]);
    assert_eq!(of(&pins, at(30)), ["9.9.9.9"]);
    // Given by a translation, it is reached by that too, also once it is given by itself again.
    pins.pin(&name("a.example"), ip("64:ff9b::909:909"), Duration::from_secs(60), now);
    assert_eq!(of(&pins, at(30)), ["9.9.9.9", "64:ff9b::909:909"]);
    pins.pin(&name("a.example"), ip("9.9.9.9"), Duration::from_secs(60), now);
    assert_eq!(of(&pins, at(30)), ["9.9.9.9", "64:ff9b::909:909"]);
    pins.hold(ip("9.9.9.9"));
    assert_eq!(of(&pins, at(300)), ["9.9.9.9", "64:ff9b::909:909"]);
    pins.release(ip("9.9.9.9"));
    assert_eq!(of(&pins, at(300)), [""; 0]);
}

#[test]
fn rules_hold_for_their_direction_alone() {
    let world = World::new(&[]);
    let ingress = |policy: &Policy| {
        let query = Query { direction: Direction::Ingress, ..world.query([1, 1, 1, 1].into(), 443, None) };
        word(policy.decide(&query))
    };
    let toward = |direction| Policy::new(vec![Rule { direction, ..rule("allow public") }]);
    for (direction, out, inward) in [
        (RuleDirection::Egress, "allow", "default"),
        (RuleDirection::Ingress, "default", "allow"),
        (RuleDirection::Any, "allow", "allow"),
    ] {
        let policy = toward(direction);
        assert_eq!(word(world.decide(&policy, "1.1.1.1", 443, None)), out, "{direction:?}");
        assert_eq!(ingress(&policy), inward, "{direction:?}");
    }
    let defaults = Defaults { egress: Action::Deny, ingress: Action::Allow };
    let policy = Policy::with_defaults(Vec::new(), defaults);
    assert_eq!((word(world.decide(&policy, "1.1.1.1", 443, None)), ingress(&policy)), ("default", "allow"));
}

#[test]
fn presets() {
    const CASES: &[(&str, [&str; 4])] = &[
        // none, allow_all, public_only, non_local
        ("1.1.1.1", ["default", "allow", "allow", "allow"]),
        ("2606:4700::1", ["default", "allow", "allow", "allow"]),
        ("10.0.0.1", ["default", "allow", "default", "allow"]),
        ("100.64.0.1", ["default", "allow", "default", "allow"]),
        ("fd00::1", ["default", "allow", "default", "allow"]),
        ("172.16.0.1", ["default", "allow", "default", "default"]),
        ("169.254.1.1", ["default", "allow", "default", "default"]),
        ("169.254.169.254", ["default", "allow", "default", "default"]),
        ("fd00:ec2::254", ["default", "allow", "default", "default"]),
        ("240.0.0.1", ["default", "allow", "default", "default"]),
        ("255.255.255.255", ["default", "allow", "default", "default"]),
        ("127.0.0.1", ["reserved"; 4]),
        ("0.0.0.0", ["reserved"; 4]),
        ("::", ["reserved"; 4]),
    ];
    let world = World::new(&[]);
    let policies = [Policy::none(), Policy::allow_all(), Policy::public_only(), Policy::non_local()];
    for (address, expected) in CASES {
        let words = policies.each_ref().map(|policy| word(world.decide(policy, address, 443, None)));
        assert_eq!(words, *expected, "{address}");
    }
}

#[test]
fn a_floor_only_narrows_and_says_so() {
    type Case =
        (&'static [&'static str], &'static [&'static str], &'static str, Option<&'static str>, &'static str);
    const CASES: &[Case] = &[
        (&["allow any"], &["allow public"], "1.1.1.1", None, "rule 1: allow any"),
        (&["allow any"], &["allow public"], "10.0.0.1", None, "floor default (no rule allows it)"),
        (&["allow any"], &["deny 1.1.1.1", "allow any"], "1.1.1.1", None, "floor rule 1: deny 1.1.1.1"),
        (&["deny 1.1.1.1"], &["deny any"], "1.1.1.1", None, "rule 1: deny 1.1.1.1"),
        (
            &["allow any"],
            &["deny b.example", "allow any"],
            "2.2.2.2",
            Some("b.example"),
            "floor rule 1: deny b.example",
        ),
        // The floor alone tells the names of an address apart.
        (&["allow any"], &["deny b.example", "allow any"], "2.2.2.2", None, "only a name can tell"),
        (&["allow any"], &["allow a.example"], "1.1.1.1", None, "rule 1: allow any"),
        (
            &["allow any"],
            &["allow a.example"],
            "3.3.3.3",
            Some("a.example"),
            "floor default (the address was not resolved for this name)",
        ),
    ];
    let world = World::new(&[("a.example", "1.1.1.1"), ("b.example", "2.2.2.2"), ("c.example", "2.2.2.2")]);
    for (own, floor, address, shown, expected) in CASES {
        let policy = policy(own).with_floor(&policy(floor)).expect("one floor");
        let decision = world.decide(&policy, address, 443, *shown);
        assert_eq!(policy.describe(&decision), *expected, "{own:?} over {floor:?} for {address} {shown:?}");
    }
    let floored = policy(&["allow any"]).with_floor(&policy(&["allow a.example"])).expect("one floor");
    assert_eq!(floored.clone().with_floor(&Policy::none()), Err(crate::FloorError));
    assert_eq!(Policy::none().with_floor(&floored), Err(crate::FloorError));
    // What the floor allows by name rests on that name, and names may lead elsewhere.
    let Decision::Allow { rule } = world.decide(&floored, "1.1.1.1", 443, None) else { panic!("allowed") };
    assert!(floored.rests_on_name(rule));
    assert!(floored.names_matter(rule, Direction::Egress, Protocol::Tcp, 443));
    let denied = floored.decide_name(&name("b.example"), UnixTime::default());
    assert_eq!(floored.describe_name(&denied), "floor default (no rule allows it)");
}

#[test]
fn an_explanation_lists_what_was_looked_at() {
    let world = World::new(&[("db.example", "10.0.0.5"), ("web.example", "1.1.1.1")]);
    let rules = [
        Rule { expires: Some(UnixTime::default()), ..rule("allow any") },
        rule("deny .ads.example"),
        Rule { name: Some("database".to_owned()), ..rule("allow db.example:5432") },
        rule("allow public:443"),
    ];
    let policy = Policy::new(rules.to_vec()).with_floor(&policy(&["allow any"])).expect("one floor");
    let explain = |address: [u8; 4], port, shown: Option<&HostName>| {
        policy.explain(&world.query(address.into(), port, shown)).to_string()
    };
    assert_eq!(
        explain([10, 0, 0, 5], 5432, None),
        "tcp to 10.0.0.5 port 5432, for db.example, which it was resolved from\n  \
           rule 1: allow any until 1970-01-01T00:00:00Z: expired 1970-01-01T00:00:00Z\n  \
           rule 2: deny .ads.example: for another name\n  \
           rule 3: allow db.example:5432 (database): the name leads to an address that is not public, and no rule \
         allows that address here\n  \
           rule 4: allow public:443: for other ports\n\
         tcp to 10.0.0.5 port 5432, for db.example, which it was resolved from, by the floor\n  \
           rule 1: allow any: matches\n\
         denied: default (the name leads to an address that is not public, and no rule allows that address here)"
    );
    assert_eq!(
        explain([1, 1, 1, 1], 443, Some(&name("x.ads.example"))),
        "tcp to 1.1.1.1 port 443, for x.ads.example, which it was not resolved from\n  \
           rule 1: allow any until 1970-01-01T00:00:00Z: expired 1970-01-01T00:00:00Z\n  \
           rule 2: deny .ads.example: matches\n\
         tcp to 1.1.1.1 port 443, for x.ads.example, which it was not resolved from, by the floor\n  \
           rule 1: allow any: matches\n\
         denied: rule 2: deny .ads.example"
    );
    assert!(explain([3, 3, 3, 3], 443, None).ends_with("allowed: rule 4: allow public:443"));
    assert_eq!(explain([127, 0, 0, 1], 443, None), "denied: default (the address is no destination)");
}

#[test]
fn what_is_printed_of_a_policy_is_bounded() {
    let policy = Policy::new(vec![rule("allow a.example"); 10_000]);
    assert!(format!("{policy:?}").len() < 200, "{policy:?}");
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let target = prop_oneof![
        Just("any"),
        Just("public"),
        Just("private"),
        Just("host"),
        Just("metadata"),
        Just("a.example"),
        Just("*.example"),
        Just(".b.example"),
        Just("1.1.1.1"),
        Just("1.0.0.0/8"),
        Just("10.0.0.0/8:80"),
        Just("a.example:443"),
        Just("fd00::/8"),
    ];
    (any::<bool>(), target)
        .prop_map(|(allow, target)| rule(&format!("{} {target}", if allow { "allow" } else { "deny" })))
}

fn any_address() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("1.1.1.1"),
        Just("1.2.3.4"),
        Just("10.0.0.1"),
        Just("172.16.0.1"),
        Just("169.254.169.254"),
        Just("fd00::1"),
        Just("::ffff:1.1.1.1"),
        Just("2606:4700::1"),
    ]
}

#[test]
fn the_corpus_of_policies_holds() {
    let corpus =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/policy_compile_eq_linear");
    let files: Vec<_> = std::fs::read_dir(corpus).expect("a corpus").collect();
    assert!(files.len() >= 5, "the corpus is small: {}", files.len());
    for file in files {
        let bytes = std::fs::read(file.expect("a file").path()).expect("a readable file");
        crate::fuzzing::compiled_policies_equal_linear_ones(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_index_decides_as_the_rules_do_one_by_one(bytes in proptest::collection::vec(any::<u8>(), 0..1_500)) {
        crate::fuzzing::compiled_policies_equal_linear_ones(&bytes);
    }

    #[test]
    fn order_matters_only_where_rules_overlap(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        crate::fuzzing::order_matters_only_where_rules_overlap(&bytes);
    }

    #[test]
    fn what_is_said_to_be_shadowed_decides_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        crate::fuzzing::shadowed_rules_decide_nothing(&bytes);
    }
}

proptest! {
    #[test]
    fn a_denial_in_front_never_widens(
        rules in proptest::collection::vec(any_rule(), 0..8),
        denial in any_rule(),
        address in any_address(),
        port in prop_oneof![Just(80u16), Just(443)],
        shown in proptest::option::of(prop_oneof![Just("a.example"), Just("x.b.example"), Just("evil.org")]),
    ) {
        let world = World::new(&[("a.example", "1.1.1.1"), ("x.b.example", "1.1.1.1")]);
        let before = world.decide(&Policy::new(rules.clone()), address, port, shown);
        let denial = Rule { action: Action::Deny, ..denial };
        let mut narrowed = vec![denial];
        narrowed.extend(rules);
        let after = world.decide(&Policy::new(narrowed), address, port, shown);
        prop_assert!(word(after) != "allow" || word(before) == "allow", "{} became {}", word(before), word(after));
    }

    #[test]
    fn a_rule_for_a_name_opens_no_address_that_is_not_pinned_to_it(
        rules in proptest::collection::vec(any_rule(), 0..8),
        address in any_address(),
        shown in proptest::option::of(prop_oneof![Just("new.example"), Just("evil.org")]),
    ) {
        let world = World::new(&[("a.example", "1.1.1.1")]);
        let before = world.decide(&Policy::new(rules.clone()), address, 443, shown);
        let mut widened = rules;
        widened.push(rule("allow new.example"));
        let after = world.decide(&Policy::new(widened), address, 443, shown);
        prop_assert_eq!(matches!(before, Decision::Allow { .. }), matches!(after, Decision::Allow { .. }));
    }

    #[test]
    fn the_order_in_which_names_were_pinned_decides_nothing(
        rules in proptest::collection::vec(any_rule(), 0..8),
        names in Just(["a.example", "x.b.example", "new.example", "evil.org", "b.example"]).prop_shuffle(),
        count in 1usize..5,
        port in prop_oneof![Just(80u16), Just(443)],
    ) {
        let policy = Policy::new(rules);
        let decide = |names: &mut dyn Iterator<Item = &&str>| {
            let pins: Vec<(&str, &str)> = names.map(|name| (*name, "1.2.3.4")).collect();
            World::new(&pins).decide(&policy, "1.2.3.4", port, None)
        };
        let names = &names[..count];
        let decision = decide(&mut names.iter());
        // Each table has an order of its own.
        for _ in 0..4 {
            prop_assert_eq!(decide(&mut names.iter()), decision);
            prop_assert_eq!(decide(&mut names.iter().rev()), decision);
        }
    }

    #[test]
    fn an_empty_policy_denies(address: [u8; 16], port: u16) {
        let world = World::new(&[]);
        let address = IpAddr::from(address).to_string();
        let decision = word(world.decide(&Policy::default(), &address, port, None));
        prop_assert!(["default", "reserved"].contains(&decision), "{}", decision);
    }
}
fn requests(text: &str, methods: &[&str], paths: &[&str]) -> Rule {
    rule(text).for_requests(HttpCondition::parse(methods, paths).expect(text)).expect(text)
}

#[test]
fn requests_are_decided_one_by_one() {
    // rules; what becomes of the flow, of it unseen, and of each request
    type Request = (&'static str, &'static str, &'static str);
    type Case = (Vec<Rule>, &'static str, &'static str, &'static [Request]);
    let reads = || requests("allow a.example:443", &["GET", "HEAD"], &["/v1/*", "/health"]);
    let no_delete = || requests("deny a.example", &["DELETE"], &[]);
    let cases: [Case; 9] = [
        (
            vec![reads()],
            "per request",
            "not http",
            &[
                ("GET", "/v1/x", "allow"),
                ("HEAD", "/health", "allow"),
                ("GET", "/v1/../health", "allow"),
                ("GET", "/v1/%78", "allow"),
                ("POST", "/v1/x", "request"),
                ("GET", "/v1/../admin", "request"),
                ("GET", "/v1/%2e%2e/admin", "request"),
                ("GET", "/v1/x/y", "request"),
                ("GET", "/v1%2Fx", "request"),
                ("GET", "//v1/x", "malformed"),
                ("GET", "/v1/%00", "malformed"),
                ("get", "/v1/x", "malformed"),
                ("GET", "", "request"),
            ],
        ),
        // In their order: the first whose condition matches.
        (
            vec![requests("deny a.example", &[], &["/v1/secret"]), reads(), rule("allow a.example:443")],
            "per request",
            "not http",
            &[("GET", "/v1/secret", "rule"), ("GET", "/v1/x", "allow"), ("PUT", "/any", "allow")],
        ),
        (vec![reads(), rule("allow a.example:443")], "per request", "allow", &[("PUT", "/x", "allow")]),
        // A denial of some denies no flow, and all that cannot be read.
        (
            vec![no_delete(), rule("allow a.example")],
            "per request",
            "not http",
            &[("DELETE", "/x", "rule"), ("GET", "/x", "allow"), ("delete", "/x", "malformed")],
        ),
        (vec![no_delete(), rule("allow public")], "per request", "not http", &[("DELETE", "/x", "rule")]),
        (vec![no_delete()], "default", "not http", &[("GET", "/x", "default")]),
        // What comes first decides without asking.
        (vec![rule("allow a.example"), no_delete()], "allow", "allow", &[("DELETE", "/%00", "allow")]),
        (vec![rule("deny a.example"), reads()], "rule", "rule", &[("GET", "/v1/x", "rule")]),
        // For other ports.
        (
            vec![requests("allow a.example:80", &["GET"], &[])],
            "default",
            "default",
            &[("GET", "/", "default")],
        ),
    ];
    let world = World::new(&[("a.example", "1.1.1.1")]);
    let a = name("a.example");
    for (rules, flow, unseen, requests) in cases {
        let shown: Vec<String> = rules.iter().map(Rule::to_string).collect();
        let policy = Policy::new(rules);
        for name in [None, Some(&a)] {
            let query = world.query([1, 1, 1, 1].into(), 443, name);
            assert_eq!(word(policy.decide(&query)), flow, "{shown:?} {name:?}");
            assert_eq!(word(policy.decide_unseen(&query)), unseen, "{shown:?} {name:?}");
            // Datagrams are never read as requests.
            let datagrams = Query { protocol: Protocol::Udp, ..query };
            assert_eq!(word(policy.decide(&datagrams)), unseen, "{shown:?} {name:?}");
            for (method, path, expected) in requests {
                let request = RequestLine::new(method, path);
                let decision = policy.decide_request(&query, &request);
                assert_eq!(word(decision), *expected, "{shown:?} {name:?} {method} {path}");
                let decision = policy.decide_request(&datagrams, &request);
                assert_eq!(word(decision), unseen, "{shown:?} {name:?} {method} {path}");
            }
        }
    }
}

#[test]
fn names_of_one_address_may_differ_in_their_requests() {
    let reads = requests("allow a.example", &["GET"], &[]);
    let writes = requests("allow b.example", &["POST"], &[]);
    let world = World::new(&[("a.example", "1.1.1.1"), ("b.example", "1.1.1.1"), ("c.example", "1.1.1.1")]);
    let query = world.query([1, 1, 1, 1].into(), 443, None);
    let policy = Policy::new(vec![reads.clone(), writes.clone(), rule("allow c.example")]);
    // One of the names lets everything pass.
    assert_eq!(word(policy.decide(&query)), "name");
    let policy = Policy::new(vec![reads, writes, requests("allow c.example", &["PUT"], &[])]);
    assert_eq!(word(policy.decide(&query)), "per request");
    assert_eq!(word(policy.decide_request(&query, &RequestLine::new("GET", "/"))), "name");
    let b = name("b.example");
    let for_b = Query { name: Some(&b), ..query };
    assert_eq!(word(policy.decide_request(&for_b, &RequestLine::new("GET", "/"))), "request");
    assert_eq!(word(policy.decide_request(&for_b, &RequestLine::new("POST", "/"))), "allow");
}

#[test]
fn names_resolve_for_some_requests_and_in_spite_of_some() {
    let wall = UnixTime::default();
    let decide = |rules: Vec<Rule>| Policy::new(rules).decide_name(&name("a.example"), wall);
    let denies = || requests("deny a.example", &["DELETE"], &[]);
    assert!(matches!(decide(vec![requests("allow a.example", &["GET"], &[])]), NameDecision::Allow { .. }));
    assert!(matches!(decide(vec![denies(), rule("allow public")]), NameDecision::Allow { .. }));
    assert!(matches!(decide(vec![denies()]), NameDecision::Deny { rule: None, .. }));
}

#[test]
fn a_floor_of_requests_narrows() {
    let world = World::new(&[("a.example", "1.1.1.1")]);
    let query = world.query([1, 1, 1, 1].into(), 443, None);
    let floor = Policy::new(vec![requests("deny a.example", &["DELETE"], &[]), rule("allow public")]);
    let own = Policy::new(vec![requests("allow a.example", &[], &["/v1/**"])]);
    let policy = own.with_floor(&floor).expect("one floor");
    assert_eq!(word(policy.decide(&query)), "per request");
    assert_eq!(word(policy.decide_unseen(&query)), "not http");
    for (method, path, expected) in
        [("GET", "/v1/x", "allow"), ("DELETE", "/v1/x", "rule"), ("GET", "/v2", "request")]
    {
        let decision = policy.decide_request(&query, &RequestLine::new(method, path));
        assert_eq!(word(decision), expected, "{method} {path}");
    }
}

#[test]
fn a_floor_that_needs_a_name_is_asked_for_each() {
    let world = World::new(&[("a.example", "1.1.1.1"), ("b.example", "1.1.1.1")]);
    let query = world.query([1, 1, 1, 1].into(), 443, None);
    let own = Policy::new(vec![requests("allow *.example", &["GET", "PUT"], &[])]);
    let floor = Policy::new(vec![rule("allow a.example"), requests("allow b.example", &["GET"], &[])]);
    assert_eq!(word(floor.decide(&query)), "name");
    // Whichever name it is, requests decide, and those of a name only as the floor lets them.
    let floored = own.clone().with_floor(&floor).expect("one floor");
    assert_eq!(word(floored.decide(&query)), "per request");
    for (host, method, expected) in
        [("a.example", "PUT", "allow"), ("b.example", "PUT", "request"), ("b.example", "GET", "allow")]
    {
        let host = name(host);
        let named = Query { name: Some(&host), ..query };
        assert_eq!(word(floored.decide_request(&named, &RequestLine::new(method, "/"))), expected);
    }
    // Where the floor denies one of the names, that matters before any request.
    let floor = policy(&["allow a.example"]);
    assert_eq!(word(own.with_floor(&floor).expect("one floor").decide(&query)), "name");
}

#[test]
fn a_condition_that_is_not_on_a_name_is_refused_and_opens_nothing() {
    let condition = || HttpCondition::parse(&["GET"], &[]).expect("a condition");
    let error = rule("allow public").for_requests(condition()).expect_err("not a name");
    assert_eq!(error, HttpConditionError::NotAName);
    let misplaced = |text| Rule { http: Some(condition()), ..rule(text) };
    let error = Policy::builder().rule(misplaced("allow public")).build().expect_err("not a name");
    assert_eq!((error.number, error.source), (1, HttpConditionError::NotAName.into()));
    let world = World::new(&[]);
    let query = world.query([1, 1, 1, 1].into(), 443, None);
    for (rules, expected) in
        [(vec!["allow public"], "default"), (vec!["deny 1.1.1.1", "allow public"], "rule")]
    {
        let mut rules: Vec<Rule> = rules.into_iter().map(rule).collect();
        rules[0].http = Some(condition());
        assert_eq!(word(Policy::new(rules).decide(&query)), expected);
    }
}

#[test]
fn a_request_is_explained() {
    let world = World::new(&[("a.example", "1.1.1.1")]);
    let a = name("a.example");
    let query = world.query([1, 1, 1, 1].into(), 443, Some(&a));
    let policy = Policy::new(vec![
        requests("deny a.example", &["DELETE"], &[]),
        requests("allow a.example:443", &["GET"], &["/v1/*"]),
    ]);
    let explained = |explanation: crate::Explanation<'_>| explanation.to_string();
    assert_eq!(
        explained(policy.explain(&query)),
        "tcp to 1.1.1.1 port 443, for a.example, which it was resolved from\n\
         \x20 rule 1: deny a.example for DELETE: denies some of the requests to come\n\
         \x20 rule 2: allow a.example:443 for GET /v1/*: matches\n\
         allowed as HTTP: rule 2: allow a.example:443 for GET /v1/*, each request by itself"
    );
    assert_eq!(
        explained(policy.explain_request(&query, &RequestLine::new("POST", "/v1/../x"))),
        "tcp to 1.1.1.1 port 443, POST /x, for a.example, which it was resolved from\n\
         \x20 rule 1: deny a.example for DELETE: for other requests\n\
         \x20 rule 2: allow a.example:443 for GET /v1/*: for other requests\n\
         denied: default (only other requests to the name are allowed)"
    );
    assert_eq!(
        explained(policy.explain_unseen(&query)),
        "tcp to 1.1.1.1 port 443, not read as HTTP, for a.example, which it was resolved from\n\
         \x20 rule 1: deny a.example for DELETE: matches\n\
         denied: rule 1: deny a.example for DELETE (a rule is for some requests to the name, and none can be \
         seen here)"
    );
}

#[test]
fn the_corpus_of_paths_holds() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/request_path");
    let files: Vec<_> = std::fs::read_dir(corpus).expect("a corpus").collect();
    assert!(files.len() >= 4, "the corpus is small: {}", files.len());
    for file in files {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        crate::fuzzing::paths_have_one_form(&text);
    }
}

#[test]
fn a_bound_is_of_the_rule_or_of_the_floor_s_where_that_has_one() {
    let shaping = |text: &str| Shaping {
        upload: Shape { bandwidth: Some(text.parse().unwrap()), packets: None },
        ..Shaping::default()
    };
    let (slow, fast) = (shaping("1 MB/s"), shaping("9 MB/s"));
    let shaped = |text: &str, shaping| rule(text).shaped(shaping);
    assert_eq!(shaped("deny a.example", slow), Err(ShapingError));
    let ingress = Rule { direction: RuleDirection::Ingress, ..rule("allow any") };
    assert_eq!(ingress.shaped(slow), Err(ShapingError));
    // Where the fields are filled in by hand it means nothing.
    let by_hand = Policy::new(vec![Rule { shaping: slow, ..rule("deny a.example") }]);
    assert!(!by_hand.has_shaping() && by_hand.shaping(RuleId::own(0)).is_none());
    let own = Policy::new(vec![rule("allow 9.9.9.9"), shaped("allow any", fast).unwrap()]);
    assert!(own.has_shaping() && own.shaping(RuleId::own(0)).is_none());
    assert_eq!(own.shaping(RuleId::own(1)), Some((Layer::Own, RuleId::own(1), fast)));
    let floor = Policy::new(vec![rule("allow 9.9.9.9"), shaped("allow any", slow).unwrap()]);
    let both = own.with_floor(&floor).unwrap();
    let of = |own, floor| both.shaping(RuleId::own(own).over(RuleId::own(floor)));
    // Two rules over one of the floor share its bound; one over two has its own.
    assert_eq!(of(0, 1), Some((Layer::Floor, RuleId::own(1), slow)));
    assert_eq!(of(1, 1), of(0, 1));
    assert_eq!(of(1, 0), Some((Layer::Own, RuleId::own(1), fast)));
    assert_eq!(of(0, 0), None);
}
