//! From a plan to FFmpeg's arguments. Pure; snapshot-tested.
//!
//! FLV comes in on descriptor 0, every rendition leaves on a pipe of its own. There is one decoder and one filter
//! graph, in which each rung is scaled from the one above it. In MPEG-TS one encoder's audio goes to all renditions
//! through the `tee` muxer; in CMAF it is an output of its own. `docs/ENCODING.md` has what was measured.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use crate::ladder::rate::gcd;
use crate::ladder::settings::frames_a_segment;
use crate::ladder::{EncodeSettings, Encoder, Format, Plan, PlannedAudio, PlannedVideo, Rational, VideoAction};

use super::capabilities::Hardware;
use super::slate::Slate;

/// The child's descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// The first rendition's pipe; the others follow in order.
    pub first_output: i32,
    /// Where `-progress` goes.
    pub progress: i32,
}

impl Descriptors {
    /// Pipes from 3 on, progress after the last.
    pub fn of(plan: &Plan) -> Self {
        let outputs = i32::try_from(plan.renditions.len()).unwrap_or(0);
        Self { first_output: 3, progress: 3 + outputs }
    }
}

/// FFmpeg's arguments for a plan, without the program's name.
pub fn command(plan: &Plan, descriptors: Descriptors) -> Vec<OsString> {
    let mut args = Args::default();
    global(&mut args, plan, descriptors);
    input(&mut args, plan);
    outputs(args, plan, descriptors)
}

/// FFmpeg's arguments for a plan whose input is a slate. It ends when it reads [`QUIT`](super::slate::QUIT).
pub fn slate_command(plan: &Plan, slate: &Slate, descriptors: Descriptors) -> Vec<OsString> {
    let mut args = Args::default();
    global(&mut args, plan, descriptors);
    // Keys are read again; lavfi would run as fast as it can.
    args.flags(&["-stdin"]);
    if let Some(hardware) = vaapi(plan) {
        args.pair("-vaapi_device", hardware);
    }
    args.flags(&["-re", "-f", "lavfi"]).pair("-i", slate.graph(plan));
    outputs(args, plan, descriptors)
}

fn outputs(mut args: Args, plan: &Plan, descriptors: Descriptors) -> Vec<OsString> {
    let graph = filter_graph(plan);
    if !graph.is_empty() {
        args.pair("-filter_complex", graph);
    }
    match plan.format {
        Format::Ts => ts_outputs(&mut args, plan, descriptors),
        Format::Cmaf => cmaf_outputs(&mut args, plan, descriptors),
    }
    args.0
}

#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn flags(&mut self, flags: &[&str]) -> &mut Self {
        self.0.extend(flags.iter().map(OsString::from));
        self
    }

    fn pair(&mut self, option: impl Into<OsString>, value: impl ToString) -> &mut Self {
        self.0.push(option.into());
        self.0.push(value.to_string().into());
        self
    }
}

fn global(args: &mut Args, plan: &Plan, descriptors: Descriptors) {
    args.flags(&["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+warning"]);
    args.pair("-progress", format!("pipe:{}", descriptors.progress)).pair("-stats_period", "0.5");
    if plan.low_latency {
        // A slice-threaded scaler waits for its slowest thread, and the graph runs beside the encoders anyway.
        args.pair("-filter_complex_threads", 1);
    }
    if plan.copies() {
        // Copied packets keep their milliseconds; by default they are put on a grid of what is guessed to be the rate.
        args.pair("-copytb", 1);
    }
}

/// Sequence headers come first in the FLV and its header names the tracks, so that nothing has to be probed: with this
/// little, FFmpeg writes its first bytes a tenth of a second after the first key frame instead of after two seconds.
/// No `-fflags nobuffer`: FFmpeg then drops what it read while probing, and that is the first key frame.
fn input(args: &mut Args, plan: &Plan) {
    args.pair("-probesize", 32).pair("-analyzeduration", 1);
    if let Some(hardware) = vaapi(plan) {
        args.pair("-vaapi_device", hardware);
    }
    args.pair("-threads", plan.decoder_threads);
    args.flags(&["-f", "flv", "-i", "pipe:0"]);
}

fn vaapi(plan: &Plan) -> Option<&'static str> {
    plan.renditions
        .iter()
        .filter_map(|rendition| settings(rendition.video.as_ref()?))
        .find_map(|settings| (settings.encoder == Encoder::Hardware(Hardware::Vaapi)).then_some("/dev/dri/renderD128"))
}

fn settings(video: &PlannedVideo) -> Option<&EncodeSettings> {
    match &video.action {
        VideoAction::Encode(settings) => Some(settings),
        VideoAction::Copy => None,
    }
}

/// One graph: an even frame grid from time zero, then each rung from the nearest one above that it can be made of.
///
/// Where the source is copied, every frame keeps its time, so that all rungs have the copied one's to the millisecond, and
/// every key frame stays, where `fps` and `framestep` may leave it out.
fn filter_graph(plan: &Plan) -> String {
    let encoded: Vec<(usize, &PlannedVideo)> = plan
        .renditions
        .iter()
        .enumerate()
        .filter_map(|(index, rendition)| Some((index, rendition.video.as_ref()?)))
        .filter(|(_, video)| settings(video).is_some())
        .collect();
    let Some(rate) = plan.frame_rate.filter(|_| !encoded.is_empty()) else { return String::new() };
    // Which rung each is made of: the nearest before it whose frames include its own.
    let parents: Vec<Option<usize>> = encoded
        .iter()
        .enumerate()
        .map(|(place, (_, video))| {
            (0..place).rev().find(|before| video.rate_divisor % encoded[*before].1.rate_divisor == 0)
        })
        .collect();
    let children = |parent: Option<usize>| parents.iter().filter(|of| **of == parent).count();

    let mut graph = String::from("[0:v:0]");
    if !plan.skip.is_zero() {
        // Half a frame of tolerance: milliseconds round.
        let (skip, half) = (plan.skip.as_secs_f64(), 0.5 / rate.as_f64());
        let _ = write!(graph, "trim=start={:.6},setpts=PTS-{skip:.6}/TB,", (skip - half).max(0.0));
    }
    if plan.deinterlace {
        graph.push_str("bwdif=mode=send_frame:parity=auto:deint=all,");
    }
    if !plan.copies() {
        let _ = write!(graph, "fps={rate}:start_time=0:round=near,");
    }
    graph.push_str("format=yuv420p");
    fan_out(&mut graph, "s", children(None), None);
    let mut taken = vec![0; encoded.len() + 1];
    for (place, (index, video)) in encoded.iter().enumerate() {
        let parent = parents[place];
        let slot = parent.map_or(0, |parent| parent + 1);
        let name = parent.map_or("s".to_owned(), |parent| format!("r{}x", encoded[parent].0));
        let _ = write!(graph, ";[{name}{}]", taken[slot]);
        taken[slot] += 1;
        let parent_divisor = parent.map_or(1, |parent| encoded[parent].1.rate_divisor);
        let step = video.rate_divisor / parent_divisor;
        if step > 1 && plan.copies() {
            // Counted from each key frame on.
            let _ = write!(graph, "select='if(key,1,gte(n-prev_selected_n,{step}))',");
        } else if step > 1 {
            let _ = write!(graph, "framestep={step},");
        }
        let _ = write!(graph, "scale={}:{}:flags=bicubic,setsar=1", video.width, video.height);
        fan_out(&mut graph, &format!("r{index}x"), children(Some(place)), Some(&output_label(*index, video)));
    }
    graph
}

/// Ends a chain in `children` labels `<name>0..` and, where it is a rung, in its own output.
fn fan_out(graph: &mut String, name: &str, children: usize, own: Option<&str>) {
    let total = children + usize::from(own.is_some());
    if total > 1 {
        let _ = write!(graph, ",split={total}");
    }
    if let Some(own) = own {
        graph.push_str(own);
    }
    for child in 0..children {
        let _ = write!(graph, "[{name}{child}]");
    }
}

/// What hardware wants before its encoder, and the label the output maps.
fn output_label(index: usize, video: &PlannedVideo) -> String {
    match settings(video).map(|settings| settings.encoder) {
        Some(Encoder::Hardware(Hardware::Vaapi)) => format!("[u{index}];[u{index}]format=nv12,hwupload[v{index}]"),
        _ => format!("[v{index}]"),
    }
}

/// All renditions through one `tee`, so that the audio is encoded once and is the same in all of them.
fn ts_outputs(args: &mut Args, plan: &Plan, descriptors: Descriptors) {
    for (index, rendition) in plan.renditions.iter().enumerate() {
        if let Some(video) = &rendition.video {
            map_video(args, plan, index, video, &format!("v:{index}"));
        }
    }
    if let Some(audio) = &plan.audio {
        encode_audio(args, plan, audio);
    }
    // The tee counts in the encoder's time base, in which 10 s need not exist (1001/30000): its outputs add the origin,
    // and what lies before zero (AAC priming) must pass it unshifted.
    args.flags(&["-avoid_negative_ts", "disabled", "-flush_packets", "1"]);
    args.pair("-max_interleave_delta", interleave_delta(plan));
    let slaves: Vec<String> = plan
        .renditions
        .iter()
        .enumerate()
        .map(|(index, rendition)| {
            let video = rendition.video.is_some().then(|| format!("v:{index}"));
            let audio = rendition.audio.then(|| "a".to_owned());
            let select: Vec<String> = video.into_iter().chain(audio).collect();
            format!(
                "[f=mpegts:select=\\'{}\\':{}]pipe:{}",
                select.join(","),
                ts_options(plan, rendition.video.is_some()).join(":"),
                descriptors.first_output + index as i32
            )
        })
        .collect();
    args.flags(&["-f", "tee"]);
    args.0.push(slaves.join("|").into());
}

fn ts_options(plan: &Plan, has_video: bool) -> Vec<String> {
    let mut options = vec![
        "flush_packets=1".to_owned(),
        format!("output_ts_offset={}", plan.origin.as_secs_f64()),
        format!("max_interleave_delta={}", interleave_delta(plan)),
    ];
    if plan.low_latency {
        // A part can begin at any frame and must begin with PAT and PMT (RFC 8216bis 3.1.1); an audio frame leaves as
        // soon as it is there instead of waiting for company.
        options.push("mpegts_flags=+pat_pmt_at_frames".to_owned());
    }
    if plan.low_latency || !has_video {
        options.push("pes_payload_size=0".to_owned());
    }
    if !has_video {
        // Sound alone is cut where PAT and PMT stand: before every frame then, not each tenth of a second.
        options.push("pat_period=0.02".to_owned());
    }
    options
}

/// How long (µs) a muxer holds pictures back for sound that does not come: in low latency until the next picture.
fn interleave_delta(plan: &Plan) -> u32 {
    if plan.low_latency { 1 } else { 500_000 }
}

/// An output for each rung and one for the audio: separate muxers do not wait for each other.
fn cmaf_outputs(args: &mut Args, plan: &Plan, descriptors: Descriptors) {
    for (index, rendition) in plan.renditions.iter().enumerate() {
        let fragment = match &rendition.video {
            Some(video) => {
                map_video(args, plan, index, video, "v:0");
                let parts = rendition.part_frames.filter(|_| !plan.copies());
                parts.map(|frames| fragment_duration(frames, video.frame_rate))
            }
            None => {
                if let Some(audio) = &plan.audio {
                    encode_audio(args, plan, audio);
                }
                None
            }
        };
        args.pair("-output_ts_offset", plan.origin.as_secs_f64()).pair("-flush_packets", 1);
        let mut flags = String::from("+cmaf+delay_moov+skip_trailer+frag_discont");
        // Audio is cut at the frame after each second, so each is a fragment; video at key frames and full parts. The
        // key frames of a copied source come when they like: parts are then counted out in frames.
        let counted = plan.copies() && rendition.part_frames.is_some();
        flags.push_str(if rendition.video.is_none() || counted { "+frag_every_frame" } else { "+frag_keyframe" });
        if let Some(fragment) = fragment {
            args.pair("-frag_duration", fragment.as_micros());
        }
        args.flags(&["-f", "mp4", "-movflags"]);
        args.flags(&[&flags]);
        args.0.push(format!("pipe:{}", descriptors.first_output + index as i32).into());
    }
}

/// Half a frame less than the part, so that rounding adds no frame and loses none.
fn fragment_duration(frames: u32, rate: Rational) -> Duration {
    Duration::from_secs_f64((f64::from(frames) - 0.5) / rate.as_f64())
}

fn encode_audio(args: &mut Args, plan: &Plan, audio: &PlannedAudio) {
    args.flags(&["-map", "0:a:0", "-c:a", "aac"]);
    args.pair("-b:a", audio.bitrate).pair("-ar", audio.sample_rate).pair("-ac", audio.channels);
    // Fills what is missing, also before the first sample, and trims what overlaps.
    let mut filters = String::from("aresample=async=1:first_pts=0");
    if !plan.skip.is_zero() {
        let skip = plan.skip.as_secs_f64();
        filters = format!("atrim=start={skip:.6},asetpts=PTS-{skip:.6}/TB,{filters}");
    }
    args.pair("-af", filters);
}

/// Maps one rung and says how it is encoded; `spec` is its stream within the output.
fn map_video(args: &mut Args, plan: &Plan, index: usize, video: &PlannedVideo, spec: &str) {
    let settings = match &video.action {
        VideoAction::Copy => {
            args.flags(&["-map", "0:v:0"]).pair(format!("-c:{spec}"), "copy");
            return;
        }
        VideoAction::Encode(settings) => settings,
    };
    args.pair("-map", format!("[v{index}]"));
    args.pair(format!("-c:{spec}"), settings.encoder.name());
    args.pair(format!("-fps_mode:{spec}"), "passthrough");
    if plan.copies() {
        // Else the encoder's clock counts frames of a guessed rate.
        args.pair(format!("-enc_time_base:{spec}"), "1:1000");
    }
    args.pair(format!("-force_key_frames:{spec}"), key_frames(plan, video));
    args.pair(format!("-b:{spec}"), settings.bitrate);
    // SVT takes no peak beside a constant rate.
    if settings.encoder != Encoder::SvtAv1 {
        args.pair(format!("-maxrate:{spec}"), settings.maxrate);
        args.pair(format!("-bufsize:{spec}"), settings.bufsize);
    }
    encoder_options(args, plan, settings, video.frame_rate, spec);
}

fn encoder_options(args: &mut Args, plan: &Plan, settings: &EncodeSettings, rate: Rational, spec: &str) {
    let low_latency = plan.low_latency;
    let mut option = |name: &str, value: &str| {
        args.pair(format!("-{name}:{spec}"), value);
    };
    if !matches!(settings.encoder, Encoder::Aom) && !settings.preset.is_empty() {
        option("preset", &settings.preset);
    }
    match settings.encoder {
        Encoder::X264 => {
            if low_latency {
                option("tune", "zerolatency");
            }
            option("profile", "high");
            option("threads", &settings.threads.to_string());
            option("forced-idr", "1");
            option(
                "x264-params",
                &parameters(&["keyint=infinite", "min-keyint=1", "scenecut=0", "open-gop=0"], plan, rate, settings),
            );
        }
        Encoder::X265 => {
            if low_latency {
                option("tune", "zerolatency");
            }
            // Apple, and with it Safari, plays `hvc1` sample entries only.
            option("tag", "hvc1");
            option("forced-idr", "1");
            let fixed = ["keyint=-1", "min-keyint=1", "scenecut=0", "open-gop=0", "log-level=warning"];
            option("x265-params", &parameters(&fixed, plan, rate, settings));
        }
        Encoder::SvtAv1 => {
            let structure = if low_latency { "pred-struct=1:rc=2" } else { "pred-struct=2:rc=1" };
            let interval = frames_a_segment(rate, plan.segment).unwrap_or(9999);
            option("g", &interval.to_string());
            option("svtav1-params", &parameters(&["scd=0", structure], plan, rate, settings));
        }
        Encoder::Aom => {
            option("cpu-used", &settings.preset);
            option("usage", "realtime");
            option("row-mt", "1");
            option("g", "9999");
        }
        Encoder::Hardware(hardware) => hardware_options(hardware, low_latency, &mut option),
    }
}

fn hardware_options(hardware: Hardware, low_latency: bool, option: &mut impl FnMut(&str, &str)) {
    option("g", "9999");
    option("bf", if low_latency { "0" } else { "2" });
    option("profile", "high");
    match hardware {
        Hardware::Nvenc => {
            option("tune", if low_latency { "ull" } else { "hq" });
            option("rc", "cbr");
            option("forced-idr", "1");
            option("no-scenecut", "1");
            option("delay", "0");
        }
        Hardware::Qsv => {
            option("forced_idr", "1");
            option("async_depth", if low_latency { "1" } else { "4" });
        }
        Hardware::Vaapi => option("async_depth", if low_latency { "1" } else { "2" }),
        Hardware::Videotoolbox => option("realtime", "1"),
    }
}

fn parameters(fixed: &[&str], plan: &Plan, rate: Rational, settings: &EncodeSettings) -> String {
    // The rate control of x264 and x265 takes its clock for the frame rate unless it is told.
    let told = plan.copies().then(|| format!("fps={rate}"));
    let tuning = settings.tuning.iter().map(|(key, value)| format!("{key}={value}"));
    fixed.iter().map(|entry| (*entry).to_owned()).chain(told).chain(tuning).collect::<Vec<_>>().join(":")
}

/// The frames that must be key frames: the first at or after each multiple of the segment duration, counted in frames
/// of the slowest rung. All in whole numbers, so that no rounding of times slips a frame however long it runs.
///
/// Frame `n` of a rung lies at `n * den / num` seconds; the next boundary is `n_forced` segments.
fn key_frames(plan: &Plan, video: &PlannedVideo) -> String {
    if plan.copies() {
        return "source".to_owned();
    }
    let rate = video.frame_rate;
    let nanoseconds = u64::try_from(plan.segment.as_nanos()).unwrap_or(u64::MAX);
    let unit = gcd(nanoseconds, 1_000_000_000);
    let (segment_num, segment_den) = (nanoseconds / unit, 1_000_000_000 / unit);
    let (frames, boundaries) = (u64::from(rate.den) * segment_den, u64::from(rate.num) * segment_num);
    let common = gcd(frames, boundaries);
    let product = |name: &str, factor: u64| if factor == 1 { name.to_owned() } else { format!("{name}*{factor}") };
    let reached = format!("gte({},{})", product("n", frames / common), product("n_forced", boundaries / common));
    match frames_a_key_frame_slot(plan, video) {
        1 => format!("expr:{reached}"),
        step => format!("expr:not(mod(n,{step}))*{reached}"),
    }
}

/// How many of this rung's frames lie between two of the slowest rung's.
fn frames_a_key_frame_slot(plan: &Plan, video: &PlannedVideo) -> u32 {
    let Some(slowest) = plan.key_rate else { return 1 };
    let ratio = video.frame_rate.as_f64() / slowest.as_f64();
    (ratio.round() as u32).max(1)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
