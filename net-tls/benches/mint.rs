//! Minting a leaf, and finding one in the cache: the cost of a new name and of a known one.
#![allow(clippy::disallowed_methods, reason = "certificates are minted now")]

use std::time::SystemTime;

use criterion::{Criterion, criterion_group, criterion_main};
use net_tls::{Authority, AuthorityParams, LeafCache, LeafSubject};

fn mint(criterion: &mut Criterion) {
    let now = SystemTime::now();
    let authority = Authority::generate(&AuthorityParams::default(), now).expect("an authority");
    let subject = LeafSubject::Name("www.example.com".parse().expect("a name"));
    let mut group = criterion.benchmark_group("mint/leaf");
    group.bench_function("new", |bencher| {
        bencher.iter(|| authority.mint(&subject, now).expect("a leaf").not_after)
    });
    let mut cache = LeafCache::new(10);
    group.bench_function("known", |bencher| {
        bencher.iter(|| cache.get_or_mint(&authority, &subject, now).expect("a leaf").cert.len());
    });
    group.finish();
}

criterion_group!(benches, mint);
criterion_main!(benches);
