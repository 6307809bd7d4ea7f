//! `backup postgres --physical`, against a real server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use strongroom_tests::archiving::give_to_server;
use strongroom_tests::sandbox::{Sandbox, id_of, run};
use strongroom_tests::services::postgres::Postgres;

const BANK: &str = "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
    INSERT INTO accounts SELECT n, 100 FROM generate_series(1, 5000) n;
    CREATE TABLE notes (id serial PRIMARY KEY, text text);
    INSERT INTO notes (text) SELECT repeat(md5(n::text), 20) FROM generate_series(1, 5000) n;
    CREATE UNLOGGED TABLE cache (n int); INSERT INTO cache VALUES (1);";

fn sandbox_for(server: &Postgres) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_PG_BIN", server.binaries());
    sandbox
}

fn restore(sandbox: &Sandbox, server: &Postgres, id: &str, more: &[&str]) -> Postgres {
    let into = |data: &Path| {
        let arguments = [&["restore", id, "--target", data.to_str().unwrap()][..], more].concat();
        let _restored = sandbox.run(arguments).assert_code(0).assert_prints(["start PostgreSQL"]);
    };
    server.start_restored(into).unwrap()
}

#[test]
fn a_cluster_comes_back_as_of_the_end_of_its_backup() {
    for server in &mut Postgres::start_each().unwrap() {
        a_cluster_comes_back_as_of_the_end_of_its_backup_on(server);
    }
}

fn a_cluster_comes_back_as_of_the_end_of_its_backup_on(server: &Postgres) {
    let sandbox = sandbox_for(server);
    let url = server.url("postgres");
    server.psql(BANK).unwrap();
    let space = server.make_folder("space").unwrap();
    server.psql(&format!("CREATE TABLESPACE other LOCATION '{}'", space.display())).unwrap();
    server.psql("CREATE TABLE elsewhere TABLESPACE other AS SELECT generate_series(1, 1000) AS n").unwrap();
    let first = sandbox.backup(["postgres", "--physical", "--dbname", &url]);

    // Money moves while the second backup runs; none is made.
    let is_done = AtomicBool::new(false);
    let second = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                let transfer =
                    "UPDATE accounts SET balance = balance + CASE WHEN id % 2 = 0 THEN 1 ELSE -1 END";
                server.psql(transfer).unwrap();
            }
        });
        let report = sandbox.backup(["postgres", "--physical", "--dbname", &url]);
        is_done.store(true, Ordering::Relaxed);
        report
    });
    let (all, new) = (second["bytes"].as_u64().unwrap(), second["new_bytes"].as_u64().unwrap());
    assert!(new < all / 2, "{second}");

    let elsewhere = server.make_folder("restored-space").unwrap();
    let mapped = format!("other={}", elsewhere.display());
    let plan = ["restore", &id_of(&second), "--dry-run", "--tablespace", &mapped];
    let in_place = format!("tablespace other into {}", elsewhere.display());
    let lsn =
        sandbox.run(["show", &id_of(&second), "--json"]).assert_code(0).one("snapshot")["facts"]["stop_lsn"]
            .clone();
    let recovers = format!("it would recover to {} on timeline 1", lsn.as_str().unwrap());
    let _planned = sandbox.run(plan).assert_code(0).assert_prints([&*in_place, &recovers]);
    let restored = restore(&sandbox, server, &id_of(&second), &["--tablespace", &mapped]);
    assert_eq!(restored.psql("SELECT sum(balance), count(*) FROM accounts").unwrap(), "500000|5000");
    assert_eq!(restored.psql("SELECT count(*), sum(n) FROM elsewhere").unwrap(), "1000|500500");
    assert_eq!(restored.psql("SELECT count(*) FROM cache").unwrap(), "0", "unlogged tables come back empty");
    let place = restored
        .psql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'other'")
        .unwrap();
    assert_eq!(place, elsewhere.to_str().unwrap());
    drop(restored);

    let _proven = sandbox
        .run([
            "verify",
            &id_of(&second),
            "--database",
            "postgres",
            "--assert",
            "SELECT sum(balance) = 500000 FROM accounts",
        ])
        .assert_code(0)
        .assert_prints(["postgres: 4 tables, 11000 rows", "restores as it was"]);

    // Each is asked of the database that it is of.
    let of = |name: &str, database: &str, sql: &str| {
        format!(
            "[[sources.postgres-physical.assertions]]\nname = \"{name}\"\ndatabase = \"{database}\"\nsql = \"{sql}\"\n"
        )
    };
    let config = of("money", "postgres", "SELECT sum(balance) = 1 FROM accounts")
        + &of("elsewhere", "other", "SELECT false");
    let config = sandbox.write("strongroom.toml", config);
    let told = ["verify", &id_of(&second), "--config", config.to_str().unwrap()];
    let told = sandbox.run(told).assert_code(4).assert_prints(["money: the assertion"]);
    assert!(!told.text().contains("elsewhere"), "{told}");

    // The first day is what it was, and every page of it is whole.
    let again = server.make_folder("restored-space-again").unwrap();
    let mapped = format!("other={}", again.display());
    let mut restored = restore(&sandbox, server, &id_of(&first), &["--tablespace", &mapped]);
    assert_eq!(restored.psql("SELECT count(*) FROM accounts WHERE balance = 100").unwrap(), "5000");
    restored
        .restart(|data| {
            let checked = restored_checksums(server, data);
            assert!(checked.contains("Bad checksums:  0"), "{checked}");
        })
        .unwrap();
    let shown = sandbox.run(["show", &id_of(&first), "--json"]).assert_code(0).one("snapshot");
    let facts = &shown["facts"];
    assert!(facts["page_checksums"]["pages"].as_u64() > Some(500), "{facts}");
    assert_eq!(facts["page_checksums"]["damaged_pages"], 0, "{facts}");
    assert_eq!(facts["tablespaces"][0]["name"], "other", "{facts}");
    sandbox.assert_clean();
}

fn restored_checksums(server: &Postgres, data: &Path) -> String {
    let output = server.client("pg_checksums").args(["--check", "--pgdata"]).arg(data).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_damaged_or_elsewhere_is_told() {
    for server in &mut Postgres::start_each().unwrap() {
        what_is_damaged_or_elsewhere_is_told_on(server);
    }
}

fn what_is_damaged_or_elsewhere_is_told_on(server: &mut Postgres) {
    let sandbox = sandbox_for(server);
    server.psql(BANK).unwrap();
    let file = server.psql("SELECT pg_relation_filepath('notes')").unwrap();
    server
        .restart(|data| {
            let file = std::fs::File::options().write(true).open(data.join(&file)).unwrap();
            file.write_all_at(b"damaged", 3 * 8192 + 4000).unwrap();
        })
        .unwrap();
    let url = server.url("postgres");
    let backup = ["backup", "postgres", "--physical", "--dbname", &url];
    let told = sandbox.run(backup).assert_code(3);
    let named = format!("{file} block 3");
    let _told = told.assert_says(["wrong checksum", &named]);

    // The same cluster, but not where that server says.
    let data = server.data_directory();
    let pid_file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let lines: Vec<&str> = pid_file.lines().collect();
    let other = [lines[0], lines[1], "1600000000"].join("\n");
    std::fs::write(data.join("postmaster.pid"), other).unwrap();
    let refused = sandbox.run(backup).assert_code(1);
    std::fs::write(data.join("postmaster.pid"), &pid_file).unwrap();
    let _refused = refused.assert_says(["another server of this cluster runs in it"]);
    assert_eq!(sandbox.snapshots().len(), 1);

    let into = sandbox.path("into");
    let unknown = ["restore", "latest", "--target", into.to_str().unwrap(), "--tablespace", "none=/tmp/x"];
    let _unknown = sandbox.run(unknown).assert_code(1).assert_says(["no tablespace `none`"]);
    let logical = sandbox.run(["restore", "latest", "--to", &url]).assert_code(2);
    let _logical = logical.assert_says(["a snapshot of postgres-physical is restored into a folder"]);
}

#[test]
fn a_cluster_is_sent_from_elsewhere() {
    for server in &Postgres::start_each().unwrap() {
        a_cluster_is_sent_from_elsewhere_on(server);
    }
}

fn a_cluster_is_sent_from_elsewhere_on(server: &Postgres) {
    let sandbox = sandbox_for(server);
    server.psql(BANK).unwrap();
    server.psql("CREATE ROLE copier LOGIN REPLICATION; GRANT pg_monitor TO copier").unwrap();
    let url = server.url("postgres").replace("postgres@", "copier@");
    let remote = ["postgres", "--physical", "--remote", "--dbname", &url];
    let sent = sandbox.backup(remote);
    // What lies on the server's host is the same, and so are its chunks.
    let read = sandbox.backup(["postgres", "--physical", "--dbname", &server.url("postgres")]);
    assert!(read["new_bytes"].as_u64().unwrap() < read["bytes"].as_u64().unwrap() / 10, "{read}");
    server.psql("UPDATE accounts SET balance = 7 WHERE id < 10").unwrap();
    let later = sandbox.backup(remote);
    assert!(later["new_bytes"].as_u64().unwrap() < later["bytes"].as_u64().unwrap() / 4, "{later}");
    for (snapshot, sum) in [(&sent, "500000"), (&later, "499163")] {
        let restored = restore(&sandbox, server, &id_of(snapshot), &[]);
        assert_eq!(restored.psql("SELECT sum(balance) FROM accounts").unwrap(), sum);
        assert_eq!(restored.psql("SELECT count(*) FROM notes").unwrap(), "5000");
    }
    let _proven = sandbox.run(["verify", &id_of(&later)]).assert_code(0);
    sandbox.assert_clean();

    let count = sandbox.snapshots().len();
    let space = server.make_folder("space").unwrap();
    server.psql(&format!("CREATE TABLESPACE other LOCATION '{}'", space.display())).unwrap();
    let refused = sandbox.run([&["backup"][..], &remote[..]].concat()).assert_code(1);
    let _refused = refused.assert_says(["has tablespaces (other)", "on its own host"]);
    server.psql("DROP TABLESPACE other; ALTER ROLE copier NOREPLICATION").unwrap();
    let refused = sandbox.run([&["backup"][..], &remote[..]].concat()).assert_code(1);
    let _refused = refused.assert_says(["pg_basebackup failed", "FATAL"]);
    assert_eq!(sandbox.snapshots().len(), count);
}

#[test]
fn a_server_sends_what_changed() {
    for server in &Postgres::start_each().unwrap() {
        let tells = "SELECT count(*) FROM pg_settings WHERE name = 'summarize_wal'";
        if server.psql(tells).unwrap() == "1" {
            a_server_sends_what_changed_on(server);
        }
    }
}

fn a_server_sends_what_changed_on(server: &Postgres) {
    let sandbox = sandbox_for(server);
    server.psql("ALTER SYSTEM SET summarize_wal = on").unwrap();
    server.psql("SELECT pg_reload_conf()").unwrap();
    server.psql(BANK).unwrap();
    server
        .psql("CREATE TABLE shrinks AS SELECT n, repeat('x', 500) AS text FROM generate_series(1, 2000) n")
        .unwrap();
    let url = server.url("postgres");
    let remote = ["postgres", "--physical", "--remote", "--dbname", &url];
    let is_incremental = |snapshot: &Value| {
        sandbox.run(["cat", &id_of(snapshot), "manifest"]).assert_code(0).text().contains("INCREMENTAL.")
    };
    assert!(!is_incremental(&sandbox.backup(remote)));
    let texts = || {
        ["accounts", "notes", "shrinks", "grows"].map(|table| {
            server
                .psql(&format!("SELECT count(*), sum(hashtext({table}::text)::bigint) FROM {table}"))
                .unwrap()
        })
    };
    let mut days = Vec::new();
    for day in 1..=3 {
        server
            .psql(&format!(
                "UPDATE accounts SET balance = {day} WHERE id % 50 = {day};
            DELETE FROM shrinks WHERE n > 2000 - 500 * {day}; DELETE FROM notes WHERE id = {day};
            CREATE TABLE IF NOT EXISTS grows (n int, text text);
            INSERT INTO grows SELECT n, md5(n::text) FROM generate_series(1, 3000) n"
            ))
            .unwrap();
        server.psql("VACUUM shrinks").unwrap();
        let sent = sandbox.backup(remote);
        assert!(is_incremental(&sent), "{sent}");
        days.push((id_of(&sent), texts()));
    }
    for (id, texts) in &days {
        let mut restored = restore(&sandbox, server, id, &[]);
        let now = ["accounts", "notes", "shrinks", "grows"].map(|table| {
            restored
                .psql(&format!("SELECT count(*), sum(hashtext({table}::text)::bigint) FROM {table}"))
                .unwrap()
        });
        assert_eq!(&now, texts);
        restored
            .restart(|data| {
                let checked = restored_checksums(server, data);
                assert!(
                    !checked.contains("Bad checksums") || checked.contains("Bad checksums:  0"),
                    "{checked}"
                );
            })
            .unwrap();
    }
    let _proven = sandbox.run(["verify", &days[2].0]).assert_code(0);

    // One that does not, whyever, sends all.
    let script =
        "case \"$*\" in *--incremental*) echo no such summaries >&2; exit 1;; esac; exec \"$REAL\" \"$@\"";
    let programs = server.programs_but(&sandbox.path("programs"), "pg_basebackup", script).unwrap();
    let mut again = sandbox.command([&["backup"][..], &remote[..], &["--json"]].concat());
    let again =
        run(again.env("STRONGROOM_PG_BIN", &programs)).assert_code(0).assert_says(["no such summaries"]);
    assert!(!is_incremental(&again.one("backup")));
    let whole = sandbox.backup([&remote[..], &["--force"]].concat());
    assert!(!is_incremental(&whole), "{whole}");
    sandbox.assert_clean();
}

#[test]
fn what_is_restored_is_looked_at_by_pg_verifybackup() {
    for server in &Postgres::start_each().unwrap() {
        what_is_restored_is_looked_at_by_pg_verifybackup_on(server);
    }
}

fn what_is_restored_is_looked_at_by_pg_verifybackup_on(server: &Postgres) {
    let mut sandbox = sandbox_for(server);
    let id = id_of(&sandbox.backup(["postgres", "--physical", "--dbname", &server.url("postgres")]));
    // Programs that are the server's, but for one that damages a file first.
    let programs = sandbox.path("programs");
    std::fs::create_dir(&programs).unwrap();
    for program in ["psql", "pg_dump", "initdb", "pg_ctl", "pg_verifybackup"] {
        let damage =
            if program == "pg_verifybackup" { "for data; do :; done; rm \"$data/PG_VERSION\"\n" } else { "" };
        let real = server.binaries().join(program);
        let script = programs.join(program);
        std::fs::write(&script, format!("#!/bin/sh\n{damage}exec '{}' \"$@\"\n", real.display())).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    give_to_server(&sandbox.path(""));
    sandbox.set("STRONGROOM_PG_BIN", &programs);
    let told = sandbox.run(["verify", &id]).assert_code(4);
    let _told = told.assert_prints(["PG_VERSION", "is present in the manifest but not on disk"]);
}

#[test]
fn a_cluster_is_restored_over_another_state_of_it() {
    for server in &mut Postgres::start_each().unwrap() {
        a_cluster_is_restored_over_another_state_of_it_on(server);
    }
}

fn a_cluster_is_restored_over_another_state_of_it_on(server: &Postgres) {
    let sandbox = sandbox_for(server);
    server.psql(BANK).unwrap();
    let backup = sandbox.backup(["postgres", "--physical", "--dbname", &server.url("postgres")]);
    let mut restored = restore(&sandbox, server, &id_of(&backup), &[]);
    restored.psql("UPDATE accounts SET balance = 7 WHERE id < 10; DROP TABLE notes; CREATE TABLE more AS SELECT generate_series(1, 1000) AS n").unwrap();
    let data = restored.data_directory();
    let over = |folder: &Path| {
        sandbox.run(["restore", "latest", "--delta", "--json", "--target", folder.to_str().unwrap()])
    };
    let _refused = over(&data).assert_code(1).assert_says(["a server runs on", "Stop it"]);
    restored
        .restart(|data| {
            std::fs::write(data.join("stray"), b"").unwrap();
            std::fs::write(data.join("standby.signal"), b"").unwrap();
            let report = over(data).assert_code(0).one("restore");
            let (all, written) = (report["bytes"].as_u64().unwrap(), report["written"].as_u64().unwrap());
            // Its log is always written.
            assert!(written < (16 << 20) + all / 4, "{report}");
            assert!(report["deleted"].as_u64() > Some(3), "{report}");
            assert!(!data.join("stray").exists() && !data.join("standby.signal").exists());
        })
        .unwrap();
    assert_eq!(restored.psql("SELECT sum(balance), count(*) FROM accounts").unwrap(), "500000|5000");
    assert_eq!(restored.psql("SELECT count(*) FROM notes").unwrap(), "5000");
    assert_eq!(restored.psql("SELECT to_regclass('more') IS NULL").unwrap(), "t");

    let letters = sandbox.path("letters");
    std::fs::create_dir(&letters).unwrap();
    std::fs::write(letters.join("dear.txt"), b"...").unwrap();
    let _refused = over(&letters).assert_code(1).assert_says(["is no data of a PostgreSQL server"]);
    assert!(letters.join("dear.txt").exists());
    let part = ["restore", "latest", "--overwrite", "always", "--target", letters.to_str().unwrap()];
    let _refused = sandbox.run(part).assert_code(2).assert_says(["--delta"]);
}
