#![no_main]

#[path = "../../proxy/tests/integration/fuzzed.rs"]
#[allow(dead_code, reason = "each target takes one of its functions")]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzed::response(bytes));
