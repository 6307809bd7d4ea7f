//! Parity, as an operator meets it: packs that a disk has damaged restore, a check says which they are, and what is
//! damaged beyond the share is named with what it touches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Sandbox, text};

fn with_parity(percent: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    let _made = sandbox.run(["init", "--host", "test", "--parity", percent]).assert_code(0);
    sandbox
}

/// The objects of a folder of the repository.
fn objects(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let Ok(folders) = fs::read_dir(sandbox.repository().join(folder)) else { return Vec::new() };
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let mut found: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    found.sort();
    found
}

fn edit(path: &PathBuf, edit: impl FnOnce(&mut Vec<u8>)) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_a_disk_damages_within_the_share_restores() {
    let sandbox = with_parity("5%");
    let dump = noise(20_000_000, 1);
    let id = sandbox.backup_stream("dump.sql", &dump);
    let packs = [objects(&sandbox, "packs"), objects(&sandbox, "meta")].concat();
    assert_eq!(objects(&sandbox, "parity").len(), packs.len());
    assert!(packs.len() >= 3, "{packs:?}");
    sandbox.assert_clean();

    // Flipped, overwritten, cut short: each pack in another way.
    for (number, pack) in packs.iter().enumerate() {
        edit(pack, |bytes| match number % 3 {
            0 => bytes[1000] ^= 1,
            1 => bytes[2048..3000].fill(0),
            _ => bytes.truncate(bytes.len() - 800),
        });
    }
    let cat = sandbox.run(["cat", &id, "dump.sql"]).assert_code(0).assert_says(["warning", "repair packs"]);
    assert!(cat.stdout == dump);
    let restored = sandbox.run(["restore", &id, "--target", "out", "--json"]).assert_code(0);
    assert_eq!(restored.assert_says(["repair packs"]).one("restore")["healed_packs"], 2);
    assert!(fs::read(sandbox.path("out/dump.sql")).unwrap() == dump);

    let checked = sandbox.run(["check", "--packs", "--json"]).assert_code(4);
    let findings = checked.all("finding");
    assert_eq!(findings.len(), packs.len(), "{checked}");
    for finding in &findings {
        assert!(text(&finding["detail"]).contains("its parity heals it"), "{finding}");
        assert_eq!((&finding["severity"], &finding["snapshots"]), (&"damage".into(), &serde_json::json!([])));
    }
    assert_eq!(checked.one("check")["parity"], packs.len());
    let _said =
        sandbox.run(["check", "--read-data"]).assert_code(4).assert_prints(["strongroom repair packs"]);

    // Beyond the share: as without parity.
    edit(&packs[0], |bytes| {
        let half = bytes.len() / 2;
        bytes[..half].fill(0);
    });
    let lost = sandbox.run(["check", "--packs"]).assert_code(4);
    let _lost = lost.assert_prints(["its parity does not heal it", "touches snapshots", "dump.sql"]);
    let _partly = sandbox.run(["restore", &id, "--target", "partly"]).assert_code(4);
}

#[test]
fn the_policy_says_how_much_parity_there_is() {
    let sandbox = Sandbox::new();
    let shows = |what: &str| {
        let _shown = sandbox
            .run(["policy", "show"])
            .assert_code(0)
            .assert_prints([&format!("parity          {what}\n")]);
    };
    shows("off");
    for wrong in ["0%", "101%", "much"] {
        let _wrong = sandbox.run(["policy", "set", "--parity", wrong]).assert_code(2);
    }
    sandbox.backup_stream("before", b"before");
    let _set = sandbox.run(["policy", "set", "--parity", "100%", "--deltas", "off"]).assert_code(0);
    shows("100%");
    assert_eq!(sandbox.run(["policy", "show", "--json"]).one("policy")["sequence"], 1);
    let id = sandbox.backup_stream("after", &noise(300_000, 1));
    assert_eq!(objects(&sandbox, "parity").len(), 2);
    // No damage: these were there before.
    let checked = sandbox.run(["check"]).assert_code(0);
    let _said =
        checked.assert_prints(["info: parity/: 2 packs have no parity", "2 with parity", "no damage found"]);

    for pack in [objects(&sandbox, "packs"), objects(&sandbox, "meta")].concat() {
        fs::remove_file(pack).unwrap();
    }
    assert!(sandbox.cat(&id, "after") == noise(300_000, 1));
    let _lost = sandbox.run(["cat", "latest:before", "before"]).assert_code(4);

    let _set = sandbox.run(["policy", "set", "--parity", "off"]).assert_code(0);
    shows("off");
    sandbox.backup_stream("then", b"then");
    assert_eq!(objects(&sandbox, "parity").len(), 2);
}
