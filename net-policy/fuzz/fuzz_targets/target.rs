#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| net_policy::fuzzing::targets_round_trip(text));
