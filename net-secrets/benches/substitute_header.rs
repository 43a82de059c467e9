//! Headers on their way to a host that has secrets: one value, and the block of a browser's request.

mod sets;

use criterion::{Criterion, criterion_group, criterion_main};

/// What a browser sends, and one header with a token in it.
const BLOCK: [(&str, &str); 20] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("authorization", "Bearer PLACEHOLDER"),
    ("cache-control", "no-cache"),
    ("content-length", "1024"),
    ("content-type", "application/json"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("dnt", "1"),
    ("origin", "https://api.example.com"),
    ("pragma", "no-cache"),
    ("priority", "u=0, i"),
    ("referer", "https://api.example.com/v1/items?page=2"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("te", "trailers"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("x-request-id", "7b1e2a52-6d6f-4c7e-9d7e-0f6f0f0b9c1d"),
];

fn substitute_header(criterion: &mut Criterion) {
    let host = sets::HOST.parse().expect("a name");
    let to = sets::destination(&host);
    let mut group = criterion.benchmark_group("substitute_header");
    for (name, set) in [
        ("1secrets", sets::secrets(1)),
        ("10secrets", sets::secrets(10)),
        ("100secrets", sets::secrets(100)),
        ("10user_secrets", sets::user_secrets(10)),
    ] {
        let placeholder = set.environment().next().expect("a secret").1.to_owned();
        for (case, value) in [("clean", BLOCK[18].1.to_owned()), ("bearer", format!("Bearer {placeholder}"))]
        {
            group.bench_function(format!("{case}/{name}"), |bencher| {
                bencher.iter(|| {
                    let value = std::hint::black_box(value.as_bytes());
                    set.substitute_header(&to, "x-header", value).expect("a value that may go").is_some()
                });
            });
        }
        for (case, token) in [("block_clean", "0123456789abcdef"), ("block_token", placeholder.as_str())] {
            let block = BLOCK.map(|(name, value)| (name, value.replace("PLACEHOLDER", token)));
            group.bench_function(format!("{case}/20headers/{name}"), |bencher| {
                bencher.iter(|| {
                    let block = std::hint::black_box(&block).iter();
                    let replaced = block.filter(|(name, value)| {
                        let replaced = set.substitute_header(&to, name, value.as_bytes());
                        replaced.expect("a value that may go").is_some()
                    });
                    replaced.count()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, substitute_header);
criterion_main!(benches);
