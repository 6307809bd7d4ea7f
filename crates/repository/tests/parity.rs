//! Packs with parity: damage that it heals is read past and reported, and what it does not heal is as without it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_format::index::Index;
use strongroom_format::pack::Footer;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ChunkId, SnapshotId};
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::administration::StorageRules;
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::check::{CheckOptions, CheckReport, FindingKind, Severity};
use strongroom_repository::monitor::Silent;
use strongroom_repository::reader::Reader;
use strongroom_repository::{InitOptions, RepositoryError, init};
use strongroom_store::{
    Fault, FaultStore, MemoryStore, ObjectName, Operation, RecordStore, Store, StoreError, When,
};
use support::*;

const HEALS: &str = "its parity heals it";

/// A repository whose policy asks for parity from the first entry on.
fn new_with_parity(store: &Arc<dyn Store>, parity: u8) {
    let options = InitOptions { parity, ..InitOptions::of_host("db1") };
    let _made = init(store, &[WrapTo::KeyFile { key: key() }], options, &*fresh_random()).unwrap();
}

struct Fixture {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    files: Files,
    snapshot: SnapshotId,
}

impl Fixture {
    /// One snapshot of noise, in one data pack and one metadata pack.
    fn new(parity: u8) -> Self {
        let (memory, store) = memory();
        new_with_parity(&store, parity);
        let files = files([("dump.sql", noise(1, 900_000)), ("roles.sql", b"create role".to_vec())]);
        let snapshot = backup(&mut open(&store), "db", &files).id;
        Self { memory, store, files, snapshot }
    }

    /// The same with its objects changed.
    fn damaged(&self, damage: impl FnOnce(&MemoryStore)) -> Self {
        let memory = Arc::new((*self.memory).clone());
        damage(&memory);
        let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
        Self { memory, store, files: self.files.clone(), snapshot: self.snapshot }
    }

    fn only(&self, folder: &str) -> ObjectName {
        let found = names(&*self.store, folder);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    fn parity_of(&self, pack: &ObjectName) -> ObjectName {
        name(&format!("parity/{}", pack.as_str().split_once('/').unwrap().1))
    }

    fn is_restored(&self) -> bool {
        let mut repository = open(&self.store);
        repository.load_index().unwrap();
        let (restored, failed) = try_restore(&repository, self.snapshot);
        let whole = failed.is_none() && restored.len() == self.files.len();
        for (path, bytes) in restored {
            if let Ok(bytes) = bytes {
                assert!(bytes == self.files[&path], "wrong bytes of {path}");
            } else {
                return false;
            }
        }
        whole
    }

    fn quick(&self) -> CheckReport {
        open(&self.store).check(&CheckOptions::default(), &Silent).unwrap()
    }

    fn packs(&self) -> CheckReport {
        open(&self.store).check(&CheckOptions { packs: true, ..CheckOptions::default() }, &Silent).unwrap()
    }
}

/// Everything is read, and a check says what is damaged, that it heals, and that no snapshot is touched.
fn assert_heals(case: &str, fixture: &Fixture, object: &ObjectName, is_found_by_structure: bool) {
    assert!(fixture.is_restored(), "{case}");
    let mut reports = vec![fixture.packs(), check(&open(&fixture.store))];
    reports.extend(is_found_by_structure.then(|| fixture.quick()));
    for report in reports {
        let damage = damage(&report);
        assert_eq!(damage.len(), 1, "{case}: {:#?}", report.findings);
        assert_eq!(damage[0].object, object.as_str(), "{case}");
        assert!(damage[0].detail.contains(HEALS), "{case}: {}", damage[0].detail);
        assert!(damage[0].detail.contains("repair packs"), "{case}");
        assert!(damage[0].snapshots.is_empty() && damage[0].paths.is_empty(), "{case}: {:#?}", damage[0]);
        assert!(!report.is_clean());
        assert!(report.opened.iter().all(|opened| !object.as_str().contains(&opened.pack.to_hex())));
    }
}

/// It is as it would be without parity, and the check says that it was tried.
fn assert_lost(case: &str, fixture: &Fixture, object: &ObjectName) {
    assert!(!fixture.is_restored(), "{case}");
    let report = check(&open(&fixture.store));
    let finding = report.findings.iter().find(|finding| finding.object == object.as_str()).unwrap();
    assert_eq!(finding.severity, Severity::Damage, "{case}");
    assert!(finding.detail.contains("its parity does not heal it"), "{case}: {}", finding.detail);
    assert_eq!(finding.snapshots, [fixture.snapshot], "{case}");
}

type Edit = fn(&mut Vec<u8>);

fn edited(store: &MemoryStore, object: &ObjectName, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = read(store, object);
    edit(&mut bytes);
    store.overwrite(object, &bytes);
}

#[test]
fn without_a_policy_that_asks_there_is_none_and_with_one_each_pack_has_it() {
    let plain = Fixture::new(0);
    assert!(names(&*plain.store, "parity/").is_empty());
    assert_eq!(check(&open(&plain.store)).checked.parity, 0);
    for percent in [1, 5, 100] {
        let fixture = Fixture::new(percent);
        let packs = [fixture.only("packs/"), fixture.only("meta/")];
        assert_eq!(names(&*fixture.store, "parity/").len(), 2);
        for pack in &packs {
            let (pack, parity) =
                (read(&*fixture.store, pack), read(&*fixture.store, &fixture.parity_of(pack)));
            let percent = usize::from(percent);
            assert!(
                parity.len() * 100 > pack.len() * percent
                    && parity.len() < pack.len() * percent / 100 + 80_000
            );
        }
        let report = check(&open(&fixture.store));
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert_eq!((report.checked.parity, report.checked.packs_read), (2, 2));
    }
}

#[test]
fn what_a_backup_stored_counts_its_parity() {
    let (memory, store) = memory();
    new_with_parity(&store, 20);
    let totals = backup(&mut open(&store), "db", &files([("a", noise(1, 300_000))])).totals;
    let length =
        |prefix| names(&*memory, prefix).iter().map(|name| read(&*memory, name).len() as u64).sum::<u64>();
    let stored = ["packs/", "meta/", "parity/", "index/"].map(length);
    assert_eq!(totals.stored_bytes, stored.iter().sum::<u64>(), "{stored:?}");
}

/// Flip, truncate, extend, delete a part × data and metadata pack.
#[test]
fn damage_within_the_share_heals() {
    let fixture = Fixture::new(20);
    for folder in ["packs/", "meta/"] {
        let object = fixture.only(folder);
        let cases: [(&str, bool, Edit); 9] = [
            ("first byte", false, |bytes| bytes[0] ^= 1),
            // Trees are always read.
            ("in the first frame", folder == "meta/", |bytes| bytes[300] ^= 0x80),
            ("last byte", false, |bytes| *bytes.last_mut().unwrap() ^= 1),
            ("the footer", false, |bytes| {
                let length = bytes.len();
                bytes[length - 400..length - 16].fill(0);
            }),
            ("the middle", false, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle..middle + 100].fill(7);
            }),
            ("cut short by a byte", true, |bytes| bytes.truncate(bytes.len() - 1)),
            ("cut short by hundreds", true, |bytes| bytes.truncate(bytes.len() - 700)),
            ("something appended", true, |bytes| bytes.extend_from_slice(b"more")),
            ("something else appended", true, |bytes| bytes.extend_from_within(..)),
        ];
        for (case, is_found_by_structure, edit) in cases {
            let damaged = fixture.damaged(|store| edited(store, &object, edit));
            assert_heals(&format!("{object}: {case}"), &damaged, &object, is_found_by_structure);
        }
    }
    // Many places of a larger pack: one in each of 40 of its 1 KiB blocks.
    let object = fixture.only("packs/");
    let scattered = fixture.damaged(|store| {
        edited(store, &object, |bytes| (0..40).for_each(|place| bytes[500 + place * 20_000] ^= 1));
    });
    assert_heals("scattered", &scattered, &object, false);
}

#[test]
fn damage_beyond_the_share_is_as_without_parity() {
    let fixture = Fixture::new(5);
    for folder in ["packs/", "meta/"] {
        let object = fixture.only(folder);
        let flipped = fixture.damaged(|store| {
            edited(store, &object, |bytes| bytes.iter_mut().step_by(100).for_each(|byte| *byte ^= 1));
        });
        assert_lost("flipped everywhere", &flipped, &object);
        let cut = fixture.damaged(|store| edited(store, &object, |bytes| bytes.truncate(200)));
        assert_lost("cut short", &cut, &object);
        let gone = fixture.damaged(|store| store.delete(&object).unwrap());
        assert_lost("gone", &gone, &object);
    }
}

#[test]
fn with_parity_of_all_a_pack_that_is_gone_is_read() {
    let fixture = Fixture::new(100);
    for folder in ["packs/", "meta/"] {
        let object = fixture.only(folder);
        assert_heals("gone", &fixture.damaged(|store| store.delete(&object).unwrap()), &object, true);
        let empty = fixture.damaged(|store| store.overwrite(&object, &[]));
        assert_heals("empty", &empty, &object, true);
        let other = fixture.damaged(|store| edited(store, &object, |bytes| bytes.fill(0xaa)));
        assert_heals("other bytes", &other, &object, false);
    }
    // Both at once, and no index to say what is in them.
    let nothing = fixture.damaged(|store| {
        for object in ["packs/", "meta/", "index/"].iter().flat_map(|folder| names(store, folder)) {
            store.delete(&object).unwrap();
        }
    });
    assert!(nothing.is_restored());
}

/// The pack is damaged, and so is its parity: at either end, in its middle, by what is cut off.
#[test]
fn damaged_parity_heals_as_far_as_it_is_whole() {
    let fixture = Fixture::new(20);
    let object = fixture.only("packs/");
    let parity = fixture.parity_of(&object);
    let cases: [(&str, Edit); 6] = [
        ("first byte", |bytes| bytes[0] ^= 1),
        ("beginning", |bytes| bytes[..30_000].fill(0)),
        ("last byte", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("end", |bytes| {
            let length = bytes.len();
            bytes[length - 30_000..].fill(0);
        }),
        ("middle", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle..middle + 5000].fill(0);
        }),
        ("cut short", |bytes| bytes.truncate(bytes.len() / 2)),
    ];
    for (case, edit) in cases {
        let both = fixture.damaged(|store| {
            edited(store, &object, |bytes| bytes[500..5000].fill(0));
            edited(store, &parity, edit);
        });
        assert_heals(case, &both, &object, false);
        // With the pack whole, nothing is lost: it is said all the same.
        let alone = fixture.damaged(|store| edited(store, &parity, edit));
        assert!(alone.is_restored());
        for report in [alone.packs(), check(&open(&alone.store))] {
            assert!(damage(&report).is_empty(), "{case}: {:#?}", report.findings);
            assert_eq!(severity_of(&report, parity.as_str()), Some(Severity::Suspicious), "{case}");
            assert_eq!(report.findings.len(), 1, "{case}: {:#?}", report.findings);
        }
    }
    let length =
        fixture.damaged(|store| edited(store, &parity, |bytes| bytes.truncate(bytes.len() - 3))).quick();
    assert_eq!(length.findings[0].kind, FindingKind::WrongLength);
    let useless = fixture.damaged(|store| {
        edited(store, &object, |bytes| bytes[500] ^= 1);
        store.overwrite(&parity, b"no parity");
    });
    assert_lost("useless", &useless, &object);
    let none = fixture.damaged(|store| {
        edited(store, &object, |bytes| bytes[500] ^= 1);
        store.delete(&parity).unwrap();
    });
    assert!(!none.is_restored());
}

/// Somebody who can write to the store can say what he likes in a parity object: at worst it heals nothing.
#[test]
fn parity_of_another_pack_heals_nothing() {
    let fixture = Fixture::new(100);
    let (object, other) = (fixture.only("packs/"), fixture.only("meta/"));
    let swapped = fixture.damaged(|store| {
        edited(store, &object, |bytes| bytes[500] ^= 1);
        store.overwrite(&fixture.parity_of(&object), &read(store, &fixture.parity_of(&other)));
    });
    assert_lost("swapped", &swapped, &object);
}

#[test]
fn parity_that_is_missing_is_said() {
    let fixture = Fixture::new(5);
    let parity = fixture.parity_of(&fixture.only("packs/"));
    let report = fixture.damaged(|store| store.delete(&parity).unwrap()).quick();
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!((finding.severity, finding.kind), (Severity::Suspicious, FindingKind::Missing));
    assert!(finding.detail.contains(fixture.only("packs/").as_str()), "{}", finding.detail);
    // Nobody asked for it when it was stored.
    let plain = Fixture::new(0);
    let asked = StorageRules { parity: Some(5), ..StorageRules::default() };
    assert!(open(&plain.store).set_storage_rules(asked).unwrap().is_some());
    let report = plain.quick();
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!((finding.severity, finding.kind), (Severity::Info, FindingKind::Missing));
    assert!(finding.detail.starts_with("2 packs"), "{}", finding.detail);
    // From now on it is stored; and no more when it is no longer asked for.
    let day = files([("dump.sql", noise(9, 100_000))]);
    backup(&mut open(&plain.store), "db", &day);
    assert_eq!(names(&*plain.store, "parity/").len(), 2);
    assert!(plain.quick().findings[0].detail.starts_with("2 packs"));
    let off = StorageRules { parity: Some(0), ..StorageRules::default() };
    assert!(open(&plain.store).set_storage_rules(off).unwrap().is_some());
    backup(&mut open(&plain.store), "db", &files([("dump.sql", noise(10, 100_000))]));
    assert_eq!(names(&*plain.store, "parity/").len(), 2);
    assert!(plain.quick().findings.is_empty());
}

#[test]
fn parity_of_nothing_and_what_is_none_is_said() {
    let fixture = Fixture::new(5);
    let strange = fixture.damaged(|store| {
        put(store, &name("parity/what"), b"?");
        put(store, &name(&format!("parity/ab/{}", "ab".repeat(32))), b"of a run that did not finish");
    });
    let report = strange.quick();
    assert_eq!(severity_of(&report, "parity/what"), Some(Severity::Suspicious));
    let leftover = report.findings.iter().find(|finding| finding.kind == FindingKind::Leftover).unwrap();
    assert_eq!((leftover.severity, leftover.object.as_str()), (Severity::Info, "parity/"));
    assert_eq!(report.findings.len(), 2);
}

#[test]
fn the_rule_is_bounded_and_shown() {
    let fixture = Fixture::new(0);
    let mut repository = open(&fixture.store);
    let rules = |parity| StorageRules { parity: Some(parity), ..StorageRules::default() };
    assert!(matches!(repository.set_storage_rules(rules(101)), Err(RepositoryError::Unstorable { .. })));
    assert!(repository.set_storage_rules(rules(100)).unwrap().is_some());
    assert_eq!(repository.set_storage_rules(rules(100)).unwrap(), None);
    assert_eq!(open(&fixture.store).state().policy.parity, 100);
}

/// A run whose parity cannot be stored fails, as one whose packs cannot be.
#[test]
fn without_its_parity_no_pack_is_named() {
    let fixture = Fixture::new(5);
    let one_by_one = BackupOptions { uploads: 1, ..options("db") };
    let day = files([("a", noise(3, 300_000))]);
    let mutations = {
        let record = Arc::new(RecordStore::new((*fixture.damaged(|_| {}).memory).clone()));
        let store: Arc<dyn Store> = Arc::clone(&record) as Arc<dyn Store>;
        let mut repository = open(&store);
        record.take_calls();
        backup_with(&mut repository, &one_by_one, &day, &Silent).unwrap();
        record.take_calls().into_iter().filter(|call| call.operation.is_mutation()).collect::<Vec<_>>()
    };
    let first = |folder: &str| mutations.iter().position(|call| call.object.starts_with(folder)).unwrap();
    assert!(first("packs/") < first("parity/") && first("parity/") < first("index/"));
    let last_parity = mutations.iter().rposition(|call| call.object.starts_with("parity/")).unwrap();
    assert!(last_parity < first("index/") && first("index/") < first("journal/"), "{mutations:#?}");
    for mutation in [first("parity/"), last_parity] {
        let faulty = Arc::new(FaultStore::new((*fixture.damaged(|_| {}).memory).clone(), []));
        let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
        let mut repository = open(&store);
        faulty.add(Fault::Crash { mutation: mutation as u64 + 1, when: When::BeforeEffect });
        let failed = backup_with(&mut repository, &one_by_one, &day, &Silent);
        assert!(matches!(failed, Err(RepositoryError::Store(_))), "{failed:?}");
        assert_eq!(open(&(Arc::new(faulty.inner().clone()) as Arc<dyn Store>)).snapshots().len(), 1);
    }
}

/// Every chunk that the index describes.
fn chunks_of(store: &Arc<dyn Store>) -> Vec<ChunkId> {
    let keys = Keys::of(store);
    let mut chunks = Vec::new();
    for name in names(&**store, "index/") {
        let stored = read(&**store, &name);
        let opened = keys.metadata.open(ObjectKind::Index, "", &stored).unwrap();
        for pack in Index::decode(opened.body().unwrap().content).unwrap().packs {
            if pack.decoded_header().unwrap().kind == ObjectKind::DataPack {
                chunks.extend(Footer::decode(&pack.footer).unwrap().chunks.iter().map(|chunk| chunk.id));
            }
        }
    }
    chunks
}

/// Each damaged pack is fetched once while its frames are read one behind the other, and one that is past healing is
/// not fetched again and again.
#[test]
fn a_pack_is_healed_once() {
    let fixture = Fixture::new(5);
    let object = fixture.only("packs/");
    let parity = fixture.parity_of(&object);
    for (share, blocks) in [(true, 1), (false, 400)] {
        let damaged = fixture.damaged(|store| {
            edited(store, &object, |bytes| (0..blocks).for_each(|block| bytes[200 + 1024 * block] ^= 1));
        });
        let record = Arc::new(RecordStore::new((*damaged.memory).clone()));
        let store: Arc<dyn Store> = Arc::clone(&record) as Arc<dyn Store>;
        let mut repository = open(&store);
        repository.load_index().unwrap();
        let reader = Reader::new(&repository);
        record.take_calls();
        let chunks = chunks_of(&store);
        record.take_calls();
        let read = chunks.iter().filter(|chunk| reader.chunk(**chunk).is_ok()).count();
        assert_eq!(read == chunks.len(), share);
        assert_eq!(reader.healed().len(), usize::from(share));
        let calls = record.take_calls();
        let whole = |object: &ObjectName| {
            let gets = calls.iter().filter(|call| call.operation == Operation::Get);
            gets.filter(|call| call.object == object.as_str()).count()
        };
        assert_eq!((whole(&object), whole(&parity)), (1, 1));
    }
    // A whole repository asks for no parity.
    let record = Arc::new(RecordStore::new((*fixture.memory).clone()));
    let store: Arc<dyn Store> = Arc::clone(&record) as Arc<dyn Store>;
    restore(&mut open(&store), fixture.snapshot);
    assert!(record.take_calls().iter().all(|call| !call.object.starts_with("parity/")));
}

/// A disk that gives some sectors of a pack no more.
struct BadSectors {
    inner: MemoryStore,
    object: ObjectName,
    bad: std::ops::Range<u64>,
}

impl BadSectors {
    fn fails(
        &self,
        operation: Operation,
        name: &ObjectName,
        offset: u64,
        end: u64,
    ) -> Result<(), StoreError> {
        if *name != self.object || offset >= self.bad.end || end <= self.bad.start {
            return Ok(());
        }
        let source = std::io::Error::other("input/output error");
        Err(StoreError::Io { operation, object: name.to_string(), location: self.location(), source })
    }
}

impl Store for BadSectors {
    fn put_if_absent(
        &self,
        name: &ObjectName,
        bytes: &[u8],
    ) -> Result<strongroom_store::PutOutcome, StoreError> {
        self.inner.put_if_absent(name, bytes)
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.fails(Operation::Get, name, 0, u64::MAX)?;
        self.inner.get(name, max_length_bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.fails(Operation::GetRange, name, offset, offset + length)?;
        self.inner.get_range(name, offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<strongroom_store::ObjectInfo, StoreError> {
        self.inner.stat(name)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, strongroom_store::ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.inner.list(prefix, visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.inner.delete(name)
    }

    fn location(&self) -> String {
        "a bad disk".into()
    }
}

#[test]
fn sectors_that_cannot_be_read_are_healed_too() {
    let fixture = Fixture::new(5);
    for (bad, heals) in [(10_000..14_096, true), (10_000..500_000, false)] {
        let object = fixture.only("packs/");
        let disk = BadSectors { inner: (*fixture.memory).clone(), object: object.clone(), bad };
        let on_disk = Fixture { store: Arc::new(disk), ..fixture.damaged(|_| {}) };
        if heals {
            assert_heals("bad sectors", &on_disk, &object, false);
        } else {
            assert_lost("bad sectors", &on_disk, &object);
        }
    }
}

/// Deltas build on frames of a damaged pack; what is healed serves them, and writers go on.
#[test]
fn backups_go_on_over_packs_that_heal() {
    let (memory, store) = memory();
    new_with_parity(&store, 5);
    let first = backup(&mut open(&store), "db", &day(0)).id;
    let object = names(&*store, "packs/")[0].clone();
    edited(&memory, &object, |bytes| bytes[400] ^= 1);
    let second = backup(&mut open(&store), "db", &day(1)).id;
    assert!(deltas(&store) > 0, "the damaged pack gives bases");
    let mut repository = open(&store);
    assert_eq!(restore(&mut repository, first), day(0));
    assert_eq!(restore(&mut repository, second), day(1));
    let report = check(&repository);
    assert_eq!(damage(&report).len(), 1);
    assert!(damage(&report)[0].detail.contains(HEALS) && damage(&report)[0].snapshots.is_empty());
}

#[test]
fn packs_that_are_sealed_anew_have_parity() {
    let fixture = Fixture::new(5);
    let mut repository = open(&fixture.store);
    let old = names(&*fixture.store, "packs/");
    let key = *repository.data_keys().iter().next().unwrap();
    repository.retire_data_key(key, &Silent).unwrap();
    for pack in names(&*fixture.store, "packs/").iter().filter(|pack| !old.contains(pack)) {
        assert!(names(&*fixture.store, "parity/").contains(&fixture.parity_of(pack)));
    }
    assert_eq!(names(&*fixture.store, "parity/").len(), 3);
    let report = fixture.packs();
    assert!(damage(&report).is_empty());
    // The old pack's is retired with it.
    let retired = |finding: &&strongroom_repository::check::Finding| finding.detail.contains("retired packs");
    assert_eq!(report.findings.iter().filter(retired).count(), 2, "{:#?}", report.findings);
}
