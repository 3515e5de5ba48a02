//! See `rtmp::fuzzing::flv`, which the tests run as well.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rtmp::fuzzing::flv(data));
