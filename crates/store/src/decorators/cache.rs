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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{Call, MemoryStore, Operation, RecordStore, conformance};

    type Recorded = RecordStore<MemoryStore>;

    fn name(name: &str) -> ObjectName {
        ObjectName::new(name).unwrap()
    }

    fn cached(options: CacheOptions) -> (tempfile::TempDir, CacheStore<Recorded>) {
        let folder = tempfile::tempdir().unwrap();
        let store = CacheStore::new(Recorded::new(MemoryStore::new()), folder.path().join("c"), options);
        (folder, store)
    }

    fn new_cache() -> (tempfile::TempDir, CacheStore<Recorded>) {
        cached(CacheOptions::default())
    }

    /// Puts an object behind the cache's back.
    fn put_behind(store: &CacheStore<Recorded>, object: &str, bytes: &[u8]) {
        let _ = store.inner().inner().put_if_absent(&name(object), bytes).unwrap();
    }

    fn calls(store: &CacheStore<Recorded>) -> Vec<(Operation, String)> {
        let taken = store.inner().take_calls();
        taken.into_iter().map(|Call { operation, object, .. }| (operation, object)).collect()
    }

    /// The store as one whose objects all lie in `meta/`, so that the suite meets the cache.
    struct Below<S>(S);

    impl<S: Store> Below<S> {
        fn below(name: &ObjectName) -> ObjectName {
            ObjectName::new(format!("meta/{name}")).unwrap()
        }

        fn above(name: &ObjectName) -> ObjectName {
            ObjectName::new(name.as_str().strip_prefix("meta/").unwrap()).unwrap()
        }
    }

    impl<S: Store> Store for Below<S> {
        fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
            self.0.put_if_absent(&Self::below(name), bytes)
        }

        fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
            self.0.get(&Self::below(name), max_length_bytes)
        }

        fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
            self.0.get_range(&Self::below(name), offset, length)
        }

        fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
            self.0.stat(&Self::below(name))
        }

        fn list(
            &self,
            prefix: &str,
            visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            self.0.list(&format!("meta/{prefix}"), &mut |name, info| visit(Self::above(&name), info))
        }

        fn list_after(
            &self,
            prefix: &str,
            after: &ObjectName,
            visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            let (prefix, after) = (format!("meta/{prefix}"), Self::below(after));
            self.0.list_after(&prefix, &after, &mut |name, info| visit(Self::above(&name), info))
        }

        fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
            self.0.delete(&Self::below(name))
        }

        fn location(&self) -> String {
            self.0.location()
        }
    }

    #[test]
    fn it_is_a_store() {
        conformance::suite(&new_cache().1).unwrap();
        let (folder, store) = new_cache();
        conformance::suite(&Below(store)).unwrap();
        assert!(folder.path().join("c/meta/conformance").is_dir());
    }

    #[test]
    fn what_was_seen_is_not_asked_for_again() {
        let (folder, store) = new_cache();
        for object in ["config", "keys/a/b", "checkpoints/1", "journal/1", "meta/3f/1"] {
            put_behind(&store, object, object.as_bytes());
            let whole = store.get(&name(object), 100).unwrap();
            assert_eq!(calls(&store), [(Operation::Get, object.to_owned())]);
            assert!(store.is_cached(&name(object)));
            assert_eq!(store.get(&name(object), 100).unwrap(), whole);
            assert_eq!(store.get_range(&name(object), 1, 3).unwrap(), whole[1..4]);
            // Another process, later.
            let later = CacheStore::new(MemoryStore::new(), folder.path().join("c"), CacheOptions::default());
            assert_eq!(later.get(&name(object), 100).unwrap(), object.as_bytes());
            let too_large = store.get(&name(object), 5);
            assert!(matches!(too_large, Err(StoreError::TooLarge { limit_bytes: 5, .. })), "{too_large:?}");
            let truncated = store.get_range(&name(object), 5, 100);
            assert!(matches!(truncated, Err(StoreError::Truncated { offset: 5, .. })), "{truncated:?}");
            assert_eq!(calls(&store), []);
        }
        for object in ["packs/3f/1", "index/a/1", "wal/1", "parts/g/1", "running/1", "parity/1"] {
            put_behind(&store, object, b"123");
            for _ in 0..2 {
                store.get(&name(object), 100).unwrap();
                store.get_range(&name(object), 0, 1).unwrap();
            }
            assert!(!store.is_cached(&name(object)));
            assert_eq!(calls(&store).len(), 4, "{object}");
        }
    }

    #[test]
    fn what_was_put_is_kept() {
        let (_folder, store) = new_cache();
        let object = name("journal/1");
        assert_eq!(store.put_if_absent(&object, b"own").unwrap(), PutOutcome::Created);
        assert_eq!(store.get(&object, 3).unwrap(), b"own");
        assert_eq!(calls(&store), [(Operation::Put, "journal/1".to_owned())]);
        put_behind(&store, "journal/2", b"others");
        assert_eq!(store.put_if_absent(&name("journal/2"), b"own").unwrap(), PutOutcome::AlreadyExists);
        assert!(!store.is_cached(&name("journal/2")));
        assert_eq!(store.get(&name("journal/2"), 9).unwrap(), b"others");
        store.delete(&object).unwrap();
        assert!(store.get(&object, 3).unwrap_err().is_not_found());
    }

    #[test]
    fn absence_is_asked_for_each_time() {
        let (_folder, store) = new_cache();
        for _ in 0..2 {
            assert!(store.get(&name("journal/1"), 9).unwrap_err().is_not_found());
            assert!(store.get_range(&name("journal/1"), 0, 1).unwrap_err().is_not_found());
        }
        assert_eq!(calls(&store).len(), 4);
        put_behind(&store, "journal/1", b"1");
        assert_eq!(store.get(&name("journal/1"), 9).unwrap(), b"1");
    }

    #[test]
    fn the_store_as_it_is_now_is_one_call_away() {
        let (_folder, store) = new_cache();
        let _ = store.put_if_absent(&name("journal/1"), b"1").unwrap();
        store.inner().inner().delete(&name("journal/1")).unwrap();
        assert_eq!(store.get(&name("journal/1"), 9).unwrap(), b"1");
        assert!(store.uncached().get(&name("journal/1"), 9).unwrap_err().is_not_found());
        assert!(store.stat(&name("journal/1")).unwrap_err().is_not_found());
    }

    #[test]
    fn a_range_fetches_a_short_object_whole() {
        let (_folder, store) = cached(CacheOptions { whole_limit_bytes: 10, ..CacheOptions::default() });
        put_behind(&store, "meta/short", b"0123456789");
        put_behind(&store, "meta/long", b"0123456789a");
        for _ in 0..3 {
            assert_eq!(store.get_range(&name("meta/short"), 3, 4).unwrap(), b"3456");
            assert!(matches!(
                store.get_range(&name("meta/short"), 9, 2),
                Err(StoreError::Truncated { length_bytes: 10, .. })
            ));
        }
        assert_eq!(calls(&store), [(Operation::Get, "meta/short".to_owned())]);
        for _ in 0..3 {
            assert_eq!(store.get_range(&name("meta/long"), 3, 8).unwrap(), b"3456789a");
        }
        let (gets, ranges): (Vec<_>, Vec<_>) =
            calls(&store).into_iter().partition(|(operation, _)| *operation == Operation::Get);
        assert_eq!((gets.len(), ranges.len()), (1, 3));
        store.get(&name("meta/long"), 100).unwrap();
        assert!(!store.is_cached(&name("meta/long")));
    }

    #[test]
    fn a_damaged_copy_is_fetched_again() {
        let (folder, store) = new_cache();
        let path = folder.path().join("c/journal/1");
        put_behind(&store, "journal/1", b"0123456789");
        put_behind(&store, "journal/2", b"9876543210");
        let read = || store.get(&name("journal/1"), 100).unwrap();
        read();
        store.get(&name("journal/2"), 100).unwrap();
        let sound = fs::read(&path).unwrap();
        assert_eq!(sound.len(), 42);
        let flipped = |at: usize| {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            bytes
        };
        let longer = [sound.as_slice(), b"x"].concat();
        let another = fs::read(folder.path().join("c/journal/2")).unwrap();
        for damaged in [
            Vec::new(),
            sound[..31].to_vec(),
            sound[..32].to_vec(),
            sound[..41].to_vec(),
            longer,
            flipped(0),
            flipped(31),
            flipped(32),
            flipped(41),
            another,
        ] {
            fs::write(&path, &damaged).unwrap();
            calls(&store);
            assert_eq!(read(), b"0123456789", "{damaged:?}");
            assert_eq!(calls(&store).len(), 1);
            assert_eq!(fs::read(&path).unwrap(), sound);
        }
        // A folder, or somebody else's file, in its place.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(), b"0123456789");
        assert_eq!(read(), b"0123456789");
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_error() {
        let (folder, store) = new_cache();
        // A file where the cache's folder should be: so it fails for root, too.
        fs::write(folder.path().join("c"), "in the way").unwrap();
        for number in 0..3 {
            let object = name(&format!("journal/{number}"));
            let _ = store.put_if_absent(&object, b"1").unwrap();
            assert_eq!(store.get(&object, 9).unwrap(), b"1");
            assert_eq!(store.get_range(&object, 0, 1).unwrap(), b"1");
            store.delete(&object).unwrap();
        }
        assert!(store.is_off.load(Ordering::Relaxed));
        fs::remove_file(folder.path().join("c")).unwrap();
        let _ = store.put_if_absent(&name("config"), b"1").unwrap();
        assert!(!store.is_cached(&name("config")), "off is off");
    }

    #[test]
    fn copies_are_the_owners_alone() {
        let (folder, store) = new_cache();
        let _ = store.put_if_absent(&name("keys/a/b"), b"1").unwrap();
        for (path, mode) in [("c", 0o700), ("c/tmp", 0o700), ("c/keys/a", 0o700), ("c/keys/a/b", 0o600)] {
            let found = fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{path}");
        }
        assert_eq!(fs::read_dir(folder.path().join("c/tmp")).unwrap().count(), 0);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let (folder, store) = cached(CacheOptions { limit_bytes: 100 * 4096, whole_limit_bytes: 4000 });
        let path = |number: u64| folder.path().join(format!("c/journal/{number}"));
        let day = Duration::from_secs(24 * 60 * 60);
        let used = |number: u64, age: Duration| {
            File::options()
                .write(true)
                .open(path(number))
                .unwrap()
                .set_modified(SystemTime::now() - age)
                .unwrap();
        };
        // The first write looks, and so does the one after 256.
        for number in 0..MEASURE_EVERY {
            let _ = store.put_if_absent(&name(&format!("journal/{number}")), &[0; 1000]).unwrap();
            used(number, day * 10 - Duration::from_secs(number));
        }
        // Reading it makes it new.
        store.get(&name("journal/0"), 1000).unwrap();
        let leftover = folder.path().join("c/tmp/leftover");
        fs::write(&leftover, "x").unwrap();
        File::options().write(true).open(&leftover).unwrap().set_modified(SystemTime::now() - day).unwrap();
        let _ = store.put_if_absent(&name("journal/last"), b"1").unwrap();
        let left: Vec<_> = (0..MEASURE_EVERY).filter(|number| path(*number).exists()).collect();
        let expected: Vec<_> = std::iter::once(0).chain(MEASURE_EVERY - 88..MEASURE_EVERY).collect();
        assert_eq!(left, expected);
        assert!(store.is_cached(&name("journal/last")) && !leftover.exists());
        // What is gone is fetched.
        assert_eq!(store.get(&name("journal/1"), 1000).unwrap(), [0; 1000]);
    }

    #[test]
    fn a_new_repository_forgets_the_old_one() {
        let (_folder, store) = new_cache();
        let _ = store.put_if_absent(&name("config"), b"old").unwrap();
        let _ = store.put_if_absent(&name("journal/1"), b"old").unwrap();
        for object in ["config", "journal/1"] {
            store.inner().inner().delete(&name(object)).unwrap();
        }
        assert_eq!(store.put_if_absent(&name("config"), b"new").unwrap(), PutOutcome::Created);
        assert_eq!(store.get(&name("config"), 3).unwrap(), b"new");
        assert!(store.get(&name("journal/1"), 3).unwrap_err().is_not_found());
    }

    #[test]
    fn threads_and_processes_share_a_folder() {
        let (folder, first) = new_cache();
        for number in 0..50 {
            put_behind(&first, &format!("journal/{number}"), &[number; 5000]);
        }
        let second = CacheStore::new(first.inner(), folder.path().join("c"), CacheOptions::default());
        std::thread::scope(|scope| {
            for store in [&first as &dyn Store, &second, &first, &second] {
                scope.spawn(move || {
                    for number in (0..50).chain(0..50) {
                        let bytes = store.get(&name(&format!("journal/{number}")), 5000).unwrap();
                        assert_eq!(bytes, [number; 5000]);
                    }
                });
            }
        });
    }
}
