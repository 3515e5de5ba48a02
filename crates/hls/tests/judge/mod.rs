//! Other people's parsers judge what we write.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::{HlsLine, Reader};

/// Fails unless two parsers that are not ours take each line for what it is meant to be.
pub fn judge(playlist: &str) {
    assert!(playlist.starts_with("#EXTM3U\n") && playlist.ends_with('\n'));
    assert!(playlist.lines().all(|line| !line.is_empty() && line.trim() == line), "blanks in {playlist}");
    let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
    let mut reader = Reader::from_str(playlist, options);
    while let Some(line) = reader.read_line().unwrap() {
        match line {
            HlsLine::KnownTag(_) | HlsLine::Uri(_) => {}
            other => panic!("not taken for HLS: {other:?} in {playlist}"),
        }
    }
    m3u8_rs::parse_playlist_res(playlist.as_bytes()).unwrap();
}

/// The values of an attribute or tag, without their quotes.
pub fn values<'a>(playlist: &'a str, name: &str) -> Vec<&'a str> {
    let name = if name.ends_with(':') { name.to_owned() } else { format!("{name}=") };
    let found = playlist.match_indices(&name).map(|(at, _)| &playlist[at + name.len()..]);
    let value = |rest: &'a str| match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split([',', '\n']).next().unwrap(),
    };
    found.map(value).collect()
}

/// The first of them.
pub fn value<'a>(playlist: &'a str, name: &str) -> &'a str {
    values(playlist, name).first().copied().unwrap_or_else(|| panic!("no {name} in {playlist}"))
}
