//! From the first datagram of a flow to the server_name: deriving keys, opening one Initial packet
//! of 1200 bytes, and reading the hello in it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use net_sni::{QUIC_BUFFER_BYTES, QuicSniffer, Status};

/// The client's Initial packet of RFC 9001, appendix A.2, and of RFC 9369, appendix A.2.
const PACKETS: [(&str, &[u8]); 2] = [
    ("v1", include_bytes!("../testdata/rfc/rfc9001-a2.bin")),
    ("v2", include_bytes!("../testdata/rfc/rfc9369-a2.bin")),
];

fn quic_initial(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quic_initial");
    for (version, datagram) in PACKETS {
        let mut buffer = vec![0; QUIC_BUFFER_BYTES];
        let mut name = || {
            let mut sniffer = QuicSniffer::new(&mut buffer[..]);
            match sniffer.handle(black_box(datagram)) {
                Ok(Status::Complete(hello)) => hello.server_name().ok().flatten().map(<[u8]>::len),
                _ => None,
            }
        };
        assert_eq!(name(), Some("example.com".len()));
        group.throughput(Throughput::Bytes(datagram.len() as u64));
        group.bench_function(format!("{version}/{}B", datagram.len()), |bencher| bencher.iter(&mut name));
    }
    group.finish();
}

criterion_group!(benches, quic_initial);
criterion_main!(benches);
