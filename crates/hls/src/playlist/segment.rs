//! The lines of segments and parts.

use std::fmt::{self, Write};
use std::time::Duration;

use super::decimal::{most_of_target, part_target_units, write_at_most};
use super::quotable;
use crate::time::UnixTime;
use crate::window::{PartInfo, SegmentInfo};

/// `EXT-X-GAP` if it is one, `EXTINF` and the URI.
pub(crate) fn render_segment(out: &mut String, info: &SegmentInfo, target_duration: u32) {
    if info.gap {
        out.push_str("#EXT-X-GAP\n");
    }
    out.push_str("#EXTINF:");
    write_at_most(out, info.duration, most_of_target(target_duration));
    out.push_str(",\n");
    out.extend(info.uri.chars().filter(|c| !c.is_control()));
    out.push('\n');
}

pub(crate) fn render_part(out: &mut String, part: &PartInfo, target: Duration) {
    out.push_str("#EXT-X-PART:DURATION=");
    write_at_most(out, part.duration, part_target_units(target));
    out.push_str(",URI=\"");
    out.push_str(&quotable(&part.uri));
    out.push('"');
    if part.independent {
        out.push_str(",INDEPENDENT=YES");
    }
    out.push('\n');
}

/// What is before a segment's date, its first part and its `EXTINF`: "DISCONTINUITY, KEY, MAP and
/// PROGRAM-DATE-TIME" apply to the parts too.
pub(crate) fn render_preamble(out: &mut String, discontinuity: bool, map: Option<&str>) {
    if discontinuity {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if let Some(uri) = map {
        out.push_str("#EXT-X-MAP:URI=\"");
        out.push_str(&quotable(uri));
        out.push_str("\"\n");
    }
}

pub(crate) fn render_date(out: &mut String, date: UnixTime) {
    // Writing to a String cannot fail.
    let _: fmt::Result = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{date}");
}
