//! Several hosts on a store that fails, dies and is late, against a model in memory: whatever happens, every snapshot that
//! was said to be there restores, and none comes back that was said to be gone; and every segment of a log that was said to be
//! stored comes back unless somebody expired it.
//!
//! Each seed is a sequence of commands by hosts. A host may die at any of its writes, lose the answer of one, or have one
//! land long after it gave up; and at any of its writes other hosts may run whole commands. `STRONGROOM_SEEDS` says how
//! many seeds there are, `STRONGROOM_SEED` which is the first (`cargo xtask simulate`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_format::SnapshotId;
use strongroom_format::entry::{ExpireBody, SegmentRange};
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::backup::group::{CommitOptions, GroupError, PartOf};
use strongroom_repository::copy::CopyOptions;
use strongroom_repository::monitor::Silent;
use strongroom_repository::prune::{MaxUnused, PruneOptions};
use strongroom_repository::repair::packs::PacksOptions;
use strongroom_repository::wal::WalWriter;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{MemoryStore, ObjectInfo, ObjectName, Operation, PutOutcome, Store, StoreError};
use support::logs::{SYSTEM, segment, try_fetch};
use support::*;

const HOUR_MS: u64 = 60 * 60 * 1000;
const SEEDS: u64 = 500;
/// Segments that hosts push.
const LOG_SEGMENTS: u64 = 6;
/// Parts of a group.
const PARTS: u64 = 2;
/// Groups that were committed, in all seeds.
static COMMITTED: AtomicU64 = AtomicU64::new(0);

/// Numbers that only the seed decides.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

/// So many writes later, in which store, under which name, which bytes.
type Late = (u64, usize, ObjectName, Vec<u8>);

/// What is going on in one seed.
struct World {
    dice: Mutex<Dice>,
    stores: [Arc<MemoryStore>; 2],
    model: Mutex<Model>,
    /// Puts that were given up and land later, after so many more writes of anybody.
    late: Mutex<Vec<Late>>,
    /// What happened, for whoever reads a failure.
    log: Mutex<Vec<String>>,
}

/// What must be there: by the number of the backup that made it.
#[derive(Default)]
struct Model {
    contents: BTreeMap<u64, Files>,
    /// Of each repository, those that were said to be there.
    there: [BTreeSet<u64>; 2],
    /// Those of which nobody knows.
    perhaps: [BTreeSet<u64>; 2],
    /// Those that somebody forgot.
    forgotten: [BTreeSet<u64>; 2],
    /// The group that workers work for, by the number of the backup that it is.
    groups: [Option<u64>; 2],
    next: u64,
    logs: [Log; 2],
}

/// Of a log archive, by the place of a segment.
#[derive(Default)]
struct Log {
    /// Segments that were said to be stored.
    there: BTreeSet<u64>,
    /// Those that somebody began to expire.
    expired: BTreeSet<u64>,
}

/// A host's way to a store: it fails by the dice.
struct HostStore {
    world: Arc<World>,
    which: usize,
    /// Commands that this one runs inside.
    depth: u32,
    has_faults: bool,
    is_dead: AtomicBool,
    /// Whether anything failed, or somebody came in between.
    is_disturbed: AtomicBool,
    has_failed_to_read: AtomicBool,
}

impl World {
    fn say(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    fn roll(&self, bound: u64) -> u64 {
        self.dice.lock().unwrap().below(bound)
    }

    fn one_in(&self, chance: u64) -> bool {
        self.dice.lock().unwrap().one_in(chance)
    }

    /// Lets what was given up long ago land.
    fn land(&self) {
        let mut late = self.late.lock().unwrap();
        for one in late.iter_mut() {
            one.0 = one.0.saturating_sub(1);
        }
        let (landing, waiting) = late.drain(..).partition(|(left, ..)| *left == 0);
        *late = waiting;
        drop(late);
        let landing: Vec<Late> = landing;
        for (_, which, name, bytes) in landing {
            self.say(format!("  {name} lands late"));
            let _ = self.stores[which].put_if_absent(&name, &bytes).unwrap();
        }
    }
}

fn failed(operation: Operation, object: &str) -> StoreError {
    StoreError::Io {
        operation,
        object: object.to_owned(),
        location: "a simulated store".into(),
        source: io::Error::other("the dice said so"),
    }
}

/// What becomes of a write.
enum Fate {
    Done,
    /// It fails, and has no effect; or one later.
    Before {
        lands_late: bool,
    },
    /// It is done, and the answer is lost.
    After,
}

impl HostStore {
    fn base(&self) -> &MemoryStore {
        &self.world.stores[self.which]
    }

    fn alive(&self, operation: Operation, object: &str) -> Result<(), StoreError> {
        if self.is_dead.load(Ordering::Relaxed) { Err(failed(operation, object)) } else { Ok(()) }
    }

    fn disturb(&self) {
        self.is_disturbed.store(true, Ordering::Relaxed);
    }

    fn fate(&self, operation: Operation, object: &str) -> Fate {
        self.world.land();
        if self.depth < 2 && self.world.one_in([4, 12][self.depth as usize]) {
            self.disturb();
            step(&self.world, self.depth + 1);
        }
        if !self.has_faults || !self.world.one_in(20) {
            return Fate::Done;
        }
        self.disturb();
        let dies = self.world.one_in(2);
        self.is_dead.fetch_or(dies, Ordering::Relaxed);
        let fate = match self.world.roll(4) {
            0 => Fate::After,
            1 => Fate::Before { lands_late: operation == Operation::Put },
            _ => Fate::Before { lands_late: false },
        };
        let how = match fate {
            Fate::After => "is done, and its answer lost",
            Fate::Before { lands_late: true } => "fails, and lands later",
            _ => "fails",
        };
        self.world
            .say(format!("  {operation:?} {object} {how}{}", if dies { "; the host dies" } else { "" }));
        fate
    }

    fn read(&self, operation: Operation, object: &str) -> Result<(), StoreError> {
        self.alive(operation, object)?;
        if self.has_faults && self.world.one_in(400) {
            self.disturb();
            self.has_failed_to_read.store(true, Ordering::Relaxed);
            self.world.say(format!("  {operation:?} {object} fails"));
            return Err(failed(operation, object));
        }
        Ok(())
    }
}

impl Store for HostStore {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        self.alive(Operation::Put, name.as_str())?;
        match self.fate(Operation::Put, name.as_str()) {
            Fate::Done => self.base().put_if_absent(name, bytes),
            Fate::After => {
                let _ = self.base().put_if_absent(name, bytes)?;
                Err(failed(Operation::Put, name.as_str()))
            }
            Fate::Before { lands_late } => {
                if lands_late {
                    let after = self.world.roll(60);
                    let late = (after, self.which, name.clone(), bytes.to_vec());
                    self.world.late.lock().unwrap().push(late);
                }
                Err(failed(Operation::Put, name.as_str()))
            }
        }
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.read(Operation::Get, name.as_str())?;
        self.base().get(name, max_length_bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.read(Operation::GetRange, name.as_str())?;
        self.base().get_range(name, offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.read(Operation::Stat, name.as_str())?;
        self.base().stat(name)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.read(Operation::List, prefix)?;
        self.base().list(prefix, visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.alive(Operation::Delete, name.as_str())?;
        match self.fate(Operation::Delete, name.as_str()) {
            Fate::Done => self.base().delete(name),
            Fate::After => {
                self.base().delete(name)?;
                Err(failed(Operation::Delete, name.as_str()))
            }
            Fate::Before { .. } => Err(failed(Operation::Delete, name.as_str())),
        }
    }

    fn location(&self) -> String {
        "a simulated store".into()
    }
}

/// The tag by which the model knows a snapshot.
fn tag(number: u64) -> String {
    format!("backup-{number}")
}

fn number_of(tags: &[String]) -> u64 {
    tags.iter().find_map(|tag| tag.strip_prefix("backup-")).unwrap().parse().unwrap()
}

/// Files of a few blocks that many have, some of them with a change: there is something to deduplicate, to store as what
/// differs, and to leave unneeded.
fn contents(dice: &mut Dice) -> Files {
    let mut files = Files::new();
    for name in ["a", "b", "c"] {
        let mut bytes = Vec::new();
        for _ in 0..1 + dice.below(3) {
            bytes.extend_from_slice(&noise(dice.below(5), 45_000));
        }
        if dice.one_in(2) {
            let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1;
        }
        files.insert(name.to_owned(), bytes);
        if dice.one_in(2) {
            break;
        }
    }
    files
}

/// One command of some host.
fn step(world: &Arc<World>, depth: u32) {
    let which = usize::try_from(world.roll(8) / 7).unwrap();
    let host = Arc::new(HostStore {
        world: Arc::clone(world),
        which,
        depth,
        has_faults: world.one_in(2),
        is_dead: AtomicBool::new(false),
        is_disturbed: AtomicBool::new(false),
        has_failed_to_read: AtomicBool::new(false),
    });
    let store: Arc<dyn Store> = Arc::clone(&host) as Arc<dyn Store>;
    let command = world.roll(24);
    let done = match command {
        0..=5 => back_up(world, which, &store),
        6..=9 => forget(world, which, &store),
        10..=12 => prune(world, &store),
        13 => copy(world, which, &store),
        14 => repair(world, &store),
        15..=17 => push_log(world, which, &store),
        18 => expire_log(world, which, &store),
        19..=22 => work(world, which, &store),
        _ => {
            for store in &world.stores {
                store.advance_ms(world.roll(48) * HOUR_MS);
            }
            Ok(())
        }
    };
    let Err(error) = done else { return };
    world.say(format!("  failed: {error}"));
    let is_disturbed = host.is_disturbed.load(Ordering::Relaxed);
    // What a store does not let read once may be damaged.
    let has_failed_to_read = host.has_failed_to_read.load(Ordering::Relaxed);
    assert!(is_disturbed || depth > 0, "a command failed that nothing disturbed: {error:?}");
    // It never takes what others do meanwhile for damage.
    assert!(
        has_failed_to_read
            || !matches!(error, RepositoryError::Damaged { .. } | RepositoryError::NotPrunable { .. }),
        "damage where there is none: {error:?}"
    );
}

fn back_up(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
    let files = contents(&mut world.dice.lock().unwrap());
    let number = {
        let mut model = world.model.lock().unwrap();
        model.next += 1;
        let number = model.next;
        model.contents.insert(number, files.clone());
        model.perhaps[which].insert(number);
        number
    };
    let source = ["db", "ledger"][usize::try_from(world.roll(2)).unwrap()];
    world.say(format!("backup {number} of {source} in {which}"));
    let options = BackupOptions { tags: vec![tag(number)], workers: 1, uploads: 1, ..options(source) };
    let _ = backup_with(&mut try_open(store)?, &options, &files, &Silent)?;
    let mut model = world.model.lock().unwrap();
    model.perhaps[which].remove(&number);
    model.there[which].insert(number);
    Ok(())
}

/// What a worker of a group has: a file of its own, and one that all have.
fn part_of(number: u64, part: u64) -> Files {
    let own = noise(number % 5, 45_000 + 9000 * usize::try_from(part).unwrap());
    Files::from([(format!("part-{part}"), own), ("z".to_owned(), noise(number % 3, 20_000))])
}

/// The group that is under way, or another one.
fn group_of(world: &World, which: usize) -> u64 {
    let begins = world.one_in(6);
    let mut model = world.model.lock().unwrap();
    if let Some(number) = model.groups[which].filter(|_| !begins) {
        return number;
    }
    model.next += 1;
    let number = model.next;
    model.contents.insert(number, (1..=PARTS).flat_map(|part| part_of(number, part)).collect());
    model.groups[which] = Some(number);
    number
}

/// A worker stores its part, and commits the group when it likes. Its part may be stored already, and the group committed.
fn work(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
    let number = group_of(world, which);
    let part = 1 + world.roll(PARTS);
    world.say(format!("part {part} of {number} in {which}"));
    let of = PartOf {
        group: format!("g{number}"),
        number: u32::try_from(part).unwrap(),
        count: u32::try_from(PARTS).unwrap(),
    };
    let source = ["db", "ledger"][usize::from(number.is_multiple_of(2))];
    let options = BackupOptions { tags: vec![tag(number)], workers: 1, uploads: 1, ..options(source) };
    let mut repository = try_open(store)?;
    let worked =
        repository.backup_part(&options, &of, &Silent, |sink| write_files(sink, &part_of(number, part)));
    match worked {
        Ok(worked) => world.say(format!("  {worked:?}")),
        Err(error) => return of_workers(world, which, error),
    }
    if world.one_in(2) { Ok(()) } else { commit(world, which, number, &mut repository) }
}

fn commit(
    world: &World,
    which: usize,
    number: u64,
    repository: &mut Repository,
) -> Result<(), RepositoryError> {
    world.say(format!("commit {number} in {which}"));
    {
        let mut model = world.model.lock().unwrap();
        // What was forgotten is not made again.
        if !model.there[which].contains(&number) && !model.forgotten[which].contains(&number) {
            model.perhaps[which].insert(number);
        }
    }
    let options = CommitOptions { compression_level: 3, workers: 1, uploads: 1 };
    let committed = repository.group(&format!("g{number}"), None).and_then(|group| {
        repository.commit_group(&group, &options, &Silent, |entries, _| {
            while entries.next_entry()?.is_some() {}
            Ok::<_, RepositoryError>(Vec::new())
        })
    });
    match committed {
        Ok(committed) => {
            world.say(format!("  {committed:?}"));
            let mut model = world.model.lock().unwrap();
            // Whoever committed it before is told of it there, and others may have forgotten it since.
            if !committed.was_committed {
                COMMITTED.fetch_add(1, Ordering::Relaxed);
                model.perhaps[which].remove(&number);
                model.there[which].insert(number);
            }
            Ok(())
        }
        Err(error) => of_workers(world, which, error),
    }
}

/// What workers of a group may meet: others that are not done; or that pruned, forgot, or backed up the same source meanwhile, and
/// then they work for another group.
fn of_workers(world: &World, which: usize, error: RepositoryError) -> Result<(), RepositoryError> {
    use RepositoryError::{Group, KeyRetired, PackRetired, ParentForgotten};
    let goes_on = match &error {
        Group { reason: GroupError::NoParts | GroupError::Incomplete { .. }, .. } => true,
        Group { reason: GroupError::Pruned { .. } | GroupError::Forgotten, .. }
        | Group { reason: GroupError::Disagreement { what: "parent snapshot", .. }, .. }
        | PackRetired { .. }
        | KeyRetired { .. }
        | ParentForgotten { .. } => false,
        _ => return Err(error),
    };
    world.say(format!("  {error}"));
    if !goes_on {
        world.model.lock().unwrap().groups[which] = None;
    }
    Ok(())
}

fn forget(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
    let mut repository = try_open(store)?;
    let known: Vec<(SnapshotId, u64)> =
        repository.snapshots().iter().map(|one| (one.id(), number_of(&one.state.tags))).collect();
    if known.is_empty() {
        return Ok(());
    }
    let (id, number) = known[usize::try_from(world.roll(known.len() as u64)).unwrap()];
    world.say(format!("forget {number} in {which}"));
    world.model.lock().unwrap().doubt(which, number);
    match repository.forget(&[id], "simulated") {
        // By somebody else.
        Ok(_) | Err(RepositoryError::NoSuchSnapshot { .. }) => {}
        Err(error) => return Err(error),
    }
    world.model.lock().unwrap().gone(which, number);
    Ok(())
}

fn prune(world: &World, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
    let options = PruneOptions {
        grace: Duration::from_secs(world.roll(2) * 24 * 60 * 60),
        orphan_age: Duration::from_secs(world.roll(2) * 7 * 24 * 60 * 60),
        max_unused: [MaxUnused::Bytes(0), MaxUnused::Percent(30)][usize::try_from(world.roll(2)).unwrap()],
        workers: 1,
        uploads: 1,
        ..PruneOptions::default()
    };
    world.say(format!("prune {options:?}"));
    match try_open(store)?.prune(&options, &Silent) {
        Ok(report) => {
            world.say(format!("  pruned {report:?}"));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Several segments by one writer; other hosts push some of them too.
fn push_log(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
    let mut repository = try_open(store)?;
    let mut writer = WalWriter::new(&mut repository);
    let first = world.roll(LOG_SEGMENTS);
    for place in first..first + 1 + world.roll(3) {
        world.say(format!("push {place} to {which}"));
        match writer.push(&segment(place), &mut Cursor::new(log_bytes(place))) {
            Ok(pushed) => world.say(format!("  {pushed:?}")),
            Err(RepositoryError::LogFileExpired { .. }) => {
                let model = world.model.lock().unwrap();
                assert!(model.logs[which].expired.contains(&place), "{place} was never expired");
                continue;
            }
            Err(error) => return Err(error),
        }
        world.model.lock().unwrap().logs[which].there.insert(place);
    }
    Ok(())
}

fn expire_log(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
    let first = world.roll(LOG_SEGMENTS);
    let last = first + world.roll(2);
    world.say(format!("expire {first} to {last} in {which}"));
    world.model.lock().unwrap().logs[which].expired.extend(first..=last);
    let ranges = vec![SegmentRange { timeline: 1, first, last }];
    let body = ExpireBody { source: "postgres".into(), system: SYSTEM, ranges, reason: "simulated".into() };
    let _ = try_open(store)?.expire_log(&body)?;
    Ok(())
}

/// Whether it was pushed and nobody began to expire it: then it comes back.
fn verify_log(world: &World, which: usize, repository: &Repository) {
    let model = world.model.lock().unwrap();
    let log = &model.logs[which];
    for place in 0..LOG_SEGMENTS + 4 {
        let fetched = try_fetch(repository, &segment(place));
        match &fetched {
            Ok(Some(bytes)) => assert!(*bytes == log_bytes(place), "segment {place} is not what it was"),
            Ok(None) | Err(_) => {
                let is_lost = log.there.contains(&place) && !log.expired.contains(&place);
                assert!(!is_lost, "segment {place} is lost: {fetched:?}");
            }
        }
    }
}

/// Small: it is what becomes of objects that is asked for.
fn log_bytes(place: u64) -> Vec<u8> {
    noise(1000 + place, 5000)
}

/// Out of the other repository.
fn copy(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
    let other: Arc<dyn Store> = Arc::clone(&world.stores[1 - which]) as Arc<dyn Store>;
    let mut from = open(&other);
    from.load_index()?;
    let mut into = try_open(store)?;
    let wanted = from.snapshots().to_vec();
    let Some(snapshot) = wanted.get(usize::try_from(world.roll(wanted.len().max(1) as u64)).unwrap()) else {
        return Ok(());
    };
    if into.copy_of(&from.origin_of(snapshot)?).is_some() {
        return Ok(());
    }
    let number = number_of(&snapshot.state.tags);
    world.say(format!("copy {number} to {which}"));
    world.model.lock().unwrap().doubt(which, number);
    let options = CopyOptions {
        tool: "test".into(),
        compression_level: 3,
        workers: 1,
        uploads: 1,
        tags: None,
        leave_out_damaged: false,
    };
    match into.copy_from(&from, snapshot, &options, &Silent) {
        Ok(_) | Err(RepositoryError::AlreadyCopied { .. }) => {}
        // What is forgotten and pruned there while it is copied cannot be.
        Err(RepositoryError::ChunkUnavailable { .. }) if !is_there(&other, number) => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut model = world.model.lock().unwrap();
    model.perhaps[which].remove(&number);
    model.there[which].insert(number);
    Ok(())
}

fn is_there(store: &Arc<dyn Store>, number: u64) -> bool {
    open(store).snapshots().iter().any(|one| number_of(&one.state.tags) == number)
}

/// Where nothing is damaged there is nothing to repair.
fn repair(world: &World, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
    world.say("repair");
    let mut repository = try_open(store)?;
    let _ = repository.repair_index(world.one_in(2), false, &Silent)?;
    let report = repository.repair_packs(&PacksOptions { readers: 1, ..PacksOptions::default() }, &Silent)?;
    assert!(report.damaged.is_empty() && report.retired == 0, "{report:?}");
    Ok(())
}

impl Model {
    /// Nobody knows any more whether it is there.
    fn doubt(&mut self, which: usize, number: u64) {
        self.there[which].remove(&number);
        self.perhaps[which].insert(number);
    }

    fn gone(&mut self, which: usize, number: u64) {
        self.forgotten[which].insert(number);
        self.there[which].remove(&number);
        self.perhaps[which].remove(&number);
    }
}

/// Everything that was said to be there restores, and nothing is there that nobody knows of.
fn verify(world: &World) {
    for (which, store) in world.stores.iter().enumerate() {
        let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
        let mut repository = open(&store);
        let snapshots: Vec<_> =
            repository.snapshots().iter().map(|one| (one.id(), number_of(&one.state.tags))).collect();
        verify_log(world, which, &repository);
        let model = world.model.lock().unwrap();
        let found: BTreeSet<u64> = snapshots.iter().map(|(_, number)| *number).collect();
        assert!(found.is_superset(&model.there[which]), "lost: {:?} of {found:?}", model.there[which]);
        let known: BTreeSet<u64> = model.there[which].union(&model.perhaps[which]).copied().collect();
        assert!(found.is_subset(&known), "back again: {found:?}, known {known:?}");
        for (id, number) in snapshots {
            assert!(restore(&mut repository, id) == model.contents[&number], "{number} is not what it was");
        }
    }
}

/// Says what happened in a seed that fails.
struct Told(u64, Arc<World>);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var("STRONGROOM_TELL").is_ok() {
            let log = self.1.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).join("\n");
            eprintln!("seed {0}; again with STRONGROOM_SEED={0} STRONGROOM_SEEDS=1\n{log}", self.0);
        }
    }
}

fn run(seed: u64) {
    let world = Arc::new(World {
        dice: Mutex::new(Dice(seed)),
        stores: [Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new())],
        model: Mutex::default(),
        late: Mutex::default(),
        log: Mutex::default(),
    });
    let _told = Told(seed, Arc::clone(&world));
    for store in &world.stores {
        let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
        new_repository(&store);
    }
    for number in 0..12 {
        step(&world, 0);
        if number % 4 == 3 {
            verify(&world);
        }
    }
    for store in &world.stores {
        let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
        // With no age at all leftovers are taken for what they are not: index objects that are gone lose nothing.
        let _ = open(&store).repair_index(false, false, &Silent).unwrap();
        let report = check(&open(&store));
        assert!(damage(&report).is_empty(), "{:#?}", report.findings);
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[test]
fn whatever_happens_nothing_is_lost() {
    let (first, seeds) = (number("STRONGROOM_SEED", 0), number("STRONGROOM_SEEDS", SEEDS));
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    run(seed);
                }
            });
        }
    });
    // A seed alone may have none.
    let committed = COMMITTED.load(Ordering::Relaxed);
    assert!(seeds < 100 || committed > seeds / 20, "{committed} groups were committed in {seeds} seeds");
}
