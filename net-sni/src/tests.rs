//! The fuzz targets' corpora and random bytes, on stable.

use std::fs;
use std::path::Path;
use std::vec::Vec;

use proptest::prelude::*;

use crate::fuzzing::{self, Judge, Verdict};

#[path = "../fuzz/judge.rs"]
mod judge;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(corpus).expect("a corpus").collect();
    assert!(files.len() >= 5, "{target} has a small corpus: {}", files.len());
    for file in files {
        check(&fs::read(file.expect("a file").path()).expect("a readable file"));
    }
}

#[test]
fn the_corpus_of_sniff_holds() {
    replay("sniff", |bytes| fuzzing::sniff(bytes, judge::RUSTLS));
}

#[test]
fn the_corpus_of_sniffer_chunked_holds() {
    replay("sniffer_chunked", fuzzing::sniffer_chunked);
}

#[test]
fn the_corpus_of_classify_holds() {
    replay("classify", fuzzing::classify);
}

#[cfg(feature = "quic")]
#[test]
fn the_corpus_of_quic_initial_holds() {
    replay("quic_initial", fuzzing::quic_initial);
}

/// A hello that was really sent, with one byte changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let hellos = ["curl", "openssl", "rustls-fragments", "chromium"].map(|client| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls").join(client);
        fs::read(path.with_extension("bin")).expect("a capture")
    });
    (prop::sample::select(hellos.to_vec()), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::sniff(&bytes, judge::RUSTLS);
        fuzzing::sniffer_chunked(&bytes);
        fuzzing::classify(&bytes);
        #[cfg(feature = "quic")]
        fuzzing::quic_initial(&bytes);
    }

    #[test]
    fn a_damaged_hello_holds(bytes in damaged(), cut: u8) {
        fuzzing::sniff(&bytes, judge::RUSTLS);
        fuzzing::sniffer_chunked(&[&[cut], &bytes[..]].concat());
    }
}
