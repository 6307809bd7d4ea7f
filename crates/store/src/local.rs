//! A store in a folder of a file system, local or NFS.
//!
//! Object `a/b` is the file `a/b` below the root. It is written to `tmp/` first, synced, and then *linked* to its
//! name: `link(2)` is atomic, whole, and refuses a name that is taken. Neither `rename(2)` (it replaces) nor
//! `O_EXCL` on the final name (visible before it is whole) will do. File systems without hard links get
//! `renameat2(RENAME_NOREPLACE)`; one that has neither is refused.
//!
//! Durability: the file is synced before it is linked, and the folder after; a folder's own name is synced into its
//! parent before this process first puts anything into it, whoever made the folder. "Already there" syncs the
//! folder too, since whoever created the object may not have come that far. What a crash leaves behind lies in
//! `tmp/`, which no list shows; the first put of a process removes what is older than a day.
//!
//! The root is held open: when its disk is unmounted or another is mounted over it, calls fail or go on reaching
//! the old one, and never see an empty folder in its place. Symbolic links, hidden files and whatever else has no
//! object's name are foreign, and not looked at.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{NotAStoreReason, Operation, StoreError};
use crate::name::{ObjectName, RESERVED_COMPONENT, check_prefix};
use crate::store::{ObjectInfo, PutOutcome, Store};

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER_MODE: Mode = Mode::RWXU;
const TEMPORARY_PREFIX: &str = "put-";
const LEFTOVER_AGE_MS: u64 = 24 * 60 * 60 * 1000;

/// A store in a folder. See the [module](self) for what it does about crashes.
#[derive(Debug)]
pub struct LocalStore {
    root: OwnedFd,
    path: PathBuf,
    /// Folders that this process knows to be there and durable.
    folders: Mutex<HashSet<String>>,
    /// Tells this store's temporary files from those of every other process, on every host.
    token: u64,
    temporaries: AtomicU64,
    without_links: AtomicBool,
    sweep: Once,
}

impl LocalStore {
    /// Makes a new store at `path`, and the folders above it, and opens it.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`] when something is there already; an empty folder may be, and one in which an earlier
    /// attempt ended early. [`StoreError::NoSpace`], [`StoreError::PermissionDenied`], [`StoreError::ReadOnly`],
    /// [`StoreError::Io`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let fail = |source| path_error(Operation::Create, path, source);
        let missing: Vec<_> = path.ancestors().take_while(|folder| is_missing(folder)).collect();
        if missing.is_empty() {
            check_empty(path)?;
        } else {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
        }
        let store = Self::open_for(Operation::Create, path)?;
        for folder in missing {
            let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
            let opened = File::open(parent.unwrap_or(Path::new("."))).map_err(fail)?;
            sync(&opened).map_err(fail)?;
        }
        store.ensure_folder(RESERVED_COMPONENT).map_err(|errno| fail(errno.into()))?;
        Ok(store)
    }

    /// Opens the store at `path`, without writing anything.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`], [`StoreError::PermissionDenied`], [`StoreError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_for(Operation::Open, path.as_ref())
    }

    fn open_for(operation: Operation, path: &Path) -> Result<Self, StoreError> {
        let not_a_store = |reason| StoreError::NotAStore { path: path.to_owned(), reason };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(|errno| match errno {
                Errno::NOENT => not_a_store(NotAStoreReason::Missing),
                Errno::NOTDIR => not_a_store(NotAStoreReason::NotAFolder),
                _ => path_error(operation, path, errno.into()),
            })?;
        let token = getrandom::u64().map_err(|error| path_error(operation, path, io::Error::other(error)))?;
        Ok(Self {
            root,
            path: path.to_owned(),
            folders: Mutex::default(),
            token,
            temporaries: AtomicU64::new(0),
            without_links: AtomicBool::new(false),
            sweep: Once::new(),
        })
    }

    fn error(&self, operation: Operation, object: &str, source: impl Into<io::Error>) -> StoreError {
        classify(operation, object, self.location(), source.into())
    }

    /// As [`LocalStore::error`], for calls that find nothing where the object should be.
    fn object_error(&self, operation: Operation, name: &ObjectName, errno: Errno) -> StoreError {
        match errno {
            // A file where a folder should be, or a symbolic link in the object's place, is no object either.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => StoreError::NotFound { object: name.clone() },
            _ => self.error(operation, name.as_str(), errno),
        }
    }

    fn open_at(&self, path: &str, flags: OFlags) -> rustix::io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        retry_on_intr(|| rustix::fs::openat(&self.root, path, flags, FILE_MODE)).map(File::from)
    }

    fn open_folder(&self, folder: &str) -> rustix::io::Result<File> {
        self.open_at(if folder.is_empty() { "." } else { folder }, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn stat_at(&self, path: &str) -> rustix::io::Result<Stat> {
        rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens an object for reading, and says how long it is.
    fn open_object(&self, operation: Operation, name: &ObjectName) -> Result<(File, u64), StoreError> {
        let fail = |errno| self.object_error(operation, name, errno);
        // NONBLOCK, so that a foreign pipe in an object's place does not hang the caller.
        let file = self.open_at(name.as_str(), OFlags::RDONLY | OFlags::NONBLOCK).map_err(fail)?;
        let stat = rustix::fs::fstat(&file).map_err(fail)?;
        let info = object_info(&stat).ok_or_else(|| StoreError::NotFound { object: name.clone() })?;
        Ok((file, info.length_bytes))
    }

    /// Reads a range that lies within the file's `length_bytes`.
    fn read(
        &self,
        operation: Operation,
        name: &ObjectName,
        (file, length_bytes): (&File, u64),
        offset: u64,
        wanted_bytes: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let fail = |source: io::Error| self.error(operation, name.as_str(), source);
        let out_of_memory = || fail(io::ErrorKind::OutOfMemory.into());
        let wanted = usize::try_from(wanted_bytes).map_err(|_| out_of_memory())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(wanted).map_err(|_| out_of_memory())?;
        while bytes.len() < wanted {
            let at = offset + bytes.len() as u64;
            let count = retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut bytes), at))
                .map_err(|errno| fail(errno.into()))?;
            if count == 0 {
                let length_bytes = length_bytes.min(at);
                let object = name.clone();
                return Err(StoreError::Truncated { object, offset, wanted_bytes, length_bytes });
            }
        }
        // The allocator may have reserved more than was asked for, and pread have filled it.
        bytes.truncate(wanted);
        Ok(bytes)
    }

    fn known_folders(&self) -> MutexGuard<'_, HashSet<String>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a folder and those above it durable. The lock is not held over file-system calls: doing the same
    /// twice is harmless.
    fn ensure_folder(&self, folder: &str) -> rustix::io::Result<()> {
        if folder.is_empty() || self.known_folders().contains(folder) {
            return Ok(());
        }
        let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
        self.ensure_folder(parent)?;
        match rustix::fs::mkdirat(&self.root, folder, FOLDER_MODE) {
            // Whoever made it may not have synced it yet.
            Ok(()) | Err(Errno::EXIST) => self.sync_folder(parent)?,
            Err(errno) => return Err(errno),
        }
        self.known_folders().insert(folder.to_owned());
        Ok(())
    }

    /// Runs `action` with `folder` there; once more when somebody removed the folder meanwhile.
    fn within<T>(&self, folder: &str, action: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
        self.ensure_folder(folder)?;
        match action() {
            Err(Errno::NOENT) => {
                self.known_folders().clear();
                self.ensure_folder(folder)?;
                action()
            }
            answer => answer,
        }
    }

    fn sync_folder(&self, folder: &str) -> rustix::io::Result<()> {
        let opened = self.open_folder(folder)?;
        match retry_on_intr(|| rustix::fs::fsync(&opened)) {
            // Some file systems (CIFS) do not know of syncing folders; they write them through.
            Ok(()) | Err(Errno::INVAL | Errno::BADF) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn write_temporary(&self, bytes: &[u8]) -> io::Result<Temporary<'_>> {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let path = format!("{RESERVED_COMPONENT}/{TEMPORARY_PREFIX}{process}-{number}-{:016x}", self.token);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = self.within(RESERVED_COMPONENT, || self.open_at(&path, flags))?;
        let mut temporary = Temporary { store: self, path, file };
        temporary.file.write_all(bytes)?;
        temporary.file.sync_all()?;
        Ok(temporary)
    }

    /// Gives the temporary file its name, if that is free.
    fn publish(&self, temporary: &Temporary<'_>, name: &ObjectName) -> rustix::io::Result<PutOutcome> {
        let (root, from, to) = (&self.root, temporary.path.as_str(), name.as_str());
        if !self.without_links.load(Ordering::Relaxed) {
            match rustix::fs::linkat(root, from, root, to, AtFlags::empty()) {
                Ok(()) => return Ok(PutOutcome::Created),
                // NFS: the link was made, the answer was lost, and the second request found the name taken.
                Err(_) if self.is_linked(temporary, name) => return Ok(PutOutcome::Created),
                Err(Errno::EXIST) => return Ok(PutOutcome::AlreadyExists),
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {}
                Err(errno) => return Err(errno),
            }
        }
        match rustix::fs::renameat_with(root, from, root, to, RenameFlags::NOREPLACE) {
            Ok(()) => {
                if !self.without_links.swap(true, Ordering::Relaxed) {
                    tracing::debug!(location = %self.path.display(), "no hard links here: renaming instead");
                }
                Ok(PutOutcome::Created)
            }
            Err(Errno::EXIST) => Ok(PutOutcome::AlreadyExists),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the object is the temporary file itself. Nobody else links that one, so two links are one's own.
    fn is_linked(&self, temporary: &Temporary<'_>, name: &ObjectName) -> bool {
        match (rustix::fs::fstat(&temporary.file), self.stat_at(name.as_str())) {
            (Ok(own), Ok(other)) => {
                own.st_nlink >= 2 && (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)
            }
            _ => false,
        }
    }

    /// Removes what crashed processes left in `tmp/`, judged by the file system's clock: it has just written
    /// `fresh`. Best effort.
    fn remove_leftovers(&self, fresh: &Temporary<'_>) -> rustix::io::Result<()> {
        let now_ms = modified_ms(&rustix::fs::fstat(&fresh.file)?);
        for entry in Dir::read_from(self.open_folder(RESERVED_COMPONENT)?)? {
            let entry = entry?;
            let Ok(file_name) = entry.file_name().to_str() else { continue };
            if !file_name.starts_with(TEMPORARY_PREFIX) {
                continue;
            }
            let path = format!("{RESERVED_COMPONENT}/{file_name}");
            let Ok(stat) = self.stat_at(&path) else { continue };
            if modified_ms(&stat).saturating_add(LEFTOVER_AGE_MS) < now_ms {
                rustix::fs::unlinkat(&self.root, &path, AtFlags::empty())?;
                tracing::info!(location = %self.path.display(), path, "removed an unfinished object");
            }
        }
        Ok(())
    }

    /// The names in a folder that begin with `prefix`, in the order in which everything below them is listed:
    /// a folder sorts as its name and `/`, and has that at its end here.
    fn read_folder(&self, folder: &str, prefix: &str) -> rustix::io::Result<Vec<String>> {
        let opened = match self.open_folder(folder) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let Ok(file_name) = entry.file_name().to_str() else { continue };
            let path = if folder.is_empty() { file_name.to_owned() } else { format!("{folder}/{file_name}") };
            if !path.starts_with(prefix) || ObjectName::new(path.as_str()).is_err() {
                continue;
            }
            let mut file_type = entry.file_type();
            if file_type == FileType::Unknown {
                let Ok(stat) = self.stat_at(&path) else { continue };
                file_type = FileType::from_raw_mode(stat.st_mode);
            }
            match file_type {
                FileType::RegularFile => names.push(path),
                FileType::Directory => names.push(path + "/"),
                _ => {}
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn list_folder(
        &self,
        folder: &str,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let fail = |path: &str, errno: Errno| self.error(Operation::List, path, errno);
        for path in self.read_folder(folder, prefix).map_err(|errno| fail(folder, errno))? {
            if let Some(folder) = path.strip_suffix('/') {
                self.list_folder(folder, prefix, visit)?;
                continue;
            }
            let stat = match self.stat_at(&path) {
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(|errno| fail(&path, errno))?,
            };
            if let Some(info) = object_info(&stat) {
                visit(ObjectName::new(path)?, info)?;
            }
        }
        Ok(())
    }
}

impl Store for LocalStore {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let object = name.as_str();
        let temporary =
            self.write_temporary(bytes).map_err(|source| self.error(Operation::Put, object, source))?;
        self.sweep.call_once(|| {
            if let Err(error) = self.remove_leftovers(&temporary) {
                tracing::debug!(location = %self.path.display(), %error, "unfinished objects stay");
            }
        });
        let outcome =
            self.within(name.folder(), || self.publish(&temporary, name)).map_err(|errno| match errno {
                Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
                    StoreError::NoAtomicCreate { object: name.clone(), location: self.location() }
                }
                _ => self.error(Operation::Put, object, errno),
            })?;
        // The object is visible by now, so that no error from here on may say that it is not there.
        self.sync_folder(name.folder()).map_err(|errno| StoreError::Io {
            operation: Operation::Put,
            object: object.to_owned(),
            location: self.location(),
            source: errno.into(),
        })?;
        Ok(outcome)
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let (file, length_bytes) = self.open_object(Operation::Get, name)?;
        if length_bytes > max_length_bytes {
            return Err(StoreError::TooLarge {
                object: name.clone(),
                length_bytes,
                limit_bytes: max_length_bytes,
            });
        }
        self.read(Operation::Get, name, (&file, length_bytes), 0, length_bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        let (file, length_bytes) = self.open_object(Operation::GetRange, name)?;
        if offset.checked_add(length).is_none_or(|end| end > length_bytes) {
            let object = name.clone();
            return Err(StoreError::Truncated { object, offset, wanted_bytes: length, length_bytes });
        }
        self.read(Operation::GetRange, name, (&file, length_bytes), offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let stat =
            self.stat_at(name.as_str()).map_err(|errno| self.object_error(Operation::Stat, name, errno))?;
        object_info(&stat).ok_or_else(|| StoreError::NotFound { object: name.clone() })
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        check_prefix(prefix)?;
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.list_folder(folder, prefix, visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        // Only what is an object: unlink would remove a foreign symbolic link as well.
        self.stat(name)?;
        rustix::fs::unlinkat(&self.root, name.as_str(), AtFlags::empty())
            .map_err(|errno| self.object_error(Operation::Delete, name, errno))
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

/// A file in `tmp/`, removed when it goes out of scope: after it was linked, and after any failure.
struct Temporary<'a> {
    store: &'a LocalStore,
    path: String,
    file: File,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        match rustix::fs::unlinkat(&self.store.root, &self.path, AtFlags::empty()) {
            // Renamed, not linked.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => tracing::debug!(path = self.path, %error, "a temporary file stays"),
        }
    }
}

fn is_missing(path: &Path) -> bool {
    // The empty path is the parent of a relative one: the working directory.
    !path.as_os_str().is_empty()
        && fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether a store may be made in a folder that is there: what a new file system or an interrupted attempt leaves in
/// it does not matter.
fn check_empty(path: &Path) -> Result<(), StoreError> {
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::NotADirectory => {
            StoreError::NotAStore { path: path.to_owned(), reason: NotAStoreReason::NotAFolder }
        }
        _ => path_error(Operation::Create, path, source),
    };
    for entry in fs::read_dir(path).map_err(fail)? {
        let file_name = entry.map_err(fail)?.file_name();
        if file_name != RESERVED_COMPONENT && file_name != "lost+found" {
            return Err(StoreError::NotAStore { path: path.to_owned(), reason: NotAStoreReason::NotEmpty });
        }
    }
    Ok(())
}

fn sync(folder: &File) -> io::Result<()> {
    match folder.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        answer => answer,
    }
}

fn path_error(operation: Operation, path: &Path, source: io::Error) -> StoreError {
    let location = path.display().to_string();
    classify(operation, "the store", location, source)
}

fn classify(operation: Operation, object: &str, location: String, source: io::Error) -> StoreError {
    let object = object.to_owned();
    match Errno::from_io_error(&source) {
        Some(Errno::NOSPC | Errno::DQUOT) => StoreError::NoSpace { object, location },
        Some(Errno::ACCESS | Errno::PERM) => {
            StoreError::PermissionDenied { operation, object, location, source: None }
        }
        Some(Errno::ROFS) => StoreError::ReadOnly { operation, object, location },
        _ => StoreError::Io { operation, object, location, source },
    }
}

/// What there is to know of an object; `None` when the file is no regular one, and so no object.
fn object_info(stat: &Stat) -> Option<ObjectInfo> {
    let is_object = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let length_bytes = u64::try_from(stat.st_size).ok()?;
    is_object.then(|| ObjectInfo { length_bytes, modified_ms: modified_ms(stat), billed_days: 0 })
}

fn modified_ms(stat: &Stat) -> u64 {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(stat.st_mtime_nsec / 1_000_000)
}

#[cfg(test)]
mod tests;
