//! Log archives, copied into another repository with other keys.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_repository::check::{Severity, scrub};
use strongroom_repository::monitor::Silent;
use strongroom_repository::wal::{ArchivedFile, LogCopyOptions, LogCopyReport};
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{Fault, FaultStore, Store, When};
use support::logs::*;
use support::*;

fn try_copy(
    from: &Arc<dyn Store>,
    into: &mut Repository,
    wants: &dyn Fn(&ArchivedFile) -> bool,
) -> Result<LogCopyReport, RepositoryError> {
    into.copy_logs_from(&open(from), &LogCopyOptions { wants, dry_run: false }, &Silent)
}

fn copy(from: &Arc<dyn Store>, into: &Arc<dyn Store>) -> LogCopyReport {
    try_copy(from, &mut open(into), &|_| true).unwrap()
}

#[test]
fn what_is_copied_is_the_same_under_other_keys() {
    let (_, from) = with_segments(1..=3);
    let long = [noise(1, 33 * MIB), vec![7; 32 * MIB]].concat();
    let (history, long_one) = (file("00000002.history"), ArchivedFile { system: 8, ..segment(9) });
    push(&from, &history, b"1\t0/300028\tx\n");
    push(&from, &long_one, &long);
    let (_, into) = new();
    let options = LogCopyOptions { wants: &|_| true, dry_run: true };
    let dry = open(&into).copy_logs_from(&open(&from), &options, &Silent).unwrap();
    assert_eq!((dry.copied, objects(&into).len()), (5, 0));
    let report = copy(&from, &into);
    assert_eq!((report.copied, report.bytes, report.were_here), (5, dry.bytes, 0));
    for place in 1..=3 {
        assert!(fetch(&into, &segment(place)).unwrap() == bytes_of(place));
    }
    assert!(fetch(&into, &long_one).unwrap() == long);
    assert!(fetch(&into, &history).is_some());
    // Nothing tells that both have the same.
    let (there, here) = (objects(&from), objects(&into));
    assert_eq!(there.len(), here.len());
    assert!(here.iter().all(|name| !there.contains(name)));
    assert_clean(&into);

    // What is new, and nothing else; as the server's own pushes it is the same file.
    push(&from, &segment(4), &bytes_of(4));
    let report = copy(&from, &into);
    assert_eq!((report.copied, report.were_here), (1, 5));
    assert_eq!(push(&into, &segment(4), &bytes_of(4)), strongroom_repository::wal::Pushed::WasThere);
}

#[test]
fn what_is_expired_is_not_copied() {
    let (_, from) = with_segments(1..=6);
    let (_, into) = new();
    let _ = expire(&from, &[(0, 2)]);
    let _ = expire(&into, &[(3, 3)]);
    let report = try_copy(&from, &mut open(&into), &|file| *file != segment(6)).unwrap();
    assert_eq!((report.copied, report.expired_here), (2, 1));
    for place in [1, 2, 3, 6] {
        assert_eq!(fetch(&into, &segment(place)), None);
    }
    assert!(timelines(&into)[0].gaps.is_empty());
    // What is expired there later can be here as well.
    let _ = expire(&from, &[(0, 4)]);
    let from = open(&from);
    assert_eq!(open(&into).expire_logs_as(&from, &|_, _| true, true).unwrap(), 1);
    assert_eq!(open(&into).expire_logs_as(&from, &|_, _| false, false).unwrap(), 0);
    assert_eq!(open(&into).expire_logs_as(&from, &|_, _| true, false).unwrap(), 1);
    assert_eq!(open(&into).expire_logs_as(&from, &|_, _| true, false).unwrap(), 0);
    assert_eq!(timelines(&into)[0].segments, 1);
}

#[test]
fn it_may_die_in_any_write_and_goes_on() {
    let (_, from) = with_segments(1..=3);
    for mutation in 1.. {
        let (_, into) = new();
        let crash = Fault::Crash { mutation, when: When::AfterEffect };
        let crashing: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::clone(&into), [crash]));
        let is_done = try_copy(&from, &mut open(&crashing), &|_| true).is_ok();
        // From the beginning of the log, without a gap.
        let there: Vec<u64> = (1..=3).filter(|place| fetch(&into, &segment(*place)).is_some()).collect();
        assert!((1..).zip(&there).all(|(expected, place)| expected == *place), "{there:?}");
        let report = copy(&from, &into);
        assert_eq!(report.copied + report.were_here, 3);
        for place in 1..=3 {
            assert!(fetch(&into, &segment(place)).unwrap() == bytes_of(place));
        }
        assert_clean(&into);
        if is_done {
            assert!(mutation > 3, "a wrap and three segments");
            break;
        }
    }
}

#[test]
fn damage_and_other_files_are_told_and_the_rest_is_copied() {
    let (memory, from) = with_segments(1..=4);
    let damaged = objects(&from).remove(0);
    flip(&memory, &damaged, 5000);
    let (_, into) = new();
    let other = (1..=4).find(|place| try_fetch(&open(&from), &segment(*place)).is_ok()).unwrap();
    push(&into, &segment(other), &bytes_of(9));
    let report = copy(&from, &into);
    assert_eq!((report.copied, report.were_here, report.damaged.len()), (2, 1, 1));
    assert!(try_fetch(&open(&from), &report.damaged[0]).is_err());
    assert_clean(&into);
}

/// What whoever has no key sees of log archives.
#[test]
fn a_scrub_sees_lengths_and_headers() {
    let (memory, store) = with_segments(1..=3);
    let scrubbed = || scrub(&*store, 2, &Silent).unwrap();
    assert_eq!((scrubbed().log_objects, scrubbed().is_clean()), (3, true));
    let name = objects(&store).remove(1);
    let good = read(&*store, &name);
    let (_, other) = with_segments([1]);
    let changes = [
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0]].concat(),
        good[..50].to_vec(),
        Vec::new(),
        [&b"x"[..], &good[1..]].concat(),
        read(&*other, &objects(&other)[0]),
    ];
    for (at, bytes) in changes.iter().enumerate() {
        memory.overwrite(&name, bytes);
        let report = scrubbed();
        let found: Vec<_> = report.findings.iter().map(|one| (one.severity, one.object.as_str())).collect();
        assert_eq!(found, [(Severity::Damage, name.as_str())], "{at}");
    }
    memory.overwrite(&name, &good);
    let _ = store.put_if_absent(&support::name("wal/x"), b"x").unwrap();
    assert!(!scrubbed().is_clean());
}
