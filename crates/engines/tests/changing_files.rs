//! Files that change while they are read: read again, and named when they change again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use strongroom_engines::Engine;
use strongroom_engines::files::{Files, WalkOptions};
use strongroom_format::path::EntryPath;
use strongroom_keys::Secret;
use strongroom_keys::random::SeededRandom;
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::backup::{BackupOptions, BackupReport};
use strongroom_repository::clock::SystemClock;
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{InitOptions, OpenOptions, Repository, init};
use strongroom_store::{MemoryStore, Store};

const LENGTH: usize = 3 << 20;

/// Changes a file whenever a part of it has been read, so many times.
struct Meddler {
    path: PathBuf,
    times_left: AtomicU32,
    change: fn(&mut std::fs::File),
    warnings: Mutex<Vec<String>>,
}

impl Meddler {
    fn new(path: &std::path::Path, times: u32, change: fn(&mut std::fs::File)) -> Self {
        Self { path: path.to_owned(), times_left: AtomicU32::new(times), change, warnings: Mutex::default() }
    }
}

impl Monitor for Meddler {
    fn advance(&self, bytes: u64) {
        let left = self.times_left.load(Ordering::Relaxed);
        if bytes > 0 && left > 0 {
            self.times_left.store(left - 1, Ordering::Relaxed);
            let mut file = std::fs::OpenOptions::new().append(true).open(&self.path).unwrap();
            (self.change)(&mut file);
        }
    }

    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }
}

fn grow(file: &mut std::fs::File) {
    file.write_all(b"more").unwrap();
}

fn repository() -> Repository {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let key = Secret::new([7; 32]);
    init(
        &store,
        &[WrapTo::KeyFile { key: key.clone() }],
        InitOptions::of_host("host"),
        &SeededRandom::new(b"init"),
    )
    .unwrap();
    let random = Arc::new(SeededRandom::new(b"open"));
    let options = OpenOptions::new(vec![Credential::KeyFile(key)], random, Arc::new(SystemClock));
    Repository::open(store, options).unwrap()
}

fn backup(repository: &mut Repository, root: &std::path::Path, monitor: &dyn Monitor) -> BackupReport {
    let options = BackupOptions {
        source: "files".into(),
        engine: "files".into(),
        host: "host".into(),
        user: "user".into(),
        tool: "test".into(),
        arguments: Vec::new(),
        tags: Vec::new(),
        copied: None,
        force: false,
        delta: true,
        keep_base_keys: false,
        compression_level: 1,
        workers: 1,
        uploads: 1,
    };
    let engine = Files { roots: vec![root.to_owned()], options: WalkOptions::default() };
    repository.backup(&options, monitor, |sink| engine.backup(sink)).unwrap()
}

/// What the newest snapshot holds of the file.
fn kept(repository: &mut Repository, path: &std::path::Path) -> Vec<u8> {
    repository.load_index().unwrap();
    let reader = Reader::new(repository);
    let snapshot = repository.snapshots().last().unwrap();
    let path = EntryPath::new(path.to_str().unwrap().trim_start_matches('/')).unwrap();
    let entry = EntryCursor::new(&reader, &snapshot.manifest.tree).unwrap().seek(&path).unwrap().unwrap();
    let mut bytes = Vec::new();
    write_in_order(&reader, entry.content().unwrap(), &mut bytes, &Silent, 1).unwrap();
    bytes
}

#[test]
fn a_file_that_changes_once_is_read_again_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, vec![b'a'; LENGTH]).unwrap();
    let mut repository = repository();
    let meddler = Meddler::new(&path, 1, grow);
    let report = backup(&mut repository, folder.path(), &meddler);
    assert_eq!((report.totals.unreadable, report.totals.files), (0, 1));
    assert_eq!(*meddler.warnings.lock().unwrap(), Vec::<String>::new());
    assert!(kept(&mut repository, &path) == std::fs::read(&path).unwrap());
}

#[test]
fn a_file_that_changes_every_time_is_named_and_what_was_read_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, vec![b'a'; LENGTH]).unwrap();
    std::fs::write(folder.path().join("other"), "calm").unwrap();
    let mut repository = repository();
    let meddler = Meddler::new(&path, u32::MAX, grow);
    let report = backup(&mut repository, folder.path(), &meddler);
    assert_eq!((report.totals.unreadable, report.totals.files), (1, 2));
    let warnings = meddler.warnings.lock().unwrap().clone();
    assert!(warnings.len() == 1 && warnings[0].contains("log changed while it was read"), "{warnings:?}");
    let read = kept(&mut repository, &path);
    assert!(read.len() >= LENGTH && std::fs::read(&path).unwrap().starts_with(&read));
    assert_eq!(kept(&mut repository, &folder.path().join("other")), b"calm");
    // Nothing of the mixture is taken for unchanged by the next run.
    let report = backup(&mut repository, folder.path(), &Silent);
    assert_eq!(report.totals.unreadable, 0);
    assert!(kept(&mut repository, &path) == std::fs::read(&path).unwrap());
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, vec![b'a'; LENGTH]).unwrap();
    let mut repository = repository();
    let report =
        backup(&mut repository, folder.path(), &Meddler::new(&path, 1, |file| file.set_len(10).unwrap()));
    assert_eq!(report.totals.unreadable, 0);
    assert_eq!(kept(&mut repository, &path), vec![b'a'; 10]);
}
