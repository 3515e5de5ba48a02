//! The two tables that name the streams: PAT and PMT (ISO/IEC 13818-1, 2.4.4).

/// PID of the program association table.
pub(super) const PAT_PID: u16 = 0;

/// What a program consists of, by PID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) video: Option<Stream>,
    pub(super) audio: Option<Stream>,
    /// Elementary streams that are carried but not looked into: at most [`MAX_OTHERS`].
    pub(super) others: Vec<u16>,
}

/// One elementary stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) pid: u16,
    pub(super) codec: Codec,
}

/// Of those stream types that something is known of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    H264,
    Hevc,
    Adts,
    Other,
}

impl Codec {
    /// Whether its streams say what they are in a way that is read here.
    pub(super) fn is_described(self) -> bool {
        self != Self::Other
    }
}

const MAX_OTHERS: usize = 32;

impl Program {
    pub(super) fn carries(&self, pid: u16) -> bool {
        self.is_video(pid) || self.is_audio(pid) || self.others.contains(&pid)
    }

    pub(super) fn is_video(&self, pid: u16) -> bool {
        self.video.is_some_and(|stream| stream.pid == pid)
    }

    pub(super) fn is_audio(&self, pid: u16) -> bool {
        self.audio.is_some_and(|stream| stream.pid == pid)
    }
}

/// The body of a section that begins and ends in this payload: between its 8-byte header and its checksum. FFmpeg's
/// tables fit in one packet each.
fn section(payload: &[u8], table_id: u8) -> Option<&[u8]> {
    let (&pointer, rest) = payload.split_first()?;
    let section = rest.get(usize::from(pointer)..)?;
    let [id, high, low, ..] = *section else { return None };
    let length = usize::from(high & 0x0f) << 8 | usize::from(low);
    (id == table_id).then(|| section.get(8..(3 + length).checked_sub(4)?))?
}

/// PID of the first program's map table.
pub(super) fn parse_pat(payload: &[u8]) -> Option<u16> {
    let programs = section(payload, 0x00)?.chunks_exact(4);
    let mut pids = programs.filter(|p| p[..2] != [0, 0]).map(|p| u16::from(p[2] & 0x1f) << 8 | u16::from(p[3]));
    pids.next()
}

pub(super) fn parse_pmt(payload: &[u8]) -> Option<Program> {
    let body = section(payload, 0x02)?;
    let [_, _, high, low, rest @ ..] = body else { return None };
    let mut rest = rest.get((usize::from(high & 0x0f) << 8 | usize::from(*low))..)?;
    let mut program = Program::default();
    while let [kind, pid_high, pid_low, high, low, tail @ ..] = rest {
        let pid = u16::from(pid_high & 0x1f) << 8 | u16::from(*pid_low);
        program.add(*kind, pid);
        rest = tail.get((usize::from(high & 0x0f) << 8 | usize::from(*low))..)?;
    }
    Some(program)
}

impl Program {
    fn add(&mut self, stream_type: u8, pid: u16) {
        let (slot, codec) = match stream_type {
            0x1b => (&mut self.video, Codec::H264),
            0x24 => (&mut self.video, Codec::Hevc),
            0x01 | 0x02 | 0x10 => (&mut self.video, Codec::Other),
            0x0f => (&mut self.audio, Codec::Adts),
            0x03 | 0x04 | 0x11 | 0x81 | 0x87 => (&mut self.audio, Codec::Other),
            _ => {
                if self.others.len() < MAX_OTHERS {
                    self.others.push(pid);
                }
                return;
            }
        };
        if slot.is_none() {
            *slot = Some(Stream { pid, codec });
        } else if self.others.len() < MAX_OTHERS {
            self.others.push(pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FFmpeg's, checksums included.
    const PAT: [u8; 17] =
        [0, 0x00, 0xb0, 0x0d, 0x00, 0x01, 0xc1, 0x00, 0x00, 0x00, 0x01, 0xf0, 0x00, 0x2a, 0xb1, 0x04, 0xb2];
    const PMT: [u8; 27] = [
        0, 0x02, 0xb0, 0x17, 0x00, 0x01, 0xc1, 0x00, 0x00, 0xe1, 0x00, 0xf0, 0x00, 0x1b, 0xe1, 0x00, 0xf0, 0x00, 0x0f,
        0xe1, 0x01, 0xf0, 0x00, 0x2f, 0x44, 0xb9, 0x9b,
    ];

    #[test]
    fn ffmpegs_tables_name_the_streams() {
        assert_eq!(parse_pat(&PAT), Some(0x1000));
        let program = parse_pmt(&PMT).unwrap();
        assert_eq!(program.video, Some(Stream { pid: 0x100, codec: Codec::H264 }));
        assert_eq!(program.audio, Some(Stream { pid: 0x101, codec: Codec::Adts }));
        assert!(program.carries(0x100) && program.carries(0x101) && !program.carries(0x11));
    }

    #[test]
    fn torn_tables_are_none() {
        for length in 0..PMT.len() - 4 {
            assert_eq!(parse_pmt(&PMT[..length]), None);
        }
        for length in 0..PAT.len() - 4 {
            assert_eq!(parse_pat(&PAT[..length]), None);
        }
    }
}
