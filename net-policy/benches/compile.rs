//! From rules to an index: what a policy costs before its first decision.
//!
//! Beside it: a tree of the prefixes alone, and a set of regular expressions of the names alone.

mod common;

use std::hint::black_box;

use common::{MOST_FOR_REGEX, SIZES, expressions, rules, target};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ipnet::IpNet;
use ipnet_trie::IpnetTrie;
use net_policy::Policy;

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for count in SIZES {
        let rules = rules(count);
        group.bench_function(format!("{count}"), |bencher| {
            bencher.iter_batched(|| rules.clone(), Policy::new, BatchSize::LargeInput);
        });
        let prefixes: Vec<IpNet> =
            (1..count).step_by(2).map(|index| target(index).parse().expect("a prefix")).collect();
        group.bench_function(format!("{count}/peer:ipnet-trie"), |bencher| {
            bencher.iter(|| {
                let mut trie = IpnetTrie::new();
                for prefix in black_box(&prefixes) {
                    trie.insert(*prefix, ());
                }
                trie
            });
        });
        if count <= MOST_FOR_REGEX {
            group.bench_function(format!("{count}/peer:regex"), |bencher| {
                bencher.iter(|| expressions(black_box(count)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, compile);
criterion_main!(benches);
