//! The cache may be deleted, stale, corrupt, or of another repository: nothing is lost, and nothing wrong is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::Sandbox;

/// The cache's one database.
fn database(sandbox: &Sandbox) -> PathBuf {
    let folder = fs::read_dir(sandbox.cache()).unwrap().next().unwrap().unwrap().path();
    folder.join("index.sqlite")
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What was kept comes back, what is stored again is not stored, and all of it is sound.
fn works(sandbox: &Sandbox, bytes: &[u8]) {
    assert!(sandbox.cat("latest:kept", "kept") == bytes);
    let again =
        sandbox.feed(["backup", "stdin", "--name", "kept", "--json"], bytes).assert_code(0).one("backup");
    assert_eq!(again["new_bytes"], 0, "{again}");
    let _other = sandbox.backup_stream("other", &noise(500_000, 77));
    assert!(sandbox.cat("latest:kept", "kept") == bytes);
    sandbox.assert_clean();
}

#[test]
fn a_deleted_cache_is_built_anew() {
    let sandbox = Sandbox::new();
    let bytes = noise(2_000_000, 1);
    let _id = sandbox.backup_stream("kept", &bytes);
    fs::remove_dir_all(sandbox.cache()).unwrap();
    works(&sandbox, &bytes);
    let _listed = sandbox.run(["ls", "--no-cache"]).assert_code(0);
}

#[test]
fn a_stale_cache_catches_up() {
    let sandbox = Sandbox::new();
    let _old = sandbox.backup_stream("kept", &noise(500_000, 5));
    let folder = database(&sandbox).parent().unwrap().to_owned();
    let aside = sandbox.path("aside");
    copy_folder(&folder, &aside);
    let bytes = noise(2_000_000, 1);
    let _id = sandbox.backup_stream("kept", &bytes);
    fs::remove_dir_all(&folder).unwrap();
    copy_folder(&aside, &folder);
    works(&sandbox, &bytes);
}

#[test]
fn a_corrupt_cache_is_thrown_away() {
    let sandbox = Sandbox::new();
    let bytes = noise(2_000_000, 1);
    let _id = sandbox.backup_stream("kept", &bytes);
    type Corrupt = fn(&mut Vec<u8>);
    let ways: [Corrupt; 5] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| {
            *bytes =
                b"this is no database at all, and long enough to be looked at as if it were one".repeat(100)
        },
        |bytes| bytes[..16].fill(0xFF),
        // All but the first page: the schema is there, what it speaks of is not.
        |bytes| bytes[4096..].fill(0xA5),
    ];
    for (number, corrupt) in ways.into_iter().enumerate() {
        let path = database(&sandbox);
        let _opened = sandbox.run(["stats"]).assert_code(0);
        let mut database = fs::read(&path).unwrap();
        assert!(database.len() > 8192);
        corrupt(&mut database);
        for suffix in ["-wal", "-shm"] {
            let _absent = fs::remove_file(format!("{}{suffix}", path.display()));
        }
        fs::write(&path, database).unwrap();
        let ran = sandbox.run(["ls", "latest:kept"]);
        assert_eq!(ran.status.code(), Some(0), "way {number}: {ran}");
        works(&sandbox, &bytes);
    }
}

#[test]
fn the_cache_of_another_repository_is_not_believed() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let bytes = noise(2_000_000, 1);
    let _id = sandbox.backup_stream("kept", &bytes);
    // The other knows chunks that this one lacks: believing it would lose them.
    let _id = other.backup_stream("other", &noise(500_000, 77));
    let (mine, theirs) = (database(&sandbox), database(&other));
    for suffix in ["", "-wal", "-shm"] {
        let _absent = fs::remove_file(format!("{}{suffix}", mine.display()));
        let _absent =
            fs::copy(format!("{}{suffix}", theirs.display()), format!("{}{suffix}", mine.display()));
    }
    works(&sandbox, &bytes);
    assert!(sandbox.cat("latest:other", "other") == noise(500_000, 77));
}

#[test]
fn a_bound_on_memory_that_is_too_low_is_refused_before_anything_begins() {
    let sandbox = Sandbox::new();
    let bytes = noise(2_000_000, 1);
    let _id = sandbox.backup_stream("kept", &bytes);
    for arguments in [&["restore", "latest", "--target", "target"][..], &["check"], &["prune"], &["stats"]] {
        let refused = sandbox.run([arguments, &["--memory", "64MiB"]].concat()).assert_code(2);
        let _said = refused.assert_says(["64 MiB of memory is too little", "needs about", "--memory"]);
    }
    let refused =
        sandbox.feed(["backup", "stdin", "--name", "kept", "--memory", "20M"], &bytes).assert_code(2);
    let _said = refused.assert_says(["20 MiB of memory is too little"]);
    assert!(!sandbox.path("target").exists());
    assert_eq!(sandbox.run(["snapshots", "--json"]).assert_code(0).all("snapshot").len(), 1);
    // The least that does.
    let again = ["backup", "stdin", "--name", "kept", "--json", "--memory", "128M"];
    assert_eq!(sandbox.feed(again, &bytes).assert_code(0).one("backup")["new_bytes"], 0);
    let _checked = sandbox.run(["check", "--read-data", "--memory", "128M"]).assert_code(0);
    let _wrong = sandbox.run(["stats", "--memory", "much"]).assert_code(2);
}

#[test]
fn a_cache_folder_that_cannot_be_is_done_without() {
    let sandbox = Sandbox::new();
    let bytes = noise(2_000_000, 1);
    let _id = sandbox.backup_stream("kept", &bytes);
    fs::remove_dir_all(sandbox.cache()).unwrap();
    fs::write(sandbox.cache(), "a file").unwrap();
    let _said = sandbox.run(["ls"]).assert_code(0).assert_says(["cannot be used"]);
    works(&sandbox, &bytes);
}

#[test]
fn a_repository_that_was_rolled_back_is_noticed() {
    let sandbox = Sandbox::new();
    let _first = sandbox.backup_stream("kept", b"first");
    let aside = sandbox.path("aside");
    copy_folder(&sandbox.repository().join("journal"), &aside);
    let _second = sandbox.backup_stream("kept", b"second");
    let journal = sandbox.repository().join("journal");
    fs::remove_dir_all(&journal).unwrap();
    copy_folder(&aside, &journal);
    for command in [&["snapshots"][..], &["backup", "files", "aside"], &["check"]] {
        let _said = sandbox
            .run(command)
            .assert_code(4)
            .assert_says(["an older or another state", "delete the cache"]);
    }
    // As the message says, when it was on purpose.
    fs::remove_dir_all(sandbox.cache()).unwrap();
    assert_eq!(sandbox.cat("latest", "kept"), b"first");
    let _checked = sandbox.run(["check", "--read-data"]).assert_code(0);
}
