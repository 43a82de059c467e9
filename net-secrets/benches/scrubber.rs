//! Searching a response for values that are not there, and getting ready to: the cost of every
//! downloaded byte, and of every request, of a host that has secrets.

mod sets;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BODY_BYTES: usize = 256 << 10;
/// About what hyper reads at once.
const CHUNK_BYTES: usize = 16 << 10;

fn scrubber(criterion: &mut Criterion) {
    let body = sets::repeat(b"{\"key\": \"some value\", ", BODY_BYTES);
    let host = sets::HOST.parse().expect("a name");
    let from = sets::destination(&host);
    let mut group = criterion.benchmark_group("scrub/clean_body");
    group.throughput(Throughput::Bytes(BODY_BYTES as u64));
    for count in [1u8, 10, 100] {
        let set = sets::secrets(count);
        let mut scrubber = set.scrubber(&from).expect("a scrubber");
        group.bench_function(format!("{count}secrets"), |bencher| {
            bencher.iter(|| {
                let pieces = sets::chunks(std::hint::black_box(&body), CHUNK_BYTES);
                pieces.map(|piece| scrubber.feed(piece).len()).sum::<usize>()
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("scrub/scrubber");
    for count in [1u8, 10] {
        let set = sets::secrets(count);
        group.bench_function(format!("{count}secrets"), |bencher| {
            bencher.iter(|| set.scrubber(std::hint::black_box(&from)).is_some());
        });
    }
    group.finish();
}

criterion_group!(benches, scrubber);
criterion_main!(benches);
