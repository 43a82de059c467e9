#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    net_engine::fuzzing::dhcp_replies_are_sound(bytes);
});
