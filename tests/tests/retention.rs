//! Forgetting by a policy, as an operator does it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use strongroom_tests::sandbox::Sandbox;

/// 2026-03-02, a Monday, at noon.
const MONDAY: u64 = 1_772_452_800;
const HOUR: u64 = 3600;

/// Backs up, and sets the store's time of the snapshot's entry.
fn backup_at(sandbox: &Sandbox, name: &str, seconds: u64) -> String {
    let id = sandbox.backup_stream(name, format!("{name} at {seconds}").as_bytes());
    let journal = fs::read_dir(sandbox.repository().join("journal")).unwrap();
    let newest = journal.map(|entry| entry.unwrap().path()).max().unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(newest).unwrap().set_modified(time).unwrap();
    id
}

fn forget(sandbox: &Sandbox, options: &[&str]) -> (BTreeSet<String>, Vec<Value>) {
    let run = sandbox.run(["forget", "--json"].iter().chain(options)).assert_code(0);
    let gone = run.all("forget").iter().map(|one| one["snapshot"].as_str().unwrap().to_owned()).collect();
    (gone, run.all("keep"))
}

#[test]
fn what_a_policy_does_not_keep_goes_and_the_rest_restores() {
    let sandbox = Sandbox::new();
    let mut ids = Vec::new();
    for day in 0..4 {
        for hour in [0, 6] {
            ids.push(backup_at(&sandbox, "db.dump", MONDAY + (day * 24 + hour) * HOUR));
        }
    }
    let other = backup_at(&sandbox, "other.dump", MONDAY);
    let _tagged = sandbox.run(["tag", &ids[0], "--add", "audit"]).assert_code(0);

    let policy = ["--keep-daily", "3", "--keep-tag", "audit", "--keep-hourly", "1"];
    let dry: Vec<_> = policy.iter().copied().chain(["--dry-run"]).collect();
    let expected: BTreeSet<_> = [1, 2, 4, 6].map(|at: usize| ids[at].clone()).into();
    let (would_go, kept) = forget(&sandbox, &dry);
    assert_eq!(would_go, expected);
    let why = |id: &String| {
        let one = kept.iter().find(|one| one["snapshot"] == id.as_str()).unwrap();
        (one["reasons"].clone(), one["time"].as_str().unwrap().to_owned())
    };
    assert_eq!(why(&ids[7]).0, serde_json::json!(["newest of its group", "hourly", "daily"]));
    // By the store's clock, the last entry's too.
    assert_eq!(why(&ids[7]).1[..13], *"2026-03-05T18");
    assert_eq!(why(&other).1[..13], *"2026-03-02T12");
    assert_eq!(why(&ids[0]).0, serde_json::json!(["tag audit"]));
    assert_eq!(sandbox.snapshots().len(), 9);
    let _told =
        sandbox.run(["forget"].iter().chain(&dry)).assert_code(0).assert_prints(["would forget 4 of 9"]);

    assert_eq!(forget(&sandbox, &policy).0, expected);
    assert_eq!(sandbox.snapshots().len(), 5);
    assert_eq!(forget(&sandbox, &policy).0, BTreeSet::new());
    let _pruned = sandbox.run(["prune", "--grace", "0"]).assert_code(0);
    for (id, seconds) in [(&ids[0], 0), (&ids[7], 78 * HOUR)] {
        let restored = sandbox.cat(id, "db.dump");
        assert_eq!(restored, format!("db.dump at {}", MONDAY + seconds).into_bytes());
    }
    sandbox.assert_clean();
}

#[test]
fn the_newest_of_each_source_stays_whatever_is_asked_for() {
    let sandbox = Sandbox::new();
    let old = backup_at(&sandbox, "db.dump", MONDAY);
    // A client's clock says nothing; the store's went back.
    let newest = backup_at(&sandbox, "db.dump", MONDAY - 500 * 24 * HOUR);
    let other = backup_at(&sandbox, "other.dump", MONDAY);
    let (gone, kept) = forget(&sandbox, &["--keep-tag", "none", "--source", "db.dump"]);
    assert_eq!(gone, [old].into());
    assert_eq!(kept.len(), 1);
    let left: BTreeSet<_> = sandbox.snapshots().into_iter().collect();
    assert_eq!(left, [newest, other].into());
}

#[test]
fn hosts_with_one_name_for_their_dumps_lose_nothing_to_each_other() {
    let sandbox = Sandbox::new();
    for host in ["db1", "db2"] {
        for day in 0..2 {
            fs::write(sandbox.path("dump"), format!("{host} on day {day}")).unwrap();
            let command = ["backup", "command", "--host", host, "--name", "db.dump", "--", "cat", "dump"];
            let _backup = sandbox.run(command).assert_code(0);
        }
    }
    assert_eq!(forget(&sandbox, &["--keep-last", "1"]).0.len(), 2);
    let contents =
        sandbox.snapshots().into_iter().map(|id| String::from_utf8(sandbox.cat(&id, "db.dump")).unwrap());
    assert_eq!(contents.collect::<Vec<_>>(), ["db1 on day 1", "db2 on day 1"]);
}

#[test]
fn hosts_that_come_and_go_are_grouped_by_source() {
    let sandbox = Sandbox::new();
    for (host, name, tag) in [
        ("pod1", "db.dump", "nightly"),
        ("pod1", "db.dump", "weekly"),
        ("pod2", "db.dump", "nightly"),
        ("pod2", "logs", "nightly"),
    ] {
        fs::write(sandbox.path("dump"), format!("{name} of {host}, {tag}")).unwrap();
        let of = ["backup", "command", "--host", host, "--tag", tag, "--name", name, "--", "cat", "dump"];
        let _backup = sandbox.run(of).assert_code(0);
    }
    let ids = sandbox.snapshots();
    let would_go = |options: &[&str]| {
        let options: Vec<_> = options.iter().copied().chain(["--keep-last", "1", "--dry-run"]).collect();
        forget(&sandbox, &options).0
    };
    let set = |at: &[usize]| at.iter().map(|at| ids[*at].clone()).collect::<BTreeSet<_>>();
    assert_eq!(would_go(&[]), set(&[0]));
    assert_eq!(would_go(&["--group-by", "host,source"]), set(&[0]));
    assert_eq!(would_go(&["--group-by", "source"]), set(&[0, 1]));
    assert_eq!(would_go(&["--group-by", "none"]), set(&[0, 1, 2]));
    assert_eq!(would_go(&["--group-by", "none", "--host", "pod1"]), set(&[0]));
    assert_eq!(would_go(&["--group-by", "source", "--tag", "nightly"]), set(&[0]));
    assert_eq!(would_go(&["--group-by", "none", "--tag", "weekly", "--tag", "nightly"]), set(&[0, 1, 2]));
    assert_eq!(would_go(&["--group-by", "none", "--tag", "weekly,nightly"]), set(&[]));
    assert_eq!(forget(&sandbox, &["--group-by", "source", "--keep-last", "1"]).0, set(&[0, 1]));
    assert_eq!(sandbox.snapshots(), ids[2..]);
}

#[test]
fn what_makes_no_policy_is_refused() {
    let sandbox = Sandbox::new();
    let id = sandbox.backup_stream("db.dump", b"data");
    let refused: [&[&str]; 12] = [
        &[],
        &["--source", "db.dump"],
        &[&id, "--keep-last", "1"],
        &["--keep-last", "0"],
        &["--keep-daily", "all"],
        &["--keep-within", "soon"],
        &["--keep-last", "1", "--source", "misspelt"],
        &["--keep-last", "1", "--host", "misspelt"],
        &["--keep-last", "1", "--tag", "misspelt"],
        &["--keep-last", "1", "--group-by", "tags"],
        &[&id, "--group-by", "source"],
        &["--tag", "nightly"],
    ];
    for options in refused {
        let _refused = sandbox.run(["forget"].iter().chain(options)).assert_code(2);
    }
    assert_eq!(sandbox.snapshots().len(), 1);
}
