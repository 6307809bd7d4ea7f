//! Hosts that write and cannot read: what they say of deltas, and how the data keys of their own last runs let them
//! store some.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use strongroom_format::SnapshotId;
use strongroom_format::registry::{Purpose, Roles};
use strongroom_repository::administration::Grant;
use strongroom_repository::administration::StorageRules;
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::monitor::Silent;
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::Store;
use support::*;

/// All that a run says.
#[derive(Default)]
struct Said {
    notes: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
}

impl Said {
    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }

    fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap())
    }
}

impl Monitor for Said {
    fn note(&self, message: &str) {
        self.notes.lock().unwrap().push(message.to_owned());
    }

    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }
}

fn set(store: &Arc<dyn Store>, rules: StorageRules) {
    assert!(open(store).set_storage_rules(rules).unwrap().is_some());
}

#[test]
fn that_what_changed_is_stored_whole_is_said_once_where_it_could_be_otherwise() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["db"]);
    let run = |files: &Files, delta: bool| {
        let said = Said::default();
        let options = BackupOptions { delta, ..options("db") };
        let _ = backup_with(&mut host.open(&store), &options, files, &said).unwrap();
        assert!(said.warnings().is_empty());
        said.notes()
    };
    assert!(run(&day(0), true).is_empty(), "nothing to differ from");
    assert!(run(&day(0), true).is_empty(), "nothing new");
    let notes = run(&day(1), true);
    assert!(notes.len() == 1 && notes[0].contains("stored whole"), "{notes:?}");
    assert!(run(&day(2), false).is_empty(), "it is what was asked for");
    set(&store, StorageRules { deltas: Some(false), ..StorageRules::default() });
    assert!(run(&day(3), true).is_empty(), "nobody stores deltas");
    assert_eq!(deltas(&store), 0);
    // Who may read is told nothing.
    set(&store, StorageRules { deltas: Some(true), ..StorageRules::default() });
    for number in 0..2 {
        let said = Said::default();
        let _ = backup_with(&mut open(&store), &options("db"), &day(number), &said).unwrap();
        assert!(said.notes().is_empty() && said.warnings().is_empty());
    }
}

#[test]
fn a_policy_without_deltas_holds_for_every_run_and_takes_none_away() {
    let (_, store) = memory();
    new_repository(&store);
    let mut ids: Vec<_> = (0..2).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
    let before = deltas(&store);
    assert!(before > 0);
    set(&store, StorageRules { deltas: Some(false), ..StorageRules::default() });
    ids.push(backup(&mut open(&store), "db", &day(2)).id);
    assert_eq!(deltas(&store), before);
    for (number, id) in (0..).zip(&ids) {
        assert!(restore(&mut open(&store), *id) == day(number));
    }
    set(&store, StorageRules { deltas: Some(true), ..StorageRules::default() });
    ids.push(backup(&mut open(&store), "db", &day(3)).id);
    assert!(deltas(&store) > before);
    assert!(restore(&mut open(&store), ids[3]) == day(3));
    assert_clean(&store);
}

#[test]
fn the_rules_are_for_administrators_to_set() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["db"]);
    let rules = StorageRules { deltas: Some(false), base_keys: Some(3), parity: None };
    let error = host.open(&store).set_storage_rules(rules).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "admin" }), "{error:?}");
    let mut admin = open(&store);
    let error = admin.set_storage_rules(StorageRules { base_keys: Some(65), ..rules }).unwrap_err();
    assert!(matches!(error, RepositoryError::Unstorable { .. }), "{error:?}");
    set(&store, rules);
    assert_eq!(admin.set_storage_rules(rules).unwrap(), None, "it is so already");
    set(&store, StorageRules { base_keys: Some(64), ..StorageRules::default() });
    let policy = open(&store).state().policy.clone();
    assert_eq!((policy.deltas, policy.base_keys), (false, 64));
    // Other changes leave them as they are.
    let _ = Host::add(&store, "db3", Roles::WRITE, &["db"]);
    let policy = open(&store).state().policy.clone();
    assert_eq!((policy.deltas, policy.base_keys), (false, 64));
    assert_clean(&store);
}

/// A repository whose policy lets hosts keep keys, and a host that has a cache.
struct Estate {
    store: Arc<dyn Store>,
    host: Host,
    cache: tempfile::TempDir,
}

impl Estate {
    fn new(runs: u8) -> Self {
        let (_, store) = memory();
        new_repository(&store);
        let host = Host::add(&store, "db2", Roles::WRITE, &["db"]);
        let estate = Self { store, host, cache: tempfile::tempdir().unwrap() };
        if runs > 0 {
            estate.allow(runs);
        }
        estate
    }

    fn allow(&self, runs: u8) {
        set(&self.store, StorageRules { base_keys: Some(runs), ..StorageRules::default() });
    }

    fn open(&self) -> Repository {
        open_in(&self.store, &self.host, self.cache.path())
    }

    /// A run of the host; gives what it said as well.
    fn run(&self, number: u64, keep: bool) -> (SnapshotId, Said) {
        let said = Said::default();
        let options = BackupOptions { keep_base_keys: keep, ..options("db") };
        let report = backup_with(&mut self.open(), &options, &day(number), &said).unwrap();
        (report.id, said)
    }

    /// Runs of these days; nothing is to go wrong, and an admin restores them.
    fn days(&self, days: std::ops::Range<u64>) -> Vec<usize> {
        let mut counts = Vec::new();
        for number in days {
            let before = deltas(&self.store);
            let (id, said) = self.run(number, true);
            assert_eq!(said.warnings(), Vec::<String>::new());
            assert!(restore(&mut open(&self.store), id) == day(number));
            counts.push(deltas(&self.store) - before);
        }
        counts
    }

    fn file(&self) -> PathBuf {
        let files = key_files(self.cache.path());
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    }

    fn kept(&self) -> usize {
        kept(&self.file())
    }
}

fn open_in(store: &Arc<dyn Store>, host: &Host, cache: &Path) -> Repository {
    let options = OpenOptions {
        credentials: host.credentials(),
        writer: Some(host.name.clone()),
        cache_folder: Some(cache.to_owned()),
        ..open_options()
    };
    Repository::open(Arc::clone(store), options).unwrap()
}

/// Files that hold kept keys, or are to.
fn key_files(cache: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(cache).unwrap().map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files
        .map(|file| file.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("base-keys-")
        })
        .collect()
}

/// Keys in a file: it is a key ID, a salt, a commitment, the keys with their IDs, and a tag.
fn kept(file: &Path) -> usize {
    let length = std::fs::metadata(file).unwrap().len() - (16 + 32 + 32 + 16);
    assert_eq!(length % 48, 0);
    usize::try_from(length / 48).unwrap()
}

#[test]
fn with_the_keys_of_its_last_runs_a_write_only_host_stores_deltas() {
    let estate = Estate::new(7);
    let counts = estate.days(0..6);
    assert_eq!(counts[0], 0);
    assert!(counts[1..].iter().all(|count| *count > 0), "{counts:?}");
    assert!(frames(&estate.store).iter().all(|frame| frame.depth <= 5 && frame.closure <= 16));
    assert_clean(&estate.store);
    // Only its owner may read the file, and without the host's credential it is worth nothing.
    let file = estate.file();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o700);
    let bytes = std::fs::read(&file).unwrap();
    let ids = open(&estate.store).data_keys();
    assert!(!ids.is_empty());
    assert!(ids.iter().all(|id| !bytes.windows(16).any(|window| window == id.0)));
    // It still cannot restore, not even what it could build on.
    let host = estate.open();
    assert!(matches!(host.require_read_access(), Err(RepositoryError::DataKey { .. })));
    let last = host.snapshots().last().unwrap().id();
    assert!(try_restore(&host, last).0.into_values().all(|restored| restored.is_err()));
}

#[test]
fn both_the_policy_and_the_host_must_allow_it() {
    let estate = Estate::new(0);
    let _ = estate.run(0, true);
    assert!(key_files(estate.cache.path()).is_empty());
    let (_, said) = estate.run(1, true);
    let notes = said.notes();
    assert!(notes.len() == 1 && notes[0].contains("policy set --keep-base-keys"), "{notes:?}");
    estate.allow(3);
    let (_, said) = estate.run(2, false);
    let notes = said.notes();
    assert!(notes.len() == 1 && notes[0].contains("with --keep-base-keys"), "{notes:?}");
    assert!(key_files(estate.cache.path()).is_empty());
    let (_, said) = estate.run(3, true);
    let notes = said.notes();
    assert!(notes.len() == 1 && notes[0].contains("from the next run on"), "{notes:?}");
    assert_eq!(deltas(&estate.store), 0);
    assert_eq!(estate.kept(), 1);
    let (_, said) = estate.run(4, true);
    assert!(said.notes().is_empty() && said.warnings().is_empty());
    assert!(deltas(&estate.store) > 0);
    // One run without is enough for all of them to go.
    let _ = estate.run(5, false);
    assert!(key_files(estate.cache.path()).is_empty());
    // A cache that does not stay keeps none.
    let said = Said::default();
    let options = BackupOptions { keep_base_keys: true, ..options("db") };
    let _ = backup_with(&mut estate.host.open(&estate.store), &options, &day(6), &said).unwrap();
    let notes = said.notes();
    assert!(notes.len() == 1 && notes[0].contains("no cache"), "{notes:?}");
    assert_clean(&estate.store);
}

#[test]
fn no_more_keys_are_kept_than_the_policy_says_and_older_bases_are_not_used() {
    let estate = Estate::new(2);
    let mut counts = Vec::new();
    for number in 0..7 {
        counts.extend(estate.days(number..number + 1));
        assert_eq!(estate.kept(), usize::try_from(number + 1).unwrap().min(2));
    }
    // Whole, two that build on it, and then its key is gone.
    let whole: Vec<_> = counts.iter().map(|count| *count == 0).collect();
    assert_eq!(whole, [true, false, false, true, false, false, true]);
    assert_clean(&estate.store);
    // Fewer from the next run on, also where it stores nothing.
    estate.allow(1);
    let _ = estate.run(6, true);
    assert_eq!(estate.kept(), 1);
    set(&estate.store, StorageRules { base_keys: Some(0), ..StorageRules::default() });
    let _ = estate.open();
    assert!(key_files(estate.cache.path()).is_empty(), "opening is enough");
}

#[test]
fn nothing_is_kept_of_a_run_that_fails_or_stores_nothing() {
    let estate = Estate::new(3);
    let options = BackupOptions { keep_base_keys: true, ..options("db") };
    let failed = estate.open().backup(&options, &Silent, |sink| {
        write_files(sink, &day(0))?;
        Err(RepositoryError::Interrupted)
    });
    assert!(matches!(failed.unwrap_err(), RepositoryError::Interrupted));
    assert!(key_files(estate.cache.path()).is_empty());
    let _ = estate.days(0..1);
    let before = std::fs::read(estate.file()).unwrap();
    let _ = estate.days(0..1);
    assert_eq!(std::fs::read(estate.file()).unwrap(), before);
}

#[test]
fn a_file_that_is_damaged_or_anothers_is_said_and_replaced() {
    let estate = Estate::new(3);
    let other = Host::add(&estate.store, "db3", Roles::WRITE, &["web"]);
    let kept_options = BackupOptions { keep_base_keys: true, ..options("web") };
    let run_other = |number| {
        let mut host = open_in(&estate.store, &other, estate.cache.path());
        backup_with(&mut host, &kept_options, &day(number), &Silent).unwrap()
    };
    let _ = estate.days(0..2);
    let file = estate.file();
    let good = std::fs::read(&file).unwrap();
    // Each writer has a file of its own, and none gets into another's.
    let _ = run_other(0);
    let others = key_files(estate.cache.path()).into_iter().find(|path| *path != file).unwrap();
    assert_eq!((kept(&file), kept(&others)), (2, 1));
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    let bad = [
        flipped,
        good[..90].to_vec(),
        Vec::new(),
        b"keys".to_vec(),
        vec![0; 10_000],
        std::fs::read(&others).unwrap(),
    ];
    for (number, bytes) in (2..).zip(bad) {
        std::fs::write(&file, bytes).unwrap();
        let before = deltas(&estate.store);
        let (id, said) = estate.run(number, true);
        let warnings = said.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("are replaced"), "{warnings:?}");
        assert_eq!(deltas(&estate.store), before);
        assert!(restore(&mut open(&estate.store), id) == day(number));
        assert_eq!(kept(&file), 1, "its own again");
    }
    // Keys of a repository that has the same name here open nothing, and say nothing wrong.
    assert!(estate.days(8..9)[0] > 0);
    assert_clean(&estate.store);
}

/// Keys that cannot be kept are said, and no reason to fail.
#[test]
fn a_file_that_cannot_be_written_costs_deltas_only() {
    let estate = Estate::new(3);
    let _ = estate.days(0..1);
    let file = estate.file();
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let (id, said) = estate.run(1, true);
    let warnings = said.warnings();
    assert!(warnings.len() == 2 && warnings[1].contains("is not kept"), "{warnings:?}");
    assert!(restore(&mut open(&estate.store), id) == day(1));
    assert_eq!(deltas(&estate.store), 0);
}

#[test]
fn a_revoked_writers_keys_go_and_so_do_keys_without_deltas() {
    let estate = Estate::new(3);
    let other = Host::add(&estate.store, "db3", Roles::WRITE, &["web"]);
    let _ = estate.days(0..2);
    let _ = open(&estate.store).revoke_writer(estate.host.id, &[]).unwrap();
    // Whoever of this user opens the repository next.
    let _ = open_in(&estate.store, &other, estate.cache.path());
    assert!(key_files(estate.cache.path()).is_empty());

    let estate = Estate::new(3);
    let _ = estate.days(0..1);
    set(&estate.store, StorageRules { deltas: Some(false), ..StorageRules::default() });
    assert_eq!(estate.days(1..2), [0]);
    assert!(key_files(estate.cache.path()).is_empty());
}

#[test]
fn who_may_read_keeps_no_keys() {
    let estate = Estate::new(3);
    let options = BackupOptions { keep_base_keys: true, ..options("db") };
    for number in 0..2 {
        let opening = OpenOptions { cache_folder: Some(estate.cache.path().to_owned()), ..open_options() };
        let mut admin = Repository::open(Arc::clone(&estate.store), opening).unwrap();
        let _ = backup_with(&mut admin, &options, &day(number), &Silent).unwrap();
        assert!(key_files(estate.cache.path()).is_empty());
    }
    assert!(deltas(&estate.store) > 0);
}

fn own_snapshots(estate: &Estate) -> Vec<SnapshotId> {
    let host = estate.open();
    let own = host.snapshots().iter().filter(|snapshot| snapshot.state.signer == estate.host.id);
    own.map(|snapshot| snapshot.id()).collect()
}

/// What an admin stored is not the host's to read, and neither is what builds on it.
#[test]
fn only_its_own_frames_are_built_on() {
    let estate = Estate::new(7);
    let _ = estate.days(0..1);
    let mut admin = open(&estate.store);
    let _ = backup(&mut admin, "db", &day(1));
    let opened = check(&admin).opened;
    assert!(admin.attest(&opened).unwrap() > 0);
    let before = deltas(&estate.store);
    // Every chunk of the parent is the admin's; what the host stored itself is further back.
    let (id, said) = estate.run(2, true);
    assert!(said.warnings().is_empty() && said.notes().is_empty());
    assert!(restore(&mut open(&estate.store), id) == day(2));
    assert_eq!(estate.kept(), 2);
    assert!(deltas(&estate.store) > before);
    // With nothing of its own left, the admin's is no base, attested as it is.
    let _ = open(&estate.store).forget(&own_snapshots(&estate), "test").unwrap();
    assert_eq!(estate.days(3..4), [0]);
    assert_clean(&estate.store);
}

/// A key that is retired is no base, and is not kept.
#[test]
fn retired_keys_are_dropped() {
    let estate = Estate::new(7);
    let _ = estate.days(0..2);
    let mut admin = open(&estate.store);
    for key in admin.data_keys() {
        let _ = admin.retire_data_key(key, &Silent).unwrap();
    }
    assert_eq!(estate.days(2..3), [0]);
    assert_eq!(estate.kept(), 1);
    assert!(estate.days(3..4)[0] > 0);
    assert_clean(&estate.store);
}

/// A KMS is asked for no more than a host that only writes may ask.
#[test]
fn a_kms_is_asked_for_no_data_key_and_no_vault() {
    let (_, store) = memory();
    new_repository(&store);
    let kms = kms();
    open(&store).add_recipient(&to_kms(&kms, ONE), Grant::Admin, Some("eu")).unwrap();
    let _ = add_writer(&store, "db2", Roles::WRITE, &["db"], &to_kms(&kms, ONE));
    set(&store, StorageRules { base_keys: Some(7), ..StorageRules::default() });
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    let limited = Arc::new(kms.restricted(move |action, context| {
        let allowed = context.is_some_and(|context| match context.purpose {
            Purpose::Data => action == "kms:GenerateDataKey",
            Purpose::Metadata | Purpose::Identity | Purpose::Signing => action == "kms:Decrypt",
            Purpose::Vault | Purpose::Root => false,
        });
        counted.fetch_add(usize::from(!allowed), Ordering::Relaxed);
        !allowed
    }));
    let cache = tempfile::tempdir().unwrap();
    let options = BackupOptions { keep_base_keys: true, ..options("db") };
    for number in 0..3 {
        let opening = OpenOptions {
            credentials: vec![kms_credential(&limited)],
            writer: Some("db2".into()),
            cache_folder: Some(cache.path().to_owned()),
            ..open_options()
        };
        let mut host = Repository::open(Arc::clone(&store), opening).unwrap();
        let id = backup_with(&mut host, &options, &day(number), &Silent).unwrap().id;
        assert!(restore(&mut open(&store), id) == day(number));
    }
    assert!(deltas(&store) > 0);
    assert_eq!(refused.load(Ordering::Relaxed), 0);
    assert_clean(&store);
}
