//! Forgetting and pruning, as an operator does it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::Sandbox;

fn stored_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { stored_bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}

fn prune(sandbox: &Sandbox, options: &[&str]) -> Value {
    sandbox.run(["prune", "--json"].iter().chain(options)).assert_code(0).one("prune")
}

#[test]
fn what_was_forgotten_is_deleted_after_the_grace() {
    let sandbox = Sandbox::new();
    let data = [1, 2, 3].map(|seed| noise(2_000_000, seed));
    let ids = data.each_ref().map(|data| sandbox.backup_stream("dump.sql", data));
    let packs = || stored_bytes(&sandbox.repository().join("packs"));
    let before = packs();
    let told = sandbox.run(["forget", &ids[1], "--dry-run"]).assert_code(0);
    let _said = told.assert_prints(["would forget", &ids[1][..8]]);
    assert_eq!(sandbox.snapshots().len(), 3);
    let _forgot =
        sandbox.run(["forget", &ids[1][..8], "--reason", "test"]).assert_code(0).assert_prints(["forgot"]);
    let _gone = sandbox.run(["restore", &ids[1], "--target", "x"]).assert_code(6);
    let _gone = sandbox.run(["forget", &ids[1]]).assert_code(6);

    let dry = prune(&sandbox, &["--dry-run", "--grace", "0"]);
    assert_eq!((&dry["unneeded"]["objects"], &dry["dry_run"]), (&2.into(), &true.into()), "{dry}");
    assert_eq!(packs(), before);
    // A day of grace by default.
    let first = prune(&sandbox, &[]);
    assert_eq!(
        (&first["waiting"]["objects"], &first["deleted"]["objects"]),
        (&2.into(), &0.into()),
        "{first}"
    );
    assert_eq!(packs(), before);
    let second = prune(&sandbox, &["--grace", "0"]);
    assert_eq!(
        (&second["deleted"]["objects"], &second["kept"]["objects"]),
        (&2.into(), &4.into()),
        "{second}"
    );
    assert!(packs() < before - 1_900_000);
    for at in [0, 2] {
        assert!(sandbox.cat(&ids[at], "dump.sql") == data[at]);
    }
    sandbox.assert_clean();
    let printed = sandbox.run(["prune"]).assert_code(0);
    let _said = printed.assert_prints(["4 objects", "kept"]);
    // The same data again is stored again, and comes back.
    let again = sandbox.backup_stream("dump.sql", &data[1]);
    assert!(sandbox.cat(&again, "dump.sql") == data[1]);
    sandbox.assert_clean();
}

/// Nothing is deleted while it is not certain what is needed.
#[test]
fn a_damaged_repository_is_not_pruned() {
    let sandbox = Sandbox::new();
    let [first, second] = [1, 2].map(|seed| sandbox.backup_stream("dump.sql", &noise(1_000_000, seed)));
    let _forgot = sandbox.run(["forget", &first]).assert_code(0);
    // What the index says packs say too; what the trees say nobody does.
    fs::remove_dir_all(sandbox.repository().join("index")).unwrap();
    let told = sandbox.run(["prune", "--dry-run"]).assert_code(0);
    let _said = told.assert_says(["what it said is read from packs"]);
    assert!(sandbox.cat(&second, "dump.sql") == noise(1_000_000, 2));
    fs::remove_dir_all(sandbox.repository().join("meta")).unwrap();
    let refused = sandbox.run(["prune", "--grace", "0"]).assert_code(1);
    let _said = refused.assert_says(["nothing was retired or deleted", "strongroom check"]);
}
