//! A real PostgreSQL server: three days of `pg_dump`, through standard input and through a command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use strongroom_tests::sandbox::{Sandbox, id_of, run};
use strongroom_tests::services::postgres::{PLATFORM_DATABASE, Postgres};

/// The most that `platform.sql` makes: beyond it its arithmetic overflows.
const MEGABYTES: u32 = 20;

/// A percent of the rows changed, a percent more.
const NEXT_DAY: &str = "
    UPDATE jobs SET status = 'changed', updated_at = updated_at + interval '1 day' WHERE id % 100 = 7;
    INSERT INTO events SELECT id + (SELECT max(id) FROM events), user_id, kind, payload, created_at + interval '1 day'
        FROM events WHERE id % 100 = 3;";

/// What a client needs to find the server, for a `pg_dump` that the binary starts.
fn with_server(command: &mut Command, server: &Postgres) {
    for (name, value) in server.client("psql").get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

fn pg_dump(server: &Postgres) -> String {
    server.binaries().join("pg_dump").to_str().unwrap().to_owned()
}

#[test]
fn three_days_of_dumps_come_back_byte_for_byte() {
    let Some(server) = Postgres::start().unwrap() else { return };
    server.generate_platform_database(MEGABYTES).unwrap();
    let sandbox = Sandbox::new();
    let mut days = Vec::new();
    for day in 1..=3 {
        if day > 1 {
            server.psql_in(PLATFORM_DATABASE, NEXT_DAY).unwrap();
        }
        let dump = sandbox.path(format!("day-{day}.dump"));
        let dumped =
            server.pg_dump(&["-Fc", "-Z0", PLATFORM_DATABASE]).stdout(File::create(&dump).unwrap()).status();
        assert!(dumped.unwrap().success());
        let mut backup = sandbox.command(["backup", "stdin", "--name", "platform.dump", "--json"]);
        let report = run(backup.stdin(File::open(&dump).unwrap())).assert_code(0).one("backup");
        assert_eq!(report["bytes"], fs::metadata(&dump).unwrap().len());
        if day > 1 {
            assert!(report["new_bytes"].as_u64() < report["bytes"].as_u64(), "{report}");
        }
        days.push((id_of(&report), dump));
    }
    for (id, dump) in &days {
        let target = sandbox.path(format!("restored-{}", &id[..8]));
        let _restored = run(sandbox.command(["restore", id, "--target"]).arg(&target)).assert_code(0);
        let restored = target.join("platform.dump");
        assert!(fs::read(&restored).unwrap() == fs::read(dump).unwrap(), "{} differs", restored.display());
        assert_lists(&server, &restored);
        assert!(sandbox.cat(id, "platform.dump") == fs::read(dump).unwrap());
    }
    sandbox.assert_clean();
}

fn assert_lists(server: &Postgres, dump: &Path) {
    let listed = server.client("pg_restore").arg("--list").arg(dump).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("TABLE DATA public jobs"));
}

#[test]
fn a_dump_by_command_is_the_database() {
    let Some(server) = Postgres::start().unwrap() else { return };
    server.generate_platform_database(4).unwrap();
    let sandbox = Sandbox::new();
    let digest = "SELECT md5(string_agg(jobs::text, E'\\n' ORDER BY id)) FROM jobs";
    let mut days = Vec::new();
    for day in 1..=3 {
        if day > 1 {
            server.psql_in(PLATFORM_DATABASE, NEXT_DAY).unwrap();
        }
        let dump = pg_dump(&server);
        let mut backup = sandbox.command([
            "--json",
            "backup",
            "command",
            "--name",
            "platform.dump",
            "--",
            &dump,
            "-Fc",
            "-Z0",
            PLATFORM_DATABASE,
        ]);
        with_server(&mut backup, &server);
        let report = run(&mut backup).assert_code(0).one("backup");
        days.push((id_of(&report), server.psql_in(PLATFORM_DATABASE, digest).unwrap()));
    }
    for (number, (id, expected)) in days.iter().enumerate() {
        let database = format!("restored{number}");
        server.psql(&format!("CREATE DATABASE {database}")).unwrap();
        // As at 3 in the morning: straight from the repository into the server.
        let mut cat = sandbox.command(["cat", id]).stdout(Stdio::piped()).spawn().unwrap();
        let stream = cat.stdout.take().unwrap();
        let restored = server
            .client("pg_restore")
            .args(["--exit-on-error", "--dbname", &database])
            .stdin(stream)
            .output()
            .unwrap();
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        assert!(cat.wait().unwrap().success());
        assert_eq!(&server.psql_in(&database, digest).unwrap(), expected);
    }
    sandbox.assert_clean();
}

#[test]
fn a_dump_that_fails_makes_no_snapshot() {
    let Some(server) = Postgres::start().unwrap() else { return };
    server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i").unwrap();
    let sandbox = Sandbox::new();
    let dump = pg_dump(&server);
    let mut backup =
        sandbox.command(["backup", "command", "--name", "x.dump", "--", &dump, "-Fc", "no_such_database"]);
    with_server(&mut backup, &server);
    let _said = run(&mut backup).assert_code(1).assert_says([
        "no_such_database",
        "does not exist",
        "exit status: 1",
        "no snapshot was made",
    ]);
    // One good and one bad.
    let mut backup = sandbox.command(["backup", "command"]);
    backup
        .arg("--stream")
        .arg(format!("good.dump='{dump}' -Fc postgres"))
        .arg("--stream")
        .arg(format!("bad.dump='{dump}' -Fc no_such_database"));
    with_server(&mut backup, &server);
    let _said = run(&mut backup).assert_code(1).assert_says(["`bad.dump`", "no_such_database"]);
    // It fails in the middle: a table that it may not read.
    server.psql("CREATE ROLE reader LOGIN").unwrap();
    let mut backup = sandbox.command(["backup", "command", "--name", "x.dump", "--", &dump, "postgres"]);
    with_server(&mut backup, &server);
    let _said = run(backup.env("PGUSER", "reader"))
        .assert_code(1)
        .assert_says(["permission denied", "no snapshot was made"]);
    assert!(sandbox.snapshots().is_empty());
    let mut backup = sandbox.command(["backup", "command", "--name", "x.dump", "--", &dump, "postgres"]);
    with_server(&mut backup, &server);
    let _made = run(&mut backup).assert_code(0);
    sandbox.assert_clean();
}
