//! PostgreSQL, ClickHouse and Redis; from a `backup-config.json`, with snapshots that are kept for compliance.

use std::path::Path;

use serde_json::{Value, json};
use strongroom_tests::sandbox::Sandbox;
use strongroom_tests::services::azurite::{self, Azurite};
use strongroom_tests::services::clickhouse::{ClickHouse, PASSWORD, Version};
use strongroom_tests::services::postgres::Postgres;
use strongroom_tests::services::redis::{Redis, find_program};
use strongroom_tests::sinks::HttpSink;

use crate::stage::{MAIL_PASSWORD, Stage, told};

const REDIS_PASSWORD: &str = "r3dis-secret";
const PASSPHRASE: &str = "correct horse battery staple";

struct Site {
    postgres: Postgres,
    clickhouse: ClickHouse,
    redis: Redis,
}

impl Site {
    fn start() -> Option<Self> {
        let postgres = Postgres::start().unwrap()?;
        let clickhouse = ClickHouse::start(Version::Old).unwrap()?;
        let Ok(program) = find_program() else {
            assert!(Redis::start().unwrap().is_none());
            return None;
        };
        let redis = Redis::start_of(&program, None, &["--enable-debug-command", "yes"]).unwrap();
        postgres.psql("CREATE ROLE complyai LOGIN").unwrap();
        postgres.psql("CREATE DATABASE llama_mapper OWNER complyai").unwrap();
        for table in ["mappings", "audits"] {
            let sql = format!(
                "SET ROLE complyai; CREATE TABLE {table} AS SELECT n, md5(n::text) AS text FROM generate_series(1, 400) AS n"
            );
            postgres.psql_in("llama_mapper", &sql).unwrap();
        }
        clickhouse
            .run(
                "CREATE DATABASE llama_mapper;\n\
                CREATE TABLE llama_mapper.events (day Date, n UInt64) ENGINE = MergeTree(day, n, 8192);\n\
                INSERT INTO llama_mapper.events SELECT toDate('2026-01-01') + number % 60, number FROM system.numbers LIMIT 3000;\n",
            )
            .unwrap();
        let _filled =
            redis.eval("for i = 1, 300 do redis.call('SET', 'session:' .. i, i) end return 1").unwrap();
        let _protected = redis.ask(&["CONFIG", "SET", "requirepass", REDIS_PASSWORD]).unwrap();
        Some(Self { postgres, clickhouse, redis })
    }

    /// As `--to` has it.
    fn database(&self) -> String {
        format!("host=127.0.0.1 port={} user=complyai dbname=llama_mapper", self.postgres.port())
    }

    /// The same, without user and password.
    fn events(&self) -> String {
        let url = self.clickhouse.url().unwrap();
        format!("http://{}", url.rsplit('@').next().unwrap())
    }

    fn ask_redis(&self, words: &[&str]) -> String {
        let mut client = self.redis.client();
        self.redis.run(client.env("REDISCLI_AUTH", REDIS_PASSWORD).args(words)).unwrap()
    }

    /// What it holds that is to be the same again.
    fn contents(&self) -> [String; 4] {
        let rows = |table: &str| {
            let sql = format!("SELECT count(*), md5(string_agg(text, ',' ORDER BY n)) FROM {table}");
            self.postgres.psql_in("llama_mapper", &sql).unwrap()
        };
        [rows("mappings"), rows("audits"), self.rows("events"), self.ask_redis(&["DEBUG", "DIGEST"])]
    }

    fn rows(&self, table: &str) -> String {
        let sql =
            format!("SELECT count(), sum(n), groupBitXor(cityHash64(day, n)) FROM llama_mapper.{table}");
        self.clickhouse.query(&sql).unwrap()
    }
}

/// The example's stage, for these servers.
fn stage(site: &Site, slack: &HttpSink) -> Option<Stage> {
    let namespace = "default.svc.cluster.local";
    let mut stage = Stage::new(
        "comply-ai",
        &[
            (
                &format!("host=postgresql-service.{namespace} port=5432 user=complyai dbname=llama_mapper"),
                &site.database(),
            ),
            (&format!("http://clickhouse-service.{namespace}:8123"), &site.events()),
            (&format!("http://clickhouse-restore.{namespace}:8123"), &site.events()),
            (&format!("redis://redis-service.{namespace}:6379"), &site.redis.url()),
            ("@smtp.company.com:587", "@{mail}?tls=none"),
            ("https://monitoring.company.com/webhook", "{hook}/webhook"),
        ],
    )?;
    for (name, value) in [
        ("STRONGROOM_PG_BIN", site.postgres.binaries().display().to_string()),
        ("STRONGROOM_REDIS_BIN", site.redis.binaries().display().to_string()),
        ("PGPASSWORD", "unused".to_owned()),
        ("CLICKHOUSE_USER", "default".to_owned()),
        ("CLICKHOUSE_PASSWORD", PASSWORD.to_owned()),
        ("REDISCLI_AUTH", REDIS_PASSWORD.to_owned()),
        ("POSTGRESQL_PASSWORD", "unused".to_owned()),
        ("REDIS_PASSWORD", REDIS_PASSWORD.to_owned()),
        ("SMTP_PASSWORD", MAIL_PASSWORD.to_owned()),
        ("SLACK_WEBHOOK_URL", format!("{}/services/T/B", slack.url())),
    ] {
        stage.sandbox.set(name, value);
    }
    Some(stage)
}

#[test]
fn comply_ai_is_backed_up_watched_and_brought_back() {
    let Some(site) = Site::start() else { return };
    let slack = HttpSink::start();
    let Some(mut stage) = stage(&site, &slack) else { return };
    stage.sandbox.set("STRONGROOM_PASSPHRASE", PASSPHRASE);
    let key = ["--recipient", "aws-kms:alias/comply-ai-backup"];
    let _made = stage.done(&[&["init", "--recipient", "passphrase"][..], &key].concat());
    // From here on the role is what opens it.
    stage.sandbox.set("STRONGROOM_PASSPHRASE", "");
    let _in_order = stage.done(&["config", "check"]);

    // Every day at 2. What is tagged is kept for seven years, what is held until it is let go.
    let backups = ["postgresql", "clickhouse", "redis"].map(|source| format!("backup {source} done"));
    stage.at("2026-03-02T02:05:00Z");
    assert_eq!(stage.due("backup"), backups);
    let first = site.contents();
    let kept = [stage.latest("postgresql"), stage.latest("clickhouse")];
    let old = stage.latest("redis");
    let _tagged = stage.done(&["tag", "latest:clickhouse", "--add", "compliance"]);
    let litigation = ["hold", "add", "--source", "postgresql", "--name", "litigation"];
    let _held = stage.done(&[&litigation[..], &["--reason", "case 2026-17"]].concat());
    let more = "INSERT INTO mappings SELECT n, 'more' FROM generate_series(401, 500) AS n";
    site.postgres.psql_in("llama_mapper", more).unwrap();
    let more =
        "INSERT INTO llama_mapper.events SELECT toDate('2026-03-01'), number FROM system.numbers LIMIT 100";
    let _more = site.clickhouse.query(more).unwrap();

    // The next day it lets nobody in: everybody is told, by mail, in Slack and by the webhook; and that it is over.
    let lets_in = |yes: bool| {
        let sql = format!("ALTER DATABASE llama_mapper ALLOW_CONNECTIONS {yes}");
        site.postgres.psql(&sql).unwrap();
    };
    lets_in(false);
    stage.at("2026-03-03T02:05:00Z");
    let failed = stage.sandbox.run(["run", "--due", "--only", "backup", "--json"]).assert_code(1);
    assert_eq!(told(&failed), ["backup postgresql failed", "backup clickhouse done", "backup redis done"]);
    stage.alert().assert_tells("postgresql", "backup-failed");
    assert!(slack.next().json()["text"].as_str().unwrap().contains("postgresql: the backup failed"));
    lets_in(true);
    let _well = stage.done(&["run", "postgresql", "--only", "backup"]);
    stage.alert().assert_is_over("postgresql", "backup-failed");
    assert!(slack.next().json()["text"].as_str().unwrap().contains("over"));
    let second = site.contents();
    let of_march = ["postgresql", "clickhouse", "redis"].map(|source| stage.latest(source));

    brings_back(&stage, &site, &first, &second);

    // The restore tests of the week; and one in which something else comes back than was backed up.
    assert_eq!(
        stage.due("verify"),
        ["postgresql", "clickhouse", "redis"].map(|source| format!("verify {source} done"))
    );
    let planted = site.redis.programs_that_first(&stage.sandbox.path("planted"), "DEL session:7").unwrap();
    stage.sandbox.set("STRONGROOM_REDIS_BIN", planted);
    let _found = stage.sandbox.run(["run", "redis", "--only", "verify"]).assert_code(4);
    stage.alert().assert_tells("redis", "restore-test-failed");
    stage.sandbox.set("STRONGROOM_REDIS_BIN", site.redis.binaries());

    stage.at("2026-03-03T04:00:00Z");
    let report = stage.report();
    assert_eq!((report.backups("postgresql"), report.backups("clickhouse")), ((3, 1), (2, 0)));
    let yes = true.into();
    for source in ["postgresql", "clickhouse", "redis"] {
        assert_eq!(report.objectives(source), (&yes, &yes), "{source}");
    }
    assert_eq!(report.source("redis")["restore_tests"]["failed"], 1);
    assert_eq!(report.source("clickhouse")["retention"]["compliance_snapshots"], 1);
    assert_eq!(report.source("postgresql")["retention"]["held_snapshots"], 1);
    let hold = report.0["audit"]["holds"][0].to_string();
    assert!(hold.contains("litigation"), "{hold}");
    assert!(stage.trail("restore").len() >= 14);
    assert_eq!(stage.trail("tag"), ["tag done", "tag done"]);

    // Forty days on. What the older configuration becomes backs up the same.
    stage.at("2026-04-12T05:05:00Z");
    stage.alert().assert_tells("clickhouse", "backup-missed");
    stage.sandbox.write("backup-config.json", older(&site).to_string());
    let imported = stage.done(&["config", "import", "backup-config.json"]);
    let imported = imported.assert_says(["POSTGRESQL_PASSWORD", "REDIS_PASSWORD"]);
    stage.sandbox.write("imported.toml", &imported.stdout);
    tells_the_same_people(&String::from_utf8(imported.stdout).unwrap());
    let by_imported = ["--config", "imported.toml"];
    let _in_order = stage.done(&[&["config", "check"], &by_imported[..]].concat());
    let ran = stage.done(&[&["run", "--due", "--only", "backup", "--json"], &by_imported[..]].concat());
    assert_eq!(told(&ran), backups);
    assert_eq!(
        told(&stage.done(&["run", "--due", "--only", "forget", "--only", "prune", "--json"])).len(),
        2
    );
    let left = stage.sandbox.snapshots();
    // Of the first day what is held or tagged, of each month the newest.
    assert!(left.len() == 8 && kept.iter().all(|id| left.contains(id)) && !left.contains(&old), "{left:?}");
    stage.sandbox.assert_clean();
    // Two years on, that is what there is of March.
    stage.at("2028-04-12T05:05:00Z");
    stage.assert_kept(&of_march, "monthly");
    comes_back(&stage, &site);
}

/// Who is told by what the older configuration becomes is told by the example.
fn tells_the_same_people(imported: &str) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/comply-ai/strongroom.toml");
    let [example, imported]: [toml::Table; 2] =
        [&std::fs::read_to_string(example).unwrap(), imported].map(|text| text.parse().unwrap());
    assert_eq!(example["notify"], imported["notify"]);
}

/// The servers are empty, and the key of KMS is gone.
fn comes_back(stage: &Stage, site: &Site) {
    let mut host = stage.sandbox.other_host();
    host.set("STRONGROOM_CONFIG", "");
    host.set("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1");
    host.set("STRONGROOM_PASSPHRASE", PASSPHRASE);
    let before = site.contents();
    site.postgres.psql("DROP DATABASE llama_mapper").unwrap();
    site.postgres.psql("DROP ROLE complyai; CREATE ROLE complyai LOGIN").unwrap();
    site.clickhouse.run("DROP DATABASE llama_mapper;\n").unwrap();
    let _empty = site.ask_redis(&["FLUSHALL"]);
    let restore = |source: &str, to: &str, more: &[&str]| {
        let words = ["restore", source, "--to", to];
        let of = ["--repo", "s3://comply-ai-backups/strongroom", "--region", "us-east-1"];
        let _restored = host.run([&of[..], &words, more].concat()).assert_code(0);
    };
    let server = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", site.postgres.port());
    restore("latest:postgresql", &server, &["--create"]);
    restore("latest:clickhouse", &site.events(), &[]);
    restore("latest:redis", &site.redis.url(), &[]);
    assert_eq!(site.contents(), before);
}

/// The configuration of `backup-databases.py`, as the runbook has it, for these servers.
fn older(site: &Site) -> Value {
    let port = |url: &str| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    json!({
        "s3": { "bucket": "comply-ai-backups", "region": "us-east-1", "endpoint_url": null },
        "postgresql": {
            "host": "127.0.0.1", "port": site.postgres.port(), "database": "llama_mapper", "user": "complyai",
            "password": "from_kubernetes_secret"
        },
        "clickhouse": {
            "host": "127.0.0.1", "port": port(&site.events()), "database": "llama_mapper", "user": "default",
            "password": "from_kubernetes_secret"
        },
        "redis": { "host": "127.0.0.1", "port": site.redis.port(), "password": "from_kubernetes_secret" },
        "retention": { "days": 30, "compliance_days": 2555 },
        "alerts": { "email_recipients": ["admin@company.com"], "enabled": true },
        "smtp": {
            "enabled": true, "smtp_server": "smtp.company.com", "smtp_port": 587,
            "username": "backup-monitor@company.com", "password": "password",
            "from_email": "backup-monitor@company.com"
        },
        "slack": { "enabled": true, "webhook_url": "https://hooks.slack.com/services/..." },
        "webhook": { "enabled": true, "url": "https://monitoring.company.com/webhook" }
    })
}

/// Parts, a moment, all of it.
fn brings_back(stage: &Stage, site: &Site, first: &[String; 4], second: &[String; 4]) {
    let (database, events, cache) = (site.database(), site.events(), site.redis.url());
    let restore = |snapshot: &str, to: &str, more: &[&str]| {
        let _restored = stage.done(&[&["restore", snapshot, "--to", to], more].concat());
    };
    site.postgres.psql_in("llama_mapper", "DELETE FROM mappings").unwrap();
    restore("latest:postgresql", &database, &["--table", "mappings", "--drop-existing"]);
    let beside =
        ["--table", "llama_mapper.events", "--rename", "llama_mapper.events=llama_mapper.events_before"];
    restore("latest:clickhouse@2026-03-02T12:00:00Z", &events, &beside);
    assert_eq!(site.rows("events_before"), first[2]);
    let _dropped = site.clickhouse.query("DROP TABLE llama_mapper.events_before").unwrap();
    let _gone = site.ask_redis(&["DEL", "session:1", "session:2"]);
    restore("latest:redis", &cache, &["--include", "session:*", "--drop-existing"]);
    assert_eq!(site.contents(), *second);

    // As of one time, and back.
    for (time, contents) in [("@2026-03-02T12:00:00Z", first), ("", second)] {
        restore(&format!("latest:postgresql{time}"), &database, &["--drop-existing"]);
        restore(&format!("latest:clickhouse{time}"), &events, &["--drop-existing"]);
        restore(&format!("latest:redis{time}"), &cache, &["--drop-existing"]);
        assert_eq!(site.contents(), *contents);
    }
}

#[test]
fn what_the_older_configuration_has_at_azure_is_backed_up_there() {
    let Some(azurite) = Azurite::shared().unwrap() else { return };
    let Some(redis) = Redis::start().unwrap() else { return };
    let _filled = redis.eval("for i = 1, 30 do redis.call('SET', i, i) end return 1").unwrap();
    azurite.create_container("comply-ai-backups").unwrap();
    let account = [
        ("AZURE_STORAGE_ACCOUNT_NAME", azurite::ACCOUNT.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", azurite::KEY.to_owned()),
        ("STRONGROOM_ENDPOINT", azurite.account_endpoint()),
    ];
    let mut sandbox = Sandbox::remote("", account);
    let endpoint = "https://complyaistorage.blob.core.windows.net";
    let older = json!({
        "s3": { "bucket": "comply-ai-backups", "region": "eastus", "endpoint_url": endpoint },
        "redis": { "host": "127.0.0.1", "port": redis.port() }
    });
    sandbox.write("backup-config.json", older.to_string());
    let imported = sandbox.run(["config", "import", "backup-config.json"]).assert_code(0);
    let imported = imported.assert_says(["AZURE_STORAGE_ACCOUNT_KEY"]);
    let imported = imported.assert_prints(["azure://comply-ai-backups/strongroom", "\"complyaistorage\""]);
    sandbox.set("STRONGROOM_CONFIG", sandbox.write("strongroom.toml", &imported.stdout));
    let _made = sandbox.run(["init"]).assert_code(0);
    let _ran = sandbox.run(["run", "redis"]).assert_code(0);
    assert_eq!(sandbox.snapshots().len(), 1);
}
