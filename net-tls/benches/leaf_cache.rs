//! Finding the leaf, and the configuration, of a name that was asked for before.
#![allow(clippy::disallowed_methods, reason = "certificates are minted now")]

use std::hint::black_box;
use std::time::SystemTime;

use criterion::{Criterion, criterion_group, criterion_main};
use net_tls::{Alpn, Authority, AuthorityParams, LeafCache, LeafSubject, system_clock};

const NAMES: usize = 1_000;

fn leaf_cache(criterion: &mut Criterion) {
    let now = SystemTime::now();
    let authority = Authority::generate(&AuthorityParams::default(), now).expect("an authority");
    let subject = |index: usize| LeafSubject::Name(format!("h{index}.example.com").parse().expect("a name"));
    let cache = LeafCache::new(authority, NAMES);
    for index in 0..NAMES {
        cache.get_or_mint(&subject(index), now).expect("a leaf");
    }
    let known = subject(NAMES / 2);
    let clock = system_clock();
    let mut group = criterion.benchmark_group("leaf_cache");
    group.bench_function(format!("known/{NAMES}"), |bencher| {
        bencher.iter(|| cache.get_or_mint(black_box(&known), now).expect("a leaf"))
    });
    group.bench_function(format!("config/{NAMES}"), |bencher| {
        bencher
            .iter(|| cache.get_or_mint_config(black_box(&known), Alpn::Http2, &clock, now).expect("a leaf"))
    });
    group.finish();
}

criterion_group!(benches, leaf_cache);
criterion_main!(benches);
