//! Retiring a data key: nothing that the store keeps opens with it any more, and every snapshot restores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use strongroom_format::registry::Roles;
use strongroom_format::{KeyId, SnapshotId};
use strongroom_repository::administration::RetiredKey;
use strongroom_repository::check::FindingKind;
use strongroom_repository::monitor::Silent;
use strongroom_repository::prune::PruneOptions;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{Fault, FaultStore, MemoryStore, Store, When};
use support::*;

fn day(number: u64) -> Files {
    files([("own", noise(number, 300_000)), ("shared", noise(0, 300_000)), ("text", vec![b'a'; 100_000])])
}

struct Days {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    ids: Vec<SnapshotId>,
}

impl Days {
    fn new() -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let ids = (1..=3).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
        Self { memory, store, ids }
    }

    /// The data key of the first day, which the others need as well.
    fn first_key(&self) -> KeyId {
        let repository = open(&self.store);
        let [only] = &repository.snapshots()[0].state.keys[..] else { panic!("one key") };
        only.id
    }

    fn assert_restores(&self) {
        let mut repository = open(&self.store);
        for (at, id) in self.ids.iter().enumerate() {
            assert!(restore(&mut repository, *id) == day(at as u64 + 1));
        }
        assert_clean(&self.store);
    }

    fn assert_restores_first_day(&self, id: SnapshotId) {
        assert!(restore(&mut open(&self.store), id) == day(1));
        assert_clean(&self.store);
    }

    fn prune(&self) {
        let at_once =
            PruneOptions { grace: Duration::ZERO, orphan_age: Duration::ZERO, ..PruneOptions::default() };
        let _ = open(&self.store).prune(&at_once, &Silent).unwrap();
    }

    fn keys_named(&self, key: KeyId) -> usize {
        names(&*self.store, &format!("keys/{key}/")).len()
    }
}

fn retire(repository: &mut Repository, key: KeyId) -> RetiredKey {
    repository.retire_data_key(key, &Silent).unwrap()
}

#[test]
fn what_a_key_protects_is_sealed_under_another() {
    let days = Days::new();
    let key = days.first_key();
    let before = names(&*days.store, "packs/");
    let mut admin = open(&days.store);
    let RetiredKey::Resealed { packs: 1, by, .. } = retire(&mut admin, key) else { panic!("one pack") };
    days.assert_restores();
    for snapshot in open(&days.store).snapshots() {
        let keys: Vec<_> = snapshot.state.keys.iter().map(|known| known.id).collect();
        assert!(!keys.contains(&key) && keys.contains(&by), "{keys:?}");
    }
    // The old pack is there until it is pruned, and its key with it.
    assert_eq!(names(&*days.store, "packs/").len(), before.len() + 1);
    assert_eq!(retire(&mut admin, key), RetiredKey::Waiting { packs: 1 });
    assert!(days.keys_named(key) > 0);
    days.prune();
    assert_eq!(names(&*days.store, "packs/").len(), before.len());
    assert_eq!(names(&*days.store, "packs/").iter().filter(|pack| before.contains(pack)).count(), 2);
    // Prune has taken the wraps away with the last pack.
    assert_eq!(days.keys_named(key), 0);
    assert_eq!(retire(&mut admin, key), RetiredKey::Deleted { deleted: 0, left: vec![] });
    days.assert_restores();
    // What comes next relies on what was sealed anew.
    let next = backup(&mut open(&days.store), "db", &day(1));
    assert_eq!(next.totals.new_bytes, 0);
    days.assert_restores_first_day(next.id);
}

#[test]
fn who_may_not_read_or_maintain_retires_nothing() {
    let days = Days::new();
    let key = days.first_key();
    let before = names(&*days.store, "");
    let host = Host::add(&days.store, "prune", Roles::MAINTAIN, &[]);
    let added = names(&*days.store, "").len();
    let error = host.open(&days.store).retire_data_key(key, &Silent).unwrap_err();
    assert!(matches!(error, RepositoryError::DataKey { .. }), "{error}");
    let writer = Host::add(&days.store, "writer", Roles::WRITE, &["db"]);
    let error = writer.open(&days.store).retire_data_key(key, &Silent).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "maintain" }), "{error}");
    let error = open(&days.store).retire_data_key(KeyId([9; 16]), &Silent).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchDataKey { .. }), "{error}");
    assert!(added > before.len());
    let packs = |names: Vec<strongroom_store::ObjectName>| {
        names.into_iter().filter(|name| name.as_str().starts_with("packs/")).count()
    };
    assert_eq!(packs(names(&*days.store, "")), packs(before));
    days.assert_restores();
}

/// With several writers what was sealed anew is attested: the others go on relying on it.
#[test]
fn other_writers_rely_on_what_was_sealed_anew() {
    let days = Days::new();
    let host = Host::add(&days.store, "db2", Roles::WRITE, &["other"]);
    let first = backup(&mut host.open(&days.store), "other", &files([("own", noise(8, 300_000))]));
    assert_eq!(first.totals.new_bytes, 300_000);
    let key = host.open(&days.store).snapshots().last().unwrap().state.keys[0].id;
    let _ = retire(&mut open(&days.store), key);
    let again = backup(&mut host.open(&days.store), "other", &files([("own", noise(8, 300_000))]));
    assert_eq!(again.totals.new_bytes, 0);
    days.assert_restores();
}

/// Dead in any write: everything restores, and it is done the next time.
#[test]
fn it_may_die_in_any_write() {
    for when in [When::BeforeEffect, When::AfterEffect] {
        for mutation in 1.. {
            let days = Days::new();
            let key = days.first_key();
            let crash = Fault::Crash { mutation, when };
            let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::clone(&days.store), [crash]));
            let mut crashing = Repository::open(store, open_options()).unwrap();
            let is_done = crashing.retire_data_key(key, &Silent).is_ok();
            days.assert_restores();
            let again = retire(&mut open(&days.store), key);
            assert!(matches!(again, RetiredKey::Resealed { .. } | RetiredKey::Waiting { .. }), "{again:?}");
            days.prune();
            assert!(matches!(retire(&mut open(&days.store), key), RetiredKey::Deleted { .. }));
            days.assert_restores();
            if is_done {
                // A key's wrap, a pack, its index object, the entry, and that it was opened.
                assert_eq!(mutation, 6);
                break;
            }
        }
    }
}

/// What is damaged is not sealed anew as if it were good, and nothing changes.
#[test]
fn damage_stops_it_before_anything_changes() {
    let days = Days::new();
    let key = days.first_key();
    // The first day's, which is the largest.
    let name =
        names(&*days.store, "packs/").into_iter().max_by_key(|name| read(&*days.store, name).len()).unwrap();
    let mut bytes = read(&*days.store, &name);
    bytes[5000] ^= 1;
    days.memory.overwrite(&name, &bytes);
    let error = open(&days.store).retire_data_key(key, &Silent).unwrap_err();
    assert!(matches!(error, RepositoryError::ChunkUnavailable { .. }), "{error}");
    assert!(open(&days.store).state().retired.is_empty());
    let found = check(&open(&days.store));
    assert!(damage(&found).iter().all(|finding| finding.kind == FindingKind::HashMismatch));
}

/// A backup that began before relies on packs that are retired when it ends: it relies on the new ones then.
#[test]
fn a_backup_under_way_goes_on() {
    let days = Days::new();
    let key = days.first_key();
    let mut writer = open(&days.store);
    let result = writer.backup(&options("db"), &Silent, |sink| {
        write_files(sink, &day(1))?;
        let _ = retire(&mut open(&days.store), key);
        Ok::<(), RepositoryError>(())
    });
    let report = result.unwrap();
    assert_eq!(report.totals.new_bytes, 0);
    days.prune();
    days.assert_restores_first_day(report.id);
}
