#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = net_engine::fuzzing::a_gateway_does_what_a_model_says(bytes);
});
