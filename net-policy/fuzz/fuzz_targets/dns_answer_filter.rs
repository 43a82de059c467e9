#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_policy::fuzzing::answer_stays_within_the_policy(bytes));
