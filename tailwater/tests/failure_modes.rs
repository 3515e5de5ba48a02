//! What encoders do wrongly, each thing seen in the field, against a real server: the stream plays on, and a judge decodes all
//! of it. `docs/design/FAILURES.md` is the table; what it names beyond this file is tested where it belongs.
//!
//! Each test publishes several films at once and names the row that does not hold.

mod support;

use serde_json::{Value, json};
use support::film::{Shot, Wire};
use support::judge::{Expected, Recording};
use support::{Film, Recipe, Server};

/// One thing an encoder does.
struct Row {
    name: &'static str,
    film: Film,
    expected: Expected,
    more: Value,
}

/// `seconds` of media with a tone and flash in `beats` of them, without a discontinuity.
fn row(name: &'static str, film: Film, seconds: f64, beats: usize) -> Row {
    let ladder = json!([
        {"name": "90p", "height": 90, "videoBitrate": 150_000, "preset": "ultrafast"},
        {"name": "72p", "height": 72, "videoBitrate": 80_000, "preset": "ultrafast"},
    ]);
    Row {
        name,
        film,
        expected: Expected { seconds, again: 0.0, discontinuities: 0, beats, lost: false },
        more: json!({"ladder": ladder}),
    }
}

impl Row {
    fn with_a_discontinuity(mut self) -> Self {
        self.expected.discontinuities = 1;
        self
    }

    /// A session that begins because of its sound begins with the pictures since the last keyframe: they are shown again.
    fn in_the_middle_of_a_gop(mut self) -> Self {
        self.expected.again = 1.0;
        self.with_a_discontinuity()
    }

    fn that_is_lost_for_a_while(mut self) -> Self {
        self.expected.lost = true;
        self.with_a_discontinuity()
    }

    fn in_cmaf(mut self) -> Self {
        self.more["format"] = json!("cmaf");
        self
    }
}

/// Publishes all films at once and judges what became of them.
async fn all_play_on(rows: Vec<Row>) {
    let server = Server::with_config("end_grace = \"0s\"", &[]);
    let plays = rows.iter().enumerate().map(|(index, row)| play(&server, index, row));
    let played = futures_util::future::join_all(plays).await;
    // Two at a time: a core each.
    let verdicts = std::thread::scope(|scope| {
        let (even, odd): (Vec<_>, Vec<_>) = played.iter().zip(&rows).enumerate().partition(|(index, _)| index % 2 == 0);
        let judges = [even, odd].map(|share| {
            scope.spawn(move || share.into_iter().flat_map(|(_, (played, row))| judge(played, row)).collect::<Vec<_>>())
        });
        judges.map(|judge| judge.join().expect("a verdict")).concat()
    });
    assert!(verdicts.is_empty(), "{}\n\n{}", verdicts.join("\n"), troubles(&server));
}

/// What the server complained about.
fn troubles(server: &Server) -> String {
    let log = server.log();
    let lines = log.iter().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""));
    lines.cloned().collect::<Vec<_>>().join("\n")
}

type Played = (Result<(), String>, Recording);

async fn play(server: &Server, index: usize, row: &Row) -> Played {
    let stream = format!("s{index}");
    server.create(&stream, &stream, row.more.clone()).await;
    tokio::join!(row.film.publish(&server.rtmp, &stream), Recording::of(server, &stream))
}

fn judge((published, recording): &Played, row: &Row) -> Vec<String> {
    let complaints = published.clone().err().into_iter().chain(recording.judge(&row.expected));
    complaints.map(|complaint| format!("{}: {complaint}", row.name)).collect()
}

/// The usual film: six seconds, a flash and a tone in each.
fn film() -> Film {
    Film::made(&Recipe::default())
}

fn made(video: &'static str, audio: &'static str) -> Film {
    Film::made(&Recipe { video: Some(video), audio: Some(audio), ..Recipe::default() })
}

const VIDEO: &str = "-preset ultrafast -g 25 -sc_threshold 0";
const B_FRAMES: &str = "-preset ultrafast -g 25 -sc_threshold 0 -bf 2 -b_strategy 0";
const AAC: &str = "-c:a aac -ac 2 -ar 48000";
const DELTAS: Wire = Wire { repeat_extended: true, deltas: true };
const OMITTED: Wire = Wire { repeat_extended: false, deltas: false };

fn time(shot: &Shot) -> i64 {
    i64::from(shot.tag.timestamp)
}

#[tokio::test]
async fn timestamps_beyond_and_across_24_and_31_and_32_bits() {
    let film = film();
    let from = |base: i64| film.clone().stamped(move |shot| base + time(shot));
    let within = |base: i64, mask: i64| film.clone().stamped(move |shot| (base + time(shot)) & mask);
    all_play_on(vec![
        row("extended timestamps, repeated on type 3 chunks", from(20_000_000), 6.0, 6),
        row("extended timestamps, omitted on type 3 chunks", from(20_000_000).on(OMITTED), 6.0, 6),
        row("24 bits crossed by an extended timestamp", from(0xff_ffff - 3000), 6.0, 6),
        row("24 bits crossed by differences", from(0xff_ffff - 3000).on(DELTAS), 6.0, 6),
        row("a wrap at 24 bits", within(0xff_ffff - 3000, 0xff_ffff), 6.0, 6),
        row("31 bits crossed", from(0x7fff_ffff - 3000), 6.0, 6),
        row("a wrap at 31 bits, FLV's signed time", within(0x7fff_ffff - 3000, 0x7fff_ffff), 6.0, 6),
        row("a wrap at 32 bits", from(0xffff_ffff - 3000), 6.0, 6),
    ])
    .await;
}

#[tokio::test]
async fn timestamps_that_jump_repeat_and_go_back() {
    let film = film();
    let stamped = |stamp: fn(&Shot) -> i64| film.clone().stamped(stamp);
    let backwards = |shot: &Shot| match shot.is_video() && !shot.is_header() && time(shot) / 40 % 3 == 2 {
        true => time(shot) - 60,
        false => time(shot),
    };
    let ntsc = Recipe { rate: "30000/1001", audio: Some("-c:a aac -ar 44100 -ac 2"), ..Recipe::default() };
    all_play_on(vec![
        row(
            "a jump of three hours",
            stamped(|shot| time(shot) + if time(shot) < 2500 { 0 } else { 10_800_000 }),
            6.0,
            6,
        ),
        row(
            "a jump back to 0",
            stamped(|shot| if time(shot) < 2500 { time(shot) + 500_000 } else { time(shot) - 2500 }),
            6.0,
            6,
        ),
        row(
            "equal decoding times",
            // Two pictures each, 20 ms late and 20 ms early.
            stamped(|shot| if shot.is_video() { time(shot) / 80 * 80 + 40 } else { time(shot) }),
            6.0,
            6,
        ),
        row("decreasing decoding times", stamped(backwards), 6.0, 6),
        row("negative differences", stamped(backwards).on(DELTAS), 6.0, 6),
        row("rounding below a millisecond", Film::made(&ntsc), 6.0, 6),
        row(
            "audio and video on different bases",
            stamped(|shot| time(shot) + if shot.is_audio() { 1_000_000_000 } else { 0 }),
            6.0,
            6,
        ),
        row("a start at another time than 0", stamped(|shot| time(shot) + 777_777), 6.0, 6),
    ])
    .await;
}

#[tokio::test]
async fn pictures_out_of_order_and_keyframes_out_of_place() {
    let b_frames = made(B_FRAMES, AAC);
    let open = made("-preset ultrafast -g 25 -sc_threshold 0 -bf 2 -b_strategy 0 -x264-params open-gop=1", AAC);
    let scene_cuts = made("-preset ultrafast -g 250 -force_key_frames 0,0.4,1.72,1.88,3.32,5.12", AAC);
    let entered_at =
        |film: &Film, from: i64| film.clone().only(move |shot| shot.is_header() || shot.is_audio() || shot.at >= from);
    all_play_on(vec![
        row("negative composition times", b_frames.clone().decoded_later(80), 6.0, 6),
        row("decoding after presentation", b_frames.clone().decoded_later(200), 6.0, 6),
        row("a first frame that is no keyframe", entered_at(&film(), 500), 5.0, 5),
        row("a first frame within an open GOP", entered_at(&open, 500), 5.0, 5),
        row("open GOPs", open.clone(), 6.0, 6),
        row("keyframes at scene cuts", scene_cuts, 6.0, 6),
    ])
    .await;
}

#[tokio::test]
async fn tracks_that_are_late_or_far_apart() {
    let long = Recipe { seconds: 12.0, ..Recipe::default() };
    let film = Film::made(&long);
    let far = Film::made(&Recipe { video: Some("-preset ultrafast -g 250 -sc_threshold 0"), ..long });
    let audio = |shot: &Shot, by: i64| if shot.is_audio() && !shot.is_header() { by } else { 0 };
    all_play_on(vec![
        row("keyframes 10 s apart", far, 12.0, 12),
        row(
            "audio that arrives 5 s late",
            film.clone().delayed(move |shot| audio(shot, 5000)).only(|shot| shot.at < 12_000),
            12.0,
            2,
        ),
        row("audio that arrives 5 s early", film.clone().delayed(move |shot| audio(shot, -5000)), 12.0, 7),
        row("audio that starts 10 s late", starting_late(&film), 12.0, 1).in_the_middle_of_a_gop(),
        row(
            "audio that pauses",
            film.clone().only(|shot| !shot.is_audio() || !(4000..8000).contains(&shot.at)),
            12.0,
            8,
        ),
    ])
    .await;
}

#[tokio::test]
async fn video_that_stops_or_never_comes() {
    let film = Film::made(&Recipe { seconds: 12.0, ..Recipe::default() });
    all_play_on(vec![
        row(
            "video of which only the configuration comes",
            film.clone().only(|shot| !shot.is_video() || shot.is_header()),
            12.0,
            0,
        ),
        row("video that pauses while audio goes on", blind_for_a_while(&film), 7.4, 7).that_is_lost_for_a_while(),
        row("video that pauses, in CMAF", blind_for_a_while(&film), 7.4, 7).that_is_lost_for_a_while().in_cmaf(),
    ])
    .await;
}

/// No picture from 3.4 to 8 s, and the one that comes then is a keyframe.
fn blind_for_a_while(film: &Film) -> Film {
    film.clone().only(|shot| !shot.is_video() || shot.is_header() || !(3400..8000).contains(&shot.at))
}

/// Neither audio nor its configuration nor a promise of it before 10 s.
fn starting_late(film: &Film) -> Film {
    let late = film.clone().delayed(|shot| if shot.is_audio() && shot.is_header() { 9990 } else { 0 });
    late.only(|shot| shot.is_video() || shot.is_audio() && shot.at >= 9990)
}

#[tokio::test]
async fn tracks_that_are_missing_or_unusual() {
    let film = film();
    // An explicit HE-AAC configuration over frames without its extension, which a decoder makes up for.
    let he_aac = made(VIDEO, "-c:a aac -ac 2 -ar 24000")
        .rewritten(|shot| (shot.is_audio() && shot.is_header()).then(|| vec![0xaf, 0, 0x2b, 0x11, 0x88, 0]));
    let without = |video: Option<&'static str>, audio| Film::made(&Recipe { video, audio, ..Recipe::default() });
    all_play_on(vec![
        row("no audio", without(Some(VIDEO), None), 6.0, 0),
        row("no video", without(None, Some(AAC)), 6.0, 0),
        row("audio that is promised and never comes", film.clone().only(|shot| !shot.is_audio()), 6.0, 0),
        row(
            "audio of which only the configuration comes",
            film.clone().only(|shot| !shot.is_audio() || shot.is_header()),
            6.0,
            0,
        ),
        row("audio that stops", film.clone().only(|shot| !shot.is_audio() || shot.at < 3000), 6.0, 3),
        row("44.1 kHz", made(VIDEO, "-c:a aac -ac 2 -ar 44100"), 6.0, 6),
        row("mono", made(VIDEO, "-c:a aac -ac 1 -ar 48000"), 6.0, 6),
        row("5.1", made(VIDEO, "-c:a aac -ac 6 -ar 48000 -b:a 256k"), 6.0, 6),
        row("HE-AAC", he_aac, 6.0, 6),
        row("MP3", made(VIDEO, "-c:a libmp3lame -ac 2 -ar 44100"), 6.0, 6),
        row("G.711", made(VIDEO, "-c:a pcm_alaw -ac 1 -ar 8000"), 6.0, 6),
        row("Speex", made(VIDEO, "-c:a libspeex -ac 1 -ar 16000"), 6.0, 6),
        row("PCM, in CMAF", made(VIDEO, "-c:a pcm_s16le -ac 2 -ar 22050"), 6.0, 6).in_cmaf(),
    ])
    .await;
}

#[tokio::test]
async fn configurations_that_are_repeated_or_change() {
    let first = Film::made(&Recipe { seconds: 3.0, ..Recipe::default() });
    let second = |recipe: Recipe| first.clone().then(Film::made(&Recipe { seconds: 3.0, ..recipe }));
    let wide = || second(Recipe { size: "128x96", ..Recipe::default() });
    let baseline = "-preset ultrafast -g 25 -sc_threshold 0 -profile:v baseline -level 4.1";
    all_play_on(vec![
        row("the same configurations again and again", film().repeating_headers(700), 6.0, 6),
        row("another size", wide(), 6.0, 6).with_a_discontinuity(),
        row("another size, in CMAF", wide(), 6.0, 6).with_a_discontinuity().in_cmaf(),
        row(
            "other parameter sets of the same size",
            second(Recipe { video: Some(baseline), ..Recipe::default() }),
            6.0,
            6,
        )
        .with_a_discontinuity(),
        row(
            "another audio configuration",
            second(Recipe { audio: Some("-c:a aac -ac 1 -ar 44100"), ..Recipe::default() }),
            6.0,
            6,
        )
        .in_the_middle_of_a_gop(),
    ])
    .await;
}

/// Resident memory of the server, in KiB.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_stream_that_nobody_has_costs_no_memory() {
    let server = Server::start(&["--store", "memory:"]);
    let poll = async |from: u32, count: u32| {
        for index in from..from + count {
            // What a player polls, and what somebody who guesses asks for.
            for path in [
                "/live/nobody/playlist.m3u8".to_owned(),
                format!("/live/nobody{index}/nobody{index}_720p_segment{index}.ts"),
            ] {
                assert_eq!(server.get(&path).await.status(), 404);
            }
        }
    };
    poll(0, 1000).await;
    let before = memory(&server);
    poll(1000, 3000).await;
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 4 << 10, "{grown} KiB more after 6000 requests");
}
