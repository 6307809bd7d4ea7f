//! `run`: what the configuration wants done, each source by itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Ran, Sandbox};

/// Ends of runs, as the journal has them.
fn ends(sandbox: &Sandbox) -> Vec<Value> {
    let journal = sandbox.run(["journal", "export"]).assert_code(0);
    let notes = journal.all("entry").into_iter().filter(|entry| entry["says"]["event"] == "run-ended");
    notes.map(|entry| entry["says"]["detail"].clone()).collect()
}

/// What was done, of what, and how it ended.
fn told(ran: &Ran) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    ran.all("run")
        .iter()
        .map(|run| format!("{} {} {}", text(&run["work"]), text(&run["source"]), text(&run["result"])))
        .collect()
}

/// A configuration of two sources that are well and one that is not.
fn configured(sandbox: &mut Sandbox, more: &str) {
    let repository = sandbox.repository().display().to_string();
    // What is set to nothing is not set.
    sandbox.set("STRONGROOM_REPO", "");
    sandbox.set("STRONGROOM_CONFIG", sandbox.path("strongroom.toml"));
    sandbox.write("data/a.txt", "one\n");
    sandbox.write("secret", "s3cret\n");
    let folder = sandbox.path("data").display().to_string();
    let secret = sandbox.path("secret").display().to_string();
    sandbox.write(
        "strongroom.toml",
        format!(
            r#"
            [repository]
            url = "{repository}"
            [environment]
            GREETING = "file:{secret}"
            [retention]
            keep_last = 1
            {more}
            [sources.documents]
            engine = "files"
            paths = ["{folder}"]
            tag = ["daily"]
            [sources.broken]
            engine = "command"
            name = "dump"
            command = ["sh", "-c", "echo half; exit 7"]
            [sources.greeting]
            engine = "command"
            stream = ["greeting=printf %s \"$GREETING\" \"$WHOM\""]
            [sources.greeting.environment]
            WHOM = "all"
            "#
        ),
    );
}

#[test]
fn one_source_that_fails_stops_no_other() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox, "[forget]\nevery = \"1d\"\n");
    let checked = sandbox.run(["config", "check"]).assert_code(0);
    let _checked = checked.assert_prints(["in order"]);

    let ran = sandbox.run(["run", "--json"]).assert_code(1);
    let expected = ["backup documents done", "backup broken failed", "backup greeting done", "forget - done"];
    assert_eq!(told(&ran), expected, "{ran}");
    let ends = ends(&sandbox);
    assert_eq!(ends.len(), 4, "{ends:?}");
    assert!(ends[1]["error"].as_str().unwrap().contains("exit status: 7"), "{ends:?}");
    assert_eq!(ends[0]["snapshot"].as_str().unwrap().len(), 64);
    let of = |source: &str| sandbox.run(["cat", &format!("latest:{source}"), source]).assert_code(0);
    assert_eq!(of("greeting").text(), "s3cretall");

    // People read it; a second time forgetting is not due.
    let again = sandbox.run(["run", "documents", "greeting"]).assert_code(0);
    let again = again.assert_prints(["backup of documents done in", "backup of greeting done in"]);
    assert!(!again.text().contains("forget"), "{again}");
    let forget = sandbox.run(["run", "--only", "forget", "--json"]).assert_code(0);
    assert_eq!(told(&forget), ["forget - done"], "{forget}");
    assert_eq!(sandbox.snapshots().len(), 2);
}

/// The largest file below a folder.
fn largest(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut largest = (0, PathBuf::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.metadata().unwrap() {
                metadata if metadata.is_dir() => folders.push(entry.path()),
                metadata => largest = largest.max((metadata.len(), entry.path())),
            }
        }
    }
    largest.1
}

#[test]
fn a_restore_test_of_files_reads_all_of_them() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox, "[verify]\nevery = \"1d\"\n");
    sandbox.write("data/large", noise(3 << 20, 3));
    let ran = sandbox.run(["run", "documents", "greeting", "--json"]).assert_code(0);
    let expected =
        ["backup documents done", "verify documents done", "backup greeting done", "verify greeting done"];
    assert_eq!(told(&ran), expected, "{ran}");
    let verified = sandbox.run(["verify", "--source", "documents"]).assert_code(0);
    let _verified = verified.assert_prints(["2 files", "3.0 MiB", "restores as it was"]);

    std::fs::remove_file(largest(&sandbox.repository())).unwrap();
    let damaged = sandbox.run(["verify", "--source", "documents"]).assert_code(4);
    let _damaged = damaged.assert_prints(["data/large: ", "cannot be read", "does NOT restore as it was"]);
    let ran = sandbox.run(["run", "--only", "verify", "documents"]).assert_code(4);
    let _ran = ran.assert_prints(["verify of documents failed"]);
    let _told = sandbox.run(["monitor"]).assert_code(1).assert_prints(["documents: the restore test failed"]);
}

#[test]
fn what_is_due_is_done_once() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox, "schedule = \"@yearly\"\n[check]\nevery = \"1y\"\n");
    // `schedule` belongs before the first table.
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    let text = text.replace("schedule = \"@yearly\"\n", "");
    sandbox.write("strongroom.toml", format!("schedule = \"@yearly\"\n{text}"));
    let shown = sandbox.run(["run", "--due", "--dry-run", "documents", "greeting"]).assert_code(0);
    let shown = shown.assert_prints(["strongroom backup files --source documents", "--tag=daily"]);
    assert!(!shown.text().contains("s3cret") && sandbox.snapshots().is_empty(), "{shown}");
    let ran = sandbox.run(["run", "--due", "--json"]).assert_code(1);
    assert_eq!(told(&ran).len(), 4, "{ran}");
    // What failed was tried, and is due again with the next date.
    let ran = sandbox.run(["run", "--due", "--json"]).assert_code(0);
    assert_eq!(told(&ran), [""; 0], "{ran}");
}

#[test]
fn a_source_that_is_running_elsewhere_is_left_alone() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox, "");
    let wait = sandbox.path("wait");
    let go = sandbox.path("go");
    let made = std::process::Command::new("mkfifo").args([&wait, &go]).status().unwrap();
    assert!(made.success());
    let slow = format!(
        "[sources.slow]\nengine = \"command\"\nstream = [\"x=echo > {} && cat {}\"]\n",
        wait.display(),
        go.display()
    );
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    sandbox.write("strongroom.toml", format!("{text}\n{slow}"));
    let first = sandbox.start(["run", "slow", "--json"]);
    // It has begun when it writes.
    let _begun = std::fs::read(&wait).unwrap();
    let here = sandbox.run(["run", "slow", "--json"]).assert_code(3);
    assert_eq!(told(&here), ["backup slow skipped"], "{here}");
    // Another pod has a state of its own, and the same name: the journal tells it.
    let domain = sandbox.home().join(".local/state/strongroom/run/domain");
    let domain = std::fs::read_to_string(domain).unwrap();
    sandbox.set("STRONGROOM_STATE_DIR", sandbox.path("other-state"));
    let there = sandbox.run(["run", "slow", "documents", "--json"]).assert_code(3);
    assert_eq!(told(&there), ["backup documents done", "backup slow skipped"], "{there}");
    let _there =
        there.assert_prints(["it is running already on ", "if it was killed there, it can begin after "]);
    // One of the same Job is begun only when the other is gone.
    let quick = slow.replace(&format!("echo > {} && cat {}", wait.display(), go.display()), "echo quick");
    sandbox.write("strongroom.toml", format!("{text}\n{quick}"));
    sandbox.set("STRONGROOM_LOCK_DOMAIN", domain);
    let again = sandbox.run(["run", "slow", "--json"]).assert_code(0);
    assert_eq!(told(&again), ["backup slow done"], "{again}");
    std::fs::write(&go, "done").unwrap();
    let first = first.wait().assert_code(0);
    assert_eq!(told(&first), ["backup slow done"], "{first}");
}

#[test]
fn what_takes_too_long_is_ended() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox, "");
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    let slow = "[sources.slow]\nengine = \"command\"\ntimeout = \"1s\"\nstream = [\"x=sleep 600\"]\n";
    sandbox.write("strongroom.toml", format!("{text}\n{slow}"));
    let ran = sandbox.run(["run", "slow"]).assert_code(1);
    let _ran = ran.assert_prints(["backup of slow failed", "ended after 1 s (timeout)"]);
    assert!(sandbox.snapshots().is_empty());
    // What is done of the repository has a time of its own: nobody ever writes into this pipe.
    let key = sandbox.path("key");
    assert!(std::process::Command::new("mkfifo").arg(&key).status().unwrap().success());
    let sync = format!(
        "[sync]\ntimeout = \"1s\"\nto_repo = \"{}\"\nto_passphrase_file = \"{}\"\n",
        sandbox.repository().display(),
        key.display()
    );
    sandbox.write("strongroom.toml", format!("{text}\n{sync}"));
    let ran = sandbox.run(["run", "--only", "sync"]).assert_code(1);
    let _ran = ran.assert_prints(["sync failed", "ended after 1 s (timeout)"]);
}

#[test]
fn what_is_wrong_is_told_before_anything_is_done() {
    let mut sandbox = Sandbox::new();
    configured(&mut sandbox, "");
    let _unknown = sandbox.run(["run", "document"]).assert_code(2).assert_says(["is `documents` meant?"]);
    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    sandbox.write("strongroom.toml", text.replace("paths =", "path =").replace("tag =", "tags ="));
    let checked = sandbox.run(["config", "check", "--json"]).assert_code(1);
    assert_eq!(checked.all("problem").len(), 2, "{checked}");
    let _checked = checked.assert_prints(["is `paths` meant?", "is `tag` meant?"]);
    let ran = sandbox.run(["run", "documents"]).assert_code(1);
    let _ran = ran.assert_prints(["backup of documents failed", "is `paths` meant?"]);
    sandbox.write("strongroom.toml", text.replace("file:", "file:/nowhere"));
    let _missing =
        sandbox.run(["run"]).assert_code(1).assert_says(["environment.GREETING", "cannot be read"]);
    let checked = sandbox.run(["config", "check"]).assert_code(1);
    let _checked = checked.assert_prints(["environment.GREETING"]);
}

#[test]
fn logs_expire_and_a_second_repository_follows() {
    let mut sandbox = Sandbox::new();
    let second = sandbox.path("second").display().to_string();
    let _made = sandbox.run(["init", "--repo", &second, "--host", "test"]).assert_code(0);
    let tables = format!(
        "[wal_expire]\nevery = \"1d\"\nkeep_within = \"7d\"\n[sync]\nevery = \"1d\"\nto_repo = \"{second}\"\n"
    );
    configured(&mut sandbox, &tables);
    let _in_order = sandbox.run(["config", "check"]).assert_code(0);
    let shown = sandbox.run(["run", "--only", "sync", "--dry-run"]).assert_code(0);
    let _shown = shown.assert_prints([&format!("strongroom sync --to-repo={second}")]);

    let ran = sandbox.run(["run", "--json"]).assert_code(1);
    let expected = [
        "backup documents done",
        "backup broken failed",
        "backup greeting done",
        "wal-expire - done",
        "sync - done",
    ];
    assert_eq!(told(&ran), expected, "{ran}");
    let of = |repository: &str| {
        let listed = sandbox.run(["snapshots", "--repo", repository, "--json"]).assert_code(0);
        listed.json_lines().iter().map(|one| one["source"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&second), ["documents", "greeting"]);
    let again = sandbox.run(["run", "--due", "--json"]).assert_code(0);
    assert_eq!(told(&again), [""; 0], "{again}");
    let metrics = sandbox.run(["monitor", "--metrics"]).assert_code(0);
    let _metrics = metrics.assert_prints([
        "strongroom_task_success{task=\"sync\"} 1",
        "strongroom_task_success{task=\"wal-expire\"} 1",
        "strongroom_task_timestamp_seconds{task=\"sync\"}",
    ]);

    // It is gone, and three days later nobody has copied anything.
    std::fs::rename(&second, sandbox.path("moved")).unwrap();
    let failed = sandbox.run(["run", "--only", "sync", "--json"]).assert_code(1);
    assert_eq!(told(&failed), ["sync - failed"], "{failed}");
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(72);
    sandbox.write("clock", later.to_string());
    sandbox.set("STRONGROOM_TEST_CLOCK", sandbox.path("clock"));
    let told = sandbox.run(["monitor"]).assert_code(1);
    let _told = told.assert_prints(["the last sync failed", "was not copied to the other repository"]);

    let text = std::fs::read_to_string(sandbox.path("strongroom.toml")).unwrap();
    sandbox.write("strongroom.toml", text.replace("to_repo", "to_rep"));
    let checked = sandbox.run(["config", "check"]).assert_code(1);
    let _checked = checked.assert_prints(["is `to_repo` meant?"]);
    sandbox.write("strongroom.toml", text.replace("keep_within = \"7d\"", ""));
    let checked = sandbox.run(["config", "check"]).assert_code(1);
    let _checked = checked.assert_prints(["wal_expire: ", "--keep-within"]);
    sandbox.write("strongroom.toml", text.replace("[sync]", "[drills.none]").replace("to_repo", "#"));
    let _none = sandbox.run(["run", "--only", "sync"]).assert_code(2).assert_says(["has no [sync]"]);
}
