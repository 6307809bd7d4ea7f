//! `backup ledger` of a node whose databases are those of real libraries, and what comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom_tests::mount::SmallDisk;
use strongroom_tests::noise::noise;
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Sandbox, id_of};
use strongroom_tests::services::ledger::{Node, inspect};
use strongroom_tests::tree;

/// A node on `data` in the sandbox.
fn node(sandbox: &Sandbox) -> Option<(PathBuf, Node)> {
    let data = sandbox.path("data");
    let node = Node::start(&data, &sandbox.path("log")).unwrap()?;
    Some((data, node))
}

/// Height and head by its own log.
fn logged(sandbox: &Sandbox) -> Vec<String> {
    std::fs::read_to_string(sandbox.path("log")).unwrap().lines().map(str::to_owned).collect()
}

fn tip(told: &Value) -> String {
    format!("{} {}", told["height"], told["head"].as_str().unwrap())
}

/// That a snapshot comes back as what it says, and as what the node logged.
fn assert_restores(sandbox: &Sandbox, id: &str, told: &Value, place: &str) -> Value {
    let _restored = sandbox.run(["restore", id, "-t", place]).assert_code(0);
    let found = inspect(&sandbox.path(place)).unwrap();
    assert_eq!(tip(&found), tip(told));
    assert!(logged(sandbox).contains(&tip(&found)), "{found}");
    assert_eq!(
        (&found["holds"], &found["integrity"][0]),
        (&Value::Bool(true), &Value::from("ok")),
        "{found}"
    );
    // Without a gap, which is all that databases of another moment promise.
    assert!(found["state"].is_u64() && found["index"].is_u64(), "{found}");
    found
}

#[test]
fn three_days_of_a_node() {
    let sandbox = Sandbox::new();
    let Some((data, mut node)) = node(&sandbox) else { return };
    let path = data.to_str().unwrap();
    node.order("append 900 40000").unwrap();
    // Their libraries write into their logs for people when they like.
    let backup = ["ledger", path, "--exclude", "LOG*"];
    let first = sandbox.backup(backup);
    assert_eq!(
        (&first["ledger"]["one_moment"], &first["ledger"]["links"]["broken"]),
        (&true.into(), &0.into())
    );
    assert_eq!(first["ledger"]["links"]["checked"], 899);

    // What was appended costs what it weighs; that tables were merged meanwhile costs those.
    node.order("append 9 40000").unwrap();
    let second = sandbox.backup([&backup[..], &["--integrity-check", "full"]].concat());
    let (all, more) = (first["stored_bytes"].as_u64().unwrap(), second["stored_bytes"].as_u64().unwrap());
    assert!(more * 1000 <= all * 15, "{more} of {all} bytes for a chain that grew by 1%");

    // While it commits and merges; whatever moment it is, it is one that was.
    node.order("run").unwrap();
    let third = sandbox.run([&["--json", "backup"], &backup[..]].concat());
    let code = third.status.code().unwrap();
    let third = third.one("backup");
    assert_eq!(
        code,
        if third["ledger"]["moment"]["written_between"].as_array().unwrap().is_empty() { 0 } else { 3 }
    );
    node.order("compact").unwrap();
    node.order("stop").unwrap();
    let fourth = sandbox.backup([&backup[..], &["--require-one-moment"]].concat());

    for (at, told) in [&first, &second, &third, &fourth].into_iter().enumerate() {
        let found = assert_restores(&sandbox, &id_of(told), &told["ledger"], &format!("back{at}"));
        if told["ledger"]["one_moment"] == true {
            let blocks = Value::from(found["height"].as_u64().unwrap() + 1);
            assert_eq!((&found["state"], &found["index"]), (&blocks, &blocks), "{found}");
        }
    }
    let verified = sandbox.run(["verify", &id_of(&third), "--json"]).assert_code(0).one("verify");
    assert_eq!(verified["result"], "good", "{verified}");
    let _verified =
        sandbox.run(["verify"]).assert_code(0).assert_prints(["chain.db", "state", "index", "as it was"]);

    // By height.
    let heights: Vec<u64> = sandbox
        .run(["snapshots", "--json"])
        .json_lines()
        .iter()
        .map(|one| one["height"].as_u64().unwrap())
        .collect();
    assert_eq!(heights[..2], [899, 908]);
    let restore =
        |height: &str, to: &str| sandbox.run(["restore", "--at-height", height, "-t", to, "--json"]);
    assert_eq!(restore("907", "low").assert_code(0).one("restore")["snapshot"], first["snapshot"]);
    assert_eq!(restore("908", "exact").assert_code(0).one("restore")["snapshot"], second["snapshot"]);
    let _none = restore("898", "none").assert_code(2).assert_says(["the lowest is at 899"]);
    sandbox.assert_clean();
}

#[test]
fn a_ledger_takes_the_place_of_another_and_its_wallets_stay() {
    let sandbox = Sandbox::new();
    let Some((data, mut node)) = node(&sandbox) else { return };
    let path = data.to_str().unwrap();
    node.order("append 50 1000").unwrap();
    node.order("pay old").unwrap();
    let backed_up = sandbox.backup(["ledger", path]);
    node.order("pay new").unwrap();
    node.order("append 7 1000").unwrap();
    let in_place = ["restore", "latest", "-t", path, "--drop-existing", "--exclude", "wallets"];
    let pid = node.pid().to_string();
    let _in_use =
        sandbox.run(in_place).assert_code(1).assert_says(["is in use", &pid, "nothing was changed"]);
    drop(node);

    // Killed at whatever moment: one or the other, whole, and the next one says which.
    let restore = sandbox.start(in_place);
    let new = sandbox.path(".data.strongroom-new");
    wait_for("the restore", || new.exists() || height_told(&data) != 56);
    restore.kill();
    let is_old = std::fs::exists(data.join("receipts/56.json")).unwrap();
    let said = if is_old { "was still the old directory" } else { "was the new one" };
    let again = sandbox.run(in_place).assert_code(0);
    if again.stderr.contains("earlier restore") {
        let _said = again.assert_says([said]);
    }
    assert!(!new.exists() && !sandbox.path(".data.strongroom-note").exists());
    let found = inspect(&data).unwrap();
    assert_eq!((tip(&found), found["keys"].as_array().unwrap().len()), (tip(&backed_up["ledger"]), 2));
    assert!(!data.join("receipts/56.json").exists() && data.join("receipts/49.json").exists());

    // With its wallets, it is as it was.
    let whole = sandbox.run(["restore", "latest", "-t", path, "--drop-existing", "--json"]).assert_code(0);
    assert_eq!(whole.one("restore")["kept"], 0);
    assert_eq!(inspect(&data).unwrap()["keys"].as_array().unwrap().len(), 1);
    let to_files = sandbox.run(["backup", "files", path]).assert_code(0);
    drop(to_files);
    let refused = sandbox.run(["restore", "latest", "-t", path, "--drop-existing"]);
    let _refused = refused.assert_code(2).assert_says(["--drop-existing is for"]);
}

/// By what the node told last.
fn height_told(data: &Path) -> u64 {
    let text = std::fs::read_to_string(data.join("metadata.json")).unwrap_or_default();
    serde_json::from_str::<Value>(&text).ok().and_then(|told| told["height"].as_u64()).unwrap_or_default()
}

#[test]
fn what_is_broken_is_told_and_what_is_torn_is_not_kept() {
    let sandbox = Sandbox::new();
    let Some((data, mut node)) = node(&sandbox) else { return };
    let path = data.to_str().unwrap();
    node.order("append 60 1000").unwrap();
    let backup = |more: &[&str]| sandbox.run([&["--json", "backup", "ledger", path][..], more].concat());

    // Locked; torn tables; not to be paused.
    node.order("lock").unwrap();
    let locked = backup(&["--lock-timeout", "1s"]).assert_code(1);
    let _locked =
        locked.assert_says(["wallets/wallet.db is locked by another process", "no snapshot was made"]);
    node.order("unlock").unwrap();
    node.order("compact").unwrap();
    node.order("close").unwrap();
    drop(node);
    let post = format!("echo went on > '{}'", sandbox.path("resumed").display());
    let paused = backup(&["--pre", "sleep 600", "--hook-timeout", "1s", "--post", &post]).assert_code(1);
    let _paused = paused.assert_says(["the pre hook was ended"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("resumed")).unwrap(), "went on\n");
    let table = std::fs::read_dir(data.join("state")).unwrap().map(|entry| entry.unwrap().path());
    let table =
        table.into_iter().find(|path| path.extension().is_some_and(|suffix| suffix == "sst")).unwrap();
    let bytes = std::fs::read(&table).unwrap();
    std::fs::write(&table, &bytes[..bytes.len() - 1]).unwrap();
    let _torn = backup(&[]).assert_code(1).assert_says(["data/state is torn: table", "bytes and not"]);
    std::fs::remove_file(&table).unwrap();
    let _gone = backup(&[]).assert_code(1).assert_says(["is missing"]);
    std::fs::write(&table, &bytes).unwrap();
    let wallet = data.join("wallets/wallet.db");
    let whole = std::fs::read(&wallet).unwrap();
    std::fs::write(&wallet, &whole[..whole.len() / 2]).unwrap();
    let _torn = backup(&[]).assert_code(1).assert_says(["wallets/wallet.db is torn or damaged", "hint: "]);
    let _left_out = backup(&["--exclude", "wallet.db"]).assert_code(0);
    std::fs::write(&wallet, &whole).unwrap();
    assert_eq!(sandbox.snapshots().len(), 1);

    // A link below those that are looked at is found by `verify`, one among them at once.
    let mut node = Node::start(&data, &sandbox.path("log")).unwrap().unwrap();
    node.order("break 20").unwrap();
    let deep = backup(&["--verify-links", "30"]).assert_code(0).one("backup");
    let verified = sandbox.run(["verify", &id_of(&deep)]).assert_code(4);
    let _verified = verified.assert_prints(["block 20 names planted as the one before it", "NOT as it was"]);
    let told = backup(&[])
        .assert_code(3)
        .assert_says(["the chain is broken, and stored as it is: block 20 names planted"]);
    assert_eq!(told.one("backup")["ledger"]["links"]["broken"], 1);

    // Where nothing tells the height, that is said; where a query is to, it does.
    let asked =
        backup(&["--height-query", "SELECT max(height) - 9 FROM blocks"]).assert_code(3).one("backup");
    assert_eq!(asked["ledger"]["height"], 50);
    let _wrong = backup(&["--height-query", "SELECT nothing"]).assert_code(1).assert_says(["height"]);
    let none = sandbox.path("none");
    std::fs::create_dir(&none).unwrap();
    std::fs::write(none.join("a"), "a").unwrap();
    let untold = sandbox.run(["backup", "ledger", none.to_str().unwrap()]).assert_code(0);
    let _untold = untold.assert_says(["nothing tells the height"]);
}

#[test]
fn a_disk_that_fills_leaves_what_is_there() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk"), 8 << 20).unwrap() else { return };
    let data = disk.path("data");
    std::fs::create_dir_all(data.join("wallets")).unwrap();
    std::fs::write(data.join("chain"), noise(5_000_000, 1)).unwrap();
    std::fs::write(data.join("wallets/one"), "a key").unwrap();
    std::fs::write(data.join("metadata.json"), r#"{"height": 7, "head": "ab"}"#).unwrap();
    let path = data.to_str().unwrap();
    let told = sandbox.backup(["ledger", path]);
    assert_eq!((&told["ledger"]["height"], &told["ledger"]["height_from"]), (&7.into(), &"metadata".into()));
    std::fs::write(data.join("chain"), noise(4_000_000, 2)).unwrap();
    let before = tree::read(&data);
    let restore = ["restore", "latest", "-t", path, "--drop-existing"];
    let failed = sandbox.run(restore).assert_code(1);
    let _failed = failed.assert_says(["no space is left", "the target was not touched", "both need room"]);
    tree::assert_same_trees(&before, &tree::read(&data));
    assert_eq!(std::fs::read_dir(sandbox.path("disk")).unwrap().count(), 1);

    // What is kept takes no room, and is the same file.
    std::fs::write(data.join("chain"), "small").unwrap();
    std::fs::write(data.join("wallets/two"), "a later key").unwrap();
    let _restored = sandbox.run([&restore[..], &["-e", "wallets"]].concat()).assert_code(0);
    assert_eq!(std::fs::read(data.join("chain")).unwrap(), noise(5_000_000, 1));
    assert_eq!(std::fs::read_to_string(data.join("wallets/two")).unwrap(), "a later key");
    assert_eq!(std::fs::read_dir(sandbox.path("disk")).unwrap().count(), 1);
}
