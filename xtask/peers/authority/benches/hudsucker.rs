//! hudsucker's authority, asked as its proxy asks: a configuration for a name that was never asked for, and
//! for one that was.
//!
//! Its leaves have the authority's own key, so none is made for them. The ids are those of net-tls's
//! benches that do the same.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::uri::Authority;
use hudsucker::certificate_authority::{CertificateAuthority, RcgenAuthority};
use hudsucker::rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use hudsucker::rustls::ServerConfig;
use hudsucker::rustls::crypto::aws_lc_rs;

const NAMES: usize = 1_000;

fn hudsucker(criterion: &mut Criterion) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(params, KeyPair::generate().expect("a key"));
    let theirs = RcgenAuthority::new(issuer, NAMES as u64, aws_lc_rs::default_provider());
    let name = |index: usize| -> Authority { format!("h{index}.example.com").parse().expect("a name") };
    for index in 0..NAMES {
        config(&theirs, &name(index));
    }

    let known = name(NAMES / 2);
    let mut group = criterion.benchmark_group("leaf_cache");
    group.bench_function(format!("config/{NAMES}/peer:hudsucker"), |bencher| {
        bencher.iter(|| config(&theirs, black_box(&known)))
    });
    group.finish();

    let mut next = NAMES;
    let mut group = criterion.benchmark_group("mint/leaf");
    group.bench_function("ready/peer:hudsucker", |bencher| {
        let setup = || {
            next += 1;
            name(next)
        };
        bencher.iter_batched(setup, |name| config(&theirs, &name), BatchSize::SmallInput)
    });
    group.finish();
}

/// Nothing in it waits for anybody else, so it is polled without a runtime.
fn config(authority: &RcgenAuthority, name: &Authority) -> Arc<ServerConfig> {
    let mut config = pin!(authority.gen_server_config(name));
    loop {
        if let Poll::Ready(config) = config.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return config;
        }
    }
}

criterion_group!(benches, hudsucker);
criterion_main!(benches);
