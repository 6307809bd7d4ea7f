//! `quickstart`: the main job on one command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::sandbox::{Sandbox, run, text};

#[test]
fn it_makes_three_days_restores_one_and_finds_all_clean() {
    let sandbox = Sandbox::empty();
    let folder = sandbox.path("try");
    let ran = run(sandbox.command(["quickstart", "--json", "--dir"]).arg(&folder)).assert_code(0);
    let days = ran.all("day");
    assert_eq!(days.len(), 3, "{ran}");
    for day in &days[1..] {
        assert!(day["new_bytes"].as_u64() < days[0]["bytes"].as_u64().map(|bytes| bytes / 4), "{day}");
    }
    let report = ran.one("quickstart");
    assert_eq!((&report["check_clean"], &report["restored"]), (&true.into(), &days[1]["snapshot"]));
    assert_eq!(report["compared_bytes"], days[1]["bytes"]);
    // What it says to try works.
    let mut look = sandbox.command(["snapshots", "--json"]);
    look.env("STRONGROOM_REPO", text(&report["repository"]))
        .env("STRONGROOM_KEY_FILE", text(&report["key_file"]));
    assert_eq!(run(&mut look).assert_code(0).all("snapshot").len(), 3);
    // A second time into the same folder is refused and harms nothing.
    let again = run(sandbox.command(["quickstart", "--dir"]).arg(&folder));
    assert_eq!(again.status.code(), Some(1), "{again}");
    assert_eq!(run(&mut look).assert_code(0).all("snapshot").len(), 3);
    assert!(!sandbox.repository().exists(), "it keeps to its folder");
}

#[test]
fn for_people_it_ends_with_what_to_look_at() {
    let sandbox = Sandbox::empty();
    let ran = run(&mut sandbox.command(["quickstart", "--dir", "try"])).assert_code(0);
    let _said = ran
        .assert_prints(["day 1", "day 3", "the same", "no damage found"])
        .assert_says(["export STRONGROOM_REPO=", "strongroom snapshots"]);
}
