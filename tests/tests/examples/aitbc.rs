//! PostgreSQL, Redis and the ledger of a node; opened by a key of KMS, with a recovery key for the day on which there is none.

use std::path::Path;

use strongroom_tests::sandbox::text;
use strongroom_tests::services::ledger::{Node, inspect};
use strongroom_tests::services::postgres::Postgres;
use strongroom_tests::services::redis::{Redis, find_program};

use crate::stage::{Stage, told};

const REDIS_PASSWORD: &str = "r3dis-secret";
const TABLES: [&str; 2] = ["jobs", "marketplace_offers"];

struct Site {
    postgres: Postgres,
    redis: Redis,
    node: Node,
}

impl Site {
    fn start(data: &Path, log: &Path) -> Option<Self> {
        let postgres = Postgres::start().unwrap()?;
        let Ok(program) = find_program() else {
            assert!(Redis::start().unwrap().is_none());
            return None;
        };
        let redis = Redis::start_of(&program, None, &["--enable-debug-command", "yes"]).unwrap();
        let mut node = Node::start(data, log).unwrap()?;
        postgres.psql("CREATE ROLE aitbc LOGIN").unwrap();
        postgres.psql("CREATE DATABASE aitbc OWNER aitbc").unwrap();
        for table in TABLES {
            let sql = format!(
                "SET ROLE aitbc; CREATE TABLE {table} AS SELECT n, md5(n::text) AS text FROM generate_series(1, 400) AS n"
            );
            postgres.psql_in("aitbc", &sql).unwrap();
        }
        let _filled =
            redis.eval("for i = 1, 300 do redis.call('SET', 'session:' .. i, i) end return 1").unwrap();
        node.order("append 60 1000").unwrap();
        node.order("pay first").unwrap();
        let site = Self { postgres, redis, node };
        let _protected = site.redis.ask(&["CONFIG", "SET", "requirepass", REDIS_PASSWORD]).unwrap();
        Some(site)
    }

    /// As `--to` has it.
    fn database(&self) -> String {
        format!("host=127.0.0.1 port={} user=aitbc dbname=aitbc", self.postgres.port())
    }

    fn ask_redis(&self, words: &[&str]) -> String {
        let mut client = self.redis.client();
        self.redis.run(client.env("REDISCLI_AUTH", REDIS_PASSWORD).args(words)).unwrap()
    }

    fn rows(&self, table: &str) -> String {
        self.postgres.psql_in("aitbc", &rows_of(table)).unwrap()
    }

    /// What it holds that is to be the same again.
    fn contents(&self) -> [String; 3] {
        [self.rows(TABLES[0]), self.rows(TABLES[1]), self.ask_redis(&["DEBUG", "DIGEST"])]
    }
}

/// How many there are, and what they come to.
fn rows_of(table: &str) -> String {
    format!("SELECT count(*), md5(string_agg(text, ',' ORDER BY n)) FROM {table}")
}

#[test]
fn aitbc_is_backed_up_watched_and_brought_back() {
    let node = tempfile::tempdir().unwrap();
    let data = node.path().join("data");
    let Some(mut site) = Site::start(&data, &node.path().join("log")) else { return };
    let places = [
        ("host=postgresql user=aitbc dbname=aitbc", &*site.database()),
        ("redis://redis:6379", &site.redis.url()),
        ("/app/data", data.to_str().unwrap()),
    ];
    let Some(mut stage) = Stage::new("aitbc", &places) else { return };
    for (name, value) in [
        ("STRONGROOM_PG_BIN", site.postgres.binaries().display().to_string()),
        ("STRONGROOM_REDIS_BIN", site.redis.binaries().display().to_string()),
        ("PGPASSWORD", "unused".to_owned()),
        ("REDISCLI_AUTH", REDIS_PASSWORD.to_owned()),
    ] {
        stage.sandbox.set(name, value);
    }

    // Once.
    let made = stage.done(&["--json", "key", "generate-recovery", "recovery.key"]);
    let public = text(&made.one("recovery_key")["public"]);
    let _made = stage.done(&["init", "--recipient", "aws-kms:alias/aitbc-backup", "--recipient", &public]);
    // Hosts are no administrators.
    let roles = ["--role", "write", "--role", "maintain", "--role", "verify", "--source", "*"];
    let writer = ["key", "add-writer", "aitbc", "--recipient", "aws-kms:alias/aitbc-backup"];
    let _added = stage.done(&[&writer[..], &roles].concat());
    stage.sandbox.set("STRONGROOM_WRITER", "aitbc");
    let _in_order = stage.done(&["config", "check"]);

    // Every day at 2; one of the first day is kept by its name.
    let backups = ["coordinator-db", "redis", "ledger"].map(|source| format!("backup {source} done"));
    stage.at("2026-03-02T02:05:00Z");
    assert_eq!(stage.due("backup"), backups);
    assert_eq!(stage.due("backup"), [""; 0]);
    let first = site.contents();
    let (held, old) = (stage.latest("coordinator-db"), stage.latest("redis"));
    let reason = "before the migration of the marketplace";
    let _held = stage.done(&["hold", "add", &held, "--name", "migration", "--reason", reason]);
    let add = format!("INSERT INTO {} SELECT n, 'more' FROM generate_series(401, 500) AS n", TABLES[0]);
    site.postgres.psql_in("aitbc", &add).unwrap();
    let _more = site.ask_redis(&["SET", "rate:1", "9"]);
    let (height, head) = site.node.order("append 5 1000").unwrap();
    stage.at("2026-03-03T02:05:00Z");
    assert_eq!(stage.due("backup"), backups);
    let second = site.contents();
    let shown = stage.done(&["show", "latest:ledger"]);
    let _height = shown.assert_prints([&height.to_string(), &head]);

    // Nobody told the backup of a new password: the rest is done, and people are told, Prometheus too. Then it is mended.
    let new_password = |site: &Site, old: &str, new: &str| {
        let mut client = site.redis.client();
        let _set = site
            .redis
            .run(client.env("REDISCLI_AUTH", old).args(["CONFIG", "SET", "requirepass", new]))
            .unwrap();
    };
    new_password(&site, REDIS_PASSWORD, "another");
    stage.at("2026-03-04T02:05:00Z");
    let failed = stage.sandbox.run(["run", "--due", "--only", "backup", "--json"]).assert_code(1);
    assert_eq!(told(&failed), ["backup coordinator-db done", "backup redis failed", "backup ledger done"]);
    let alert = stage.alert();
    alert.assert_tells("redis", "backup-failed");
    assert!(!alert.mailed.contains(REDIS_PASSWORD), "{}", alert.mailed);
    let rule = "backup_success{component=\"redis\"} 0";
    let _rule = stage.done(&["monitor", "--metrics"]).assert_prints([rule]);
    let _once = stage.done(&["monitor", "--alerts"]);
    stage.assert_quiet();
    new_password(&site, "another", REDIS_PASSWORD);
    stage.at("2026-03-04T03:00:00Z");
    let _well = stage.done(&["run", "redis", "--only", "backup"]);
    stage.alert().assert_is_over("redis", "backup-failed");

    brings_back(&stage, &mut site, &first, &second, (height, &head));

    // The restore tests of the week; and one in which something else comes back than was backed up.
    assert_eq!(
        stage.due("verify"),
        ["coordinator-db", "redis", "ledger"].map(|source| format!("verify {source} done"))
    );
    let planted = site.redis.programs_that_first(&stage.sandbox.path("planted"), "DEL session:7").unwrap();
    stage.sandbox.set("STRONGROOM_REDIS_BIN", planted);
    let _found = stage.sandbox.run(["run", "redis", "--only", "verify"]).assert_code(4);
    stage.alert().assert_tells("redis", "restore-test-failed");
    stage.sandbox.set("STRONGROOM_REDIS_BIN", site.redis.binaries());
    let _good = stage.done(&["run", "redis", "--only", "verify"]);
    stage.alert().assert_is_over("redis", "restore-test-failed");

    let quarterly = ["drill", "record", "--kind", "quarterly", "--result", "passed", "--took", "38m"];
    let _drill = stage.done(&quarterly);
    stage.at("2026-03-04T04:00:00Z");
    reports(&stage, &held);

    // Forty days on: what nobody looked after is told, and what was missed is done once. 30 days are kept, and what is held.
    stage.at("2026-04-12T05:05:00Z");
    let alert = stage.alert();
    alert.assert_tells("coordinator-db", "backup-missed").assert_tells("ledger", "restore-test-missed");
    assert_eq!(stage.due("backup"), backups);
    let _dry = stage.done(&["forget", "--dry-run"]).assert_prints(["held: migration", "would go"]);
    assert_eq!(
        told(&stage.done(&["run", "--due", "--only", "forget", "--only", "prune", "--json"])).len(),
        2
    );
    let left = stage.sandbox.snapshots();
    assert!(left.len() == 4 && left.contains(&held) && !left.contains(&old), "{held} stays: {left:?}");
    stage.sandbox.assert_clean();
    comes_back_elsewhere(&stage, &site, (height, &head));
}

/// Tables, keys, wallets; a moment; all of it.
fn brings_back(
    stage: &Stage,
    site: &mut Site,
    first: &[String; 3],
    second: &[String; 3],
    (height, head): (u64, &str),
) {
    let to = site.database();
    let restore = |snapshot: &str, more: &[&str]| {
        let _restored = stage.done(&[&["restore", snapshot], more].concat());
    };
    let spoil = format!("DELETE FROM {}; DROP TABLE {}", TABLES[0], TABLES[1]);
    site.postgres.psql_in("aitbc", &spoil).unwrap();
    let tables = ["--to", &to, "--table", TABLES[0], "--table", TABLES[1], "--drop-existing"];
    restore("latest:coordinator-db", &tables);
    restore("latest:coordinator-db@2026-03-02T12:00:00Z", &["--to", &to, "--drop-existing"]);
    assert_eq!(site.rows(TABLES[0]), first[0]);
    restore("latest:coordinator-db", &["--to", &to, "--drop-existing"]);

    let _gone = site.ask_redis(&["DEL", "session:1", "rate:1"]);
    let url = site.redis.url();
    restore("latest:redis", &["--to", &url, "--include", "session:*", "--drop-existing"]);
    assert_eq!(site.ask_redis(&["MGET", "session:1", "rate:1"]), "1");
    restore("latest:redis", &["--to", &url, "--drop-existing"]);
    assert_eq!(site.contents(), *second);

    // For a server that is stopped, and has `appendonly yes`: what was there stays beside.
    let files = stage.sandbox.path("redis-data").display().to_string();
    let aside = format!(
        "test ! -e {files}/appendonlydir || mv -T {files}/appendonlydir {files}/appendonlydir.before"
    );
    for _again in 0..2 {
        restore("latest:redis", &["--target", &files, "--aof", "--pre", &aside]);
    }
    let folder = stage.sandbox.path("redis-data/appendonlydir");
    let started = Redis::start_in(site.redis.program(), &folder, &["--enable-debug-command", "yes"]).unwrap();
    assert_eq!(started.digest().unwrap(), second[2]);
    assert!(stage.sandbox.path("redis-data/appendonlydir.before").is_dir());

    // No node runs where its ledger is put back.
    let data = stage.sandbox.path("node").display().to_string();
    restore("latest:ledger", &["--target", &data, "--include", "wallets"]);
    assert!(
        stage.sandbox.path("node/wallets/wallet.db").is_file()
            && !stage.sandbox.path("node/chain.db").exists()
    );
    restore("latest:ledger", &["--target", &data, "--delta"]);
    let found = inspect(&stage.sandbox.path("node")).unwrap();
    assert_eq!((found["height"].as_u64(), found["head"].as_str()), (Some(height), Some(head)), "{found}");
    assert!(found["holds"] == true && found["keys"][0] == "first", "{found}");
}

/// All is gone but the bucket and the recovery key, the key of KMS too.
fn comes_back_elsewhere(stage: &Stage, site: &Site, (height, head): (u64, &str)) {
    let postgres = Postgres::start().unwrap().unwrap();
    let redis = Redis::start_of(site.redis.program(), None, &["--enable-debug-command", "yes"]).unwrap();
    let mut host = stage.sandbox.other_host();
    host.set("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1");
    host.set("REDISCLI_AUTH", "");
    host.set("STRONGROOM_KEY_FILE", stage.sandbox.path("recovery.key"));
    let restore = |source: &str, more: &[&str]| {
        let _restored = host.run([&["restore", &format!("latest:{source}")], more].concat()).assert_code(0);
    };
    let to = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", postgres.port());
    postgres.psql("CREATE ROLE aitbc LOGIN").unwrap();
    restore("coordinator-db", &["--to", &to, "--create"]);
    restore("redis", &["--to", &redis.url()]);
    let data = host.path("data");
    restore("ledger", &["--target", data.to_str().unwrap()]);
    let rows = |table| postgres.psql_in("aitbc", &rows_of(table)).unwrap();
    let contents = [rows(TABLES[0]), rows(TABLES[1]), redis.digest().unwrap()];
    assert_eq!(contents, site.contents());
    let found = inspect(&data).unwrap();
    assert_eq!((found["height"].as_u64(), found["head"].as_str()), (Some(height), Some(head)), "{found}");
}

/// What was agreed, beside what was reached; who did what.
fn reports(stage: &Stage, held: &str) {
    let report = stage.report();
    assert_eq!((report.backups("coordinator-db"), report.backups("redis")), ((3, 0), (4, 1)));
    // Redis had none for 25 hours, and it is said.
    let [yes, no] = [true.into(), false.into()];
    assert_eq!(
        (report.objectives("coordinator-db"), report.objectives("redis")),
        ((&yes, &yes), (&no, &yes))
    );
    assert!(report.0["missed"].to_string().contains("redis: RPO was"), "{}", report.0["missed"]);
    assert_eq!(report.source("redis")["restore_tests"]["failed"], 1);
    assert_eq!(report.source("coordinator-db")["retention"]["held_snapshots"], 1);
    assert_eq!(report.0["drills"][0]["held"][0]["result"], "passed");
    let hold = report.0["audit"]["holds"][0].to_string();
    assert!(hold.contains(&held[..8]) && hold.contains("migration"), "{hold}");
    let page = stage.sandbox.path("report.html").display().to_string();
    let _written = stage.done(&["report", "--month", "2026-03", "--format", "html", "--output", &page]);
    assert!(std::fs::read_to_string(page).unwrap().contains("redis: RPO was"));

    let restores = stage.trail("restore");
    assert!(restores.len() >= 14 && restores.iter().all(|one| !one.contains("failed")), "{restores:?}");
    assert_eq!(stage.trail("hold"), ["hold done", "hold add done"]);
    assert_eq!(stage.trail("drill"), ["drill done"]);
    let _whole = stage.done(&["journal", "verify"]);
}
