#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whippet::doors_fuzz::api(input));
