#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cardea::proxy::fuzz::head(bytes));
