#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| net_policy::fuzzing::written_policies_round_trip(text));
