//! See `hls::fuzzing::slice_ts`, which the tests run as well.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hls::fuzzing::slice_ts(data));
