//! `config check`, and what restore tests ask by the configuration.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::postgres::Postgres;

#[test]
fn every_problem_is_told_with_its_line() {
    let sandbox = Sandbox::new();
    let check = || sandbox.run(["config", "check"]);
    let _none = check().assert_code(1).assert_says(["strongroom.toml", "cannot be read"]);
    sandbox.write("strongroom.toml", "[retention]\ndays = 30\n");
    let _good = check().assert_code(0).assert_prints(["strongroom.toml is in order"]);

    let wrong = "[retention]\nday = 30\n\n[sources.ledger]\nengine = \"postgres\"\ndbname = \"host='x\"\n\n[sources.ledger.retention]\nkeep_within = \"3 moons\"\n";
    sandbox.write("strongroom.toml", wrong);
    let told = check().assert_code(1);
    let _told = told.assert_prints([
        "strongroom.toml:2: ",
        "is `days` meant?",
        "strongroom.toml:9: ",
        "3 moons",
        "3 problems",
    ]);

    // What only a look at what it speaks of tells.
    sandbox.write("strongroom.toml", "[sources.ledger]\n\n[sources.typo]\n");
    let _id = sandbox.feed(["backup", "stdin", "--name", "x", "--source", "ledger"], b"data").assert_code(0);
    let told = sandbox.run(["config", "check", "--json"]).assert_code(1);
    let problems = told.all("problem");
    assert!(problems.len() == 1 && problems[0]["line"] == 3, "{told}");
    let _told = told.assert_prints(["no snapshot of such a source"]);
}

#[test]
fn what_keeps_people_from_being_told_is_found_and_nothing_hides_it() {
    let sandbox = Sandbox::new();
    let wrong = r#"[serve]
token = "env:NOPE"
[notify.slack]
slack = "env:NOPE"
[notify.mail]
smtp = "smtp//typo"
password = "file:/nowhere/pw"
from = "not an address"
to = ["me@example.com", "you"]
[notify.hook]
webhook = "monitoring.example.com"
[retention]
day = 30
[prune]
max_repak = "20GiB"
[sources.ledger]
engine = "postgers"
"#;
    sandbox.write("strongroom.toml", wrong);
    let told = sandbox.run(["config", "check", "--json"]).assert_code(1);
    let problems: Vec<_> = told.all("problem");
    let lines: Vec<_> = problems.iter().map(|problem| problem["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 4, 6, 7, 8, 9, 11, 13, 15, 16], "{told}");
    let _told = told.assert_prints([
        "serve.token: ",
        "notify.mail.to: `you`",
        "is `max_repack` meant?",
        "is `postgres` meant?",
    ]);

    // What is in order, and probably not meant.
    let doubtful = "jitter = \"5\"\n[retention]\ndays = 30\n[sources.documents]\nengine = \"files\"\npaths = [\"/srv\"]\n";
    sandbox.write("strongroom.toml", doubtful);
    let told = sandbox.run(["config", "check"]).assert_code(0);
    let _told = told.assert_prints([
        "strongroom.toml:4: warning: sources.documents: nothing says when it is backed up",
        "`[forget]` with `schedule`",
        "jitter is 5 s: is `5m` meant?",
        "is in order",
    ]);
}

#[test]
fn a_managed_service_is_told_what_it_cannot_have() {
    let sandbox = Sandbox::new();
    let _id = sandbox.feed(["backup", "stdin", "--name", "x", "--source", "shop"], b"data").assert_code(0);
    let check = |server: &str, more: &[&str]| {
        sandbox.write(
            "strongroom.toml",
            format!("[sources.shop]\nengine = \"postgres\"\ndbname = \"{server}\"\n"),
        );
        sandbox.run([&["config", "check"], more].concat()).assert_code(0)
    };
    let said = "physical backups and WAL archiving are impossible there; hourly logical snapshots";
    for (host, service) in [
        ("shop.abc.eu-central-1.rds.amazonaws.com", "Amazon RDS or Aurora"),
        ("shop.postgres.database.azure.com", "Azure Database for PostgreSQL"),
    ] {
        let url = format!("postgres://me@{host}/shop");
        let _told = check(&url, &[]).assert_prints(["shop is on", service, said]);
    }
    let _socket = check("host=/cloudsql/a:b:c", &["--offline"]).assert_prints(["Google Cloud SQL", said]);
    let _down =
        check("postgres://me@127.0.0.1:1/shop", &[]).assert_says(["the server of shop was not asked"]);

    let Some(server) = Postgres::start().unwrap() else { return };
    let own = check(&server.url("postgres"), &[]);
    assert!(!own.text().contains(said), "{own}");
    server.psql("CREATE ROLE rds_superuser").unwrap();
    let _told = check(&server.url("postgres"), &[]).assert_prints(["Amazon RDS or Aurora", said]);
    let _offline = check(&server.url("postgres"), &["--offline"]).assert_prints(["in order"]);
}

#[test]
fn a_restore_test_asks_what_the_configuration_says() {
    for server in &Postgres::start_each().unwrap() {
        let mut sandbox = Sandbox::new();
        sandbox.set("STRONGROOM_PG_BIN", server.binaries());
        server.psql("CREATE DATABASE shop").unwrap();
        server.psql_in("shop", "CREATE TABLE orders AS SELECT generate_series(1, 10) AS n").unwrap();
        let url = server.url("postgres");
        let databases = ["--database", "shop", "--database", "postgres"];
        let _id =
            sandbox.backup([&["postgres", "--dbname", &url, "--source", "shop"], &databases[..]].concat());
        let configured = |sql: &str| {
            let assertion = |source: &str, sql: &str| {
                format!(
                    "[[sources.{source}.assertions]]\nname = \"orders are whole\"\ndatabase = \"shop\"\nsql = \"\"\"\n{sql}\"\"\"\n"
                )
            };
            sandbox.write("strongroom.toml", assertion("shop", sql) + &assertion("other", "SELECT false"));
            let verify =
                ["verify", "--source", "shop", "--config", "strongroom.toml", "--assert", "SELECT true"];
            sandbox.run(verify)
        };
        let _good = configured("SELECT count(*) = 10\nFROM orders;\n").assert_code(0);
        let _false = configured("SELECT count(*) > 10 FROM orders").assert_code(4).assert_prints([
            "orders are whole: the assertion",
            "gave f",
            "does NOT restore as it was",
        ]);
        let _wrong = configured("SELECT true FROM nowhere")
            .assert_code(4)
            .assert_prints(["orders are whole: ", "nowhere"]);
    }
}

#[test]
fn an_older_configuration_becomes_one() {
    let sandbox = Sandbox::new();
    let old = r#"{ "s3": { "bucket": "b", "region": "us-east-1" }, "redis": { "host": "cache", "port": 6379, "password": "s3cret" },
        "clickhouse": { "host": "olap", "port": 9000 }, "retention": { "days": 30, "compliance_days": 2555 } }"#;
    sandbox.write("backup-config.json", old);
    let imported = sandbox.run(["config", "import", "backup-config.json"]).assert_code(0);
    let imported = imported.assert_says(["REDIS_PASSWORD", "9000 became 8123"]);
    assert!(!imported.text().contains("s3cret"), "{imported}");
    sandbox.write("strongroom.toml", &imported.stdout);
    let checked = sandbox.run(["config", "check", "--repo", ""]).assert_code(1);
    let _only_the_secret = checked.assert_prints(["REDIS_PASSWORD", "1 problem"]);
    sandbox.write("strongroom.toml", "[sources]");
    let _none = sandbox.run(["config", "import", "strongroom.toml"]).assert_code(2);
}

#[test]
fn a_broken_configuration_is_no_end_of_a_log() {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_CONFIG", sandbox.write("strongroom.toml", "[retention]\nday = 30\n"));
    let _listed = sandbox.run(["snapshots"]).assert_code(1).assert_says(["line 2", "is `days` meant?"]);
    // PostgreSQL takes codes up to 125 for the end of its log, and would go on from there.
    let get = sandbox.run(["wal-get", "000000010000000000000001", "segment"]);
    assert_eq!(get.status.code(), Some(201), "{get}");
}
