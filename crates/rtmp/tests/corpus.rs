//! The corpus of the fuzz targets runs with the tests, on the stable compiler.
#![allow(clippy::unwrap_used)]

use std::path::Path;

fn each(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        run(&bytes);
        // Cut anywhere, it is no worse.
        for end in (0..bytes.len()).step_by(7) {
            run(&bytes[..end]);
        }
        count += 1;
    }
    assert!(count > 0, "no corpus in {}", folder.display());
}

#[test]
fn sessions() {
    each("rtmp_session", rtmp::fuzzing::session);
}

#[test]
fn flv_files() {
    each("flv", rtmp::fuzzing::flv);
}
