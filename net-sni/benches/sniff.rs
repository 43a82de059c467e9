//! From a prefix to the server_name, beside rustls' own acceptor on the same bytes.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use net_sni::{Status, sniff};
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

fn hello() -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("www.example.com").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

fn client_hello(criterion: &mut Criterion) {
    let bytes = hello();
    let mut group = criterion.benchmark_group("sniff/client_hello");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(format!("{}B", bytes.len()), |bencher| {
        bencher.iter(|| match sniff(std::hint::black_box(&bytes)) {
            Ok(Status::Complete(hello)) => hello.server_name().ok().flatten().map(<[u8]>::len),
            other => panic!("{other:?}"),
        });
    });
    group.bench_function(format!("{}B/peer:rustls", bytes.len()), |bencher| {
        bencher.iter(|| {
            let mut acceptor = Acceptor::default();
            acceptor.read_tls(&mut std::hint::black_box(&bytes[..])).expect("bytes");
            let accepted = acceptor.accept().expect("a hello").expect("a whole hello");
            accepted.client_hello().server_name().map(str::len)
        });
    });
    group.finish();
}

criterion_group!(benches, client_hello);
criterion_main!(benches);
