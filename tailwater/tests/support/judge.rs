//! A judge of a whole broadcast: watches its playlists while it runs, fetches every segment after it, and has FFmpeg decode them.
//!
//! What must hold whatever the source did:
//! - the stream plays on to its end, all of it;
//! - MEDIA-SEQUENCE never goes back, what is listed stays as it is, TARGETDURATION is constant and never exceeded;
//! - discontinuities are at the same numbers in all renditions;
//! - EXTINF is within one frame of what the segment decodes to;
//! - a tone sounds within 40 ms of its flash (see [`film`](super::film)).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::decoded::Decoded;
use super::{Media, Multivariant, Server};

/// Further apart are picture and sound out of step, in seconds.
const STEP: f64 = 0.040;
/// How much more or less than expected may play, in seconds: what is lost while a source is judged, and what its last frames last.
const SLACK: f64 = 0.35;
/// Nothing here lasts longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a broadcast must come to.
#[derive(Clone, Copy)]
pub struct Expected {
    /// Seconds of media.
    pub seconds: f64,
    /// Up to so many more: what is shown again when a session begins with the last keyframe.
    pub again: f64,
    pub discontinuities: u64,
    /// Flashes with their tone, at least.
    pub beats: usize,
    /// The source was told to be lost, and the livestream interrupted, before its end.
    pub lost: bool,
}

/// A broadcast as its viewers saw it.
#[derive(Default)]
pub struct Recording {
    renditions: BTreeMap<String, Rendition>,
    lost: bool,
    complaints: Vec<String>,
}

#[derive(Default)]
struct Rendition {
    /// First and next number of the newest playlist, its discontinuity sequence and target duration.
    first: u64,
    next: u64,
    discontinuity_sequence: u64,
    target_duration: Option<u64>,
    segments: BTreeMap<u64, Segment>,
}

struct Segment {
    listed: Listed,
    body: Vec<u8>,
}

/// A segment as its playlist has it.
#[derive(Clone, PartialEq)]
struct Listed {
    uri: String,
    init: Option<String>,
    duration: f64,
    /// How many discontinuities came before it, its own included.
    discontinuities: u64,
}

impl Recording {
    /// Watches `stream` until it is over, then fetches all of it.
    pub async fn of(server: &Server, stream: &str) -> Self {
        let mut recording = Self::default();
        let begun = Instant::now();
        loop {
            let status = server.status(stream).await;
            recording.look(server, stream).await;
            recording.lost |= status["state"] == "interrupted" && status["error"]["code"] == "source-lost";
            match status["state"].as_str() {
                Some("ended") => break,
                Some("failed") => {
                    recording.complain(format!("failed: {}", status["error"]));
                    break;
                }
                _ if begun.elapsed() > PATIENCE => {
                    recording.complain(format!("does not end: {status}"));
                    break;
                }
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        recording.fetch(server, stream).await;
        recording
    }

    fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    async fn look(&mut self, server: &Server, stream: &str) {
        let response = server.get(&format!("/live/{stream}/playlist.m3u8")).await;
        if response.status() != 200 {
            // Before the first segment.
            return;
        }
        let master = Multivariant::parse(&response.text().await.unwrap_or_default());
        let audio = master.parsed.alternatives.iter().filter_map(|media| media.uri.clone());
        for uri in master.uris().into_iter().chain(audio) {
            self.renditions.entry(uri).or_default();
        }
        for uri in self.renditions.keys().cloned().collect::<Vec<_>>() {
            let response = server.get(&format!("/live/{stream}/{uri}")).await;
            let status = response.status();
            let text = response.text().await.unwrap_or_default();
            match status.as_u16() {
                200 => self.see(&uri, &Media::parse(&text)),
                _ => self.complain(format!("{uri}: {status}")),
            }
        }
    }

    fn see(&mut self, uri: &str, media: &Media) {
        let mut complaints = Vec::new();
        let seen = self.renditions.entry(uri.to_owned()).or_default();
        let playlist = &media.parsed;
        let (first, next) = (playlist.media_sequence, playlist.media_sequence + playlist.segments.len() as u64);
        if first < seen.first || next < seen.next {
            complaints.push(format!("{uri}: numbers went back from {}..{} to {first}..{next}", seen.first, seen.next));
        }
        if playlist.discontinuity_sequence < seen.discontinuity_sequence {
            complaints.push(format!("{uri}: DISCONTINUITY-SEQUENCE went back"));
        }
        let target = *seen.target_duration.get_or_insert(playlist.target_duration);
        if target != playlist.target_duration {
            complaints.push(format!("{uri}: TARGETDURATION was {target} and is {}", playlist.target_duration));
        }
        (seen.first, seen.next, seen.discontinuity_sequence) = (first, next, playlist.discontinuity_sequence);
        let mut discontinuities = playlist.discontinuity_sequence;
        let mut init = None;
        for (msn, segment) in (first..).zip(&playlist.segments) {
            discontinuities += u64::from(segment.discontinuity);
            init = segment.map.as_ref().map(|map| map.uri.clone()).or(init);
            let duration = f64::from(segment.duration);
            if duration.round() > target as f64 {
                complaints.push(format!("{uri}: segment {msn} lasts {duration} s, TARGETDURATION is {target}"));
            }
            let listed = Listed { uri: segment.uri.clone(), init: init.clone(), duration, discontinuities };
            let known =
                seen.segments.entry(msn).or_insert_with(|| Segment { listed: listed.clone(), body: Vec::new() });
            if known.listed != listed {
                complaints.push(format!("{uri}: segment {msn} was listed otherwise before"));
            }
        }
        self.complaints.extend(complaints);
    }

    async fn fetch(&mut self, server: &Server, stream: &str) {
        let mut complaints = Vec::new();
        for rendition in self.renditions.values_mut() {
            let mut init = None;
            for segment in rendition.segments.values_mut() {
                // A decoder needs an initialization section where it changes, and once after each discontinuity.
                let listed = &segment.listed;
                let mut keys = vec![&listed.uri];
                if init != Some((listed.init.clone(), listed.discontinuities)) {
                    init = Some((listed.init.clone(), listed.discontinuities));
                    keys.extend(&listed.init);
                }
                for key in keys.into_iter().rev() {
                    let response = server.get(&format!("/live/{stream}/{key}")).await;
                    if response.status() != 200 {
                        complaints.push(format!("{key}: {}", response.status()));
                    }
                    segment.body.extend(response.bytes().await.unwrap_or_default());
                }
            }
        }
        self.complaints.extend(complaints);
    }

    /// What is wrong with it, a sentence each. Decodes everything, which takes a while.
    pub fn judge(&self, expected: &Expected) -> Vec<String> {
        let mut complaints = self.complaints.clone();
        if self.renditions.is_empty() {
            complaints.push("there never was a playlist".to_owned());
            return complaints;
        }
        if self.lost != expected.lost {
            complaints.push(format!("told that the source was lost: {}", self.lost));
        }
        complaints.extend(self.agree(expected));
        let mut decoded = BTreeMap::new();
        for (uri, rendition) in &self.renditions {
            for (run, segments) in rendition.runs() {
                let bodies: Vec<&[u8]> = segments.iter().map(|segment| &segment.body[..]).collect();
                let durations: Vec<f64> = segments.iter().map(|segment| segment.listed.duration).collect();
                let run_of = Decoded::from(&bodies);
                let what = run_of.complaints.iter().cloned().chain(run_of.compare(&durations));
                complaints.extend(what.map(|what| format!("{uri}, after {run} discontinuities: {what}")));
                decoded.insert((uri.as_str(), run), run_of);
            }
        }
        complaints.extend(in_step(&decoded, expected));
        complaints
    }

    /// Renditions among themselves, and with what is expected.
    fn agree(&self, expected: &Expected) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut reference: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
        let began = self.renditions.values().filter_map(|rendition| rendition.segments.keys().next()).min();
        for (uri, rendition) in &self.renditions {
            let listed = || rendition.segments.values().map(|segment| &segment.listed);
            let seconds: f64 = listed().map(|segment| segment.duration).sum();
            // A rendition may begin later than the others, when a track did.
            let surplus = seconds - expected.seconds;
            if rendition.segments.keys().next() == began && !(-SLACK..=expected.again + SLACK).contains(&surplus) {
                complaints.push(format!("{uri}: {seconds:.3} s of media, {} expected", expected.seconds));
            }
            let discontinuities = listed().map(|segment| segment.discontinuities).max();
            if discontinuities != Some(expected.discontinuities) {
                let expected = expected.discontinuities;
                complaints.push(format!("{uri}: {discontinuities:?} discontinuities, {expected} expected"));
            }
            for (msn, segment) in &rendition.segments {
                let here = segment.listed.discontinuities;
                let (other, there) = *reference.entry(*msn).or_insert((uri, here));
                if here != there {
                    complaints.push(format!(
                        "{uri}: segment {msn} is after {here} discontinuities, in {other} after {there}"
                    ));
                }
            }
        }
        complaints
    }
}

impl Rendition {
    /// The segments between discontinuities, by how many of those came before.
    fn runs(&self) -> BTreeMap<u64, Vec<&Segment>> {
        let mut runs: BTreeMap<u64, Vec<&Segment>> = BTreeMap::new();
        for segment in self.segments.values() {
            runs.entry(segment.listed.discontinuities).or_default().push(segment);
        }
        runs
    }
}

/// Every tone with its flash, in each rendition; the sound may be a rendition of its own.
fn in_step(decoded: &BTreeMap<(&str, u64), Decoded>, expected: &Expected) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut beats: BTreeMap<&str, usize> = BTreeMap::new();
    for ((uri, run), pictures) in decoded.iter().filter(|(_, decoded)| decoded.has_pictures()) {
        let apart = decoded.iter().find(|((_, other), with)| other == run && !with.has_pictures() && with.has_sound());
        let sound = if pictures.has_sound() { pictures } else { apart.map_or(pictures, |(_, sound)| sound) };
        let flashes = pictures.flashes();
        for tone in sound.tones() {
            let nearest = flashes.iter().map(|flash| tone - flash).min_by(|a, b| a.abs().total_cmp(&b.abs()));
            match nearest {
                Some(off) if off.abs() <= STEP => *beats.entry(*uri).or_default() += 1,
                _ => complaints.push(format!("{uri}: the tone at {tone:.3} is {nearest:?} s off its flash")),
            }
        }
    }
    for (uri, heard) in beats.iter().filter(|(_, heard)| **heard < expected.beats) {
        complaints.push(format!("{uri}: {heard} tones with their flash, {} expected", expected.beats));
    }
    if beats.is_empty() && expected.beats > 0 {
        complaints.push(format!("no tone with its flash, {} expected", expected.beats));
    }
    complaints
}
