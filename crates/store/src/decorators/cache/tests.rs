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
