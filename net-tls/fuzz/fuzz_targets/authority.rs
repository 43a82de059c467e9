#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| net_tls::fuzzing::authorities_sign(text));
