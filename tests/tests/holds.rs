//! Legal holds, as an operator puts them on and takes them off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::{Value, json};
use strongroom_tests::sandbox::Sandbox;

fn names(snapshot: &Value) -> Vec<&str> {
    snapshot["holds"].as_array().unwrap().iter().map(|hold| hold["name"].as_str().unwrap()).collect()
}

#[test]
fn what_is_held_is_forgotten_neither_by_hand_nor_by_a_policy() {
    let sandbox = Sandbox::new();
    let ids: Vec<_> =
        (0..3).map(|day| sandbox.backup_stream("db.dump", format!("day {day}").as_bytes())).collect();
    let held =
        sandbox.run(["--json", "hold", "add", &ids[0], "--reason", "case 7"]).assert_code(0).one("hold");
    assert_eq!((&held["name"], &held["changed"]), (&json!("legal"), &json!(true)));
    let again = sandbox.run(["--json", "hold", "add", &ids[0]]).assert_code(0).one("hold");
    assert_eq!(again["changed"], false);

    for dry in [&["--dry-run"][..], &[]] {
        let forget = ["forget", &ids[0], &ids[1]];
        let hint = format!("strongroom hold remove {}", &ids[0][..8]);
        let _refused =
            sandbox.run(forget.iter().chain(dry)).assert_code(1).assert_says(["the hold `legal`", &hint]);
    }
    assert_eq!(sandbox.snapshots(), ids);
    let judged = sandbox.run(["--json", "forget", "--keep-last", "1"]).assert_code(0);
    let kept = judged.all("keep");
    let one = kept.iter().find(|one| one["snapshot"] == ids[0].as_str()).unwrap();
    assert_eq!(one["reasons"], json!(["held: legal"]));
    assert_eq!(sandbox.snapshots(), [&ids[0], &ids[2]].map(String::clone));
    let _pruned = sandbox.run(["prune", "--grace", "0"]).assert_code(0);
    assert_eq!(sandbox.cat(&ids[0], "db.dump"), b"day 0");

    let _all = sandbox.run(["hold", "add", "--source", "db.dump", "--name", "audit"]).assert_code(0);
    let listed = sandbox.run(["--json", "hold", "list"]).assert_code(0).all("hold");
    let told: Vec<_> = listed
        .iter()
        .map(|hold| {
            ["snapshot", "source", "name", "signer_name", "reason"].map(|field| hold[field].as_str().unwrap())
        })
        .collect();
    let expected = [
        [&*ids[0], "db.dump", "audit", "test", "by hand"],
        [&ids[0], "db.dump", "legal", "test", "case 7"],
        [&ids[2], "db.dump", "audit", "test", "by hand"],
    ];
    assert_eq!(told, expected);
    assert!(listed.iter().all(|hold| hold["since"].as_str().unwrap().ends_with('Z')));
    let _table = sandbox.run(["hold", "list"]).assert_code(0).assert_prints(["HOLD", "case 7", "audit"]);
    let shown = sandbox.run(["--json", "show", &ids[0]]).assert_code(0).one("snapshot");
    assert_eq!(names(&shown), ["audit", "legal"]);
    let listed = sandbox.run(["--json", "snapshots"]).assert_code(0).all("snapshot");
    assert_eq!(listed.iter().map(names).collect::<Vec<_>>(), [vec!["audit", "legal"], vec!["audit"]]);
    let _people = sandbox.run(["show", &ids[0]]).assert_code(0).assert_prints(["audit, legal"]);
    let _people = sandbox.run(["snapshots"]).assert_code(0).assert_prints(["(held)"]);

    let _other = sandbox.run(["hold", "remove", &ids[2], "--name", "legal"]).assert_code(1);
    for name in ["legal", "audit"] {
        let _off =
            sandbox.run(["hold", "remove", &ids[0], "--name", name, "--reason", "settled"]).assert_code(0);
    }
    let _gone = sandbox.run(["forget", &ids[0]]).assert_code(0);
    assert_eq!(sandbox.snapshots(), ids[2..]);
    sandbox.assert_clean();
}

#[test]
fn what_makes_no_hold_is_refused() {
    let sandbox = Sandbox::new();
    let id = sandbox.backup_stream("db.dump", b"data");
    let refused: [&[&str]; 5] = [
        &["add"],
        &["add", &id, "--source", "db.dump"],
        &["add", &id, "--name", ""],
        &["add", &id, "--name", "a,b"],
        &["remove", &id],
    ];
    for options in refused {
        let _refused = sandbox.run(["hold"].iter().chain(options)).assert_code(2);
    }
    let _unknown = sandbox.run(["hold", "add", "--source", "misspelt"]).assert_code(6);
    assert!(sandbox.run(["--json", "hold", "list"]).assert_code(0).all("hold").is_empty());
}
