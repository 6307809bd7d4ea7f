//! Files of PostgreSQL's write-ahead log, as its server hands them over: whether one is what its name says, and of
//! which database system it is.
//!
//! A segment begins with a long page header (`XLogLongPageHeaderData` of `xlog_internal.h`, the same in all versions
//! that are in use), which names the system; of histories and of what base backups leave only the server's own
//! `global/pg_control` tells. Both are in the byte order of the host; this reads little-endian ones.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use strongroom_format::wal_file::{LogFile, Segment, is_segment_length};

const HEADER_LENGTH: usize = 40;
/// `XLOG_PAGE_MAGIC`, one a major version: 0xD097 is version 10, 0xD118 is version 18.
const MAGIC: std::ops::RangeInclusive<u16> = 0xD090..=0xD1FF;
/// `XLP_LONG_HEADER`.
const LONG_HEADER: u16 = 2;

/// Why a file is not to be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogFileError {
    /// Reading it failed.
    #[error("reading {} failed", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no whole segment of that name.
    #[error("{} is not the segment that its name says: {reason}", path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: BadSegment,
    },
    /// The file that names the system cannot be read.
    #[error("which database system is it? reading {} failed; run in the data directory, or say --system-identifier", path.display())]
    Control {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is wrong with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSegment {
    /// It does not begin with the header of a log page.
    #[error("it does not begin with a page of the log (magic {0:#06x}; a server of the other byte order?)")]
    Magic(u16),
    /// Its first page is not the first one of a segment.
    #[error("its first page is not the first one of a segment")]
    ShortHeader,
    /// Its header names a length that no segment has.
    #[error("its header says that segments have {0} bytes")]
    SegmentLength(u64),
    /// It is longer or shorter than its header says.
    #[error("it has {found} bytes, and its header says {expected}")]
    Length {
        /// Its length.
        found: u64,
        /// That of a segment.
        expected: u64,
    },
    /// It is another segment.
    #[error("its first page is that of {found} (timeline {timeline})")]
    Place {
        /// The segment whose address the page has.
        found: Segment,
        /// The timeline that the page names.
        timeline: u32,
    },
}

/// What a segment's first page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LongHeader {
    timeline: u32,
    position: u64,
    system: u64,
    segment_bytes: u64,
}

/// The database system that a file of the log is of. A segment is compared with its name first: then it is of the
/// system that it names itself. The others are of the system whose `pg_wal` they lie in, by `global/pg_control` beside that.
///
/// # Errors
/// [`LogFileError`].
pub fn system_of(path: &Path, name: LogFile, file: &mut File) -> Result<u64, LogFileError> {
    let read = |source| LogFileError::Read { path: path.to_owned(), source };
    let segment = match name {
        LogFile::Segment(segment) | LogFile::Partial(segment) => segment,
        LogFile::Backup(..) | LogFile::History(_) => return system_of_data_directory(data_directory(path)),
    };
    let length = file.seek(SeekFrom::End(0)).map_err(read)?;
    file.rewind().map_err(read)?;
    let mut header = Vec::with_capacity(HEADER_LENGTH);
    file.take(HEADER_LENGTH as u64).read_to_end(&mut header).map_err(read)?;
    file.rewind().map_err(read)?;
    check(segment, length, &header).map_err(|reason| LogFileError::Segment { path: path.to_owned(), reason })
}

/// The database system of a data directory.
///
/// # Errors
/// `Control`.
pub fn system_of_data_directory(folder: &Path) -> Result<u64, LogFileError> {
    let path = folder.join("global/pg_control");
    let mut first = [0; 8];
    match File::open(&path).and_then(|mut file| file.read_exact(&mut first)) {
        Ok(()) => Ok(u64::from_le_bytes(first)),
        Err(source) => Err(LogFileError::Control { path, source }),
    }
}

/// The folder above `pg_wal`, by name: `pg_wal` itself may be a link to elsewhere.
fn data_directory(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Path::new(".."), |folder| folder.parent().unwrap_or(Path::new("..")))
}

fn check(segment: Segment, length: u64, header: &[u8]) -> Result<u64, BadSegment> {
    let found = decode(header)?;
    if !is_segment_length(found.segment_bytes) {
        return Err(BadSegment::SegmentLength(found.segment_bytes));
    }
    if length != found.segment_bytes {
        return Err(BadSegment::Length { found: length, expected: found.segment_bytes });
    }
    // A new timeline begins with a copy of pages of the old one.
    let may_be = (1..=segment.timeline).contains(&found.timeline);
    if !may_be || segment.position(found.segment_bytes) != Some(found.position) {
        let place = Segment::at(found.timeline, found.position, found.segment_bytes);
        return Err(BadSegment::Place { found: place, timeline: found.timeline });
    }
    Ok(found.system)
}

fn decode(header: &[u8]) -> Result<LongHeader, BadSegment> {
    let at = |offset: usize, length: usize| {
        let bytes = header.get(offset..offset + length).unwrap_or_default();
        bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let half = |offset| u16::try_from(at(offset, 2)).unwrap_or_default();
    let magic = half(0);
    if header.len() < HEADER_LENGTH || !MAGIC.contains(&magic) {
        return Err(BadSegment::Magic(magic));
    }
    if half(2) & LONG_HEADER == 0 {
        return Err(BadSegment::ShortHeader);
    }
    Ok(LongHeader {
        timeline: u32::try_from(at(4, 4)).unwrap_or_default(),
        position: at(8, 8),
        system: at(24, 8),
        segment_bytes: at(32, 4),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Segment = Segment { timeline: 2, place: 0x1_0000_0003 };

    /// The first page of a segment of 16 MiB of version 15.
    fn header() -> Vec<u8> {
        let mut header = vec![0; HEADER_LENGTH];
        header[..2].copy_from_slice(&0xD110_u16.to_le_bytes());
        header[2..4].copy_from_slice(&7_u16.to_le_bytes());
        header[4..8].copy_from_slice(&2_u32.to_le_bytes());
        header[8..16].copy_from_slice(&0x1_0300_0000_u64.to_le_bytes());
        header[24..32].copy_from_slice(&7_311_000_000_000_000_001_u64.to_le_bytes());
        header[32..36].copy_from_slice(&(16_u32 << 20).to_le_bytes());
        header[36..].copy_from_slice(&8192_u32.to_le_bytes());
        header
    }

    #[test]
    fn a_segment_names_its_system() {
        assert_eq!(check(SEGMENT, 16 << 20, &header()), Ok(7_311_000_000_000_000_001));
        let mut copied = header();
        copied[4] = 1;
        assert_eq!(check(SEGMENT, 16 << 20, &copied), Ok(7_311_000_000_000_000_001));
    }

    #[test]
    fn what_is_no_such_segment_is_refused() {
        let with = |at: usize, byte: u8| {
            let mut header = header();
            header[at] = byte;
            check(SEGMENT, 16 << 20, &header)
        };
        assert_eq!(check(SEGMENT, 16 << 20, &[]), Err(BadSegment::Magic(0)));
        assert_eq!(check(SEGMENT, 16 << 20, &header()[..39]), Err(BadSegment::Magic(0xD110)));
        assert_eq!(check(SEGMENT, 16 << 20, &[0; 40]), Err(BadSegment::Magic(0)));
        assert_eq!(with(1, 0xD0), Err(BadSegment::Magic(0xD010)));
        assert_eq!(with(2, 4), Err(BadSegment::ShortHeader));
        assert_eq!(with(35, 0), Err(BadSegment::SegmentLength(0)));
        let (found, expected) = (100, 16 << 20);
        assert_eq!(check(SEGMENT, 100, &header()), Err(BadSegment::Length { found, expected }));
        for (at, byte) in [(4, 3), (4, 0), (11, 4), (8, 1), (12, 2)] {
            assert!(matches!(with(at, byte), Err(BadSegment::Place { .. })), "{at}");
        }
    }

    #[test]
    fn the_data_directory_is_above() {
        for (file, folder) in [
            ("pg_wal/00000002.history", ""),
            ("/srv/pg/pg_wal/00000002.history", "/srv/pg"),
            ("00000002.history", ".."),
            ("./pg_wal/00000002.history", "."),
        ] {
            assert_eq!(data_directory(Path::new(file)), Path::new(folder), "{file}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("global")).unwrap();
        assert!(matches!(system_of_data_directory(folder.path()), Err(LogFileError::Control { .. })));
        std::fs::write(
            folder.path().join("global/pg_control"),
            [&7_u64.to_le_bytes()[..], &[1; 99]].concat(),
        )
        .unwrap();
        assert_eq!(system_of_data_directory(folder.path()).unwrap(), 7);
    }
}
