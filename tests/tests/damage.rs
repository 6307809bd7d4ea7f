//! Damage to every kind of object, in every way: the check finds it and says what it touches; a restore gives back all
//! else, and never a wrong byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Ran, Sandbox, id_of, run, text};

/// Two snapshots of files, the second of a file more; then a stream. Nothing is shared but the first file.
struct Damaged {
    sandbox: Sandbox,
    first: String,
    second: String,
    stream: String,
    /// The objects that each backup added.
    of_first: Vec<PathBuf>,
    of_second: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Truncate,
    Empty,
    Delete,
}

const ALL: [Damage; 4] = [Damage::Flip, Damage::Truncate, Damage::Empty, Damage::Delete];

impl Damage {
    /// Near the beginning, where what is sealed lies: at the end it is padded.
    fn to(self, path: &Path) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Flip => {
                let at = (bytes.len() / 2).min(300);
                bytes[at] ^= 0x10;
                fs::write(path, bytes).unwrap();
            }
            Self::Truncate => fs::write(path, &bytes[..(bytes.len() / 2).min(250)]).unwrap(),
            Self::Empty => fs::write(path, b"").unwrap(),
            Self::Delete => fs::remove_file(path).unwrap(),
        }
    }
}

fn objects(repository: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![repository.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path)
            } else {
                found.push(path.strip_prefix(repository).unwrap().to_owned())
            }
        }
    }
    found.sort();
    found
}

impl Damaged {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let added = |before: &mut Vec<PathBuf>| {
            let now = objects(&sandbox.repository());
            let new = now.iter().filter(|path| !before.contains(path)).cloned().collect();
            *before = now;
            new
        };
        let mut before = objects(&sandbox.repository());
        sandbox.write("source/old", noise(1_500_000, 1));
        sandbox.write("source/small", "small");
        let first = id_of(&sandbox.backup(["files", "source"]));
        let of_first = added(&mut before);
        sandbox.write("source/young", noise(1_500_000, 2));
        let second = id_of(&sandbox.backup(["files", "source"]));
        let of_second = added(&mut before);
        let stream = sandbox.backup_stream("dump.sql", &noise(1_500_000, 3));
        Self { sandbox, first, second, stream, of_first, of_second }
    }

    /// The objects of `kind` among those of a backup, in a fresh copy of the repository with one of them damaged.
    fn copy_with(&self, name: &str, object: &Path, damage: impl FnOnce(&Path)) -> Copy<'_> {
        let repository = self.sandbox.path(name);
        for object in objects(&self.sandbox.repository()) {
            let to = repository.join(&object);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(self.sandbox.repository().join(&object), to).unwrap();
        }
        damage(&repository.join(object));
        Copy { damaged: self, repository }
    }
}

fn of_kind<'a>(objects: &'a [PathBuf], kind: &str) -> &'a Path {
    objects.iter().find(|path| path.starts_with(kind)).unwrap()
}

struct Copy<'a> {
    damaged: &'a Damaged,
    repository: PathBuf,
}

impl Copy<'_> {
    fn run(&self, arguments: &[&str]) -> Ran {
        run(self
            .damaged
            .sandbox
            .command(arguments)
            .arg("--no-cache")
            .env("STRONGROOM_REPO", &self.repository))
    }

    /// A full check: must end with 4 and name the object.
    fn check(&self, object: &Path) -> Vec<Value> {
        let ran = self.run(&["check", "--read-data", "--keys", "--json"]).assert_code(4);
        assert_eq!(ran.one("check")["clean"], false);
        let findings = ran.all("finding");
        let named = findings.iter().any(|finding| {
            finding["severity"] == "damage" && finding.to_string().contains(object.to_str().unwrap())
        });
        assert!(named, "{} is not named: {ran}", object.display());
        let for_people = self.run(&["check", "--read-data", "--keys"]).assert_code(4);
        let _printed = for_people.assert_prints(["damage: ", "DAMAGE: "]);
        findings
    }

    /// Restores the source of a snapshot: what comes back and the exit code.
    fn restore(&self, snapshot: &str) -> (Ran, PathBuf) {
        let target = self.damaged.sandbox.path(format!("{}-{}", self.repository.display(), &snapshot[..8]));
        let ran = self.run(&["restore", snapshot, "--json", "--target", target.to_str().unwrap()]);
        let source = self.damaged.sandbox.path("source");
        (ran, target.join(source.strip_prefix("/").unwrap()))
    }

    /// A restored file is the original, or zeros in places, and then the restore said so; or it is not there.
    fn assert_no_wrong_byte(&self, ran: &Ran, restored: &Path) {
        for name in ["old", "small", "young"] {
            let Ok(found) = fs::read(restored.join(name)) else { continue };
            let original = fs::read(self.damaged.sandbox.path("source").join(name)).unwrap();
            if found == original {
                continue;
            }
            assert_eq!(ran.status.code(), Some(4), "{ran}");
            assert!(
                ran.all("trouble").iter().any(|trouble| text(&trouble["path"]).ends_with(name)),
                "{name} is not named: {ran}"
            );
            assert_eq!(found.len(), original.len());
            let wrong = found
                .iter()
                .zip(&original)
                .filter(|(found, original)| found != original && **found != 0)
                .count();
            assert_eq!(wrong, 0, "{name} holds wrong bytes");
        }
    }

    fn assert_whole(&self, snapshot: &str, names: &[&str]) {
        let (ran, restored) = self.restore(snapshot);
        let _done = ran.assert_code(0);
        for name in names {
            assert!(
                fs::read(restored.join(name)).unwrap()
                    == fs::read(self.damaged.sandbox.path("source").join(name)).unwrap()
            );
        }
    }
}

fn touched(findings: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> =
        findings.iter().flat_map(|finding| finding["snapshots"].as_array().unwrap()).map(text).collect();
    ids.sort();
    ids.dedup();
    ids
}

fn paths(findings: &[Value]) -> Vec<String> {
    let mut paths: Vec<String> = findings
        .iter()
        .flat_map(|finding| finding["paths"].as_array().unwrap())
        .map(|path| text(&path["path"]))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[test]
fn a_damaged_data_pack_costs_the_files_in_it_and_nothing_else() {
    let damaged = Damaged::new();
    let pack = of_kind(&damaged.of_second, "packs");
    for damage in ALL {
        let copy = damaged.copy_with(&format!("pack-{damage:?}"), pack, |path| damage.to(path));
        let findings = copy.check(pack);
        assert_eq!(touched(&findings), std::slice::from_ref(&damaged.second), "{damage:?}");
        let paths = paths(&findings);
        assert!(paths.len() == 1 && paths[0].ends_with("source/young"), "{damage:?}: {paths:?}");
        copy.assert_whole(&damaged.first, &["old", "small"]);
        let (ran, restored) = copy.restore(&damaged.second);
        let ran = ran.assert_code(4).assert_says(["source/young", "the snapshot is damaged"]);
        copy.assert_no_wrong_byte(&ran, &restored);
        for name in ["old", "small"] {
            assert!(
                fs::read(restored.join(name)).unwrap()
                    == fs::read(damaged.sandbox.path("source").join(name)).unwrap()
            );
        }
        let young = damaged.sandbox.path("source/young");
        let cat = copy.run(&["cat", &damaged.second, young.to_str().unwrap()]).assert_code(4);
        let original = fs::read(&young).unwrap();
        assert!(original.starts_with(&cat.stdout), "{damage:?}: cat wrote wrong bytes");
        let whole = copy.run(&["cat", &damaged.stream]).assert_code(0);
        assert!(whole.stdout == noise(1_500_000, 3));
    }
}

#[test]
fn two_packs_in_each_others_place_are_found() {
    let damaged = Damaged::new();
    let (one, two) = (of_kind(&damaged.of_first, "packs"), of_kind(&damaged.of_second, "packs"));
    let copy = damaged.copy_with("swap", one, |_| ());
    for path in [one, two] {
        fs::set_permissions(copy.repository.join(path), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::copy(damaged.sandbox.repository().join(one), copy.repository.join(two)).unwrap();
    fs::copy(damaged.sandbox.repository().join(two), copy.repository.join(one)).unwrap();
    let findings = copy.check(one);
    let mut expected = [damaged.first.clone(), damaged.second.clone()];
    expected.sort();
    assert_eq!(touched(&findings), expected);
    for snapshot in [&damaged.first, &damaged.second] {
        let (ran, restored) = copy.restore(snapshot);
        let ran = ran.assert_code(4);
        copy.assert_no_wrong_byte(&ran, &restored);
    }
    assert!(copy.run(&["cat", &damaged.stream]).assert_code(0).stdout == noise(1_500_000, 3));
}

#[test]
fn a_damaged_tree_costs_its_snapshot_and_nothing_else() {
    let damaged = Damaged::new();
    let pack = of_kind(&damaged.of_second, "meta");
    for damage in ALL {
        let copy = damaged.copy_with(&format!("meta-{damage:?}"), pack, |path| damage.to(path));
        let findings = copy.check(pack);
        assert_eq!(touched(&findings), std::slice::from_ref(&damaged.second), "{damage:?}");
        copy.assert_whole(&damaged.first, &["old", "small"]);
        let (ran, restored) = copy.restore(&damaged.second);
        let ran = ran.assert_code(4);
        copy.assert_no_wrong_byte(&ran, &restored);
        assert!(copy.run(&["cat", &damaged.stream]).assert_code(0).stdout == noise(1_500_000, 3));
    }
}

#[test]
fn a_damaged_index_object_costs_nothing() {
    let damaged = Damaged::new();
    let index = of_kind(&damaged.of_second, "index");
    for damage in ALL {
        let copy = damaged.copy_with(&format!("index-{damage:?}"), index, |path| damage.to(path));
        let _findings = copy.check(index);
        for snapshot in [&damaged.first, &damaged.second] {
            copy.assert_whole(snapshot, &["old", "small"]);
        }
        assert!(copy.run(&["cat", &damaged.stream]).assert_code(0).stdout == noise(1_500_000, 3));
        // And backups go on.
        let _backup = copy.run(&["backup", "files", "source"]).assert_code(0);
    }
}

#[test]
fn a_damaged_journal_entry_costs_the_snapshot_it_brought() {
    let damaged = Damaged::new();
    let entry = of_kind(&damaged.of_second, "journal");
    for damage in ALL {
        let copy = damaged.copy_with(&format!("journal-{damage:?}"), entry, |path| damage.to(path));
        let _findings = copy.check(entry);
        let listed =
            copy.run(&["snapshots", "--json"]).assert_code(0).assert_says(["warning: ", "strongroom check"]);
        let ids: Vec<String> = listed.all("snapshot").iter().map(|snapshot| text(&snapshot["id"])).collect();
        assert_eq!(ids, [damaged.first.clone(), damaged.stream.clone()], "{damage:?}");
        copy.assert_whole(&damaged.first, &["old", "small"]);
        let _gone = copy.run(&["restore", &damaged.second, "--target", "gone"]).assert_code(6);
        let _backup = copy.run(&["backup", "files", "source"]).assert_code(0);
        assert!(copy.run(&["cat", &damaged.stream]).assert_code(0).stdout == noise(1_500_000, 3));
        let _still = copy.check(entry);
    }
}

#[test]
fn two_journal_entries_in_each_others_place_are_found() {
    let damaged = Damaged::new();
    let (one, two) = (of_kind(&damaged.of_first, "journal"), of_kind(&damaged.of_second, "journal"));
    let copy = damaged.copy_with("entries", one, |_| ());
    for path in [one, two] {
        fs::set_permissions(copy.repository.join(path), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::copy(damaged.sandbox.repository().join(one), copy.repository.join(two)).unwrap();
    fs::copy(damaged.sandbox.repository().join(two), copy.repository.join(one)).unwrap();
    let _findings = copy.check(one);
    assert!(copy.run(&["cat", &damaged.stream]).assert_code(0).stdout == noise(1_500_000, 3));
}

#[test]
fn a_damaged_data_key_costs_what_is_sealed_under_it() {
    let damaged = Damaged::new();
    let key = of_kind(&damaged.of_second, "keys");
    for damage in ALL {
        let copy = damaged.copy_with(&format!("key-{damage:?}"), key, |path| damage.to(path));
        let findings = copy.check(key);
        assert_eq!(touched(&findings), std::slice::from_ref(&damaged.second), "{damage:?}");
        copy.assert_whole(&damaged.first, &["old", "small"]);
        let (ran, restored) = copy.restore(&damaged.second);
        let ran = ran.assert_code(4);
        copy.assert_no_wrong_byte(&ran, &restored);
    }
}

#[test]
fn what_nothing_opens_without_is_said_to_be_damaged() {
    let damaged = Damaged::new();
    for (number, object) in ["config", "journal/0000000000000000"].into_iter().enumerate() {
        for damage in ALL {
            let copy = damaged
                .copy_with(&format!("first-{number}-{damage:?}"), Path::new(object), |path| damage.to(path));
            for command in [
                &["snapshots"][..],
                &["check"],
                &["restore", "latest", "--target", "nothing"],
                &["backup", "files", "source"],
            ] {
                let ran = copy.run(command);
                assert!(matches!(ran.status.code(), Some(1 | 4 | 5)), "{object} {damage:?}: {ran}");
                assert!(ran.stderr.contains("error: "), "{ran}");
            }
        }
    }
    assert!(!damaged.sandbox.path("nothing").exists());
}

fn checkpoints(sandbox: &Sandbox) -> Vec<PathBuf> {
    objects(&sandbox.repository()).into_iter().filter(|path| path.starts_with("checkpoints")).collect()
}

#[test]
fn a_damaged_checkpoint_is_gone_around() {
    let sandbox = Sandbox::new();
    let id = sandbox.backup_stream("x", b"content");
    // Two entries a tag, for who did it is noted; a checkpoint every 256.
    for number in 0..130 {
        let _tagged = sandbox
            .run(["tag", "latest", if number % 2 == 0 { "--add" } else { "--remove" }, "t"])
            .assert_code(0);
    }
    let checkpoint = checkpoints(&sandbox).remove(0);
    let path = sandbox.repository().join(&checkpoint);
    let whole = fs::read(&path).unwrap();
    for damage in ALL {
        damage.to(&path);
        let ran = sandbox.run(["snapshots", "--json", "--no-cache"]).assert_code(0);
        assert_eq!(text(&ran.one("snapshot")["id"]), id);
        if !matches!(damage, Damage::Delete) {
            let _said = ran.assert_says(["checkpoint", "is not used"]);
            let checked = sandbox.run(["check", "--json"]).assert_code(4);
            assert!(
                checked
                    .all("finding")
                    .iter()
                    .any(|finding| finding["object"] == checkpoint.to_str().unwrap()),
                "{checked}"
            );
            // It noted what it found, and left a good checkpoint behind.
            let newer: Vec<_> =
                checkpoints(&sandbox).into_iter().filter(|other| *other != checkpoint).collect();
            assert_eq!(newer.len(), 1);
            let around = sandbox.run(["snapshots", "--no-cache"]).assert_code(0);
            assert!(!around.stderr.contains("is not used"), "{around}");
            fs::remove_file(sandbox.repository().join(&newer[0])).unwrap();
        }
        fs::write(&path, &whole).unwrap();
    }
    sandbox.assert_clean();
}
