//! `snapshots`, `ls`, `find`, `diff`, `show`, `stats`, `tag`, `completions`: for people and as JSON lines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::process::Stdio;

use serde_json::Value;
use strongroom_tests::sandbox::{Sandbox, id_of, text};

/// Two snapshots of files and one of a stream.
fn prepared() -> (Sandbox, [String; 3]) {
    let sandbox = Sandbox::new();
    sandbox.write("source/kept.txt", "kept");
    sandbox.write("source/changed.txt", "before");
    sandbox.write("source/gone/removed.sql", "removed");
    let first =
        id_of(&sandbox.backup(["files", "source", "--source", "web", "--tag", "monday", "--host", "alpha"]));
    sandbox.write("source/changed.txt", "after that");
    sandbox.write("source/new.SQL", "new");
    std::fs::remove_dir_all(sandbox.path("source/gone")).unwrap();
    let second = id_of(&sandbox.backup(["files", "source", "--source", "web", "--host", "beta"]));
    let third = sandbox.backup_stream("dump.sql", b"dump");
    (sandbox, [first, second, third])
}

fn ids(values: &[Value]) -> Vec<String> {
    values.iter().map(|value| text(&value["id"])).collect()
}

#[test]
fn every_listing_is_json_lines() {
    let (sandbox, [first, second, _]) = prepared();
    let commands: [(&[&str], &str); 10] = [
        (&["snapshots"], "snapshot"),
        (&["ls", &first], "entry"),
        (&["ls", &first, "--long"], "entry"),
        (&["find", "*.txt"], "entry"),
        (&["diff", &first, &second], "summary"),
        (&["show", &first], "snapshot"),
        (&["stats"], "stats"),
        (&["tag", &first, "--add", "x"], "tag"),
        (&["check"], "check"),
        (&["restore", &first, "--dry-run"], "summary"),
    ];
    for (arguments, kind) in commands {
        let ran = sandbox.run(arguments.iter().chain(&["--json"])).assert_code(0);
        assert!(!ran.all(kind).is_empty(), "{ran}");
        // Data goes to standard output, and nothing else does.
        assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error")).count(), 0, "{ran}");
        let quiet = sandbox.run(arguments.iter().chain(&["--quiet"])).assert_code(0);
        assert_eq!(quiet.stderr, "", "{quiet}");
    }
}

#[test]
fn snapshots_are_filtered() {
    let (sandbox, [first, second, third]) = prepared();
    let listed = |arguments: &[&str]| {
        ids(&sandbox.run(["snapshots", "--json"].iter().chain(arguments)).assert_code(0).all("snapshot"))
    };
    assert_eq!(listed(&[]), [first.clone(), second.clone(), third.clone()]);
    assert_eq!(listed(&["--source", "web"]), [first.clone(), second.clone()]);
    assert_eq!(listed(&["--host", "beta"]), std::slice::from_ref(&second));
    assert_eq!(listed(&["--tag", "monday", "--tag", "other"]), std::slice::from_ref(&first));
    assert_eq!(listed(&["--latest"]), [first.clone(), second, third.clone()], "each host's own latest");
    assert_eq!(listed(&["--latest", "1", "--source", "dump.sql"]), [third]);
    assert_eq!(listed(&["--source", "nobody"]), Vec::<String>::new());
    let table = sandbox.run(["snapshots"]).assert_code(0).assert_prints([
        "ID",
        "SOURCE",
        &first[..8],
        "web",
        "monday",
        "stdin",
        "alpha",
    ]);
    assert_eq!(table.text().lines().count(), 4);
    let _counted = table.assert_says(["3 snapshots"]);
}

#[test]
fn latest_means_the_newest_that_fits() {
    let (sandbox, [first, second, third]) = prepared();
    let shown = |selector: &str| {
        text(&sandbox.run(["show", selector, "--json"]).assert_code(0).one("snapshot")["id"])
    };
    assert_eq!(shown("latest"), third);
    assert_eq!(shown("latest:web"), second);
    assert_eq!(shown("latest:dump.sql"), third);
    let time = |id: &str| text(&sandbox.run(["show", id, "--json"]).assert_code(0).one("snapshot")["time"]);
    // The store's times are in milliseconds: a snapshot counts from its own on, and all of those with an equal one.
    let snapshots = sandbox.run(["snapshots", "--json"]).assert_code(0).all("snapshot");
    // As times: as texts `05.12Z` comes behind `05.123Z`.
    let moment = |time: &str| time.parse::<jiff::Timestamp>().unwrap();
    let newest_at = |time: &str, source: Option<&str>| {
        let fits = snapshots.iter().rfind(|s| {
            moment(&text(&s["time"])) <= moment(time) && source.is_none_or(|source| s["source"] == source)
        });
        text(&fits.unwrap()["id"])
    };
    for id in [&first, &second, &third] {
        let at = time(id);
        assert_eq!(shown(&format!("latest@{at}")), newest_at(&at, None));
        assert_eq!(shown(&format!("latest:web@{at}")), newest_at(&at, Some("web")));
    }
    assert_eq!(shown("latest@2999-12-31"), third);
    assert_eq!(shown("latest:web@2999-12-31 23:59"), second);
    let _none = sandbox.run(["show", "latest@1999-12-31T23:59:59Z"]).assert_code(6);
}

#[test]
fn ls_lists_folders_whole_or_flat() {
    let (sandbox, [first, ..]) = prepared();
    let source = sandbox.path("source");
    let source = source.to_str().unwrap();
    let names = |arguments: &[&str]| {
        let ran = sandbox.run(["ls", &first, source].iter().chain(arguments)).assert_code(0);
        ran.text().lines().map(|line| line.strip_prefix(source).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["", "/changed.txt", "/gone", "/gone/removed.sql", "/kept.txt"]);
    assert_eq!(names(&["--flat"]), ["", "/changed.txt", "/gone", "/kept.txt"]);
    let whole = sandbox.run(["ls", &first]).assert_code(0).text();
    assert_eq!(sandbox.run(["ls", &first, "/"]).assert_code(0).text(), whole);
    let long = sandbox.run(["ls", "--long", &first, source]).assert_code(0);
    let _lines = long.assert_prints(["drwx", "-rw", "gone/removed.sql"]);
    let _none = sandbox
        .run(["ls", &first, "/no/such/path"])
        .assert_code(1)
        .assert_says(["has no entry `no/such/path`"]);
}

#[test]
fn find_looks_into_every_snapshot() {
    let (sandbox, [first, second, third]) = prepared();
    let found = |arguments: &[&str]| {
        let entries = sandbox.run(["find", "--json"].iter().chain(arguments)).assert_code(0).all("entry");
        entries.iter().map(|entry| text(&entry["snapshot"])).collect::<Vec<_>>()
    };
    assert_eq!(found(&["kept.txt"]), [first.clone(), second.clone()]);
    assert_eq!(found(&["*.sql"]), [first.clone(), third.clone()]);
    assert_eq!(found(&["*.sql", "-i"]), [first.clone(), second.clone(), third]);
    assert_eq!(found(&["kept.txt", "-s", &second]), std::slice::from_ref(&second));
    assert_eq!(found(&["**/gone/*"]), [first]);
    assert_eq!(found(&["nothing"]), Vec::<String>::new());
}

#[test]
fn diff_tells_added_removed_and_changed() {
    let (sandbox, [first, second, _]) = prepared();
    let ran = sandbox.run(["diff", &first, &second, "--json"]).assert_code(0);
    let mut changes: Vec<(String, String)> = ran
        .all("difference")
        .iter()
        .map(|difference| {
            (text(&difference["change"]), text(&difference["path"]).rsplit('/').next().unwrap().to_owned())
        })
        .collect();
    changes.sort();
    let expected =
        [("added", "new.SQL"), ("changed", "changed.txt"), ("removed", "gone"), ("removed", "removed.sql")];
    assert_eq!(changes, expected.map(|(change, name)| (change.to_owned(), name.to_owned())));
    let summary = ran.one("summary");
    assert_eq!(
        (&summary["added"], &summary["removed"], &summary["changed"]),
        (&1.into(), &2.into(), &1.into())
    );
    let _for_people =
        sandbox.run(["diff", &first, &second]).assert_code(0).assert_prints(["+ /", "- /", "M /"]);
    let same = sandbox.run(["diff", &first, &first]).assert_code(0);
    assert!(same.stdout.is_empty());
    let kept = sandbox.path("source/kept.txt");
    std::fs::set_permissions(&kept, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let third = id_of(&sandbox.backup(["files", "source", "--source", "web"]));
    let metadata = sandbox.run(["diff", &second, &third, "--metadata"]).assert_code(0);
    assert_eq!(metadata.text(), format!("U {}\n", kept.display()));
    let without =
        sandbox.run(["diff", &second, &third]).assert_code(0).assert_says(["1 with other metadata only"]);
    assert!(without.stdout.is_empty());
}

#[test]
fn tags_are_added_and_taken_off() {
    let (sandbox, [first, second, _]) = prepared();
    let tagged = sandbox
        .run([
            "tag",
            &first[..8],
            "latest:web",
            "--add",
            "keep",
            "--add",
            "audit",
            "--remove",
            "monday",
            "--json",
        ])
        .assert_code(0);
    for line in tagged.all("tag") {
        assert_eq!(line["tags"], serde_json::json!(["audit", "keep"]));
    }
    let listed = sandbox.run(["snapshots", "--json", "--tag", "keep"]).assert_code(0).all("snapshot");
    assert_eq!(ids(&listed), [first.clone(), second]);
    // All or nothing: an ID that is not there leaves the others alone.
    let _refused = sandbox.run(["tag", &first, "ffffffff", "--add", "half"]).assert_code(6);
    assert!(sandbox.run(["snapshots", "--json", "--tag", "half"]).assert_code(0).stdout.is_empty());
    sandbox.assert_clean();
}

#[test]
fn show_and_stats_add_up() {
    let (sandbox, [first, ..]) = prepared();
    let shown = sandbox.run(["show", &first, "--json"]).assert_code(0).one("snapshot");
    assert_eq!(
        (&shown["source"], &shown["host"], &shown["engine"]),
        (&"web".into(), &"alpha".into(), &"files".into())
    );
    assert_eq!((&shown["files"], &shown["bytes"]), (&3.into(), &17.into()));
    let _for_people = sandbox.run(["show", &first]).assert_code(0).assert_prints([
        &first,
        "web",
        "alpha",
        "monday",
        "(17 bytes)",
    ]);
    let stats = sandbox.run(["stats", "--json"]).assert_code(0).one("stats");
    // A source is a host's own.
    assert_eq!((&stats["snapshots"], &stats["sources"]), (&3.into(), &3.into()));
    assert_eq!(stats["logical_bytes"], 17 + 17 + 4);
    let on_disk: u64 =
        ["packs", "meta"].iter().map(|kind| folder_bytes(&sandbox.repository().join(kind))).sum();
    assert_eq!(stats["data_bytes"].as_u64().unwrap() + stats["metadata_bytes"].as_u64().unwrap(), on_disk);
}

fn folder_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            if entry.path().is_dir() { folder_bytes(&entry.path()) } else { entry.metadata().unwrap().len() }
        })
        .sum()
}

#[test]
fn completions_are_scripts_that_their_shells_take() {
    let sandbox = Sandbox::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.run(["completions", shell]).assert_code(0).assert_prints([
            "strongroom",
            "snapshots",
            "quickstart",
        ]);
        assert_eq!(script.stderr, "");
        if shell == "bash" {
            let path = sandbox.write("completion", &script.stdout);
            let status = std::process::Command::new("bash")
                .arg("-n")
                .arg(path)
                .stderr(Stdio::inherit())
                .status()
                .unwrap();
            assert!(status.success());
        }
    }
    let _unknown = sandbox.run(["completions", "tcsh"]).assert_code(2);
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let sandbox = Sandbox::empty();
    let help = sandbox.run(["--help"]).assert_code(0).assert_prints([
        "Exit codes: 0 done",
        "4 damage found",
        "restore",
        "check",
    ]);
    assert_eq!(help.stderr, "");
    for command in [
        "init",
        "backup",
        "snapshots",
        "ls",
        "find",
        "diff",
        "show",
        "stats",
        "restore",
        "cat",
        "check",
        "tag",
        "completions",
        "quickstart",
    ] {
        let _help =
            sandbox.run([command, "--help"]).assert_code(0).assert_prints(["Usage: strongroom", command]);
    }
    let _version = sandbox.run(["--version"]).assert_code(0).assert_prints(["strongroom 0."]);
}
