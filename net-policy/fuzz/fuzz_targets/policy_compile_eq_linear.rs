#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_policy::fuzzing::compiled_policies_equal_linear_ones(bytes));
