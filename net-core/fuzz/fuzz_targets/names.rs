#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_core::fuzzing::names_round_trip(bytes));
