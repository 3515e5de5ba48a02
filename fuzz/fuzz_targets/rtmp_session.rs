//! See `rtmp::fuzzing::session`, which the tests run as well.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rtmp::fuzzing::session(data));
