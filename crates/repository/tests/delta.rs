//! Deltas: what changed a little is stored as what differs, restores byte for byte, and depends on nothing that goes away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use strongroom_format::SnapshotId;
use strongroom_format::registry::Roles;
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::prune::PruneOptions;
use support::*;

#[test]
fn what_changed_a_little_is_stored_as_what_differs() {
    let (_, store) = memory();
    new_repository(&store);
    let first = backup(&mut open(&store), "db", &day(0));
    let before = sealed_bytes(&store);
    let second = backup(&mut open(&store), "db", &day(1));
    // Every chunk has a changed row.
    assert!(second.totals.new_bytes * 10 > second.totals.bytes * 9);
    assert!(deltas(&store) > 0);
    let stored = sealed_bytes(&store) - before;
    assert!(stored * 10 < before, "{stored} of {before}");
    for (id, number) in [(first.id, 0), (second.id, 1)] {
        assert!(restore(&mut open(&store), id) == day(number));
    }
    assert_clean(&store);
}

/// Rows that move, and some that are put in front of all others.
#[test]
fn what_moved_is_found_again() {
    let (_, store) = memory();
    new_repository(&store);
    let table = table(0);
    let _ = backup(&mut open(&store), "db", &files([("dump.sql", table.clone())]));
    let before = sealed_bytes(&store);
    let rows: Vec<&[u8]> = table.split_inclusive(|byte| *byte == b'\n').collect();
    let (updated, kept): (Vec<_>, Vec<_>) = rows.iter().enumerate().partition(|(at, _)| at % 97 == 0);
    let mut moved = noise(1, 30_000);
    for (_, row) in kept.into_iter().chain(updated) {
        moved.extend_from_slice(row);
    }
    let moved = files([("dump.sql", moved)]);
    let second = backup(&mut open(&store), "db", &moved);
    let stored = sealed_bytes(&store) - before;
    assert!(stored * 5 < before, "{stored} of {before}");
    assert!(restore(&mut open(&store), second.id) == moved);
    assert_clean(&store);
}

/// A month and more: a chain stays shallow, and each day restores by itself and after the others are gone.
#[test]
fn a_long_chain_stays_shallow() {
    let (_, store) = memory();
    new_repository(&store);
    let ids: Vec<SnapshotId> =
        (0..40).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
    let depths: Vec<u8> = frames(&store).iter().map(|frame| frame.depth).collect();
    assert!(depths.iter().max().is_some_and(|depth| (3..=5).contains(depth)), "{depths:?}");
    assert!(frames(&store).iter().all(|frame| frame.closure <= 16));
    for (number, id) in (0..).zip(&ids) {
        assert!(restore(&mut open(&store), *id) == day(number));
    }
    assert_clean(&store);
    // Those that others build on, too.
    let mut repository = open(&store);
    let kept = [31, 38, 39];
    let gone: Vec<_> = (0..40).filter(|at| !kept.contains(at)).map(|at| ids[at]).collect();
    let _ = repository.forget(&gone, "test").unwrap();
    let at_once =
        PruneOptions { grace: Duration::ZERO, orphan_age: Duration::ZERO, ..PruneOptions::default() };
    let pruned = repository.prune(&at_once, &Silent).unwrap();
    assert!(pruned.deleted.objects > 20, "{pruned:?}");
    for at in kept {
        assert!(restore(&mut open(&store), ids[at]) == day(at as u64));
    }
    assert_clean(&store);
    let next = backup(&mut open(&store), "db", &day(40));
    assert!(restore(&mut open(&store), next.id) == day(40));
    assert_clean(&store);
}

/// What has nothing in common is stored by itself.
#[test]
fn strangers_are_no_bases() {
    let (_, store) = memory();
    new_repository(&store);
    for seed in 0..3 {
        let files = files([("dump.sql", noise(seed, 1_000_000))]);
        let id = backup(&mut open(&store), "db", &files).id;
        assert!(restore(&mut open(&store), id) == files);
    }
    assert_eq!(deltas(&store), 0);
    assert_clean(&store);
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Monitor for Warnings {
    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

/// A base that cannot be read costs space, and is said; the snapshot is good.
#[test]
fn a_damaged_base_is_gone_without() {
    let (memory, store) = memory();
    new_repository(&store);
    let _ = backup(&mut open(&store), "db", &day(0));
    for name in names(&*store, "packs/") {
        let mut bytes = read(&*store, &name);
        bytes.fill(7);
        memory.overwrite(&name, &bytes);
    }
    let warnings = Warnings::default();
    let second = backup_with(&mut open(&store), &options("db"), &day(1), &warnings).unwrap();
    let said = warnings.0.into_inner().unwrap();
    assert!(said.len() == 1 && said[0].contains("stored whole"), "{said:?}");
    assert_eq!(deltas(&store), 0);
    // What it took for present is what the damage hit; all that is new is good.
    let (restored, _) = try_restore(&open(&store), second.id);
    assert_eq!(restored.len(), 1);
}

#[test]
fn deltas_may_be_declined() {
    let (_, store) = memory();
    new_repository(&store);
    let _ = backup(&mut open(&store), "db", &day(0));
    let whole = BackupOptions { delta: false, ..options("db") };
    let second = backup_with(&mut open(&store), &whole, &day(1), &Silent).unwrap();
    assert_eq!(deltas(&store), 0);
    assert!(restore(&mut open(&store), second.id) == day(1));
    // The next one builds on it all the same.
    let third = backup(&mut open(&store), "db", &day(2));
    assert!(deltas(&store) > 0);
    assert!(restore(&mut open(&store), third.id) == day(2));
    assert_clean(&store);
}

/// A host that may not read stores whole frames, and asks nobody for the right.
#[test]
fn a_write_only_host_stores_whole_frames() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["db"]);
    for number in 0..2 {
        let warnings = Warnings::default();
        let report = backup_with(&mut host.open(&store), &options("db"), &day(number), &warnings).unwrap();
        assert!(restore(&mut open(&store), report.id) == day(number));
        // It is as it should be: no warning.
        assert!(warnings.0.into_inner().unwrap().is_empty());
    }
    assert_eq!(deltas(&store), 0);
    assert_clean(&store);
}

/// Bases of another writer count when they are attested, as chunks do.
#[test]
fn nothing_builds_on_what_is_not_trusted() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["db"]);
    let _ = backup(&mut host.open(&store), "db", &day(0));
    let mut admin = open(&store);
    let _ = backup(&mut admin, "db", &day(1));
    assert_eq!(deltas(&store), 0);
    let opened = check(&admin).opened;
    assert!(admin.attest(&opened).unwrap() > 0);
    let last = backup(&mut open(&store), "db", &day(2));
    assert!(deltas(&store) > 0);
    assert!(restore(&mut open(&store), last.id) == day(2));
    assert_clean(&store);
}

/// The packs of bases are relied on like any others.
#[test]
fn a_base_that_is_retired_meanwhile_makes_the_run_be_repeated() {
    let (_, store) = memory();
    new_repository(&store);
    let first = backup(&mut open(&store), "db", &day(0)).id;
    let mut writer = open(&store);
    let result = writer.backup(&options("db"), &Silent, |sink| {
        write_files(sink, &day(1))?;
        let mut pruner = open(&store);
        let _ = pruner.forget(&[first], "meanwhile")?;
        let at_once = PruneOptions {
            grace: Duration::ZERO,
            orphan_age: Duration::from_secs(9),
            ..PruneOptions::default()
        };
        let _ = pruner.prune(&at_once, &Silent)?;
        Ok::<(), RepositoryError>(())
    });
    // Either it needs its packs, or they were gone before anything was stored against them.
    let report = match result {
        Ok(report) => report,
        Err(RepositoryError::PackRetired { .. }) => backup(&mut writer, "db", &day(1)),
        Err(error) => panic!("{error}"),
    };
    assert!(restore(&mut open(&store), report.id) == day(1));
    assert_clean(&store);
}

/// What is sealed anew is whole again, and deltas on it go on.
#[test]
fn a_retired_key_takes_no_delta_with_it() {
    let (_, store) = memory();
    new_repository(&store);
    let ids: Vec<_> = (0..3).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
    let mut repository = open(&store);
    for key in repository.data_keys() {
        let _ = repository.retire_data_key(key, &Silent).unwrap();
    }
    let at_once =
        PruneOptions { grace: Duration::ZERO, orphan_age: Duration::ZERO, ..PruneOptions::default() };
    let _ = repository.prune(&at_once, &Silent).unwrap();
    for (number, id) in (0..).zip(ids) {
        assert!(restore(&mut open(&store), id) == day(number));
    }
    let next = backup(&mut open(&store), "db", &day(3));
    assert!(restore(&mut open(&store), next.id) == day(3));
    assert_clean(&store);
}
