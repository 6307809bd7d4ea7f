//! How few requests a store is asked, with the cache of objects in front of it; and that the cache hides nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_format::registry::Roles;
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::{CacheOptions, CacheStore, Call, MemoryStore, Operation, RecordStore, Store};
use support::*;

type Recorded = RecordStore<Arc<MemoryStore>>;

/// A host with a local folder, which makes a new process for everything it does.
struct Machine {
    origin: Arc<Recorded>,
    folder: tempfile::TempDir,
    host: Option<Host>,
}

fn data() -> Files {
    files([("dump.sql", noise(1, 300_000)), ("roles.sql", b"create role".to_vec())])
}

impl Machine {
    fn new(memory: &Arc<MemoryStore>, host: Option<Host>) -> Self {
        let origin = Arc::new(RecordStore::new(Arc::clone(memory)));
        Self { origin, folder: tempfile::tempdir().unwrap(), host }
    }

    fn try_open(&self) -> Result<Repository, RepositoryError> {
        let origin: Arc<dyn Store> = Arc::clone(&self.origin) as Arc<dyn Store>;
        let objects = self.folder.path().join("objects");
        let front: Arc<dyn Store> =
            Arc::new(CacheStore::new(Arc::clone(&origin), objects, CacheOptions::default()));
        let credentials = self.host.as_ref().map_or(open_options().credentials, Host::credentials);
        let options = OpenOptions {
            credentials,
            origin: Some(origin),
            cache_folder: Some(self.folder.path().join("index")),
            writer: self.host.as_ref().map(|host| host.name.clone()),
            ..open_options()
        };
        Repository::open(front, options)
    }

    fn open(&self) -> Repository {
        self.try_open().unwrap()
    }

    /// The requests that something costs.
    fn requests(&self, action: impl FnOnce(&Self)) -> Vec<Call> {
        self.origin.take_calls();
        action(self);
        self.origin.take_calls()
    }

    fn backup(&self) -> strongroom_repository::backup::BackupReport {
        backup(&mut self.open(), "db", &data())
    }
}

fn told(calls: &[Call]) -> Vec<String> {
    calls.iter().map(|call| format!("{:?} {}", call.operation, call.object)).collect()
}

fn assert_frugal(machine: &Machine, case: &str) {
    let backup = machine.requests(|machine| {
        assert_eq!(machine.backup().totals.new_bytes, 0);
    });
    assert!(backup.len() <= 6, "{case}: {:#?}", told(&backup));
    assert_eq!(backup.iter().filter(|call| call.operation == Operation::Put).count(), 1);
    assert!(backup.iter().all(|call| call.operation != Operation::List), "{case}: {:#?}", told(&backup));
    let listing = machine.requests(|machine| assert!(!machine.open().snapshots().is_empty()));
    assert!(listing.len() <= 3, "{case}: {:#?}", told(&listing));
}

#[test]
fn an_unchanged_backup_costs_six_requests_whatever_the_journals_length() {
    let (memory, store) = memory();
    new_repository(&store);
    let writer = Host::add(&store, "db2", Roles::WRITE, &["db"]);
    let admin = Machine::new(&memory, None);
    let host = Machine::new(&memory, Some(writer));
    let mut maintainer = open(&store);
    // The second round of each length is with a warm cache, and with whatever checkpoints there are by now.
    for length in [10, 260, 600] {
        while maintainer.state().number < length {
            maintainer.note("filler", None, "{}").unwrap();
        }
        assert!(names(&*store, "checkpoints/").len() as u64 >= length / 256);
        for (machine, who) in [(&admin, "admin"), (&host, "writer")] {
            for round in ["cold", "filling", "warm", "warm again"] {
                let case = format!("{who}, {length} entries, {round}");
                if round.starts_with("warm") {
                    assert_frugal(machine, &case);
                } else {
                    machine.backup();
                }
            }
        }
        maintainer.refresh().unwrap();
    }
    assert_clean(&store);
}

#[test]
fn a_writer_alone_stays_frugal_over_a_long_journal() {
    let (memory, store) = memory();
    new_repository(&store);
    let writer = Host::add(&store, "db2", Roles::WRITE, &["db"]);
    // Nobody with the role maintain comes by, so that nobody writes a checkpoint.
    let host = Machine::new(&memory, Some(writer));
    for _ in 0..400 {
        host.backup();
    }
    assert_eq!(names(&*store, "checkpoints/"), []);
    // At first it looks for a checkpoint each time; the journal itself is at hand.
    let calls = host.requests(|host| {
        host.backup();
    });
    assert!(calls.len() <= 8, "{:#?}", told(&calls));
    open(&store).write_checkpoint().unwrap();
    host.backup();
    assert_frugal(&host, "with a checkpoint");
}

#[test]
fn a_rollback_is_seen_past_the_cache() {
    let (memory, store) = memory();
    new_repository(&store);
    let machine = Machine::new(&memory, None);
    machine.backup();
    let older = (*memory).clone();
    machine.backup();
    let put_back = |names: &[strongroom_store::ObjectName], from: &MemoryStore| {
        names.iter().for_each(|name| memory.overwrite(name, &read(from, name)));
    };
    // The last entry is gone, and everything about it lies in the cache.
    let newer = (*memory).clone();
    memory.delete(&entry_name(2)).unwrap();
    let opened = machine.try_open();
    assert!(matches!(opened, Err(RepositoryError::Rollback { remembered: 2, found: 1, .. })), "{opened:?}");
    // Another history has grown there.
    let elsewhere: Arc<dyn Store> = Arc::new(older);
    let mut other = open(&elsewhere);
    other.note("other", None, "{}").unwrap();
    other.note("other", None, "{}").unwrap();
    put_back(&[entry_name(2), entry_name(3)], &read_all(&elsewhere));
    let opened = machine.try_open();
    assert!(matches!(opened, Err(RepositoryError::Rollback { remembered: 2, .. })), "{opened:?}");
    memory.delete(&entry_name(3)).unwrap();
    put_back(&[entry_name(2)], &newer);
    machine.backup();
    assert_clean(&store);
}

fn read_all(store: &Arc<dyn Store>) -> MemoryStore {
    let copy = MemoryStore::new();
    for name in names(&**store, "") {
        put(&copy, &name, &read(&**store, &name));
    }
    copy
}

#[test]
fn damaged_copies_are_fetched_again_and_damaged_objects_are_found_past_them() {
    let (memory, store) = memory();
    new_repository(&store);
    let machine = Machine::new(&memory, None);
    let id = machine.backup().id;
    assert!(restore(&mut machine.open(), id) == data());
    let objects = machine.folder.path().join("objects");
    let mut damaged = 0;
    for name in names(&*store, "") {
        let path = objects.join(name.as_str());
        let Ok(good) = std::fs::read(&path) else { continue };
        damaged += 1;
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [flipped, good[..good.len() - 1].to_vec(), vec![], noise(1, 100)] {
            std::fs::write(&path, &bad).unwrap();
            assert!(restore(&mut machine.open(), id) == data(), "{name}");
            let report = machine.backup();
            assert_eq!(report.totals.new_bytes, 0, "{name}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), good, "{name} is whole again");
    }
    assert!(damaged >= 8, "{damaged}");
    // The other way round: the cache has the good copy, and a check looks behind it.
    let meta = names(&*store, "meta/")[0].clone();
    let good = read(&*store, &meta);
    memory.overwrite(&meta, &noise(2, good.len()));
    assert!(restore(&mut machine.open(), id) == data());
    let report = check(&machine.open());
    assert!(damage(&report).iter().any(|finding| finding.object == meta.as_str()), "{:#?}", report.findings);
    memory.overwrite(&meta, &good);
    assert_clean(&store);
}
