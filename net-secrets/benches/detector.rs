//! Searching a body for placeholders that are not there: the cost of every uploaded byte.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use net_secrets::{Binding, Placeholder, SecretSet, SecretValue};

const BODY_BYTES: usize = 256 << 10;

fn detector(criterion: &mut Criterion) {
    let body: Vec<u8> = (0..BODY_BYTES).map(|index| b"{\"key\": \"some value\", "[index % 22]).collect();
    let mut group = criterion.benchmark_group("detect/clean_body");
    group.throughput(Throughput::Bytes(BODY_BYTES as u64));
    for count in [1u8, 10, 120] {
        let bindings = (0..count).map(|index| Binding {
            env: format!("TOKEN_{index}"),
            placeholder: Placeholder::generate([index; 16]),
            value: SecretValue::new(vec![b'v'; 40]),
            hosts: vec!["api.example.com".parse().expect("a pattern")],
        });
        let set = SecretSet::compile(bindings.collect()).expect("a set");
        group.bench_function(format!("{count}secrets"), |bencher| {
            bencher.iter(|| set.detector().feed(std::hint::black_box(&body)).expect("a clean body").len());
        });
    }
    group.finish();
}

criterion_group!(benches, detector);
criterion_main!(benches);
