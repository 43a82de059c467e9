//! From a prefix to the server_name, for hellos of real clients and for junk.
//!
//! Beside it: tls-parser reading the same record and its extensions, rustls' acceptor, and a scan
//! that looks for the name alone and checks nothing else, as small proxies carry one.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use net_sni::{MAX_HELLO_BYTES, ParseError, Sniffer, Status, sniff};
use rustls::server::Acceptor;
use tls_parser::{TlsExtension, TlsMessage, TlsMessageHandshake, parse_tls_client_hello_extensions};

const NAME_BYTES: usize = "www.example.com".len();

fn capture(client: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls").join(client);
    fs::read(path.with_extension("bin")).expect("a capture")
}

fn ours(bytes: &[u8]) -> Option<usize> {
    match sniff(bytes) {
        Ok(Status::Complete(hello)) => hello.server_name().ok().flatten().map(<[u8]>::len),
        _ => None,
    }
}

fn tls_parser(bytes: &[u8]) -> Option<usize> {
    let (_, record) = tls_parser::parse_tls_plaintext(bytes).ok()?;
    let [TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello))] = &record.msg[..] else {
        return None;
    };
    let (_, extensions) = parse_tls_client_hello_extensions(hello.ext?).ok()?;
    let name = |extension: &TlsExtension<'_>| {
        if let TlsExtension::SNI(names) = extension {
            names.first().map(|(_, name)| name.len())
        } else {
            None
        }
    };
    extensions.iter().find_map(name)
}

fn rustls(reads: &[&[u8]]) -> Option<usize> {
    let mut acceptor = Acceptor::default();
    for mut read in reads.iter().copied() {
        acceptor.read_tls(&mut read).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return accepted.client_hello().server_name().map(str::len);
        }
    }
    None
}

/// Skips to the extensions and takes the first server_name there.
fn scan(bytes: &[u8]) -> Option<usize> {
    let u16_at = |at: usize| Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    if bytes.first() != Some(&22) || bytes.get(5) != Some(&1) {
        return None;
    }
    let mut at = 43;
    at += 1 + usize::from(*bytes.get(at)?);
    at += 2 + u16_at(at)?;
    at += 1 + usize::from(*bytes.get(at)?);
    at += 2;
    loop {
        if u16_at(at)? == 0 {
            let length = u16_at(at + 7)?;
            return bytes.get(at + 9..at + 9 + length).map(<[u8]>::len);
        }
        at += 4 + u16_at(at + 2)?;
    }
}

fn client_hello(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sniff/client_hello");
    for client in ["curl", "chromium"] {
        let bytes = capture(client);
        let id = format!("{}B", bytes.len());
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        compare(&mut group, &id, &bytes, Some(NAME_BYTES));
    }
    group.finish();
}

/// A record that looks like a hello until its last extension points past the end.
fn junk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sniff/junk");
    let mut bytes = capture("curl");
    let last = bytes.len() - 1;
    // The length of the padding, which the last bytes are.
    let padding = bytes.windows(2).rposition(|pair| pair == [0, 21]).expect("a padded hello");
    bytes[padding + 2] = 0xff;
    bytes[last] = 0xff;
    assert!(matches!(sniff(&bytes), Err(ParseError::Malformed)));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let id = format!("{}B", bytes.len());
    group.bench_function(&id, |bencher| bencher.iter(|| ours(black_box(&bytes))));
    group.bench_function(format!("{id}/peer:tls-parser"), |bencher| {
        bencher.iter(|| tls_parser(black_box(&bytes)));
    });
    group.bench_function(format!("{id}/peer:rustls"), |bencher| {
        bencher.iter(|| rustls(&[black_box(&bytes[..])]))
    });
    group.finish();
}

fn compare(group: &mut BenchmarkGroup<'_, WallTime>, id: &str, bytes: &[u8], name: Option<usize>) {
    assert_eq!((ours(bytes), tls_parser(bytes)), (name, name));
    assert_eq!((rustls(&[bytes]), scan(bytes)), (name, name));
    group.bench_function(id, |bencher| bencher.iter(|| ours(black_box(bytes))));
    group.bench_function(format!("{id}/peer:tls-parser"), |bencher| {
        bencher.iter(|| tls_parser(black_box(bytes)))
    });
    group.bench_function(format!("{id}/peer:rustls"), |bencher| bencher.iter(|| rustls(&[black_box(bytes)])));
    group.bench_function(format!("{id}/peer:name_scan"), |bencher| bencher.iter(|| scan(black_box(bytes))));
}

/// The same hello in eight reads. A parser without state starts again with each of them.
fn eight_reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sniff/eight_reads");
    let bytes = capture("curl");
    let reads: Vec<&[u8]> = bytes.chunks(bytes.len().div_ceil(8)).collect();
    let ends: Vec<usize> = reads
        .iter()
        .scan(0, |end, read| {
            *end += read.len();
            Some(*end)
        })
        .collect();
    let again = |parse: fn(&[u8]) -> Option<usize>| {
        let prefixes: Vec<_> = ends.iter().map(|end| &bytes[..*end]).collect();
        move || prefixes.iter().find_map(|prefix| parse(black_box(prefix)))
    };
    let mut buffer = vec![0; MAX_HELLO_BYTES];
    let mut joined = || {
        let mut sniffer = Sniffer::new(&mut buffer[..]);
        reads.iter().find_map(|read| match sniffer.handle(black_box(read)) {
            Ok(Status::Complete(hello)) => hello.server_name().ok().flatten().map(<[u8]>::len),
            _ => None,
        })
    };
    assert_eq!((joined(), rustls(&reads)), (Some(NAME_BYTES), Some(NAME_BYTES)));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let id = format!("{}B", bytes.len());
    group.bench_function(&id, |bencher| bencher.iter(&mut joined));
    group.bench_function(format!("{id}/peer:sniff_again"), |bencher| bencher.iter(again(ours)));
    group.bench_function(format!("{id}/peer:tls-parser"), |bencher| bencher.iter(again(tls_parser)));
    group.bench_function(format!("{id}/peer:rustls"), |bencher| bencher.iter(|| rustls(black_box(&reads))));
    group.finish();
}

criterion_group!(benches, client_hello, eight_reads, junk);
criterion_main!(benches);
