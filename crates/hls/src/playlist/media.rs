//! The two forms of a media playlist.

use std::fmt::{self, Write};
use std::time::Duration;

use super::decimal::write_short;
use super::quotable;
use super::segment::{render_date, render_part, render_preamble};
use crate::window::State;
use crate::window::{ListedSegment, RenditionReport};

/// Protocol versions (RFC 8216bis 8): 3 for EXTINF with decimals, 6 for EXT-X-MAP, 9 for EXT-X-SKIP.
const VERSION_DECIMALS: u8 = 3;
const VERSION_MAP: u8 = 6;
const VERSION_SKIP: u8 = 9;

/// "HOLD-BACK ... MUST be at least three times the Target Duration"; the same for parts "SHOULD" (RFC 8216bis
/// 4.4.3.8), and must for Apple (authoring 14.3).
const HOLD_BACK: u32 = 3;
/// "The Skip Boundary MUST be at least six times the Target Duration" (RFC 8216bis 4.4.3.8).
const SKIP_BOUNDARY: u32 = 6;
/// "Servers SHOULD remove EXT-X-PART tags once they are greater than three Target Durations from the end"
/// (RFC 8216bis 4.4.4.9).
const PARTS_LISTED: u32 = 3;

pub(crate) fn render_plain(state: &State) -> String {
    let mut out = String::with_capacity(256 + state.segments.len() * 160);
    header(&mut out, state, if state.config.version_map { VERSION_MAP } else { VERSION_DECIMALS });
    segments(&mut out, state, 0, None);
    end(&mut out, state);
    out
}

pub(crate) fn render_low_latency(state: &State, reports: &[RenditionReport], skip: bool) -> String {
    let skipped = if skip { skippable(state) } else { 0 };
    let listed = state.segments.len() - skipped;
    let mut out = String::with_capacity(1024 + listed * 160 + reports.len() * 120 + 20 * 120);
    header(&mut out, state, VERSION_SKIP);
    server_control(&mut out, state);
    if skipped > 0 {
        line(&mut out, format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}"));
    }
    segments(&mut out, state, skipped, Some(first_with_parts(state)));
    open_segment(&mut out, state);
    // "A Server MUST NOT add [a PRELOAD-HINT] to a Playlist that contains EXT-X-ENDLIST" (RFC 8216bis 4.4.5.3).
    if !state.ended {
        hints(&mut out, state);
    }
    for report in reports {
        rendition_report(&mut out, report);
    }
    end(&mut out, state);
    out
}

fn line(out: &mut String, args: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _: fmt::Result = out.write_fmt(args);
    out.push('\n');
}

fn header(out: &mut String, state: &State, version: u8) {
    line(out, format_args!("#EXTM3U\n#EXT-X-VERSION:{version}"));
    line(out, format_args!("#EXT-X-TARGETDURATION:{}", state.config.target_duration));
    let first = state.segments.front().map_or(state.next_msn, |first| first.msn);
    line(out, format_args!("#EXT-X-MEDIA-SEQUENCE:{first}"));
    // Always, from 0: "if a stream can ever get a discontinuity" (Apple authoring 8.17).
    line(out, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{}", state.discontinuity_sequence));
}

fn server_control(out: &mut String, state: &State) {
    let target = target(state);
    out.push_str("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=");
    write_short(out, target * SKIP_BOUNDARY);
    out.push_str(",HOLD-BACK=");
    write_short(out, target * HOLD_BACK);
    if let Some(part_target) = state.config.part_target {
        // To the next millisecond: three times a binary 0.2134 is more than the binary 0.6402.
        let millis = (part_target * HOLD_BACK).as_nanos().div_ceil(1_000_000);
        out.push_str(",PART-HOLD-BACK=");
        write_short(out, Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)));
        out.push_str("\n#EXT-X-PART-INF:PART-TARGET=");
        write_short(out, part_target);
    }
    out.push('\n');
}

fn target(state: &State) -> Duration {
    Duration::from_secs(u64::from(state.config.target_duration))
}

/// Segments that lie wholly further from the end of the last segment than the skip boundary.
fn skippable(state: &State) -> usize {
    let boundary = target(state) * SKIP_BOUNDARY;
    let mut distance = Duration::ZERO;
    let kept = state.segments.iter().rev().take_while(|segment| {
        let listed = distance < boundary;
        distance += segment.duration;
        listed
    });
    state.segments.len() - kept.count()
}

/// Index of the first segment whose parts are all within three target durations of the end.
fn first_with_parts(state: &State) -> usize {
    let limit = target(state) * PARTS_LISTED;
    let mut distance: Duration = state.parts.iter().map(|part| part.duration).sum();
    let listed = state.segments.iter().rev().take_while(|segment| {
        distance += segment.duration;
        distance <= limit
    });
    state.segments.len() - listed.count()
}

/// Segments from index `skipped` on; those from index `with_parts` on with their parts.
fn segments(out: &mut String, state: &State, skipped: usize, with_parts: Option<usize>) {
    for (index, segment) in state.segments.iter().enumerate().skip(skipped) {
        // The map of a segment that left at the head, or is skipped, must still be said.
        let map = map_of(segment, index == skipped);
        render_preamble(out, segment.discontinuity, map);
        out.push_str(&segment.date_line);
        if with_parts.is_some_and(|first| index >= first) {
            out.push_str(&segment.part_lines);
        }
        out.push_str(&segment.lines);
    }
}

fn map_of(segment: &ListedSegment, first: bool) -> Option<&str> {
    segment.init.as_deref().filter(|_| first || segment.new_init)
}

/// The segment that is being made: its parts, and what applies to them.
fn open_segment(out: &mut String, state: &State) {
    let (Some(first), Some(target)) = (state.parts.first(), state.config.part_target) else { return };
    render_preamble(out, state.discontinuity, state.new_init.as_deref());
    render_date(out, first.date);
    for part in &state.parts {
        render_part(out, part, target);
    }
}

fn hints(out: &mut String, state: &State) {
    if state.config.part_target.is_none() {
        return;
    }
    if state.parts.is_empty()
        && let Some(init) = &state.new_init
    {
        line(out, format_args!("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{}\"", quotable(init)));
    }
    let uri = state.config.part_uri(state.next_msn, u32::try_from(state.parts.len()).unwrap_or(u32::MAX));
    line(out, format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"", quotable(&uri)));
}

fn rendition_report(out: &mut String, report: &RenditionReport) {
    let (uri, msn) = (quotable(&report.uri), report.last_msn);
    let _: fmt::Result = write!(out, "#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={msn}");
    if let Some(part) = report.last_part {
        let _: fmt::Result = write!(out, ",LAST-PART={part}");
    }
    out.push('\n');
}

fn end(out: &mut String, state: &State) {
    if state.ended {
        out.push_str("#EXT-X-ENDLIST\n");
    }
}
