//! Every command that changes a repository, dead after each of its writes: nothing that could be restored is lost, and the
//! command run again ends as if it had never died. For backups see `crash.rs`, for copies `copy.rs`, for added writers
//! `write_only.rs`, for retired keys `retire_key.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strongroom_format::SnapshotId;
use strongroom_keys::Secret;
use strongroom_repository::administration::{Grant, StorageRules};
use strongroom_repository::check::CheckOptions;
use strongroom_repository::monitor::Silent;
use strongroom_repository::prune::{MaxUnused, PruneOptions};
use strongroom_repository::repair::packs::PacksOptions;
use strongroom_repository::retention::{Keep, Rules};
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{Fault, FaultStore, MemoryStore, Store, When};
use support::*;

type Result<T = ()> = std::result::Result<T, RepositoryError>;

/// Three days of a table, and of something that never changes.
fn of_day(number: u64) -> Files {
    let mut files = day(number);
    files.insert("same".into(), noise(7, 300_000));
    files.insert("own".into(), noise(100 + number, 200_000));
    files
}

const DAYS: u64 = 3;

fn three_days() -> MemoryStore {
    let (memory, store) = memory();
    new_repository(&store);
    for number in 0..DAYS {
        backup(&mut open(&store), "db", &of_day(number));
    }
    (*memory).clone()
}

/// Of a snapshot: what of it restores, as it was backed up; its tags; its holds.
type SeenSnapshot = (BTreeSet<String>, Vec<String>, Vec<String>);

/// What anybody can see of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    snapshots: BTreeMap<SnapshotId, SeenSnapshot>,
    policy: u64,
    metadata_keys: usize,
    attested: usize,
    checkpoints: usize,
    packs: usize,
    notes: u64,
    /// The kinds of damage that a check finds.
    damage: Vec<String>,
}

fn seen(case: &str, store: &Arc<dyn Store>) -> Seen {
    let mut repository = open(store);
    repository.load_index().unwrap();
    let mut snapshots = BTreeMap::new();
    for snapshot in repository.snapshots() {
        let (restored, _) = try_restore(&repository, snapshot.id());
        let mut paths = BTreeSet::new();
        for (path, bytes) in restored {
            let Ok(bytes) = bytes else { continue };
            let is_some_days = (0..DAYS).any(|number| of_day(number).get(&path) == Some(&bytes));
            assert!(is_some_days, "{case}: {path} is restored wrong");
            paths.insert(path);
        }
        let holds = snapshot.state.holds.iter().map(|hold| hold.name.clone()).collect();
        snapshots.insert(snapshot.id(), (paths, snapshot.state.tags.clone(), holds));
    }
    let report = check(&repository);
    let mut damage: Vec<_> = damage(&report).iter().map(|finding| format!("{:?}", finding.kind)).collect();
    damage.sort();
    let state = repository.state();
    Seen {
        snapshots,
        policy: state.policy.sequence,
        metadata_keys: state.metadata_keys.len(),
        attested: state.attested.len(),
        checkpoints: names(&**store, "checkpoints/").len(),
        packs: state.packs.len(),
        notes: if case.starts_with("note") { state.number } else { 0 },
        damage,
    }
}

/// A command, what it is run on, and whether it forgets snapshots.
struct Command {
    name: &'static str,
    prepare: fn(&Arc<dyn Store>, &MemoryStore),
    run: fn(&mut Repository) -> Result,
    forgets: bool,
}

fn first(repository: &Repository) -> SnapshotId {
    repository.snapshots()[0].id()
}

fn keep_last(last: u32) -> Rules {
    Rules { keep: Keep { last, ..Keep::default() }, ..Rules::default() }
}

fn prune_all() -> PruneOptions {
    PruneOptions {
        grace: Duration::ZERO,
        orphan_age: Duration::ZERO,
        max_unused: MaxUnused::Percent(0),
        ..PruneOptions::default()
    }
}

fn flip(memory: &MemoryStore, folder: &str) {
    let name = names(memory, folder).into_iter().max_by_key(|name| read(memory, name).len()).unwrap();
    let mut bytes = read(memory, &name);
    let third = bytes.len() / 3;
    bytes[third] ^= 1;
    memory.overwrite(&name, &bytes);
}

fn repair_packs(repository: &mut Repository) -> Result {
    let options = PacksOptions { readers: 1, ..PacksOptions::default() };
    repository.repair_packs(&options, &Silent).map(drop)
}

const COMMANDS: [Command; 16] = [
    Command {
        name: "forget",
        prepare: |_, _| (),
        run: |r| r.forget(&[first(r)], "").map(drop),
        forgets: true,
    },
    Command {
        name: "forget by a policy",
        prepare: |_, _| (),
        run: |r| r.forget_all_but(&keep_last(1), "").map(drop),
        forgets: true,
    },
    Command {
        name: "hold",
        prepare: |_, _| (),
        run: |r| r.hold(&[first(r)], "legal", "").map(drop),
        forgets: false,
    },
    Command {
        name: "release",
        prepare: |store, _| {
            let mut repository = open(store);
            let _held = repository.hold(&[first(&repository)], "legal", "").unwrap();
        },
        run: |r| r.release(&[first(r)], "legal", "").map(drop),
        forgets: false,
    },
    Command {
        name: "tag",
        prepare: |_, _| (),
        run: |r| r.tag(first(r), &["a".into()], &[]).map(drop),
        forgets: false,
    },
    Command {
        name: "note",
        prepare: |_, _| (),
        run: |r| r.note("test", None, "{}").map(drop),
        forgets: false,
    },
    Command {
        name: "attest",
        prepare: |_, _| (),
        run: |r| {
            let opened = r.check(&thorough(), &Silent)?.opened;
            r.attest(&opened).map(drop)
        },
        forgets: false,
    },
    Command { name: "checkpoint", prepare: |_, _| (), run: |r| r.write_checkpoint(), forgets: false },
    Command {
        name: "prune",
        prepare: |store, _| {
            let _judged = open(store).forget_all_but(&keep_last(1), "").unwrap();
        },
        run: |r| r.prune(&prune_all(), &Silent).map(drop),
        forgets: false,
    },
    Command {
        name: "repair index",
        prepare: |_, memory| flip(memory, "index/"),
        run: |r| r.repair_index(false, false, &Silent).map(drop),
        forgets: false,
    },
    Command {
        name: "repair index, all",
        prepare: |_, memory| flip(memory, "index/"),
        run: |r| r.repair_index(true, false, &Silent).map(drop),
        forgets: false,
    },
    Command {
        name: "repair packs",
        prepare: |_, memory| flip(memory, "packs/"),
        run: repair_packs,
        forgets: false,
    },
    Command {
        name: "repair snapshots",
        prepare: |_, memory| flip(memory, "packs/"),
        run: |r| {
            r.mark_damaged(&CheckOptions { read_data: true, ..CheckOptions::default() }, false, &Silent)
                .map(drop)
        },
        forgets: false,
    },
    Command { name: "key rotate", prepare: |_, _| (), run: |r| r.rotate().map(drop), forgets: false },
    Command {
        name: "key add-recipient",
        prepare: |_, _| (),
        run: |r| r.add_recipient(&to_x25519(&Secret::new([0x61; 32])), Grant::Admin, None),
        forgets: false,
    },
    Command {
        name: "policy set",
        prepare: |_, _| (),
        run: |r| r.set_storage_rules(StorageRules { parity: Some(10), ..StorageRules::default() }).map(drop),
        forgets: false,
    },
];

fn store_of(base: &MemoryStore) -> (Arc<FaultStore<MemoryStore>>, Arc<dyn Store>) {
    let faulty = Arc::new(FaultStore::new(base.clone(), []));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    (faulty, store)
}

fn try_at_every_write(command: &Command) {
    let (name, run) = (command.name, command.run);
    let memory = Arc::new(three_days());
    (command.prepare)(&(Arc::clone(&memory) as Arc<dyn Store>), &memory);
    let base = (*memory).clone();
    let before = seen(name, &store_of(&base).1);
    let (_, whole) = store_of(&base);
    run(&mut open(&whole)).unwrap();
    let after = seen(name, &whole);
    assert!(before != after, "{name} does nothing that can be seen");
    for when in [When::BeforeEffect, When::AfterEffect] {
        let mut tried = 0;
        for mutation in 1.. {
            let case = format!("{name}: {when:?} at mutation {mutation}");
            let (faulty, store) = store_of(&base);
            let mut repository = open(&store);
            faulty.add(Fault::Crash { mutation, when });
            let result = run(&mut repository);
            let is_crashed = faulty.is_crashed();
            drop(repository);
            faulty.clear();
            if !is_crashed {
                result.unwrap();
                break;
            }
            tried += 1;
            let now = seen(&case, &store);
            assert_nothing_lost(&case, &before, &now, command.forgets);
            // Its answer may have been lost and nothing else.
            if now != after {
                run(&mut open(&store)).unwrap_or_else(|error| panic!("{case}: again: {error:?}"));
            }
            let again = seen(&case, &store);
            assert!(is_same(&again, &after), "{case}: {again:#?}\n{after:#?}");
        }
        assert!(tried > 0, "{name}");
    }
}

fn assert_nothing_lost(case: &str, before: &Seen, now: &Seen, forgets: bool) {
    for (id, (paths, _, _)) in &before.snapshots {
        match now.snapshots.get(id) {
            Some((still, _, _)) => assert!(still.is_superset(paths), "{case}: {still:?} of {paths:?}"),
            None => assert!(forgets, "{case}: {id} is gone"),
        }
    }
}

/// But for how many times something was written that may be written twice.
fn is_same(again: &Seen, after: &Seen) -> bool {
    let at_least = again.policy >= after.policy
        && again.metadata_keys >= after.metadata_keys
        && again.checkpoints >= after.checkpoints
        && again.notes >= after.notes;
    at_least
        && Seen {
            policy: after.policy,
            metadata_keys: after.metadata_keys,
            checkpoints: after.checkpoints,
            notes: after.notes,
            ..again.clone()
        } == *after
}

#[test]
fn what_says_something_may_die_in_any_write() {
    COMMANDS[..8].iter().for_each(try_at_every_write);
}

#[test]
fn what_mends_and_takes_away_may_die_in_any_write() {
    COMMANDS[8..].iter().for_each(try_at_every_write);
}
