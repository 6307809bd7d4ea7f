//! Log archives beside a prune and on stores that fail: whoever was told that a file is stored finds it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use strongroom_repository::wal::{Pushed, WalWriter};
use strongroom_store::{Fault, FaultStore, ObjectInfo, ObjectName, PutOutcome, Store, StoreError, When};
use support::logs::*;
use support::*;

#[test]
fn a_push_that_dies_in_any_write_loses_nothing_that_was_pushed() {
    let (base, _) = with_segments([1]);
    for when in [When::BeforeEffect, When::AfterEffect] {
        let mut tried = 0;
        for mutation in 1.. {
            let faulty = Arc::new(FaultStore::new((*base).clone(), []));
            let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
            let mut repository = open(&store);
            faulty.add(Fault::Crash { mutation, when });
            let mut pushed = Vec::new();
            let mut writer = WalWriter::new(&mut repository);
            for place in [2, 3] {
                match writer.push(&segment(place), &mut Cursor::new(bytes_of(place))) {
                    Ok(_) => pushed.push(place),
                    Err(_) => break,
                }
            }
            let is_crashed = faulty.is_crashed();
            drop(repository);
            faulty.clear();
            for place in [1].into_iter().chain(pushed) {
                assert!(fetch(&store, &segment(place)).unwrap() == bytes_of(place), "{when:?} {mutation}");
            }
            // Whoever lost its own is whole after the next try; a prune in between takes nothing from it.
            let _ = prune(&store, &at_once());
            for place in [2, 3] {
                let _ = push(&store, &segment(place), &bytes_of(place));
                assert!(fetch(&store, &segment(place)).unwrap() == bytes_of(place), "{when:?} {mutation}");
            }
            assert_clean(&store);
            if !is_crashed {
                break;
            }
            tried += 1;
        }
        assert!(tried >= 3, "a wrap and two segments");
    }
}

#[test]
fn a_key_that_is_retired_before_anything_is_under_it_does_not_do() {
    let (base, _) = new();
    let faulty = Arc::new(FaultStore::new((*base).clone(), []));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let mut repository = open(&store);
    let mut writer = WalWriter::new(&mut repository);
    faulty.add(Fault::Fail { mutation: 2, when: When::BeforeEffect });
    assert!(writer.push(&segment(1), &mut Cursor::new(bytes_of(1))).is_err());
    faulty.clear();
    let report = prune(&store, &at_once());
    assert_eq!((report.retired_keys, report.deleted_keys), (1, 1), "nothing was under it");

    let pushed = writer.push(&segment(1), &mut Cursor::new(bytes_of(1))).unwrap();
    assert_eq!((pushed, objects(&store).len()), (Pushed::Stored, 2), "under the retired one, and again");
    assert!(fetch(&store, &segment(1)).unwrap() == bytes_of(1));
    assert_eq!(push(&store, &segment(1), &bytes_of(1)), Pushed::WasThere);
    assert_clean(&store);
    let _ = prune(&store, &at_once());
    assert!(fetch(&store, &segment(1)).unwrap() == bytes_of(1));
}

/// Entries that are put before that one, and what is run.
type Armed = (u32, Box<dyn FnOnce() + Send>);

/// Runs something right before the entry of a retired key is put.
struct BeforeEntry {
    inner: Arc<dyn Store>,
    armed: Mutex<Option<Armed>>,
}

impl Store for BeforeEntry {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        if name.as_str().starts_with("journal/") {
            let due = {
                let mut armed = self.armed.lock().unwrap();
                match armed.as_mut() {
                    Some((0, _)) => armed.take().map(|(_, run)| run),
                    Some((left, _)) => {
                        *left -= 1;
                        None
                    }
                    None => None,
                }
            };
            if let Some(run) = due {
                run();
            }
        }
        self.inner.put_if_absent(name, bytes)
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.inner.get(name, max_length_bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.inner.get_range(name, offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.inner.stat(name)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.inner.list(prefix, visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.inner.delete(name)
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

#[test]
fn a_key_that_is_retired_while_something_is_stored_under_it_is_kept() {
    let (base, _) = new();
    let faulty = Arc::new(FaultStore::new((*base).clone(), []));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    // A writer that has a key, and nothing under it yet: its wrap is the first thing that it stores.
    faulty.add(Fault::Fail { mutation: 2, when: When::BeforeEffect });
    let writing = Arc::clone(&store);
    let (ready, wait) = std::sync::mpsc::channel();
    let (go, told) = std::sync::mpsc::channel();
    let (done, is_done) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        let mut repository = open(&writing);
        let mut writer = WalWriter::new(&mut repository);
        let first = writer.push(&segment(1), &mut Cursor::new(bytes_of(1)));
        assert!(first.is_err());
        ready.send(()).unwrap();
        told.recv().unwrap();
        let pushed = writer.push(&segment(1), &mut Cursor::new(bytes_of(1))).unwrap();
        done.send(pushed).unwrap();
    });
    wait.recv().unwrap();
    faulty.clear();

    let run = move || {
        go.send(()).unwrap();
        assert_eq!(is_done.recv().unwrap(), Pushed::Stored);
    };
    // The first entry is the note of the prune.
    let hooked = BeforeEntry { inner: Arc::clone(&store), armed: Mutex::new(Some((1, Box::new(run)))) };
    let hooked: Arc<dyn Store> = Arc::new(hooked);
    let report = prune(&hooked, &at_once());
    writer.join().unwrap();
    assert_eq!((report.retired_keys, report.deleted_keys), (1, 0), "retired, and still needed");
    assert_eq!(objects(&store).len(), 1);
    let _ = prune(&store, &at_once());
    assert!(fetch(&store, &segment(1)).unwrap() == bytes_of(1));
    assert_clean(&store);
}
