//! Bad input: the error says what is wrong and what to do, the exit code says it to scripts, and nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use strongroom_tests::sandbox::{Sandbox, id_of, run};

/// The only object of a folder of the store.
fn objects(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn a_wrong_passphrase_is_access_denied() {
    let sandbox = Sandbox::empty();
    let with = |passphrase: &str, arguments: &[&str]| {
        run(sandbox.command(arguments).env("STRONGROOM_PASSPHRASE", passphrase))
    };
    let _made = with("correct horse battery", &["init"]).assert_code(0);
    let _listed = with("correct horse battery", &["snapshots"]).assert_code(0);
    let wrong = with("incorrect horse battery", &["snapshots"]).assert_code(5);
    let _said = wrong.assert_says(["wrong passphrase", "hint: give the right"]);
    let none = sandbox.run(["snapshots"]).assert_code(5);
    let _said = none.assert_says(["nothing at hand opens it", "it opens with: a passphrase"]);
    let in_json = with("incorrect horse battery", &["snapshots", "--json"]).assert_code(5).one("error");
    assert_eq!(in_json["exit_code"], 5);
}

#[test]
fn a_wrong_key_file_is_access_denied() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::empty());
    let key = other.path("other.key");
    let _made = run(other.command(["init", "--key-file"]).arg(&key)).assert_code(0);
    let _wrong = run(sandbox.command(["snapshots", "--key-file"]).arg(&key))
        .assert_code(5)
        .assert_says(["wrong passphrase or key"]);
    let no_key = sandbox.write("no.key", "this is not a key\n");
    let _refused = run(sandbox.command(["snapshots", "--key-file"]).arg(no_key))
        .assert_code(5)
        .assert_says(["not a key file"]);
    let _missing =
        sandbox.run(["snapshots", "--key-file", "nowhere.key"]).assert_code(1).assert_says(["nowhere.key"]);
    let _listed = sandbox.run(["snapshots"]).assert_code(0);
}

#[test]
fn the_key_file_of_another_home_is_not_found() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::empty());
    let denied = run(other.command(["snapshots", "--repo"]).arg(sandbox.repository())).assert_code(5);
    let _said = denied.assert_says(["nothing at hand opens it", "it opens with: a key file"]);
}

#[test]
fn settings_that_are_empty_are_not_set() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["snapshots"]);
    for name in ["KEY_FILE", "PASSPHRASE", "PASSPHRASE_FILE", "FINGERPRINT", "CACHE_DIR"] {
        command.env(format!("STRONGROOM_{name}"), "");
    }
    let _listed = run(&mut command).assert_code(0);
    sandbox.write("source/a", "a");
    let mut backup = sandbox.command(["backup", "files", "source", "--json", "--source", ""]);
    let report = run(backup.env("STRONGROOM_HOST", "")).assert_code(0).one("backup");
    assert_eq!(report["source"].as_str(), sandbox.path("source").to_str());
    assert_ne!(report["host"], "");
    let none = run(sandbox.command(["snapshots"]).env("STRONGROOM_REPO", "")).assert_code(2);
    let _said = none.assert_says(["which repository?"]);
}

#[test]
fn a_place_without_a_repository_is_said_to_be_none() {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("folder")).unwrap();
    sandbox.write("file", "x");
    for place in ["folder", "nowhere"] {
        for command in [
            &["snapshots"][..],
            &["check"],
            &["restore", "latest", "--target", "t"],
            &["backup", "files", "file"],
        ] {
            let refused = run(sandbox.command(command).args(["--repo", place])).assert_code(1);
            let _said = refused.assert_says([
                "there is no repository",
                place,
                "hint: make one with `strongroom init`",
            ]);
        }
    }
    let _file = sandbox.run(["snapshots", "--repo", "file"]).assert_code(1).assert_says(["file"]);
    assert!(!sandbox.path("nowhere").exists() && !sandbox.path("t").exists());
    let _scheme = sandbox
        .run(["snapshots", "--repo", "sftp://host/x"])
        .assert_code(2)
        .assert_says(["names no store", "s3://BUCKET/PREFIX"]);
}

#[test]
fn a_newer_format_is_refused_by_everything_and_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("source/a", "a");
    let config = sandbox.repository().join("config");
    let mut bytes = fs::read(&config).unwrap();
    assert_eq!(bytes[..3], [0xA4, 1, 1], "config is a map of four that begins with the version");
    bytes[2] = 2;
    fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(&config, bytes).unwrap();
    let before = objects(&sandbox.repository().join("journal"));
    for command in
        [&["snapshots"][..], &["check"], &["backup", "files", "source"], &["restore", "latest", "-t", "t"]]
    {
        let _refused = sandbox
            .run(command)
            .assert_code(1)
            .assert_says(["needs a newer version of strongroom", "format version"]);
    }
    assert_eq!(objects(&sandbox.repository().join("journal")), before);
}

#[test]
fn an_object_of_an_unknown_suite_is_not_taken_for_damage() {
    let sandbox = Sandbox::new();
    let entry = sandbox.repository().join("journal/0000000000000000");
    let mut bytes = fs::read(&entry).unwrap();
    assert_eq!(&bytes[..8], b"STRNGRM1");
    bytes[9] = 2;
    fs::set_permissions(&entry, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(&entry, bytes).unwrap();
    let _refused = sandbox
        .run(["snapshots"])
        .assert_code(1)
        .assert_says(["journal/0000000000000000 needs a newer version of strongroom", "cipher suite"]);
}

#[test]
fn another_repository_under_a_pinned_fingerprint_is_refused() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let fingerprint = sandbox.run(["stats", "--json"]).assert_code(0).one("stats")["fingerprint"].clone();
    let fingerprint = fingerprint.as_str().unwrap();
    let pinned = |repository: &Path| {
        run(sandbox
            .command(["snapshots", "--repo"])
            .arg(repository)
            .env("STRONGROOM_FINGERPRINT", fingerprint))
    };
    let _same = pinned(&sandbox.repository()).assert_code(0);
    let _swapped = pinned(&other.repository()).assert_code(5).assert_says([
        "this is another repository",
        fingerprint,
        "it may have been replaced",
    ]);
    // Only its `config`, in front of the rest of this one.
    let config = sandbox.repository().join("config");
    fs::remove_file(&config).unwrap();
    fs::copy(other.repository().join("config"), &config).unwrap();
    let _swapped = pinned(&sandbox.repository()).assert_code(5).assert_says(["this is another repository"]);
    let _unpinned = sandbox.run(["snapshots"]).assert_code(5);
}

#[test]
fn garbage_and_foreign_entries_in_the_journal_stop_no_backup() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    sandbox.write("source/a", "first");
    let first = id_of(&sandbox.backup(["files", "source"]));
    let next = |sandbox: &Sandbox| {
        let number = objects(&sandbox.repository().join("journal")).len();
        sandbox.repository().join(format!("journal/{number:016x}"))
    };
    fs::write(next(&sandbox), "garbage").unwrap();
    sandbox.write("source/a", "second");
    let second = sandbox.run(["backup", "files", "source"]).assert_code(0).assert_says(["is damaged"]);
    drop(second);
    // Signed, sealed and numbered as it should be, but by another repository's keys.
    let number = objects(&sandbox.repository().join("journal")).len();
    while objects(&other.repository().join("journal")).len() <= number {
        let _written = other.backup_stream("x", b"x");
    }
    let foreign = other.repository().join(format!("journal/{number:016x}"));
    fs::copy(foreign, next(&sandbox)).unwrap();
    sandbox.write("source/a", "third");
    let third = id_of(&sandbox.backup(["files", "source"]));
    let snapshots = sandbox.snapshots();
    assert_eq!(snapshots.len(), 3);
    assert_eq!((&snapshots[0], &snapshots[2]), (&first, &third));
    let path = sandbox.path("source/a");
    for (snapshot, content) in snapshots.iter().zip(["first", "second", "third"]) {
        assert_eq!(sandbox.cat(snapshot, path.to_str().unwrap()), content.as_bytes());
    }
    let checked = sandbox.run(["check", "--read-data", "--json"]).assert_code(4);
    let found: Vec<_> =
        checked.all("finding").iter().map(|finding| finding["object"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found.len(), 2, "{checked}");
    assert!(found.iter().all(|object| object.starts_with("journal/")), "{checked}");
    assert!(checked.all("finding").iter().all(|finding| finding["severity"] == "suspicious"), "{checked}");
}

#[test]
fn files_of_nobody_in_the_store_are_reported_and_stop_nothing() {
    let sandbox = Sandbox::new();
    let _first = sandbox.backup_stream("x", b"first");
    for stray in ["journal/notes.txt", "journal/ffffffffffffffff", "packs/README", "index/x", "keys/x"] {
        let path = sandbox.repository().join(stray);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "stray").unwrap();
    }
    let second = sandbox.backup_stream("x", b"second");
    assert_eq!(sandbox.cat("latest", "x"), b"second");
    assert_eq!(sandbox.snapshots().last(), Some(&second));
    let checked = sandbox.run(["check", "--json"]);
    assert!(checked.all("finding").iter().all(|finding| finding["severity"] != "damage"), "{checked}");
    let told = checked.text();
    for stray in ["journal/ffffffffffffffff", "index/x", "keys/x"] {
        assert!(told.contains(stray), "{stray} is not reported: {checked}");
    }
}

#[test]
fn snapshots_that_are_not_there_have_an_exit_code_of_their_own() {
    let sandbox = Sandbox::new();
    let _none = sandbox.run(["ls"]).assert_code(6).assert_says(["there are no snapshots"]);
    let id = sandbox.backup_stream("ledger", b"entries");
    let unknown = if id.starts_with("0000") { "ffff" } else { "0000" };
    let commands = [
        &["ls"][..],
        &["show"],
        &["cat"],
        &["diff"],
        &["restore", "--target", "t"],
        &["tag", "--add", "x"],
        &["find", "x", "-s"],
    ];
    for command in commands {
        let ran = |selector: &str| run(sandbox.command(command).arg(selector)).assert_code(6);
        let _unknown = ran(unknown).assert_says([
            "no snapshot matches",
            &id[..8],
            "ledger",
            "hint: `strongroom snapshots`",
        ]);
        let _short = ran(&id[..3]).assert_says(["too short", "at least 4"]);
        let _no_id = ran("no-such-id").assert_says(["no snapshot matches"]);
        let _source = ran("latest:other").assert_says(["no snapshot matches `latest:other`", "ledger"]);
        let _old = ran("latest@2001-01-01").assert_says(["no snapshot matches"]);
    }
    assert!(!sandbox.path("t").exists());
    for length in [4, 5, 63, 64] {
        let _found = sandbox.run(["show", &id[..length]]).assert_code(0).assert_prints([&id]);
    }
    let _upper = sandbox.run(["show", &id[..8].to_uppercase()]).assert_code(0);
    let _longer = sandbox.run(["show", &format!("{id}0")]).assert_code(6);
    let _time = sandbox.run(["show", "latest@yesterday-ish"]).assert_code(2).assert_says(["is no time"]);
    let _typo = sandbox.run(["show", "lastest"]).assert_code(6);
    let _typo = sandbox.run(["show", "latest-1"]).assert_code(2).assert_says(["latest:SOURCE"]);
}

#[test]
fn a_missing_source_is_named_and_the_rest_is_backed_up() {
    let sandbox = Sandbox::new();
    sandbox.write("source/a", "a");
    let ran =
        sandbox.run(["backup", "files", "--json", "source", "missing", "source/gone/too"]).assert_code(3);
    let missing = sandbox.path("missing");
    let gone = sandbox.path("source/gone/too");
    let ran =
        ran.assert_says([missing.to_str().unwrap(), gone.to_str().unwrap(), "No such file or directory"]);
    let report = ran.one("backup");
    assert_eq!((&report["unreadable"], &report["files"]), (&2.into(), &1.into()));
    assert_eq!(ran.all("warning").len(), 2, "{ran}");
    assert_eq!(sandbox.cat("latest", sandbox.path("source/a").to_str().unwrap()), b"a");
    let _listed = sandbox.run(["snapshots"]).assert_code(0).assert_prints(["(partial)"]);
    let _none =
        sandbox.run(["backup", "files", "missing"]).assert_code(1).assert_says(["no snapshot was made"]);
    assert_eq!(sandbox.snapshots().len(), 1);
}

#[test]
fn an_unreadable_file_is_named_and_the_rest_is_backed_up() {
    let sandbox = Sandbox::empty();
    sandbox.write("source/open", "read me");
    let closed = sandbox.write("source/closed", "secret");
    let folder = sandbox.write("source/folder/inside", "hidden").parent().unwrap().to_owned();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap()
    };
    set_mode(&closed, 0o000);
    set_mode(&folder, 0o000);
    // Permissions do not stop root.
    let as_nobody = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        if rustix::process::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut command, 65_534);
            std::os::unix::process::CommandExt::gid(&mut command, 65_534);
        }
        run(&mut command)
    };
    if rustix::process::geteuid().is_root() {
        for path in [sandbox.path(""), sandbox.home()] {
            std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
        }
    }
    let _made = as_nobody(&["init"]).assert_code(0);
    let ran = as_nobody(&["backup", "files", "--json", "source"]).assert_code(3);
    let ran = ran.assert_says([closed.to_str().unwrap(), folder.to_str().unwrap(), "Permission denied"]);
    assert_eq!(ran.one("backup")["unreadable"], 2);
    let listed = as_nobody(&["ls"]).assert_code(0).assert_prints(["/source/open", "/source/folder"]);
    assert!(!listed.text().contains("inside"), "{listed}");
    let only = as_nobody(&["backup", "files", "source/closed"]).assert_code(1);
    let _said = only.assert_says([closed.to_str().unwrap(), "no snapshot was made"]);
    set_mode(&folder, 0o755);
}

#[test]
fn a_repository_that_may_not_be_read_is_access_denied() {
    let sandbox = Sandbox::new();
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(sandbox.repository(), std::os::unix::fs::PermissionsExt::from_mode(0o000))
            .unwrap();
    }
    let mut command = sandbox.command(["snapshots", "--no-cache"]);
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(sandbox.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        std::os::unix::process::CommandExt::gid(&mut command, 65_534);
    }
    let denied = run(&mut command);
    fs::set_permissions(sandbox.repository(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let _said = denied.assert_code(5).assert_says(["repository", "hint: run as a user who may"]);
}

#[test]
fn wrong_arguments_are_usage_errors() {
    let sandbox = Sandbox::new();
    let wrong = [
        &["nonsense"][..],
        &["backup"],
        &["backup", "files"],
        &["backup", "stdin"],
        &["backup", "command"],
        &["backup", "command", "--name", "x"],
        &["backup", "command", "--stream", "no-equals-sign"],
        &["backup", "command", "--stream", "a=true", "--stream", "a=true"],
        &["backup", "files", "--compression", "20", "x"],
        &["restore", "latest"],
        &["restore", "--target", "t"],
        &["check", "--sample", "0%"],
        &["check", "--sample", "101"],
        &["tag", "latest"],
        &["tag", "latest", "--add", "a,b"],
        &["backup", "files", "source", "--tag", "a,b"],
        &["backup", "files", "source", "--tag", ""],
        &["find", "["],
        &["ls", "latest", "../x"],
    ];
    let _one = sandbox.backup_stream("x", b"x");
    for arguments in wrong {
        let ran = sandbox.run(arguments).assert_code(2);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("error:"), "{ran}");
    }
    assert_eq!(sandbox.snapshots().len(), 1);
}
