//! Low latency as players and caches see it, in both formats, and what there is when it is turned off: a real server with
//! real encoders.

mod support;

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use support::camera::Picture;
use support::{Camera, Media, Multivariant, Server, decodes, eventually, ffprobe, run};

/// A part as it is listed.
#[derive(Debug, Clone)]
struct Part {
    uri: String,
    seconds: f64,
    independent: bool,
}

/// A low-latency media playlist: segments whose parts are all listed, and what is said beside them.
#[derive(Debug)]
struct LowLatency {
    text: String,
    part_target: f64,
    segments: Vec<(String, f64, Vec<Part>)>,
    next: (u64, usize),
    hint: String,
    reports: Vec<String>,
}

impl LowLatency {
    fn parse(text: &str) -> Self {
        let attribute = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{name} in {line}"));
            rest.split(',').next().expect("a value").trim_matches('"').to_owned()
        };
        let line =
            |tag: &str| text.lines().find(|line| line.starts_with(tag)).unwrap_or_else(|| panic!("{tag}: {text}"));
        let (mut segments, mut parts, mut extinf) = (Vec::new(), Vec::new(), 0.0);
        for line in text.lines() {
            if line.starts_with("#EXT-X-PART:") {
                let seconds = attribute(line, "DURATION").parse().expect("a number");
                parts.push(Part {
                    uri: attribute(line, "URI"),
                    seconds,
                    independent: line.contains("INDEPENDENT=YES"),
                });
            } else if let Some(value) = line.strip_prefix("#EXTINF:") {
                extinf = value.trim_end_matches(',').parse().expect("a number");
            } else if !line.starts_with('#') {
                segments.push((line.to_owned(), extinf, std::mem::take(&mut parts)));
            }
        }
        let first: u64 = line("#EXT-X-MEDIA-SEQUENCE:")[22..].parse().expect("a number");
        let reports = text.lines().filter(|line| line.starts_with("#EXT-X-RENDITION-REPORT:"));
        Self {
            text: text.to_owned(),
            part_target: attribute(line("#EXT-X-PART-INF:"), "PART-TARGET").parse().expect("a number"),
            next: (first + segments.len() as u64, parts.len()),
            hint: attribute(line("#EXT-X-PRELOAD-HINT:TYPE=PART"), "URI"),
            reports: reports.map(|line| attribute(line, "URI")).collect(),
            segments,
        }
    }

    /// Those near the end, whose parts are still listed.
    fn with_parts(&self) -> impl Iterator<Item = &(String, f64, Vec<Part>)> {
        self.segments.iter().filter(|(_, _, parts)| !parts.is_empty())
    }
}

async fn bytes(server: &Server, key: &str) -> Vec<u8> {
    let response = server.get(&format!("/live/show/{key}")).await;
    assert_eq!(response.status(), 200, "{key}");
    response.bytes().await.expect("a body").to_vec()
}

async fn playlist(server: &Server, rendition: &str, query: &str) -> LowLatency {
    LowLatency::parse(&server.text(&format!("/live/show/show_{rendition}_low-latency.m3u8{query}")).await)
}

#[rstest]
#[case::ts("ts", "", 0.2134, 6)]
#[case::ts_with_short_parts("ts", "part = \"100ms\"", 0.1067, 3)]
#[case::cmaf("cmaf", "", 0.2134, 6)]
#[tokio::test]
async fn parts_are_their_segments_and_everything_a_player_needs_is_said(
    #[case] format: &str,
    #[case] config: &str,
    #[case] part_target: f64,
    #[case] frames: u32,
) {
    let server = Server::with_config(config, &[]);
    let _camera = Camera::publish(&server.publish_url("k"));
    server.create("Show", "k", json!({"format": format})).await;
    server.reaches("show", "live").await;
    let master = Multivariant::parse(&server.text("/live/show/low-latency.m3u8").await);
    assert_eq!(master.uris(), ["show_180p_low-latency.m3u8", "show_90p_low-latency.m3u8"]);
    let renditions = if format == "cmaf" { &["180p", "90p", "audio"][..] } else { &["180p", "90p"] };
    for rendition in renditions {
        let listed = eventually("segments", Duration::from_secs(30), async || {
            Some(playlist(&server, rendition, "").await).filter(|listed| listed.segments.len() >= 4)
        })
        .await;
        let control = "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=6.0,HOLD-BACK=3.0,PART-HOLD-BACK=";
        assert!(listed.text.contains(control), "{}", listed.text);
        assert!((listed.part_target - part_target).abs() < 1e-9, "{}", listed.part_target);
        let mut others: Vec<String> = renditions
            .iter()
            .filter(|other| *other != rendition)
            .map(|other| format!("show_{other}_low-latency.m3u8"))
            .collect();
        others.sort();
        let mut reports = listed.reports.clone();
        reports.sort();
        assert_eq!(reports, others, "a report on each other rendition");
        assert!(listed.with_parts().count() >= 2, "{}", listed.text);
        for (uri, seconds, parts) in listed.with_parts() {
            check_parts(parts, *seconds, part_target, (*rendition != "audio").then_some(frames));
            let mut joined = Vec::new();
            for part in parts {
                joined.extend(bytes(&server, &part.uri).await);
            }
            assert!(joined == bytes(&server, uri).await, "the parts of {uri} are it, byte for byte");
        }
        check_blocking(&server, rendition, &listed).await;
    }
    if format == "cmaf" {
        check_cmaf(&server).await;
    }
}

/// None longer than the target, only the last shorter than 85 % of it, together as long as their segment.
fn check_parts(parts: &[Part], segment: f64, target: f64, frames: Option<u32>) {
    let sum: f64 = parts.iter().map(|part| part.seconds).sum();
    assert!((sum - segment).abs() < 0.0001, "{parts:?} of {segment}");
    assert!(parts[0].independent, "{parts:?}");
    for (index, part) in parts.iter().enumerate() {
        assert!(part.seconds <= target, "{part:?}");
        let last = index + 1 == parts.len();
        assert!(last || part.seconds >= 0.85 * target, "{part:?}");
        if let Some(frames) = frames.filter(|_| !last) {
            assert!((part.seconds - f64::from(frames) / 30.0).abs() < 0.0001, "{part:?}");
        }
    }
}

/// What is asked for ahead comes when it is there, may be kept by caches, and is what was hinted.
async fn check_blocking(server: &Server, rendition: &str, listed: &LowLatency) {
    let (msn, part) = listed.next;
    let query = format!("_HLS_msn={}&_HLS_part=0", msn + 1);
    let path = format!("/live/show/show_{rendition}_low-latency.m3u8");
    let hinted = bytes(server, &listed.hint).await;
    let answer = server.get(&format!("{path}?{query}")).await;
    assert_eq!(answer.headers()["cache-control"], "public, max-age=6");
    let then = LowLatency::parse(&answer.text().await.expect("a body"));
    assert!(then.next > (msn + 1, 0), "{:?} after asking for {query}", then.next);
    let (_, _, parts) = then
        .segments
        .iter()
        .find(|(uri, ..)| listed.hint.starts_with(uri.rsplit_once('.').expect("an extension").0))
        .expect("the hinted part's segment");
    assert_eq!(parts[part].uri, listed.hint);
    assert!(hinted == bytes(server, &listed.hint).await);
    for (query, status) in
        [(format!("_HLS_msn={}", msn + 50), 400), ("_HLS_part=1".into(), 400), (format!("_HLS_msn={msn}"), 200)]
    {
        assert_eq!(server.get(&format!("{path}?{query}")).await.status(), status, "{query}");
    }
}

/// One timeline from segment to segment, sound and picture in step, no edit list that shifts anything.
async fn check_cmaf(server: &Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut starts = Vec::new();
    for (rendition, entry) in [("180p", "avc1"), ("90p", "avc1"), ("audio", "mp4a")] {
        let listed = Media::parse(&server.text(&format!("/live/show/show_{rendition}_playlist.m3u8")).await);
        let init = bytes(server, &format!("show_{rendition}_init0.mp4")).await;
        assert!(has(&init, entry.as_bytes()), "{rendition} has {entry} sample entries");
        assert!(!has(&init, b"elst") && !has(&init, b"avc3"), "{rendition}");
        let mut joined = init;
        for uri in listed.uris().into_iter().take(4) {
            joined.extend(bytes(server, uri).await);
        }
        let path = folder.path().join(format!("{rendition}.mp4"));
        std::fs::write(&path, joined).expect("a file");
        let path = path.to_str().expect("a path");
        decodes(path);
        let packets: Vec<f64> =
            ffprobe(path, "packet=pts_time").iter().map(|pts| pts.parse().expect("a time")).collect();
        let step = if rendition == "audio" { 1024.0 / 48_000.0 } else { 1.0 / 30.0 };
        for pair in packets.windows(2) {
            assert!((pair[1] - pair[0] - step).abs() < 0.001, "{rendition}: {pair:?}");
        }
        starts.push(packets[0]);
    }
    // The encoder's priming is one frame before the first sample.
    assert!((starts[0] - starts[1]).abs() < 1e-6, "{starts:?}");
    assert!((starts[0] - starts[2] - 1024.0 / 48_000.0).abs() < 0.001, "{starts:?}");
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[tokio::test]
async fn without_low_latency_everything_of_the_tutorial_still_holds() {
    let server = Server::start(&[]);
    let camera = Camera::show(&server.publish_url("teststream"), &Picture { size: "640x360", ..Picture::default() });
    let more = json!({"lowLatency": false, "format": "ts"});
    let answer = server.create("Show", "teststream", more).await;
    assert_eq!(answer["stream"], "show_playlist.m3u8");
    server.reaches("show", "live").await;
    for path in ["low-latency.m3u8", "show_180p_low-latency.m3u8", "show_180p_segment000.part0.ts"] {
        assert_eq!(server.get(&format!("/live/show/{path}")).await.status(), 404, "{path}");
    }
    let master = Multivariant::parse(&server.text("/live/show/playlist.m3u8").await);
    assert_eq!(master.uris(), ["show_180p_playlist.m3u8", "show_90p_playlist.m3u8"]);
    let listed = async |rendition: &str| {
        let path = format!("/live/show/show_{rendition}_playlist.m3u8");
        eventually("segments", Duration::from_secs(30), async || {
            Some(Media::parse(&server.text(&path).await)).filter(|playlist| playlist.parsed.segments.len() >= 4)
        })
        .await
    };
    let (high, low) = (listed("180p").await, listed("90p").await);
    assert!(!high.text.contains("EXT-X-PART") && !high.text.contains("SERVER-CONTROL"), "{}", high.text);
    let folder = tempfile::tempdir().expect("a folder");
    let mut sounds = Vec::new();
    for (rendition, playlist, size) in [("180p", &high, "320,180"), ("90p", &low, "160,90")] {
        let bandwidth =
            master.parsed.variants.iter().find(|variant| variant.uri.contains(rendition)).expect("a variant").bandwidth;
        for (index, (uri, seconds)) in playlist.uris().iter().zip(playlist.durations()).take(4).enumerate() {
            assert_eq!(*uri, format!("show_{rendition}_segment{index:03}.ts"));
            assert!((seconds - 1.0).abs() < 0.001, "{uri}: {seconds}");
            let media = bytes(&server, uri).await;
            assert!(media.len() as f64 * 8.0 / seconds <= bandwidth as f64, "{uri} keeps the advertised bandwidth");
            let stored = server.data.join("show").join(rendition).join(uri);
            assert!(std::fs::read(&stored).is_ok_and(|stored| stored == media), "{uri} is stored as it is served");
            let path = folder.path().join(uri);
            std::fs::write(&path, media).expect("a file");
            let path = path.to_str().expect("a path");
            decodes(path);
            assert_eq!(ffprobe(path, "stream=width,height")[0], size);
            let (ok, sound, _) =
                run("ffmpeg", &["-v", "error", "-i", path, "-map", "0:a", "-c", "copy", "-f", "md5", "-"]);
            assert!(ok);
            sounds.push(sound);
        }
    }
    assert_eq!(sounds[..4], sounds[4..], "the sound is encoded once");
    for (a, b) in high.parsed.segments.iter().zip(&low.parsed.segments) {
        assert_eq!((a.duration, a.program_date_time), (b.duration, b.program_date_time));
    }
    assert!((200..300).contains(&server.delete("show").await));
    let ended = Media::parse(&server.text("/live/show/show_180p_playlist.m3u8").await);
    assert!(ended.parsed.end_list);
    camera.stop();
}
