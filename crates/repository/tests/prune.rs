//! Forgetting and pruning: what nobody needs goes, in two steps, and nothing else ever does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom_chunker::ChunkerParams;
use strongroom_format::SnapshotId;
use strongroom_format::path::EntryPath;
use strongroom_format::registry::Roles;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_repository::backup::Sink;
use strongroom_repository::check::FindingKind;
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::prune::{MaxUnused, PruneOptions, PruneReport};
use strongroom_repository::retention::{Filter, Keep, Rules};
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{Fault, FaultStore, MemoryStore, Store, When};
use support::*;

fn stream(name: &str) -> TreeEntry {
    TreeEntry {
        path: EntryPath::new(name).unwrap(),
        kind: EntryKind::Stream(Content::Inline(vec![])),
        metadata: None,
        link_to: None,
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Deletes at once, leftovers too, and lets thin packs stay.
fn at_once() -> PruneOptions {
    PruneOptions {
        grace: Duration::ZERO,
        orphan_age: Duration::ZERO,
        max_unused: MaxUnused::Unlimited,
        ..PruneOptions::default()
    }
}

fn prune(repository: &mut Repository) -> PruneReport {
    repository.prune(&at_once(), &Silent).unwrap()
}

/// Something of its own, and something that all days have.
fn day(number: u64) -> Files {
    files([("own", noise(number, 400_000)), ("shared", noise(0, 400_000))])
}

struct Days {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    ids: Vec<SnapshotId>,
}

impl Days {
    fn new(days: u64) -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let ids = (1..=days).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
        Self { memory, store, ids }
    }

    fn assert_restores(&self, kept: &[usize]) {
        let mut repository = open(&self.store);
        let there: Vec<_> = repository.snapshots().iter().map(|snapshot| snapshot.id()).collect();
        assert_eq!(there, kept.iter().map(|at| self.ids[*at]).collect::<Vec<_>>());
        for at in kept {
            assert!(restore(&mut repository, self.ids[*at]) == day(*at as u64 + 1));
        }
        assert_clean(&self.store);
    }

    fn advance(&self, by: Duration) {
        self.memory.advance_ms(u64::try_from(by.as_millis()).unwrap());
    }

    fn packs(&self) -> usize {
        names(&*self.store, "packs/").len() + names(&*self.store, "meta/").len()
    }
}

#[test]
fn what_is_forgotten_is_freed_and_the_rest_restores() {
    let days = Days::new(3);
    assert_eq!(days.packs(), 6);
    let mut repository = open(&days.store);
    // Nothing is forgotten yet.
    let report = prune(&mut repository);
    assert_eq!((report.unneeded.objects, report.deleted.objects, report.kept.objects), (0, 0, 6));
    assert_eq!(repository.forget(&[days.ids[1]], "test").unwrap(), 1);
    days.assert_restores(&[0, 2]);
    let report = prune(&mut repository);
    // The second day's own data and its nodes; the first day's pack holds what is shared.
    assert_eq!((report.unneeded.objects, report.deleted.objects, report.kept.objects), (2, 2, 4));
    assert_eq!(days.packs(), 4);
    days.assert_restores(&[0, 2]);
    // Both of the first day's packs hold something that the third needs too.
    let _ = repository.forget(&[days.ids[0]], "test").unwrap();
    let report = prune(&mut repository);
    assert_eq!((report.unneeded.objects, report.kept.objects), (0, 4));
    days.assert_restores(&[2]);
    let _ = repository.forget(&[days.ids[2]], "test").unwrap();
    let _ = prune(&mut repository);
    assert_eq!((days.packs(), repository.state().packs.len()), (0, 0));
    days.assert_restores(&[]);
    // What is gone is stored again.
    let again = backup(&mut repository, "db", &day(1));
    assert_eq!(again.totals.new_bytes, 800_000);
    assert!(restore(&mut open(&days.store), again.id) == day(1));
}

#[test]
fn forgetting_is_final_and_names_what_is_there() {
    let days = Days::new(2);
    let mut repository = open(&days.store);
    assert_eq!(repository.forget(&days.ids, "both").unwrap(), 2);
    let error = repository.forget(&days.ids, "again").unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchSnapshot { .. }), "{error}");
    let host = Host::add(&days.store, "writer", Roles::WRITE, &["db"]);
    let mut writer = host.open(&days.store);
    for error in
        [writer.forget(&days.ids, "no right").unwrap_err(), writer.prune(&at_once(), &Silent).unwrap_err()]
    {
        assert!(matches!(error, RepositoryError::NoSigner { role: "maintain" }), "{error}");
    }
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let days = Days::new(2);
    let mut repository = open(&days.store);
    let _ = repository.forget(&[days.ids[1]], "test").unwrap();
    put(&*days.store, &name(&format!("packs/aa/{}", "aa".repeat(32))), b"leftover");
    let before = names(&*days.store, "");
    let told = repository.prune(&PruneOptions { dry_run: true, ..at_once() }, &Silent).unwrap();
    assert_eq!(names(&*days.store, ""), before);
    assert_eq!((told.unneeded.objects, told.leftovers.objects, told.deleted.objects), (2, 1, 3));
    let done = prune(&mut repository);
    assert_eq!(done, PruneReport { deleted_keys: 1, ..told });
    days.assert_restores(&[0]);
}

/// Retired first; deleted when the store's clock says so, by whichever prune comes then.
#[test]
fn a_grace_passes_before_anything_is_deleted() {
    let days = Days::new(2);
    let mut repository = open(&days.store);
    // A reader who began before.
    let mut reader = open(&days.store);
    reader.load_index().unwrap();
    let _ = repository.forget(&[days.ids[1]], "test").unwrap();
    let with_grace = PruneOptions { grace: DAY, ..at_once() };
    let first = repository.prune(&with_grace, &Silent).unwrap();
    assert_eq!((first.unneeded.objects, first.deleted.objects, first.waiting.objects), (2, 0, 2));
    let second = repository.prune(&with_grace, &Silent).unwrap();
    // An index object of nothing but those.
    assert_eq!((second.unneeded.objects, second.deleted.objects, second.waiting.objects), (0, 1, 2));
    assert_eq!(days.packs(), 4);
    assert!(restore(&mut reader, days.ids[1]) == day(2));
    let waiting = check(&open(&days.store));
    assert!(waiting.is_clean());
    let found = waiting.findings.iter().filter(|finding| finding.detail.contains("retired packs"));
    assert_eq!(found.filter(|finding| finding.kind == FindingKind::Leftover).count(), 2);
    days.advance(DAY);
    let third = repository.prune(&with_grace, &Silent).unwrap();
    assert_eq!((third.deleted.objects, third.waiting.objects), (2, 0));
    assert_eq!(days.packs(), 2);
    days.assert_restores(&[0]);
}

/// Packs and index objects of a run that did not finish.
#[test]
fn leftovers_go_when_they_are_old() {
    let days = Days::new(1);
    // All is stored but the entry: a key, two packs and their index object.
    let crash = Fault::Crash { mutation: 5, when: When::BeforeEffect };
    let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::clone(&days.store), [crash]));
    let mut crashing = Repository::open(store, open_options()).unwrap();
    let _ = try_backup(&mut crashing, "db", &day(2)).unwrap_err();
    let leftovers = days.packs() - 2;
    assert!(leftovers > 0);
    let careful = PruneOptions { orphan_age: 7 * DAY, ..at_once() };
    let report = open(&days.store).prune(&careful, &Silent).unwrap();
    assert_eq!((report.leftovers.objects, report.deleted.objects), (0, 0));
    assert_eq!(
        usize::try_from(report.young.objects).unwrap(),
        leftovers + names(&*days.store, "index/").len() - 1
    );
    days.advance(7 * DAY);
    let report = open(&days.store).prune(&careful, &Silent).unwrap();
    assert_eq!(usize::try_from(report.leftovers.objects).unwrap(), leftovers);
    assert_eq!((days.packs(), names(&*days.store, "index/").len()), (2, 1));
    days.assert_restores(&[0]);
}

/// Who appends second looks at what came between.
#[test]
fn a_backup_that_relies_on_what_is_retired_runs_again() {
    let days = Days::new(1);
    let mut writer = open(&days.store);
    let result = writer.backup(&options("db"), &Silent, |sink| {
        let mut lane = sink.stream_lane(ChunkerParams::default())?;
        let _ = lane.content(&"shared", &mut &noise(0, 400_000)[..])?;
        lane.end(stream("shared"))?;
        lane.finish()?;
        let mut pruner = open(&days.store);
        let _ = pruner.forget(&days.ids, "meanwhile")?;
        let _ = pruner.prune(&at_once(), &Silent)?;
        Ok::<(), RepositoryError>(())
    });
    let error = result.unwrap_err();
    assert!(matches!(error, RepositoryError::PackRetired { .. }), "{error}");
    assert_clean(&days.store);
    let again = backup(&mut writer, "db", &day(1)).id;
    assert!(restore(&mut open(&days.store), again) == day(1));
    assert_clean(&days.store);
}

/// A run so long that its own packs were taken for leftovers.
#[test]
fn a_backup_whose_own_packs_are_retired_runs_again() {
    let days = Days::new(1);
    let mut writer = open(&days.store);
    let result = writer.backup(&options("db"), &Silent, |sink| {
        let mut lane = sink.stream_lane(ChunkerParams::default())?;
        let _ = lane.content(&"big", &mut &noise(7, 40_000_000)[..])?;
        lane.end(stream("big"))?;
        lane.finish()?;
        // Two of its packs are full; they are stored by other threads.
        while days.packs() < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let report = open(&days.store).prune(&at_once(), &Silent)?;
        assert!(report.leftovers.objects >= 2);
        Ok::<(), RepositoryError>(())
    });
    assert!(matches!(result.unwrap_err(), RepositoryError::PackRetired { .. }));
    days.assert_restores(&[0]);
}

/// Whoever takes unchanged files over needs the snapshot they are of.
#[test]
fn a_backup_whose_parent_is_forgotten_runs_again() {
    let days = Days::new(2);
    let mut writer = open(&days.store);
    let forget_parent = |uses_parent: bool| {
        let days = &days;
        move |sink: &Sink<'_, '_>| {
            if uses_parent {
                let _ = sink.parent();
            }
            let latest = open(&days.store).snapshots().last().map(|snapshot| snapshot.id()).unwrap();
            let _ = open(&days.store).forget(&[latest], "meanwhile")?;
            Ok::<(), RepositoryError>(())
        }
    };
    let error = writer.backup(&options("db"), &Silent, forget_parent(true)).unwrap_err();
    assert!(matches!(error, RepositoryError::ParentForgotten { parent } if parent == days.ids[1]), "{error}");
    let _ = writer.backup(&options("db"), &Silent, forget_parent(false)).unwrap();
    assert_clean(&days.store);
}

/// What is not certain is not deleted.
#[test]
fn damage_stops_a_prune_before_anything_is_retired() {
    for what in ["meta/", "index/", "journal/"] {
        let days = Days::new(3);
        let _ = open(&days.store).forget(&[days.ids[1]], "test").unwrap();
        let harmed = names(&*days.store, what)[2.min(names(&*days.store, what).len() - 1)].clone();
        let mut bytes = read(&*days.store, &harmed);
        let middle = bytes.len() / 4;
        bytes[middle] ^= 1;
        days.memory.overwrite(&harmed, &bytes);
        let mut repository = open(&days.store);
        let before = names(&*days.store, "packs/");
        match repository.prune(&at_once(), &Silent) {
            Err(RepositoryError::NotPrunable { reason }) => assert!(!reason.is_empty()),
            // A node that only the forgotten snapshot needs is no hindrance.
            // What an index object said, packs say too.
            Ok(_) if what != "journal/" => continue,
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(names(&*days.store, "packs/"), before);
        assert!(repository.state().retired.is_empty());
    }
}

/// Dead in any write, or with its answer lost: every snapshot restores, and the next prune finishes.
#[test]
fn a_prune_may_die_in_any_write() {
    for when in [When::BeforeEffect, When::AfterEffect] {
        for mutation in 1.. {
            let days = Days::new(3);
            let _ = open(&days.store).forget(&[days.ids[1]], "test").unwrap();
            put(&*days.store, &name(&format!("packs/aa/{}", "aa".repeat(32))), b"leftover");
            let crash = Fault::Crash { mutation, when };
            let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::clone(&days.store), [crash]));
            let mut crashing = Repository::open(store, open_options()).unwrap();
            let is_done = crashing.prune(&at_once(), &Silent).is_ok();
            days.assert_restores(&[0, 2]);
            let _ = prune(&mut open(&days.store));
            assert_eq!(days.packs(), 4);
            days.assert_restores(&[0, 2]);
            if is_done {
                // The note, the entry, four deletions, and the index without what is gone.
                assert_eq!(mutation, 8);
                break;
            }
        }
    }
}

/// Hosts back up, forget and prune at the same time.
#[test]
fn nothing_is_lost_in_a_crowd() {
    let (_, store) = memory();
    new_repository(&store);
    let kept = std::thread::scope(|scope| {
        let hosts: Vec<_> = (0..3_u64)
            .map(|host| {
                let store = &store;
                scope.spawn(move || {
                    let mut repository = open(store);
                    let mut last = None;
                    for round in 0..6 {
                        let files = files([
                            ("own", noise(100 * host + round, 60_000)),
                            ("both", noise(round, 60_000)),
                        ]);
                        let id = loop {
                            match try_backup(&mut repository, &format!("s{host}"), &files) {
                                Ok(report) => break report.id,
                                Err(
                                    RepositoryError::PackRetired { .. } | RepositoryError::Contention { .. },
                                ) => {}
                                Err(error) => panic!("{error}"),
                            }
                        };
                        if let Some((before, _)) = last.replace((id, files)) {
                            let _ = repository.forget(&[before], "next round").unwrap();
                        }
                        if round % 2 == host % 2 {
                            match repository.prune(&PruneOptions { orphan_age: DAY, ..at_once() }, &Silent) {
                                Ok(_) | Err(RepositoryError::Contention { .. }) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                    }
                    last.unwrap()
                })
            })
            .collect();
        hosts.into_iter().map(|host| host.join().unwrap()).collect::<Vec<_>>()
    });
    let mut repository = open(&store);
    assert_eq!(repository.snapshots().len(), 3);
    for (id, files) in &kept {
        assert!(restore(&mut repository, *id) == *files);
    }
    assert_clean(&store);
    let _ = prune(&mut repository);
    for (id, files) in kept {
        assert!(restore(&mut open(&store), id) == files);
    }
    assert_clean(&store);
}

/// A host that was away comes back to a repository that was pruned, with its cache.
#[test]
fn a_stale_cache_is_brought_up_to_date() {
    let days = Days::new(2);
    let folder = tempfile::tempdir().unwrap();
    let open_cached = || {
        let options = strongroom_repository::OpenOptions {
            cache_folder: Some(folder.path().to_owned()),
            ..open_options()
        };
        Repository::open(Arc::clone(&days.store), options).unwrap()
    };
    open_cached().load_index().unwrap();
    let mut pruner = open(&days.store);
    let _ = pruner.forget(&days.ids, "all").unwrap();
    let _ = prune(&mut pruner);
    let mut back = open_cached();
    let report = backup(&mut back, "db", &day(1));
    assert_eq!(report.totals.new_bytes, 800_000);
    assert!(restore(&mut open(&days.store), report.id) == day(1));
    assert_clean(&days.store);
}

/// The same state from a checkpoint as from the journal.
#[test]
fn checkpoints_keep_what_is_retired_and_forgotten() {
    let days = Days::new(3);
    let mut repository = open(&days.store);
    let _ = repository.forget(&[days.ids[1]], "test").unwrap();
    let _ = prune(&mut repository);
    assert_eq!(repository.state().retired.len(), 2);
    repository.write_checkpoint().unwrap();
    let from_checkpoint = open(&days.store);
    assert_eq!(from_checkpoint.state().to_checkpoint(), repository.state().to_checkpoint());
    // `check` folds the journal and compares.
    days.assert_restores(&[0, 2]);
}

#[test]
fn a_policy_is_asked_again_when_others_forgot_meanwhile() {
    let days = Days::new(3);
    let rules = |sources: &[&str]| Rules {
        filter: Filter {
            sources: sources.iter().map(|source| (*source).into()).collect(),
            ..Filter::default()
        },
        keep: Keep { last: 1, ..Keep::default() },
        ..Rules::default()
    };
    let mut late = open(&days.store);
    // What was the newest for the one who is late goes by hand.
    let _ = open(&days.store).forget(&[days.ids[2]], "test").unwrap();
    let judged = late.forget_all_but(&rules(&[]), "test").unwrap();
    let stays: Vec<_> = judged.iter().map(|one| (one.id, one.stays())).collect();
    assert_eq!(stays, [(days.ids[0], false), (days.ids[1], true)]);
    days.assert_restores(&[1]);

    let mut late = open(&days.store);
    let entries = names(&*days.store, "journal/").len();
    assert!(late.forget_all_but(&rules(&["another"]), "test").unwrap().is_empty());
    assert!(late.forget_all_but(&rules(&["db"]), "test").unwrap()[0].stays());
    assert_eq!(names(&*days.store, "journal/").len(), entries);
}

/// Prunes when a check begins to read packs.
struct PruneBeneath<'a> {
    store: &'a Arc<dyn Store>,
    is_done: AtomicBool,
}

impl<'a> PruneBeneath<'a> {
    fn new(store: &'a Arc<dyn Store>) -> Self {
        Self { store, is_done: AtomicBool::new(false) }
    }
}

impl Monitor for PruneBeneath<'_> {
    fn begin(&self, _what: &str, _total_bytes: Option<u64>) {
        if !self.is_done.swap(true, Ordering::Relaxed) {
            let report = prune(&mut open(self.store));
            assert!(report.deleted.objects > 0);
        }
    }
}

/// A check misses what a prune with a short grace deletes beneath it: no damage.
#[test]
fn a_check_begins_again_when_others_deleted_what_it_reads() {
    let days = Days::new(3);
    let mut checking = open(&days.store);
    let forget = |at: usize| assert_eq!(open(&days.store).forget(&[days.ids[at]], "test").unwrap(), 1);
    forget(0);
    forget(1);
    let report = checking.check(&thorough(), &PruneBeneath::new(&days.store)).unwrap();
    assert!(!damage(&report).is_empty(), "it is about nothing otherwise");
    let _ = backup(&mut open(&days.store), "db", &day(4));
    forget(2);
    let report = checking.check_beside_prunes(&thorough(), &PruneBeneath::new(&days.store)).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.checked.snapshots, 1);
    // What is damaged stays so.
    let gone = names(&*days.store, "packs/").remove(0);
    days.store.delete(&gone).unwrap();
    let report = checking.check_beside_prunes(&thorough(), &Silent).unwrap();
    assert!(damage(&report).iter().any(|finding| finding.kind == FindingKind::Missing));
}
