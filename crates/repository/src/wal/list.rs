//! What log archives there are, and what is missing of them.

use std::collections::BTreeMap;

use strongroom_format::entry::SegmentRange;
use strongroom_format::wal::{FILE_LIMIT_BYTES, part_count};
use strongroom_format::wal_file::{LogFile, Segment};

use super::gaps::{Branch, LogGap, Present, gaps};
use super::{ArchivedFile, history};
use crate::error::RepositoryError;
use crate::repository::Repository;

/// Longest history that is looked at: a timeline is a line.
const HISTORY_LIMIT_BYTES: u64 = 1 << 20;

/// All log archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogArchives {
    /// Each, by source and system identifier.
    pub archives: Vec<LogArchive>,
    /// Objects that are damaged, or that nobody who may has signed: of which file they are, nobody can tell.
    pub unreadable: u64,
}

/// The log of one database system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogArchive {
    /// Whose it is.
    pub source: String,
    /// The database system identifier.
    pub system: u64,
    /// Its timelines, in order.
    pub timelines: Vec<LogTimeline>,
    /// Histories that this host cannot read: from where these timelines branch is not known.
    pub unread_histories: Vec<u32>,
    /// When each of its segments was stored, by the store's clock, ms since 1970; in order.
    pub segment_times_ms: Vec<u64>,
    /// Whether anything of it is expired.
    pub is_expired: bool,
}

/// What there is of a timeline, but for what is expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTimeline {
    /// Its number.
    pub timeline: u32,
    /// The first segment.
    pub first: Option<Segment>,
    /// The last segment.
    pub last: Option<Segment>,
    /// Whole segments.
    pub segments: u64,
    /// Other files: histories, what base backups left, segments that were not filled.
    pub others: u64,
    /// Bytes that the store holds for all of them.
    pub stored_bytes: u64,
    /// The file that was stored last.
    pub newest: Option<StoredFile>,
    /// What is missing.
    pub gaps: Vec<LogGap>,
}

/// A file, and when it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFile {
    /// The file.
    pub file: LogFile,
    /// When, by the store's clock, ms since 1970.
    pub time_ms: u64,
}

/// The files of each archive, by source and system.
pub(super) type WholeFiles = BTreeMap<(String, u64), BTreeMap<LogFile, Known>>;

/// What is known of a file.
#[derive(Default)]
pub(super) struct Known {
    /// Its length.
    pub(super) bytes: u64,
    /// A bit for each of its parts that is there.
    parts: u32,
    stored_bytes: u64,
    stored_ms: u64,
}

impl Known {
    fn is_whole(&self) -> bool {
        self.parts.count_ones() == part_count(self.bytes.min(FILE_LIMIT_BYTES))
    }
}

impl Repository {
    /// Tells what there is of the logs of all sources, or of one, and what is missing. Where timelines branch is read
    /// from their histories, if this host may read. Some 200 bytes of memory a file.
    ///
    /// # Errors
    /// `Store`.
    pub fn log_archives(&self, source: Option<&str>) -> Result<LogArchives, RepositoryError> {
        let mut found = LogArchives::default();
        let (logs, unreadable) = self.whole_log_files(source)?;
        found.unreadable = unreadable;
        for ((source, system), files) in logs {
            found.archives.push(self.log_archive(source, system, &files)?);
        }
        Ok(found)
    }

    /// Files of which all parts are there, but for what is expired, of each log archive that has any; and how many objects
    /// nobody can tell of.
    pub(super) fn whole_log_files(&self, source: Option<&str>) -> Result<(WholeFiles, u64), RepositoryError> {
        let (mut logs, mut unreadable) = (WholeFiles::new(), 0);
        self.log_heads(&mut |stored| {
            let Ok(signed) = stored.head else {
                unreadable += 1;
                return Ok(());
            };
            let (head, part) = (&signed.head, &signed.head.part);
            let is_expired = || self.state.expired_by(&part.source, part.system, part.file).is_some();
            if source.is_some_and(|source| source != part.source) || is_expired() {
                return Ok(());
            }
            if self.came_too_late(&self.state, head.key.id, &stored.info)? {
                return Ok(());
            }
            let files = logs.entry((part.source.clone(), part.system)).or_default();
            let known = files.entry(part.file).or_default();
            known.bytes = head.file_bytes;
            known.parts |= 1 << part.part.min(31);
            known.stored_bytes = known.stored_bytes.saturating_add(stored.info.length_bytes);
            known.stored_ms = known.stored_ms.max(stored.info.modified_ms);
            Ok(())
        })?;
        for files in logs.values_mut() {
            files.retain(|_, known| known.is_whole());
        }
        logs.retain(|_, files| !files.is_empty());
        Ok((logs, unreadable))
    }

    fn log_archive(
        &self,
        source: String,
        system: u64,
        files: &BTreeMap<LogFile, Known>,
    ) -> Result<LogArchive, RepositoryError> {
        let mut timelines: BTreeMap<u32, LogTimeline> = BTreeMap::new();
        let mut segment_times_ms = Vec::new();
        let mut present: BTreeMap<u32, Vec<Present>> = BTreeMap::new();
        for (file, known) in files {
            let timeline = file.timeline();
            let line = timelines.entry(timeline).or_insert_with(|| LogTimeline::empty(timeline));
            line.stored_bytes = line.stored_bytes.saturating_add(known.stored_bytes);
            // Of what was stored in the same moment, the segment furthest on.
            let is_segment = matches!(file, LogFile::Segment(_));
            let age = |newest: &StoredFile| (newest.time_ms, matches!(newest.file, LogFile::Segment(_)));
            if line.newest.is_none_or(|newest| age(&newest) <= (known.stored_ms, is_segment)) {
                line.newest = Some(StoredFile { file: *file, time_ms: known.stored_ms });
            }
            // Segments come before other files, and in order.
            let LogFile::Segment(segment) = file else {
                line.others += 1;
                continue;
            };
            line.first.get_or_insert(*segment);
            line.last = Some(*segment);
            line.segments += 1;
            segment_times_ms.push(known.stored_ms);
            present.entry(timeline).or_default().push(Present { segment: *segment, bytes: known.bytes });
        }
        let mut unread_histories = Vec::new();
        let mut branches = BTreeMap::new();
        for file in files.keys() {
            let LogFile::History(timeline) = file else { continue };
            let file = ArchivedFile { source: source.clone(), system, file: *file };
            match self.branch_of(&file)? {
                Some(branch) => drop(branches.insert(*timeline, branch)),
                None => unread_histories.push(*timeline),
            }
        }
        let expired: Vec<SegmentRange> =
            self.state.expired_ranges(&source, system).map(|(range, _)| range).collect();
        for gap in gaps(&present, &branches, &expired) {
            if let Some(line) = timelines.get_mut(&gap.first.timeline) {
                line.gaps.push(gap);
            }
        }
        segment_times_ms.sort_unstable();
        let timelines = timelines.into_values().collect();
        let is_expired = !expired.is_empty();
        Ok(LogArchive { source, system, timelines, unread_histories, segment_times_ms, is_expired })
    }

    /// `None` where it cannot be read, for want of a right or for damage, or says nothing.
    fn branch_of(&self, file: &ArchivedFile) -> Result<Option<Branch>, RepositoryError> {
        let mut text = Limited(Vec::new());
        match self.fetch_log_file(file, &mut text) {
            Ok(_) => Ok(history::last_branch(&text.0)),
            Err(error @ RepositoryError::Store(_)) => Err(error),
            Err(error) => {
                tracing::debug!(%error, %file, "a history is not read");
                Ok(None)
            }
        }
    }
}

impl LogArchive {
    /// When anything of it was stored last, ms since 1970.
    #[must_use]
    pub fn newest_ms(&self) -> u64 {
        self.timelines.iter().filter_map(|line| line.newest).map(|newest| newest.time_ms).max().unwrap_or(0)
    }

    /// How many segments are missing.
    #[must_use]
    pub fn missing_segments(&self) -> u64 {
        self.timelines.iter().map(LogTimeline::missing_segments).fold(0, u64::saturating_add)
    }
}

impl LogTimeline {
    /// How many segments are missing.
    #[must_use]
    pub fn missing_segments(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.segments).fold(0, u64::saturating_add)
    }

    fn empty(timeline: u32) -> Self {
        Self {
            timeline,
            first: None,
            last: None,
            segments: 0,
            others: 0,
            stored_bytes: 0,
            newest: None,
            gaps: Vec::new(),
        }
    }
}

/// Takes no more than a history has.
struct Limited(Vec<u8>);

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > HISTORY_LIMIT_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
