//! Backups of streams into a repository in memory, and back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use strongroom_chunker::ChunkerParams;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_keys::Secret;
use strongroom_keys::random::{Random, SeededRandom};
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::backup::{BackupOptions, BackupReport};
use strongroom_repository::clock::FixedClock;
use strongroom_repository::monitor::Silent;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{OpenOptions, Repository, RepositoryError, init};
use strongroom_store::{MemoryStore, Store};

fn key() -> Secret {
    Secret::new([0x42; 32])
}

fn open(store: &Arc<dyn Store>, seed: &[u8]) -> Repository {
    let options = OpenOptions {
        credentials: vec![Credential::KeyFile(key())],
        cache_folder: None,
        fingerprint: None,
        random: Arc::new(SeededRandom::new(seed)) as Arc<dyn Random>,
        clock: Arc::new(FixedClock::default()),
    };
    Repository::open(Arc::clone(store), options).unwrap()
}

fn options() -> BackupOptions {
    BackupOptions {
        source: "db".into(),
        engine: "stdin".into(),
        host: "db1".into(),
        user: "postgres".into(),
        tool: "test".into(),
        arguments: vec![],
        tags: vec![],
        force: false,
        compression_level: 3,
        workers: 2,
    }
}

fn backup(repository: &mut Repository, streams: &[(&str, &[u8])]) -> BackupReport {
    repository
        .backup::<RepositoryError>(&options(), &Silent, |sink| {
            for (name, data) in streams {
                let mut lane = sink.stream_lane(ChunkerParams::default())?;
                let bytes = lane.content(name, &mut &data[..])?;
                sink.cut(name.as_bytes().to_vec(), ChunkerParams::default(), bytes);
                lane.end(TreeEntry {
                    path: EntryPath::new(*name).unwrap(),
                    kind: EntryKind::Stream(Content::Inline(vec![])),
                    metadata: None,
                    link_to: None,
                })?;
                lane.finish()?;
            }
            Ok(())
        })
        .unwrap()
}

fn restore(repository: &mut Repository, number: usize) -> Vec<(String, Vec<u8>)> {
    repository.load_index().unwrap();
    let reader = Reader::new(repository);
    let mut cursor = EntryCursor::new(&reader, &repository.snapshots()[number].manifest.tree).unwrap();
    let mut out = Vec::new();
    while let Some(entry) = cursor.next_entry().unwrap() {
        let mut bytes = Vec::new();
        write_in_order(&reader, entry.content().unwrap(), &mut bytes, &Silent, 2).unwrap();
        out.push((entry.path.to_string(), bytes));
    }
    out
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn days_are_incremental_and_each_restores() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    init(&store, &[WrapTo::KeyFile { key: key() }], "db1", &SeededRandom::new(b"init")).unwrap();
    let day1 = noise(1, 20 << 20);
    let mut day2 = day1.clone();
    day2.splice(5 << 20..5 << 20, noise(2, 1000));
    let small = b"hello".to_vec();

    let mut repository = open(&store, b"a");
    let first = backup(&mut repository, &[("dump.sql", &day1), ("roles.sql", &small), ("empty", b"")]);
    assert_eq!(
        (first.totals.entries, first.totals.bytes, first.totals.new_bytes),
        (3, (20 << 20) + 5, (20 << 20) + 5)
    );
    let again = backup(&mut repository, &[("dump.sql", &day1), ("roles.sql", &small), ("empty", b"")]);
    assert_eq!(
        (again.totals.new_bytes, again.totals.stored_bytes),
        (0, 0),
        "nothing changed, nothing stored"
    );
    let mut repository = open(&store, b"b");
    let second = backup(&mut repository, &[("dump.sql", &day2), ("roles.sql", &small)]);
    assert!(second.totals.new_bytes < 600 << 10, "{:?}", second.totals);
    assert_eq!(second.parent, Some(again.id));

    let mut repository = open(&store, b"c");
    assert_eq!(
        restore(&mut repository, 0),
        [("dump.sql".into(), day1), ("empty".into(), vec![]), ("roles.sql".into(), small.clone())]
    );
    assert_eq!(restore(&mut repository, 2), [("dump.sql".into(), day2), ("roles.sql".into(), small)]);
    assert_eq!(repository.snapshots()[2].manifest.generation, 2);
}
