//! One packet of a transport stream (ISO/IEC 13818-1, 2.4.3.2) and what begins in it.

/// Length of a packet.
pub(super) const LENGTH: usize = 188;
/// Its first byte.
pub(super) const SYNC: u8 = 0x47;

/// The fields that cutting needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) pid: u16,
    /// A section or PES packet begins in it.
    pub(super) unit_start: bool,
    pub(super) random_access: bool,
    /// Its adaptation field has more bytes than it needs. FFmpeg fills up only the last packet of a PES.
    pub(super) stuffed: bool,
    pub(super) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `bytes` are one packet. A field that reaches out of it leaves no payload.
    pub(super) fn parse(bytes: &'a [u8; LENGTH]) -> Self {
        let pid = u16::from(bytes[1] & 0x1f) << 8 | u16::from(bytes[2]);
        let (has_field, has_payload) = (bytes[3] & 0x20 != 0, bytes[3] & 0x10 != 0);
        let rest = &bytes[4..];
        let (field, payload) = match rest {
            [length, rest @ ..] if has_field => rest.split_at_checked(usize::from(*length)).unwrap_or((&[], &[])),
            _ => (&[][..], rest),
        };
        Self {
            pid,
            unit_start: bytes[1] & 0x40 != 0,
            random_access: field.first().is_some_and(|flags| flags & 0x40 != 0),
            stuffed: has_field && stuffed(field),
            payload: if has_payload { payload } else { &[] },
        }
    }
}

/// Whether an adaptation field is longer than what its flags announce. An empty one is a single stuffing byte.
fn stuffed(field: &[u8]) -> bool {
    let [flags, rest @ ..] = field else { return true };
    let mut needed = 0;
    for (flag, size) in [(0x10, 6), (0x08, 6), (0x04, 1)] {
        needed += if flags & flag != 0 { size } else { 0 };
    }
    // Private data, then the extension, each with its length before it.
    for flag in [0x02, 0x01] {
        if flags & flag != 0 {
            needed += 1 + rest.get(needed).copied().map_or(0, usize::from);
        }
    }
    rest.len() > needed
}

/// The start of a PES packet (ISO/IEC 13818-1, 2.4.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PesStart<'a> {
    /// Ticks of 1/90000 s, 33 bits.
    pub(super) pts: u64,
    /// The same as the PTS where it is not written.
    pub(super) dts: u64,
    /// Bytes of the elementary stream in this TS packet.
    pub(super) data: &'a [u8],
    /// How many there are in the whole PES; `None`: unbounded, as FFmpeg writes video.
    pub(super) size: Option<usize>,
}

impl<'a> PesStart<'a> {
    /// `None`: no PES header, or one without a time.
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let [0, 0, 1, _, high, low, _, flags, header, rest @ ..] = payload else { return None };
        let (header, data) = rest.split_at_checked(usize::from(*header))?;
        let pts = timestamp(header).filter(|_| flags & 0x80 != 0)?;
        let dts = header.get(5..).and_then(timestamp).filter(|_| flags & 0x40 != 0).unwrap_or(pts);
        let length = usize::from(*high) << 8 | usize::from(*low);
        let size = (length > 0).then(|| length.saturating_sub(3 + header.len()));
        Some(Self { pts, dts, data, size })
    }
}

fn timestamp(bytes: &[u8]) -> Option<u64> {
    let [a, b, c, d, e] = *bytes.first_chunk()?;
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    Some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

/// Continues a 33-bit time so that it is nearest to `reference`: it wraps each 26.5 hours.
pub(super) fn unwrap(ticks: u64, reference: i64) -> i64 {
    const WRAP: i64 = 1 << 33;
    let ahead = (ticks as i64).wrapping_sub(reference).rem_euclid(WRAP);
    reference.saturating_add(if ahead >= WRAP / 2 { ahead - WRAP } else { ahead })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(field: &[u8]) -> [u8; LENGTH] {
        let mut bytes = [0xff; LENGTH];
        bytes[..5].copy_from_slice(&[SYNC, 0x41, 0x00, 0x30, field.len() as u8]);
        bytes[5..5 + field.len()].copy_from_slice(field);
        bytes
    }

    #[test]
    fn stuffing_is_what_the_adaptation_fields_flags_do_not_announce() {
        let parse = |field: &[u8]| {
            let bytes = packet(field);
            let packet = Packet::parse(&bytes);
            (packet.stuffed, packet.random_access, packet.payload.len())
        };
        assert_eq!(parse(&[]), (true, false, 183));
        assert_eq!(parse(&[0x40]), (false, true, 182));
        assert_eq!(parse(&[0x50, 1, 2, 3, 4, 5, 6]), (false, true, 176));
        assert_eq!(parse(&[0x50, 1, 2, 3, 4, 5, 6, 0xff]), (true, true, 175));
        assert_eq!(parse(&[0x02, 3, 1, 2, 3]), (false, false, 178));
        assert_eq!(parse(&[0x02, 3, 1, 2, 3, 0xff]), (true, false, 177));
    }

    #[test]
    fn an_adaptation_field_that_reaches_out_of_its_packet_leaves_no_payload() {
        let mut bytes = packet(&[]);
        bytes[4] = 200;
        assert_eq!(Packet::parse(&bytes).payload, b"");
    }

    #[test]
    fn time_goes_on_over_the_33_bit_wrap_in_both_directions() {
        let last = (1_i64 << 33) - 3003;
        assert_eq!(unwrap(0, last), 1 << 33);
        assert_eq!(unwrap((1 << 33) - 10, 1 << 33), (1 << 33) - 10);
        assert_eq!(unwrap(90_000, 0), 90_000);
        assert_eq!(unwrap((1 << 33) - 1920, 0), -1920);
    }

    #[test]
    fn a_pes_header_gives_both_times_and_the_payload() {
        let header = [0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10, 0x31, 0, 0x37, 0x77, 0x41, 0x11, 0, 0x37, 0x5f, 0xd1, 9, 8];
        let pes = PesStart::parse(&header).unwrap();
        assert_eq!((pes.pts, pes.dts, pes.data, pes.size), (900_000, 897_000, &[9, 8][..], None));
        assert_eq!(PesStart::parse(&header[..12]), None);
    }
}
