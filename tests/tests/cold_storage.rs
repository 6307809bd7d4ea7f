//! Data packs in cold storage: what needs none of them works; a check says what it did not read, and a restore has
//! thawed what it needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::moto::{self, Moto};

/// Nobody listens there.
const NO_KMS: &str = "http://127.0.0.1:9";

#[test]
fn frozen_packs_are_thawed_for_a_restore() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    moto.client().create_bucket("cold-storage").unwrap();
    let credentials = moto::credentials("operator");
    let mut sandbox = Sandbox::on_aws("s3://cold-storage/p", &credentials, &moto.endpoint(), NO_KMS);
    let key = sandbox.path("the.key");
    sandbox.set("STRONGROOM_KEY_FILE", key);
    let _made = sandbox.run(["init"]).assert_code(0);
    let warm = noise(300_000, 1);
    let first = sandbox.backup_stream("dump.sql", &warm);
    sandbox.set("STRONGROOM_STORAGE_CLASS", "DEEP_ARCHIVE");
    let frozen = noise(300_000, 2);
    let second = sandbox.backup_stream("dump.sql", &frozen);

    // Nothing of this reads data.
    assert_eq!(sandbox.snapshots(), [first.clone(), second.clone()]);
    let _listed = sandbox.run(["ls", &second]).assert_code(0).assert_prints(["dump.sql"]);
    let structure = sandbox.run(["check", "--json"]).assert_code(0).one("check");
    assert_eq!((&structure["clean"], &structure["packs_frozen"]), (&true.into(), &0.into()));
    let anew = sandbox.backup_stream("dump.sql", &frozen);
    assert!(sandbox.cat(&first, "dump.sql") == warm);

    // What was to be read and was not is said, and is no damage.
    let checked = sandbox.run(["check", "--read-data", "--json"]).assert_code(3);
    let report = checked.one("check");
    assert_eq!((&report["clean"], &report["packs_frozen"]), (&true.into(), &1.into()), "{checked}");
    let [finding] = &checked.all("finding")[..] else { panic!("{checked}") };
    assert_eq!((&finding["severity"], &finding["kind"]), (&"info".into(), &"frozen".into()));

    let target = sandbox.path("restored");
    let restore = ["restore", &anew, "--target", &target.to_string_lossy()].map(str::to_owned);
    let asked = sandbox.run(restore.iter().map(String::as_str).chain(["--no-wait"])).assert_code(1);
    let _said = asked.assert_says(["1 of 1 packs are in cold storage", "run this again"]);
    assert!(!target.exists());
    // moto thaws at once.
    let _restored = sandbox.run(&restore).assert_code(0);
    assert!(std::fs::read(target.join("dump.sql")).unwrap() == frozen);
    let checked = sandbox.run(["check", "--read-data", "--json"]).assert_code(0).one("check");
    assert_eq!(checked["packs_frozen"], 0);
}
