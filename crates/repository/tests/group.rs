//! Groups: several workers, one snapshot, whoever stops in between.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strongroom_chunker::ChunkerParams;
use strongroom_format::SnapshotId;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_repository::backup::Sink;
use strongroom_repository::backup::group::{CommitOptions, GroupCommit, GroupError, PartOf, Worked};
use strongroom_repository::check::CheckOptions;
use strongroom_repository::monitor::Silent;
use strongroom_repository::prune::PruneOptions;
use strongroom_repository::share::Share;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{Fault, FaultStore, MemoryStore, Store, When};
use support::{Files, new_repository, noise, open, options, write_files};

const OPTIONS: CommitOptions = CommitOptions { compression_level: 3, workers: 2, uploads: 2 };

fn store() -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    new_repository(&store);
    store
}

fn part(number: u32, count: u32) -> PartOf {
    PartOf { group: "g".into(), number, count }
}

/// What worker `number` has: files of its own, and one that all have.
fn files(number: u32) -> Files {
    let own = |name: &str, seed| (format!("{name}-{number}"), noise(seed + u64::from(number), 300_000));
    Files::from([own("a", 100), own("b", 200), ("z-common".to_owned(), b"the same".to_vec())])
}

fn work(repository: &mut Repository, of: &PartOf) -> Result<Worked, RepositoryError> {
    repository.backup_part(&options("db"), of, &Silent, |sink| write_files(sink, &files(of.number)))
}

fn commit(repository: &mut Repository) -> Result<GroupCommit, RepositoryError> {
    let group = repository.group("g", None)?;
    repository.commit_group(&group, &OPTIONS, &Silent, |entries, facts| {
        let mut count = 0;
        while entries.next_entry()?.is_some() {
            count += 1;
        }
        Ok(format!(r#"{{"entries":{count},"parts":{}}}"#, facts.len()).into_bytes())
    })
}

fn prune(repository: &mut Repository, orphan_age: Duration) {
    let options = PruneOptions { grace: Duration::ZERO, orphan_age, ..PruneOptions::default() };
    let _ = repository.prune(&options, &Silent).unwrap();
}

fn reason(error: RepositoryError) -> GroupError {
    match error {
        RepositoryError::Group { group, reason } if group == "g" => reason,
        other => panic!("another error: {other}"),
    }
}

fn assert_whole(repository: &Repository, snapshot: SnapshotId, count: u32) {
    let (restored, failed) = support::try_restore(repository, snapshot);
    assert!(failed.is_none(), "{failed:?}");
    let expected: Files = (1..=count).flat_map(files).collect();
    let restored: Files = restored.into_iter().map(|(path, bytes)| (path, bytes.unwrap())).collect();
    assert_eq!(restored.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(restored == expected);
}

#[test]
fn parts_become_one_snapshot() {
    let store = store();
    // Each on a host of its own.
    for number in [2, 3, 1] {
        let mut worker = open(&store);
        if number != 2 {
            let missing = reason(commit(&mut worker).unwrap_err());
            let expected = if number == 3 { vec![1, 3] } else { vec![1] };
            assert_eq!(missing, GroupError::Incomplete { missing: expected, count: 3 });
        }
        assert!(matches!(work(&mut worker, &part(number, 3)).unwrap(), Worked::Stored { parent: None, .. }));
        assert!(worker.snapshots().is_empty());
        // One that is started again has nothing to do.
        assert!(matches!(work(&mut open(&store), &part(number, 3)).unwrap(), Worked::Already { .. }));
    }
    let mut repository = open(&store);
    let other = reason(work(&mut repository, &part(2, 4)).unwrap_err());
    assert!(matches!(other, GroupError::Other { number: 2, what: "number of parts", .. }), "{other}");
    let mut late = open(&store);
    let stale = late.group("g", Some(3)).unwrap();
    let made = commit(&mut repository).unwrap();
    assert!(!made.was_committed);
    assert_eq!((made.totals.entries, made.totals.files), (7, 7));
    assert_whole(&repository, made.snapshot, 3);
    // Once, whoever else commits it, and when.
    let again =
        late.commit_group(&stale, &OPTIONS, &Silent, |_, _| Ok::<_, RepositoryError>(Vec::new())).unwrap();
    assert_eq!((again.snapshot, again.was_committed), (made.snapshot, true));
    assert_eq!(late.snapshots().len(), 1);
    let mut late_worker = open(&store);
    assert_eq!(work(&mut late_worker, &part(1, 3)).unwrap(), Worked::Committed { snapshot: made.snapshot });
    support::assert_clean(&store);
    // What was committed needs no parts any more, and no worker's leftovers.
    prune(&mut repository, Duration::ZERO);
    assert!(support::names(&*store, "parts/").is_empty());
    assert_eq!(repository.committed_group("g").unwrap().unwrap().snapshot, made.snapshot);
    assert_whole(&open(&store), made.snapshot, 3);
    support::assert_clean(&store);
}

#[test]
fn what_was_pruned_is_not_committed() {
    let store = store();
    let mut worker = open(&store);
    for number in [1, 2] {
        let _ = work(&mut worker, &part(number, 2)).unwrap();
    }
    let parts = support::names(&*store, "parts/");
    let stored: Vec<_> = parts.iter().map(|name| store.get(name, 1 << 20).unwrap()).collect();
    let mut other = open(&store);
    prune(&mut other, Duration::from_secs(24 * 60 * 60));
    assert_eq!(support::names(&*store, "parts/").len(), 2, "they are young");
    prune(&mut other, Duration::ZERO);
    assert_eq!(reason(commit(&mut worker).unwrap_err()), GroupError::NoParts);
    // They come back by requests that are late.
    for (name, bytes) in parts.iter().zip(&stored) {
        let _ = store.put_if_absent(name, bytes).unwrap();
    }
    assert_eq!(reason(commit(&mut open(&store)).unwrap_err()), GroupError::Pruned { number: 1 });
    assert!(open(&store).snapshots().is_empty());
    support::assert_clean(&store);
}

#[test]
fn what_parts_rely_on_is_rescued() {
    let store = store();
    let mut repository = open(&store);
    // All that both workers will have is in a snapshot, which is forgotten and pruned before they commit.
    let both: Files = [1, 2].into_iter().flat_map(files).collect();
    let before = support::backup(&mut repository, "other", &both).id;
    let mut worker = open(&store);
    for number in [1, 2] {
        let Worked::Stored { totals, .. } = work(&mut worker, &part(number, 2)).unwrap() else { panic!() };
        assert_eq!(totals.new_bytes, 0);
    }
    let mut other = open(&store);
    other.forget(&[before], "test").unwrap();
    // Retired, and there for a while.
    let _ = other.prune(&PruneOptions::default(), &Silent).unwrap();
    let made = commit(&mut open(&store)).unwrap();
    let repository = open(&store);
    assert_whole(&repository, made.snapshot, 2);
    support::assert_clean(&store);
}

#[test]
fn what_parts_rely_on_and_is_deleted_fails_them() {
    let store = store();
    let both: Files = [1, 2].into_iter().flat_map(files).collect();
    let before = support::backup(&mut open(&store), "other", &both).id;
    let mut worker = open(&store);
    for number in [1, 2] {
        let _ = work(&mut worker, &part(number, 2)).unwrap();
    }
    let mut other = open(&store);
    other.forget(&[before], "test").unwrap();
    prune(&mut other, Duration::from_secs(24 * 60 * 60));
    assert!(matches!(commit(&mut worker), Err(RepositoryError::PackRetired { .. })));
    assert!(open(&store).snapshots().is_empty());
}

#[test]
fn a_forgotten_group_does_not_come_back() {
    let store = store();
    let mut repository = open(&store);
    let _ = work(&mut repository, &part(1, 1)).unwrap();
    let made = commit(&mut repository).unwrap();
    repository.forget(&[made.snapshot], "test").unwrap();
    assert_eq!(reason(commit(&mut repository).unwrap_err()), GroupError::Forgotten);
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let store = store();
    let mut repository = open(&store);
    let _ = work(&mut repository, &part(1, 2)).unwrap();
    let elsewhere = options("elsewhere");
    let engine = |sink: &Sink<'_, '_>| write_files(sink, &files(2));
    let _ = repository.backup_part(&elsewhere, &part(2, 2), &Silent, engine).unwrap();
    let refused = reason(commit(&mut repository).unwrap_err());
    assert!(
        matches!(refused, GroupError::Disagreement { number: 2, what: "source", other: 1, .. }),
        "{refused}"
    );

    let of = |number| PartOf { group: "g".to_owned(), number, count: 2 };
    let store = self::store();
    let mut repository = open(&store);
    for number in [1, 2] {
        let own = Files::from([("same".to_owned(), vec![number; 10])]);
        let engine = |sink: &Sink<'_, '_>| write_files(sink, &own);
        let _ = repository.backup_part(&options("db"), &of(number.into()), &Silent, engine).unwrap();
    }
    let refused = reason(commit(&mut repository).unwrap_err());
    assert_eq!(refused, GroupError::Overlap { path: "same".into(), one: 1, other: 2 });
    assert!(repository.snapshots().is_empty());
}

#[test]
fn a_worker_that_is_started_again_goes_on() {
    let store = store();
    let long = noise(9, 150 << 20);
    let write = |sink: &Sink<'_, '_>, fails: bool| -> Result<(), RepositoryError> {
        let mut lane = sink.stream_lane(ChunkerParams::default())?;
        let _ = lane.content(&"long", &mut &long[..])?;
        if fails {
            return Err(RepositoryError::Interrupted);
        }
        lane.end(TreeEntry {
            path: EntryPath::new("long").unwrap(),
            kind: EntryKind::Stream(Content::Inline(vec![])),
            metadata: None,
            link_to: None,
        })?;
        lane.finish()
    };
    let mut worker = open(&store);
    let died = worker.backup_part(&options("db"), &part(1, 1), &Silent, |sink| write(sink, true));
    assert!(matches!(died, Err(RepositoryError::Interrupted)));
    assert!(!support::names(&*store, "index/").is_empty() && support::names(&*store, "parts/").is_empty());
    let mut worker = open(&store);
    let Worked::Stored { totals, .. } =
        worker.backup_part(&options("db"), &part(1, 1), &Silent, |sink| write(sink, false)).unwrap()
    else {
        panic!("it was not stored")
    };
    assert!(totals.new_bytes < 100 << 20, "{totals:?}");
    let made = commit(&mut worker).unwrap();
    let repository = open(&store);
    let (restored, _) = support::try_restore(&repository, made.snapshot);
    assert!(restored["long"].as_ref().unwrap() == &long);
    support::assert_clean(&store);
}

#[test]
fn shares_of_a_check_are_the_whole_of_it() {
    let store = store();
    for day in 0..5 {
        let _ = support::backup(&mut open(&store), "db", &support::day(day));
    }
    let older = support::names(&*store, "packs/");
    let _ = support::backup(&mut open(&store), "db", &support::day(5));
    let repository = open(&store);
    let check = |share| {
        let options = CheckOptions { read_data: true, share, ..CheckOptions::default() };
        repository.check(&options, &Silent).unwrap()
    };
    let all = check(None);
    let shares = || (1..=3).map(|number| Share { number, of: 3 });
    let checked: Vec<_> = shares().map(|share| check(Some(share))).collect();
    let opened: BTreeSet<_> = checked.iter().flat_map(|one| &one.opened).map(|one| one.pack).collect();
    assert_eq!(opened.len(), all.opened.len());
    assert_eq!(checked.iter().map(|one| one.checked.packs_read).sum::<u64>(), all.checked.packs_read);
    assert!(checked.iter().all(|one| one.checked.packs_read < all.checked.packs_read));
    assert_eq!(checked.iter().map(|one| one.checked.snapshots).collect::<Vec<_>>(), [6, 0, 0]);
    // Whoever reads a damaged pack tells what it touches, and nobody else finds it: nothing was stored against the newest.
    let pack = support::names(&*store, "packs/").into_iter().find(|name| !older.contains(name)).unwrap();
    let mut bytes = support::read(&*store, &pack);
    bytes[200] ^= 1;
    store.delete(&pack).unwrap();
    support::put(&*store, &pack, &bytes);
    let found: Vec<_> = shares().map(|share| check(Some(share))).collect();
    let damaged: Vec<_> = found.iter().filter(|one| !one.is_clean()).collect();
    assert_eq!(damaged.len(), 1);
    assert!(support::damage(damaged[0]).iter().all(|finding| !finding.snapshots.is_empty()));
}

#[test]
fn workers_and_commits_may_crash_at_every_write() {
    for when in [When::BeforeEffect, When::AfterEffect] {
        let mut tried = 0;
        for mutation in 1.. {
            let case = format!("{when:?} at mutation {mutation}");
            let (memory, store) = support::memory();
            new_repository(&store);
            let faulty = Arc::new(FaultStore::new((*memory).clone(), []));
            let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
            faulty.add(Fault::Crash { mutation, when });
            let run = || {
                for number in [1, 2] {
                    let _ = work(&mut support::try_open(&store)?, &part(number, 2))?;
                }
                commit(&mut support::try_open(&store)?)
            };
            let first = run();
            let has_crashed = faulty.is_crashed();
            faulty.clear();
            // Whatever was done, doing all of it again gives the one snapshot.
            let made = run().unwrap();
            assert_whole(&open(&store), made.snapshot, 2);
            assert_eq!(open(&store).snapshots().len(), 1, "{case}");
            support::assert_clean(&store);
            if !has_crashed {
                assert_eq!(first.unwrap().snapshot, made.snapshot);
                break;
            }
            tried += 1;
        }
        assert!(tried >= 10, "{tried}");
    }
}
