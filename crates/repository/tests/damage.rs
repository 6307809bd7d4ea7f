//! The damage matrix: delete, truncate, flip, swap × every object of a repository.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strongroom_format::SnapshotId;
use strongroom_repository::RepositoryError;
use strongroom_repository::check::{CheckOptions, CheckReport, FindingKind, Severity};
use strongroom_repository::monitor::Silent;
use strongroom_store::{Fault, FaultStore, MemoryStore, ObjectName, Operation, RecordStore, Store, When};
use support::*;

struct Fixture {
    store: MemoryStore,
    snapshots: BTreeMap<SnapshotId, Files>,
}

/// Three snapshots of two sources, a tag, a note, a merged index perhaps, and perhaps a checkpoint.
fn fixture(with_checkpoint: bool) -> Fixture {
    let (memory, store) = memory();
    new_repository(&store);
    let mut snapshots = BTreeMap::new();
    let mut day = files([
        ("dump.sql", noise(1, 900_000)),
        ("roles.sql", b"create role".to_vec()),
        ("wal/0001", noise(2, 90_000)),
    ]);
    for number in 0..200 {
        day.insert(format!("small/{number:04}"), format!("row {number}").into_bytes());
    }
    let mut repository = open(&store);
    snapshots.insert(backup(&mut repository, "db", &day).id, day.clone());
    day.get_mut("dump.sql").unwrap().splice(400_000..400_000, noise(3, 1000));
    day.remove("roles.sql");
    let second = backup(&mut repository, "db", &day).id;
    snapshots.insert(second, day);
    let web = files([("access.log", noise(4, 200_000))]);
    snapshots.insert(backup(&mut repository, "web", &web).id, web);
    repository.tag(second, &["weekly".into()], &[]).unwrap();
    repository.note("restore", Some(second), "{}").unwrap();
    if with_checkpoint {
        repository.write_checkpoint().unwrap();
    }
    repository.note("last", None, "{}").unwrap();
    assert_clean(&store);
    Fixture { store: (*memory).clone(), snapshots }
}

/// Objects of the same kind can be swapped.
fn kind(name: &str) -> &str {
    name.split('/').next().unwrap()
}

type Damage = Box<dyn Fn(&MemoryStore)>;

fn damages(store: &MemoryStore, target: &ObjectName) -> Vec<(String, Damage)> {
    let bytes = read(store, target);
    let mut out: Vec<(String, Damage)> = Vec::new();
    let replace = |bytes: Vec<u8>| -> Damage {
        let target = target.clone();
        Box::new(move |store| store.overwrite(&target, &bytes))
    };
    let gone = target.clone();
    out.push(("delete".into(), Box::new(move |store| store.delete(&gone).unwrap())));
    for length in [0, bytes.len() / 2, bytes.len() - 1] {
        out.push((format!("truncate to {length}"), replace(bytes[..length].to_vec())));
    }
    out.push(("extend".into(), replace([&bytes[..], &[0]].concat())));
    // The head of a sealed object: magic, kind, repository, key, salt, commitment; then the middle and the end.
    let head: &[usize] = if bytes.len() > 100_000 { &[0] } else { &[0, 8, 20, 40, 60, 100] };
    for at in head.iter().copied().chain([bytes.len() / 3, bytes.len() / 2, bytes.len() - 1]) {
        if at < bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            out.push((format!("flip byte {at}"), replace(flipped)));
        }
    }
    let other = names(store, "")
        .into_iter()
        .find(|name| name != target && kind(name.as_str()) == kind(target.as_str()));
    if let Some(other) = other {
        let other_bytes = read(store, &other);
        let (target, bytes) = (target.clone(), bytes);
        out.push((
            format!("swap with {other}"),
            Box::new(move |store| {
                store.overwrite(&target, &other_bytes);
                store.overwrite(&other, &bytes);
            }),
        ));
    }
    out
}

/// Whether a finding that is no mere information is about this object.
fn names_object(report: &CheckReport, object: &ObjectName) -> bool {
    let is_root_wrap = object.as_str().starts_with("keys/");
    report.findings.iter().any(|finding| {
        finding.severity != Severity::Info
            && (finding.object == object.as_str()
                || (is_root_wrap && object.as_str().starts_with(&finding.object)))
    })
}

fn touched(report: &CheckReport, snapshot: SnapshotId, path: &str) -> bool {
    report.findings.iter().filter(|finding| finding.severity != Severity::Info).any(|finding| {
        finding.paths.iter().any(|(id, touched)| *id == snapshot && touched.to_string() == path)
            || (finding.more_paths > 0 && finding.snapshots.contains(&snapshot))
    })
}

/// Restores what can be restored: never wrong bytes, and what fails was named by the check.
fn assert_restores_or_is_named(case: &str, fixture: &Fixture, store: &Arc<dyn Store>, report: &CheckReport) {
    let mut repository = match try_open(store) {
        Ok(repository) => repository,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let is_clear = matches!(
                error,
                RepositoryError::NotARepository { .. }
                    | RepositoryError::UnfinishedInit { .. }
                    | RepositoryError::Unlock { .. }
                    | RepositoryError::Damaged { .. }
                    | RepositoryError::Inconsistent { .. }
                    | RepositoryError::NewerFormat { .. }
                    | RepositoryError::Store(_)
            );
            let may_fail = ["config", "journal/0000000000000000", "keys/"];
            assert!(is_clear && may_fail.iter().any(|object| case.contains(object)), "{case}: {error:?}");
            return;
        }
    };
    repository.load_index().unwrap_or_else(|error| panic!("{case}: {error:?}"));
    let known: BTreeSet<SnapshotId> = repository.snapshots().iter().map(|s| s.id()).collect();
    for (id, expected) in &fixture.snapshots {
        if !known.contains(id) {
            assert!(case.starts_with("journal/"), "{case}: a snapshot is gone");
            continue;
        }
        let (restored, failed) = try_restore(&repository, *id);
        for (path, bytes) in expected {
            match restored.get(path) {
                Some(Ok(found)) => assert!(found == bytes, "{case}: wrong bytes of {path}"),
                Some(Err(_)) | None => {
                    assert!(
                        touched(report, *id, path),
                        "{case}: {path} of {id} fails unnamed: {:#?}\n{failed:?}",
                        report.findings
                    );
                }
            }
        }
        assert!(restored.keys().all(|path| expected.contains_key(path)), "{case}");
    }
}

fn matrix(with_checkpoint: bool) {
    let fixture = fixture(with_checkpoint);
    let mut cases = 0;
    let last_entry = names(&fixture.store, "journal/").pop().unwrap();
    for target in names(&fixture.store, "") {
        // What a checkpoint changes is how the journal is read; the rest is as it is without one.
        if with_checkpoint && ["packs", "meta", "keys"].contains(&kind(target.as_str())) {
            continue;
        }
        for (what, damage) in damages(&fixture.store, &target) {
            let case = format!("{target}: {what}");
            let memory = Arc::new(fixture.store.clone());
            let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
            let before = open(&store);
            damage(&memory);
            let mut report = check(&before);
            if kind(target.as_str()) == "checkpoints" && what == "delete" {
                // A cache: nobody misses it.
                assert!(report.is_clean());
                assert_restores_or_is_named(&case, &fixture, &store, &report);
                continue;
            }
            assert!(!report.is_clean(), "{case}: not found");
            assert!(names_object(&report, &target), "{case}: {:#?}", report.findings);
            // Opened again: the state may know less, and the check must still find it. That the journal's last entry
            // is gone, nobody can know who has not seen it.
            let is_unknowable = target == last_entry && what == "delete";
            if let Ok(after) = try_open(&store)
                && !is_unknowable
            {
                report = check(&after);
                assert!(names_object(&report, &target), "{case}: {:#?}", report.findings);
                // What is wrong without reading data is found without it.
                let quick = after.check(&CheckOptions::default(), &Silent).unwrap();
                let found_by_structure = ["config", "journal", "checkpoints", "index"]
                    .contains(&kind(target.as_str()))
                    || what == "delete" && !target.as_str().starts_with("keys/")
                    || what.starts_with("truncate") && kind(target.as_str()) != "keys";
                assert!(
                    !found_by_structure || names_object(&quick, &target),
                    "{case}: {:#?}",
                    quick.findings
                );
            }
            assert_restores_or_is_named(&case, &fixture, &store, &report);
            cases += 1;
        }
    }
    assert!(cases > if with_checkpoint { 150 } else { 280 }, "{cases}");
}

#[test]
fn damage_is_found_and_never_restored_as_data_with_a_checkpoint() {
    matrix(true);
}

#[test]
fn damage_is_found_and_never_restored_as_data_without_a_checkpoint() {
    matrix(false);
}

#[test]
fn a_lost_data_pack_names_the_paths_of_each_snapshot() {
    let fixture = fixture(false);
    let memory = Arc::new(fixture.store.clone());
    let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
    let pack = open(&store).snapshots()[2].state.number;
    let web: Vec<_> =
        fixture.snapshots.iter().filter(|(_, files)| files.contains_key("access.log")).collect();
    let brought = {
        let keys = Keys::of(&store);
        let bytes = read(&*store, &entry_name(pack));
        let opened = keys
            .metadata
            .open(strongroom_format::registry::ObjectKind::Entry, entry_name(pack).as_str(), &bytes)
            .unwrap();
        let entry = strongroom_format::entry::JournalEntry::decode(opened.body().unwrap().content).unwrap();
        let strongroom_format::entry::Statement::Snapshot(body) = entry.statement else { panic!() };
        body.packs
            .iter()
            .find(|pack| pack.kind == strongroom_format::registry::ObjectKind::DataPack)
            .unwrap()
            .id
    };
    let object = name(&format!("packs/{:02x}/{brought}", brought.0[0]));
    memory.delete(&object).unwrap();
    let report = open(&store).check(&CheckOptions::default(), &Silent).unwrap();
    let damage: Vec<_> = report.findings.iter().filter(|f| f.severity == Severity::Damage).collect();
    assert_eq!(damage.len(), 1, "{damage:#?}");
    assert_eq!((damage[0].kind, damage[0].object.as_str()), (FindingKind::Missing, object.as_str()));
    assert_eq!(damage[0].snapshots, [*web[0].0]);
    assert_eq!(damage[0].paths.len(), 1);
    assert_eq!(damage[0].paths[0].1.to_string(), "access.log");
    assert_eq!(damage[0].more_paths, 0);
}

#[test]
fn all_index_objects_gone_loses_nothing() {
    let fixture = fixture(true);
    let memory = Arc::new(fixture.store.clone());
    let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
    for object in names(&*store, "index/") {
        memory.delete(&object).unwrap();
    }
    let mut repository = open(&store);
    for (id, files) in &fixture.snapshots {
        assert_eq!(restore(&mut repository, *id), *files);
    }
    assert!(!repository.warnings().is_empty());
    let report = check(&repository);
    assert!(report.findings.iter().all(|finding| finding.paths.is_empty()), "{:#?}", report.findings);
    // The next backup counts on the packs all the same.
    let day = fixture.snapshots.values().next().unwrap();
    assert_eq!(backup(&mut repository, "db", day).totals.new_bytes, 0);
}

#[test]
fn a_sample_reads_a_part_and_at_least_one_pack() {
    let fixture = fixture(false);
    let store: Arc<dyn Store> = Arc::new(fixture.store);
    let repository = open(&store);
    let read = |percent| {
        let options = CheckOptions { sample_percent: Some(percent), ..CheckOptions::default() };
        repository.check(&options, &Silent).unwrap().checked
    };
    let packs = read(100).packs_read;
    assert_eq!(packs, read(0).packs);
    assert_eq!(read(0).packs_read, 1);
    assert_eq!(read(50).packs_read, packs.div_ceil(2));
}

#[test]
fn a_store_that_is_gone_and_an_interrupted_check_are_errors_and_no_findings() {
    struct Impatient;
    impl strongroom_repository::monitor::Monitor for Impatient {
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let faulty = Arc::new(FaultStore::new(fixture(true).store, []));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let repository = open(&store);
    assert!(matches!(repository.check(&thorough(), &Impatient), Err(RepositoryError::Interrupted)));
    faulty.add(Fault::Crash { mutation: 1, when: When::BeforeEffect });
    let _ = store.put_if_absent(&name("x"), b"");
    assert!(matches!(repository.check(&thorough(), &Silent), Err(RepositoryError::Store(_))));
}

#[test]
fn a_check_changes_nothing() {
    let record = Arc::new(RecordStore::new(fixture(true).store));
    let store: Arc<dyn Store> = Arc::clone(&record) as Arc<dyn Store>;
    let repository = open(&store);
    record.take_calls();
    let report = check(&repository);
    assert!(report.checked.keys_opened > 0 && report.checked.nodes > 0 && report.checked.chunks > 200);
    let calls = record.take_calls();
    assert!(calls.iter().all(|call| !call.operation.is_mutation()));
    // Packs are listed, not looked up one by one, and each is read whole once.
    assert!(calls.iter().filter(|call| call.operation == Operation::Stat).count() == 0, "{calls:#?}");
    let packs = calls.iter().filter(|call| call.operation == Operation::Get && call.object.contains("/"));
    let packs = packs.filter(|call| call.object.starts_with("packs/") || call.object.starts_with("meta/"));
    assert_eq!(packs.count() as u64, report.checked.packs);
}
