//! Parsing a host name from wire bytes: the check and the one allocation.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use net_core::HostName;

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse/host_name");
    for name in ["a.io", "api.region-1.service.example.com"] {
        group.throughput(Throughput::Bytes(name.len() as u64));
        group.bench_function(format!("{}B", name.len()), |bencher| {
            bencher.iter(|| HostName::from_ascii(std::hint::black_box(name.as_bytes())));
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
