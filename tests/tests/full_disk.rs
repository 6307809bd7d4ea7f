//! A disk that is full: under the repository, under what is restored, under the cache, under the temporary files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;

use strongroom_tests::mount::SmallDisk;
use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Sandbox, id_of, run};
use strongroom_tests::tree;

#[test]
fn a_full_repository_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let sandbox = Sandbox::empty();
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk"), 8 << 20).unwrap() else { return };
    let repository = disk.path("repository");
    let with = |arguments: &[&str]| run(sandbox.command(arguments).env("STRONGROOM_REPO", &repository));
    let _made = with(&["init"]).assert_code(0);
    sandbox.write("small/file", noise(1_000_000, 1));
    let _kept = with(&["backup", "files", "small"]).assert_code(0);
    sandbox.write("large/file", noise(12_000_000, 2));
    let failed = with(&["backup", "files", "large"]).assert_code(1);
    let _said = failed.assert_says(["no space left", "nothing was committed", "free some space"]);
    // Reading needs no room, and the check finds nothing wrong.
    assert_eq!(with(&["snapshots", "--json"]).assert_code(0).all("snapshot").len(), 1);
    let target = sandbox.path("target");
    let _restored =
        with(&["restore", "latest", "--subtree", sandbox.path("small").to_str().unwrap(), "-t", "target"])
            .assert_code(0);
    tree::assert_same(&sandbox.path("small"), &target);
    let _clean = with(&["check", "--read-data"]).assert_code(0);

    // Not one byte left: still everything can be read.
    let filler = disk.fill().unwrap();
    let _full = with(&["backup", "files", "small"]).assert_code(1).assert_says(["no space left"]);
    let _read = with(&["ls"]).assert_code(0);
    let _clean = with(&["check", "--read-data"]).assert_code(0);
    fs::remove_file(filler).unwrap();
    sandbox.write("small/other", noise(1_000_000, 3));
    let _kept = with(&["backup", "files", "small"]).assert_code(0);
    assert_eq!(with(&["snapshots", "--json"]).assert_code(0).all("snapshot").len(), 2);
    let _clean = with(&["check", "--read-data"]).assert_code(0);
}

#[test]
fn no_room_for_a_new_repository_is_said() {
    let sandbox = Sandbox::empty();
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk"), 1 << 20).unwrap() else { return };
    let repository = disk.path("repository");
    let filler = disk.fill().unwrap();
    let init = || run(sandbox.command(["init"]).env("STRONGROOM_REPO", &repository));
    let _full = init().assert_code(1).assert_says(["no space left"]);
    let keys = sandbox.home().join(".config/strongroom/keys");
    assert!(
        !keys.exists() || fs::read_dir(keys).unwrap().next().is_none(),
        "a key of no repository is left behind"
    );
    fs::remove_file(filler).unwrap();
    let _made = init().assert_code(0);
}

#[test]
fn a_full_target_is_said_and_the_repository_is_not_harmed() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk"), 2 << 20).unwrap() else { return };
    sandbox.write("source/large", noise(6_000_000, 1));
    let _id = sandbox.backup(["files", "source"]);
    let failed =
        run(sandbox.command(["restore", "latest", "--target"]).arg(disk.path("target"))).assert_code(1);
    let _said =
        failed.assert_says(["no space is left", "large", "hint: free some space, or choose another target"]);
    let full =
        fs::File::options().write(true).create(true).truncate(false).open(disk.path("stream")).unwrap();
    let status = sandbox
        .command(["cat", "latest", sandbox.path("source/large").to_str().unwrap()])
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status();
    assert_eq!(status.unwrap().code(), Some(1));
    sandbox.assert_clean();
    let _restored = sandbox.run(["restore", "latest", "--target", "target"]).assert_code(0);
}

#[test]
fn a_full_cache_disk_stops_nothing() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk"), 1 << 20).unwrap() else { return };
    let with =
        |arguments: &[&str]| run(sandbox.command(arguments).env("STRONGROOM_CACHE_DIR", disk.path("cache")));
    sandbox.write("source/a", noise(1_000_000, 1));
    let _first = with(&["backup", "files", "source"]).assert_code(0);
    let filler = disk.fill().unwrap();
    // Many small files: many chunks, more than the cache has room for.
    for number in 0..400 {
        sandbox.write(format!("source/{number}"), noise(2_000, number));
    }
    let _second = with(&["backup", "files", "source"]).assert_code(0);
    let _third = with(&["backup", "files", "source", "--force"]).assert_code(0);
    let _restored = with(&[
        "restore",
        "latest",
        "--target",
        "target",
        "--subtree",
        sandbox.path("source").to_str().unwrap(),
    ])
    .assert_code(0);
    tree::assert_same(&sandbox.path("source"), &sandbox.path("target"));
    fs::remove_file(filler).unwrap();
    let again = with(&["backup", "files", "source", "--force", "--json"]).assert_code(0).one("backup");
    assert_eq!(again["new_bytes"], 0, "{again}");
    // A cache disk that is full from the beginning.
    let filler = disk.fill().unwrap();
    fs::remove_dir_all(disk.path("cache")).unwrap();
    fs::write(disk.path("more"), noise(1 << 20, 5)).unwrap_err();
    let _fourth = with(&["backup", "files", "source", "--force"]).assert_code(0);
    drop(filler);
    sandbox.assert_clean();
}

/// Copying what is needed of thin packs takes room before it makes some.
#[test]
fn a_prune_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let sandbox = Sandbox::empty();
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk"), 16 << 20).unwrap() else { return };
    let repository = disk.path("repository");
    let with = |arguments: &[&str]| run(sandbox.command(arguments).env("STRONGROOM_REPO", &repository));
    let _made = with(&["init"]).assert_code(0);
    // The first day's pack holds what the second needs and what nobody needs any more.
    sandbox.write("source/kept", noise(2_000_000, 1));
    sandbox.write("source/gone", noise(4_000_000, 2));
    let first = id_of(&with(&["backup", "files", "source", "--json"]).assert_code(0).one("backup"));
    fs::remove_file(sandbox.path("source/gone")).unwrap();
    let _second = with(&["backup", "files", "source"]).assert_code(0);
    let _forgot = with(&["forget", &first]).assert_code(0);
    let restores = |target: &str| {
        let subtree = sandbox.path("source");
        let arguments = ["restore", "latest", "--subtree", subtree.to_str().unwrap(), "--target", target];
        let _restored = with(&arguments).assert_code(0);
        tree::assert_same(&subtree, &sandbox.path(target));
    };

    let prune = ["prune", "--grace", "0", "--max-unused", "0"];
    let filler = disk.fill().unwrap();
    for _ in 0..2 {
        let failed = with(&prune).assert_code(1);
        let _said = failed.assert_says(["no space left", "no snapshot was harmed", "free some space"]);
    }
    let _clean = with(&["check", "--read-data"]).assert_code(0);
    restores("while-full");
    fs::remove_file(filler).unwrap();
    let pruned = run(sandbox.command(prune).arg("--json").env("STRONGROOM_REPO", &repository));
    let pruned = pruned.assert_code(0).one("prune");
    assert!(pruned["copied"]["objects"].as_u64() >= Some(1), "{pruned}");
    // Frames that hold chunks of both, one a lane at most, are copied whole.
    assert!(pruned["freed_bytes"].as_u64() > Some(1_500_000), "{pruned}");
    restores("afterwards");
    let _clean = with(&["check", "--read-data"]).assert_code(0);
}

#[test]
fn a_copy_into_a_full_repository_commits_nothing() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk"), 8 << 20).unwrap() else { return };
    let data = noise(3_000_000, 1);
    let _id = sandbox.backup_stream("dump", &data);
    let (from, repository) = (sandbox.repository(), disk.path("repository"));
    let with = |arguments: &[&str]| run(sandbox.command(arguments).env("STRONGROOM_REPO", &repository));
    let _made = with(&["init"]).assert_code(0);
    let filler = disk.fill().unwrap();
    let copy = ["copy", "--from-repo", from.to_str().unwrap()];
    let failed = with(&copy).assert_code(1);
    let _said = failed.assert_says(["no space left", "nothing was committed", "free some space"]);
    assert!(with(&["snapshots", "--json"]).assert_code(0).json_lines().is_empty());
    let _clean = with(&["check", "--read-data"]).assert_code(0);
    fs::remove_file(filler).unwrap();
    let _copied = with(&copy).assert_code(0).assert_prints(["copied 1 of 1 snapshots"]);
    assert!(with(&["cat", "latest", "dump"]).assert_code(0).stdout == data);
    let _clean = with(&["check", "--read-data"]).assert_code(0);
    sandbox.assert_clean();
}

#[test]
fn a_full_cache_disk_stops_no_prune() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk"), 1 << 20).unwrap() else { return };
    let with =
        |arguments: &[&str]| run(sandbox.command(arguments).env("STRONGROOM_CACHE_DIR", disk.path("cache")));
    sandbox.write("source/kept", noise(1_000_000, 1));
    sandbox.write("source/gone", noise(1_000_000, 2));
    let first = id_of(&with(&["backup", "files", "source", "--json"]).assert_code(0).one("backup"));
    fs::remove_file(sandbox.path("source/gone")).unwrap();
    let _second = with(&["backup", "files", "source"]).assert_code(0);
    let _forgot = with(&["forget", &first]).assert_code(0);
    let _filler = disk.fill().unwrap();
    let pruned = with(&["prune", "--grace", "0", "--max-unused", "0", "--json"]).assert_code(0).one("prune");
    assert!(pruned["copied"]["objects"].as_u64() >= Some(1), "{pruned}");
    let _forgot = with(&["forget", "--keep-last", "1"]).assert_code(0);
    // And with a cache disk that is full from the beginning.
    fs::remove_dir_all(disk.path("cache")).unwrap();
    let _filler = disk.fill().unwrap();
    let _pruned = with(&["prune", "--grace", "0", "--max-unused", "0"]).assert_code(0);
    let subtree = sandbox.path("source");
    let restore = ["restore", "latest", "--subtree", subtree.to_str().unwrap(), "--target", "target"];
    let _restored = with(&restore).assert_code(0);
    tree::assert_same(&subtree, &sandbox.path("target"));
    sandbox.assert_clean();
}
