//! The local cache: stale, corrupt, another repository's, unwritable, gone. And who may open what.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::{Argon2Costs, WrapTo};
use strongroom_keys::{KeysError, Secret};
use strongroom_repository::{InitOptions, OpenOptions, Repository, RepositoryError, init};
use strongroom_store::{MemoryStore, Store};
use support::*;

fn cached(store: &Arc<dyn Store>, folder: &Path) -> Result<Repository, RepositoryError> {
    let options = OpenOptions { cache_folder: Some(folder.to_owned()), ..open_options() };
    Repository::open(Arc::clone(store), options)
}

fn data() -> Files {
    files([("dump.sql", noise(1, 700_000)), ("roles.sql", b"create role".to_vec())])
}

struct Fixture {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// A repository with a snapshot, and a cache that knows it.
    fn new() -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let folder = tempfile::tempdir().unwrap();
        backup(&mut cached(&store, folder.path()).unwrap(), "db", &data());
        Self { memory, store, folder }
    }

    fn database(&self) -> PathBuf {
        PathBuf::from(cached(&self.store, self.folder.path()).unwrap().cache_path())
    }

    /// Backup and restore work, and what is stored already is not stored again.
    fn assert_works(&self, case: &str) {
        let mut repository = cached(&self.store, self.folder.path()).unwrap();
        let report = backup(&mut repository, "db", &data());
        assert_eq!(report.totals.new_bytes, 0, "{case}");
        assert!(restore(&mut repository, report.id) == data(), "{case}");
        let mut changed = data();
        changed.insert("more".into(), noise(repository.state().number + 1000, 10_000));
        let report = backup(&mut repository, "db", &changed);
        assert_eq!(report.totals.new_bytes, 10_000, "{case}");
        assert!(restore(&mut repository, report.id) == changed, "{case}");
        assert_clean(&self.store);
    }
}

#[test]
fn a_stale_cache_catches_up() {
    let fixture = Fixture::new();
    let mut elsewhere = open(&fixture.store);
    let other = files([("other", noise(9, 300_000))]);
    let id = backup(&mut elsewhere, "other", &other).id;
    let mut repository = cached(&fixture.store, fixture.folder.path()).unwrap();
    assert!(restore(&mut repository, id) == other);
    fixture.assert_works("stale");
}

#[test]
fn a_cache_of_garbage_is_built_anew_and_says_so() {
    let fixture = Fixture::new();
    let database = fixture.database();
    for garbage in [noise(1, 100_000), vec![], b"SQLite format 3\0".to_vec()] {
        std::fs::write(&database, &garbage).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
        }
        let repository = cached(&fixture.store, fixture.folder.path()).unwrap();
        assert_eq!(repository.warnings().is_empty(), garbage.is_empty(), "{:?}", repository.warnings());
        drop(repository);
        fixture.assert_works("garbage");
    }
}

#[test]
fn flipped_pages_cost_time_and_nothing_else() {
    let fixture = Fixture::new();
    let many = files([("many", noise(6, 12 << 20))]);
    backup(&mut cached(&fixture.store, fixture.folder.path()).unwrap(), "many", &many);
    let database = fixture.database();
    let good = std::fs::read(&database).unwrap();
    assert!(good.len() > 8 * 4096, "{}", good.len());
    for page in 1..good.len() / 4096 {
        let mut bad = good.clone();
        let (from, to) = (page * 4096, (page + 1) * 4096);
        bad[from..to].copy_from_slice(&noise(page as u64, 4096));
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
        }
        std::fs::write(&database, &bad).unwrap();
        let mut repository = cached(&fixture.store, fixture.folder.path()).unwrap();
        let first = repository.snapshots()[0].id();
        assert!(restore(&mut repository, first) == data(), "page {page}");
        // A cache that fails in the middle of a run may store again what is there; it loses nothing.
        let id = backup(&mut repository, "db", &data()).id;
        assert!(restore(&mut open(&fixture.store), id) == data(), "page {page}");
    }
    assert_clean(&fixture.store);
}

#[test]
fn the_cache_of_another_repository_is_not_believed() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let (from, to) = (one.database(), other.database());
    assert_ne!(from.parent().unwrap().file_name(), to.parent().unwrap().file_name());
    std::fs::copy(&from, &to).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", to.display()));
        let wal = format!("{}{suffix}", from.display());
        if Path::new(&wal).exists() {
            std::fs::copy(&wal, format!("{}{suffix}", to.display())).unwrap();
        }
    }
    other.assert_works("another repository's");
}

#[test]
fn without_a_usable_folder_the_cache_is_in_memory() {
    let mut fixture = Fixture::new();
    let file = fixture.folder.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    let mut repository = cached(&fixture.store, &file).unwrap();
    assert_eq!(repository.cache_path(), "in memory");
    assert!(!repository.warnings().is_empty());
    assert_eq!(backup(&mut repository, "db", &data()).totals.new_bytes, 0);
    // A folder that is read-only (which root may write all the same).
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
    fixture.folder = folder;
    fixture.assert_works("read-only");
}

#[test]
fn a_cache_may_be_deleted_between_and_under_a_run() {
    let fixture = Fixture::new();
    std::fs::remove_dir_all(fixture.folder.path()).unwrap();
    fixture.assert_works("deleted between");
    let mut repository = cached(&fixture.store, fixture.folder.path()).unwrap();
    std::fs::remove_dir_all(fixture.folder.path()).unwrap();
    let id = backup(&mut repository, "db", &data()).id;
    assert!(restore(&mut open(&fixture.store), id) == data());
    fixture.assert_works("deleted under a run");
}

#[test]
fn an_index_object_that_comes_back_is_read_again() {
    let fixture = Fixture::new();
    let index = names(&*fixture.store, "index/")[0].clone();
    let bytes = read(&*fixture.store, &index);
    fixture.memory.overwrite(&index, b"damaged");
    std::fs::remove_dir_all(fixture.folder.path()).unwrap();
    let mut repository = cached(&fixture.store, fixture.folder.path()).unwrap();
    let first = repository.snapshots()[0].id();
    assert!(restore(&mut repository, first) == data());
    assert!(repository.warnings().iter().any(|warning| warning.contains(index.as_str())));
    fixture.memory.overwrite(&index, &bytes);
    let mut repository = cached(&fixture.store, fixture.folder.path()).unwrap();
    assert!(restore(&mut repository, first) == data());
    assert!(repository.warnings().is_empty(), "{:?}", repository.warnings());
}

#[test]
fn an_older_copy_of_the_store_is_a_rollback() {
    let fixture = Fixture::new();
    let older: Arc<dyn Store> = Arc::new((*fixture.memory).clone());
    fixture.assert_works("before");
    let rolled_back = cached(&older, fixture.folder.path());
    assert!(matches!(rolled_back, Err(RepositoryError::Rollback { found: 1, .. })), "{rolled_back:?}");
    // Another history of the same length, and one that has outgrown what was seen, with a checkpoint beyond it.
    let mut elsewhere = open(&older);
    for _ in 0..6 {
        elsewhere.note("other", None, "{}").unwrap();
    }
    elsewhere.write_checkpoint().unwrap();
    let other = cached(&older, fixture.folder.path());
    assert!(matches!(other, Err(RepositoryError::Rollback { .. })), "{other:?}");
    open(&older);
    fixture.assert_works("the true store is as good as before");
}

#[test]
fn only_the_pinned_fingerprint_opens() {
    let fixture = Fixture::new();
    let right = open(&fixture.store).fingerprint();
    let try_with = |fingerprint: &str| {
        let options = OpenOptions { fingerprint: Some(fingerprint.to_owned()), ..open_options() };
        Repository::open(Arc::clone(&fixture.store), options)
    };
    for same in [right.clone(), right.replace(' ', ""), right.to_uppercase()] {
        try_with(&same).unwrap();
    }
    for other in ["", "0000 0000 0000 0000 0000 0000 0000 0000", &right[..20]] {
        let opened = try_with(other);
        assert!(matches!(opened, Err(RepositoryError::Fingerprint { .. })), "{other}: {opened:?}");
    }
}

fn source(result: Result<Repository, RepositoryError>) -> KeysError {
    match result {
        Err(RepositoryError::Unlock { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_and_missing_credentials_are_told_apart() {
    let fixture = Fixture::new();
    let with = |credentials| {
        Repository::open(Arc::clone(&fixture.store), OpenOptions { credentials, ..open_options() })
    };
    let wrong = vec![Credential::KeyFile(Secret::new([1; 32]))];
    assert!(matches!(source(with(wrong)), KeysError::WrongCredential { tried: 1 }));
    let passphrase = vec![Credential::Passphrase("guess".to_owned().into())];
    assert!(matches!(source(with(passphrase)), KeysError::NoCredential { .. }));
    assert!(matches!(source(with(vec![])), KeysError::NoCredential { .. }));
    let several = vec![Credential::KeyFile(Secret::new([1; 32])), Credential::KeyFile(key())];
    with(several).unwrap();
}

#[test]
fn passphrases_and_key_files_open_the_same_repository() {
    let (_, store) = memory();
    let costs = Argon2Costs { memory_kib: 64, passes: 1, lanes: 1 };
    let passphrase = WrapTo::passphrase("correct horse", costs, &*fresh_random()).unwrap();
    init(
        &store,
        &[passphrase, WrapTo::KeyFile { key: key() }],
        InitOptions::of_host("db1"),
        &*fresh_random(),
    )
    .unwrap();
    let with = |passphrase: &str| {
        let credentials = vec![Credential::Passphrase(passphrase.to_owned().into())];
        Repository::open(Arc::clone(&store), OpenOptions { credentials, ..open_options() })
    };
    assert!(matches!(source(with("correct horse ")), KeysError::WrongCredential { tried: 1 }));
    let mut repository = with("correct horse").unwrap();
    let id = backup(&mut repository, "db", &data()).id;
    assert!(restore(&mut open(&store), id) == data());
    let report = check(&repository);
    assert!(report.is_clean(), "{:#?}", report.findings);
    // The vault, root, metadata, identity and signing keys and one data key, the first two wrapped twice.
    assert_eq!((report.checked.keys, report.checked.keys_opened), (9, 6));
}
