//! A restore test of what has no server to restore into: files, streams, the output of commands. Everything is read as a restore reads
//! it, each chunk compared with its hash, and counted as the backup counted it; nothing is written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use strongroom_format::path::EntryPath;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::{ContentTarget, restore_contents};
use strongroom_repository::share::Share;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::EntryCursor;

use crate::verdict::Verdict;

/// Differences that are named; more are only counted.
const NAMED: usize = 20;

/// Reads all of a snapshot, or a worker's share of its contents; its tree is always read.
///
/// # Errors
/// `Interrupted`; `Store` and `DataKey` when nothing can be read any more.
pub fn verify(
    reader: &Reader<'_>,
    snapshot: &Snapshot,
    share: Option<Share>,
    monitor: &dyn Monitor,
    workers: usize,
) -> Result<Verdict, RepositoryError> {
    let began = Instant::now();
    let read = Reading::default();
    let (mut entries, mut files, mut bytes) = (0, 0, 0);
    restore_contents(reader, &read, monitor, workers, |queue| {
        let mut cursor = EntryCursor::new(reader, &snapshot.manifest.tree)?;
        while let Some(entry) = cursor.next_entry()? {
            if queue.is_stopped() {
                return Err(RepositoryError::Interrupted);
            }
            entries += 1;
            if let Some(content) = entry.content() {
                files += 1;
                bytes += content.bytes();
                if share.is_none_or(|share| share.has(entry.path.as_bytes())) {
                    queue.file(entry.path.clone(), content);
                }
            }
        }
        Ok::<_, RepositoryError>(())
    })?;
    if monitor.is_cancelled() {
        return Err(RepositoryError::Interrupted);
    }
    let mut differences = read.damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
    let more = read.more.into_inner();
    if more > 0 {
        differences.push(format!("and {more} more parts cannot be read"));
    }
    let totals = &snapshot.manifest.totals;
    for (what, now, then) in [
        ("entries", entries, totals.entries),
        ("files and streams", files, totals.files),
        ("bytes", bytes, totals.bytes),
    ] {
        if now != then {
            differences.push(format!("{now} {what}, and {then} were backed up"));
        }
    }
    Ok(Verdict {
        name: snapshot.manifest.source.clone(),
        bytes,
        counts: vec![("entries", entries), ("files", files)],
        seconds: began.elapsed().as_secs_f64(),
        differences,
    })
}

/// Takes contents and keeps nothing of them.
#[derive(Default)]
struct Reading {
    damaged: Mutex<Vec<String>>,
    more: AtomicU64,
}

impl ContentTarget for Reading {
    type File = EntryPath;

    fn read_there(&self, _: &EntryPath, _: u64, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }

    fn hole(&self, _: &EntryPath, _: u64, _: u64) -> bool {
        true
    }

    fn write_at(&self, _: &EntryPath, _: u64, _: &[u8]) -> bool {
        true
    }

    fn damaged(&self, file: &EntryPath, offset: u64, length: u64, error: &RepositoryError) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() < NAMED {
            damaged.push(format!("{file}: {length} bytes from byte {offset} on cannot be read: {error}"));
        } else {
            self.more.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn finish(&self, _: EntryPath) {}
}
