//! Where a key lies on disk, and which key a file is.
//!
//! `<data>/<stream>/<rendition>/<key>`; keys without a rendition in `<data>/<stream>/<key>`; keys without a stream in
//! `<data>/_/<key>` (no stream is named `_`: streams have no underscore). Names that begin with a dot are never
//! objects: the lock and half-written files are such.

use std::path::{Path, PathBuf};

use crate::Key;

/// Longest file name that ext4, XFS, APFS and NTFS take, in bytes.
pub(super) const MAX_NAME: usize = 255;

const NO_STREAM: &str = "_";
const TEMPORARY: &str = ".tmp";

/// The folder of a key, relative to the data folder.
fn folder(key: &Key) -> PathBuf {
    let text = key.as_str();
    match text.split_once('_') {
        None | Some(("", _)) => PathBuf::from(NO_STREAM),
        // A rendition may not begin with a dot: `a_.._b` stays in the folder of its stream.
        Some((stream, _)) => match key.rendition().filter(|rendition| !rendition.starts_with('.')) {
            Some(rendition) => Path::new(stream).join(rendition),
            None => PathBuf::from(stream),
        },
    }
}

/// The file of a key, or `None` if its name is longer than file systems take.
pub(super) fn path(root: &Path, key: &Key) -> Option<PathBuf> {
    (key.as_str().len() <= MAX_NAME).then(|| root.join(folder(key)).join(key.as_str()))
}

/// The key of a file, if the file is where that key belongs. Anything else in the folder is somebody else's.
pub(super) fn key_of(root: &Path, file: &Path) -> Option<Key> {
    let key = Key::parse(file.file_name()?.to_str()?).ok()?;
    (path(root, &key)? == file).then_some(key)
}

/// The name under which the `n`th object is written, in the folder where it will lie, so that renaming is atomic.
pub(super) fn temporary(folder: &Path, n: u64) -> PathBuf {
    folder.join(format!(".{n:x}{TEMPORARY}"))
}

/// Whether a file is one that was being written.
pub(super) fn is_temporary(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_prefix('.')?.strip_suffix(TEMPORARY))
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(text: &str) -> String {
        let key = Key::parse(text).unwrap();
        path(Path::new("data"), &key).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn each_rendition_has_its_folder() {
        assert_eq!(place("s_1080p_segment000.ts"), "data/s/1080p/s_1080p_segment000.ts");
        assert_eq!(place("s_1080p_playlist.m3u8"), "data/s/1080p/s_1080p_playlist.m3u8");
        assert_eq!(place("s_playlist.m3u8"), "data/s/s_playlist.m3u8");
        assert_eq!(place("s_sequence"), "data/s/s_sequence");
    }

    #[test]
    fn odd_keys_stay_inside_and_collide_with_no_folder() {
        assert_eq!(place("a_.._b"), "data/a/a_.._b");
        assert_eq!(place("abc"), "data/_/abc");
        assert_eq!(place("_abc_d"), "data/_/_abc_d");
        assert_eq!(place("abc_abc_x"), "data/abc/abc/abc_abc_x");
        assert_eq!(path(Path::new("data"), &Key::parse("x".repeat(256)).unwrap()), None);
    }

    proptest! {
        #[test]
        fn every_key_is_found_again_below_the_root(text in "[A-Za-z0-9._-]{1,60}") {
            let root = Path::new("/data");
            if let Ok(key) = Key::parse(&text) {
                let path = path(root, &key).unwrap();
                prop_assert!(path.components().all(|c| !matches!(c, std::path::Component::ParentDir)));
                prop_assert!(path.starts_with(root));
                prop_assert!(!is_temporary(&path));
                prop_assert_eq!(key_of(root, &path), Some(key));
            }
        }
    }
}
