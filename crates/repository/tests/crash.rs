//! A crash, a full disk, a lost answer at every single write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_keys::wrap::WrapTo;
use strongroom_repository::{InitOptions, RepositoryError, init};
use strongroom_store::{Fault, FaultStore, MemoryStore, Store, StoreError, When};
use support::*;

type Faulty = Arc<FaultStore<MemoryStore>>;

fn faulty(inner: MemoryStore) -> (Faulty, Arc<dyn Store>) {
    let faulty = Arc::new(FaultStore::new(inner, []));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    (faulty, store)
}

fn day1() -> Files {
    files([("dump.sql", noise(1, 900_000)), ("roles.sql", b"create role".to_vec())])
}

fn day2() -> Files {
    let mut files = day1();
    files.get_mut("dump.sql").unwrap().splice(400_000..400_000, noise(2, 300_000));
    files.insert("new.sql".into(), noise(3, 50_000));
    files
}

/// A repository with one snapshot.
fn with_snapshot() -> MemoryStore {
    let (memory, store) = memory();
    new_repository(&store);
    backup(&mut open(&store), "db", &day1());
    (*memory).clone()
}

/// After whatever happened: what was committed restores, check is clean, and the next backup succeeds.
fn assert_good(case: &str, store: &Arc<dyn Store>, expected: &[&Files]) {
    let mut repository = open(store);
    let ids: Vec<_> = repository.snapshots().iter().map(|snapshot| snapshot.id()).collect();
    assert_eq!(ids.len(), expected.len(), "{case}");
    for (id, files) in ids.iter().zip(expected) {
        assert!(restore(&mut repository, *id) == **files, "{case}");
    }
    let report = check(&repository);
    assert!(report.is_clean(), "{case}: {:#?}", report.findings);
    let next = backup(&mut repository, "db", &day2()).id;
    assert!(restore(&mut open(store), next) == day2(), "{case}");
    assert_clean(store);
}

#[test]
fn init_may_crash_at_every_write() {
    for when in [When::BeforeEffect, When::AfterEffect] {
        for mutation in 1.. {
            let (faulty, store) = faulty(MemoryStore::new());
            faulty.add(Fault::Crash { mutation, when });
            let start = |store| {
                init(store, &[WrapTo::KeyFile { key: key() }], InitOptions::of_host("db1"), &*fresh_random())
            };
            let made = start(&store);
            if made.is_ok() && !faulty.is_crashed() {
                assert!(mutation > 6, "{mutation}");
                break;
            }
            faulty.clear();
            // Either there is a repository, or none, or one that says how to go on.
            match try_open(&store) {
                Ok(_) => {}
                Err(RepositoryError::NotARepository { .. }) => drop(start(&store).unwrap()),
                Err(RepositoryError::UnfinishedInit { .. }) => {
                    let again = start(&store);
                    assert!(matches!(again, Err(RepositoryError::UnfinishedInit { .. })), "{again:?}");
                    continue;
                }
                Err(error) => panic!("{mutation} {when:?}: {error:?}"),
            }
            backup(&mut open(&store), "db", &day1());
            // Wraps of keys that a first attempt left behind belong to no repository.
            let report =
                open(&store).check(&Default::default(), &strongroom_repository::monitor::Silent).unwrap();
            assert!(report.is_clean(), "{:#?}", report.findings);
        }
    }
}

#[test]
fn a_backup_may_crash_at_every_write() {
    let base = with_snapshot();
    for when in [When::BeforeEffect, When::AfterEffect] {
        let mut tried = 0;
        for mutation in 1.. {
            let case = format!("{when:?} at mutation {mutation}");
            let (faulty, store) = faulty(base.clone());
            let mut repository = open(&store);
            faulty.add(Fault::Crash { mutation, when });
            let result = try_backup(&mut repository, "db", &day2());
            let crashed = faulty.is_crashed();
            drop(repository);
            faulty.clear();
            let snapshots = open(&store).snapshots().len();
            if !crashed {
                assert_eq!(snapshots, 2);
                break;
            }
            tried += 1;
            // The last write may have been the entry: then the snapshot is there though its answer was lost.
            assert!(result.is_err() || snapshots == 2, "{case}");
            let (before, after) = (day1(), day2());
            let expected: &[&Files] = if snapshots == 2 { &[&before, &after] } else { &[&before] };
            assert_good(&case, &store, expected);
        }
        assert!(tried >= 5, "{tried}");
    }
}

#[test]
fn a_full_disk_at_every_write_loses_nothing_and_names_the_object() {
    let base = with_snapshot();
    for mutation in 1.. {
        let case = format!("no space from mutation {mutation} on");
        let (faulty, store) = faulty(base.clone());
        let mut repository = open(&store);
        faulty.add(Fault::NoSpace { mutation });
        match try_backup(&mut repository, "db", &day2()) {
            Ok(_) => {
                assert!(mutation > 4);
                break;
            }
            Err(RepositoryError::Store(StoreError::NoSpace { object, .. })) => {
                assert!(object.contains('/'), "{case}: {object}");
            }
            Err(error) => panic!("{case}: {error:?}"),
        }
        drop(repository);
        faulty.clear();
        assert_good(&case, &store, &[&day1()]);
    }
}

#[test]
fn lost_answers_at_every_write_give_one_snapshot_or_none() {
    let base = with_snapshot();
    for when in [When::BeforeEffect, When::AfterEffect] {
        for mutation in 1.. {
            let case = format!("{when:?} at mutation {mutation}");
            let (faulty, store) = faulty(base.clone());
            let mut repository = open(&store);
            faulty.add(Fault::Fail { mutation, when });
            let result = try_backup(&mut repository, "db", &day2());
            if faulty.mutations() < mutation {
                result.unwrap();
                break;
            }
            let (before, after) = (day1(), day2());
            let expected: &[&Files] = if result.is_ok() { &[&before, &after] } else { &[&before] };
            faulty.clear();
            assert_good(&case, &store, expected);
        }
    }
}

#[test]
fn a_lost_answer_to_the_journal_entry_is_success() {
    let (faulty, store) = faulty(with_snapshot());
    let mut repository = open(&store);
    // An unchanged backup writes its entry and nothing else.
    faulty.add(Fault::Fail { mutation: faulty.mutations() + 1, when: When::AfterEffect });
    let id = backup(&mut repository, "db", &day1()).id;
    assert_eq!(open(&store).snapshots().iter().filter(|snapshot| snapshot.id() == id).count(), 1);
    assert_good("after the lost answer", &store, &[&day1(), &day1()]);
}
