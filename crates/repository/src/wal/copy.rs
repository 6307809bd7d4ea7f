//! Copying log archives out of another repository.
//!
//! A file is read, verified as a whole and pushed: names, keys and hashes are those of this repository. What is here already
//! by its name is not read again, so whoever was interrupted goes on. Of what either repository expired nothing is copied.

use std::io::{self, Read, Seek, SeekFrom};

use strongroom_format::entry::{ExpireBody, SegmentRange};
use strongroom_format::wal::PART_BYTES;
use strongroom_format::wal_file::LogFile;

use super::{ArchivedFile, Pushed, WalWriter};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::state::describe;

/// What is copied.
pub struct LogCopyOptions<'a> {
    /// Whether a file is to be copied.
    pub wants: &'a dyn Fn(&ArchivedFile) -> bool,
    /// Only tell what would be.
    pub dry_run: bool,
}

/// What a copy of log archives did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogCopyReport {
    /// Files that are here now, or would be.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were here.
    pub were_here: u64,
    /// Files that are expired here.
    pub expired_here: u64,
    /// Files that cannot be read there.
    pub damaged: Vec<ArchivedFile>,
    /// Files that are others here than there.
    pub differ: Vec<ArchivedFile>,
}

impl Repository {
    /// Copies files of log archives of `from` that are not here. Those that are damaged there, or others here, are told and
    /// warned of, and the rest is copied. Some 200 bytes of memory a file of either repository.
    ///
    /// # Errors
    /// As [`WalWriter::push`]; `DataKey` without the right to read there; `Interrupted`, with what was copied here for good.
    pub fn copy_logs_from(
        &mut self,
        from: &Repository,
        options: &LogCopyOptions<'_>,
        monitor: &dyn Monitor,
    ) -> Result<LogCopyReport, RepositoryError> {
        let mut report = LogCopyReport::default();
        let (there, _) = from.whole_log_files(None)?;
        let (here, _) = self.whole_log_files(None)?;
        let mut wanted: Vec<(ArchivedFile, u64)> = Vec::new();
        for ((source, system), files) in there {
            let known = here.get(&(source.clone(), system));
            for (file, found) in files {
                let file = ArchivedFile { source: source.clone(), system, file };
                if !(options.wants)(&file) {
                    continue;
                }
                if known.is_some_and(|known| known.contains_key(&file.file)) {
                    report.were_here += 1;
                } else if self.state.expired_by(&source, system, file.file).is_some() {
                    report.expired_here += 1;
                } else {
                    wanted.push((file, found.bytes));
                }
            }
        }
        // Whoever is interrupted has a log without gaps, and knows how its timelines hang together.
        wanted.sort_by(|(one, _), (other, _)| order(one).cmp(&order(other)));
        if options.dry_run {
            report.copied = wanted.len() as u64;
            report.bytes = wanted.iter().map(|(_, bytes)| bytes).sum();
            return Ok(report);
        }
        monitor.begin("copying logs", Some(wanted.iter().map(|(_, bytes)| bytes).sum()));
        let mut writer = WalWriter::new(self);
        for (file, bytes) in wanted {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            match copy_one(from, &mut writer, &file, bytes) {
                // Expired there and deleted since it was listed.
                Ok(None) => {}
                Ok(Some(Pushed::Stored)) => {
                    report.copied += 1;
                    report.bytes += bytes;
                }
                Ok(Some(Pushed::WasThere)) => report.were_here += 1,
                Err(RepositoryError::LogFileExpired { .. }) => report.expired_here += 1,
                Err(error @ RepositoryError::LogFileUnavailable { .. }) => {
                    monitor.warn(&format!("not copied: {}", describe(&error)));
                    report.damaged.push(file);
                }
                Err(error @ RepositoryError::LogFileDiffers { .. }) => {
                    monitor.warn(&format!("not copied: {}", describe(&error)));
                    report.differ.push(file);
                }
                Err(error) => return Err(error),
            }
            monitor.advance(bytes);
        }
        Ok(report)
    }

    /// Expires what another repository expired of the log archives that are wanted, and this one has not. Gives how many
    /// archives that touches.
    ///
    /// # Errors
    /// As [`Repository::expire_log`].
    pub fn expire_logs_as(
        &mut self,
        from: &Repository,
        wants: &dyn Fn(&str, u64) -> bool,
        dry_run: bool,
    ) -> Result<u64, RepositoryError> {
        let mut touched = 0;
        for ((source, system), files) in self.whole_log_files(None)?.0 {
            if !wants(&source, system) {
                continue;
            }
            let there: Vec<SegmentRange> =
                from.state.expired_ranges(&source, system).map(|(range, _)| range).collect();
            let ranges: Vec<_> =
                there.into_iter().filter(|range| files.keys().any(|file| range.covers(*file))).collect();
            if ranges.is_empty() {
                continue;
            }
            touched += 1;
            if !dry_run {
                let reason = "expired in the repository it was copied from".to_owned();
                let _ = self.expire_log(&ExpireBody { source, system, ranges, reason })?;
            }
        }
        Ok(touched)
    }
}

/// Histories first, then by archive, in the order of the log.
fn order(file: &ArchivedFile) -> (bool, &str, u64, u64, LogFile) {
    let place = match file.file {
        LogFile::History(_) => 0,
        LogFile::Segment(segment) | LogFile::Partial(segment) | LogFile::Backup(segment, _) => segment.place,
    };
    let is_history = matches!(file.file, LogFile::History(_));
    (!is_history, &file.source, file.system, place, file.file)
}

fn copy_one(
    from: &Repository,
    writer: &mut WalWriter<'_>,
    file: &ArchivedFile,
    bytes: u64,
) -> Result<Option<Pushed>, RepositoryError> {
    if bytes <= PART_BYTES.into() {
        let mut plain = Vec::new();
        return match from.fetch_log_file(file, &mut plain)? {
            Some(_) => writer.push(file, &mut io::Cursor::new(plain)).map(Some),
            None => Ok(None),
        };
    }
    // All of it is verified before any of it is believed; then each part once more, as it is read.
    if from.fetch_log_file(file, &mut io::sink())?.is_none() {
        return Ok(None);
    }
    let mut parts = Parts { from, file, bytes, position: 0, current: None };
    writer.push(file, &mut parts).map(Some)
}

/// A file of several parts, of which one is in memory.
struct Parts<'a> {
    from: &'a Repository,
    file: &'a ArchivedFile,
    bytes: u64,
    position: u64,
    current: Option<(u32, Vec<u8>)>,
}

impl Read for Parts<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.bytes {
            return Ok(0);
        }
        let length = u64::from(PART_BYTES);
        let number = u32::try_from(self.position / length).map_err(io::Error::other)?;
        if self.current.as_ref().is_none_or(|(current, _)| *current != number) {
            self.current = None;
            let part = self.from.fetch_part(self.file, number).map_err(io::Error::other)?;
            let (_, plain) = part.ok_or(io::ErrorKind::NotFound)?;
            self.current = Some((number, plain));
        }
        let start = usize::try_from(self.position % length).map_err(io::Error::other)?;
        let rest = self.current.as_ref().and_then(|(_, plain)| plain.get(start..)).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Parts<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
