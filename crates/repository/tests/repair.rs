//! Repair: what can be mended is, what cannot is said, and a later backup makes it whole.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_format::SnapshotId;
use strongroom_repository::check::{CheckOptions, Severity};
use strongroom_repository::monitor::Silent;
use strongroom_repository::repair::DAMAGED_TAG;
use strongroom_repository::repair::packs::PacksOptions;
use strongroom_store::{MemoryStore, ObjectName, Store};
use support::*;

/// Three days of a table, and of something that never changes.
struct Days {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    ids: Vec<SnapshotId>,
}

fn of_day(number: u64) -> Files {
    let mut files = day(number);
    files.insert("same".into(), noise(7, 300_000));
    files
}

impl Days {
    fn new() -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let ids = (0..3).map(|number| backup(&mut open(&store), "db", &of_day(number)).id).collect();
        Self { memory, store, ids }
    }

    fn harm(&self, name: &ObjectName) {
        let mut bytes = read(&*self.store, name);
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        self.memory.overwrite(name, &bytes);
    }

    fn assert_all_restore(&self) {
        for (number, id) in (0..).zip(&self.ids) {
            assert!(restore(&mut open(&self.store), *id) == of_day(number));
        }
    }
}

/// The largest object of a folder: the first day's.
fn largest(store: &dyn Store, folder: &str) -> ObjectName {
    names(store, folder).into_iter().max_by_key(|name| read(store, name).len()).unwrap()
}

#[test]
fn the_index_is_made_anew_from_packs() {
    for all in [false, true] {
        let days = Days::new();
        let objects = names(&*days.store, "index/");
        days.harm(&objects[0]);
        days.memory.delete(&objects[1]).unwrap();
        let mut repository = open(&days.store);
        let told = repository.repair_index(all, true, &Silent).unwrap();
        assert_eq!((told.damaged.len(), told.unreadable.len()), (2, 0));
        let report = repository.repair_index(all, false, &Silent).unwrap();
        assert_eq!(report, told);
        assert_eq!(report.described, if all { 6 } else { 4 });
        days.assert_all_restore();
        assert_clean(&days.store);
        assert!(open(&days.store).repair_index(false, false, &Silent).unwrap().is_whole());
        // It serves backups too.
        assert_eq!(backup(&mut open(&days.store), "db", &of_day(2)).totals.new_bytes, 0);
    }
}

/// All index objects gone, and one pack whose own description is damaged.
#[test]
fn what_nothing_describes_is_said() {
    let days = Days::new();
    for name in names(&*days.store, "index/") {
        days.memory.delete(&name).unwrap();
    }
    let pack = largest(&*days.store, "packs/");
    let mut bytes = read(&*days.store, &pack);
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    days.memory.overwrite(&pack, &bytes);
    let report = open(&days.store).repair_index(false, false, &Silent).unwrap();
    assert_eq!((report.damaged.len(), report.described, report.unreadable), (3, 5, vec![pack]));
}

fn repair(store: &Arc<dyn Store>, give_up_gone: bool) -> strongroom_repository::repair::packs::PacksReport {
    let options = PacksOptions { give_up_gone, readers: 2, ..PacksOptions::default() };
    open(store).repair_packs(&options, &Silent).unwrap()
}

/// A flipped bit costs one frame, not a pack; the chunks are stored again when a backup meets them, and all is whole.
#[test]
fn what_is_whole_is_saved_and_the_rest_comes_again() {
    let days = Days::new();
    assert!(deltas(&days.store) > 0);
    days.harm(&largest(&*days.store, "packs/"));
    assert_eq!(repair_nothing(&days.store).damaged.len(), 1);
    let report = repair(&days.store, false);
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].lost, 1);
    assert!(report.damaged[0].whole > 0 && report.lost_chunks > 0 && report.retired >= 1, "{report:?}");
    // What is left is sound, but for what is lost, and that is marked.
    let mut repository = open(&days.store);
    let marked = repository.mark_damaged(&CheckOptions::default(), false, &Silent).unwrap();
    assert!(!marked.marked.is_empty());
    let tagged = |repository: &strongroom_repository::Repository| {
        let is_tagged = |tags: &[String]| tags.iter().any(|tag| tag == DAMAGED_TAG);
        repository.snapshots().iter().filter(|snapshot| is_tagged(&snapshot.state.tags)).count()
    };
    assert_eq!(tagged(&open(&days.store)), marked.marked.len());
    // The same days again, of which only what is missing is stored.
    for number in 0..3 {
        let again = backup(&mut open(&days.store), "db", &of_day(number));
        assert!(again.totals.new_bytes < 2_000_000);
    }
    days.assert_all_restore();
    assert_clean(&days.store);
    let whole = open(&days.store).mark_damaged(&CheckOptions::default(), false, &Silent).unwrap();
    assert_eq!((whole.whole_again.len(), whole.damaged.len()), (marked.marked.len(), 0));
    assert_eq!(tagged(&open(&days.store)), 0);
}

fn repair_nothing(store: &Arc<dyn Store>) -> strongroom_repository::repair::packs::PacksReport {
    let before = names(&**store, "");
    let options = PacksOptions { readers: 2, dry_run: true, ..PacksOptions::default() };
    let report = open(store).repair_packs(&options, &Silent).unwrap();
    assert_eq!(names(&**store, ""), before);
    report
}

/// A pack that is not there may come back, so it counts until somebody gives it up.
#[test]
fn what_is_gone_is_given_up_only_when_asked() {
    let days = Days::new();
    let pack = largest(&*days.store, "packs/");
    let bytes = read(&*days.store, &pack);
    days.memory.delete(&pack).unwrap();
    let report = repair(&days.store, false);
    assert_eq!((report.damaged.len(), report.damaged[0].is_gone, report.retired), (1, true, 0));
    put(&*days.store, &pack, &bytes);
    days.assert_all_restore();

    days.memory.delete(&pack).unwrap();
    let report = repair(&days.store, true);
    // All that builds on it goes with it.
    assert!(report.dependents > 0 && report.retired > 1, "{report:?}");
    for number in 0..3 {
        let _ = backup(&mut open(&days.store), "db", &of_day(number));
    }
    days.assert_all_restore();
    assert_clean(&days.store);
}

/// What is salvaged is found by a check that looks at everything.
#[test]
fn a_sound_repository_is_left_alone() {
    let days = Days::new();
    let before = names(&*days.store, "");
    let report = repair(&days.store, true);
    assert_eq!((report.damaged.len(), report.retired, report.read), (0, 0, 6));
    let marked = open(&days.store).mark_damaged(&thorough(), false, &Silent).unwrap();
    assert!(
        marked.damaged.is_empty() && marked.check.findings.iter().all(|one| one.severity == Severity::Info)
    );
    assert_eq!(names(&*days.store, ""), before);
}
