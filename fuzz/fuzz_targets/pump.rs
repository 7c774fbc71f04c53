#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| esf_fuzz::run("pump", data));
