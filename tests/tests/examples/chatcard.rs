//! The example `chatcard`, as its README has it, with its own configuration and real servers: backups that are due, a failure and
//! who is told, restores of all and of parts, restore tests, retention, a hold.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use strongroom_tests::sandbox::{Ran, Sandbox, id_of};
use strongroom_tests::services::postgres::Postgres;
use strongroom_tests::services::redis::{Redis, find_program};

const DAY: u64 = 24 * 60 * 60;
const TABLES: [&str; 3] = ["User", "Proof", "Anchor"];

/// A webhook's end: gives the body of each request.
fn webhook() -> (String, Receiver<Value>) {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/alerts", sink.local_addr().unwrap());
    let (taken, received) = channel();
    let _until_the_process_ends = std::thread::spawn(move || {
        for client in sink.incoming() {
            let mut client = client.unwrap();
            let (mut said, mut part) = (Vec::new(), [0; 4096]);
            // What is sent in chunks ends with an empty one.
            while !said.ends_with(b"0\r\n\r\n") {
                let read = client.read(&mut part).unwrap();
                said.extend_from_slice(&part[..read]);
                if read == 0 {
                    return;
                }
            }
            client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            let said = String::from_utf8(said).unwrap();
            let body = &said[said.find('{').unwrap()..=said.rfind('}').unwrap()];
            if taken.send(serde_json::from_str(body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, received)
}

/// What was done, of what, and how it ended.
fn told(ran: &Ran) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let of =
        |run: &Value| format!("{} {} {}", text(&run["work"]), text(&run["source"]), text(&run["result"]));
    ran.all("run").iter().map(of).collect()
}

/// Sets the store's time of the newest entry of the journal.
fn as_of(sandbox: &Sandbox, days_ago: u64) {
    let journal = std::fs::read_dir(sandbox.repository().join("journal")).unwrap();
    let newest = journal.map(|entry| entry.unwrap().path()).max().unwrap();
    let time = SystemTime::now() - Duration::from_secs(days_ago * DAY);
    File::options().write(true).open(newest).unwrap().set_modified(time).unwrap();
}

fn count(server: &Postgres, database: &str, table: &str) -> String {
    server.psql_in(database, &format!("SELECT count(*) FROM \"{table}\"")).unwrap()
}

#[test]
fn chatcard_is_backed_up_watched_and_brought_back() {
    let Some(server) = Postgres::start().unwrap() else { return };
    let Ok(program) = find_program() else {
        assert!(Redis::start().unwrap().is_none());
        return;
    };
    let append_only =
        ["--appendonly", "yes", "--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"];
    let redis = Redis::start_of(&program, None, &append_only).unwrap();
    let (url, alerts) = webhook();
    let mut sandbox = Sandbox::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/chatcard/strongroom.toml");
    sandbox.write("strongroom.toml", std::fs::read_to_string(example).unwrap());
    for (name, value) in [
        ("STRONGROOM_CONFIG", sandbox.path("strongroom.toml").display().to_string()),
        ("STRONGROOM_PG_BIN", server.binaries().display().to_string()),
        ("STRONGROOM_REDIS_BIN", redis.binaries().display().to_string()),
        ("DATABASE_URL", server.url("chatcard")),
        ("REPLICATION_URL", server.url("postgres")),
        ("REDIS_URL", redis.url()),
        ("ALERT_WEBHOOK_URL", url),
    ] {
        sandbox.set(name, value);
    }
    server.psql("CREATE DATABASE chatcard").unwrap();
    for table in TABLES {
        let sql = format!(
            "CREATE TABLE \"{table}\" AS SELECT n, md5(n::text) AS text FROM generate_series(1, 500) AS n"
        );
        server.psql_in("chatcard", &sql).unwrap();
    }
    let _filled = redis.eval("for i = 1, 300 do redis.call('SET', 'session:' .. i, i) end return 1").unwrap();
    let _in_order = sandbox.run(["config", "check"]).assert_code(0);

    // Two of long ago, one of which is evidence.
    let [held, old] = [40, 8].map(|days| {
        let report = sandbox.backup(["redis", "--source", "redis"]);
        as_of(&sandbox, days);
        id_of(&report)
    });
    let _held =
        sandbox.run(["hold", "add", &held, "--name", "case-7", "--reason", "evidence"]).assert_code(0);

    // What was never done is due, and what was done eight days ago.
    let ran = sandbox.run(["run", "--due", "--only", "backup", "--json"]).assert_code(0);
    assert_eq!(
        told(&ran),
        ["backup database done", "backup cluster done", "backup redis done", "backup redis-aof done"]
    );

    // A failure, and who is told; when it is over, too.
    sandbox.set("DATABASE_URL", "postgres://postgres@127.0.0.1:1/chatcard");
    let _failed = sandbox.run(["run", "database", "--only", "backup"]).assert_code(1);
    let _told = sandbox.run(["monitor", "--alerts"]).assert_code(0);
    let alert = alerts.recv().unwrap();
    let finding = &alert["findings"][0];
    assert!(finding["kind"] == "backup-failed" && finding["source"] == "database", "{alert}");
    sandbox.set("DATABASE_URL", server.url("chatcard"));
    let _well = sandbox.run(["run", "database", "--only", "backup"]).assert_code(0);
    let _told = sandbox.run(["monitor", "--alerts"]).assert_code(0);
    let alert = alerts.recv().unwrap();
    assert!(alert["resolved"].to_string().contains("database backup-failed"), "{alert}");

    // A table, a database, keys, all keys.
    server.psql_in("chatcard", "DELETE FROM \"Proof\" WHERE n > 100").unwrap();
    let to = ["--to", &server.url("chatcard"), "--database", "chatcard"].map(str::to_owned);
    let restore = |more: &[&str]| {
        let words = ["restore", "latest:database"].into_iter().chain(to.iter().map(String::as_str));
        sandbox.run(words.chain(more.iter().copied())).assert_code(0)
    };
    let _table = restore(&["--table", "Proof", "--drop-existing"]);
    assert_eq!(count(&server, "chatcard", "Proof"), "500");
    server.psql("CREATE DATABASE before").unwrap();
    let _database = restore(&["--into", "before"]);
    assert_eq!(TABLES.map(|table| count(&server, "before", table)), ["500", "500", "500"]);
    server.psql_in("chatcard", "DROP TABLE \"User\"; DELETE FROM \"Anchor\"").unwrap();
    let _all = restore(&["--drop-existing"]);
    assert_eq!(TABLES.map(|table| count(&server, "chatcard", table)), ["500", "500", "500"]);
    let empty = Redis::start_of(&program, None, &append_only).unwrap();
    let _keys = sandbox
        .run(["restore", "latest:redis", "--to", &empty.url(), "--include", "session:1*"])
        .assert_code(0);
    assert_eq!(empty.ask(&["DBSIZE"]).unwrap(), "111");
    let _all =
        sandbox.run(["restore", "latest:redis", "--to", &empty.url(), "--drop-existing"]).assert_code(0);
    assert_eq!(empty.digest().unwrap(), redis.digest().unwrap());

    // Files of a snapshot that has no entries of their folders: again, over what is there.
    let folder = sandbox.path("redis").display().to_string();
    let _files = sandbox.run(["restore", "latest:redis-aof", "--target", &folder]).assert_code(0);
    let _again = sandbox.run(["restore", "latest:redis-aof", "--target", &folder, "--delta"]).assert_code(0);
    let restored =
        Redis::start_in(&program, &sandbox.path("redis/appendonlydir"), &append_only[2..]).unwrap();
    assert_eq!(restored.digest().unwrap(), redis.digest().unwrap());

    // The nightly restore test; and one that finds what no backup notices.
    let ran = sandbox.run(["run", "--only", "verify", "--json"]).assert_code(0);
    assert_eq!(
        told(&ran),
        ["verify database done", "verify cluster done", "verify redis done", "verify redis-aof done"]
    );
    server.psql_in("chatcard", "DELETE FROM \"Anchor\"").unwrap();
    let _backed_up = sandbox.run(["run", "database", "--only", "backup"]).assert_code(0);
    let _found = sandbox.run(["run", "database", "--only", "verify"]).assert_code(4);
    let _told = sandbox.run(["monitor", "--check", "--alerts"]).assert_code(1);
    let alert = alerts.recv().unwrap();
    assert!(alert["findings"].to_string().contains("restore-test-failed"), "{alert}");

    // Snapshots of Redis are kept for seven days, and evidence until somebody lets it go.
    let _forgotten = sandbox.run(["run", "--only", "forget", "--only", "prune"]).assert_code(0);
    let left = sandbox.snapshots();
    assert!(left.contains(&held) && !left.contains(&old), "{old} goes, {held} stays: {left:?}");
    let report = sandbox.run(["monitor", "--report"]).assert_code(0);
    let _report = report.assert_prints(["database", "cluster", "redis-aof", "RESTORE TEST"]);
    sandbox.assert_clean();
}
