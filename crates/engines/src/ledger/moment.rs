//! One moment: everything that a node commits to is pinned before anything is read.
//!
//! Pinning takes milliseconds, reading minutes. If nothing was committed between the first pin and the last, all pins are of one
//! moment; if something was, they are released and it is tried again. What else lies in the directory is read later, and counts
//! as of that moment if its change time says that nobody touched it since.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};
use rustix::time::{ClockId, clock_gettime};
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::TreeEntry;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::error::LedgerError;
use super::facts::Moment;
use super::lsm::store::{PinnedFile, Store, pin};
use super::node_metadata::LIMIT_BYTES;
use super::scan::Found;
use super::sqlite::Database;
use crate::engine::EngineError;
use crate::files::{Walk, WalkOptions, Walked, WalkedEntry};

/// How often a window is looked for in which nothing is committed.
const ATTEMPTS: u32 = 40;
/// From one to the next, longer each time.
const PAUSE: Duration = Duration::from_millis(3);
/// The clock that files get their times of ticks that often; longer than that nobody waits for it.
const TICK: Duration = Duration::from_millis(50);

/// What is pinned.
pub(super) struct Pinned {
    pub(super) databases: Vec<PinnedDatabase>,
    pub(super) stores: Vec<Store>,
    pub(super) metadata: Option<MetadataFile>,
    pub(super) moment: Moment,
    /// Files with a later change time were written to since, ns since 1970.
    pub(super) began_ns: i64,
}

/// A database in its transaction.
pub(super) struct PinnedDatabase {
    pub(super) database: Database,
    pub(super) walked: WalkedEntry,
}

/// The node's metadata file, as it was then.
pub(super) struct MetadataFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// None where it cannot be pinned because it is too long.
    pub(super) walked: Option<WalkedEntry>,
}

/// What a pin is made of.
pub(super) struct Pinning<'p> {
    pub(super) root: &'p Path,
    pub(super) found: &'p Found,
    pub(super) metadata: Option<PathBuf>,
    pub(super) lock_timeout: Duration,
    pub(super) monitor: &'p dyn Monitor,
}

impl Pinning<'_> {
    /// Pins all of it. `known` gives, anew for each attempt, what tells whether the parent snapshot has a table.
    ///
    /// # Errors
    /// `Locked`, `Torn` and others of SQLite; `Moving` and others of folders with a manifest; `Interrupted`.
    pub(super) fn pin<K: FnMut(&WalkedEntry) -> Option<TreeEntry>>(
        &self,
        known: impl Fn() -> K,
    ) -> Result<Pinned, EngineError> {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        // For as many tables as may be; where it does not help, the first too many is named.
        let _ = rustix::process::setrlimit(
            Resource::Nofile,
            Rlimit { current: limit.maximum, maximum: limit.maximum },
        );
        let mut databases = Vec::new();
        for path in &self.found.sqlite {
            let Some(walked) = walk_one(path)? else { continue };
            let database = Database::open(path, self.lock_timeout)?;
            databases.push(PinnedDatabase { database, walked });
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            if self.monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted.into());
            }
            let began_ns = self.next_tick();
            let began = Instant::now();
            for pinned in &mut databases {
                pinned.database.watch()?;
                pinned.database.pin()?;
            }
            let metadata = self.metadata_file()?;
            let stores = self.stores(known())?;
            let apart_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let stores = match stores {
                Ok(stores) => Some(stores),
                Err(folder) if attempt >= ATTEMPTS => {
                    return Err(LedgerError::Moving { folder, attempts: ATTEMPTS }.into());
                }
                Err(_) => None,
            };
            if let Some(stores) = stores {
                let written_between = self.written_between(&databases, &stores, metadata.as_ref())?;
                if written_between.is_empty() || attempt >= ATTEMPTS {
                    let one = written_between.is_empty();
                    let moment = Moment {
                        one,
                        pinned_ms: began_ns / 1_000_000,
                        apart_ms: if one { 0 } else { apart_ms },
                        written_between,
                        ..Moment::default()
                    };
                    return Ok(Pinned { databases, stores, metadata, moment, began_ns });
                }
            }
            for pinned in &databases {
                pinned.database.release()?;
            }
            std::thread::sleep(PAUSE * attempt);
        }
    }

    /// All of them, or one that changed while it was looked at.
    fn stores(
        &self,
        mut known: impl FnMut(&WalkedEntry) -> Option<TreeEntry>,
    ) -> Result<Result<Vec<Store>, PathBuf>, LedgerError> {
        let mut stores = Vec::new();
        for folder in &self.found.stores {
            match pin(folder, relative(self.root, folder), &mut known)? {
                Some(store) => stores.push(store),
                None => return Ok(Err(folder.clone())),
            }
        }
        Ok(Ok(stores))
    }

    fn metadata_file(&self) -> Result<Option<MetadataFile>, EngineError> {
        let Some(path) = &self.metadata else { return Ok(None) };
        let Some(walked) = walk_one(path)? else { return Ok(None) };
        if walked.size > LIMIT_BYTES {
            return Ok(Some(MetadataFile { path: path.clone(), bytes: Vec::new(), walked: None }));
        }
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(MetadataFile { path: path.clone(), bytes, walked: Some(walked) })),
            Err(source) => Err(LedgerError::Read { path: path.clone(), source }.into()),
        }
    }

    /// What was written to since it was pinned.
    fn written_between(
        &self,
        databases: &[PinnedDatabase],
        stores: &[Store],
        metadata: Option<&MetadataFile>,
    ) -> Result<Vec<String>, LedgerError> {
        let mut written = Vec::new();
        // What is pinned alone is of one moment by itself.
        if databases.len() + stores.len() + usize::from(metadata.is_some()) < 2 {
            return Ok(written);
        }
        for pinned in databases {
            if !pinned.database.is_quiet()? {
                written.push(relative(self.root, pinned.database.path()));
            }
        }
        for store in stores {
            if !store.is_quiet()? {
                written.push(store.facts.path.clone());
            }
        }
        if let Some(MetadataFile { path, walked: Some(walked), .. }) = metadata
            && !std::fs::metadata(path).is_ok_and(|now| is_untouched(&walked.entry, walked.size, &now))
        {
            written.push(relative(self.root, path));
        }
        Ok(written)
    }

    /// The time that files get which are written from now on, ns since 1970: later than that of all written before.
    fn next_tick(&self) -> i64 {
        let (before, waited) = (coarse_ns(), Instant::now());
        loop {
            let now = coarse_ns();
            if now > before || waited.elapsed() > TICK {
                return now;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

impl Pinned {
    /// All files of it, by where they go in the snapshot.
    pub(super) fn take_files(&mut self) -> BTreeMap<EntryPath, PinnedFile> {
        let files = self.stores.iter_mut().flat_map(|store| std::mem::take(&mut store.files));
        files.map(|file| (file.walked.entry.path.clone(), file)).collect()
    }

    /// Folders in which databases make and delete files.
    pub(super) fn busy_folders(&self, found: &Found) -> BTreeSet<PathBuf> {
        let of_sqlite = found.sqlite.iter().filter_map(|path| path.parent()).map(Path::to_owned);
        found.stores.iter().cloned().chain(of_sqlite).collect()
    }
}

/// Whether it is the file that was walked over, untouched since.
pub(super) fn is_untouched(then: &TreeEntry, size: u64, now: &std::fs::Metadata) -> bool {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    then.metadata.as_ref().is_some_and(|then| {
        (then.inode, size, then.mtime_ns, then.ctime_ns)
            == (
                now.ino(),
                now.size(),
                nanoseconds(now.mtime(), now.mtime_nsec()),
                nanoseconds(now.ctime(), now.ctime_nsec()),
            )
    })
}

/// A path in the data directory.
pub(super) fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// Looks at one file; none if it is gone.
fn walk_one(path: &Path) -> Result<Option<WalkedEntry>, EngineError> {
    for walked in Walk::new(&[path.to_owned()], WalkOptions::default())? {
        match walked {
            Walked::Entry(walked) if walked.os_path == path => return Ok(Some(*walked)),
            Walked::Failed { error, vanished: false, .. } => {
                return Err(LedgerError::Read { path: path.to_owned(), source: error }.into());
            }
            _ => {}
        }
    }
    Ok(None)
}

/// As file systems take it.
fn coarse_ns() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
