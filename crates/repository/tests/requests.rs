//! How few requests a store is asked, with the cache of objects in front of it; and that the cache hides nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_format::entry::Statement;
use strongroom_format::registry::Roles;
use strongroom_repository::history::PastEntry;
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

/// What the history tells from an entry on: places, and what notes say.
fn told_since(repository: &Repository, from: u64) -> Vec<(u64, String)> {
    let mut told = Vec::new();
    let mut take = |past: PastEntry| {
        assert!(past.time_ms > 0, "{past:?}");
        if let Statement::Note(note) = past.statement {
            told.push((past.number, note.detail));
        }
    };
    repository.history(from, &mut take).unwrap();
    told
}

#[test]
fn the_history_is_read_once() {
    let (memory, store) = memory();
    new_repository(&store);
    let mut writer = open(&store);
    for number in 1..=600 {
        assert_eq!(writer.note("run", None, &number.to_string()).unwrap(), number);
    }
    let expected = |last: u64| (1..=last).map(|number| (number, number.to_string())).collect::<Vec<_>>();
    let machine = Machine::new(&memory, None);
    let read = |expected: &[(u64, String)]| {
        let calls = machine.requests(|machine| assert_eq!(told_since(&machine.open(), 0), expected));
        let entries = calls
            .iter()
            .filter(|call| call.operation == Operation::Get && call.object.starts_with("journal/"));
        (entries.count(), calls.len())
    };
    // A host that has read nothing of it: each entry once, and what opening asks.
    let (entries, all) = read(&expected(600));
    assert!((598..=602).contains(&entries) && all <= entries + 14, "{entries} of {all}");
    // It asks whether the journal goes on, and when its last entry was there; nothing else.
    let (_, all) = read(&expected(600));
    assert!(all <= 5, "{all}");
    for number in 601..=603 {
        let _ = writer.note("run", None, &number.to_string()).unwrap();
    }
    let (entries, all) = read(&expected(603));
    assert!(entries <= 6 && all <= 8, "{entries} of {all}");
    assert_eq!(told_since(&machine.open(), 602), expected(603)[601..]);

    // Copies that are damaged, or of another repository, are read again.
    let folder = machine.folder.path().join("objects/journal");
    let mut copies: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    copies.sort();
    std::fs::write(&copies[5], noise(5, 500)).unwrap();
    std::fs::copy(&copies[7], &copies[6]).unwrap();
    // It has the right name, and opens under no key of this one.
    let other = Machine::new(&other_memory(), None);
    let _ = other.backup();
    let others = other.folder.path().join("objects/journal").join(copies[1].file_name().unwrap());
    std::fs::copy(others, &copies[1]).unwrap();
    let (entries, _) = read(&expected(603));
    assert!((3..=5).contains(&entries), "{entries}");
    assert!(read(&expected(603)).1 <= 6);
}

fn other_memory() -> Arc<MemoryStore> {
    let (memory, store) = memory();
    new_repository(&store);
    memory
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
