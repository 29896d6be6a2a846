#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whippet_fuzz::part_merge::run(input));
