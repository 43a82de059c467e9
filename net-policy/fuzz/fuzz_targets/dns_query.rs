#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_policy::fuzzing::query_is_answered(bytes));
