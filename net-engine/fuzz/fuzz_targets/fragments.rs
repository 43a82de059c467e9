#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_engine::fuzzing::fragments_agree_with_a_model(bytes));
