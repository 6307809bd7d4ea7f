//! The disaster drill: everything is gone but the repository and the recovery key, the key management service too. What the README has
//! under "When everything else is gone" brings all engines back, on a host that knows nothing, into servers that have nothing.
//!
//! `cargo xtask drill` runs it with as much data as is wished, and holds the times against the runbooks' objectives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::{Duration, Instant};

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Sandbox, text};
use strongroom_tests::services::clickhouse::{ClickHouse, Version};
use strongroom_tests::services::ledger::{Node, inspect};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::Moto;
use strongroom_tests::services::opensearch::{OLDER, Opensearch};
use strongroom_tests::services::postgres::Postgres;
use strongroom_tests::services::redis::Redis;

/// How many times the data: what `cargo xtask drill` sets.
const SCALE_VARIABLE: &str = "STRONGROOM_TEST_DRILL_SCALE";
/// Documents that are sent at once, and that are compared one by one.
const DOCUMENTS_AT_ONCE: u64 = 5000;
/// What the runbooks allow for a source, the shortest of them, minutes; for all of a platform an hour.
const OBJECTIVES: [(&str, u64); 6] = [
    ("coordinator-db", 15),
    ("redis", 5),
    ("clickhouse", 30),
    ("opensearch", 120),
    ("uploads", 120),
    ("ledger", 120),
];

fn scale() -> u64 {
    std::env::var(SCALE_VARIABLE).map_or(1, |scale| scale.parse().unwrap())
}

/// The servers of one site.
struct Site {
    postgres: Postgres,
    redis: Redis,
    clickhouse: ClickHouse,
    opensearch: Opensearch,
}

impl Site {
    fn start() -> Option<Self> {
        Some(Self {
            postgres: Postgres::start().unwrap()?,
            redis: Redis::start_each(&["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"])
                .unwrap()
                .into_iter()
                .next()?,
            clickhouse: ClickHouse::start(Version::Old).unwrap()?,
            opensearch: Opensearch::start(OLDER).unwrap()?,
        })
    }

    fn fill(&self, scale: u64) {
        self.postgres.psql("CREATE DATABASE shop").unwrap();
        let sql = format!(
            "CREATE TABLE orders AS SELECT n, md5(n::text) AS text FROM generate_series(1, {}) AS n;
            ALTER TABLE orders ADD PRIMARY KEY (n)",
            2000 * scale
        );
        self.postgres.psql_in("shop", &sql).unwrap();
        let script = format!(
            "for i = 1, {} do redis.call('HSET', 'cart:' .. i, 'items', i) end return 1",
            500 * scale
        );
        let _filled = self.redis.eval(&script).unwrap();
        let sql = format!(
            "CREATE DATABASE events;\n\
            CREATE TABLE events.clicks (day Date, n UInt64) ENGINE = MergeTree(day, n, 8192);\n\
            INSERT INTO events.clicks SELECT toDate('2026-01-01') + number % 60, number FROM system.numbers LIMIT {};\n",
            5000 * scale
        );
        self.clickhouse.run(&sql).unwrap();
        let documents = 300 * scale;
        for first in (0..documents).step_by(usize::try_from(DOCUMENTS_AT_ONCE).unwrap()) {
            let line = |n| format!("{{\"index\":{{\"_id\":\"{n}\"}}}}\n{{\"n\":{n}}}\n");
            let lines: String = (first..documents.min(first + DOCUMENTS_AT_ONCE)).map(line).collect();
            let said = self.opensearch.ask("POST", "/catalog/_bulk?refresh=true", &lines).unwrap();
            assert_eq!(said["errors"], false);
        }
    }

    /// All documents, or of many what they come to.
    fn catalog(&self) -> String {
        let asked = r#"{"size":0,"track_total_hits":true,"aggs":{"n":{"extended_stats":{"field":"n"}}}}"#;
        let found = self.opensearch.ask("POST", "/catalog/_search", asked).unwrap();
        let total = &found["hits"]["total"]["value"];
        if total.as_u64().unwrap() <= DOCUMENTS_AT_ONCE {
            return format!("{:?}", self.opensearch.documents("catalog").unwrap());
        }
        format!("{total} {}", found["aggregations"])
    }

    /// What each of them holds, to be the same again.
    fn contents(&self) -> [String; 4] {
        let orders = "SELECT count(*), md5(string_agg(text, ',' ORDER BY n)) FROM orders";
        let clicks = "SELECT count(), sum(n), groupBitXor(cityHash64(day, n)) FROM events.clicks";
        [
            self.postgres.psql_in("shop", orders).unwrap(),
            self.redis.digest().unwrap(),
            self.clickhouse.query(clicks).unwrap(),
            self.catalog(),
        ]
    }
}

#[test]
fn all_engines_come_back_from_the_repository_and_the_recovery_key() {
    let Some(minio) = Minio::shared().unwrap() else { return };
    let Some(moto) = Moto::start().unwrap() else { return };
    let Some(site) = Site::start() else { return };
    let scale = scale();
    let objects = u32::try_from(20 * scale).unwrap();
    let client = minio.client();
    for bucket in ["backups", "uploads", "uploads-new"] {
        client.create_bucket(bucket).unwrap();
    }
    for number in 0..objects {
        client.put("uploads", &format!("{}/{number}", number % 3), &noise(5000, number.into())).unwrap();
    }
    let kms = moto.client();
    kms.create_alias("alias/backup", &kms.create_key("of the drill").unwrap()).unwrap();
    site.fill(scale);

    let mut sandbox = Sandbox::on_aws("s3://backups/prod", minio.root(), &minio.endpoint(), &moto.endpoint());
    let data = sandbox.path("node");
    let Some(mut node) = Node::start(&data, &sandbox.path("log")).unwrap() else { return };
    let (height, head) = node.order(&format!("append {} 2000", 300 * scale)).unwrap();
    let made = sandbox.run(["--json", "key", "generate-recovery", "recovery.key"]).assert_code(0);
    let public = text(&made.one("recovery_key")["public"]);
    let _made =
        sandbox.run(["init", "--recipient", "aws-kms:alias/backup", "--recipient", &public]).assert_code(0);
    let configuration = format!(
        r#"
        schedule = "0 2 * * *"
        [sources.coordinator-db]
        engine = "postgres"
        url = "{}"
        database = ["shop"]
        rto = "1h"
        [sources.redis]
        engine = "redis"
        url = "{}"
        rto = "15m"
        [sources.clickhouse]
        engine = "clickhouse"
        url = "{}"
        rto = "30m"
        [sources.opensearch]
        engine = "opensearch"
        url = "{}"
        rto = "2h"
        [sources.uploads]
        engine = "s3"
        bucket = "uploads"
        rto = "2h"
        [sources.ledger]
        engine = "ledger"
        path = "{}"
        exclude = ["LOG*"]
        rto = "2h"
        "#,
        site.postgres.url("shop"),
        site.redis.url(),
        site.clickhouse.url().unwrap(),
        site.opensearch.url(),
        data.display()
    );
    sandbox.write("strongroom.toml", configuration);
    sandbox.set("STRONGROOM_PG_BIN", site.postgres.binaries().display().to_string());
    let _done = sandbox.run(["--config", "strongroom.toml", "run", "--only", "backup"]).assert_code(0);
    let contents = site.contents();

    // The site is gone: servers, hosts with their caches and configuration, the account with its keys.
    drop((site, node, moto));
    let mut host = sandbox.other_host();
    std::fs::copy(sandbox.path("recovery.key"), host.path("recovery.key")).unwrap();
    drop(sandbox);
    let Some(site) = Site::start() else { return };
    host.set("STRONGROOM_KEY_FILE", host.path("recovery.key"));
    host.set("STRONGROOM_S3_ENDPOINT", minio.endpoint());

    let (began, mut took) = (Instant::now(), Vec::new());
    let listed = host.run(["snapshots", "--latest"]).assert_code(0);
    let _all =
        listed.assert_prints(["coordinator-db", "redis", "clickhouse", "opensearch", "uploads", "ledger"]);
    let postgres = site.postgres.url("postgres");
    let clickhouse = site.clickhouse.url().unwrap();
    let ledger = host.path("node");
    for (source, rest) in [
        ("coordinator-db", vec!["--to", &postgres, "--database", "shop", "--create"]),
        ("redis", vec!["--to", &site.redis.url()]),
        ("clickhouse", vec!["--to", &clickhouse]),
        ("opensearch", vec!["--to", &site.opensearch.url()]),
        ("uploads", vec!["--to", "s3://uploads-new"]),
        ("ledger", vec!["--target", ledger.to_str().unwrap()]),
    ] {
        let began = Instant::now();
        let snapshot = format!("latest:{source}");
        let _restored = host.run(["restore", &snapshot].into_iter().chain(rest)).assert_code(0);
        took.push((source, began.elapsed()));
    }
    let all = began.elapsed();

    assert_eq!(site.contents(), contents);
    for number in 0..objects {
        let key = format!("{}/{number}", number % 3);
        assert_eq!(client.get("uploads-new", &key).unwrap(), noise(5000, number.into()), "{key}");
    }
    let found = inspect(&ledger).unwrap();
    assert_eq!((found["height"].as_u64(), found["head"].as_str()), (Some(height), Some(&*head)), "{found}");
    assert!(found["holds"] == true && found["integrity"][0] == "ok", "{found}");
    let _whole = host.run(["check", "--read-data"]).assert_code(0);
    // That somebody did all this is in the audit trail.
    let trail = host.run(["audit", "--kind", "restore", "--json"]).assert_code(0);
    assert!(trail.json_lines().len() >= 6, "{trail}");

    for ((source, took), (of, minutes)) in took.iter().zip(OBJECTIVES) {
        assert_eq!(*source, of);
        println!("{source}: {:.1} s of {minutes} min", took.as_secs_f64());
        assert!(*took <= Duration::from_secs(60 * minutes), "{source} took {took:?}");
    }
    println!("all: {:.1} s of 60 min", all.as_secs_f64());
    assert!(all <= Duration::from_secs(60 * 60), "all took {all:?}");
}
