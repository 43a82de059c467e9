//! Searching a body for placeholders that are not there: the cost of every uploaded byte.

mod sets;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BODY_BYTES: usize = 256 << 10;
/// About what hyper reads at once.
const CHUNK_BYTES: usize = 16 << 10;

fn detector(criterion: &mut Criterion) {
    let clean = sets::repeat(b"{\"key\": \"some value\", ", BODY_BYTES);
    let percent = sets::repeat(b"name=J%C3%B6rg+%26+S%C3%B6hne&text=%2Fa%2Fb%3Fc%3Dd&", BODY_BYTES);
    let json = sets::repeat(
        b"{\"text\": \"one line\\nand \\\"another\\\" one\", \"name\": \"J\\u00f6rg\"}, ",
        BODY_BYTES,
    );
    let bodies = [("detect/clean_body", clean), ("detect/percent_body", percent), ("detect/json_body", json)];
    for (id, body) in bodies {
        let mut group = criterion.benchmark_group(id);
        group.throughput(Throughput::Bytes(BODY_BYTES as u64));
        let sets = [1u8, 10, 100].map(|count| (format!("{count}secrets"), sets::secrets(count)));
        for (name, set) in sets.into_iter().chain([("10user_secrets".to_owned(), sets::user_secrets(10))]) {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let mut detector = set.detector();
                    let pieces = sets::chunks(std::hint::black_box(&body), CHUNK_BYTES);
                    pieces.map(|piece| detector.feed(piece).expect("a clean body").len()).sum::<usize>()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, detector);
criterion_main!(benches);
