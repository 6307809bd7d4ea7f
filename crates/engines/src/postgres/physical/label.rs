//! `backup_label`, positions in the WAL, and the segments that hold them.

use strongroom_format::wal_file::Segment;

/// What the label says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    /// Where recovery begins.
    pub(super) start: u64,
    pub(super) timeline: u32,
}

impl Label {
    /// `None` for what is no label.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.and_then(|value| value.split(' ').next())
        };
        Some(Self {
            start: parse_lsn(field("START WAL LOCATION")?)?,
            timeline: field("START TIMELINE")?.parse().ok()?,
        })
    }
}

/// `16/B374D848`, as PostgreSQL writes a position.
pub(super) fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.trim().split_once('/')?;
    let part = |text: &str| u32::from_str_radix(text, 16).ok();
    Some(u64::from(part(high)?) << 32 | u64::from(part(low)?))
}

/// As PostgreSQL writes it.
pub(super) fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF)
}

/// The segments that hold the WAL from `start` to before `stop`.
pub(super) fn segments(timeline: u32, start: u64, stop: u64, segment_bytes: u64) -> Vec<Segment> {
    let segment_bytes = segment_bytes.max(1);
    let last = stop.saturating_sub(1).max(start) / segment_bytes;
    (start / segment_bytes..=last)
        .map(|number| Segment::at(timeline, number.saturating_mul(segment_bytes), segment_bytes))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read() {
        let text = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n\
            BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-22 02:00:00 UTC\nLABEL: x\nSTART TIMELINE: 3\n";
        assert_eq!(Label::parse(text), Some(Label { start: 0x0200_0028, timeline: 3 }));
        assert_eq!(Label::parse("LABEL: x\n"), None);
    }

    #[test]
    fn segments_are_named_as_postgresql_does() {
        assert_eq!(parse_lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(lsn(0x16_B374_D848), "16/B374D848");
        let names = |timeline, start, stop, bytes| -> Vec<String> {
            segments(timeline, start, stop, bytes).iter().map(ToString::to_string).collect()
        };
        let of = |start, stop| names(1, start, stop, 16 << 20);
        assert_eq!(of(0x0200_0028, 0x0200_0100), ["000000010000000000000002"]);
        // A position at the end of a segment lies in the one before.
        assert_eq!(of(0x0200_0028, 0x0300_0000), ["000000010000000000000002"]);
        assert_eq!(of(0xFF00_0028, 0x1_0000_0100), ["0000000100000000000000FF", "000000010000000100000000"]);
        assert_eq!(names(10, 0x4000_0000, 0x4000_0001, 1 << 30), ["0000000A0000000000000001"]);
    }
}
