//! A JSON body on its way to a host whose secrets may stand in it: without any, and with one every 4
//! KiB; beside a replacement of one placeholder after the other, which finds none that is encoded or cut.

mod sets;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use memchr::memmem;
use net_secrets::SecretSet;

const BODY_BYTES: usize = 1 << 20;
/// About what hyper reads at once.
const CHUNK_BYTES: usize = 16 << 10;

fn rewrite_body(criterion: &mut Criterion) {
    let host = sets::HOST.parse().expect("a name");
    let to = sets::destination(&host);
    let clean = sets::repeat(b"{\"key\": \"some value\", ", BODY_BYTES);
    let escapes = sets::repeat(b"{\"name\": \"an entry\", \"text\": \"It goes on.\\n\"},", BODY_BYTES);
    let generated = [1u8, 10, 100].map(|count| (format!("{count}secrets"), sets::secrets(count)));
    for (name, set) in generated.into_iter().chain([("10user_secrets".to_owned(), sets::user_secrets(10))]) {
        let cases = [
            ("no_hit", clean.clone()),
            ("no_hit_with_escapes", escapes.clone()),
            ("hit_every_4KiB", with_hits(&set, &clean)),
        ];
        for (case, body) in cases {
            let mut group = criterion.benchmark_group(format!("rewrite_body/{case}/{name}"));
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function("streamed", |bencher| {
                bencher.iter(|| {
                    let mut rewriter = set.body_rewriter(&to, Some(b"application/json"));
                    let pieces = sets::chunks(std::hint::black_box(&body), CHUNK_BYTES);
                    pieces.map(|piece| rewriter.feed(piece).expect("a bound body").len()).sum::<usize>()
                });
            });
            group.bench_function("streamed/peer:naive", |bencher| {
                bencher.iter(|| {
                    let pieces = sets::chunks(std::hint::black_box(&body), CHUNK_BYTES);
                    pieces.map(|piece| naive(&set, &piece).len()).sum::<usize>()
                });
            });
            group.finish();
        }
    }
}

/// The body with a placeholder every 4 KiB.
fn with_hits(set: &SecretSet, body: &Bytes) -> Bytes {
    let placeholders: Vec<&str> = set.environment().map(|(_, placeholder)| placeholder).collect();
    let parts = body.chunks(4 << 10).zip(placeholders.iter().cycle());
    parts.flat_map(|(part, placeholder)| [part, placeholder.as_bytes()].concat()).collect()
}

/// One secret after the other, each over all that came.
fn naive(set: &SecretSet, text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (index, (_, placeholder)) in (0u8..).zip(set.environment()) {
        let value = sets::value(index);
        let (mut replaced, mut done) = (Vec::with_capacity(text.len()), 0);
        for at in memmem::find_iter(&text, placeholder) {
            replaced.extend_from_slice(&text[done..at]);
            replaced.extend_from_slice(&value);
            done = at + placeholder.len();
        }
        replaced.extend_from_slice(&text[done..]);
        text = replaced;
    }
    text
}

criterion_group!(benches, rewrite_body);
criterion_main!(benches);
