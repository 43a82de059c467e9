//! The reference's handler, given what a guest sends to a host whose secrets may stand in bodies: the head of a
//! request and its body in chunks, since of stated length it takes no large ones.
//!
//! The ids are those of net-secrets's bench of the same body, which is given the content alone: the framing is
//! somebody else's part there, and less than a thousandth of the bytes.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use microsandbox_network::secrets::config::SecretsConfig;
use microsandbox_network::secrets::handler::SecretsHandler;
use serde_json::json;

const HOST: &str = "api.example.com";
const BODY_BYTES: usize = 1 << 20;
const CHUNK_BYTES: usize = 16 << 10;
const TEXT: &[u8] = b"{\"key\": \"some value\", ";
const TEXT_WITH_ESCAPES: &[u8] = b"{\"name\": \"an entry\", \"text\": \"It goes on.\\n\"},";

fn reference(criterion: &mut Criterion) {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for count in [1, 10] {
        let secrets = secrets(count);
        let clean = repeat(TEXT);
        let cases = [
            ("no_hit", clean.clone()),
            ("no_hit_with_escapes", repeat(TEXT_WITH_ESCAPES)),
            ("hit_every_4KiB", with_hits(count, &clean)),
        ];
        for (case, body) in cases {
            let chunks: Vec<Vec<u8>> = body.chunks(CHUNK_BYTES).map(chunk).collect();
            let mut group = criterion.benchmark_group(format!("rewrite_body/{case}/{count}secrets"));
            group.throughput(Throughput::Bytes(body.len() as u64)).sample_size(10);
            group.bench_function("streamed/peer:reference", |bencher| {
                bencher.iter(|| {
                    let mut handler = SecretsHandler::new(&secrets, HOST, true);
                    let mut send = |bytes: &[u8]| handler.substitute(bytes).expect("a bound body").len();
                    send(head.as_bytes()) + chunks.iter().map(|chunk| send(chunk)).sum::<usize>()
                });
            });
            group.finish();
            check(&secrets, &head, &chunks, case == "hit_every_4KiB");
        }
    }
}

/// What is measured does what it is measured for.
fn check(secrets: &SecretsConfig, head: &str, chunks: &[Vec<u8>], has_hits: bool) {
    let mut handler = SecretsHandler::new(secrets, HOST, true);
    let mut sent = handler.substitute(head.as_bytes()).expect("a head").into_owned();
    for chunk in chunks {
        sent.extend_from_slice(&handler.substitute(chunk).expect("a bound body"));
    }
    let has = |text: &str| sent.windows(text.len()).any(|window| window == text.as_bytes());
    assert_eq!(has(&value(0)), has_hits, "values are put in where placeholders stand");
    assert!(!has(&placeholder(0)));
}

fn secrets(count: usize) -> SecretsConfig {
    let secrets: Vec<_> = (0..count)
        .map(|number| {
            json!({
                "env_var": format!("TOKEN_{number}"),
                "value": value(number),
                "placeholder": placeholder(number),
                "allowed_hosts": [{ "exact": HOST }],
                "substitution": { "body": true },
            })
        })
        .collect();
    serde_json::from_value(json!({ "secrets": secrets })).expect("secrets")
}

/// As long as ours.
fn placeholder(number: usize) -> String {
    format!("placeholder_{number:03}_of_the_real_value_of_tokens")
}

fn value(number: usize) -> String {
    format!("the-real-value-{number:03}-of-a-token-in-letters")
}

fn repeat(text: &[u8]) -> Vec<u8> {
    text.iter().copied().cycle().take(BODY_BYTES).collect()
}

/// A placeholder every 4 KiB.
fn with_hits(count: usize, body: &[u8]) -> Vec<u8> {
    let parts = body.chunks(4 << 10).zip((0..count).cycle());
    parts.flat_map(|(part, number)| [part, placeholder(number).as_bytes()].concat()).collect()
}

fn chunk(content: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

criterion_group!(benches, reference);
criterion_main!(benches);
