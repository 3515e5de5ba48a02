//! Gathers the pages of `web/` and hls.js, as the lock file names it, for [`tailwater::web`] to embed.
//!
//! Every file is kept plain and gzipped. All of them share one version, a hash of everything, that is part of their
//! address: a browser may keep them for ever, and never mixes the files of two builds.
#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Pages have an address of their own, and name the version.
const PAGES: [&str; 2] = ["watch.html", "dashboard.html"];
/// Files and folders of `web/` that the pages load.
const ASSETS: [&str; 6] = ["theme.css", "player.css", "dashboard.css", "icon.svg", "player", "dashboard"];
/// Of hls.js: the library, the worker that it moves transmuxing to, and its licence (Apache-2.0), which travels along.
const HLS_JS: [(&str, &str); 3] = [
    ("dist/hls.min.mjs", "hls/hls.min.mjs"),
    ("dist/hls.worker.js", "hls/hls.worker.js"),
    ("LICENSE", "hls/LICENSE.txt"),
];

fn main() {
    if let Err(problem) = gather() {
        // One sentence, without a panic's noise around it.
        println!("cargo::error={problem}");
    }
}

fn gather() -> Result<(), String> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let web = manifest.parent().ok_or("the crate is not in the workspace")?.join("web");
    let hls_js = web.join("node_modules").join("hls.js");
    for watched in PAGES.iter().chain(&ASSETS).chain(&["package-lock.json", "node_modules/hls.js/package.json"]) {
        println!("cargo::rerun-if-changed={}", web.join(watched).display());
    }
    if !hls_js.join("dist/hls.min.mjs").exists() {
        install(&web)?;
    }

    let mut files = Vec::new();
    for asset in ASSETS {
        collect(&web, asset, &mut files)?;
    }
    for (from, name) in HLS_JS {
        let bytes = read(&hls_js.join(from))?;
        files.push((name.to_owned(), without_source_map(bytes)));
    }
    files.sort();
    let mut pages = Vec::new();
    for page in PAGES {
        pages.push((page.to_owned(), read(&web.join(page))?));
    }
    let version = format!("{:016x}", fnv(files.iter().chain(&pages)));
    for (_, page) in &mut pages {
        let text = String::from_utf8(std::mem::take(page)).map_err(|error| format!("a page is not UTF-8: {error}"))?;
        *page = text.replace("__VERSION__", &version).into_bytes();
    }
    write_table(&out, &version, &files, &pages)
}

/// `npm ci` where nobody has run it: the libraries are not in git.
fn install(web: &Path) -> Result<(), String> {
    let run = format!("run `npm ci` in {} (Node 18 or newer with npm), then build again", web.display());
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(web)
        .output()
        .map_err(|error| {
            format!("the player page needs hls.js from npm, and npm cannot be started ({error}): {run}")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(format!("the player page needs hls.js from npm, and `npm ci` failed ({last}): {run}"))
}

fn collect(web: &Path, name: &str, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), String> {
    let path = web.join(name);
    if !path.is_dir() {
        files.push((name.to_owned(), read(&path)?));
        return Ok(());
    }
    let entries = fs::read_dir(&path).map_err(|error| format!("cannot list {}: {error}", path.display()))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot list {}: {error}", path.display()))?;
        let inner = entry.file_name().into_string().map_err(|name| format!("not a UTF-8 name: {}", name.display()))?;
        collect(web, &format!("{name}/{inner}"), files)?;
    }
    Ok(())
}

/// The maps are megabytes and not embedded; a reference to one is a 404 in whoever's console is open.
fn without_source_map(bytes: Vec<u8>) -> Vec<u8> {
    let mark = b"//# sourceMappingURL=";
    match bytes.windows(mark.len()).rposition(|window| window == mark) {
        Some(at) => bytes[..at].to_vec(),
        None => bytes,
    }
}

fn write_table(
    out: &Path,
    version: &str,
    files: &[(String, Vec<u8>)],
    pages: &[(String, Vec<u8>)],
) -> Result<(), String> {
    let mut table = format!("/// Hash of all files, part of their address.\nconst VERSION: &str = \"{version}\";\n");
    for (constant, list) in [("ASSETS", files), ("PAGES", pages)] {
        let _ = writeln!(table, "static {constant}: &[File] = &[");
        for (name, bytes) in list {
            let stored = out.join("web").join(name);
            let zipped = out.join("web").join(format!("{name}.gz"));
            write(&stored, bytes)?;
            write(&zipped, &gzip(bytes)?)?;
            let _ = writeln!(
                table,
                "    File {{ name: {name:?}, etag: \"\\\"{:016x}\\\"\", plain: include_bytes!({stored:?}), gzip: include_bytes!({zipped:?}) }},",
                fnv([&(name.clone(), bytes.clone())].into_iter()),
            );
        }
        table.push_str("];\n");
    }
    write(&out.join("web_files.rs"), table.as_bytes())
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|error| format!("cannot compress: {error}"))
}

/// FNV-1a, 64 bits: the same on every machine, and good enough to tell two builds apart.
fn fnv<'a>(files: impl Iterator<Item = &'a (String, Vec<u8>)>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, bytes) in files {
        for byte in name.bytes().chain([0]).chain(bytes.iter().copied()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
