//! `backup clickhouse`, `restore --to` and `verify`, against real servers of two versions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::sandbox::{Sandbox, id_of};
use strongroom_tests::services::clickhouse::{ClickHouse, Version};

/// What dumps stumble over, in SQL that both versions take.
const SHOP: &str = "
CREATE DATABASE shop;
CREATE TABLE shop.orders (day Date, id UInt64, name String, amount Nullable(Int32), tags Array(String), state Enum8('open' = 1, 'paid, \\'all\\'' = 2),
    price Decimal(18, 2), raw FixedString(3), pair Tuple(UInt8, Nullable(String)), maybe Array(Nullable(Int16)), key UUID,
    twice UInt64 MATERIALIZED id * 2, drawn UInt64 MATERIALIZED rand64(), thrice UInt64 ALIAS id * 3, kind String DEFAULT concat('k', name))
    ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, id);
INSERT INTO shop.orders SELECT toDate('2024-01-15') + number % 60, number, concat('Customer\\t', toString(number)), if(number % 3 = 0, NULL, number),
    if(number % 5 = 0, emptyArrayString(), [toString(number), 'a']), if(number % 2 = 0, 'open', 'paid, \\'all\\''), toDecimal64(number, 2) / 4, 'abc',
    (number % 7, if(number % 2 = 0, NULL, 'x')), [NULL, number % 9], toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0'), 'kind'
    FROM system.numbers LIMIT 60000;
INSERT INTO shop.orders (day, id) SELECT toDate('2024-01-15') + number % 60, number * 3 FROM system.numbers LIMIT 500;
CREATE TABLE shop.by_day (day Date, count UInt64) ENGINE = SummingMergeTree ORDER BY day;
CREATE MATERIALIZED VIEW shop.to_by_day TO shop.by_day AS SELECT day, count() AS count FROM shop.orders GROUP BY day;
CREATE MATERIALIZED VIEW shop.per_state ENGINE = SummingMergeTree ORDER BY state AS SELECT state, count() AS count FROM shop.orders GROUP BY state;
INSERT INTO shop.orders (day, id) SELECT toDate('2024-01-15') + number % 60, number * 7 FROM system.numbers LIMIT 500;
CREATE TABLE shop.versions (id UInt64, version UInt64) ENGINE = ReplacingMergeTree(version) ORDER BY id;
INSERT INTO shop.versions SELECT number % 10, number FROM system.numbers LIMIT 100;
INSERT INTO shop.versions SELECT number % 10, number FROM system.numbers LIMIT 200;
CREATE TABLE shop.states (id UInt64, users AggregateFunction(uniq, UInt64)) ENGINE = AggregatingMergeTree ORDER BY id;
INSERT INTO shop.states SELECT number % 100 AS id, uniqState(number) FROM (SELECT number FROM system.numbers LIMIT 1000) GROUP BY id;
CREATE TABLE shop.nothing (id UInt64) ENGINE = MergeTree ORDER BY tuple();
CREATE TABLE shop.unordered (id UInt64, text String) ENGINE = MergeTree ORDER BY tuple();
INSERT INTO shop.unordered SELECT number, toString(number) FROM system.numbers LIMIT 1000;
CREATE TABLE shop.logged (id UInt64, text Nullable(String)) ENGINE = Log;
INSERT INTO shop.logged SELECT number, NULL FROM system.numbers LIMIT 100;
CREATE TABLE shop.remembered (id UInt64) ENGINE = Memory;
INSERT INTO shop.remembered SELECT number FROM system.numbers LIMIT 100;
CREATE TABLE shop.`odd/na.me%` (`a b` UInt8, text String) ENGINE = MergeTree ORDER BY `a b`;
INSERT INTO shop.`odd/na.me%` VALUES (1, 'x');
CREATE TABLE shop.buffer AS shop.unordered ENGINE = Buffer(shop, unordered, 1, 10, 100, 10000, 1000000, 10000000, 100000000);
CREATE VIEW shop.z_view AS SELECT id FROM shop.orders WHERE id > 3;
CREATE VIEW shop.a_view AS SELECT id FROM shop.z_view WHERE id > 5;
";

/// Types that only newer versions have.
const NEWER: &str = "
CREATE TABLE shop.newer (id UInt64, low LowCardinality(String), low_null LowCardinality(Nullable(String)), lows Array(LowCardinality(String)),
    map Map(String, Array(UInt8)), named Tuple(a UInt8, b Nullable(String)), at DateTime64(3), v4 IPv4, v6 IPv6, yes Bool, big Int256,
    pairs Array(Tuple(LowCardinality(String), UInt8)), point Point, late Date32)
    ENGINE = MergeTree PARTITION BY id % 2 ORDER BY id;
INSERT INTO shop.newer SELECT number, toString(number % 10), if(number % 4 = 0, NULL, toString(number % 9)), if(number % 2 = 0, [], [toString(number % 3)]),
    map('k', [1, 2]), (1, if(number % 2 = 0, NULL, 'z')), toDateTime64('2020-01-01 00:00:00', 3) + number, toIPv4(number), toIPv6('::1'), number % 2,
    -number, if(number % 3 = 0, [], [('a', 1)]), (1.5, number), toDate32('1950-01-01') FROM numbers(20000);
CREATE TABLE shop.opaque (id UInt64, json JSON, either Variant(UInt8, String), any Dynamic) ENGINE = MergeTree ORDER BY id;
INSERT INTO shop.opaque SELECT number, '{\"a\":1,\"b\":[1,2]}'::JSON, number::UInt8, number::Dynamic FROM numbers(1000);
CREATE DICTIONARY shop.dictionary (id UInt64, text String) PRIMARY KEY id SOURCE(CLICKHOUSE(TABLE 'unordered' DB 'shop')) LAYOUT(FLAT()) LIFETIME(0);
CREATE FUNCTION plus_one AS (x) -> x + 1;
";

fn start(version: Version) -> Option<ClickHouse> {
    let server = ClickHouse::start(version).unwrap()?;
    server.run(SHOP).unwrap();
    // Parts stay as they are: whether they are merged is nobody's business here, but text_of reads them several times.
    server.query("SYSTEM STOP MERGES").unwrap();
    if version == Version::Current {
        server.run(NEWER).unwrap();
    }
    Some(server)
}

#[track_caller]
fn assert_same(found: &str, expected: &str) {
    let different = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert_eq!(different, None);
    assert_eq!(found.lines().count(), expected.lines().count());
}

fn comes_back_as_it_was(version: Version) {
    let Some(mut server) = start(version) else { return };
    let sandbox = Sandbox::new();
    let url = server.url().unwrap();
    let first = sandbox.backup(["clickhouse", "--url", &url]);
    // What was worked out when it was inserted, and is not shown by itself.
    let drawn_in = |server: &ClickHouse, database: &str| {
        server.query(&format!("SELECT sum(twice), sum(drawn) FROM {database}.orders")).unwrap()
    };
    let before = (server.text_of("shop").unwrap(), drawn_in(&server, "shop"));
    server
        .query("INSERT INTO shop.orders (day, id, name) SELECT toDate('2024-02-20'), number * 11, 'new' FROM system.numbers LIMIT 600")
        .unwrap();
    let second = sandbox.backup(["clickhouse", "--url", &url]);
    let after = (server.text_of("shop").unwrap(), drawn_in(&server, "shop"));
    assert!(before != after);

    // An entry a partition, and what is known of each.
    let _listed = sandbox.run(["ls", &id_of(&second)]).assert_code(0).assert_prints([
        "databases/shop/create.sql",
        "databases/shop/orders/create.sql",
        "databases/shop/orders/partitions/202401",
        "databases/shop/odd%2Fna.me%25/partitions/all",
        "databases/shop/per_state/partitions/all",
        "databases/shop/logged/data",
    ]);
    let shown = sandbox.run(["show", &id_of(&second), "--json"]).assert_code(0).one("snapshot");
    let tables = shown["facts"]["tables"].as_array().unwrap();
    let orders = tables.iter().find(|table| table["name"] == "orders").unwrap();
    assert_eq!(orders["rows"], 61_600);
    let partitions = orders["partitions"].as_array().unwrap();
    assert!(partitions.len() == 3 && partitions.iter().all(|one| one["fingerprint"].is_string()), "{orders}");

    for (day, (text, drawn)) in [(&first, &before), (&second, &after)] {
        let (id, into) = (id_of(day), format!("restored_{}", &id_of(day)[..6]));
        let said = sandbox.run(["restore", &id, "--to", &url, "--into", &into]).assert_code(0);
        let _said = said.assert_prints(["tables and views"]);
        assert_same(&server.text_of(&into).unwrap(), text);
        assert_eq!(drawn_in(&server, &into), *drawn);
        server.query(&format!("DROP DATABASE {into}")).unwrap();
    }
    // Over what is there, by its own name.
    let _refused = sandbox.run(["restore", &id_of(&first), "--to", &url]).assert_code(1).assert_says([
        "is there already",
        "nothing was changed",
        "--drop-existing",
    ]);
    assert_same(&server.text_of("shop").unwrap(), &after.0);
    let restored = sandbox.run(["restore", &id_of(&first), "--to", &url, "--drop-existing"]);
    let _restored = restored.assert_code(0);
    assert_same(&server.text_of("shop").unwrap(), &before.0);

    // The next server start changes nothing, and so nothing is read.
    let third = sandbox.backup(["clickhouse", "--url", &url]);
    server.query("SYSTEM START MERGES").unwrap();
    server.restart().unwrap();
    server.query("SYSTEM STOP MERGES").unwrap();
    let fourth = sandbox.backup(["clickhouse", "--url", &server.url().unwrap()]);
    assert!(third["bytes"].as_u64().unwrap() > 1_000_000, "{third}");
    let is_little = fourth["new_bytes"].as_u64().unwrap() < third["bytes"].as_u64().unwrap() / 50;
    assert!(is_little, "{fourth}");
    sandbox.assert_clean();
}

#[test]
fn an_old_server_comes_back_by_id_as_it_was() {
    comes_back_as_it_was(Version::Old);
}

#[test]
fn a_current_server_comes_back_by_id_as_it_was() {
    comes_back_as_it_was(Version::Current);
}

#[test]
fn parts_are_restored() {
    for version in [Version::Old, Version::Current] {
        let Some(server) = start(version) else { continue };
        let sandbox = Sandbox::new();
        let url = server.url().unwrap();
        let id = id_of(&sandbox.backup(["clickhouse", "--url", &url]));
        let count = |table: &str| server.query(&format!("SELECT count(), sum(id) FROM {table}")).unwrap();
        let restore = |arguments: &[&str]| {
            let all: Vec<&str> =
                ["restore", &id, "--to", &url].into_iter().chain(arguments.iter().copied()).collect();
            sandbox.run(all)
        };
        // A table, under another name.
        let _one =
            restore(&["--table", "shop.orders", "--rename", "shop.orders=copies.orders_1"]).assert_code(0);
        assert_eq!(count("copies.orders_1"), count("shop.orders"));
        // A partition: of a table by itself, and back into the table it came from.
        let february =
            server.query("SELECT count(), sum(id) FROM shop.orders WHERE toYYYYMM(day) = 202402").unwrap();
        let part = ["--table", "shop.orders", "--partition", "202402"];
        let _alone = restore(&[&part[..], &["--into", "alone"]].concat()).assert_code(0);
        assert_eq!(count("alone.orders"), february);
        server.query("DROP TABLE shop.to_by_day").unwrap();
        server.query("DROP TABLE shop.per_state").unwrap();
        let all = count("shop.orders");
        let _there = restore(&part)
            .assert_code(1)
            .assert_says(["partition 202402 of shop.orders with rows is there already"]);
        server.query("ALTER TABLE shop.orders DROP PARTITION 202402").unwrap();
        let _back = restore(&part).assert_code(0);
        assert_eq!(count("shop.orders"), all);
        server.query("INSERT INTO shop.orders (day, id) SELECT toDate('2024-02-01'), number FROM system.numbers LIMIT 10").unwrap();
        let _again = restore(&[&part[..], &["--drop-existing"]].concat()).assert_code(0);
        assert_eq!(count("shop.orders"), all);
        // What makes it alone, and then the rows.
        let one = ["--table", "unordered", "--into", "steps"];
        let _schema = restore(&[&one[..], &["--schema-only"]].concat()).assert_code(0);
        assert_eq!(count("steps.unordered"), "0\t0\n");
        let _data = restore(&[&one[..], &["--data-only"]].concat()).assert_code(0);
        assert_eq!(count("steps.unordered"), count("shop.unordered"));
        // What there is not, and what does not go together.
        let _none =
            restore(&["--table", "shop.none"]).assert_code(1).assert_says(["there is no table shop.none"]);
        let _none =
            restore(&["--partition", "190001"]).assert_code(1).assert_says(["there is no partition 190001"]);
        let _odd = restore(&["--single-transaction"])
            .assert_code(2)
            .assert_says(["--single-transaction is not for"]);
        let _odd = restore(&["--rename", "a=b"]).assert_code(2);
    }
}

#[test]
fn restores_are_tested() {
    for version in [Version::Old, Version::Current] {
        let Some(server) = start(version) else { continue };
        let mut sandbox = Sandbox::new();
        let url = server.url().unwrap();
        let _day = sandbox.backup(["clickhouse", "--url", &url]);
        let good =
            sandbox.run(["verify", "--scratch-url", &url, "--assert", "SELECT count() > 60000 FROM orders"]);
        let _good = good.assert_code(0).assert_prints(["restores as it was"]);
        let wrong = sandbox.run(["verify", "--scratch-url", &url, "--assert", "SELECT count() FROM orders"]);
        let _wrong = wrong.assert_code(4).assert_prints(["the assertion", "61000"]);
        let left =
            server.query("SELECT count() FROM system.databases WHERE name LIKE 'strongroom%'").unwrap();
        assert_eq!(left, "0\n");
        if version == Version::Old {
            let own =
                sandbox.run(["verify", "--json", "--clickhouse-bin", server.program().to_str().unwrap()]);
            let report = own.assert_code(0).one("verify");
            assert_eq!(report["result"], "good", "{report}");
            assert!(report["databases"][0]["rows"].as_u64().unwrap() > 60_000, "{report}");
            sandbox.set("PATH", "/nonexistent");
            let none = sandbox.run(["verify", "--clickhouse-bin", "/nonexistent"]).assert_code(1);
            let _none = none.assert_says(["no scratch server"]);
        }
    }
}

#[test]
fn what_was_merged_gives_the_same_bytes() {
    for version in [Version::Old, Version::Current] {
        let Some(server) = ClickHouse::start(version).unwrap() else { continue };
        server.query("CREATE DATABASE merged").unwrap();
        // The second insert has rows between those of the first, and others with the same keys. Of tables without a key, newer
        // servers cut blocks otherwise when they need not sort.
        let tables = [("keyed", "key"), ("unkeyed", "tuple()")];
        let tables = if version == Version::Old { &tables[..] } else { &tables[..1] };
        for (table, key) in tables {
            let columns = "(key UInt64, text String)";
            server
                .query(&format!("CREATE TABLE merged.{table} {columns} ENGINE = MergeTree ORDER BY {key}"))
                .unwrap();
            for (what, step) in [("first", 2), ("second", 3)] {
                let rows = format!(
                    "SELECT number * {step}, concat('{what} ', toString(number)) FROM system.numbers"
                );
                server.query(&format!("INSERT INTO merged.{table} {rows} LIMIT 100000")).unwrap();
            }
        }
        let sandbox = Sandbox::new();
        let url = server.url().unwrap();
        let apart = sandbox.backup(["clickhouse", "--url", &url]);
        for (table, _) in tables {
            server.query(&format!("OPTIMIZE TABLE merged.{table} FINAL")).unwrap();
        }
        let counted = "SELECT count() FROM system.parts WHERE active AND database = 'merged'";
        assert_eq!(server.query(counted).unwrap().trim(), tables.len().to_string());
        let merged = sandbox.backup(["clickhouse", "--url", &url]);
        assert_eq!(apart["bytes"], merged["bytes"], "{version:?}");
        assert_eq!(merged["new_bytes"], 0, "{version:?} {merged}");
    }
}

#[test]
fn what_a_server_does_by_itself_changes_nothing_of_what_is_restored() {
    let Some(server) = ClickHouse::start(Version::Current).unwrap() else { return };
    server
        .run(
            "
CREATE DATABASE old;
CREATE TABLE old.events (day Date, id UInt64) ENGINE = MergeTree ORDER BY id TTL day + INTERVAL 1 DAY;
SYSTEM STOP MERGES old.events;
INSERT INTO old.events SELECT toDate('2020-01-01'), number FROM numbers(1000);
CREATE MATERIALIZED VIEW old.hourly REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY n EMPTY AS SELECT count() AS n FROM old.events;
SYSTEM REFRESH VIEW old.hourly;
SYSTEM WAIT VIEW old.hourly;
SYSTEM STOP VIEW old.hourly;
INSERT INTO old.events SELECT toDate('2020-01-01'), number FROM numbers(1000);
CREATE TABLE old.`.tmp.inner_id.x` (n UInt64) ENGINE = MergeTree ORDER BY n;
",
        )
        .unwrap();
    let sandbox = Sandbox::new();
    let url = server.url().unwrap();
    let id = id_of(&sandbox.backup(["clickhouse", "--url", &url]));
    let listed = sandbox.run(["ls", &id]).assert_code(0).text();
    assert!(listed.contains("old/hourly/") && !listed.contains(".tmp"), "{listed}");
    let restored = sandbox.run(["restore", &id, "--to", &url, "--into", "again"]).assert_code(0);
    let _told = restored.assert_says(["again.events has a TTL", "SYSTEM START TTL MERGES `again`.`events`"]);
    server.query("OPTIMIZE TABLE again.events FINAL").unwrap();
    assert_eq!(server.query("SELECT count() FROM again.events").unwrap(), "2000\n");
    // As it was when its time came the last time.
    assert_eq!(server.query("SELECT n FROM again.hourly").unwrap(), "1000\n");
    let shown = server.query("SELECT status FROM system.view_refreshes WHERE database = 'again'").unwrap();
    assert_eq!(shown, "Scheduled\n");
    let _tested = sandbox.run(["verify", &id, "--scratch-url", &url]).assert_code(0);
}
