//! A folder of local copies of small objects, so that a client asks the store for nothing that it has seen.
//!
//! Sound because objects never change: a copy can be missing, but not stale. What is *not* there is never cached, and
//! a name that somebody deleted may still be read here. So whoever asks what the store holds *now* (a check, or
//! whether the store went back behind a journal entry seen before) asks [`CacheStore::uncached`].
//!
//! The copy of object `a/b` is the file `a/b` below the folder: 32 bytes of BLAKE3 over name and bytes, then the bytes,
//! which are as sealed as the object is. Files are written to `tmp/` and renamed, so that processes can share the
//! folder; nothing is synced, since a file that a crash damaged is found out and fetched again. Nothing that goes wrong
//! here is an error to the caller.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::capability::{Archive, History, Retention};
use crate::error::StoreError;
use crate::memory::range_of;
use crate::name::{ObjectName, RESERVED_COMPONENT};
use crate::store::{ObjectInfo, PutOutcome, Store};

/// What is kept: small, immutable, and read again by every command.
const KEPT_FOLDERS: [&str; 4] = ["checkpoints/", "journal/", "keys/", "meta/"];

/// Made together with the repository: when it is created, nothing older can still hold.
const CONFIG: &str = "config";

const HASH_BYTES: usize = 32;
const HASH_CONTEXT: &str = "strongroom 2026 local copies of objects";

/// A file takes at least this on most disks.
const BLOCK_BYTES: u64 = 4096;

/// The folder is measured after so many files written.
const MEASURE_EVERY: u64 = 256;

/// A read file counts as used anew when it was last used before this.
const USE_GRAIN: Duration = Duration::from_secs(60 * 60);

/// Temporary files older than this are a crashed process's.
const LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);

/// Bounds of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// What the files may take on the disk together; what was not used for longest goes first. It may be exceeded by
    /// what is written between two looks at it.
    pub limit_bytes: u64,
    /// Longest object that is kept, and fetched whole when a range of it is asked for.
    pub whole_limit_bytes: u64,
}

impl Default for CacheOptions {
    /// 1 GiB, 8 MiB.
    fn default() -> Self {
        Self { limit_bytes: 1 << 30, whole_limit_bytes: 8 << 20 }
    }
}

/// Keeps copies of `config` and of what lies in `keys/`, `checkpoints/`, `journal/` and `meta/`. See the
/// module's documentation for what may be read from them.
#[derive(Debug)]
pub struct CacheStore<S> {
    inner: S,
    folder: PathBuf,
    options: CacheOptions,
    written: AtomicU64,
    is_off: AtomicBool,
    temporaries: AtomicU64,
    /// The last object known to be too long to be kept.
    too_long: Mutex<Option<ObjectName>>,
}

impl<S: Store> CacheStore<S> {
    /// A cache in `folder`, which is made when something is written to it. It must be of this repository alone:
    /// another one's objects have the same names.
    pub fn new(inner: S, folder: impl Into<PathBuf>, options: CacheOptions) -> Self {
        Self {
            inner,
            folder: folder.into(),
            options,
            written: AtomicU64::new(0),
            is_off: AtomicBool::new(false),
            temporaries: AtomicU64::new(0),
            too_long: Mutex::default(),
        }
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The store behind, for those who must see what it holds now.
    pub fn uncached(&self) -> &dyn Store {
        &self.inner
    }

    /// Whether there is a copy; it may still turn out to be damaged.
    pub fn is_cached(&self, name: &ObjectName) -> bool {
        is_kept(name) && self.path(name).is_file()
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.folder.join(name.as_str())
    }

    /// The object's copy, if there is a sound one.
    fn copy_of(&self, name: &ObjectName) -> Option<Vec<u8>> {
        if !is_kept(name) {
            return None;
        }
        let path = self.path(name);
        match read_copy(&path, name, self.options.whole_limit_bytes) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a copy in the cache is damaged");
                remove(&path);
                None
            }
        }
    }

    fn keep(&self, name: &ObjectName, bytes: &[u8]) {
        let is_short = bytes.len() as u64 <= self.options.whole_limit_bytes.min(self.options.limit_bytes);
        if !is_kept(name) || !is_short || self.is_off.load(Ordering::Relaxed) {
            return;
        }
        let kept = self.write_copy(name, bytes).and_then(|()| {
            let written = self.written.fetch_add(1, Ordering::Relaxed);
            // The first one too: processes that write little would never look otherwise.
            if written.is_multiple_of(MEASURE_EVERY) { self.shrink() } else { Ok(()) }
        });
        if let Err(error) = kept
            && !self.is_off.swap(true, Ordering::Relaxed)
        {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "the cache cannot be written to; going on without adding to it");
        }
    }

    fn write_copy(&self, name: &ObjectName, bytes: &[u8]) -> io::Result<()> {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(RESERVED_COMPONENT);
        let temporary = folder.join(format!("{}-{number}-{:016x}", std::process::id(), getrandom::u64()?));
        make_folder(&folder)?;
        let written = write_new(&temporary, name, bytes).and_then(|()| {
            let path = self.path(name);
            path.parent().map_or(Ok(()), make_folder)?;
            fs::rename(&temporary, &path)
        });
        if written.is_err() {
            remove(&temporary);
        }
        written
    }

    /// Removes what was not used for longest until a tenth of the limit is free.
    fn shrink(&self) -> io::Result<()> {
        let mut files = Vec::new();
        find_files(&self.folder, &self.folder.join(RESERVED_COMPONENT), &mut files)?;
        let mut taken: u64 = files.iter().map(|file| file.taken_bytes).sum();
        if taken <= self.options.limit_bytes {
            return Ok(());
        }
        let aim = self.options.limit_bytes - self.options.limit_bytes / 10;
        files.sort_unstable_by_key(|file| file.used);
        for file in files {
            if taken <= aim {
                break;
            }
            remove(&file.path);
            taken -= file.taken_bytes;
        }
        Ok(())
    }

    fn forget_everything(&self) {
        let mut files = Vec::new();
        if let Err(error) = find_files(&self.folder, &self.folder.join(RESERVED_COMPONENT), &mut files) {
            tracing::debug!(folder = %self.folder.display(), %error, "the cache cannot be emptied");
        }
        files.iter().for_each(|file| remove(&file.path));
    }

    fn is_too_long(&self, name: &ObjectName) -> bool {
        self.too_long.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(name)
    }
}

fn is_kept(name: &ObjectName) -> bool {
    name.as_str() == CONFIG || KEPT_FOLDERS.iter().any(|folder| name.as_str().starts_with(folder))
}

fn hash(name: &ObjectName, bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key(HASH_CONTEXT);
    // No name holds a zero byte, so that no two pairs are hashed alike.
    hasher.update(name.as_str().as_bytes()).update(&[0]).update(bytes);
    hasher.finalize().into()
}

fn read_copy(path: &Path, name: &ObjectName, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let length_bytes = metadata.len().checked_sub(HASH_BYTES as u64).ok_or_else(damaged)?;
    if !metadata.is_file() || length_bytes > limit_bytes {
        return Err(damaged());
    }
    let mut stored = [0; HASH_BYTES];
    file.read_exact(&mut stored)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length_bytes).map_err(|_| damaged())?);
    (&mut file).take(length_bytes).read_to_end(&mut bytes)?;
    if hash(name, &bytes) != stored {
        return Err(damaged());
    }
    let now = SystemTime::now();
    if metadata.modified().is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > USE_GRAIN)) {
        // Best effort: a file that looks unused goes early.
        let _ = file.set_modified(now);
    }
    Ok(bytes)
}

fn write_new(path: &Path, name: &ObjectName, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&hash(name, bytes))?;
    file.write_all(bytes)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Removes a file that others may be removing too.
fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(path = %path.display(), %error, "a copy stays in the cache");
        }
        _ => {}
    }
}

struct CachedFile {
    used: SystemTime,
    taken_bytes: u64,
    path: PathBuf,
}

/// All copies below `folder`. Removes what crashed processes left in `temporaries`.
fn find_files(folder: &Path, temporaries: &Path, found: &mut Vec<CachedFile>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        // Whoever removed it meanwhile needs nothing here.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if metadata.is_dir() {
            find_files(&path, temporaries, found)?;
        } else if path.parent() == Some(temporaries) {
            if SystemTime::now().duration_since(used).is_ok_and(|age| age > LEFTOVER_AGE) {
                remove(&path);
            }
        } else {
            let taken_bytes = metadata.len().next_multiple_of(BLOCK_BYTES);
            found.push(CachedFile { used, taken_bytes, path });
        }
    }
    Ok(())
}

impl<S: Store> Store for CacheStore<S> {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let outcome = self.inner.put_if_absent(name, bytes)?;
        if outcome == PutOutcome::Created {
            if name.as_str() == CONFIG {
                self.forget_everything();
            }
            self.keep(name, bytes);
        }
        Ok(outcome)
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        if let Some(bytes) = self.copy_of(name) {
            let length_bytes = bytes.len() as u64;
            if length_bytes > max_length_bytes {
                let object = name.clone();
                return Err(StoreError::TooLarge { object, length_bytes, limit_bytes: max_length_bytes });
            }
            return Ok(bytes);
        }
        let bytes = self.inner.get(name, max_length_bytes)?;
        self.keep(name, &bytes);
        Ok(bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        let bytes = match self.copy_of(name) {
            Some(bytes) => bytes,
            None if !is_kept(name) || self.is_off.load(Ordering::Relaxed) || self.is_too_long(name) => {
                return self.inner.get_range(name, offset, length);
            }
            None => match self.inner.get(name, self.options.whole_limit_bytes) {
                Ok(bytes) => {
                    self.keep(name, &bytes);
                    bytes
                }
                Err(StoreError::TooLarge { .. }) => {
                    *self.too_long.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
                    return self.inner.get_range(name, offset, length);
                }
                Err(error) => return Err(error),
            },
        };
        range_of(&bytes, offset, length).map(<[u8]>::to_vec).ok_or_else(|| StoreError::Truncated {
            object: name.clone(),
            offset,
            wanted_bytes: length,
            length_bytes: bytes.len() as u64,
        })
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.inner.stat(name)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.inner.list(prefix, visit)
    }

    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.inner.list_after(prefix, after, visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let answer = self.inner.delete(name);
        // Even when it failed: it may have had its effect.
        if is_kept(name) {
            remove(&self.path(name));
        }
        answer
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn history(&self) -> Option<&dyn History> {
        self.inner.history()
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.inner.retention()
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive()
    }
}

#[cfg(test)]
mod tests;
