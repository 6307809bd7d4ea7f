//! The files of runs: beside the database, one a run; or without a name, for a cache of one process.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::CacheError;
use super::run::Medium;

const SUFFIX: &str = ".run";
const LOCK: &str = "merge.lock";
/// Runs of temporary caches up to this are kept in memory, bytes.
const MEMORY_BYTES: u64 = 1 << 20;

/// Where runs are kept.
pub(super) enum RunFiles {
    /// In a folder, by number.
    Named(PathBuf),
    /// As open files that have no name, below a folder or in the system's; in memory while they are small.
    Unnamed { folder: Option<PathBuf>, open: Mutex<HashMap<u64, Arc<Medium>>> },
}

/// Held by the one process that merges runs, or sweeps.
pub(super) struct MergeLock(#[expect(dead_code, reason = "what counts is that it is open")] Option<File>);

impl RunFiles {
    pub(super) fn unnamed(folder: Option<&Path>) -> Self {
        Self::Unnamed { folder: folder.map(Path::to_owned), open: Mutex::default() }
    }

    /// A new, empty file for about so many bytes.
    pub(super) fn create(&self, number: u64, bytes: u64) -> Result<Medium, CacheError> {
        match self {
            Self::Named(folder) => {
                let path = path(folder, number);
                // What a crash left under that name may still be open elsewhere: it is not written over.
                let _ = std::fs::remove_file(&path);
                File::options().read(true).write(true).create_new(true).open(&path).map(Medium::File)
            }
            Self::Unnamed { .. } if bytes <= MEMORY_BYTES => Ok(Medium::Memory(Vec::new())),
            Self::Unnamed { folder, .. } => {
                let in_folder = folder.as_ref().and_then(|folder| tempfile::tempfile_in(folder).ok());
                in_folder.map_or_else(tempfile::tempfile, Ok).map(Medium::File)
            }
        }
        .map_err(CacheError::file("a run of the index cannot be made"))
    }

    /// Takes a run that is complete.
    pub(super) fn keep(&self, number: u64, medium: Medium) {
        if let Self::Unnamed { open, .. } = self {
            open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(medium));
        }
    }

    pub(super) fn open(&self, number: u64) -> io::Result<Arc<Medium>> {
        match self {
            Self::Named(folder) => open(&path(folder, number)).map(|file| Arc::new(Medium::File(file))),
            Self::Unnamed { open, .. } => {
                let open = open.lock().unwrap_or_else(PoisonError::into_inner);
                open.get(&number).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        }
    }

    /// Removes a run's file; those who have it open go on with it.
    pub(super) fn remove(&self, number: u64) {
        match self {
            Self::Named(folder) => drop(std::fs::remove_file(path(folder, number))),
            Self::Unnamed { open, .. } => {
                open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
            }
        }
    }

    /// Removes all that `listed` does not name. Nobody may be writing one: the caller holds the lock for merging, and
    /// is in a writing transaction.
    pub(super) fn sweep(&self, listed: &BTreeSet<u64>) {
        match self {
            Self::Named(folder) => {
                for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                    let name = entry.file_name();
                    let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
                    if number.is_some_and(|number| !listed.contains(&number)) {
                        let _ = std::fs::remove_file(entry.path());
                    }
                }
            }
            Self::Unnamed { open, .. } => {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                open.retain(|number, _| listed.contains(number));
            }
        }
    }

    /// The lock for merging; `None` while another process has it.
    pub(super) fn lock(&self) -> Result<Option<MergeLock>, CacheError> {
        let Self::Named(folder) = self else { return Ok(Some(MergeLock(None))) };
        let failed = || CacheError::file("the lock for merging runs of the index cannot be had");
        let file = File::options().write(true).create(true).truncate(false).open(folder.join(LOCK));
        let file = file.map_err(failed())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(MergeLock(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed()(error)),
        }
    }
}

/// Removes the files of all runs in a folder.
pub(super) fn remove_all(folder: &Path) {
    RunFiles::Named(folder.to_owned()).sweep(&BTreeSet::new());
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number}{SUFFIX}"))
}

/// Opens a file to be read without noting when, which every read would pay for.
fn open(path: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = i32::try_from(rustix::fs::OFlags::NOATIME.bits()).unwrap_or_default();
        // Only the owner may ask for that.
        if let Ok(file) = File::options().read(true).custom_flags(flags).open(path) {
            return Ok(file);
        }
    }
    File::open(path)
}
