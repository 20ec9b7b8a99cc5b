#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cardea::protocol::saml::fuzz::gated(bytes));
