//! Whether the bytes of a segment are whole, and when its first picture (or sound) is shown.

/// Of an MPEG-TS segment: packets in sync, PAT and PMT before media, no packet missing; the first presentation time.
pub fn ts(bytes: &[u8]) -> Result<f64, String> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(188) {
        return Err(format!("{} bytes are no whole number of packets", bytes.len()));
    }
    let (mut pmt, mut video, mut audio) = (None, None, None);
    let mut counters = [None; 8192];
    let (mut first_video, mut first_audio) = (None, None);
    for (index, packet) in bytes.chunks_exact(188).enumerate() {
        if packet[0] != 0x47 {
            return Err(format!("packet {index} is out of sync"));
        }
        let pid = usize::from(u16::from_be_bytes([packet[1] & 0x1f, packet[2]]));
        let (starts, has_payload) = (packet[1] & 0x40 != 0, packet[3] & 0x10 != 0);
        let skip = if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) };
        let Some(payload) = packet.get(skip..).filter(|_| has_payload) else { continue };
        let counter = packet[3] & 0x0f;
        if counters[pid].replace(counter).is_some_and(|last: u8| (last + 1) & 0x0f != counter) {
            return Err(format!("packet {index} of PID {pid} does not follow the one before"));
        }
        if !starts {
            continue;
        }
        // A section's bytes begin after the pointer field; ours are one packet long.
        if pid == 0 {
            pmt = payload.get(11..13).map(|pid| usize::from(u16::from_be_bytes([pid[0] & 0x1f, pid[1]])));
        } else if Some(pid) == pmt {
            (video, audio) = elementary_streams(payload.get(1..).unwrap_or_default());
        } else if Some(pid) == video {
            first_video = first_video.or_else(|| presentation_time(payload));
        } else if Some(pid) == audio {
            first_audio = first_audio.or_else(|| presentation_time(payload));
        }
    }
    if video.is_some() { first_video } else { first_audio }.ok_or_else(|| "no PAT, no PMT or no media".to_owned())
}

/// The PIDs of picture and sound in a program map section.
fn elementary_streams(section: &[u8]) -> (Option<usize>, Option<usize>) {
    let number = |at: usize, mask: u8| {
        section.get(at..at + 2).map(|two| usize::from(u16::from_be_bytes([two[0] & mask, two[1]])))
    };
    let (Some(length), Some(info)) = (number(1, 0x0f), number(10, 0x0f)) else { return (None, None) };
    let (mut at, end) = (12 + info, (3 + length).saturating_sub(4));
    let (mut video, mut audio) = (None, None);
    while at + 5 <= end {
        let (Some(kind), Some(pid), Some(info)) = (section.get(at), number(at + 1, 0x1f), number(at + 3, 0x0f)) else {
            break;
        };
        match kind {
            0x1b | 0x24 => video = Some(pid),
            0x0f => audio = Some(pid),
            _ => {}
        }
        at += 5 + info;
    }
    (video, audio)
}

fn presentation_time(pes: &[u8]) -> Option<f64> {
    if pes.get(..3)? != [0, 0, 1] || pes.get(7)? & 0x80 == 0 {
        return None;
    }
    let bits = pes.get(9..14)?.iter().map(|byte| u64::from(*byte)).collect::<Vec<_>>();
    let ticks = (bits[0] >> 1 & 7) << 30 | bits[1] << 22 | (bits[2] >> 1) << 15 | bits[3] << 7 | bits[4] >> 1;
    Some(ticks as f64 / 90_000.0)
}

/// Of a CMAF segment: whole boxes; the decoding time of its first sample. `timescale` is its initialization section's.
pub fn cmaf(bytes: &[u8], timescale: u32) -> Result<f64, String> {
    let moof = child(bytes, b"moof").ok_or("no movie fragment, or boxes that end elsewhere")?;
    let tfdt = child(moof, b"traf").and_then(|traf| child(traf, b"tfdt")).ok_or("no decoding time")?;
    let time = match tfdt.first() {
        Some(1) => tfdt.get(4..12).map(|eight| u64::from_be_bytes(eight.try_into().unwrap_or_default())),
        _ => tfdt.get(4..8).map(|four| u64::from(u32::from_be_bytes(four.try_into().unwrap_or_default()))),
    };
    time.map(|time| time as f64 / f64::from(timescale)).ok_or_else(|| "no decoding time".to_owned())
}

/// The timescale in an initialization section.
pub fn timescale(init: &[u8]) -> Option<u32> {
    let mdhd = [b"moov", b"trak", b"mdia", b"mdhd"].into_iter().try_fold(init, |within, name| child(within, name))?;
    let at = if mdhd.first() == Some(&1) { 20 } else { 12 };
    mdhd.get(at..at + 4).map(|four| u32::from_be_bytes(four.try_into().unwrap_or_default()))
}

/// The first box of that name. None too where the boxes before or after it do not fill `bytes` exactly.
fn child<'a>(mut bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let mut found = None;
    while !bytes.is_empty() {
        let size = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let body = bytes.get(8..size)?;
        if bytes.get(4..8)? == name && found.is_none() {
            found = Some(body);
        }
        bytes = bytes.get(size..)?;
    }
    found
}
