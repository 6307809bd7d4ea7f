//! What hosts do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom_format::SnapshotId;
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::copy::CopyOptions;
use strongroom_repository::monitor::Silent;
use strongroom_repository::prune::{MaxUnused, PruneOptions};
use strongroom_repository::repair::packs::PacksOptions;
use strongroom_store::Store;

use super::dice::Dice;
use super::groups::work;
use super::host::HostStore;
use super::logs::{expire_log, push_log};
use super::support::*;
use super::world::World;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// One command of some host.
pub(crate) fn step(world: &Arc<World>, depth: u32) {
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

/// The tag by which the model knows a snapshot.
pub(crate) fn tag(number: u64) -> String {
    format!("backup-{number}")
}

pub(crate) fn number_of(tags: &[String]) -> u64 {
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
