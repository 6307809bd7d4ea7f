//! A directory that a snapshot is restored into.
//!
//! Invariants:
//! - Nothing outside the target is created, changed or deleted, whatever lies in it and whatever the snapshot says:
//!   parents are reached as [`folders`](super::folders) describes, and content goes only into files that this restore
//!   itself created (`O_EXCL`), or, where a delta is asked for, that had one name and the owner they get ([`delta`]).
//! - Until an entry is finished nobody but its owner has access to it, and it carries no privilege.
//! - A sync at the end makes it durable; a crash before leaves a partial restore.

#[path = "target_delta.rs"]
mod delta;

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{EntryKind, Metadata, TreeEntry};

use super::attributes::{Attribute, Handle, Subject, apply};
use super::folders::{FOLDER_MODE, FolderError, FolderReason, Folders};
use super::metadata::Status;
use super::owners::Owners;
use super::target_error::{TargetError, TargetWarning, Warnings, refused};

/// Block of which a run of zeros is made: the smallest hole a file system keeps, bytes.
const ZERO_BLOCK: [u8; 4096] = [0; 4096];
/// Warnings kept; more are only counted.
const WARNING_LIMIT: usize = 10_000;

/// What happens to files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// The target must be empty.
    #[default]
    Never,
    /// Regular files of the same size and modification time are taken for unchanged; all else is replaced.
    IfChanged,
    /// What is older than in the snapshot is replaced.
    IfNewer,
    /// All is replaced.
    Always,
    /// Files are compared with the snapshot's, and what differs is written into them; what the snapshot does not have, or a
    /// filter leaves out, is deleted.
    Delta,
}

/// How to restore.
#[derive(Debug, Clone, Copy)]
pub struct TargetOptions {
    /// What happens to what is there already.
    pub overwrite: Overwrite,
    /// Take the recorded numbers of owners, not their names.
    pub numeric_ids: bool,
    /// Restore owners. Only root can; for others this does nothing, and setuid and setgid of a file are dropped
    /// unless it is theirs.
    pub owner: bool,
    /// Leave blocks of zeros unwritten. Holes that the snapshot knows stay holes in any case.
    pub sparse: bool,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self { overwrite: Overwrite::Never, numeric_ids: false, owner: true, sparse: false }
    }
}

/// What became of an entry.
#[derive(Debug)]
pub enum Created {
    /// A file that waits for its content and [`finish_file`](DirectoryTarget::finish_file).
    File(TargetFile),
    /// It is complete; a directory but for [`finish_directory`](DirectoryTarget::finish_directory).
    Done,
    /// It is another name of a file that was restored before: complete.
    Linked,
    /// It stays as it is: the overwrite policy says so, or it is a socket.
    Skipped,
}

/// A file being restored, for any thread.
#[derive(Debug)]
pub struct TargetFile {
    file: File,
    path: EntryPath,
    /// Where its last byte lies.
    end: AtomicU64,
    /// How many bytes it had, where it was there before.
    was: Option<u64>,
}

/// A name in an open folder of the target.
struct Place<'a> {
    path: &'a EntryPath,
    folder: Arc<OwnedFd>,
}

/// What to do about something that is there already.
enum Way {
    Cleared,
    Keep(Created),
}

/// A directory that a snapshot is restored into. All methods may be called from many threads, but
/// [`create`](Self::create) in the order of the tree.
#[derive(Debug)]
pub struct DirectoryTarget {
    path: PathBuf,
    options: TargetOptions,
    folders: Folders,
    owners: Owners,
    is_root: bool,
    /// Whether the target itself was not there before.
    is_new: bool,
    warnings: Mutex<Warnings>,
    /// Keyed hashes of the paths restored, so that hard links are never made to what lay there before: 8 bytes a
    /// file, kept only where something may have.
    restored: Option<Mutex<HashSet<u64>>>,
    hasher: RandomState,
}

impl DirectoryTarget {
    /// Opens `path`, and makes it, and what leads to it, readable to its owner alone, if it is missing. `path` may
    /// lead through symbolic links; nothing below it may.
    ///
    /// # Errors
    /// `NotEmpty` (but for an ext4 file system's `lost+found`), `NoSpace`, `Io`.
    pub fn open(path: &Path, options: TargetOptions) -> Result<Self, TargetError> {
        let failed = |operation| move |source: io::Error| refused(operation, path.to_owned(), source);
        let is_new = !path.exists();
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE.as_raw_mode())
            .create(path)
            .map_err(failed("create directory"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| failed("open directory")(error.into()))?;
        if options.overwrite == Overwrite::Never {
            let mut entries = std::fs::read_dir(path).map_err(failed("read directory"))?;
            let found = entries.find(|entry| !entry.as_ref().is_ok_and(|e| e.file_name() == "lost+found"));
            if found.transpose().map_err(failed("read directory"))?.is_some() {
                return Err(TargetError::NotEmpty { path: path.to_owned() });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            options,
            folders: Folders::new(root).map_err(|error| failed("open directory")(error.into()))?,
            owners: Owners::new(options.numeric_ids),
            is_root: rustix::process::geteuid().is_root(),
            is_new,
            warnings: Mutex::default(),
            restored: (options.overwrite != Overwrite::Never).then(Mutex::default),
            hasher: RandomState::new(),
        })
    }

    /// Makes `entry` at `path`: its own path, or that without some first components, the same for all entries.
    ///
    /// Folders on the way that no entry made are made readable to their owner alone.
    ///
    /// # Errors
    /// `InTheWay`, `Exists`, `NoSpace`, `Io`. The entry is then missing, and the restore can go on.
    pub fn create(&self, path: &EntryPath, entry: &TreeEntry) -> Result<Created, TargetError> {
        if entry.kind == EntryKind::Socket {
            return Ok(Created::Skipped);
        }
        let folder = self.folders.parent_of(path, true).map_err(|error| self.no_folder(&error))?;
        let place = Place { path, folder };
        if entry.kind == EntryKind::Directory {
            return self.create_directory(&place);
        }
        let first = self.first_link(path, entry)?;
        let mut made = self.make(&place, entry, first.as_ref());
        if made.as_ref().is_err_and(|error| *error == Errno::EXIST) {
            match self.clear_the_way(&place, entry, first.as_ref())? {
                Way::Cleared => made = self.make(&place, entry, first.as_ref()),
                Way::Keep(kept) => return Ok(kept),
            }
        }
        let made = made.map_err(|error| self.refused(operation(&entry.kind), path, error.into()))?;
        self.remember(path);
        Ok(made)
    }

    /// Writes `bytes` of a file from `offset` on.
    ///
    /// # Errors
    /// `NoSpace`, `Io`.
    pub fn write_at(&self, file: &TargetFile, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let write = |start: usize, end: usize| {
            let at = offset + start as u64;
            file.file
                .write_all_at(&bytes[start..end], at)
                .map_err(|error| self.refused("write", &file.path, error))?;
            file.end.fetch_max(at + (end - start) as u64, Ordering::Relaxed);
            Ok(())
        };
        // What was there before is no hole.
        if !self.options.sparse || file.was.is_some() {
            return write(0, bytes.len());
        }
        runs_of_data(offset, bytes).into_iter().try_for_each(|(start, end)| write(start, end))
    }

    /// Completes a file all of whose content was written: its length (so that it may end in a hole) and metadata.
    ///
    /// # Errors
    /// `NoSpace`, `Io`. Metadata that cannot be restored is a warning.
    #[expect(clippy::needless_pass_by_value, reason = "a finished file is not written to")]
    pub fn finish_file(&self, file: TargetFile, entry: &TreeEntry) -> Result<(), TargetError> {
        if file.end.load(Ordering::Relaxed) != entry.bytes() {
            file.file
                .set_len(entry.bytes())
                .map_err(|error| self.refused("set the length of", &file.path, error))?;
        }
        if let Some(metadata) = &entry.metadata {
            self.apply(Handle::Open(file.file.as_fd()), Subject::Other, &file.path, metadata);
        }
        Ok(())
    }

    /// Completes a directory: its metadata, once all that lies in it is complete, the deepest first.
    ///
    /// # Errors
    /// `InTheWay`, `Io`. Metadata that cannot be restored is a warning.
    pub fn finish_directory(&self, path: &EntryPath, entry: &TreeEntry) -> Result<(), TargetError> {
        let Some(metadata) = &entry.metadata else { return Ok(()) };
        let folder = self.folders.parent_of(path, false).map_err(|error| self.no_folder(&error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder, path.file_name(), flags, Mode::empty())
            .map_err(|error| self.refused("open directory", path, error.into()))?;
        self.apply(Handle::Open(opened.as_fd()), Subject::Directory, path, metadata);
        Ok(())
    }

    /// Completes the target itself, when it stands for the directory `entry`: with that one's metadata if this restore
    /// made it, else it stays as it was.
    pub fn finish_target(&self, entry: &TreeEntry) {
        if let Some(metadata) = entry.metadata.as_ref().filter(|_| self.is_new) {
            self.apply(Handle::Open(self.folders.root().as_fd()), Subject::Directory, &entry.path, metadata);
        }
    }

    /// Returns once all that was restored is on the medium.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: a write that the kernel had accepted failed. The restore did not succeed.
    pub fn sync(&self) -> Result<(), TargetError> {
        self.folders.sync().map_err(|error| refused("sync", self.path.clone(), error.into()))
    }

    /// What could not be restored of files whose content was, since the last call.
    #[must_use]
    pub fn take_warnings(&self) -> Warnings {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn create_directory(&self, place: &Place<'_>) -> Result<Created, TargetError> {
        let failed = |error: Errno| self.refused("create directory", place.path, error.into());
        match rustix::fs::mkdirat(&place.folder, place.path.file_name(), FOLDER_MODE) {
            Ok(()) => {
                self.remember(place.path);
                return Ok(Created::Done);
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        self.remember(place.path);
        let status = place.status().map_err(failed)?;
        if !status.is_directory() && self.options.overwrite == Overwrite::Delta {
            rustix::fs::unlinkat(&place.folder, place.path.file_name(), AtFlags::empty()).map_err(failed)?;
            rustix::fs::mkdirat(&place.folder, place.path.file_name(), FOLDER_MODE).map_err(failed)?;
            return Ok(Created::Done);
        }
        if !status.is_directory() {
            return Err(self.in_the_way(place.path, status.kind));
        }
        let accessible = FOLDER_MODE.as_raw_mode();
        if !self.is_root && status.mode & accessible != accessible {
            // Its own mode comes back in the end.
            let opened = place.open_path().map_err(failed)?;
            Handle::Path(opened.as_fd()).set_mode(status.mode | accessible).map_err(failed)?;
        }
        Ok(Created::Done)
    }

    /// The first name of a hard-linked file, if it was restored.
    fn first_link(
        &self,
        path: &EntryPath,
        entry: &TreeEntry,
    ) -> Result<Option<(EntryPath, Status)>, TargetError> {
        let Some(first) = entry.link_to.as_ref().and_then(|first| stripped_alike(path, entry, first)) else {
            return Ok(None);
        };
        if !self.was_restored(&first) {
            return Ok(None);
        }
        let folder = match self.folders.parent_of(&first, false) {
            Ok(folder) => folder,
            Err(FolderError { reason: FolderReason::Refused(Errno::NOENT), .. }) => return Ok(None),
            Err(error) => return Err(self.no_folder(&error)),
        };
        let status = Place { path: &first, folder }.status().ok();
        Ok(status.filter(|status| is_kind(status.kind, &entry.kind)).map(|status| (first, status)))
    }

    /// Makes anything but a directory. `EXIST` is for the caller to see to.
    fn make(
        &self,
        place: &Place<'_>,
        entry: &TreeEntry,
        first: Option<&(EntryPath, Status)>,
    ) -> Result<Created, Errno> {
        if let Some((first, _)) = first {
            match self.link(place, first) {
                Ok(()) => return Ok(Created::Linked),
                Err(Errno::EXIST) => return Err(Errno::EXIST),
                // Too many links, or none on this file system: a copy is as good.
                Err(error) => self.warn(place.path, Attribute::HardLink, error),
            }
        }
        let (folder, name) = (place.folder.as_fd(), place.path.file_name());
        let private = Mode::RUSR | Mode::WUSR;
        let node = |kind, device| rustix::fs::mknodat(folder, name, kind, private, device);
        match &entry.kind {
            EntryKind::File(_) | EntryKind::Stream(_) => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(folder, name, flags, private)?;
                return Ok(Created::File(TargetFile {
                    file: file.into(),
                    path: place.path.clone(),
                    end: AtomicU64::new(0),
                    was: None,
                }));
            }
            EntryKind::Symlink { target } => rustix::fs::symlinkat(&target[..], folder, name)?,
            EntryKind::CharacterDevice { major, minor } => {
                node(FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))?;
            }
            EntryKind::BlockDevice { major, minor } => {
                node(FileType::BlockDevice, rustix::fs::makedev(*major, *minor))?;
            }
            EntryKind::Fifo => node(FileType::Fifo, 0)?,
            EntryKind::Directory | EntryKind::Socket => return Ok(Created::Skipped),
        }
        if let Some(metadata) = &entry.metadata {
            let opened = place.open_path()?;
            // What lies there now might have been put there by another.
            if is_kind(Status::of(&opened)?.kind, &entry.kind) {
                self.apply(Handle::Path(opened.as_fd()), subject(&entry.kind), place.path, metadata);
            }
        }
        Ok(Created::Done)
    }

    fn link(&self, place: &Place<'_>, first: &EntryPath) -> Result<(), Errno> {
        let folder = self.folders.parent_of(first, false).map_err(|error| match error.reason {
            FolderReason::Refused(error) => error,
            FolderReason::InTheWay(_) => Errno::NOTDIR,
        })?;
        let name = place.path.file_name();
        rustix::fs::linkat(folder, first.file_name(), &place.folder, name, AtFlags::empty())
    }

    /// Keeps or deletes what lies where `entry` should, as the overwrite policy says.
    fn clear_the_way(
        &self,
        place: &Place<'_>,
        entry: &TreeEntry,
        first: Option<&(EntryPath, Status)>,
    ) -> Result<Way, TargetError> {
        let failed = |error: Errno| self.refused("replace", place.path, error.into());
        let there = place.status().map_err(failed)?;
        if there.is_directory() && self.options.overwrite == Overwrite::Delta {
            delta::remove(&place.folder, place.path.file_name()).map_err(failed)?;
            return Ok(Way::Cleared);
        }
        if there.is_directory() {
            return Err(self.in_the_way(place.path, there.kind));
        }
        if first.is_some_and(|(_, status)| status.identity() == there.identity()) {
            self.remember(place.path);
            return Ok(Way::Keep(Created::Linked));
        }
        match (self.options.overwrite, &entry.metadata) {
            (Overwrite::Never, _) => {
                return Err(TargetError::Exists { path: self.shown(place.path) });
            }
            (Overwrite::IfNewer, Some(metadata)) if metadata.mtime_ns <= there.mtime_ns => {
                return Ok(Way::Keep(Created::Skipped));
            }
            (Overwrite::IfChanged, Some(metadata)) if self.is_unchanged(place, entry, metadata, &there) => {
                self.remember(place.path);
                return Ok(Way::Keep(Created::Skipped));
            }
            (Overwrite::Delta, _) if matches!(entry.kind, EntryKind::File(_)) => {
                if let Some(file) = self.reopen(place, entry, &there) {
                    self.remember(place.path);
                    return Ok(Way::Keep(Created::File(file)));
                }
            }
            _ => {}
        }
        rustix::fs::unlinkat(&place.folder, place.path.file_name(), AtFlags::empty()).map_err(failed)?;
        Ok(Way::Cleared)
    }

    /// Whether what is there can stay; corrects its metadata where that is safe.
    ///
    /// It is not safe on a file of somebody else, who may have put it there: given to its recorded owner, with its
    /// recorded privileges, it would carry content of that somebody's choice. Nor on one with other names.
    fn is_unchanged(
        &self,
        place: &Place<'_>,
        entry: &TreeEntry,
        metadata: &Metadata,
        there: &Status,
    ) -> bool {
        let same = there.kind == FileType::RegularFile
            && matches!(entry.kind, EntryKind::File(_))
            && (there.size, there.mtime_ns) == (entry.bytes(), metadata.mtime_ns);
        if !same {
            return false;
        }
        if there.links == 1 && there.uid == rustix::process::geteuid().as_raw() {
            let opened = place.open_path();
            let Ok(opened) = opened else { return false };
            let is_it = Status::of(&opened).is_ok_and(|now| now.identity() == there.identity());
            if is_it {
                // Extended attributes need write permission; the file's own mode comes after them.
                if !self.is_root {
                    let _ = Handle::Path(opened.as_fd()).set_mode(there.mode | 0o600);
                }
                self.apply(Handle::Path(opened.as_fd()), Subject::Other, place.path, metadata);
            }
            return is_it;
        }
        let owner = self.owners.resolve(metadata);
        there.mode == metadata.mode && (!self.changes_owner() || (there.uid, there.gid) == owner)
    }

    fn apply(&self, handle: Handle<'_>, subject: Subject, path: &EntryPath, metadata: &Metadata) {
        let owner = (self.owners.resolve(metadata), self.changes_owner());
        apply(handle, subject, metadata, owner, |attribute, error| self.warn(path, attribute, error));
    }

    fn changes_owner(&self) -> bool {
        self.options.owner && self.is_root
    }

    /// The folders above it, too: a snapshot of streams has no entries of them.
    fn remember(&self, path: &EntryPath) {
        let Some(restored) = &self.restored else { return };
        let mut restored = restored.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Some(path.clone());
        // Those above one that is known are known.
        while let Some(path) = next.filter(|path| restored.insert(self.hasher.hash_one(path))) {
            next = path.parent();
        }
    }

    /// In a target that was empty, all that is there was restored.
    fn was_restored(&self, path: &EntryPath) -> bool {
        self.restored.as_ref().is_none_or(|restored| {
            let hash = self.hasher.hash_one(path);
            restored.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash)
        })
    }

    fn warn(&self, path: &EntryPath, attribute: Attribute, error: Errno) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.list.len() < WARNING_LIMIT {
            warnings.list.push(TargetWarning { path: self.shown(path), attribute, source: error.into() });
        } else {
            warnings.more += 1;
        }
    }

    fn shown(&self, path: &EntryPath) -> PathBuf {
        self.path.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }

    fn in_the_way(&self, path: &EntryPath, found: FileType) -> TargetError {
        TargetError::InTheWay { path: self.shown(path), found: found.into() }
    }

    fn no_folder(&self, error: &FolderError) -> TargetError {
        match &error.reason {
            FolderReason::InTheWay(found) => self.in_the_way(&error.path, *found),
            FolderReason::Refused(errno) => self.refused("open directory", &error.path, (*errno).into()),
        }
    }

    fn refused(&self, operation: &'static str, path: &EntryPath, source: io::Error) -> TargetError {
        refused(operation, self.shown(path), source)
    }
}

impl Place<'_> {
    fn status(&self) -> Result<Status, Errno> {
        Status::at(self.folder.as_fd(), self.path.file_name())
    }

    /// Whatever lies there, without waking it up.
    fn open_path(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, self.path.file_name(), flags, Mode::empty())
    }
}

fn operation(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::File(_) | EntryKind::Stream(_) => "create file",
        EntryKind::Symlink { .. } => "create symbolic link",
        EntryKind::CharacterDevice { .. } | EntryKind::BlockDevice { .. } => "create device",
        EntryKind::Fifo => "create FIFO",
        EntryKind::Directory => "create directory",
        EntryKind::Socket => "create socket",
    }
}

fn subject(kind: &EntryKind) -> Subject {
    match kind {
        EntryKind::Symlink { .. } => Subject::Symlink,
        EntryKind::Directory => Subject::Directory,
        _ => Subject::Other,
    }
}

fn is_kind(found: FileType, kind: &EntryKind) -> bool {
    let expected = match kind {
        EntryKind::File(_) | EntryKind::Stream(_) => FileType::RegularFile,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Symlink { .. } => FileType::Symlink,
        EntryKind::CharacterDevice { .. } => FileType::CharacterDevice,
        EntryKind::BlockDevice { .. } => FileType::BlockDevice,
        EntryKind::Fifo => FileType::Fifo,
        EntryKind::Socket => FileType::Socket,
    };
    found == expected
}

/// `first` without the front that `path` lacks of the entry's own path; `None` if it lies elsewhere.
fn stripped_alike(path: &EntryPath, entry: &TreeEntry, first: &EntryPath) -> Option<EntryPath> {
    let front = entry.path.as_bytes().strip_suffix(path.as_bytes())?;
    let rest = first.as_bytes().strip_prefix(front)?;
    if front.is_empty() || front.ends_with(b"/") { EntryPath::new(rest).ok() } else { None }
}

/// The runs of `bytes`, which start at `offset` of a file, that are more than whole blocks of zeros.
fn runs_of_data(offset: u64, bytes: &[u8]) -> Vec<(usize, usize)> {
    let block = ZERO_BLOCK.len();
    let past_block = usize::try_from(offset % block as u64).unwrap_or(0);
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    let mut end = (block - past_block).min(bytes.len());
    while start < bytes.len() {
        if bytes[start..end] != ZERO_BLOCK[..end - start] {
            match runs.last_mut() {
                Some(run) if run.1 == start => run.1 = end,
                _ => runs.push((start, end)),
            }
        }
        start = end;
        end = (end + block).min(bytes.len());
    }
    runs
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
