//! One decision against few and many rules: the cost of every SYN.
#![allow(clippy::disallowed_methods, reason = "a bench needs some instant")]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use net_core::{Direction, HostName, Protocol};
use net_policy::{Action, HostAddresses, NameTable, Policy, Query, UnixTime, parse_target};

fn decide(criterion: &mut Criterion) {
    let now = Instant::now();
    let name = HostName::parse("last.example.com").expect("a name");
    let address = "93.184.215.14".parse().expect("an address");
    let mut pins = NameTable::new(1024, 16);
    pins.pin(&name, address, Duration::from_secs(300), now);
    let hosts = HostAddresses::default();
    let mut group = criterion.benchmark_group("decide/last_rule");
    for count in [10, 10_000] {
        let mut targets: Vec<String> = (1..count).map(|index| format!("*.h{index}.example.org")).collect();
        targets.push("last.example.com".to_owned());
        let rules = targets.iter().map(|text| parse_target(text).expect("a target").into_rule(Action::Allow));
        let policy = Policy::new(rules.collect());
        group.bench_function(format!("{count}rules"), |bencher| {
            bencher.iter(|| {
                policy.decide(std::hint::black_box(&Query {
                    direction: Direction::Egress,
                    protocol: Protocol::Tcp,
                    address,
                    port: 443,
                    name: None,
                    pins: &pins,
                    hosts: &hosts,
                    now,
                    wall: UnixTime::default(),
                }))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
