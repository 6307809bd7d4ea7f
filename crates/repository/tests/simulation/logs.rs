//! Log archives.

use std::io::Cursor;
use std::sync::Arc;

use strongroom_format::entry::{ExpireBody, SegmentRange};
use strongroom_repository::wal::WalWriter;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::Store;

use super::support::logs::{SYSTEM, segment, try_fetch};
use super::support::*;
use super::world::World;

/// Segments that hosts push.
const LOG_SEGMENTS: u64 = 6;

/// Several segments by one writer; other hosts push some of them too.
pub(crate) fn push_log(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
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

pub(crate) fn expire_log(world: &World, which: usize, store: &Arc<dyn Store>) -> Result<(), RepositoryError> {
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
pub(crate) fn verify_log(world: &World, which: usize, repository: &Repository) {
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
