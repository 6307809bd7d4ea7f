//! Restoring a snapshot's entries into a directory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::{ContentQueue, ContentTarget, restore_contents};
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{RepositoryError, with_causes};

use super::{Created, DirectoryTarget, TargetError, TargetFile};

/// Troubles kept; more are only counted.
const TROUBLE_LIMIT: usize = 10_000;

/// Which entries are restored.
pub trait Filter: Sync {
    /// Whether this entry is.
    fn wants(&self, entry: &TreeEntry) -> bool;
}

/// What to restore.
pub struct RestoreOptions<'a> {
    /// Which entries; `None` for all.
    pub filter: Option<&'a dyn Filter>,
    /// Restore what lies in this folder, without its path.
    pub subtree: Option<EntryPath>,
    /// Threads.
    pub workers: usize,
}

/// Something of a snapshot that was not restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The entry, where it is one's.
    pub path: Option<EntryPath>,
    /// What happened, for people.
    pub message: String,
    /// Whether the repository is damaged (and not the target in the way).
    pub is_damage: bool,
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct FilesReport {
    /// Regular files and streams.
    pub files: u64,
    /// Folders.
    pub directories: u64,
    /// All else: links, devices.
    pub others: u64,
    /// Entries left as they were.
    pub skipped: u64,
    /// What was deleted, because the snapshot does not have it (`Overwrite::Delta` alone does).
    pub deleted: u64,
    /// Plain bytes of the files.
    pub bytes: u64,
    /// Of those, bytes that were written: not those that were there.
    pub written: u64,
    /// What was not restored.
    pub troubles: Vec<Trouble>,
    /// How many more troubles there were.
    pub more_troubles: u64,
}

impl FilesReport {
    fn add(&mut self, trouble: Trouble) {
        if self.troubles.len() < TROUBLE_LIMIT {
            self.troubles.push(trouble)
        } else {
            self.more_troubles += 1
        }
    }
}

/// Restores entries of `snapshot` into `target`, and syncs it. What cannot be restored is in the report.
///
/// # Errors
/// `Interrupted`; `Write` when the target is full or cannot be synced; `Store` and `DataKey` when nothing can be read
/// any more.
pub fn restore(
    reader: &Reader<'_>,
    snapshot: &Snapshot,
    target: &DirectoryTarget,
    options: &RestoreOptions<'_>,
    monitor: &dyn Monitor,
) -> Result<FilesReport, RepositoryError> {
    let job = Job { target, state: Mutex::default(), written: AtomicU64::new(0) };
    restore_contents(reader, &job, monitor, options.workers, |queue| {
        job.entries(reader, snapshot, options, queue)
    })?;
    if monitor.is_cancelled() {
        return Err(RepositoryError::Interrupted);
    }
    let full = job.state().full.take();
    if let Some(error) = full {
        return Err(RepositoryError::Write { source: std::io::Error::other(error) });
    }
    let is_whole = {
        let state = job.state();
        state.report.more_troubles == 0 && !state.report.troubles.iter().any(|trouble| trouble.is_damage)
    };
    // Of a tree that cannot be read it is not known what belongs there.
    if is_whole {
        match target.delete_others() {
            Ok(deleted) => job.state().report.deleted = deleted,
            Err(error) => job.trouble(None, with_causes(&error), false),
        }
    }
    job.directories(reader, snapshot, options)?;
    target.sync().map_err(|error| RepositoryError::Write { source: std::io::Error::other(error) })?;
    let warnings = target.take_warnings();
    let mut state = job.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    for warning in warnings.list {
        monitor.warn(&format!("{warning}: {}", warning.source));
    }
    state.report_damage();
    state.report.more_troubles += warnings.more;
    state.report.written = job.written.into_inner();
    Ok(state.report)
}

#[derive(Default)]
struct JobState {
    report: FilesReport,
    full: Option<TargetError>,
    damaged: BTreeMap<EntryPath, Vec<DamagedRange>>,
}

/// A run of a file that cannot be read, bytes.
struct DamagedRange {
    offset: u64,
    end: u64,
    reason: String,
}

impl JobState {
    /// Adds what is damaged to the report, a line a run of a file.
    fn report_damage(&mut self) {
        for (path, mut ranges) in std::mem::take(&mut self.damaged) {
            ranges.sort_by_key(|range| range.offset);
            let mut ranges = ranges.into_iter().peekable();
            while let Some(mut range) = ranges.next() {
                while let Some(next) = ranges.next_if(|next| next.offset <= range.end) {
                    range.end = range.end.max(next.end);
                }
                let message = format!(
                    "bytes {} to {} cannot be restored and are left as zeros: {}",
                    range.offset, range.end, range.reason
                );
                self.report.add(Trouble { path: Some(path.clone()), message, is_damage: true });
            }
        }
    }
}

struct Job<'a> {
    target: &'a DirectoryTarget,
    state: Mutex<JobState>,
    /// Bytes.
    written: AtomicU64,
}

struct OpenTarget {
    file: TargetFile,
    entry: TreeEntry,
}

impl Job<'_> {
    fn state(&self) -> std::sync::MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, path: Option<EntryPath>, message: String, is_damage: bool) {
        self.state().report.add(Trouble { path, message, is_damage });
    }

    /// Notes an error of the target; `false` when there is no use in going on.
    fn target_error(&self, path: &EntryPath, error: TargetError) -> bool {
        let is_full = matches!(error, TargetError::NoSpace { .. });
        self.trouble(Some(path.clone()), with_causes(&error), false);
        if is_full {
            self.state().full.get_or_insert(error);
        }
        !is_full
    }

    fn entries(
        &self,
        reader: &Reader<'_>,
        snapshot: &Snapshot,
        options: &RestoreOptions<'_>,
        queue: &mut ContentQueue<'_, Self>,
    ) -> Result<(), RepositoryError> {
        self.walk(reader, snapshot, options, |place, entry| {
            match self.target.create(&place, &entry) {
                Ok(Created::File(file)) => {
                    self.state().report.files += 1;
                    self.state().report.bytes += entry.bytes();
                    let content = entry.content().cloned().unwrap_or(Content::Inline(Vec::new()));
                    queue.file(OpenTarget { file, entry }, &content);
                }
                Ok(Created::Skipped) => self.state().report.skipped += 1,
                Ok(Created::Done) if matches!(entry.kind, EntryKind::Directory) => {
                    self.state().report.directories += 1
                }
                Ok(Created::Done | Created::Linked) => self.state().report.others += 1,
                Err(error) => {
                    self.target_error(&place, error);
                }
            }
            !queue.is_stopped() && self.state().full.is_none()
        })
    }

    /// Metadata of folders, the deepest first: a folder is complete once the walk has left it.
    fn directories(
        &self,
        reader: &Reader<'_>,
        snapshot: &Snapshot,
        options: &RestoreOptions<'_>,
    ) -> Result<(), RepositoryError> {
        let mut open: Vec<(EntryPath, TreeEntry)> = Vec::new();
        let leave = |(place, entry): (EntryPath, TreeEntry)| {
            if let Err(error) = self.target.finish_directory(&place, &entry) {
                self.target_error(&place, error);
            }
        };
        // Damage has been reported by the first walk.
        let quiet = Job { target: self.target, state: Mutex::default(), written: AtomicU64::new(0) };
        quiet.walk(reader, snapshot, options, |place, entry| {
            while let Some(done) = open.pop_if(|(folder, _)| !place.is_within(folder)) {
                leave(done);
            }
            if matches!(entry.kind, EntryKind::Directory) {
                open.push((place, entry));
            }
            true
        })?;
        while let Some(done) = open.pop() {
            leave(done);
        }
        self.subtree_itself(reader, snapshot, options);
        Ok(())
    }

    /// A folder restored without those above it is the target: its metadata is the target's.
    fn subtree_itself(&self, reader: &Reader<'_>, snapshot: &Snapshot, options: &RestoreOptions<'_>) {
        let Some(subtree) = &options.subtree else { return };
        let found =
            EntryCursor::new(reader, &snapshot.manifest.tree).and_then(|mut cursor| cursor.seek(subtree));
        // Damage has been reported by the first walk.
        let Ok(Some(entry)) = found else { return };
        if matches!(entry.kind, EntryKind::Directory)
            && options.filter.is_none_or(|filter| filter.wants(&entry))
        {
            self.target.finish_target(&entry);
        }
    }

    /// Calls `visit` with every entry that is wanted and its path in the target, until it says `false`.
    fn walk(
        &self,
        reader: &Reader<'_>,
        snapshot: &Snapshot,
        options: &RestoreOptions<'_>,
        mut visit: impl FnMut(EntryPath, TreeEntry) -> bool,
    ) -> Result<(), RepositoryError> {
        let mut cursor = match EntryCursor::new(reader, &snapshot.manifest.tree) {
            Ok(cursor) => cursor,
            Err(error) if error.is_no_access() => return Err(error),
            Err(error) => {
                self.trouble(
                    None,
                    format!(
                        "the root of the tree cannot be read, nothing is restored: {}",
                        with_causes(&error)
                    ),
                    true,
                );
                return Ok(());
            }
        };
        let mut first = match &options.subtree {
            None => None,
            Some(subtree) => Some(cursor.seek(subtree)?.ok_or_else(|| RepositoryError::NoSuchPath {
                snapshot: snapshot.id(),
                path: subtree.to_string(),
            })?),
        };
        loop {
            let entry = match first.take().map_or_else(|| cursor.next_entry(), |entry| Ok(Some(entry))) {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(()),
                Err(error) if error.is_no_access() => return Err(error),
                Err(error) => {
                    self.trouble(
                        None,
                        format!(
                            "a part of the tree cannot be read, its entries are not restored: {}",
                            with_causes(&error)
                        ),
                        true,
                    );
                    continue;
                }
            };
            if options.filter.is_some_and(|filter| !filter.wants(&entry)) {
                continue;
            }
            let place = match &options.subtree {
                None => entry.path.clone(),
                Some(subtree) if !entry.path.is_within(subtree) => return Ok(()),
                Some(subtree) => match strip(&entry, subtree) {
                    Some(place) => place,
                    None => continue,
                },
            };
            if !visit(place, entry) {
                return Ok(());
            }
        }
    }
}

/// The path below `subtree`; a subtree that is no folder keeps its name.
fn strip(entry: &TreeEntry, subtree: &EntryPath) -> Option<EntryPath> {
    let bytes = entry.path.as_bytes();
    if bytes.len() == subtree.as_bytes().len() {
        return if matches!(entry.kind, EntryKind::Directory) {
            None
        } else {
            EntryPath::new(entry.path.file_name()).ok()
        };
    }
    EntryPath::new(&bytes[subtree.as_bytes().len() + 1..]).ok()
}

impl ContentTarget for Job<'_> {
    type File = OpenTarget;

    fn read_there(&self, file: &OpenTarget, offset: u64, length: usize, out: &mut Vec<u8>) -> bool {
        self.target.read_there(&file.file, offset, length, out)
    }

    fn hole(&self, file: &OpenTarget, offset: u64, length: u64) -> bool {
        let made = self.target.hole(&file.file, offset, length);
        made.map_or_else(|error| self.target_error(&file.entry.path, error), |()| true)
    }

    fn write_at(&self, file: &OpenTarget, offset: u64, bytes: &[u8]) -> bool {
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let written = self.target.write_at(&file.file, offset, bytes);
        written.map_or_else(|error| self.target_error(&file.entry.path, error), |()| true)
    }

    fn damaged(&self, file: &OpenTarget, offset: u64, length: u64, error: &RepositoryError) {
        if let Err(error) = self.target.hole(&file.file, offset, length) {
            self.target_error(&file.entry.path, error);
        }
        let range = DamagedRange { offset, end: offset + length, reason: with_causes(error) };
        self.state().damaged.entry(file.entry.path.clone()).or_default().push(range);
    }

    fn finish(&self, file: OpenTarget) {
        if let Err(error) = self.target.finish_file(file.file, &file.entry) {
            self.target_error(&file.entry.path, error);
        }
    }
}
