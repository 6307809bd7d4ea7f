//! A store that keeps what was overwritten or deleted: reading goes on, and repair makes it the newest again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::{Arc, Mutex};

use strongroom_format::entry::{ExpireBody, SegmentRange};
use strongroom_format::wal_file::{LogFile, Segment};
use strongroom_keys::Secret;
use strongroom_repository::RepositoryError;
use strongroom_repository::administration::{Grant, StorageRules};
use strongroom_repository::monitor::Silent;
use strongroom_repository::repair::versions::{VersionsReport, repair_opening};
use strongroom_repository::wal::{ArchivedFile, Pushed, WalWriter};
use strongroom_store::{
    History, MemoryStore, ObjectInfo, ObjectName, PutOutcome, Store, StoreError, Version,
};
use support::*;

/// A bucket with versions: memory for what is newest, and all that ever was, oldest first.
#[derive(Default)]
struct Versioned {
    newest: MemoryStore,
    history: Mutex<BTreeMap<ObjectName, Vec<Option<Vec<u8>>>>>,
}

impl Versioned {
    fn push(&self, name: &ObjectName, version: Option<&[u8]>) {
        self.history.lock().unwrap().entry(name.clone()).or_default().push(version.map(<[u8]>::to_vec));
    }

    /// What somebody with more rights than a writer does.
    fn overwrite(&self, name: &ObjectName, bytes: &[u8]) {
        self.newest.overwrite(name, bytes);
        self.push(name, Some(bytes));
    }

    /// Removes what no versioned store loses.
    fn erase_history(&self, name: &ObjectName) {
        let mut history = self.history.lock().unwrap();
        let versions = history.get_mut(name).unwrap();
        versions.drain(..versions.len() - 1);
    }

    fn count(&self, name: &ObjectName) -> usize {
        self.history.lock().unwrap().get(name).map_or(0, Vec::len)
    }
}

impl Store for Versioned {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let outcome = self.newest.put_if_absent(name, bytes)?;
        if outcome == PutOutcome::Created {
            self.push(name, Some(bytes));
        }
        Ok(outcome)
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.newest.get(name, max_length_bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.newest.get_range(name, offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.newest.stat(name)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.newest.list(prefix, visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.newest.delete(name)?;
        self.push(name, None);
        Ok(())
    }

    fn location(&self) -> String {
        "versioned memory".to_owned()
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }
}

impl History for Versioned {
    fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, StoreError> {
        let history = self.history.lock().unwrap();
        let versions = history.get(name).map(Vec::as_slice).unwrap_or_default();
        let described = versions.iter().enumerate().rev().map(|(number, version)| Version {
            id: number.to_string(),
            length_bytes: version.as_ref().map_or(0, |bytes| bytes.len() as u64),
            modified_ms: number as u64,
            is_newest: number + 1 == versions.len(),
            is_delete_marker: version.is_none(),
        });
        Ok(described.collect())
    }

    fn deleted(&self, prefix: &str) -> Result<Vec<ObjectName>, StoreError> {
        let history = self.history.lock().unwrap();
        let deleted = history.iter().filter(|(_, versions)| matches!(versions.last(), Some(None)));
        let names = deleted.map(|(name, _)| name.clone());
        Ok(names.filter(|name| name.as_str().starts_with(prefix)).collect())
    }

    fn get_version(&self, name: &ObjectName, id: &str, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let missing = || StoreError::NotFound { object: name.clone() };
        let history = self.history.lock().unwrap();
        let versions = history.get(name).ok_or_else(missing)?;
        let bytes = versions.get(id.parse::<usize>().unwrap()).cloned().flatten().ok_or_else(missing)?;
        let length_bytes = bytes.len() as u64;
        if length_bytes > max_length_bytes {
            return Err(StoreError::TooLarge {
                object: name.clone(),
                length_bytes,
                limit_bytes: max_length_bytes,
            });
        }
        Ok(bytes)
    }

    fn make_newest(&self, name: &ObjectName, id: &str) -> Result<(), StoreError> {
        let bytes = self.get_version(name, id, u64::MAX)?;
        self.overwrite(name, &bytes);
        Ok(())
    }
}

/// What is done to an object of that length.
type Harm<'a> = &'a dyn Fn(&ObjectName, usize);

fn data() -> Files {
    files([("dump.sql", noise(1, 700_000)), ("roles.sql", b"create role".to_vec())])
}

fn versioned() -> (Arc<Versioned>, Arc<dyn Store>, strongroom_format::SnapshotId) {
    let versioned = Arc::new(Versioned::default());
    let store: Arc<dyn Store> = Arc::clone(&versioned) as Arc<dyn Store>;
    new_repository(&store);
    let id = backup(&mut open(&store), "db", &data()).id;
    (versioned, store, id)
}

fn packs_and_indexes(store: &Arc<dyn Store>) -> Vec<ObjectName> {
    ["packs/", "meta/", "index/"].into_iter().flat_map(|folder| names(&**store, folder)).collect()
}

fn restored(report: &VersionsReport) -> Vec<ObjectName> {
    let mut names: Vec<_> = report.restored.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

#[test]
fn what_was_overwritten_is_read_and_repaired() {
    let (versioned, store, id) = versioned();
    let objects = packs_and_indexes(&store);
    assert!(objects.len() >= 3);
    let good: Vec<_> = objects.iter().map(|name| read(&*store, name)).collect();
    // Overwritten twice, by bytes of the same and of another length, and deleted.
    let harms: [Harm<'_>; 3] = [
        &|name, length| {
            versioned.overwrite(name, &noise(1, length));
            versioned.overwrite(name, &noise(2, length));
        },
        &|name, _| versioned.overwrite(name, b"gone"),
        &|name, _| store.delete(name).unwrap(),
    ];
    for harm in harms {
        for (name, good) in objects.iter().zip(&good) {
            harm(name, good.len());
        }
        let mut repository = open(&store);
        assert!(restore(&mut repository, id) == data());
        let report = check(&repository);
        assert!(damage(&report).len() >= objects.len(), "a check looks at what is newest");
        let versions: Vec<_> = objects.iter().map(|name| versioned.count(name)).collect();
        let would = repository.repair_versions(true, &Silent).unwrap();
        assert_eq!(
            restored(&would),
            objects.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        );
        assert_eq!(objects.iter().map(|name| versioned.count(name)).collect::<Vec<_>>(), versions);
        let did = repository.repair_versions(false, &Silent).unwrap();
        assert_eq!((restored(&did), did.lost), (restored(&would), vec![]));
        for (name, good) in objects.iter().zip(&good) {
            assert!(read(&*store, name) == *good, "{name}");
        }
        assert_clean(&store);
        let again = open(&store).repair_versions(false, &Silent).unwrap();
        assert_eq!((again.checked, again.restored, again.lost), (objects.len() as u64, vec![], vec![]));
    }
}

#[test]
fn what_no_version_holds_is_named_and_the_rest_repaired() {
    let (versioned, store, _) = versioned();
    let objects = packs_and_indexes(&store);
    for name in &objects {
        versioned.overwrite(name, b"overwritten");
    }
    let lost = &objects[0];
    versioned.erase_history(lost);
    let report = open(&store).repair_versions(false, &Silent).unwrap();
    assert_eq!(report.lost, std::slice::from_ref(lost));
    assert_eq!(report.restored.len(), objects.len() - 1);
    let found = check(&open(&store));
    assert!(damage(&found).iter().all(|finding| finding.object == lost.as_str()), "{:#?}", found.findings);
}

#[test]
fn parity_is_brought_back_where_there_was_some() {
    let (versioned, store, _) = versioned();
    let asked = StorageRules { parity: Some(5), ..StorageRules::default() };
    assert!(open(&store).set_storage_rules(asked).unwrap().is_some());
    backup(&mut open(&store), "db", &files([("dump.sql", noise(2, 100_000))]));
    let parity = names(&*store, "parity/");
    let [deleted, overwritten] = &parity[..] else { panic!("{parity:?}") };
    store.delete(deleted).unwrap();
    versioned.overwrite(overwritten, b"no parity");
    let report = open(&store).repair_versions(false, &Silent).unwrap();
    assert_eq!((restored(&report), report.lost), (parity.clone(), vec![]));
    assert_clean(&store);
    assert_eq!(open(&store).repair_versions(false, &Silent).unwrap().restored, []);
}

#[test]
fn what_opening_needs_is_brought_back_without_a_key() {
    let (versioned, store, id) = versioned();
    open(&store).note("third", None, "{}").unwrap();
    let objects: Vec<_> =
        ["config", "journal/", "keys/"].into_iter().flat_map(|p| names(&*store, p)).collect();
    assert!(objects.len() > 8);
    let good: Vec<_> = objects.iter().map(|name| read(&*store, name)).collect();
    // Each alone, then all together; with bytes that look like it, and with junk that is longer than any.
    let mut rounds: Vec<Vec<ObjectName>> = objects.iter().map(|name| vec![name.clone()]).collect();
    rounds.push(objects.clone());
    for round in rounds {
        for name in &round {
            let mut flipped = read(&*store, name);
            *flipped.last_mut().unwrap() ^= 1;
            versioned.overwrite(name, &flipped);
            versioned.overwrite(name, &noise(1, 100_000));
        }
        let would = repair_opening(&*store, true, &Silent).unwrap();
        let mut expected = round.clone();
        expected.sort();
        assert_eq!((restored(&would), &would.lost), (expected.clone(), &vec![]));
        let did = repair_opening(&*store, false, &Silent).unwrap();
        assert_eq!(restored(&did), expected);
        assert_eq!(did.checked, objects.len() as u64);
        for (name, good) in objects.iter().zip(&good) {
            assert!(read(&*store, name) == *good, "{name}");
        }
    }
    assert_eq!(repair_opening(&*store, false, &Silent).unwrap().restored, []);
    assert!(restore(&mut open(&store), id) == data());
    assert_clean(&store);
}

#[test]
fn a_deleted_journal_entry_is_brought_back() {
    let (_, store, id) = versioned();
    let mut repository = open(&store);
    for note in ["second", "third", "last"] {
        repository.note(note, None, "{}").unwrap();
    }
    let before = names(&*store, "");
    let mut lost = names(&*store, "keys/");
    lost.extend([name("config"), entry_name(0), entry_name(2), entry_name(4)]);
    lost.iter().for_each(|name| store.delete(name).unwrap());
    let report = repair_opening(&*store, false, &Silent).unwrap();
    lost.sort();
    assert_eq!((restored(&report), report.lost), (lost, vec![]));
    assert_eq!(names(&*store, ""), before);
    let mut repository = open(&store);
    assert_eq!(repository.state().number, 4);
    assert!(restore(&mut repository, id) == data());
    assert_clean(&store);
}

#[test]
fn a_deleted_key_comes_back_for_its_recipients_only() {
    let (_, store, _) = versioned();
    let mut repository = open(&store);
    let to_other = to_x25519(&Secret::new([0x55; 32]));
    repository.add_recipient(&to_other, Grant::Admin, None).unwrap();
    let other = to_other.recipient();
    let of_other: Vec<_> =
        names(&*store, "keys/").into_iter().filter(|name| name.as_str().ends_with(&other.to_hex())).collect();
    assert!(of_other.len() > 1);
    for name in &of_other {
        store.delete(name).unwrap();
    }
    // Who has no key cannot tell this from a recipient who was removed.
    assert_eq!(restored(&repair_opening(&*store, false, &Silent).unwrap()), []);
    let report = open(&store).repair_versions(false, &Silent).unwrap();
    assert_eq!(restored(&report), of_other);
    let _removed = repository.remove_recipient(other).unwrap();
    assert_eq!(restored(&repair_opening(&*store, false, &Silent).unwrap()), []);
    assert_eq!(restored(&open(&store).repair_versions(false, &Silent).unwrap()), []);
    assert_clean(&store);
}

#[test]
fn files_of_a_log_are_brought_back_unless_they_expired() {
    let (versioned, store, _) = versioned();
    let file = |place| ArchivedFile {
        source: "postgres".into(),
        system: 7,
        file: LogFile::Segment(Segment { timeline: 1, place }),
    };
    let mut names = Vec::new();
    for place in 1..=4 {
        let before: BTreeSet<_> = support::names(&*store, "wal/").into_iter().collect();
        let bytes = vec![u8::try_from(place).unwrap(); 1000];
        let pushed = WalWriter::new(&mut open(&store)).push(&file(place), &mut Cursor::new(bytes)).unwrap();
        assert_eq!(pushed, Pushed::Stored);
        names.extend(support::names(&*store, "wal/").into_iter().filter(|name| !before.contains(name)));
    }
    versioned.overwrite(&names[0], b"nothing");
    store.delete(&names[1]).unwrap();
    let ranges = vec![SegmentRange { timeline: 1, first: 3, last: 3 }];
    let body = ExpireBody { source: "postgres".into(), system: 7, ranges, reason: String::new() };
    let _ = open(&store).expire_log(&body).unwrap();
    store.delete(&names[2]).unwrap();

    let report = open(&store).repair_versions(false, &Silent).unwrap();
    let mut wanted = names[..2].to_vec();
    wanted.sort();
    assert_eq!(restored(&report), wanted);
    for place in [1, 2, 4] {
        let mut bytes = Vec::new();
        let length = open(&store).fetch_log_file(&file(place), &mut bytes).unwrap();
        assert_eq!((length, bytes.first().copied().map(u64::from)), (Some(1000), Some(place)));
    }
    assert_eq!(open(&store).fetch_log_file(&file(3), &mut Vec::new()).unwrap(), None);
}

#[test]
fn a_store_without_versions_says_so() {
    let (_, store) = memory();
    new_repository(&store);
    let error = open(&store).repair_versions(false, &Silent).unwrap_err();
    assert!(matches!(error, RepositoryError::NoHistory { .. }), "{error}");
    let error = repair_opening(&*store, false, &Silent).unwrap_err();
    assert!(matches!(error, RepositoryError::NoHistory { .. }), "{error}");
}
