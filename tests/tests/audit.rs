//! `audit`: who did what, and what is demanded before stored data is read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::Value;
use strongroom_tests::sandbox::{Sandbox, id_of, text};

/// What the trail says: kind, what, result.
fn told(lines: &[Value]) -> Vec<String> {
    let word = |line: &Value, name: &str| text(&line[name]);
    lines.iter().map(|line| format!("{} {}", word(line, "what"), word(line, "result"))).collect()
}

fn lines(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    sandbox.run([&["audit", "--json"], arguments].concat()).assert_code(0).all("audit")
}

#[test]
fn who_did_what_to_what_and_how_it_ended() {
    let mut sandbox = Sandbox::new();
    sandbox.write("data/a", "one\n");
    sandbox.set("SUDO_USER", "eve");
    let id = id_of(&sandbox.backup(["files", "data", "--source", "documents"]));
    let _other = sandbox.backup_stream("x", b"data");
    assert_eq!(sandbox.cat(&id, &format!("{}/a", sandbox.path("data").display())), b"one\n");
    let target = sandbox.path("out").display().to_string();
    let _restored = sandbox.run(["restore", &id, "--target", &target]).assert_code(0);
    // What is in the way ends it.
    let _failed = sandbox.run(["restore", &id, "--target", &target]).assert_code(1);
    let _tested = sandbox.run(["verify", &id]).assert_code(0);
    let _checked = sandbox.run(["check", "--read-data"]).assert_code(0);
    let _tagged = sandbox.run(["tag", &id, "--add", "weekly"]).assert_code(0);
    let _rotated = sandbox.run(["key", "rotate"]).assert_code(0);
    let _forgot = sandbox.run(["forget", "latest:x", "--reason", "no longer"]).assert_code(0);

    let all = lines(&sandbox, &["--source", "documents"]);
    assert_eq!(
        told(&all),
        [
            "snapshot done",
            "restore began",
            "restore done",
            "restore began",
            "restore done",
            "restore began",
            "restore failed",
            "verify began",
            "verify done",
            "tag done",
        ]
    );
    let began = &all[3];
    assert!(text(&began["object"]).contains(&target), "{began}");
    assert_eq!((&began["sudo_user"], &began["snapshots"][0]), (&"eve".into(), &id.as_str().into()));
    assert!(began["user"].is_string() && began["host"].is_string() && began["signer"].is_string(), "{began}");
    assert_eq!(began["operation"], all[4]["operation"]);
    assert_ne!(began["operation"], all[5]["operation"]);
    assert!(text(&all[6]["error"]).contains("not empty"), "{}", all[6]);

    let keys = lines(&sandbox, &["--kind", "key"]);
    assert_eq!(told(&keys), ["policy done", "policy done", "key rotate done"]);
    assert!(keys[1]["changes"].to_string().contains("metadata key rotated"), "{}", keys[1]);
    assert_eq!(told(&lines(&sandbox, &["--kind", "check"])), ["check began", "check done"]);
    let forgotten = lines(&sandbox, &["--kind", "forget"]);
    assert_eq!(told(&forgotten), ["forget done", "forget done"]);
    assert!(text(&forgotten[0]["object"]).contains("of x (no longer)"), "{}", forgotten[0]);
    assert_eq!(lines(&sandbox, &["--until", "2026-01-01"]).len(), 0);
    let everything = lines(&sandbox, &["--since", "2026-01-01"]);
    assert_eq!(everything.len(), sandbox.run(["journal", "export"]).json_lines().len());

    // Each line can be held against the journal.
    let head = format!("{}:{}", began["entry"], text(&began["chain"]));
    let _goes_on = sandbox.run(["journal", "verify", "--expect-head", &head]).assert_code(0);
    let table = sandbox.run(["audit", "--kind", "restore"]).assert_code(0);
    let _table = table.assert_prints(["TIME", "began", "failed", "(eve)", &text(&began["chain"])[..16]]);

    // An entry that is gone is told whatever was asked for.
    let entry = sandbox.repository().join(format!("journal/{:016x}", began["entry"].as_u64().unwrap()));
    std::fs::remove_file(entry).unwrap();
    let damaged = sandbox.run(["audit", "--kind", "drill", "--json"]).assert_code(4);
    assert_eq!(damaged.one("audit")["result"], "unreadable");
}

#[test]
fn what_cannot_be_noted_is_refused_where_that_is_demanded() {
    let mut sandbox = Sandbox::new();
    let recovery = sandbox.run(["key", "generate-recovery", "recovery.key"]).assert_code(0);
    let public =
        recovery.text().split_whitespace().find(|word| word.starts_with("x25519:")).unwrap().to_owned();
    let _added = sandbox.run(["key", "add-recipient", &public]).assert_code(0);
    let id = sandbox.backup_stream("x", b"secret");
    // It reads, and is no signer.
    let mut reader = sandbox.other_host();
    reader.set("STRONGROOM_REPO", sandbox.repository());
    reader.set("STRONGROOM_KEY_FILE", sandbox.path("recovery.key"));
    let read = reader.run(["cat", &id, "x"]).assert_code(0);
    assert_eq!(read.stdout, b"secret");
    assert_eq!(read.stderr.matches("the audit trail lacks this restore").count(), 1, "{read}");
    let refused = reader.run(["--require-audit", "cat", &id, "x"]).assert_code(5);
    let refused = refused.assert_says(["cannot be noted", "--require-audit", "nothing was read"]);
    assert_eq!(refused.stdout, b"");
    // As the configuration demands it.
    reader.set("STRONGROOM_CONFIG", reader.path("strongroom.toml"));
    reader.write("strongroom.toml", "[audit]\nrequired = true\n");
    for command in [&["restore", &id, "--target", "out"][..], &["verify", &id], &["check", "--read-data"]] {
        let _refused = reader.run(command).assert_code(5).assert_says(["nothing was read"]);
    }
    assert!(!reader.path("out").exists());
    let kinds = lines(&sandbox, &["--kind", "restore"]);
    assert_eq!(kinds.len(), 0, "{kinds:?}");
    // A signer is noted, and may.
    sandbox.set("STRONGROOM_CONFIG", reader.path("strongroom.toml"));
    assert_eq!(sandbox.cat(&id, "x"), b"secret");
    assert_eq!(told(&lines(&sandbox, &["--kind", "restore"])), ["restore began", "restore done"]);
}

#[test]
fn what_is_copied_away_is_noted_where_it_was_read() {
    let sandbox = Sandbox::new();
    let _id = sandbox.backup_stream("x", b"data");
    let other = Sandbox::new();
    let key =
        std::fs::read_dir(sandbox.home().join(".config/strongroom/keys")).unwrap().next().unwrap().unwrap();
    let from = sandbox.repository().display().to_string();
    let key = key.path().display().to_string();
    let _copied = other.run(["copy", "--from-repo", &from, "--from-key-file", &key]).assert_code(0);
    let read = lines(&sandbox, &["--kind", "copy"]);
    assert_eq!(told(&read), ["copy-out began", "copy-out done"]);
    assert!(text(&read[0]["object"]).contains(&other.repository().display().to_string()), "{}", read[0]);
    assert_eq!(told(&lines(&other, &["--kind", "copy"])), ["copy done", "copy done"]);
}
