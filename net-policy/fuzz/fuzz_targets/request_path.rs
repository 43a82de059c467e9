#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| net_policy::fuzzing::paths_have_one_form(text));
