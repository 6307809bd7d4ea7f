//! `policy` and `backup --keep-base-keys`: a host that only writes stores what differs, and still reads nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Ran, Sandbox, text};

/// A dump of a table; on each day some rows have changed.
fn dump(day: u64) -> Vec<u8> {
    let row = |number: u64| {
        let changed = (1..=day).rev().find(|day| (number * 31 + day * 17).is_multiple_of(101)).unwrap_or(0);
        let chance = hex::encode(noise(32, number));
        format!("{number:08}\t{chance}\tuser-{number}@example.org\t{changed}\n")
    };
    (0..20_000).map(row).collect::<String>().into_bytes()
}

/// A repository, and a host of its own that may write the source `db`.
fn host() -> (Sandbox, Sandbox) {
    let admin = Sandbox::new();
    let mut host = admin.other_host();
    host.set("STRONGROOM_REPO", admin.repository());
    host.set("STRONGROOM_KEY_FILE", host.path("host.key"));
    host.set("STRONGROOM_WRITER", "db1");
    let public = host.run(["key", "generate-recovery", "host.key"]).assert_code(0).text();
    let add = ["key", "add-writer", "db1", "--recipient", public.trim(), "--source", "db"];
    let _added = admin.run(add).assert_code(0);
    (admin, host)
}

fn backup(host: &Sandbox, day: u64, options: &[&str]) -> Ran {
    let arguments = ["backup", "stdin", "--name", "dump", "--source", "db"];
    host.feed(arguments.iter().chain(options), &dump(day)).assert_code(0)
}

#[test]
fn what_it_stores_whole_is_said_and_may_be_otherwise() {
    let (admin, mut host) = host();
    let says = "so what changed is stored whole";
    assert!(!backup(&host, 0, &[]).stderr.contains(says));
    let _said = backup(&host, 1, &[]).assert_says(["note: ", says, "policy set --keep-base-keys"]);
    assert!(!backup(&host, 2, &["--no-delta"]).stderr.contains(says));
    assert!(!backup(&host, 3, &["--quiet"]).stderr.contains(says));
    let machines = backup(&host, 4, &["--json"]);
    assert!(text(&machines.one("note")["message"]).contains(says));
    let whole = machines.one("backup")["stored_bytes"].as_u64().unwrap();

    let _wrong = host.run(["policy", "set", "--keep-base-keys", "7"]).assert_code(5);
    let _wrong = admin.run(["policy", "set", "--keep-base-keys", "65"]).assert_code(2);
    let _wrong = admin.run(["policy", "set"]).assert_code(2);
    let _set = admin.run(["policy", "set", "--keep-base-keys", "7"]).assert_code(0);
    let _shown = host.run(["policy", "show"]).assert_code(0).assert_prints(["deltas          on", "7 runs"]);
    let shown = host.run(["policy", "show", "--json"]).assert_code(0).one("policy");
    assert_eq!((&shown["deltas"], &shown["keep_base_keys"]), (&true.into(), &7.into()));

    host.set("STRONGROOM_KEEP_BASE_KEYS", "1");
    let _first = backup(&host, 5, &[]).assert_says(["from the next run on"]);
    let second = backup(&host, 6, &["--json"]);
    assert!(second.all("note").is_empty());
    let stored = second.one("backup")["stored_bytes"].as_u64().unwrap();
    assert!(stored * 2 < whole, "{stored} of {whole}");
    let _refused = host.run(["cat", "latest", "dump"]).assert_code(5);
    assert!(admin.cat("latest", "dump") == dump(6));

    host.set("STRONGROOM_KEEP_BASE_KEYS", "");
    let _off = backup(&host, 7, &[]).assert_says([says, "with --keep-base-keys"]);
    let _set = admin.run(["policy", "set", "--deltas", "off"]).assert_code(0);
    assert!(!backup(&host, 8, &[]).stderr.contains(says));
    let _same =
        admin.run(["policy", "set", "--deltas", "off"]).assert_code(0).assert_says(["nothing to change"]);
    admin.assert_clean();
}
