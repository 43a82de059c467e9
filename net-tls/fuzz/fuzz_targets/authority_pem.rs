#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_tls::fuzzing::authorities_sign(&String::from_utf8_lossy(
    bytes
)));
