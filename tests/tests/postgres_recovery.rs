//! Recovery to a point in time, by a real server and its log archive.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use strongroom_tests::archiving::{
    archive_all, command_of_server, give_to_server, moment, program_of_server, wait_until_promoted,
};
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Ran, Sandbox, id_of, run};
use strongroom_tests::services::postgres::{Postgres, installations};

/// As the program that servers may run, which is what it tells them to run.
fn restore(sandbox: &Sandbox, id: &str, data: &Path, more: &[&str]) -> Ran {
    let asked = sandbox.command([&["restore", id, "--target", data.to_str().unwrap()][..], more].concat());
    let mut command = Command::new(program_of_server(sandbox));
    command.args(asked.get_args());
    for (name, value) in asked.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ran = run(&mut command);
    give_to_server(&sandbox.path(""));
    ran
}

/// A client that writes all the time, until it is dropped or its server ends.
struct Load(Child);

impl Load {
    /// One connection: what it commits is in the log in the order of its times.
    fn start(server: &Postgres) -> Self {
        let initialize = ["--initialize", "--quiet", "--scale=1", "postgres"];
        let _made = run(server.client("pgbench").args(initialize)).assert_code(0);
        let mut pgbench = server.client("pgbench");
        pgbench.args(["--no-vacuum", "--client=1", "--rate=100", "--time=3600", "postgres"]);
        Self(pgbench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits until the client has committed something later than that.
fn wait_for_load(server: &Postgres, after: &str) {
    let later = "SELECT count(*) > 0 FROM pgbench_history WHERE pg_xact_commit_timestamp(xmin) >";
    wait_for("the load is waited for", || server.psql(&format!("{later} '{after}'")).unwrap() == "t");
}

/// What the client had committed by then: how often, and how much.
fn load_until(server: &Postgres, moment: &str) -> String {
    let known = "SELECT count(*), sum(delta) FROM pgbench_history WHERE pg_xact_commit_timestamp(xmin) <=";
    server.psql(&format!("{known} '{moment}'")).unwrap()
}

/// What it committed, in each of the tables that a transaction of its changes.
fn load(server: &Postgres) -> String {
    let sums =
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
        (SELECT sum(bbalance) FROM pgbench_branches)";
    let balance = server.psql("SELECT sum(delta) FROM pgbench_history").unwrap();
    assert_eq!(server.psql(sums).unwrap(), format!("{balance}|{balance}|{balance}"));
    server.psql("SELECT count(*), sum(delta) FROM pgbench_history").unwrap()
}

fn insert(server: &Postgres, what: &str) {
    server.psql(&format!("INSERT INTO log (what) SELECT '{what}' FROM generate_series(1, 1000)")).unwrap();
}

/// What there is, in the order of the alphabet.
fn contents(server: &Postgres) -> String {
    let count = "SELECT string_agg(what || n, ',' ORDER BY what) FROM (SELECT what, count(*) AS n FROM log GROUP BY what) counted";
    server.psql(count).unwrap()
}

/// Of a server that does not come up: it may let in who reads as soon as it is consistent, and end then.
fn said_at_the_end(started: anyhow::Result<Postgres>) -> String {
    match started {
        Err(error) => format!("{error:#}"),
        Ok(server) => {
            wait_for("the end of the server is waited for", || server.psql("SELECT 1").is_err());
            server.log()
        }
    }
}

#[test]
fn a_cluster_is_as_of_a_moment_and_again_on_the_new_timeline() {
    for binaries in installations().unwrap() {
        recover_on(&binaries);
    }
}

fn recover_on(binaries: &Path) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_PG_BIN", binaries);
    std::fs::create_dir(sandbox.path("cache-of-server")).unwrap();
    let archive = command_of_server(&sandbox, "wal-push %p");
    give_to_server(&sandbox.path(""));
    let settings = [("archive_mode", "on"), ("archive_command", &*archive), ("track_commit_timestamp", "on")];
    let server = Postgres::start_of(binaries, &settings).unwrap();
    server.psql("CREATE TABLE log (what text, at timestamptz DEFAULT clock_timestamp())").unwrap();
    let running = Load::start(&server);
    let early = moment(&server);
    wait_for_load(&server, &early);
    insert(&server, "a");
    let base = id_of(&sandbox.backup(["postgres", "--physical", "--dbname", &server.url("postgres")]));
    give_to_server(&sandbox.path(""));
    insert(&server, "b");
    let wanted = moment(&server);
    wait_for_load(&server, &wanted);
    insert(&server, "c");
    let behind = moment(&server);
    wait_for_load(&server, &behind);
    let committed = load_until(&server, &wanted);
    assert_ne!(committed, load_until(&server, &behind));
    archive_all(&server);
    let late = moment(&server);

    // What cannot be is said before anything is written.
    let nowhere = sandbox.path("nowhere");
    let refused = restore(&sandbox, &base, &nowhere, &["--target-time", &early]).assert_code(1);
    let _refused = refused.assert_says(["take an earlier snapshot"]);
    let refused =
        restore(&sandbox, &base, &nowhere, &["--target-latest", "--wal-source", "other"]).assert_code(1);
    let _refused = refused.assert_says(["has nothing of this cluster", "--wal-source"]);
    let refused = restore(&sandbox, &base, &nowhere, &["--target-time", &early, "--dry-run"]).assert_code(1);
    let _refused = refused.assert_says(["take an earlier snapshot"]);
    let planned = restore(&sandbox, &base, &nowhere, &["--target-time", &wanted, "--dry-run"]).assert_code(0);
    let _planned = planned
        .assert_prints(["it would recover to 20"])
        .assert_says(["reaches without a gap to 0000000100"]);
    assert!(!nowhere.exists());

    // The server is gone, and its disk.
    server.stop("immediate").unwrap();
    drop(running);
    std::fs::remove_dir_all(server.data_directory()).unwrap();
    let recovered = |more: &[&str]| {
        server.start_restored(|data| {
            let _restored =
                restore(&sandbox, &base, data, more).assert_code(0).assert_prints(["start PostgreSQL"]);
        })
    };
    let first = recovered(&["--target-time", &wanted]).unwrap();
    wait_until_promoted(&first);
    assert_eq!((contents(&first), load(&first)), ("a1000,b1000".into(), committed.clone()));

    // It writes on in a timeline of its own, which a second recovery follows.
    insert(&first, "d");
    first.psql("SELECT pg_create_restore_point('before the mistake')").unwrap();
    insert(&first, "e");
    archive_all(&first);
    first.stop("immediate").unwrap();
    drop(first);
    let second = recovered(&["--target-name", "before the mistake"]).unwrap();
    wait_until_promoted(&second);
    assert_eq!((contents(&second), load(&second)), ("a1000,b1000,d1000".into(), committed));
    assert_eq!(second.psql("SELECT timeline_id FROM pg_control_checkpoint()").unwrap(), "3");
    drop(second);
    let first_timeline = recovered(&["--target-latest", "--timeline", "1"]).unwrap();
    wait_until_promoted(&first_timeline);
    assert_eq!(contents(&first_timeline), "a1000,b1000,c1000");
    drop(first_timeline);

    // Its end is never reached: the server says so, and is no server of another moment.
    let said = said_at_the_end(recovered(&["--target-time", &late, "--timeline", "1"]));
    assert!(said.contains("before configured recovery target was reached"), "{said}");
    sandbox.assert_clean();

    // What no base backup needs goes, and nothing else.
    let expire = ["wal", "expire", "--keep-within", "1h", "--json"];
    let would = sandbox.run([&expire[..], &["--dry-run"]].concat()).assert_code(0).all("wal_expire");
    assert_eq!(would.len(), 1, "{would:?}");
    sandbox.write("strongroom.toml", "[wal_expire]\nkeep_within = \"1h\"\n");
    let expired = sandbox.run(["run", "--only", "wal-expire", "--json"]).assert_code(0).one("run");
    assert_eq!((&expired["work"], &expired["result"]), (&"wal-expire".into(), &"done".into()));
    let _pruned = sandbox.run(["prune", "--grace", "0"]).assert_code(0);
    let shown = sandbox.run(["show", &base, "--json"]).assert_code(0).one("snapshot");
    let lines = sandbox.run(["wal", "list", "--json"]).assert_code(0).all("wal");
    assert_eq!(lines[0]["first"], shown["facts"]["wal"][0], "{lines:?}");
    assert!(lines.iter().all(|line| line["gaps"].as_array().unwrap().is_empty()), "{lines:?}");
    assert!(sandbox.run(expire).assert_code(0).all("wal_expire").is_empty());
    // By now the newest timeline may be one that left before the restore point: the one that has it is named.
    let again = recovered(&["--target-name", "before the mistake", "--timeline", "2"]).unwrap();
    wait_until_promoted(&again);
    assert_eq!(contents(&again), "a1000,b1000,d1000");
    drop(again);
    sandbox.assert_clean();

    // A file of the log that is damaged is no end of the log: the server does not come up with less than there was.
    for object in std::fs::read_dir(sandbox.repository().join("wal")).unwrap() {
        let object = object.unwrap().path();
        let mut bytes = std::fs::read(&object).unwrap();
        bytes[5000] ^= 1;
        std::fs::remove_file(&object).unwrap();
        std::fs::write(&object, bytes).unwrap();
        give_to_server(&object);
    }
    let said = said_at_the_end(recovered(&["--target-latest"]));
    assert!(said.contains("cannot be read") && said.contains("exit code 204"), "{said}");
}
