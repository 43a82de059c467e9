//! One decision, the cost of every SYN and every query: by an address, by a name, and where a policy
//! is made to be slow.
//!
//! The rules that are asked for come first, last, anywhere (a thousand flows in turn) or not at all.
//! Beside it: the reference model that tries every rule; two trees of prefixes, which know nothing of
//! ports, names or order and give the longest match; a set of regular expressions for the names.
#![allow(clippy::disallowed_methods, reason = "a bench needs some instant")]

mod common;

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::{MOST_FOR_REGEX, SIZES, address, expressions, name, rules, target};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use ip_network_table::IpNetworkTable;
use ipnet::IpNet;
use ipnet_trie::IpnetTrie;
use net_core::{Direction, HostName, Protocol};
use net_policy::linear::Linear;
use net_policy::{
    Action, Decision, Defaults, HostAddresses, NameTable, Policy, Query, Rule, UnixTime, parse_target,
};

/// Where every name of these benches leads.
const PINNED: &str = "9.9.9.9";

struct World {
    pins: NameTable,
    hosts: HostAddresses,
    now: Instant,
}

impl World {
    fn new(names: &[HostName]) -> Self {
        let (now, mut pins) = (Instant::now(), NameTable::new(4_096, 16));
        for name in names {
            pins.pin(name, PINNED.parse().expect("an address"), Duration::from_secs(300), now);
        }
        Self { pins, hosts: ["172.16.0.1".parse().expect("an address")].into_iter().collect(), now }
    }

    fn query<'q>(&'q self, address: IpAddr, name: Option<&'q HostName>) -> Query<'q> {
        Query {
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            address,
            port: 443,
            name,
            pins: &self.pins,
            hosts: &self.hosts,
            now: self.now,
            wall: UnixTime::from_secs(1_800_000_000),
        }
    }
}

fn is_allowed(decision: Decision) -> bool {
    matches!(decision, Decision::Allow { .. })
}

/// The odd or even indices asked for, by what they are called.
fn cases(count: u32, parity: u32) -> Vec<(&'static str, Vec<u32>)> {
    let scattered = (0..1_024u32).map(|index| index.wrapping_mul(0x9e37_79b1) % (count / 2) * 2 + parity);
    let missed = count + parity;
    vec![
        ("first", vec![parity]),
        ("last", vec![count - 2 + parity]),
        ("scattered", scattered.collect()),
        ("miss", vec![missed]),
    ]
}

/// Times `ask` for one after the other.
fn bench<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    asked: &[T],
    mut ask: impl FnMut(&T) -> bool,
) {
    let mut next = asked.iter().cycle();
    group.bench_function(id, |bencher| {
        bencher.iter(|| next.next().is_some_and(|asked| ask(black_box(asked))));
    });
}

fn by_address(criterion: &mut Criterion) {
    let world = World::new(&[]);
    let mut group = criterion.benchmark_group("decide/address");
    for count in SIZES {
        let rules = rules(count);
        let policy = Policy::new(rules.clone());
        let linear = Linear { rules: &rules, defaults: Defaults::default() };
        let (mut trie, mut table) = (IpnetTrie::new(), IpNetworkTable::new());
        for index in (1..count).step_by(2) {
            let net: IpNet = target(index).parse().expect("a prefix");
            trie.insert(net, index);
            table.insert(ip_network::IpNetwork::new(net.addr(), net.prefix_len()).expect("a prefix"), index);
        }
        for (case, indices) in cases(count, 1) {
            let asked: Vec<IpAddr> = indices.into_iter().map(address).collect();
            let is_hit = case != "miss";
            let decide = |address: &IpAddr| is_allowed(policy.decide(&world.query(*address, None)));
            let decide_linear = |address: &IpAddr| is_allowed(linear.decide(&world.query(*address, None)));
            let in_trie = |address: &IpAddr| trie.longest_match(&IpNet::from(*address)).is_some();
            let in_table = |address: &IpAddr| table.longest_match(*address).is_some();
            for address in asked.iter().take(8) {
                let all = [decide(address), decide_linear(address), in_trie(address), in_table(address)];
                assert_eq!(all, [is_hit; 4], "{case} {address}");
            }
            let id = format!("{case}/{count}");
            bench(&mut group, &id, &asked, decide);
            bench(&mut group, &format!("{id}/peer:linear"), &asked, decide_linear);
            bench(&mut group, &format!("{id}/peer:ipnet-trie"), &asked, in_trie);
            bench(&mut group, &format!("{id}/peer:ip_network_table"), &asked, in_table);
        }
    }
    group.finish();
}

fn by_name(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide/name");
    let pinned: IpAddr = PINNED.parse().expect("an address");
    for count in SIZES {
        let rules = rules(count);
        let policy = Policy::new(rules.clone());
        let linear = Linear { rules: &rules, defaults: Defaults::default() };
        let expressions = (count <= MOST_FOR_REGEX).then(|| expressions(count));
        for (case, indices) in cases(count, 0) {
            // As many names as one address keeps.
            let asked: Vec<HostName> = indices.into_iter().take(256).map(name).collect();
            let (world, is_hit) = (World::new(&asked), case != "miss");
            let decide = |name: &HostName| is_allowed(policy.decide(&world.query(pinned, Some(name))));
            let decide_linear = |name: &HostName| is_allowed(linear.decide(&world.query(pinned, Some(name))));
            for name in asked.iter().take(8) {
                assert_eq!([decide(name), decide_linear(name)], [is_hit; 2], "{case} {name}");
            }
            let id = format!("{case}/{count}");
            bench(&mut group, &id, &asked, decide);
            bench(&mut group, &format!("{id}/peer:linear"), &asked, decide_linear);
            if let Some(expressions) = &expressions {
                let in_set = |name: &HostName| expressions.is_match(name.as_str());
                assert!(asked.iter().all(|name| in_set(name) == is_hit), "{case}");
                bench(&mut group, &format!("{id}/peer:regex"), &asked, in_set);
            }
        }
    }
    group.finish();
}

/// A DNS query.
fn resolving(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide_name");
    for count in SIZES {
        // A rule for an address would let every name be resolved.
        let rules: Vec<Rule> = rules(count).into_iter().filter(|rule| rule.destination.is_domain()).collect();
        let policy = Policy::new(rules.clone());
        let linear = Linear { rules: &rules, defaults: Defaults::default() };
        let wall = UnixTime::from_secs(1_800_000_000);
        let asked = [name(count - 2)];
        let id = format!("last/{count}");
        bench(&mut group, &id, &asked, |name| {
            matches!(policy.decide_name(name, wall), net_policy::NameDecision::Allow { .. })
        });
        bench(&mut group, &format!("{id}/peer:linear"), &asked, |name| {
            matches!(linear.decide_name(name, wall), net_policy::NameDecision::Allow { .. })
        });
    }
    group.finish();
}

/// Ten thousand rules for one address, told apart by their ports; and an address with as many names as
/// it may have, all of which must be asked about.
fn slow_on_purpose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    let world = World::new(&[]);
    let rule = |index: u32| parse_target(&format!("{PINNED}:{}", 1_000 + index)).expect("a target");
    let rules: Vec<Rule> = (0..10_000).map(|index| rule(index).into_rule(Action::Deny)).collect();
    let policy = Policy::new(rules.clone());
    let linear = Linear { rules: &rules, defaults: Defaults::default() };
    let last = Query { port: 10_999, ..world.query(PINNED.parse().expect("an address"), None) };
    assert_eq!(policy.decide(&last), linear.decide(&last));
    bench(&mut group, "one_address/10000", &[last], |query| is_allowed(policy.decide(query)));
    bench(&mut group, "one_address/10000/peer:linear", &[last], |query| is_allowed(linear.decide(query)));

    let names: Vec<HostName> = (0..512).step_by(2).map(name).collect();
    let world = World::new(&names);
    let rules = common::rules(1_000);
    let policy = Policy::new(rules.clone());
    let linear = Linear { rules: &rules, defaults: Defaults::default() };
    let query = world.query(PINNED.parse().expect("an address"), None);
    assert!(is_allowed(policy.decide(&query)));
    bench(&mut group, "names_of_address/256", &[query], |query| is_allowed(policy.decide(query)));
    bench(&mut group, "names_of_address/256/peer:linear", &[query], |query| is_allowed(linear.decide(query)));
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = quick();
    targets = by_address, by_name, resolving, slow_on_purpose
}
criterion_main!(benches);
