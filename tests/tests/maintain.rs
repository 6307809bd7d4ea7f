//! Pruning, repairing and copying, as an operator does it and as it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Sandbox, id_of, text};
use strongroom_tests::tree;

/// All files below a folder of the repository.
fn objects(sandbox: &Sandbox, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![sandbox.repository().join(kind)];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// What a backup adds to the data packs.
fn pack_of(sandbox: &Sandbox, backup: impl FnOnce()) -> PathBuf {
    let before = objects(sandbox, "packs");
    backup();
    let mut added: Vec<_> =
        objects(sandbox, "packs").into_iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(added.len(), 1, "the backup is to add one pack");
    added.remove(0)
}

/// One bit goes wrong, where sealed content lies.
fn flip(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[300] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn tags_of(sandbox: &Sandbox, id: &str) -> Vec<String> {
    let listed = sandbox.run(["snapshots", "--json"]).assert_code(0).json_lines();
    let found = listed.iter().find(|snapshot| snapshot["id"] == id).expect("no such snapshot");
    found["tags"].as_array().unwrap().iter().map(text).collect()
}

fn prune(sandbox: &Sandbox, options: &[&str]) -> Value {
    sandbox
        .run(["prune", "--json", "--grace", "0", "--max-unused", "0"].iter().chain(options))
        .assert_code(0)
        .one("prune")
}

#[test]
fn a_dry_run_shows_what_a_prune_then_does() {
    let sandbox = Sandbox::new();
    // A day's own data in the middle of what the next day has as well: a pack that is needed in part. Longer than a frame,
    // which is copied whole.
    let day = |own: u64| [noise(900_000, 1), noise(4_000_000, own), noise(900_000, 2)].concat();
    let ids = [10, 11, 12].map(|own| sandbox.backup_stream("db.dump", &day(own)));
    let _forgot = sandbox.run(["forget", &ids[0], &ids[1]]).assert_code(0);
    let packs = objects(&sandbox, "packs");

    let told = sandbox.run(["prune", "--dry-run", "--grace", "0", "--max-unused", "0"]).assert_code(0);
    let _said = told.assert_prints([
        "nothing is changed; a prune now would come to this:",
        "no snapshot needs",
        "little is needed of: that is copied, the rest goes",
        "frees ",
        "requests: ",
    ]);
    let dry = prune(&sandbox, &["--dry-run"]);
    assert_eq!(objects(&sandbox, "packs"), packs);
    let real = prune(&sandbox, &[]);
    for what in ["unneeded", "copied", "kept"] {
        assert_eq!(dry[what], real[what], "{what}\n{dry}\n{real}");
    }
    assert!(real["copied"]["objects"].as_u64() >= Some(1), "{real}");
    assert!(real["deleted"]["objects"].as_u64() >= Some(2), "{real}");
    let freed = |report: &Value| report["freed_bytes"].as_u64().unwrap();
    // What the new pack is padded to, and its footer, a dry run does not know.
    assert!(freed(&dry).abs_diff(freed(&real)) < 200_000, "{dry}\n{real}");
    assert!((6_000_000..8_200_000).contains(&freed(&real)), "most of two days' own data: {real}");
    let costs = |report: &Value, what: &str| report["cost"][what].as_u64().unwrap();
    for what in ["puts", "gets", "deletes"] {
        let (dry, real) = (costs(&dry, what), costs(&real, what));
        assert!(dry > 0 && dry.abs_diff(real) <= 2, "{what}: {dry}, then {real}");
    }

    assert!(sandbox.cat(&ids[2], "db.dump") == day(12));
    sandbox.assert_clean();
    // There is nothing left to do.
    let again = prune(&sandbox, &[]);
    assert_eq!((&again["freed_bytes"], &again["copied"]["objects"]), (&0.into(), &0.into()), "{again}");
}

#[test]
fn an_index_that_is_gone_is_made_anew_out_of_the_packs() {
    let sandbox = Sandbox::new();
    let data = [1, 2, 3].map(|seed| noise(800_000, seed));
    let ids = data.each_ref().map(|data| sandbox.backup_stream("db.dump", data));
    let count = objects(&sandbox, "index").len();
    fs::remove_dir_all(sandbox.repository().join("index")).unwrap();
    let _damage = sandbox.run(["check"]).assert_code(4).assert_prints(["it is not there"]);

    let dry = sandbox.run(["repair", "index", "--dry-run"]).assert_code(0);
    let _said = dry.assert_prints(["damaged, would be replaced", "packs would be described anew"]);
    assert!(!sandbox.repository().join("index").exists());
    let repaired = sandbox.run(["repair", "index", "--json"]).assert_code(0).one("repair-index");
    assert_eq!(repaired["damaged"].as_array().unwrap().len(), count, "{repaired}");
    assert_eq!(repaired["unreadable"], serde_json::json!([]), "{repaired}");
    sandbox.assert_clean();
    for (id, data) in ids.iter().zip(&data) {
        assert!(sandbox.cat(id, "db.dump") == *data);
    }
    let _nothing = sandbox.run(["repair", "index"]).assert_code(0).assert_prints(["there is nothing to do"]);
    // Nothing is stored twice.
    let report = sandbox.feed(["backup", "stdin", "--json", "--name", "db.dump"], &data[1]).assert_code(0);
    assert_eq!(report.one("backup")["new_bytes"], 0);
}

#[test]
fn a_later_backup_heals_what_a_repair_gave_up() {
    let sandbox = Sandbox::new();
    let (whole, hurt) = (noise(900_000, 1), noise(900_000, 2));
    let untouched = sandbox.backup_stream("whole.dump", &whole);
    let mut id = String::new();
    let pack = pack_of(&sandbox, || id = sandbox.backup_stream("db.dump", &hurt));
    flip(&pack);
    let name = pack.file_name().unwrap().to_str().unwrap();
    let _found = sandbox.run(["check", "--read-data"]).assert_code(4).assert_prints([name, &id[..8]]);

    let dry = sandbox.run(["repair", "packs", "--dry-run"]).assert_code(4);
    let _said = dry.assert_prints([name, "would be copied"]);
    assert!(pack.exists());
    let repaired = sandbox.run(["repair", "packs"]).assert_code(4);
    let _said = repaired.assert_prints([name, "are lost", "next: `strongroom repair snapshots`"]);
    let marked = sandbox.run(["repair", "snapshots"]).assert_code(4);
    let _said = marked.assert_prints([&id[..8], "is damaged", "1 of 2 snapshots"]);
    assert_eq!(tags_of(&sandbox, &id), ["damaged"]);
    assert!(tags_of(&sandbox, &untouched).is_empty());
    // No wrong byte comes out, and the other one is as it was.
    let partly = sandbox.run(["restore", &id, "--target", "partly"]);
    assert!(!partly.status.success(), "{partly}");
    assert!(sandbox.cat(&untouched, "whole.dump") == whole);

    let again = sandbox.backup_stream("db.dump", &hurt);
    let healed = sandbox.run(["repair", "snapshots"]).assert_code(0);
    let _said = healed.assert_prints([&id[..8], "is whole again", "0 of 3 snapshots"]);
    assert!(tags_of(&sandbox, &id).is_empty());
    for id in [&id, &again] {
        assert!(sandbox.cat(id, "db.dump") == hurt);
    }
    let _clean = sandbox.run(["check", "--read-data", "--keys"]).assert_code(0);
}

#[test]
fn a_snapshot_without_what_is_damaged_takes_the_place_of_the_damaged_one() {
    let sandbox = Sandbox::new();
    sandbox.write("source/keep", noise(900_000, 1));
    let _first = sandbox.backup(["files", "source", "--tag", "first"]);
    sandbox.write("source/lose", noise(900_000, 2));
    let mut id = String::new();
    let pack = pack_of(&sandbox, || id = id_of(&sandbox.backup(["files", "source", "--tag", "audit"])));
    flip(&pack);
    let _repaired = sandbox.run(["repair", "packs"]).assert_code(4);
    let refused = sandbox.run(["repair", "snapshots", "--forget"]).assert_code(2);
    let _said = refused.assert_says(["--leave-out"]);
    let dry = sandbox.run(["repair", "snapshots", "--leave-out", "--forget", "--dry-run"]).assert_code(4);
    let _said = dry.assert_prints(["source/lose", "would be newly tagged"]);
    assert_eq!(tags_of(&sandbox, &id), ["audit"]);

    let done = sandbox.run(["repair", "snapshots", "--leave-out", "--forget"]).assert_code(0);
    let _said = done.assert_prints(["source/lose", "1 entries are left out", "the damaged one is forgotten"]);
    let snapshots = sandbox.snapshots();
    assert!(!snapshots.contains(&id) && snapshots.len() == 2, "{snapshots:?}");
    assert_eq!(tags_of(&sandbox, &snapshots[1]), ["audit", "repaired"]);
    let subtree = sandbox.path("source");
    let subtree = subtree.to_str().unwrap();
    let _restored =
        sandbox.run(["restore", &snapshots[1], "--subtree", subtree, "--target", "target"]).assert_code(0);
    assert!(fs::read(sandbox.path("target/keep")).unwrap() == noise(900_000, 1));
    assert!(!sandbox.path("target/lose").exists());
    sandbox.assert_clean();
}

/// A second repository with a key file of its own, and what opens it.
struct Elsewhere {
    repository: String,
    key_file: String,
}

impl Elsewhere {
    fn new(sandbox: &Sandbox) -> Self {
        let key = sandbox.path("elsewhere.key");
        let public = sandbox.run(["key", "generate-recovery", "elsewhere.key"]).assert_code(0).text();
        let recipient = public.split_whitespace().next().expect("no public key is printed").to_owned();
        let repository = sandbox.path("elsewhere").to_string_lossy().into_owned();
        let made = sandbox.run(["init", "--repo", &repository, "--recipient", &recipient]);
        let _made = made.assert_code(0);
        Self { repository, key_file: key.to_string_lossy().into_owned() }
    }

    fn with<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--repo", &self.repository, "--key-file", &self.key_file]].concat()
    }
}

#[test]
fn snapshots_are_copied_to_a_repository_of_another_key() {
    let sandbox = Sandbox::new();
    sandbox.write("source/a", noise(900_000, 1));
    let first = id_of(&sandbox.backup(["files", "source", "--tag", "monthly"]));
    let stream = noise(900_000, 3);
    let dump = sandbox.backup_stream("db.dump", &stream);
    let hold = |id: &str| sandbox.run(["hold", "add", id, "--name", "legal", "--reason", "case 7"]);
    let _held = hold(&dump).assert_code(0);
    let elsewhere = Elsewhere::new(&sandbox);
    let from = sandbox.repository();
    let from = from.to_str().unwrap();
    let key = fs::read_dir(sandbox.home().join(".config/strongroom/keys")).unwrap();
    let key = key.map(|entry| entry.unwrap().path()).next().expect("no key file");
    let key = key.to_str().unwrap();
    let copy = |command: &[&str]| {
        let arguments = [command, &["--from-repo", from, "--from-key-file", key]].concat();
        sandbox.run(elsewhere.with(&arguments))
    };
    let _told = copy(&["copy", "--dry-run"]).assert_code(0).assert_prints(["would copy 2 of 2 snapshots"]);
    let copied = copy(&["copy", "--json"]).assert_code(0).all("copy");
    assert_eq!(copied.len(), 2);
    let is = |id: &str| text(&copied.iter().find(|one| one["snapshot"] == id).unwrap()["is"]);
    let _again = copy(&["copy"]).assert_code(0).assert_prints(["copied 0 of 2 snapshots"]);

    // The next day only what is new goes over.
    sandbox.write("source/b", noise(300_000, 2));
    let second = id_of(&sandbox.backup(["files", "source"]));
    let more = copy(&["copy", "--json"]).assert_code(0).all("copy");
    let new: Vec<_> = more.iter().filter(|one| one["copied"] == true).collect();
    assert_eq!(new.len(), 1, "{more:?}");
    assert_eq!(new[0]["snapshot"], second.as_str());
    assert!(new[0]["new_bytes"].as_u64().unwrap() < 310_000, "{}", new[0]);

    let there = |arguments: &[&str]| sandbox.run(elsewhere.with(arguments));
    assert!(there(&["cat", &is(&dump), "db.dump"]).assert_code(0).stdout == stream);
    let subtree = sandbox.path("source");
    let newest = text(&new[0]["is"]);
    let restore = ["restore", &newest, "--subtree", subtree.to_str().unwrap(), "--target", "target"];
    let _restored = there(&restore).assert_code(0);
    tree::assert_same(&subtree, &sandbox.path("target"));
    let listed = there(&["snapshots", "--json"]).assert_code(0).json_lines();
    assert_eq!(listed[0]["tags"], serde_json::json!(["monthly"]), "{}", listed[0]);
    let holds: Vec<bool> = listed.iter().map(|one| one["holds"].to_string().contains("legal")).collect();
    assert_eq!(holds, [false, true, false], "a copy is under the holds of what it was copied from");
    let told = there(&["journal", "export"]).assert_code(0).json_lines();
    let copies = told.iter().filter(|entry| entry["says"]["copy_of"]["snapshot"] == first.as_str());
    assert_eq!(copies.count(), 1, "{told:#?}");

    // Also of those that were put on later; they stay on when they are taken off there.
    let _held = hold(&first).assert_code(0);
    let _held = copy(&["copy"]).assert_code(0).assert_says([&is(&first)[..8], "under hold now: legal"]);
    let _off = sandbox.run(["hold", "remove", &first, "--name", "legal"]).assert_code(0);

    // What is forgotten here stays there, until a sync is told to forget it too.
    let _forgot = sandbox.run(["forget", &first]).assert_code(0);
    let count = || there(&["snapshots", "--json"]).assert_code(0).json_lines().len();
    let _kept = copy(&["sync"]).assert_code(0);
    assert_eq!(count(), 3);
    let _told = copy(&["sync", "--forget"]).assert_code(0).assert_prints(["stays: it is under hold"]);
    assert_eq!(count(), 3);
    let _off = there(&["hold", "remove", &is(&first), "--name", "legal"]).assert_code(0);
    let _told = copy(&["sync", "--forget", "--dry-run"]).assert_code(0).assert_prints(["would be forgotten"]);
    assert_eq!(count(), 3);
    let _gone = copy(&["sync", "--forget"]).assert_code(0).assert_prints([&is(&first)[..8], "forgotten"]);
    assert_eq!(count(), 2);
    let _pruned = there(&["prune", "--grace", "0"]).assert_code(0);
    let _clean = there(&["check", "--read-data", "--keys"]).assert_code(0);
    // Its own key opens it, and the other one does not.
    let _refused = sandbox.run(["ls", "--repo", &elsewhere.repository]).assert_code(5);
}

#[test]
fn a_host_without_any_key_checks_what_is_stored() {
    let sandbox = Sandbox::new();
    let _id = sandbox.backup_stream("db.dump", &noise(900_000, 1));
    let mut stranger = sandbox.other_host();
    stranger.set("STRONGROOM_REPO", sandbox.repository());
    let _refused = stranger.run(["check"]).assert_code(5).assert_says(["--key-file"]);
    let clean = stranger.run(["check", "--no-key"]).assert_code(0);
    let _said = clean.assert_prints(["no damage found", "only a check with a key can tell"]);
    let pack = objects(&sandbox, "packs").remove(0);
    flip(&pack);
    let damaged = stranger.run(["check", "--no-key"]).assert_code(4);
    let _said = damaged.assert_prints([
        "damage: ",
        pack.file_name().unwrap().to_str().unwrap(),
        "its bytes do not hash to its name",
        "DAMAGE: see above",
    ]);
    let said = stranger.run(["check", "--no-key", "--json"]).assert_code(4);
    assert_eq!(said.one("scrub")["clean"], false);
    assert_eq!(said.one("finding")["kind"], "hash-mismatch");
    // It changed nothing: there is no note of it.
    let _needs = stranger.run(["check", "--no-key", "--read-data"]).assert_code(2);
}
