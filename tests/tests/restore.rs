//! `restore`: where it writes, what it replaces, and what it never touches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Ran, Sandbox, run};
use strongroom_tests::tree;

fn set_mtime(path: &Path, seconds: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds))).unwrap();
}

/// `source` with a few files, backed up.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["a.sql", "b.txt", "sub/c.sql", "sub/deep/d.txt"] {
        set_mtime(&sandbox.write(format!("source/{name}"), format!("content of {name}")), 1_600_000_000);
    }
    sandbox.write("source/big", noise(2_000_000, 1));
    let _backup = sandbox.backup(["files", "source"]);
    sandbox
}

fn restore(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = sandbox.command(["restore", "latest", "--target", "target", "--subtree"]);
    run(command.arg(sandbox.path("source")).args(arguments))
}

fn names(folder: &Path) -> Vec<PathBuf> {
    tree::read(folder).into_iter().filter(|(_, node)| node.content.is_some()).map(|(path, _)| path).collect()
}

#[test]
fn into_a_new_folder_with_the_whole_path_or_without() {
    let sandbox = prepared();
    let _restored = sandbox.run(["restore", "latest", "--target", "new/deep/target"]).assert_code(0);
    let source = sandbox.path("source");
    tree::assert_same(&source, &sandbox.path("new/deep/target").join(source.strip_prefix("/").unwrap()));
    let _restored = restore(&sandbox, &[]).assert_code(0);
    tree::assert_same(&source, &sandbox.path("target"));
}

#[test]
fn into_an_empty_folder_that_stays_as_it_is() {
    let sandbox = prepared();
    let target = sandbox.path("target");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o2771)).unwrap();
    let _restored = restore(&sandbox, &[]).assert_code(0);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o2771);
    assert_eq!(names(&target), names(&sandbox.path("source")));
}

#[test]
fn never_into_a_folder_that_holds_something() {
    let sandbox = prepared();
    sandbox.write("target/mine", "mine");
    let _refused = restore(&sandbox, &[]).assert_code(1).assert_says([
        "target",
        "is not empty",
        "hint: choose a new folder",
    ]);
    assert_eq!(names(&sandbox.path("target")), [PathBuf::from("mine")]);
    sandbox.write("file", "x");
    let _refused =
        sandbox.run(["restore", "latest", "--target", "file"]).assert_code(1).assert_says(["file"]);
    assert_eq!(fs::read(sandbox.path("file")).unwrap(), b"x");
}

#[test]
fn overwrite_policies_replace_what_they_say() {
    for (policy, changed, newer, older) in [
        ("if-changed", "content", "content", "content"),
        ("if-newer", "content", "later", "content"),
        ("always", "content", "content", "content"),
    ] {
        let sandbox = prepared();
        let target = sandbox.path("target");
        let _restored = restore(&sandbox, &[]).assert_code(0);
        sandbox.write("target/mine", "mine");
        // Older than the snapshot's and of another length; newer; older.
        sandbox.write("target/a.sql", "old");
        set_mtime(&target.join("a.sql"), 1_500_000_000);
        sandbox.write("target/b.txt", "later");
        set_mtime(&target.join("b.txt"), 1_700_000_000);
        fs::remove_file(target.join("sub/c.sql")).unwrap();
        sandbox.write("target/sub/deep/d.txt", "earlier");
        set_mtime(&target.join("sub/deep/d.txt"), 1_500_000_000);
        let _restored = restore(&sandbox, &["--overwrite", policy]).assert_code(0);
        let starts = |name: &str, start: &str| {
            let found = fs::read_to_string(target.join(name)).unwrap();
            assert!(found.starts_with(start), "{policy}: {name} holds {found:?}");
        };
        starts("a.sql", changed);
        starts("b.txt", newer);
        starts("sub/c.sql", "content");
        starts("sub/deep/d.txt", older);
        starts("mine", "mine");
    }
}

#[test]
fn if_changed_leaves_alone_what_is_the_same() {
    let sandbox = prepared();
    let _restored = restore(&sandbox, &[]).assert_code(0);
    // Same length, same time, other bytes: the policy says that it is not looked into.
    let path = sandbox.path("target/b.txt");
    fs::write(&path, "CONTENT OF b.txt").unwrap();
    set_mtime(&path, 1_600_000_000);
    let report = restore(&sandbox, &["--overwrite", "if-changed", "--json"]).assert_code(0).one("restore");
    assert_eq!((&report["files"], &report["skipped"]), (&0.into(), &5.into()));
    assert_eq!(fs::read(&path).unwrap(), b"CONTENT OF b.txt");
    let report = restore(&sandbox, &["--overwrite", "always", "--json"]).assert_code(0).one("restore");
    assert_eq!(report["files"], 5);
    // The target itself was there before: it keeps its own time.
    let below = |name: &str| {
        tree::read(&sandbox.path(name)).into_iter().filter(|(path, _)| !path.as_os_str().is_empty()).collect()
    };
    tree::assert_same_trees(&below("source"), &below("target"));
}

#[test]
fn a_delta_writes_what_differs_and_deletes_what_is_not_in_the_snapshot() {
    let sandbox = Sandbox::new();
    let file = |folder: &Path, name: &str| folder.join(name);
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    let data = noise(4 << 20, 3);
    fs::write(file(&source, "folder/large"), &data).unwrap();
    fs::write(file(&source, "same"), b"same").unwrap();
    let _first = sandbox.backup(["files", source.to_str().unwrap()]);
    let mut changed = data.clone();
    changed[1 << 20] ^= 1;
    changed.extend_from_slice(b"and more");
    fs::write(file(&source, "folder/large"), &changed).unwrap();
    fs::write(file(&source, "new"), b"new").unwrap();
    let subtree = source.to_str().unwrap();
    let delta = ["restore", "latest", "--subtree", subtree, "--target", subtree, "--delta", "--json"];
    let report = sandbox.run(delta).assert_code(0).one("restore");
    assert_eq!(fs::read(file(&source, "folder/large")).unwrap(), data);
    assert!(!file(&source, "new").exists() && file(&source, "same").exists());
    assert_eq!(report["deleted"], 1, "{report}");
    assert!((1..data.len() as u64 / 2).contains(&report["written"].as_u64().unwrap()), "{report}");
    let again = sandbox.run(delta).assert_code(0).one("restore");
    assert_eq!((&again["written"], &again["deleted"]), (&0.into(), &0.into()), "{again}");

    let everything = ["restore", "latest", "--delta", "--target", "/"];
    let _refused = sandbox.run(everything).assert_code(2).assert_says(["delete all that this host has"]);
}

#[test]
fn include_and_exclude_choose() {
    for (arguments, expected) in [
        (&["--include", "*.sql"][..], &["a.sql", "sub/c.sql"][..]),
        (&["-i", "sub"], &["sub/c.sql", "sub/deep/d.txt"]),
        (&["-i", "sub", "-e", "deep"], &["sub/c.sql"]),
        (&["-e", "*.sql", "-e", "big"], &["b.txt", "sub/deep/d.txt"]),
        (&["-i", "{a,c}.sql"], &["a.sql", "sub/c.sql"]),
        (&["-i", "**/sub/*"], &["sub/c.sql", "sub/deep/d.txt"]),
    ] {
        let sandbox = prepared();
        let _restored = restore(&sandbox, arguments).assert_code(0);
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(names(&sandbox.path("target")), expected, "{arguments:?}");
        for name in expected {
            assert_eq!(
                fs::read(sandbox.path("target").join(&name)).unwrap(),
                fs::read(sandbox.path("source").join(&name)).unwrap()
            );
        }
    }
}

#[test]
fn what_matches_nothing_is_said() {
    let sandbox = prepared();
    for dry in [&[][..], &["--dry-run"]] {
        let ran = restore(&sandbox, &[&["--include", "*.nothing"], dry].concat());
        let _said = ran.assert_code(3).assert_says(["nothing in the snapshot matches"]);
        let ran = run(sandbox
            .command(["restore", "latest", "--target", "target2", "--subtree", "/no/such/folder"])
            .args(dry));
        let _said =
            ran.assert_code(1).assert_says(["has no entry `no/such/folder`", "hint: `strongroom ls ID`"]);
    }
    assert!(!sandbox.path("target2").exists());
}

#[test]
fn a_subtree_that_is_a_file_is_restored_by_its_name() {
    let sandbox = prepared();
    let file = sandbox.path("source/sub/c.sql");
    let _restored = run(sandbox.command(["restore", "latest", "--target", "target", "--subtree"]).arg(&file))
        .assert_code(0);
    assert_eq!(names(&sandbox.path("target")), [PathBuf::from("c.sql")]);
}

#[test]
fn a_dry_run_tells_sizes_and_writes_nothing() {
    let sandbox = prepared();
    let ran = restore(&sandbox, &["--dry-run", "--json"]).assert_code(0);
    let summary = ran.one("summary");
    let sizes: u64 = ran.all("entry").iter().map(|entry| entry["bytes"].as_u64().unwrap()).sum();
    assert_eq!(summary["bytes"], sizes);
    assert_eq!(
        sizes,
        tree::read(&sandbox.path("source"))
            .values()
            .filter_map(|node| node.content.as_ref())
            .map(|bytes| bytes.len() as u64)
            .sum::<u64>()
    );
    let _for_people =
        restore(&sandbox, &["-n", "-i", "big"]).assert_code(0).assert_prints(["2000000", "/source/big"]);
    // Nobody need say where to, for that.
    let _without =
        sandbox.run(["restore", "latest", "--dry-run"]).assert_code(0).assert_prints(["/source/big"]);
    assert!(!sandbox.path("target").exists());
}

#[test]
fn nothing_is_written_through_links_that_lie_in_the_target() {
    let sandbox = prepared();
    let outside = sandbox.path("outside");
    for policy in ["if-changed", "if-newer", "always"] {
        let _absent = fs::remove_dir_all(&outside);
        let _absent = fs::remove_dir_all(sandbox.path("target"));
        fs::create_dir(&outside).unwrap();
        sandbox.write("outside/file", "mine");
        fs::create_dir(sandbox.path("target")).unwrap();
        // A folder of the snapshot is a link to elsewhere here, and so is a file.
        symlink(&outside, sandbox.path("target/sub")).unwrap();
        symlink(outside.join("file"), sandbox.path("target/a.sql")).unwrap();
        symlink(outside.join("new"), sandbox.path("target/b.txt")).unwrap();
        let ran = restore(&sandbox, &["--overwrite", policy]);
        assert_eq!(ran.status.code(), Some(3), "{ran}");
        let _said = ran.assert_says(["/sub"]);
        assert_eq!(names(&outside), [PathBuf::from("file")], "{policy} wrote outside");
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"mine", "{policy} wrote outside");
        assert!(fs::read(sandbox.path("target/big")).unwrap() == noise(2_000_000, 1), "the rest is restored");
    }
}

#[test]
fn a_link_to_the_target_itself_is_followed() {
    let sandbox = prepared();
    fs::create_dir(sandbox.path("real")).unwrap();
    symlink("real", sandbox.path("target")).unwrap();
    let _restored = restore(&sandbox, &[]).assert_code(0);
    assert_eq!(names(&sandbox.path("real")), names(&sandbox.path("source")));
}

#[test]
fn a_folder_in_the_way_of_a_file_is_not_deleted() {
    let sandbox = prepared();
    sandbox.write("target/a.sql/mine", "mine");
    sandbox.write("target/sub", "a file");
    let ran = restore(&sandbox, &["--overwrite", "always"]).assert_code(3).assert_says(["/a.sql", "/sub"]);
    drop(ran);
    assert_eq!(fs::read(sandbox.path("target/a.sql/mine")).unwrap(), b"mine");
    assert_eq!(fs::read(sandbox.path("target/sub")).unwrap(), b"a file");
    assert!(sandbox.path("target/b.txt").exists());
}

#[test]
fn hard_links_are_made_again_when_some_are_left_out() {
    let sandbox = Sandbox::new();
    let first = sandbox.write("source/first", noise(100_000, 1));
    for name in ["second", "third"] {
        fs::hard_link(&first, sandbox.path("source").join(name)).unwrap();
    }
    let _backup = sandbox.backup(["files", "source"]);
    let _restored = restore(&sandbox, &["-e", "first"]).assert_code(0);
    for name in ["second", "third"] {
        assert!(fs::read(sandbox.path("target").join(name)).unwrap() == noise(100_000, 1), "{name}");
    }
}

#[test]
fn the_audit_trail_says_who_restored() {
    let sandbox = prepared();
    let before = fs::read_dir(sandbox.repository().join("journal")).unwrap().count();
    let _restored = restore(&sandbox, &[]).assert_code(0);
    let after = fs::read_dir(sandbox.repository().join("journal")).unwrap().count();
    // That it begins, and how it ended.
    assert_eq!(after, before + 2);
}
