#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = net_engine::fuzzing::requests_stay_themselves(bytes);
});
