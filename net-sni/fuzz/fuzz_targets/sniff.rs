#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_sni::fuzzing::sniff_is_stable(bytes));
