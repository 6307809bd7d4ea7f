//! Copies of snapshots in another repository, with other keys: what they hold, when they were taken, and what they cost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use strongroom_format::SnapshotId;
use strongroom_repository::copy::CopyOptions;
use strongroom_repository::monitor::Silent;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{Fault, FaultStore, MemoryStore, Store, When};
use support::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn copy_options() -> CopyOptions {
    CopyOptions {
        tool: "test".into(),
        compression_level: 3,
        workers: 2,
        uploads: 2,
        tags: None,
        leave_out_damaged: false,
    }
}

/// A repository with three days, and another, empty one.
struct Two {
    memory: Arc<MemoryStore>,
    from: Arc<dyn Store>,
    into: Arc<dyn Store>,
    ids: Vec<SnapshotId>,
}

impl Two {
    fn new() -> Self {
        let (memory, from) = memory();
        new_repository(&from);
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(backup(&mut open(&from), "db", &day(number)).id);
            memory.advance_ms(u64::try_from(DAY.as_millis()).unwrap());
        }
        let (later, into) = support::memory();
        later.advance_ms(u64::try_from((30 * DAY).as_millis()).unwrap());
        new_repository(&into);
        Self { memory, from, into, ids }
    }

    fn from(&self) -> Repository {
        let mut from = open(&self.from);
        from.load_index().unwrap();
        from
    }

    /// Copies all that is not there yet; gives the copies.
    fn copy(&self, store: &Arc<dyn Store>) -> Result<Vec<SnapshotId>, RepositoryError> {
        let from = self.from();
        let mut into = Repository::open(Arc::clone(store), open_options())?;
        let mut copies = Vec::new();
        for snapshot in from.snapshots() {
            if into.copy_of(&from.origin_of(snapshot)?).is_none() {
                copies.push(into.copy_from(&from, snapshot, &copy_options(), &Silent)?.backup.id);
            }
        }
        Ok(copies)
    }

    fn assert_copied(&self) {
        let mut into = open(&self.into);
        let (from, there) = (self.from(), into.snapshots().to_vec());
        assert_eq!(there.len(), self.ids.len());
        for (number, (copy, original)) in (0..).zip(there.iter().zip(from.snapshots())) {
            assert_eq!(copy.manifest.origin.unwrap().snapshot, original.id());
            assert_eq!(copy.time_ms(), i64::try_from(from.origin_of(original).unwrap().time_ms).unwrap());
            let (there, here) = (&original.manifest, &copy.manifest);
            assert_eq!(
                (&there.source, &there.host, there.started_ns),
                (&here.source, &here.host, here.started_ns)
            );
            assert_eq!((there.tree.entries, there.tree.bytes), (here.tree.entries, here.tree.bytes));
            assert!(restore(&mut into, copy.id()) == day(number));
        }
        assert_clean(&self.into);
    }
}

#[test]
fn a_copy_is_what_it_is_a_copy_of() {
    let two = Two::new();
    let copies = two.copy(&two.into).unwrap();
    assert_eq!(copies.len(), 3);
    two.assert_copied();
    // Nothing is copied twice, and what is new is cheap: later days are stored as what differs.
    assert!(two.copy(&two.into).unwrap().is_empty());
    assert!(deltas(&two.into) > 0);
    let before = sealed_bytes(&two.into);
    two.memory.advance_ms(1000);
    let fourth = backup(&mut open(&two.from), "db", &day(3)).id;
    let copied = two.copy(&two.into).unwrap();
    assert_eq!(copied.len(), 1);
    assert!(sealed_bytes(&two.into) - before < before / 4);
    // A copy that comes back is the one that is there.
    let (mut back, mut into) = (open(&two.from), open(&two.into));
    into.load_index().unwrap();
    let last = into.snapshots().last().unwrap().clone();
    assert_eq!(back.copy_of(&into.origin_of(&last).unwrap()).unwrap().id(), fourth);
    // Backups go on from copies.
    let next = backup(&mut open(&two.into), "db", &day(4));
    assert_eq!(next.parent, Some(copied[0]));
    assert!(restore(&mut open(&two.into), next.id) == day(4));
    assert!(restore(&mut back, fourth) == day(3));
}

/// Dead in any write: what was copied stays, and the next try copies the rest.
#[test]
fn it_may_die_in_any_write() {
    let two = Two::new();
    for mutation in 1.. {
        let (_, into) = memory();
        new_repository(&into);
        let two = Two {
            into: Arc::clone(&into),
            from: Arc::clone(&two.from),
            memory: Arc::clone(&two.memory),
            ids: two.ids.clone(),
        };
        let crash = Fault::Crash { mutation, when: When::BeforeEffect };
        let crashing: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::clone(&into), [crash]));
        let is_done = two.copy(&crashing).is_ok();
        assert_clean(&into);
        let _ = two.copy(&into).unwrap();
        let there: Vec<_> = open(&into).snapshots().iter().map(|copy| copy.id()).collect();
        for (number, id) in (0..).zip(there) {
            assert!(restore(&mut open(&into), id) == day(number));
        }
        if is_done {
            assert!(mutation > 10);
            break;
        }
    }
}

/// What is damaged there is not copied as if it were whole.
#[test]
fn damage_is_not_copied() {
    let two = Two::new();
    // The first day's.
    let packs = names(&*two.from, "packs/");
    let name = packs.iter().max_by_key(|name| read(&*two.from, name).len()).unwrap();
    let mut bytes = read(&*two.from, name);
    let end = bytes.len() / 2;
    bytes[200..end].fill(7);
    two.memory.overwrite(name, &bytes);
    let error = two.copy(&two.into).unwrap_err();
    assert!(matches!(error, RepositoryError::ChunkUnavailable { .. }), "{error}");
    assert_clean(&two.into);
    let from = two.from();
    let mut into = open(&two.into);
    let options = CopyOptions { leave_out_damaged: true, ..copy_options() };
    let report = into.copy_from(&from, &from.snapshots()[0], &options, &Silent).unwrap();
    assert_eq!((report.left_out.len(), report.backup.totals.unreadable), (1, 1));
    assert_clean(&two.into);
}
