//! Evidence of tampering with a repository in a folder, as an auditor collects it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use strongroom_tests::sandbox::{Ran, Sandbox};

/// With three snapshots, entries 1 to 3; gives their IDs.
fn three() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    let ids = (0..3).map(|day| sandbox.backup_stream("db.dump", format!("day {day}").as_bytes())).collect();
    (sandbox, ids)
}

fn entry(sandbox: &Sandbox, number: u64) -> PathBuf {
    let path = sandbox.repository().join(format!("journal/{number:016x}"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn head(sandbox: &Sandbox) -> String {
    sandbox.run(["journal", "verify"]).assert_code(0).text().trim().to_owned()
}

/// As a client without memory.
fn expect(sandbox: &Sandbox, head: &str) -> Ran {
    sandbox.run(["--no-cache", "--json", "journal", "verify", "--expect-head", head])
}

fn details(ran: &Ran) -> String {
    ran.all("finding").iter().map(|one| format!("{}: {}\n", one["object"], one["detail"])).collect()
}

#[test]
fn a_head_that_was_noted_goes_on_being_good() {
    let (sandbox, _) = three();
    let noted = head(&sandbox);
    assert!(noted.starts_with("3:") && noted.len() == 66, "{noted}");
    let _more = sandbox.backup_stream("db.dump", b"another day");
    let told = sandbox.run(["journal", "verify", "--expect-head", &noted]).assert_code(0);
    let _told = told.assert_says(["from entry 3 as noted"]);
    let report = expect(&sandbox, &noted).assert_code(0).one("journal_verify");
    assert_eq!(
        (&report["clean"], &report["entries"], &report["entry"]),
        (&json!(true), &json!(5), &json!(4))
    );
    assert_eq!(report["head"], head(&sandbox));
    for wrong in ["", "3", "3:ab", &noted[2..]] {
        let _wrong = sandbox.run(["journal", "verify", "--expect-head", wrong]).assert_code(2);
    }
}

#[test]
fn whatever_is_done_to_an_entry_shows() {
    let (sandbox, _) = three();
    let noted = head(&sandbox);
    // Cut off at the end: nothing in the store tells, but the head does, and a host that has a memory.
    fs::remove_file(entry(&sandbox, 3)).unwrap();
    let cut = expect(&sandbox, &noted).assert_code(4);
    assert!(details(&cut).contains("ends at entry 2") && details(&cut).contains("rolled back"), "{cut}");
    let _unseen = sandbox.run(["--no-cache", "journal", "verify"]).assert_code(0);
    let _seen = sandbox.run(["journal", "verify"]).assert_code(4).assert_prints(["this host has seen"]);

    let (sandbox, _) = three();
    let noted = head(&sandbox);
    fs::remove_file(entry(&sandbox, 2)).unwrap();
    let removed = expect(&sandbox, &noted).assert_code(4);
    assert!(details(&removed).contains("cannot be known"), "{removed}");
    assert!(details(&removed).contains("does not fit is entry 2"), "{removed}");

    let (sandbox, _) = three();
    let noted = head(&sandbox);
    let path = entry(&sandbox, 2);
    let mut bytes = fs::read(&path).unwrap();
    bytes[700] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let changed = expect(&sandbox, &noted).assert_code(4);
    assert!(details(&changed).contains("does not fit is entry 2"), "{changed}");
    fs::write(&path, &bytes[..300]).unwrap();
    let _truncated = expect(&sandbox, &noted).assert_code(4);
    // The root key's holder may live with it; whoever noted the head still sees that it is another journal.
    let _settled = sandbox.run(["--no-cache", "journal", "settle"]).assert_code(0);
    let _lived_with = sandbox.run(["--no-cache", "journal", "verify"]).assert_code(0);
    let _seen = expect(&sandbox, &noted).assert_code(4);
    // As a whole it went back to what it was before the first backup.
    for number in 1..=4 {
        fs::remove_file(entry(&sandbox, number)).unwrap();
    }
    let _emptied = expect(&sandbox, &noted).assert_code(4);
    fs::remove_file(entry(&sandbox, 0)).unwrap();
    let _gone = expect(&sandbox, &noted).assert_code(4);
}

#[test]
fn the_journal_is_exported_entry_by_entry() {
    let (sandbox, ids) = three();
    let _tagged = sandbox.run(["tag", &ids[0], "--add", "audit"]).assert_code(0);
    let _held = sandbox.run(["hold", "add", &ids[1], "--reason", "case 7"]).assert_code(0);
    let _forgotten = sandbox.run(["forget", &ids[0], "--reason", "test data"]).assert_code(0);
    let _checked = sandbox.run(["check"]).assert_code(0);
    let lines = |options: &[&str]| {
        let ran = sandbox.run(["journal", "export"].iter().chain(options)).assert_code(0);
        ran.json_lines()
    };
    let all = lines(&["--jsonl"]);
    let kinds: Vec<_> = all.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    // Who tagged, held and forgot is noted behind it.
    let expected = [
        "policy", "snapshot", "snapshot", "snapshot", "tag", "note", "hold", "note", "forget", "note", "note",
    ];
    assert_eq!(kinds, expected);
    for (number, line) in all.iter().enumerate() {
        assert_eq!((&line["number"], &line["verdict"]), (&json!(number), &json!("counts")));
        assert_eq!((&line["signer_name"], &line["signed"]), (&json!("test"), &json!(true)));
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
    let last = all.last().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(format!("{}:{}", last["number"], text(&last["chain"])), head(&sandbox));
    let says = |at: usize| &all[at]["says"];
    assert_eq!((&says(1)["snapshot"], &says(1)["source"]), (&json!(ids[0]), &json!("db.dump")));
    assert_eq!(says(1)["bytes"], 5);
    assert_eq!((&says(4)["snapshot"], &says(4)["added"]), (&json!(ids[0]), &json!(["audit"])));
    assert_eq!(
        (&says(6)["name"], &says(6)["on"], &says(6)["why"]),
        (&json!("legal"), &json!(true), &json!("case 7"))
    );
    assert_eq!((&says(8)["snapshots"], &says(8)["why"]), (&json!([ids[0]]), &json!("test data")));
    assert_eq!((&says(10)["event"], &says(10)["detail"]["clean"]), (&json!("check"), &json!(true)));
    assert_eq!(lines(&["--from", "5"]), all[5..]);
    assert!(lines(&["--from", "100"]).is_empty());

    fs::write(entry(&sandbox, 3), b"something else").unwrap();
    let damaged = lines(&["--from", "2"]);
    let verdicts: Vec<_> = damaged.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts[..2], ["counts", "damaged"]);
    assert!(verdicts.len() == 9 && verdicts[2..].iter().all(|verdict| *verdict == "counts"), "{verdicts:?}");
    assert!(damaged[1]["kind"].is_null() && damaged[1]["reason"].is_string(), "{}", damaged[1]);
    assert_ne!(damaged[1]["chain"], all[3]["chain"]);
}
