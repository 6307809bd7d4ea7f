//! The folder in which a log is received.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use strongroom_engines::wal_segment;
use strongroom_format::wal_file::{LogFile, Segment};

/// Who receives into it: only one at a time.
const LOCK: &str = "lock";
/// The `pg_receivewal` that was started last.
const RECEIVER: &str = "receiver";

/// Why a folder is no spool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolFolderError {
    /// It cannot be made, listed, read or written.
    #[error("the spool {} cannot be used", .folder.display())]
    Io {
        /// It.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could put files into it.
    #[error("the spool {} is not only of this user (mode 0700): others could put a log into it", .folder.display())]
    Open {
        /// It.
        folder: PathBuf,
    },
    /// Somebody else receives into it.
    #[error("another process receives into the spool {}", .folder.display())]
    Taken {
        /// It.
        folder: PathBuf,
    },
}

/// A spool that nobody else uses, for as long as it lives.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    _lock: File,
}

impl Spool {
    /// Makes the folder if it is not there, and takes it.
    ///
    /// # Errors
    /// [`SpoolFolderError`].
    pub fn open(folder: &Path) -> Result<Self, SpoolFolderError> {
        let failed = |source| SpoolFolderError::Io { folder: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let status = folder.metadata().map_err(failed)?;
        if status.uid() != rustix::process::geteuid().as_raw() || status.mode() & 0o077 != 0 {
            return Err(SpoolFolderError::Open { folder: folder.to_owned() });
        }
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(SpoolFolderError::Taken { folder: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file of it lies.
    #[must_use]
    pub fn path(&self, file: LogFile) -> PathBuf {
        self.folder.join(file.to_string())
    }

    /// Files to which nothing is added any more: histories first, then by their place in the log.
    ///
    /// # Errors
    /// `Io`.
    pub fn finished(&self) -> Result<Vec<LogFile>, SpoolFolderError> {
        let files = self.files()?;
        let segments: BTreeSet<Segment> = files.iter().filter_map(segment_of).collect();
        let is_finished = |file: &&LogFile| match file {
            // Its timeline has ended when another goes on from there.
            LogFile::Partial(partial) => {
                segments.iter().any(|other| other.timeline > partial.timeline && other.place >= partial.place)
            }
            LogFile::Segment(_) | LogFile::History(_) | LogFile::Backup(..) => true,
        };
        let mut finished: Vec<LogFile> = files.iter().filter(is_finished).copied().collect();
        finished
            .sort_by_key(|file| (segment_of(file).map(|segment| (segment.place, segment.timeline)), *file));
        Ok(finished)
    }

    /// Removes a file that is durable elsewhere; but not the segment by which it is known where to go on.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(&self, file: LogFile) -> Result<(), SpoolFolderError> {
        let order = |segment: Segment| (segment.place, segment.timeline);
        if let LogFile::Segment(own) = file {
            let files = self.files()?;
            let mut whole = files.iter().filter_map(|other| match other {
                LogFile::Segment(segment) => Some(*segment),
                _ => None,
            });
            if !whole.any(|other| order(other) > order(own)) {
                return Ok(());
            }
        }
        match std::fs::remove_file(self.path(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    /// The database system whose log is in it, by what the first of its segments says.
    ///
    /// # Errors
    /// `Io`.
    pub fn system(&self) -> Result<Option<u64>, SpoolFolderError> {
        for file in self.files()? {
            if !matches!(file, LogFile::Segment(_)) {
                continue;
            }
            let path = self.path(file);
            let Ok(mut open) = File::open(&path) else { continue };
            if let Ok(system) = wal_segment::system_of(&path, file, &mut open) {
                return Ok(Some(system));
            }
        }
        Ok(None)
    }

    /// Remembers who receives into it.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn set_receiver(&self, id: u32) -> Result<(), SpoolFolderError> {
        std::fs::write(self.folder.join(RECEIVER), id.to_string()).map_err(|error| self.failed(error))
    }

    /// Ends a `pg_receivewal` that is left of a process that was killed: it has the slot, and nobody looks after it. Gives
    /// whether one still runs.
    pub(super) fn end_orphan(&self) -> bool {
        let text = std::fs::read_to_string(self.folder.join(RECEIVER)).unwrap_or_default();
        let Some(id) = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw) else {
            return false;
        };
        let command = std::fs::read(format!("/proc/{}/cmdline", id.as_raw_nonzero())).unwrap_or_default();
        // Another process may have its number by now.
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        let folder = std::os::unix::ffi::OsStrExt::as_bytes(self.folder.as_os_str());
        let is_it = words.contains(&folder)
            && words.first().is_some_and(|program| program.ends_with(b"pg_receivewal"));
        if is_it {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::INT);
        }
        is_it
    }

    fn files(&self) -> Result<Vec<LogFile>, SpoolFolderError> {
        let mut files = Vec::new();
        for entry in self.folder.read_dir().map_err(|error| self.failed(error))? {
            let name = entry.map_err(|error| self.failed(error))?.file_name();
            files.extend(name.to_str().and_then(|name| name.parse::<LogFile>().ok()));
        }
        files.sort_unstable();
        Ok(files)
    }

    fn failed(&self, source: io::Error) -> SpoolFolderError {
        SpoolFolderError::Io { folder: self.folder.clone(), source }
    }
}

fn segment_of(file: &LogFile) -> Option<Segment> {
    match file {
        LogFile::Segment(segment) | LogFile::Partial(segment) | LogFile::Backup(segment, _) => Some(*segment),
        LogFile::History(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(files: &[&str]) -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(&folder.path().join("spool")).unwrap();
        for file in files {
            std::fs::write(spool.folder().join(file), "x").unwrap();
        }
        (folder, spool)
    }

    fn names(files: &[LogFile]) -> Vec<String> {
        files.iter().map(LogFile::to_string).collect()
    }

    #[test]
    fn what_is_written_to_is_not_finished() {
        let first = "000000010000000000000002";
        let (_folder, spool) = spool(&[first, "000000010000000000000003.partial", "00000002.history.tmp"]);
        assert_eq!(names(&spool.finished().unwrap()), [first]);
        // The server was promoted, and its log goes on elsewhere.
        for file in ["00000002.history", "000000020000000000000003.partial"] {
            std::fs::write(spool.folder().join(file), "x").unwrap();
        }
        let finished = names(&spool.finished().unwrap());
        assert_eq!(finished, ["00000002.history", first, "000000010000000000000003.partial"]);
    }

    #[test]
    fn the_last_segment_stays() {
        let names_of = ["000000020000000000000004", "000000010000000000000003", "000000010000000000000004"];
        let (_folder, spool) = spool(&names_of);
        for file in spool.finished().unwrap() {
            spool.remove(file).unwrap();
        }
        assert_eq!(names(&spool.finished().unwrap()), ["000000020000000000000004"]);
    }

    #[test]
    fn only_one_uses_it_and_nobody_else_may() {
        let (folder, spool) = spool(&[]);
        let taken = Spool::open(spool.folder());
        assert!(matches!(taken, Err(SpoolFolderError::Taken { .. })), "{taken:?}");
        let open = folder.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let open = Spool::open(&open);
        assert!(matches!(open, Err(SpoolFolderError::Open { .. })), "{open:?}");
        assert!(!spool.end_orphan());
        spool.set_receiver(std::process::id()).unwrap();
        assert!(!spool.end_orphan(), "another process has that number");
    }
}
