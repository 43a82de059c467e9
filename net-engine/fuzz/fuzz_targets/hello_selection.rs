#![no_main]

libfuzzer_sys::fuzz_target!(|flight: &[u8]| {
    net_engine::fuzzing::hellos_select_what_was_chosen(flight);
});
