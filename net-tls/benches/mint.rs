//! Minting a leaf for a name that was never asked for: a key pair, a certificate, a signature.
//!
//! Beside it: rcgen as its own examples use it, with a key pair and a certificate for each name.
//! `ready` is the same with the key as rustls wants it.
#![allow(clippy::disallowed_methods, reason = "certificates are minted now")]

use std::hint::black_box;
use std::time::SystemTime;

use criterion::{Criterion, criterion_group, criterion_main};
use net_tls::{Authority, AuthorityParams, LeafSubject};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

const NAME: &str = "www.example.com";

fn mint(criterion: &mut Criterion) {
    let now = SystemTime::now();
    let authority = Authority::generate(&AuthorityParams::default(), now).expect("an authority");
    let subject = LeafSubject::Name(NAME.parse().expect("a name"));
    let mut group = criterion.benchmark_group("mint/leaf");
    group.bench_function("new", |bencher| {
        bencher.iter(|| authority.mint(black_box(&subject), now).expect("a leaf").not_after)
    });
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(params, KeyPair::generate().expect("a key"));
    group.bench_function("new/peer:rcgen", |bencher| {
        bencher.iter(|| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![black_box(NAME).to_owned()]).expect("a name");
            params.signed_by(&key, &issuer).expect("a leaf").der().len()
        })
    });
    group.bench_function("ready", |bencher| {
        bencher.iter(|| {
            let leaf = authority.mint(black_box(&subject), now).expect("a leaf");
            leaf.certified_key().expect("a key").cert.len()
        })
    });
    group.finish();
}

criterion_group!(benches, mint);
criterion_main!(benches);
