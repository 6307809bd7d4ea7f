//! `wal-push`, `wal-get` and `wal list`: by hand, and as the commands of a real server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use strongroom_tests::archiving::{command_of_server, give_to_server, name_of, segment};
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Ran, Sandbox, run, text};
use strongroom_tests::served::Served;
use strongroom_tests::services::postgres::Postgres;

const SYSTEM: u64 = 7_311_000_000_000_000_001;

/// A data directory with a log in it.
struct Server<'a> {
    sandbox: &'a Sandbox,
    folder: &'static str,
    system: u64,
}

impl<'a> Server<'a> {
    fn new(sandbox: &'a Sandbox, folder: &'static str, system: u64) -> Self {
        let control = [&system.to_le_bytes()[..], &[0; 100]].concat();
        let _ = sandbox.write(format!("{folder}/global/pg_control"), control);
        Self { sandbox, folder, system }
    }

    fn path(&self) -> PathBuf {
        self.sandbox.path(self.folder)
    }

    fn write(&self, place: u64, fill: u8) -> Vec<u8> {
        let bytes = segment(self.system, place, fill);
        let _ = self.sandbox.write(format!("{}/pg_wal/{}", self.folder, name_of(place)), &bytes);
        bytes
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(self.sandbox.command(arguments).current_dir(self.path()))
    }

    fn push(&self, name: &str) -> Ran {
        self.run(&["wal-push", &format!("pg_wal/{name}")])
    }

    fn get(&self, name: &str) -> Ran {
        self.run(&["wal-get", name, "pg_wal/RECOVERYXLOG"])
    }

    fn fetched(&self) -> Vec<u8> {
        std::fs::read(self.path().join("pg_wal/RECOVERYXLOG")).unwrap()
    }
}

fn objects(sandbox: &Sandbox) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(sandbox.repository().join("wal")) else { return Vec::new() };
    folder.map(|entry| entry.unwrap().path()).collect()
}

fn quiet(ran: &Ran) {
    assert!(ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran}");
}

#[test]
fn files_come_back_and_others_do_not() {
    let sandbox = Sandbox::new();
    let server = Server::new(&sandbox, "data", SYSTEM);
    let bytes = server.write(1, 7);
    quiet(&server.push(&name_of(1)).assert_code(0));
    quiet(&server.push(&name_of(1)).assert_code(0));
    quiet(&server.get(&name_of(1)).assert_code(0));
    assert!(server.fetched() == bytes);

    // What a server asks for to find out what there is.
    quiet(&server.get("00000002.history").assert_code(1));
    quiet(&server.get(&name_of(2)).assert_code(1));
    let _ = sandbox.write("data/pg_wal/00000002.history", "1\t0/300000\tno recovery target specified\n");
    quiet(&server.push("00000002.history").assert_code(0));
    quiet(&server.get("00000002.history").assert_code(0));
    assert_eq!(server.fetched(), b"1\t0/300000\tno recovery target specified\n");
    let folder = std::fs::read_dir(server.path().join("pg_wal")).unwrap();
    assert_eq!(folder.count(), 3, "nothing is left beside");
    sandbox.assert_clean();
}

#[test]
fn another_segment_of_that_name_is_refused() {
    let sandbox = Sandbox::new();
    let server = Server::new(&sandbox, "data", SYSTEM);
    let bytes = server.write(1, 7);
    let _ = server.push(&name_of(1)).assert_code(0);
    let _ = server.write(1, 8);
    let ran = server.push(&name_of(1)).assert_code(1);
    let _ = ran.assert_says(["000000010000000000000001", "two servers push to one archive", "--source"]);
    let _ = server.get(&name_of(1)).assert_code(0);
    assert!(server.fetched() == bytes);

    // Another server has an archive of its own.
    let other = Server::new(&sandbox, "other", SYSTEM + 1);
    let others = other.write(1, 9);
    quiet(&other.push(&name_of(1)).assert_code(0));
    let _ = other.get(&name_of(1)).assert_code(0);
    assert!(other.fetched() == others);
    let _ = server.get(&name_of(1)).assert_code(0);
    assert!(server.fetched() == bytes);
    let listed = sandbox.run(["wal", "list"]).assert_code(0);
    let _ = listed.assert_prints([&SYSTEM.to_string(), &(SYSTEM + 1).to_string(), &name_of(1)]);
}

#[test]
fn what_is_no_segment_is_not_stored() {
    let sandbox = Sandbox::new();
    let server = Server::new(&sandbox, "data", SYSTEM);
    let _ = server.write(1, 7);
    let pg_wal = server.path().join("pg_wal");
    let good = std::fs::read(pg_wal.join(name_of(1))).unwrap();
    for (bytes, why) in [
        (&good[..], "is that of 000000010000000000000001"),
        (&good[..1000], "has 1000 bytes"),
        (&good[..10], "does not begin with a page of the log"),
        (&[0; 1 << 20], "does not begin with a page of the log"),
    ] {
        std::fs::write(pg_wal.join(name_of(2)), bytes).unwrap();
        let _ = server.push(&name_of(2)).assert_code(1).assert_says([why, &name_of(2)]);
    }
    std::fs::write(pg_wal.join("notes"), "x").unwrap();
    let _ = server.push("notes").assert_code(2).assert_says(["is no file of a log"]);
    let _ = server.push("00000002.history").assert_code(1);
    let ran = server.run(&["wal-push", &format!("pg_wal/{}", name_of(1)), "--system-identifier", "5"]);
    let _ = ran.assert_code(2).assert_says(["not 5"]);
    assert!(objects(&sandbox).is_empty());
}

#[test]
fn nothing_but_a_missing_file_is_taken_for_one() {
    let mut sandbox = Sandbox::new();
    let server = Server::new(&sandbox, "data", SYSTEM);
    let _ = server.write(1, 7);
    let _ = server.push(&name_of(1)).assert_code(0);
    // A typing error, a system that nobody knows, a folder that is not there.
    let _ = server.run(&["wal-get", "x", "y"]).assert_code(202);
    let _ = server.run(&["wal-get", &name_of(1)]).assert_code(202);
    let _ = server.run(&["--wrong", "wal-get", &name_of(1), "x"]).assert_code(202);
    let _ = server.run(&["wal-get", "--help"]).assert_code(0).assert_prints(["restore_command"]);
    let elsewhere = sandbox.run(["wal-get", &name_of(1), "x"]);
    let _ = elsewhere.assert_code(201).assert_says(["global/pg_control", "--system-identifier"]);
    let given = sandbox.run(["wal-get", &name_of(1), "x", "--system-identifier", &SYSTEM.to_string()]);
    let _ = given.assert_code(0);
    let _ = server.run(&["wal-get", &name_of(1), "nowhere/x"]).assert_code(201);

    let object = objects(&sandbox).remove(0);
    let good = std::fs::read(&object).unwrap();
    let mut bad = good.clone();
    bad[5000] ^= 1;
    let writable = |path: &Path, bytes: &[u8]| {
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    writable(&object, &bad);
    let _ = server.get(&name_of(1)).assert_code(204).assert_says([&name_of(1), "check --read-data"]);
    let checked = sandbox.run(["check", "--read-data"]).assert_code(4);
    let _ = checked.assert_prints([&name_of(1)]);
    // What is pushed once more heals it.
    let _ = server.push(&name_of(1)).assert_code(0);
    let _ = server.get(&name_of(1)).assert_code(0);
    writable(&object, &good);

    let key = sandbox.write("other-key", "");
    let other = Sandbox::new();
    let found = std::fs::read_dir(other.home().join(".config/strongroom/keys"));
    let theirs = found.ok().and_then(|mut keys| keys.next()).map(|entry| entry.unwrap().path());
    if let Some(theirs) = theirs {
        std::fs::copy(theirs, &key).unwrap();
        sandbox.set("STRONGROOM_KEY_FILE", &key);
        let server = Server::new(&sandbox, "data", SYSTEM);
        let _ = server.get(&name_of(1)).assert_code(205);
    }
    sandbox.set("STRONGROOM_REPO", sandbox.path("nowhere"));
    let server = Server::new(&sandbox, "data", SYSTEM);
    let _ = server.get(&name_of(1)).assert_code(201).assert_says(["no repository"]);
}

#[test]
fn what_is_missing_is_told() {
    let sandbox = Sandbox::new();
    let server = Server::new(&sandbox, "data", SYSTEM);
    for place in [1, 2, 4, 7] {
        let _ = server.write(place, 7);
        let _ = server.push(&name_of(place)).assert_code(0);
    }
    let line = sandbox.run(["wal", "list", "--json"]).assert_code(0).one("wal");
    assert_eq!(
        (&line["source"], &line["timeline"], &line["segments"]),
        (&"postgres".into(), &1.into(), &4.into())
    );
    assert_eq!(line["system_identifier"], SYSTEM.to_string());
    let gaps: Vec<_> = line["gaps"].as_array().unwrap().iter().map(|gap| text(&gap["first"])).collect();
    assert_eq!(gaps, [name_of(3), name_of(5)]);
    let listed = sandbox.run(["wal", "list", "--source", "postgres"]).assert_code(0);
    let _ = listed.assert_prints([&name_of(3), &format!("{}..{} (2)", name_of(5), name_of(6))]);
    assert_eq!(sandbox.run(["wal", "list", "--source", "x", "--json"]).assert_code(0).all("wal").len(), 0);
    let exported = sandbox.run(["check", "--json"]).assert_code(0).one("check");
    assert_eq!((&exported["log_objects"], &exported["clean"]), (&4.into(), &true.into()));
}

const MISSING: &str = "strongroom_wal_missing_segments{component=\"postgres\"}";
const LAG: &str = "strongroom_wal_lag_seconds{component=\"postgres\"}";

fn metrics(sandbox: &Sandbox) -> Ran {
    sandbox.run(["monitor", "--metrics"]).assert_code(0)
}

#[test]
fn an_archive_that_is_behind_is_told() {
    let sandbox = Sandbox::new();
    let behind = |code: i32, arguments: &[&str]| {
        sandbox.run([&["wal", "list", "--json"], arguments].concat()).assert_code(code)
    };
    let _ = behind(0, &[]);
    let _ = behind(3, &["--max-lag", "1d"]).assert_says(["there is no log archive"]);
    let server = Server::new(&sandbox, "data", SYSTEM);
    for place in [1, 2] {
        let _ = server.write(place, 7);
        let _ = server.push(&name_of(place)).assert_code(0);
    }
    let _ = behind(0, &["--max-lag", "1d"]);
    // Both as if they had been stored two hours ago.
    let now = std::time::SystemTime::now();
    let set_age = |hours: u64| {
        let time = now - std::time::Duration::from_secs(hours * 3600);
        for object in objects(&sandbox) {
            std::fs::File::open(object).unwrap().set_modified(time).unwrap();
        }
    };
    set_age(2);
    let line = behind(0, &["--max-lag", "3h"]).one("wal");
    assert_eq!((text(&line["newest"]), &line["missing_segments"]), (name_of(2), &0.into()));
    assert!((7200..10_800).contains(&line["lag_seconds"].as_u64().unwrap()), "{line}");
    let _ = behind(3, &["--max-lag", "1h"]).assert_says(["nothing was archived for 2 h", "(limit: 1 h)"]);
    let _ = sandbox.write("strongroom.toml", "max_wal_lag = \"1h\"\n");
    let told = metrics(&sandbox).assert_prints([&format!("{MISSING} 0"), "kind=\"wal-late\""]).text();
    let lag = told.lines().find_map(|line| line.strip_prefix(LAG)).unwrap().trim().parse::<f64>().unwrap();
    assert!((7200.0..10_800.0).contains(&lag), "{lag}");
    let _ = behind(3, &["--max-lag", "1h", "--source", "postgres"]);
    let _ = behind(3, &["--max-lag", "1h", "--source", "other"]);

    // Of a system that is no more nothing is expected.
    let other = Server::new(&sandbox, "other", SYSTEM + 1);
    for place in [1, 2] {
        let _ = other.write(place, 8);
        let _ = other.push(&name_of(place)).assert_code(0);
    }
    let _ = behind(0, &["--max-lag", "1h"]);
    let _ = other.write(5, 8);
    let _ = other.push(&name_of(5)).assert_code(0);
    let _ = behind(3, &["--max-lag", "1h"]).assert_says(["2 segments are missing"]);
    let lines = behind(0, &[]).all("wal");
    assert_eq!((&lines[0]["missing_segments"], &lines[1]["missing_segments"]), (&0.into(), &2.into()));

    // Who looks after it is told the same: by `monitor`, and by `serve`.
    let _ = metrics(&sandbox).assert_prints([&format!("{MISSING} 2"), "kind=\"wal-gap\""]);
    let served = Served::start(&sandbox, &["--no-schedule"]);
    let page = served.until("/metrics", |page| page.metric(MISSING) == Some(2.0));
    assert!(page.metric(LAG).unwrap() < 7200.0);
    assert!(page.metric("strongroom_wal_stored_bytes{component=\"postgres\"}").unwrap() > 0.0);
    assert!(page.metric("strongroom_wal_last_archived_timestamp_seconds{component=\"postgres\"}").is_some());
    let _ = served.stop().assert_code(0);
}

#[test]
fn a_server_archives_its_log_and_every_segment_comes_back() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("cache-of-server")).unwrap();
    let archive = command_of_server(&sandbox, "wal-push %p");
    give_to_server(&sandbox.path(""));
    let settings = [("archive_mode", "on"), ("archive_command", &*archive), ("wal_keep_size", "1GB")];
    let Some(server) = Postgres::start_with(&settings).unwrap() else { return };
    server.psql("CREATE TABLE t (n int, at text)").unwrap();
    let mut last = String::new();
    for day in 0..4 {
        let rows = format!(
            "INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, {}) n",
            1000 + day * 90_000
        );
        server.psql(&rows).unwrap();
        last = server.psql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
    }
    wait_for("archiving is waited for", || {
        let archived = server.psql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver").unwrap();
        archived >= last
    });
    assert_eq!(server.psql("SELECT failed_count FROM pg_stat_archiver").unwrap(), "0");

    let line = sandbox.run(["wal", "list", "--json"]).assert_code(0).one("wal");
    assert_eq!(
        (&line["gaps"], &line["last"]),
        (&Value::Array(vec![]), &Value::from(last.as_str())),
        "{line}"
    );
    let system = server.psql("SELECT system_identifier FROM pg_control_system()").unwrap();
    assert_eq!(line["system_identifier"], system.as_str());
    assert!(line["segments"].as_u64().unwrap() >= 4, "{line}");
    // The last one of a timeline is seldom full: what it stores is.
    assert!(line["stored_bytes"].as_u64().unwrap() < line["segments"].as_u64().unwrap() << 24, "{line}");

    let pg_wal = server.data_directory().join("pg_wal");
    let mut compared = 0;
    for entry in std::fs::read_dir(&pg_wal).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.len() != 24 || name > last {
            continue;
        }
        let destination = sandbox.path("RECOVERYXLOG");
        let mut get = sandbox.command(["wal-get", &name]);
        let _ = run(get.arg(&destination).current_dir(server.data_directory())).assert_code(0);
        assert!(std::fs::read(&destination).unwrap() == std::fs::read(pg_wal.join(&name)).unwrap(), "{name}");
        compared += 1;
    }
    assert_eq!(Value::from(compared), line["segments"]);
    let _ = sandbox.run(["check", "--read-data", "--keys"]).assert_code(0);
}
