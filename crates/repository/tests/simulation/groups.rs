//! Workers of a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_repository::backup::BackupOptions;
use strongroom_repository::backup::group::{CommitOptions, GroupError, PartOf};
use strongroom_repository::monitor::Silent;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::Store;

use super::commands::tag;
use super::support::*;
use super::world::World;

/// Parts of a group.
const PARTS: u64 = 2;
/// Groups that were committed, in all seeds.
pub(crate) static COMMITTED: AtomicU64 = AtomicU64::new(0);

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
pub(crate) fn work(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
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
