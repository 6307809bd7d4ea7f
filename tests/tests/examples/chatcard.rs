//! PostgreSQL, its cluster and its log, Redis and its append-only files; by a timer that runs what is due.

use std::fs::OpenOptions;
use std::io::Write as _;

use strongroom_tests::archiving::{
    archive_all, give_to_server, moment, script_of_server, wait_until_promoted,
};
use strongroom_tests::services::postgres::Postgres;
use strongroom_tests::services::redis::{Redis, find_program};

use crate::stage::{Stage, told};

const TABLES: [&str; 3] = ["User", "Proof", "Anchor"];
const PASSPHRASE: &str = "correct horse battery staple";

fn counts(server: &Postgres, database: &str) -> [String; 3] {
    TABLES.map(|table| server.psql_in(database, &format!("SELECT count(*) FROM \"{table}\"")).unwrap())
}

#[test]
fn chatcard_is_backed_up_watched_and_brought_back() {
    let Some(server) = Postgres::start_with(&[("archive_mode", "on")]).unwrap() else { return };
    let Ok(program) = find_program() else {
        assert!(Redis::start().unwrap().is_none());
        return;
    };
    let append_only =
        ["--appendonly", "yes", "--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"];
    let redis = Redis::start_of(&program, None, &append_only).unwrap();
    let configuration = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(configuration.path().join("15/main")).unwrap();
    std::fs::write(configuration.path().join("15/main/pg_hba.conf"), "local all all peer\n").unwrap();
    let places = [("/etc/postgresql", configuration.path().to_str().unwrap())];
    let Some(mut stage) = Stage::new("chatcard", &places) else { return };
    // Roles that may do what the page grants them.
    server
        .psql(
            "CREATE ROLE backup LOGIN; GRANT pg_read_all_data TO backup;
            CREATE ROLE replication LOGIN REPLICATION; GRANT pg_monitor TO replication",
        )
        .unwrap();
    let as_role = |role: &str, database: &str| {
        let url = server.url(database);
        let (before, after) = url.split_once("//postgres@").unwrap();
        format!("{before}//{role}@{after}")
    };
    for (name, value) in [
        ("STRONGROOM_PG_BIN", server.binaries().display().to_string()),
        ("STRONGROOM_REDIS_BIN", redis.binaries().display().to_string()),
        ("DATABASE_URL", as_role("backup", "chatcard")),
        ("REPLICATION_URL", as_role("replication", "postgres")),
        ("REDIS_URL", redis.url()),
    ] {
        stage.sandbox.set(name, value);
    }
    server.psql("CREATE DATABASE chatcard").unwrap();
    for table in TABLES {
        let sql = format!(
            "CREATE TABLE \"{table}\" AS SELECT n, md5(n::text) AS text FROM generate_series(1, 500) AS n"
        );
        server.psql_in("chatcard", &sql).unwrap();
    }
    let _filled = redis.eval("for i = 1, 300 do redis.call('SET', 'session:' .. i, i) end return 1").unwrap();

    // The key opens it every day, the passphrase when there is nothing else.
    stage.sandbox.set("STRONGROOM_PASSPHRASE", PASSPHRASE);
    let recipients = ["--recipient", "passphrase", "--recipient", "aws-kms:alias/chatcard-backup"];
    let _made = stage.done(&[&["init"], &recipients[..]].concat());
    stage.sandbox.set("STRONGROOM_PASSPHRASE", "");
    let _in_order = stage.done(&["config", "check"]);
    let script = script_of_server(&stage.sandbox);
    let mut settings =
        OpenOptions::new().append(true).open(server.data_directory().join("postgresql.conf")).unwrap();
    writeln!(settings, "archive_command = '{script} wal-push %p --source cluster'").unwrap();
    server.psql("SELECT pg_reload_conf()").unwrap();

    // What the timer finds due: all of it at first, and then what has a date; at 4 the restore tests of all.
    stage.at("2026-03-02T02:25:00Z");
    archive_all(&server);
    stage.at("2026-03-02T02:35:00Z");
    let backups = ["database", "cluster", "postgresql-conf", "redis", "redis-aof"]
        .map(|source| format!("backup {source} done"));
    assert_eq!(stage.due("backup"), backups);
    let held = stage.latest("redis");
    let _held = stage.done(&["hold", "add", &held, "--name", "case-7", "--reason", "evidence"]);
    assert_eq!(stage.due("backup"), [""; 0]);
    // The log goes on, and no more than an hour would be lost.
    stage.at("2026-03-02T03:20:00Z");
    let _written = server.psql("SELECT pg_create_restore_point('on')").unwrap();
    archive_all(&server);
    stage.at("2026-03-02T04:00:00Z");
    let report = stage.report();
    let reached = &report.source("cluster")["rpo"];
    assert_eq!((&reached["seconds"], &reached["met"]), (&(45.0 * 60.0).into(), &true.into()), "{reached}");
    stage.at("2026-03-02T04:05:00Z");
    assert_eq!(
        told(&stage.done(&["run", "--due", "--json"])),
        [
            "verify database done",
            "verify cluster done",
            "verify postgresql-conf done",
            "backup redis done",
            "verify redis done",
            "backup redis-aof done",
            "verify redis-aof done",
            "forget - done",
            "wal-expire - done",
            "prune - done",
            "check - done",
        ]
    );
    let old = stage.latest("redis");

    // A failure that keeps nobody else, and who is told; when it is over, too.
    stage.sandbox.set("DATABASE_URL", "postgres://postgres@127.0.0.1:1/chatcard");
    stage.at("2026-03-03T02:05:00Z");
    let failed = stage.sandbox.run(["run", "--due", "--only", "backup", "--json"]).assert_code(1);
    assert_eq!(told(&failed), ["backup database failed", "backup redis done", "backup redis-aof done"]);
    stage.alert().assert_tells("database", "backup-failed");
    stage.sandbox.set("DATABASE_URL", as_role("backup", "chatcard"));
    let _well = stage.done(&["run", "database", "--only", "backup"]);
    stage.alert().assert_is_over("database", "backup-failed");

    brings_back(&stage, &server, &redis);
    to_a_moment(&stage, &server, &script);

    // A restore test that finds what no backup notices: nothing is left of a table.
    server.psql_in("chatcard", "DELETE FROM \"Anchor\"").unwrap();
    let _backed_up = stage.done(&["run", "database", "--only", "backup"]);
    let _found = stage.sandbox.run(["run", "database", "--only", "verify"]).assert_code(4);
    stage.alert().assert_tells("database", "restore-test-failed");

    // Nobody looked after it for days: that is told. Then the retention: seven days of Redis, three of its files, evidence until somebody
    // lets it go.
    stage.at("2026-03-12T05:05:00Z");
    stage.alert().assert_tells("cluster", "backup-missed");
    assert_eq!(stage.due("backup"), backups);
    assert_eq!(
        told(&stage.done(&["run", "--due", "--only", "forget", "--only", "prune", "--json"])).len(),
        2
    );
    let left = stage.sandbox.snapshots();
    assert!(left.contains(&held) && !left.contains(&old), "{old} goes, {held} stays: {left:?}");
    let files = stage.done(&["snapshots", "--source", "redis-aof", "--json"]).all("snapshot");
    assert_eq!(files.len(), 1, "{files:?}");

    stage.at("2026-03-12T06:00:00Z");
    // For nine days there was none: that is said.
    let report = stage.report();
    assert_eq!((report.backups("database"), report.backups("cluster")), ((5, 1), (2, 0)));
    let [yes, no] = [true.into(), false.into()];
    assert_eq!((report.objectives("database"), report.objectives("cluster")), ((&no, &yes), (&no, &yes)));
    assert_eq!(report.source("database")["restore_tests"]["failed"], 1);
    let retention = &report.source("redis")["retention"];
    assert_eq!((&retention["days"], &retention["held_snapshots"]), (&7.into(), &1.into()));
    assert_eq!(retention["met"], true, "{retention}");
    assert_eq!(stage.trail("hold"), ["hold done", "hold add done"]);
    stage.sandbox.assert_clean();

    // Another region, where there is no such key.
    let mut host = stage.sandbox.other_host();
    host.set("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1");
    host.set("STRONGROOM_CONFIG", "");
    host.set("STRONGROOM_PASSPHRASE", PASSPHRASE);
    host.set("STRONGROOM_REPO", format!("s3://{}/strongroom", stage.bucket));
    let _list = host.run(["snapshots", "--latest", "--region", "eu-west-1"]).assert_code(0);
    assert_eq!(host.snapshots(), left);
    // The configuration of a server, over what its package has made.
    let root = host.path("root");
    let there = root.join(configuration.path().strip_prefix("/").unwrap()).join("15/main/pg_hba.conf");
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::write(&there, "of the package\n").unwrap();
    let over = ["--target", root.to_str().unwrap(), "--overwrite", "always", "--region", "eu-west-1"];
    let _restored = host.run([&["restore", "latest:postgresql-conf"][..], &over].concat()).assert_code(0);
    assert_eq!(std::fs::read_to_string(there).unwrap(), "local all all peer\n");
}

/// The cluster and its log, as its server's user restores and recovers them.
fn to_a_moment(stage: &Stage, server: &Postgres, script: &str) {
    let wanted = moment(server);
    server.psql_in("chatcard", "DELETE FROM \"User\"").unwrap();
    archive_all(server);
    let snapshot = format!("latest:cluster@{wanted}");
    let get = format!("{script} wal-get %f %p --source cluster");
    // Over the cluster that a package made.
    let mut recovered = Postgres::start().unwrap().unwrap();
    let restarted = recovered.restart(|data| {
        let into = ["--target", data.to_str().unwrap(), "--delta", "--target-time", &wanted];
        let from = ["--wal-source", "cluster", "--restore-command", &get];
        let _restored = stage.done(&[&["restore", &snapshot][..], &into, &from].concat());
        // Its log is not the other's.
        let mut settings = OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        writeln!(settings, "archive_mode = off").unwrap();
        give_to_server(data);
    });
    restarted.unwrap();
    wait_until_promoted(&recovered);
    assert_eq!(counts(&recovered, "chatcard"), ["500", "500", "500"]);
    let users = "INSERT INTO \"User\" SELECT n, md5(n::text) FROM generate_series(1, 500) AS n";
    server.psql_in("chatcard", users).unwrap();
}

/// A table, a database, keys, all keys, files.
fn brings_back(stage: &Stage, server: &Postgres, redis: &Redis) {
    let to = server.url("chatcard");
    let restore = |more: &[&str]| {
        let _restored = stage
            .done(&[&["restore", "latest:database", "--to", &to, "--database", "chatcard"], more].concat());
    };
    server.psql_in("chatcard", "DELETE FROM \"Proof\" WHERE n > 100").unwrap();
    restore(&["--table", "Proof", "--drop-existing"]);
    assert_eq!(counts(server, "chatcard"), ["500", "500", "500"]);
    server.psql("CREATE DATABASE before").unwrap();
    restore(&["--into", "before"]);
    assert_eq!(counts(server, "before"), ["500", "500", "500"]);
    server.psql_in("chatcard", "DROP TABLE \"User\"; DELETE FROM \"Anchor\"").unwrap();
    restore(&["--drop-existing"]);
    assert_eq!(counts(server, "chatcard"), ["500", "500", "500"]);

    let cluster = server.start_restored(|data| {
        let _cluster = stage.done(&["restore", "latest:cluster", "--target", data.to_str().unwrap()]);
        give_to_server(data);
    });
    assert_eq!(counts(&cluster.unwrap(), "chatcard"), ["500", "500", "500"]);

    let empty = Redis::start_of(redis.program(), None, &["--enable-debug-command", "yes"]).unwrap();
    let _keys = stage.done(&["restore", "latest:redis", "--to", &empty.url(), "--include", "session:1*"]);
    assert_eq!(empty.ask(&["DBSIZE"]).unwrap(), "111");
    let _all = stage.done(&["restore", "latest:redis", "--to", &empty.url(), "--drop-existing"]);
    assert_eq!(empty.digest().unwrap(), redis.digest().unwrap());
    // For a server that is stopped, and has `appendonly yes`: it would be empty with a dump.rdb.
    let files = stage.sandbox.path("redis-stopped");
    let _files = stage.done(&["restore", "latest:redis", "--target", files.to_str().unwrap(), "--aof"]);
    let debug = ["--enable-debug-command", "yes"];
    let started = Redis::start_in(redis.program(), &files.join("appendonlydir"), &debug).unwrap();
    assert_eq!(started.digest().unwrap(), redis.digest().unwrap());
    // Files of a snapshot that has no entries of their folders: again, over what is there.
    let folder = stage.sandbox.path("redis").display().to_string();
    let _files = stage.done(&["restore", "latest:redis-aof", "--target", &folder]);
    let _again = stage.done(&["restore", "latest:redis-aof", "--target", &folder, "--delta"]);
    let restored =
        Redis::start_in(redis.program(), &stage.sandbox.path("redis/appendonlydir"), &debug).unwrap();
    assert_eq!(restored.digest().unwrap(), redis.digest().unwrap());
}
