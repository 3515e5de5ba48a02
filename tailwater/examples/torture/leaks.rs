//! What a process holds, as `/proc` tells it.

use std::collections::BTreeSet;
use std::fs;

/// Memory, open files and children of a process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holdings {
    /// Resident, in MiB.
    pub memory: f64,
    pub files: usize,
    pub children: usize,
    pub zombies: usize,
}

impl Holdings {
    /// None when the process is gone.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        let children = children(pid);
        let zombies = children.iter().filter(|child| is_zombie(**child)).count();
        Some(Self { memory: kib / 1024.0, files, children: children.len(), zombies })
    }
}

/// The processes whose parent is `pid`.
pub fn children(pid: u32) -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok() && !is_zombie(pid)
}

fn is_zombie(pid: u32) -> bool {
    field(pid, 0).is_some_and(|state| state == "Z")
}

fn parent(pid: u32) -> Option<u32> {
    field(pid, 1)?.parse().ok()
}

/// The fields of `stat` after the name, which may hold anything.
fn field(pid: u32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(index).map(str::to_owned)
}
