//! The names of the files of a PostgreSQL log archive, and where in the log they lie
//! (`format-spec/wal.md#files`).

use std::fmt;
use std::str::FromStr;

use crate::FormatError;

/// Smallest segment, bytes.
pub const SEGMENT_MIN_BYTES: u64 = 1 << 20;
/// Largest segment, bytes.
pub const SEGMENT_MAX_BYTES: u64 = 1 << 30;

const WHAT: &str = "name of a log file";
const NO_NAME: FormatError = FormatError::Rule {
    what: WHAT,
    rule: "24 hexadecimal digits, then nothing, `.partial` or an offset and `.backup`; or 8 and `.history`",
};

/// Whether segments may have this length: a power of two from 1 MiB to 1 GiB.
#[must_use]
pub const fn is_segment_length(bytes: u64) -> bool {
    bytes.is_power_of_two() && bytes >= SEGMENT_MIN_BYTES && bytes <= SEGMENT_MAX_BYTES
}

/// A segment by the three numbers of its name: timeline, and the upper and lower half of its place.
///
/// Segments of a timeline are in the order of their places, whatever their length is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// The timeline: 1 or more.
    pub timeline: u32,
    /// The other 16 digits of the name.
    pub place: u64,
}

/// A file of a log archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogFile {
    /// A whole segment: `000000010000000000000003`.
    Segment(Segment),
    /// What a timeline that ended wrote of its last segment: `000000010000000000000003.partial`.
    Partial(Segment),
    /// Where a base backup began and ended: `000000010000000000000003.00000028.backup`.
    Backup(Segment, u32),
    /// From where a timeline branches: `00000002.history`.
    History(u32),
}

impl Segment {
    /// The segment at a byte of the log.
    #[must_use]
    pub const fn at(timeline: u32, position: u64, segment_bytes: u64) -> Self {
        let number = (position & 0xffff_ffff) / segment_bytes;
        Self { timeline, place: position >> 32 << 32 | number }
    }

    /// Its first byte's position in the log (LSN); `None` where no segment of that length has the name.
    #[must_use]
    pub fn position(self, segment_bytes: u64) -> Option<u64> {
        let (high, low) = (self.place >> 32, self.place & 0xffff_ffff);
        let offset = low.checked_mul(segment_bytes).filter(|offset| *offset < 1 << 32)?;
        Some(high << 32 | offset)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:016X}", self.timeline, self.place)
    }
}

impl LogFile {
    /// The timeline that it is of.
    #[must_use]
    pub const fn timeline(self) -> u32 {
        match self {
            Self::Segment(segment) | Self::Partial(segment) | Self::Backup(segment, _) => segment.timeline,
            Self::History(timeline) => timeline,
        }
    }

    /// The segment that it is, or is about; a history is about none.
    #[must_use]
    pub const fn segment(self) -> Option<Segment> {
        match self {
            Self::Segment(segment) | Self::Partial(segment) | Self::Backup(segment, _) => Some(segment),
            Self::History(_) => None,
        }
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(segment) => segment.fmt(f),
            Self::Partial(segment) => write!(f, "{segment}.partial"),
            Self::Backup(segment, offset) => write!(f, "{segment}.{offset:08X}.backup"),
            Self::History(timeline) => write!(f, "{timeline:08X}.history"),
        }
    }
}

impl FromStr for LogFile {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        if let Some(timeline) = name.strip_suffix(".history") {
            return timeline_of(timeline).map(Self::History);
        }
        let (segment, rest) = name.split_at_checked(24).ok_or(NO_NAME)?;
        let (timeline, place) = segment.split_at_checked(8).ok_or(NO_NAME)?;
        let segment = Segment { timeline: timeline_of(timeline)?, place: digits(place, 16)? };
        match rest {
            "" => Ok(Self::Segment(segment)),
            ".partial" => Ok(Self::Partial(segment)),
            _ => {
                let offset = rest.strip_prefix('.').and_then(|rest| rest.strip_suffix(".backup"));
                let offset = digits(offset.ok_or(NO_NAME)?, 8)?;
                Ok(Self::Backup(segment, u32::try_from(offset).map_err(|_| NO_NAME)?))
            }
        }
    }
}

fn timeline_of(text: &str) -> Result<u32, FormatError> {
    let timeline = u32::try_from(digits(text, 8)?).map_err(|_| NO_NAME)?;
    if timeline == 0 { Err(NO_NAME) } else { Ok(timeline) }
}

/// Uppercase hexadecimal, as PostgreSQL writes it, and no other: a name has one spelling.
fn digits(text: &str, length: usize) -> Result<u64, FormatError> {
    let is_digit = |c: u8| c.is_ascii_digit() || (b'A'..=b'F').contains(&c);
    if text.len() != length || !text.bytes().all(is_digit) {
        return Err(NO_NAME);
    }
    u64::from_str_radix(text, 16).map_err(|_| NO_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let segment = Segment { timeline: 1, place: 0x0a_0000_0003 };
        for (name, file) in [
            ("000000010000000A00000003", LogFile::Segment(segment)),
            ("000000010000000A00000003.partial", LogFile::Partial(segment)),
            ("000000010000000A00000003.00000028.backup", LogFile::Backup(segment, 0x28)),
            ("0000000A.history", LogFile::History(10)),
        ] {
            assert_eq!(name.parse(), Ok(file));
            assert_eq!(file.to_string(), name);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "x",
            "000000010000000a00000003",
            "00000001000000000000000",
            "0000000100000000000000033",
            "000000000000000000000003",
            "000000010000000000000003.",
            "000000010000000000000003.part",
            "000000010000000000000003.0000028.backup",
            "00000000.history",
            "0000001.history",
            "+0000001.history",
            "000000010000000000000003.partial.partial",
            "../0000010000000000000003",
            "00000001000000000000000\u{e9}",
        ] {
            assert_eq!(name.parse::<LogFile>(), Err(NO_NAME), "{name}");
        }
    }

    #[test]
    fn places_follow_from_positions_at_every_segment_length() {
        for (bytes, position, place) in [
            (16 << 20, 0, 0),
            (16 << 20, 0x0300_0028, 3),
            (16 << 20, 0x1_0000_0000, 0x1_0000_0000),
            (16 << 20, 0x1_ff12_3456, 0x1_0000_00ff),
            (1 << 30, 0x2_c000_0001, 0x2_0000_0003),
            (1 << 20, 0xffff_ffff, 0xfff),
        ] {
            let segment = Segment::at(7, position, bytes);
            assert_eq!(segment.place, place);
            assert_eq!(segment.position(bytes), Some(position / bytes * bytes));
        }
        assert_eq!(Segment { timeline: 1, place: 0x100 }.position(16 << 20), None);
        assert!(is_segment_length(1 << 24) && !is_segment_length(3 << 20) && !is_segment_length(1 << 31));
    }
}
