//! The stored vectors are what the code makes, frames that were stored still open, and the whole repository restores:
//! by this implementation, and by the independent reader.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::EntryKind;
use strongroom_keys::Secret;
use strongroom_keys::key_file::{self, KeyFile};
use strongroom_keys::random::OsRandom;
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::check::CheckOptions;
use strongroom_repository::clock::SystemClock;
use strongroom_repository::monitor::Silent;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::wal::{ArchivedFile, Pushed, WalWriter};
use strongroom_repository::{InitOptions, OpenOptions, Repository, init};
use strongroom_store::{LocalStore, Store};
use strongroom_vectors::{KEPT, reproducible, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn folder() -> PathBuf {
    root().join("format-spec/vectors")
}

fn stored(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn open(credential: Credential) -> Repository {
    let store: Arc<dyn Store> =
        Arc::new(LocalStore::open(folder().join("repository-v1/repository")).unwrap());
    let options = OpenOptions::new(vec![credential], Arc::new(OsRandom), Arc::new(SystemClock));
    let mut repository = Repository::open(store, options).unwrap();
    repository.load_index().unwrap();
    assert!(repository.warnings().is_empty(), "{:?}", repository.warnings());
    repository
}

fn key(name: &str) -> Credential {
    match key_file::decode(&stored(&format!("repository-v1/{name}"))).unwrap() {
        KeyFile::Symmetric(key) => Credential::KeyFile(key),
        KeyFile::X25519(private) => Credential::X25519(private),
    }
}

#[test]
fn stored_vectors_are_what_the_code_makes() {
    for (name, made) in reproducible().unwrap() {
        assert!(stored(name) == text(&made), "{name}: run `cargo xtask vectors`, and see what changed");
    }
}

#[test]
fn stored_frames_open_whatever_zstd_writes_today() {
    for (name, make, verify) in KEPT {
        verify(&serde_json::from_str(&stored(name)).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        // Today's zstd makes frames that open too.
        verify(&make().unwrap()).unwrap_or_else(|error| panic!("{name}, made today: {error:#}"));
    }
}

#[test]
fn the_whole_repository_restores_and_is_clean() {
    let expected: Value = serde_json::from_str(&stored("repository-v1/expected.json")).unwrap();
    let passphrase = stored("repository-v1/passphrase").trim_end().to_owned();
    for credential in [key("key"), key("recovery-key"), Credential::Passphrase(passphrase.into())] {
        let repository = open(credential);
        assert_eq!(repository.fingerprint(), expected["fingerprint"].as_str().unwrap());
        let reader = Reader::new(&repository);
        let snapshots = expected["snapshots"].as_array().unwrap();
        assert_eq!(repository.snapshots().len(), snapshots.len());
        for (snapshot, expected) in repository.snapshots().iter().zip(snapshots) {
            assert_eq!(snapshot.id().to_hex(), expected["id"].as_str().unwrap());
            let mut files = expected["files"].as_object().unwrap().clone();
            let mut cursor = EntryCursor::new(&reader, &snapshot.manifest.tree).unwrap();
            while let Some(entry) = cursor.next_entry().unwrap() {
                if let EntryKind::Symlink { target } = &entry.kind {
                    assert_eq!(
                        expected["symlinks"][entry.path.to_string()].as_str().unwrap().as_bytes(),
                        target
                    );
                }
                let Some(content) = entry.content() else { continue };
                let mut bytes = Vec::new();
                write_in_order(&reader, content, &mut bytes, &Silent, 2).unwrap();
                let hash = files
                    .remove(&name(&entry.path))
                    .unwrap_or_else(|| panic!("{} is not expected", entry.path));
                assert_eq!(blake3::hash(&bytes).to_hex().as_str(), hash.as_str().unwrap(), "{}", entry.path);
            }
            assert!(files.is_empty(), "missing: {files:?}");
        }
        let options = CheckOptions { read_data: true, keys: true, ..CheckOptions::default() };
        let report = repository.check(&options, &Silent).unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
    }
}

#[test]
fn the_key_of_a_host_lists_and_reads_no_data() {
    let repository = open(key("host-key"));
    assert_eq!(repository.snapshots().len(), 3);
    let report = repository.check(&CheckOptions::default(), &Silent).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
    let reader = Reader::new(&repository);
    let snapshot = &repository.snapshots()[1];
    let mut cursor = EntryCursor::new(&reader, &snapshot.manifest.tree).unwrap();
    let entry = cursor.next_entry().unwrap().unwrap();
    let mut bytes = Vec::new();
    let read = write_in_order(&reader, entry.content().unwrap(), &mut bytes, &Silent, 2);
    assert!(read.is_err(), "{} can be read", entry.path);
}

/// The name of a path in expected.json.
fn name(path: &EntryPath) -> String {
    std::str::from_utf8(path.as_bytes())
        .map_or_else(|_| format!("hex:{}", hex::encode(path.as_bytes())), str::to_owned)
}

/// The Python that has the reader's libraries, or `None` where it is not to be had.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("STRONGROOM_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        strongroom_tests::services::unavailable(
            "Python with the reader's libraries",
            "run the tests with `cargo xtask test`",
        )
        .unwrap();
    }
    python
}

fn run_reader(python: &Path, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new(python).args(arguments).current_dir(root().join("format-spec/reader")).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_independent_reader_restores_the_whole_repository() {
    let Some(python) = python() else { return };
    let expected: Value = serde_json::from_str(&stored("repository-v1/expected.json")).unwrap();
    let path = |name: &str| folder().join("repository-v1").join(name).display().to_string();
    let (repository, key, recovery) = (path("repository"), path("key"), path("recovery-key"));
    let passphrase = path("passphrase");
    for credential in [["--key-file", &key], ["--key-file", &recovery], ["--passphrase-file", &passphrase]] {
        let reader = ["-m", "strongroom_reader", &repository, credential[0], credential[1]];
        for snapshot in expected["snapshots"].as_array().unwrap() {
            let target = tempfile::tempdir().unwrap();
            let into = target.path().join("restored");
            run_reader(
                &python,
                &[&reader[..], &["restore", snapshot["id"].as_str().unwrap(), into.to_str().unwrap()]]
                    .concat(),
            );
            for (name, hash) in snapshot["files"].as_object().unwrap() {
                let bytes = match name.strip_prefix("hex:") {
                    Some(digits) => hex::decode(digits).unwrap(),
                    None => name.clone().into_bytes(),
                };
                let file = into.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&bytes));
                assert_eq!(
                    blake3::hash(&fs::read(&file).unwrap()).to_hex().as_str(),
                    hash.as_str().unwrap(),
                    "{name}"
                );
            }
        }
        let said = run_reader(&python, &[&reader[..], &["check-signatures"]].concat());
        assert!(String::from_utf8_lossy(&said).contains("0 void"), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn the_independent_reader_lists_with_the_key_of_a_host() {
    let Some(python) = python() else { return };
    let path = |name: &str| folder().join("repository-v1").join(name).display().to_string();
    let (repository, key) = (path("repository"), path("host-key"));
    let reader = ["-m", "strongroom_reader", &repository, "--key-file", &key];
    let listed = run_reader(&python, &[&reader[..], &["list"]].concat());
    assert_eq!(String::from_utf8_lossy(&listed).lines().count(), 3);
    let said = run_reader(&python, &[&reader[..], &["check-signatures"]].concat());
    assert!(String::from_utf8_lossy(&said).contains("0 void"), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_independent_reader_gives_files_of_a_log_back() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let store: Arc<dyn Store> = Arc::new(LocalStore::create(folder.path().join("repository")).unwrap());
    let secret = || Secret::new([0x42; 32]);
    let to = [WrapTo::KeyFile { key: secret() }];
    init(&store, &to, InitOptions::of_host("db1"), &OsRandom).unwrap();
    let options =
        OpenOptions::new(vec![Credential::KeyFile(secret())], Arc::new(OsRandom), Arc::new(SystemClock));
    let mut repository = Repository::open(Arc::clone(&store), options).unwrap();
    fs::write(path("key"), &*key_file::encode(&secret(), &repository.fingerprint())).unwrap();

    let mut noise = vec![0; 33 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let files = [
        // Compressed, raw, of two parts.
        ("000000010000000000000001", vec![7; 1 << 20]),
        ("00000002.history", b"1\t0/200000\tno recovery target specified\n".to_vec()),
        ("000000020000000000000001", noise),
    ];
    let mut writer = WalWriter::new(&mut repository);
    for (name, bytes) in &files {
        let file = ArchivedFile { source: "db".into(), system: u64::MAX, file: name.parse().unwrap() };
        assert_eq!(writer.push(&file, &mut Cursor::new(bytes)).unwrap(), Pushed::Stored);
    }
    let (place, key, system) = (path("repository"), path("key"), u64::MAX.to_string());
    let reader = ["-m", "strongroom_reader", &place, "--key-file", &key];
    let listed = run_reader(&python, &[&reader[..], &["wal-list"]].concat());
    assert_eq!(String::from_utf8_lossy(&listed).lines().count(), files.len());
    for (name, bytes) in &files {
        let read = run_reader(&python, &[&reader[..], &["wal-get", "db", &system, name]].concat());
        assert!(read == *bytes, "{name}");
    }
}

#[test]
fn the_independent_reader_agrees_with_every_vector() {
    let Some(python) = python() else { return };
    run_reader(&python, &["-m", "unittest", "test_reader", "test_vectors"]);
}
