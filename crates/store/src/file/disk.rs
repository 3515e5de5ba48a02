//! The blocking half of the embedded store: one function an operation, each whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use super::layout;
use crate::{Key, Payload};

/// Writes `payload` beside `target` under a temporary name; its modification time is its expiry.
///
/// Nothing is synced: after a power cut the newest seconds may be missing, which a live stream has forgotten by then.
/// A rename after the write still orders the two on the journalling file systems in use, and the scan at start judges
/// files by name and date only, so that `kill -9` (which loses no page of the cache) is always survived whole.
pub(super) fn write(target: &Path, n: u64, payload: &Payload, expires: SystemTime) -> io::Result<PathBuf> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let temporary = layout::temporary(folder, n);
    let mut file = create(folder, &temporary)?;
    let written = write_all(&mut file, payload).and_then(|()| file.set_modified(expires));
    match written {
        Ok(()) => Ok(temporary),
        Err(error) => {
            drop(file);
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// The folder may vanish between its making and its use, when the janitor removes it empty: hence the few attempts.
fn create(folder: &Path, temporary: &Path) -> io::Result<File> {
    let mut attempts = 0;
    loop {
        match OpenOptions::new().write(true).create_new(true).open(temporary) {
            Err(error) if error.kind() == ErrorKind::NotFound && attempts < 5 => {
                attempts += 1;
                fs::create_dir_all(folder)?;
            }
            opened => return opened,
        }
    }
}

/// The kernel gathers the rope: no copy in this process.
fn write_all(file: &mut File, payload: &Payload) -> io::Result<()> {
    let mut slices = payload.io_slices();
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A file as it was opened: an overwrite meanwhile does not touch it.
pub(super) struct Reading {
    pub(super) bytes: Bytes,
    pub(super) size: u64,
}

/// Reads the file, or `range` of it clamped to its size; an empty result for a range beyond the end.
pub(super) fn read(path: &Path, range: Option<Range<u64>>) -> io::Result<Reading> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let range = range.map_or(0..size, |range| range.start.min(size)..range.end.min(size));
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| ErrorKind::FileTooLarge)?;
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start))?;
    }
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Reading { bytes: bytes.into(), size })
}

/// Removes the file and, if it was the last, its folders up to `root`.
pub(super) fn remove(root: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut folder = path.parent();
    while let Some(empty) = folder.filter(|folder| *folder != root && folder.starts_with(root)) {
        if fs::remove_dir(empty).is_err() {
            break;
        }
        folder = empty.parent();
    }
    Ok(())
}

/// An object that a scan found.
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) size: u64,
    pub(super) expires: SystemTime,
    pub(super) stored: Option<SystemTime>,
}

/// Takes up what an earlier process left: removes half-written and expired files, gives the rest, oldest first.
/// Files that are no objects of ours are left alone.
pub(super) fn scan(root: &Path, now: SystemTime) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && depth < 2 {
                folders.push((path, depth + 1));
            } else if kind.is_file() {
                found.extend(judge(root, &path, now)?);
            }
        }
        if depth > 0 {
            // Only an empty folder can be removed.
            let _ = fs::remove_dir(&folder);
        }
    }
    found.sort_by_key(|object| object.stored.unwrap_or(object.expires));
    Ok(found)
}

fn judge(root: &Path, path: &Path, now: SystemTime) -> io::Result<Option<Found>> {
    if layout::is_temporary(path) {
        fs::remove_file(path)?;
        return Ok(None);
    }
    let Some(key) = layout::key_of(root, path) else { return Ok(None) };
    let metadata = fs::symlink_metadata(path)?;
    let expires = metadata.modified()?;
    if expires <= now {
        fs::remove_file(path)?;
        return Ok(None);
    }
    Ok(Some(Found { key, size: metadata.len(), expires, stored: metadata.created().ok() }))
}

/// Writes and removes a file, as a put would.
pub(super) fn probe(root: &Path, n: u64) -> io::Result<()> {
    let temporary = write(&root.join("probe"), n, &Payload::from("probe"), SystemTime::now())?;
    fs::remove_file(temporary)
}
