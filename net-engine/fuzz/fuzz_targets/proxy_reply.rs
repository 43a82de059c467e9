#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    net_engine::fuzzing::proxy_replies_are_read_in_any_pieces(bytes);
});
