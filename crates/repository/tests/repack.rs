//! Thin packs: what is needed of them is copied as it is sealed, whoever writes meanwhile, and nothing is lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_format::SnapshotId;
use strongroom_format::registry::Roles;
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::prune::{MaxUnused, PruneOptions, PruneReport};
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{Fault, FaultStore, MemoryStore, Store, When};
use support::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Leaves nothing unused, and deletes at once; what no entry names may be of a run under way.
fn tight() -> PruneOptions {
    PruneOptions { grace: Duration::ZERO, max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() }
}

fn prune(repository: &mut Repository) -> PruneReport {
    repository.prune(&tight(), &Silent).unwrap()
}

/// Something of its own, and something that all days have.
fn mixed(number: u64) -> Files {
    files([("own", noise(number, 400_000)), ("shared", noise(0, 400_000))])
}

/// Two days of which the first is forgotten: its pack is half needed.
struct Thin {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    second: SnapshotId,
}

impl Thin {
    fn new() -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let first = backup(&mut open(&store), "db", &mixed(1)).id;
        let second = backup(&mut open(&store), "db", &mixed(2)).id;
        let _ = open(&store).forget(&[first], "test").unwrap();
        Self { memory, store, second }
    }

    fn data_bytes(&self) -> usize {
        names(&*self.store, "packs/").iter().map(|name| read(&*self.store, name).len()).sum()
    }

    fn assert_restores(&self) {
        assert!(restore(&mut open(&self.store), self.second) == mixed(2));
        assert_clean(&self.store);
    }
}

#[test]
fn what_is_needed_is_copied_and_the_rest_is_freed() {
    let thin = Thin::new();
    let before = thin.data_bytes();
    let told = open(&thin.store).prune(&PruneOptions { dry_run: true, ..tight() }, &Silent).unwrap();
    assert_eq!(thin.data_bytes(), before);
    let report = prune(&mut open(&thin.store));
    // The first day's data; its nodes lie in one frame.
    assert_eq!((report.copied.objects, report.written.objects), (1, 1));
    assert_eq!((told.copied, told.unneeded, told.kept), (report.copied, report.unneeded, report.kept));
    assert!(report.freed_bytes() > 300_000 && thin.data_bytes() + 300_000 < before, "{report:?}");
    thin.assert_restores();
    // There is nothing left to do.
    let again = prune(&mut open(&thin.store));
    assert_eq!((again.copied.objects, again.written.objects, again.unneeded.objects), (0, 0, 0));
    // Chunks count as present where they are now.
    let next = backup(&mut open(&thin.store), "db", &mixed(2));
    assert_eq!(next.totals.new_bytes, 0);
    thin.assert_restores();
}

#[test]
fn what_may_be_unused_stays() {
    let thin = Thin::new();
    for options in [
        PruneOptions { max_unused: MaxUnused::Unlimited, ..tight() },
        PruneOptions { max_unused: MaxUnused::Percent(60), ..tight() },
        PruneOptions { max_repack: 1000, ..tight() },
    ] {
        let report = open(&thin.store).prune(&options, &Silent).unwrap();
        assert_eq!((report.copied.objects, report.written.objects), (0, 0), "{options:?}");
    }
    thin.assert_restores();
}

/// Who maintains need not be let in to what is stored.
#[test]
fn no_data_key_is_needed() {
    let thin = Thin::new();
    let host = Host::add(&thin.store, "pruner", Roles::MAINTAIN, &[]);
    let mut pruner = host.open(&thin.store);
    assert!(pruner.require_read_access().is_err());
    assert_eq!(prune(&mut pruner).copied.objects, 1);
    thin.assert_restores();
    // The frames are their author's still.
    let next = backup(&mut open(&thin.store), "db", &mixed(3));
    assert!(restore(&mut open(&thin.store), next.id) == mixed(3));
    assert_clean(&thin.store);
}

/// Each day's data is small: together they fill a pack, and are one.
#[test]
fn small_packs_are_merged() {
    let (_, store) = memory();
    new_repository(&store);
    let day = |number| files([("own", noise(number, 1_500_000))]);
    let ids: Vec<_> = (0..12).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
    let few = names(&*store, "packs/").len();
    assert_eq!(few, 12);
    let report = prune(&mut open(&store));
    assert_eq!((report.copied.objects, report.written.objects), (12, 2), "{report:?}");
    assert_eq!(names(&*store, "packs/").len(), 2);
    for (number, id) in (0..).zip(ids) {
        assert!(restore(&mut open(&store), id) == day(number));
    }
    assert_clean(&store);
    assert_eq!(prune(&mut open(&store)).copied.objects, 0);
}

/// Deltas keep what they build on, however thin that is.
#[test]
fn bases_stay_with_their_deltas() {
    let (_, store) = memory();
    new_repository(&store);
    let ids: Vec<_> = (0..12).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
    assert!(deltas(&store) > 0);
    let mut left: Vec<usize> = (0..12).collect();
    for gone in [0, 3, 4, 10, 7, 1] {
        left.retain(|at| *at != gone);
        let mut repository = open(&store);
        let _ = repository.forget(&[ids[gone]], "test").unwrap();
        let _ = prune(&mut repository);
        for at in &left {
            assert!(restore(&mut open(&store), ids[*at]) == day(*at as u64), "{at} without {gone}");
        }
        assert_clean(&store);
    }
    let next = backup(&mut open(&store), "db", &day(12));
    assert!(restore(&mut open(&store), next.id) == day(12));
    assert_clean(&store);
}

/// Dead in any write, or with its answer lost: every snapshot restores; the next prune takes over what was copied.
#[test]
fn it_may_die_in_any_write() {
    for when in [When::BeforeEffect, When::AfterEffect] {
        for mutation in 1.. {
            let thin = Thin::new();
            let crash = Fault::Crash { mutation, when };
            let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::clone(&thin.store), [crash]));
            let mut crashing = Repository::open(store, open_options()).unwrap();
            let is_done = crashing.prune(&tight(), &Silent).is_ok();
            thin.assert_restores();
            let before = names(&*thin.store, "packs/");
            let _ = prune(&mut open(&thin.store));
            thin.assert_restores();
            let after = names(&*thin.store, "packs/");
            // The second day's own, and the copy.
            assert_eq!(after.len(), 2, "{when:?} {mutation}");
            if before.len() == 3 {
                // What was copied is not copied again.
                assert!(after.iter().all(|name| before.contains(name)), "{when:?} {mutation}");
            }
            if is_done {
                break;
            }
        }
    }
}

/// Does something when a prune begins to copy.
struct Meanwhile<F: FnOnce()>(Mutex<Option<F>>);

impl<F: FnOnce() + Send> Monitor for Meanwhile<F> {
    fn begin(&self, what: &str, _: Option<u64>) {
        if what.starts_with("copying")
            && let Some(act) = self.0.lock().unwrap().take()
        {
            act();
        }
    }
}

fn meanwhile(act: impl FnOnce() + Send) -> impl Monitor {
    Meanwhile(Mutex::new(Some(act)))
}

/// A backup comes in between, and relies on what was to go.
#[test]
fn a_backup_meanwhile_keeps_what_it_relies_on() {
    let thin = Thin::new();
    let mut kept = None;
    let report = open(&thin.store)
        .prune(&tight(), &meanwhile(|| kept = Some(backup(&mut open(&thin.store), "db", &mixed(1)).id)))
        .unwrap();
    // The first day's pack is needed whole again; its nodes were in no use before.
    assert_eq!(report.deleted.objects, report.copied.objects + report.unneeded.objects);
    assert!(restore(&mut open(&thin.store), kept.unwrap()) == mixed(1));
    thin.assert_restores();
    let _ = prune(&mut open(&thin.store));
    assert!(restore(&mut open(&thin.store), kept.unwrap()) == mixed(1));
    thin.assert_restores();
}

/// Two at once never retire each other's copies.
#[test]
fn another_prune_meanwhile_makes_it_plan_again() {
    let thin = Thin::new();
    let other = PruneOptions { grace: DAY, ..tight() };
    let act = || assert_eq!(open(&thin.store).prune(&other, &Silent).unwrap().copied.objects, 1);
    let report = open(&thin.store).prune(&other, &meanwhile(act)).unwrap();
    assert_eq!((report.copied.objects, report.written.objects), (0, 0));
    thin.assert_restores();
    // Its own copies, of before it planned again, are leftovers.
    thin.memory.advance_ms(u64::try_from((7 * DAY).as_millis()).unwrap());
    assert_eq!(prune(&mut open(&thin.store)).leftovers.objects, 1);
    assert_eq!(names(&*thin.store, "packs/").len(), 2);
    thin.assert_restores();
}

/// What a backup relies on is retired before it ends: it copies that, as long as it is there.
#[test]
fn a_backup_copies_what_was_retired_meanwhile() {
    for grace in [DAY, Duration::ZERO] {
        let thin = Thin::new();
        let mut writer = open(&thin.store);
        let result = writer.backup(&options("db"), &Silent, |sink| {
            write_files(sink, &mixed(1))?;
            let report = open(&thin.store).prune(&PruneOptions { grace, ..tight() }, &Silent)?;
            assert_eq!(report.copied.objects, 1);
            Ok::<(), RepositoryError>(())
        });
        let id = match result {
            Ok(report) => report.id,
            // Only when it was deleted at once.
            Err(RepositoryError::PackRetired { .. }) if grace.is_zero() => {
                backup(&mut writer, "db", &mixed(1)).id
            }
            Err(error) => panic!("{error}"),
        };
        assert!(restore(&mut open(&thin.store), id) == mixed(1));
        let _ = prune(&mut open(&thin.store));
        assert!(restore(&mut open(&thin.store), id) == mixed(1));
        thin.assert_restores();
    }
}

/// The same of deltas, whose bases go with them.
#[test]
fn a_backup_copies_deltas_with_their_bases() {
    let (_, store) = memory();
    new_repository(&store);
    let ids: Vec<_> = (0..4).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
    let mut writer = open(&store);
    let result = writer.backup(&options("db"), &Silent, |sink| {
        write_files(sink, &day(2))?;
        let mut pruner = open(&store);
        let _ = pruner.forget(&ids, "meanwhile")?;
        let report = pruner.prune(&PruneOptions { grace: DAY, ..tight() }, &Silent)?;
        assert!(report.unneeded.objects >= 8, "{report:?}");
        Ok::<(), RepositoryError>(())
    });
    let id = result.unwrap().id;
    assert!(deltas(&store) > 0);
    assert!(restore(&mut open(&store), id) == day(2));
    let _ = prune(&mut open(&store));
    assert!(restore(&mut open(&store), id) == day(2));
    assert_clean(&store);
}

/// A damaged pack is not copied as if it were whole: it stays, and is said to.
#[test]
fn what_cannot_be_copied_stays() {
    struct Warnings(Mutex<Vec<String>>);
    impl Monitor for Warnings {
        fn warn(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
    }
    let thin = Thin::new();
    // Every frame of data is damaged.
    for name in names(&*thin.store, "packs/") {
        let mut bytes = read(&*thin.store, &name);
        let end = 700_000.min(bytes.len() / 2);
        bytes[112..end].fill(7);
        thin.memory.overwrite(&name, &bytes);
    }
    let warnings = Warnings(Mutex::default());
    let report = open(&thin.store).prune(&tight(), &warnings).unwrap();
    let said = warnings.0.into_inner().unwrap();
    assert!(said.len() == 1 && said[0].contains("stays as it is"), "{said:?}");
    assert_eq!((report.copied.objects, names(&*thin.store, "packs/").len()), (0, 2));
}

/// A reader that began before the packs were moved finds them where they are now.
#[test]
fn a_reader_of_before_reads_on() {
    let thin = Thin::new();
    let mut reader = open(&thin.store);
    reader.load_index().unwrap();
    let report = prune(&mut open(&thin.store));
    assert_eq!(report.deleted.objects, 1);
    let (restored, failed) = try_restore(&reader, thin.second);
    assert!(failed.is_none(), "{failed:?}");
    let restored: Files = restored.into_iter().map(|(path, bytes)| (path, bytes.unwrap())).collect();
    assert!(restored == mixed(2));
}

/// A data key goes with the last frame that is sealed under it, and its wraps with the packs.
#[test]
fn keys_go_with_what_they_open() {
    let (memory, store) = memory();
    new_repository(&store);
    let alone = backup(&mut open(&store), "db", &files([("own", noise(1, 400_000))])).id;
    let keys = || names(&*store, "keys/").len();
    let before = keys();
    let second = backup(&mut open(&store), "db", &mixed(2)).id;
    assert_eq!(open(&store).data_keys().len(), 2);
    let each = keys() - before;
    // A run that did not finish has a key too.
    let crash = Fault::Crash { mutation: 3, when: When::BeforeEffect };
    let crashing: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::clone(&store), [crash]));
    let mut crashing = Repository::open(crashing, open_options()).unwrap();
    let _ = try_backup(&mut crashing, "db", &mixed(3)).unwrap_err();
    assert_eq!(keys(), before + 2 * each);

    let mut repository = open(&store);
    let _ = repository.forget(&[alone], "test").unwrap();
    // No snapshot names the first any more, but it may be of a run under way, as the third may.
    let report = prune(&mut repository);
    assert_eq!((report.retired_keys, report.deleted_keys), (0, 0));
    memory.advance_ms(u64::try_from((7 * DAY).as_millis()).unwrap());
    let report = prune(&mut repository);
    assert_eq!((report.retired_keys, report.deleted_keys), (2, 2 * each as u64));
    assert_eq!((keys(), repository.state().retired_keys.len()), (before, 2));
    assert!(restore(&mut open(&store), second) == mixed(2));
    assert_clean(&store);
    assert_eq!(prune(&mut repository).retired_keys, 0);
}

/// What a frame that nobody needs builds on stays, as long as its pack does: a backup may rely on the frame.
#[test]
fn what_no_snapshot_needs_keeps_its_bases_too() {
    let (_, store) = memory();
    new_repository(&store);
    let ids: Vec<_> = (0..8).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
    let lax =
        PruneOptions { grace: Duration::ZERO, max_unused: MaxUnused::Unlimited, ..PruneOptions::default() };
    for gone in [[0, 2], [1, 4], [5, 6]] {
        let mut repository = open(&store);
        let _ = repository.forget(&gone.map(|at: usize| ids[at]), "test").unwrap();
        let _ = repository.prune(&lax, &Silent).unwrap();
        // Every frame of every pack opens.
        assert_clean(&store);
    }
    // A day that was forgotten comes again, and finds some of it.
    let again = backup(&mut open(&store), "db", &day(6)).id;
    assert!(restore(&mut open(&store), again) == day(6));
}
