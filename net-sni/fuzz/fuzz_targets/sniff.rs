#![no_main]

use net_sni::fuzzing::{Judge, Verdict};

#[path = "../judge.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_sni::fuzzing::sniff(bytes, judge::RUSTLS));
