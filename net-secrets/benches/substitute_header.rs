//! One header value on its way to a host that has secrets: the cost of every header of a request.

mod sets;

use criterion::{Criterion, criterion_group, criterion_main};
use net_secrets::Destination;

fn substitute_header(criterion: &mut Criterion) {
    let host = sets::HOST.parse().expect("a name");
    let to = Destination { host: Some(&host), port: 443, is_verified: true };
    let mut group = criterion.benchmark_group("substitute_header");
    for count in [1u8, 10] {
        let set = sets::secrets(count);
        let placeholder = set.environment().next().expect("a secret").1.to_owned();
        for (case, value) in [
            ("clean", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned()),
            ("bearer", format!("Bearer {placeholder}")),
        ] {
            group.bench_function(format!("{case}/{count}secrets"), |bencher| {
                bencher.iter(|| {
                    let value = std::hint::black_box(value.as_bytes());
                    set.substitute_header(&to, "x-header", value).expect("a value that may go").is_some()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, substitute_header);
criterion_main!(benches);
