//! The command: two lines on standard output, and it ends when told.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

#[test]
fn it_prints_exactly_the_two_lines_and_ends_on_sigterm() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_momento-fake"))
        .args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut key, mut endpoint, mut rest) = (String::new(), String::new(), String::new());
    out.read_line(&mut key).unwrap();
    out.read_line(&mut endpoint).unwrap();
    assert_eq!(key.strip_prefix("MOMENTO_API_KEY=").unwrap().trim_end().split('.').count(), 3);
    assert!(endpoint.starts_with("MOMENTO_ENDPOINT=http://127.0.0.1:"), "{endpoint}");
    assert!(!endpoint.trim_end().ends_with(":0"));

    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(ended.success());
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(child.wait().unwrap().success());
}
