//! What every kind of damage to every kind of object does to every command: the table of `docs/damage.md`.
//!
//! The words of the table are what is compared. What holds in every cell is asserted by itself: nothing is restored
//! that was not backed up, and no command loses what could be restored before it, also when the damage is undone
//! afterwards.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use strongroom_format::SnapshotId;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::backup::{BackupOptions, BackupReport};
use strongroom_repository::check::{CheckOptions, CheckReport, Severity};
use strongroom_repository::monitor::Silent;
use strongroom_repository::prune::{MaxUnused, PruneOptions};
use strongroom_repository::repair::DAMAGED_TAG;
use strongroom_repository::repair::packs::PacksOptions;
use strongroom_repository::wal::WalWriter;
use strongroom_repository::{InitOptions, Repository, RepositoryError, init};
use strongroom_store::{MemoryStore, ObjectName, Store};
use support::logs::{bytes_of, keys_of, objects, segment, try_fetch, try_push};
use support::*;

const TABLE: &str = include_str!("../../../docs/damage.md");

/// A repository whose first snapshot was forgotten, and not pruned yet.
struct Fixture {
    store: MemoryStore,
    kept: BTreeMap<SnapshotId, Files>,
    /// Segments that were pushed.
    log: BTreeMap<u64, Vec<u8>>,
    rows: Vec<Row>,
}

/// A kind of object, an example of it, and one of the same kind that was there before.
struct Row {
    kind: &'static str,
    objects: Vec<ObjectName>,
    older: Option<ObjectName>,
}

impl Row {
    /// Whether what chunks are made of is damaged.
    fn is_of_data(&self) -> bool {
        self.kind.starts_with("data ")
    }

    /// Whether it is of a log archive: snapshots do not need it.
    fn is_of_log(&self) -> bool {
        self.kind.starts_with("log archive")
    }
}

/// A table that changes a little, and something that stays.
fn content(number: u64) -> Files {
    let mut files = day(number);
    files.insert("same".into(), noise(7, 200_000));
    files.insert("own".into(), noise(100 + number, 60_000));
    files
}

/// By one thread: what lies where does not depend on chance.
fn back_up(repository: &mut Repository, files: &Files) -> Result<BackupReport, RepositoryError> {
    let options = BackupOptions { workers: 1, uploads: 1, ..options("db") };
    backup_with(repository, &options, files, &Silent)
}

/// Tomorrow's.
const NEXT: u64 = 3;

impl Fixture {
    fn new(parity: u8) -> Self {
        let (memory, store) = memory();
        let options = InitOptions { parity, ..InitOptions::of_host("db1") };
        let _made = init(&store, &[WrapTo::KeyFile { key: key() }], options, &*fresh_random()).unwrap();
        let mut repository = open(&store);
        let mut kept = BTreeMap::new();
        let mut of_days = Vec::new();
        for number in 0..NEXT {
            let id = back_up(&mut repository, &content(number)).unwrap().id;
            repository.write_checkpoint().unwrap();
            kept.insert(id, content(number));
            of_days.push(names(&*store, ""));
        }
        let forgotten = repository.snapshots()[0].id();
        assert_eq!(repository.forget(&[forgotten], "too old").unwrap(), 1);
        kept.remove(&forgotten);
        assert_eq!(kept.len(), 2);
        let snapshot = repository.snapshots()[0].state.clone();
        let mut log = BTreeMap::new();
        let of_backups = keys_of(&store);
        if parity == 0 {
            let mut writer = WalWriter::new(&mut repository);
            for place in [1, 2] {
                log.insert(place, bytes_of(place));
                let _ = writer.push(&segment(place), &mut Cursor::new(bytes_of(place))).unwrap();
            }
        }
        repository.note("last", None, "{}").unwrap();
        repository.write_checkpoint().unwrap();
        assert_clean(&store);

        let at = |number: u64| vec![entry_name(number)];
        let other_key = repository.snapshots()[1].state.keys.iter().find(|key| **key != snapshot.keys[0]);
        let other_key = other_key.unwrap().id;
        let state = repository.state();
        let wraps = |key: strongroom_format::KeyId| names(&*store, &format!("keys/{key}/"));
        let pack = |kind, folder: &str| {
            // Names are of chance; what a day brought is not.
            let brought = |day: usize| {
                let before: &[ObjectName] = if day == 0 { &[] } else { &of_days[day - 1] };
                let new = of_days[day].iter().filter(|name| !before.contains(name));
                let new = new.filter(|name| name.as_str().starts_with(folder));
                new.max_by_key(|name| read(&*store, name).len()).unwrap().clone()
            };
            // Of the first day the others still need data, and no nodes.
            let (example, older) = if folder == "meta/" { (1, 0) } else { (0, 1) };
            Row { kind, objects: vec![brought(example)], older: Some(brought(older)) }
        };
        let mut objects = objects(&store).into_iter();
        let mut checkpoints = names(&*store, "checkpoints/").into_iter();
        let mut rows = vec![
            Row { kind: "config", objects: vec![name("config")], older: None },
            Row { kind: "journal, first entry", objects: at(0), older: None },
            Row { kind: "journal, a snapshot", objects: at(snapshot.number), older: Some(entry_name(0)) },
            Row { kind: "journal, last entry", objects: at(state.number), older: Some(entry_name(1)) },
            Row { kind: "checkpoint", objects: vec![checkpoints.next().unwrap()], older: checkpoints.next() },
            Row {
                kind: "metadata key",
                objects: wraps(state.policy.metadata.id),
                older: wraps(snapshot.keys[0].id).pop(),
            },
            Row {
                kind: "data key, all wraps",
                objects: wraps(snapshot.keys[0].id),
                older: wraps(other_key).pop(),
            },
            pack("index", "index/"),
            pack("metadata pack", "meta/"),
            pack("data pack", "packs/"),
        ];
        if let Some(object) = objects.next() {
            // What is under the name of another file counts as nothing, whichever of the two it is.
            let key = &keys_of(&store) - &of_backups;
            rows.push(Row { kind: "log archive, an object", objects: vec![object], older: objects.next() });
            rows.push(Row {
                kind: "log archive, wraps of its data key",
                objects: key.iter().flat_map(|key| wraps(*key)).collect(),
                older: None,
            });
        }
        if parity > 0 {
            rows = vec![
                pack("metadata pack with parity", "meta/"),
                pack("data pack with parity", "packs/"),
                pack("parity", "parity/"),
            ];
        }
        Self { store: (*memory).clone(), kept, log, rows }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Damage {
    Delete,
    Truncate,
    Flip,
    Swap,
    Append,
    Older,
}

const DAMAGES: [(Damage, &str); 6] = [
    (Damage::Delete, "deleted"),
    (Damage::Truncate, "cut in half"),
    (Damage::Flip, "a bit flipped"),
    (Damage::Swap, "swapped with another"),
    (Damage::Append, "something appended"),
    (Damage::Older, "replaced by an older one"),
];

/// The store with that damage, if the row has it.
fn damaged(fixture: &Fixture, row: &Row, damage: Damage) -> Option<MemoryStore> {
    let store = fixture.store.clone();
    for object in &row.objects {
        let mut bytes = read(&store, object);
        match damage {
            Damage::Delete => {
                store.delete(object).unwrap();
                continue;
            }
            Damage::Truncate => bytes.truncate(bytes.len() / 2),
            Damage::Flip => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
            }
            Damage::Append => bytes.push(0),
            Damage::Swap | Damage::Older => {
                let older = read(&store, row.older.as_ref()?);
                if damage == Damage::Swap {
                    store.overwrite(row.older.as_ref()?, &bytes);
                }
                bytes = older;
            }
        }
        store.overwrite(object, &bytes);
    }
    Some(store)
}

/// What can be read of each snapshot that is known: the paths, whose bytes are as they were.
type Readable = BTreeMap<SnapshotId, BTreeSet<String>>;

struct Cell<'a> {
    case: String,
    fixture: &'a Fixture,
    row: &'a Row,
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
}

impl<'a> Cell<'a> {
    fn new(fixture: &'a Fixture, row: &'a Row, what: &str, damaged: &MemoryStore, command: &str) -> Self {
        let memory = Arc::new(damaged.clone());
        let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
        Self { case: format!("{}, {what}: {command}", row.kind), fixture, row, memory, store }
    }

    fn readable(&self) -> Result<Readable, RepositoryError> {
        let mut repository = try_open(&self.store)?;
        repository.load_index()?;
        let mut readable = Readable::new();
        for id in repository.snapshots().iter().map(|snapshot| snapshot.id()) {
            let Some(expected) = self.fixture.kept.get(&id) else { continue };
            let (restored, _) = try_restore(&repository, id);
            let mut paths = BTreeSet::new();
            for (path, bytes) in restored {
                let Ok(bytes) = bytes else { continue };
                assert!(expected.get(&path) == Some(&bytes), "{}: {path} is restored wrong", self.case);
                paths.insert(path);
            }
            readable.insert(id, paths);
        }
        Ok(readable)
    }

    /// Everything, some of it, or none.
    fn word_of(&self, readable: &Readable) -> &'static str {
        let whole = |(id, files): (&SnapshotId, &Files)| {
            readable.get(id).is_some_and(|paths| paths.len() == files.len())
        };
        if self.fixture.kept.iter().all(whole) {
            "all"
        } else if self.fixture.kept.keys().any(|id| !readable.contains_key(id)) {
            "not that snapshot"
        } else {
            "what is left"
        }
    }

    /// That nothing which could be read before cannot be read now; also not, when the damage is undone.
    fn assert_nothing_lost(&self, before: &Readable) {
        let after = self.readable().unwrap_or_else(|error| panic!("{}: {error:?}", self.case));
        for (id, paths) in before {
            let now = after.get(id).unwrap_or_else(|| panic!("{}: {id} is gone", self.case));
            assert!(now.is_superset(paths), "{}: {now:?} of {paths:?}", self.case);
        }
    }

    fn undo(&self) {
        for object in self.row.objects.iter().chain(&self.row.older) {
            // What was swapped with it may have been retired, and deleted.
            if self.row.objects.contains(object) || self.store.stat(object).is_ok() {
                self.memory.overwrite(object, &read(&self.fixture.store, object));
            }
        }
    }

    fn check(&self) -> &'static str {
        let repository = match try_open(&self.store) {
            Ok(repository) => repository,
            Err(error) => return refused(&error),
        };
        let report = check(&repository);
        if report.is_clean() {
            return "nothing to find";
        }
        let named = self.row.objects.iter().all(|object| is_named(&report, object));
        assert!(named, "{}: {:#?}", self.case, report.findings);
        let heals = report
            .findings
            .iter()
            .all(|f| f.severity != Severity::Damage || f.detail.contains("parity heals it"));
        if heals && report.findings.iter().any(|f| f.severity == Severity::Damage) {
            "found, heals"
        } else {
            "found"
        }
    }

    fn restore(&self) -> &'static str {
        match self.readable() {
            Ok(_) if self.row.is_of_log() => self.word_of_log(),
            Ok(readable) => self.word_of(&readable),
            Err(error) => refused(&error),
        }
    }

    /// Each segment that was pushed comes back as it was, or not at all, which is an error unless its object is gone.
    fn word_of_log(&self) -> &'static str {
        let repository = open(&self.store);
        let mut words = BTreeSet::new();
        for (place, bytes) in &self.fixture.log {
            words.insert(match try_fetch(&repository, &segment(*place)) {
                Ok(Some(fetched)) => {
                    assert!(fetched == *bytes, "{}: segment {place} is another", self.case);
                    "all"
                }
                Ok(None) => "without it",
                Err(error) => {
                    let is_clear = matches!(
                        error,
                        RepositoryError::LogFileUnavailable { .. } | RepositoryError::DataKey { .. }
                    );
                    assert!(is_clear, "{}: {error:?}", self.case);
                    "what is left"
                }
            });
        }
        // Names tell nothing of what they name: either segment may be the one.
        ["without it", "what is left"].into_iter().find(|word| words.contains(word)).unwrap_or("all")
    }

    fn backup(&self) -> &'static str {
        let before = self.readable();
        let mut repository = match try_open(&self.store) {
            Ok(repository) => repository,
            Err(error) => return refused(&error),
        };
        let mut tried = back_up(&mut repository, &content(NEXT));
        // Found out too late: the message says to run it again.
        if let Err(RepositoryError::PackBroken { .. }) = tried {
            tried = back_up(&mut repository, &content(NEXT));
        }
        let report = match tried {
            Ok(report) => report,
            Err(error) => return refused(&error),
        };
        self.assert_nothing_lost(&before.unwrap());
        let mut repository = open(&self.store);
        repository.load_index().unwrap();
        let (restored, failed) = try_restore(&repository, report.id);
        let good = restored.iter().filter(|(path, bytes)| {
            let Ok(bytes) = bytes else { return false };
            assert!(content(NEXT).get(*path) == Some(bytes), "{}: {path} is restored wrong", self.case);
            true
        });
        // What it relies on it has not read.
        let is_whole = failed.is_none() && good.count() == content(NEXT).len();
        assert!(is_whole || self.row.is_of_data(), "{}: {failed:?}", self.case);
        "stored"
    }

    fn prune(&self) -> &'static str {
        let before = self.readable();
        let mut repository = match try_open(&self.store) {
            Ok(repository) => repository,
            Err(error) => return refused(&error),
        };
        let stored = names(&*self.store, "packs/").len();
        let options = PruneOptions {
            grace: Duration::ZERO,
            orphan_age: Duration::ZERO,
            max_unused: MaxUnused::Percent(0),
            ..PruneOptions::default()
        };
        let word = match repository.prune(&options, &Silent) {
            Ok(report) if report.freed_bytes() > 0 => "done",
            Ok(_) => "frees nothing",
            Err(error) => refused(&error),
        };
        if let Ok(before) = before {
            self.assert_nothing_lost(&before);
        }
        let is_refused = word == "refused";
        assert!(!is_refused || names(&*self.store, "packs/").len() >= stored, "{}: deleted", self.case);
        // An entry that nobody knows to be missing may be another one now.
        if self.row.kind != "journal, last entry" {
            self.undo();
            let all = self.fixture.kept.iter().map(|(id, files)| (*id, files.keys().cloned().collect()));
            self.assert_nothing_lost(&all.collect());
        }
        word
    }

    /// As the manual says: the index, packs, snapshots.
    fn mend(&self) -> Result<CheckReport, RepositoryError> {
        let mut repository = try_open(&self.store)?;
        let _index = repository.repair_index(false, false, &Silent)?;
        let options = PacksOptions { readers: 2, give_up_gone: true, ..PacksOptions::default() };
        let _packs = repository.repair_packs(&options, &Silent)?;
        let thorough = CheckOptions { read_data: true, ..CheckOptions::default() };
        let _snapshots = repository.mark_damaged(&thorough, false, &Silent)?;
        Ok(check(&open(&self.store)))
    }

    fn repair(&self) -> &'static str {
        let before = self.readable();
        let report = self.mend();
        if let Ok(before) = before {
            self.assert_nothing_lost(&before);
        }
        match report {
            Ok(report) if report.is_clean() => "mended",
            Ok(report) if report.findings.iter().all(|f| f.severity != Severity::Damage) => "mended, told",
            Ok(_) => {
                let repository = open(&self.store);
                let mut tags = repository.snapshots().iter().flat_map(|snapshot| &snapshot.state.tags);
                if tags.any(|tag| tag == DAMAGED_TAG) { "marked" } else { "told" }
            }
            Err(error) => refused(&error),
        }
    }

    /// After repair the same data is backed up again, and the same segments are pushed.
    fn backup_then(&self) -> &'static str {
        if self.mend().is_err() {
            return "";
        }
        let mut repository = open(&self.store);
        for (place, bytes) in self.fixture.log.iter().filter(|_| self.row.is_of_log()) {
            if let Err(error) = try_push(&mut repository, &segment(*place), bytes) {
                return refused(&error);
            }
        }
        if self.row.is_of_log() {
            return self.word_of_log();
        }
        for number in 0..NEXT {
            let files = content(number);
            let id = match back_up(&mut repository, &files) {
                Ok(report) => report.id,
                Err(error) => return refused(&error),
            };
            assert!(restore(&mut open(&self.store), id) == files, "{}: day {number} again", self.case);
        }
        self.word_of(&self.readable().unwrap())
    }
}

/// A clear error.
fn refused(error: &RepositoryError) -> &'static str {
    assert!(!matches!(error, RepositoryError::Contention { .. }), "{error:?}");
    assert!(!error.to_string().is_empty());
    "refused"
}

fn is_named(report: &CheckReport, object: &ObjectName) -> bool {
    report.findings.iter().any(|finding| {
        finding.severity != Severity::Info
            && (finding.object == object.as_str() || object.as_str().starts_with(&finding.object))
    })
}

fn add(table: &mut String, fixture: &Fixture) {
    for row in &fixture.rows {
        for (damage, what) in DAMAGES {
            let Some(store) = damaged(fixture, row, damage) else { continue };
            let cell = |command: &str| Cell::new(fixture, row, what, &store, command);
            writeln!(
                table,
                "| {} | {what} | {} | {} | {} | {} | {} | {} |",
                row.kind,
                cell("check").check(),
                cell("restore").restore(),
                cell("backup").backup(),
                cell("prune").prune(),
                cell("repair").repair(),
                cell("backup after repair").backup_then(),
            )
            .unwrap();
        }
    }
}

#[test]
fn every_kind_of_damage_does_what_the_manual_says() {
    let mut table = String::new();
    add(&mut table, &Fixture::new(0));
    add(&mut table, &Fixture::new(100));
    let documented: Vec<&str> = TABLE.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let found: Vec<&str> = table.lines().collect();
    assert!(documented == found, "docs/damage.md should say:\n{table}");
}
