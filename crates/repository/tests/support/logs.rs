//! What the tests of log archives share.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::time::Duration;

use strongroom_format::entry::{ExpireBody, SegmentRange};
use strongroom_format::wal_file::{LogFile, Segment};
use strongroom_repository::prune::{PruneOptions, PruneReport};
use strongroom_repository::wal::{ArchivedFile, LogTimeline, Pushed, WalWriter};

use super::*;

pub const SYSTEM: u64 = 7_311_000_000_000_000_001;
pub const MIB: usize = 1 << 20;

pub fn file(name: &str) -> ArchivedFile {
    ArchivedFile { source: "postgres".into(), system: SYSTEM, file: name.parse().unwrap() }
}

pub fn segment(place: u64) -> ArchivedFile {
    ArchivedFile { file: LogFile::Segment(Segment { timeline: 1, place }), ..file("00000001.history") }
}

/// A segment of 1 MiB, half of it zeros as of a server that is idle.
pub fn bytes_of(place: u64) -> Vec<u8> {
    [noise(place, MIB / 2), vec![0; MIB / 2]].concat()
}

pub fn try_push(
    repository: &mut Repository,
    file: &ArchivedFile,
    bytes: &[u8],
) -> Result<Pushed, RepositoryError> {
    WalWriter::new(repository).push(file, &mut Cursor::new(bytes))
}

pub fn push(store: &Arc<dyn Store>, file: &ArchivedFile, bytes: &[u8]) -> Pushed {
    try_push(&mut open(store), file, bytes).unwrap()
}

pub fn try_fetch(repository: &Repository, file: &ArchivedFile) -> Result<Option<Vec<u8>>, RepositoryError> {
    let mut out = Vec::new();
    let length = repository.fetch_log_file(file, &mut out)?;
    assert!(length.is_none_or(|length| length == out.len() as u64));
    Ok(length.map(|_| out))
}

pub fn fetch(store: &Arc<dyn Store>, file: &ArchivedFile) -> Option<Vec<u8>> {
    try_fetch(&open(store), file).unwrap()
}

pub fn new() -> (Arc<MemoryStore>, Arc<dyn Store>) {
    let (memory, store) = memory();
    new_repository(&store);
    (memory, store)
}

pub fn with_segments(places: impl IntoIterator<Item = u64>) -> (Arc<MemoryStore>, Arc<dyn Store>) {
    let (memory, store) = new();
    let mut repository = open(&store);
    let mut writer = WalWriter::new(&mut repository);
    for place in places {
        let pushed = writer.push(&segment(place), &mut Cursor::new(bytes_of(place))).unwrap();
        assert_eq!(pushed, Pushed::Stored);
    }
    (memory, store)
}

pub fn objects(store: &Arc<dyn Store>) -> Vec<ObjectName> {
    names(&**store, "wal/")
}

pub fn at_once() -> PruneOptions {
    PruneOptions { grace: Duration::ZERO, orphan_age: Duration::ZERO, ..PruneOptions::default() }
}

pub fn prune(store: &Arc<dyn Store>, options: &PruneOptions) -> PruneReport {
    open(store).prune(options, &Silent).unwrap()
}

pub fn timelines(store: &Arc<dyn Store>) -> Vec<LogTimeline> {
    let found = open(store).log_archives(Some("postgres")).unwrap();
    found.archives.into_iter().flat_map(|archive| archive.timelines).collect()
}

pub fn flip(memory: &MemoryStore, name: &ObjectName, at: usize) {
    let mut bytes = read(memory, name);
    bytes[at] ^= 1;
    memory.overwrite(name, &bytes);
}

pub fn keys_of(store: &Arc<dyn Store>) -> BTreeSet<KeyId> {
    let of_name = |name: ObjectName| KeyId::from_hex(name.as_str().split('/').nth(1)?);
    names(&**store, "keys/").into_iter().filter_map(of_name).collect()
}

pub fn expire(store: &Arc<dyn Store>, ranges: &[(u64, u64)]) -> u64 {
    let ranges =
        ranges.iter().map(|(first, last)| SegmentRange { timeline: 1, first: *first, last: *last }).collect();
    let body = ExpireBody { source: "postgres".into(), system: SYSTEM, ranges, reason: "test".into() };
    open(store).expire_log(&body).unwrap()
}
