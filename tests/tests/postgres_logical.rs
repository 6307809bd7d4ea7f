//! `backup postgres` and `restore --to`, against a real server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::process::Command;

use strongroom_tests::sandbox::{Sandbox, id_of, run};
use strongroom_tests::services::postgres::Postgres;

/// What dumps stumble over.
const SHOP: &str = "
    CREATE SCHEMA sales;
    CREATE TYPE sales.state AS ENUM ('open', 'paid');
    CREATE TABLE sales.customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
        lower_name text GENERATED ALWAYS AS (lower(name)) STORED, favourite bigint);
    CREATE TABLE sales.orders (id serial PRIMARY KEY, customer bigint NOT NULL REFERENCES sales.customers, state sales.state,
        amount numeric(12,2), tags text[], document jsonb, raw bytea, at timestamptz);
    ALTER TABLE sales.customers ADD FOREIGN KEY (favourite) REFERENCES sales.orders DEFERRABLE INITIALLY DEFERRED;
    CREATE INDEX ON sales.orders (customer, at);
    CREATE TABLE sales.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
    CREATE TABLE sales.events_2024 PARTITION OF sales.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE sales.events_2025 PARTITION OF sales.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE \"odd/name%\" (\"a b\" text);
    CREATE FUNCTION sales.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER noted BEFORE UPDATE ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.noted();
    ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY;
    CREATE POLICY everybody ON sales.orders USING (true);
    INSERT INTO sales.customers (name) SELECT 'Customer ' || n FROM generate_series(1, 2000) n;
    INSERT INTO sales.orders (customer, state, amount, tags, document, raw, at)
        SELECT 1 + n % 2000, 'open', n / 7.0, ARRAY['a', E'tab\\there'], jsonb_build_object('n', n), decode(md5(n::text), 'hex'),
            '2025-01-01'::timestamptz + n * interval '1 minute' FROM generate_series(1, 20000) n;
    UPDATE sales.customers SET favourite = id;
    INSERT INTO sales.events SELECT '2024-01-01'::date + n % 700, E'line\\nbreak ' || n FROM generate_series(1, 3000) n;
    INSERT INTO \"odd/name%\" VALUES (NULL), (''), (E'\\\\.'), (E'back\\\\slash');
    CREATE MATERIALIZED VIEW sales.totals AS SELECT customer, sum(amount) AS total FROM sales.orders GROUP BY customer;
    SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex')), lo_from_bytea(0, 'second');
    COMMENT ON TABLE sales.orders IS 'what was ordered';";

/// A percent of it changes.
const NEXT_DAY: &str = "
    UPDATE sales.orders SET state = 'paid' WHERE id % 100 = 7;
    INSERT INTO sales.events VALUES ('2025-06-01', 'one more');
    REFRESH MATERIALIZED VIEW sales.totals;";

fn with_programs(command: &mut Command, server: &Postgres) {
    command.env("STRONGROOM_PG_BIN", server.binaries());
}

#[test]
fn databases_come_back_by_id_as_they_were() {
    for server in &mut Postgres::start_each().unwrap() {
        databases_come_back_by_id_as_they_were_on(server);
    }
}

fn databases_come_back_by_id_as_they_were_on(server: &Postgres) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_PG_BIN", server.binaries());
    server.psql("CREATE DATABASE shop").unwrap();
    server.psql("CREATE DATABASE \"a b'c\"").unwrap();
    server.psql("CREATE ROLE reader").unwrap();
    server.psql_in("shop", SHOP).unwrap();
    server.psql_in("a b'c", "CREATE TABLE one (n int); INSERT INTO one VALUES (1)").unwrap();
    let mut days = Vec::new();
    for day in 0..2 {
        if day > 0 {
            server.psql_in("shop", NEXT_DAY).unwrap();
        }
        let report = sandbox.backup(["postgres", "--dbname", &server.url("postgres")]);
        days.push((id_of(&report), server.text_of("shop").unwrap(), report));
    }
    assert!(days[1].2["new_bytes"].as_u64() < days[0].2["new_bytes"].as_u64(), "{days:?}");

    // An entry a table, and what is known of each.
    let listed = sandbox.run(["ls", &days[1].0]).assert_code(0);
    let _listed =
        listed.assert_prints(["globals.sql", "shop/data/sales.orders", "shop/data/public.odd%2Fname%25"]);
    assert!(
        String::from_utf8(sandbox.cat(&days[1].0, "globals.sql")).unwrap().contains("CREATE ROLE reader")
    );
    let shown = sandbox.run(["show", &days[1].0, "--json"]).assert_code(0).one("snapshot");
    let databases = shown["facts"]["databases"].as_array().unwrap();
    let shop = databases.iter().find(|database| database["name"] == "shop").unwrap();
    let rows = |table: &str| {
        let blocks = shop["archive"]["blocks"].as_array().unwrap();
        blocks.iter().find(|block| block["name"] == table).unwrap()["rows"].as_u64().unwrap()
    };
    for table in
        ["sales.customers", "sales.orders", "sales.events_2024", "sales.events_2025", "public.\"odd/name%\""]
    {
        let counted = server.psql_in("shop", &format!("SELECT count(*) FROM {table}")).unwrap();
        let name = table.split_once('.').unwrap().1.trim_matches('"');
        assert_eq!(rows(name).to_string(), counted.trim(), "{table}");
    }

    for (number, (id, text, _)) in days.iter().enumerate() {
        let name = format!("restored_{number}");
        server.psql(&format!("CREATE DATABASE {name}")).unwrap();
        let to = server.url(&name);
        let _which = sandbox.run(["restore", id, "--to", &to]).assert_code(2).assert_says(["--database"]);
        let restored = sandbox.run(["restore", id, "--to", &to, "--database", "shop"]).assert_code(0);
        let _said = restored.assert_prints(["restored database shop"]);
        assert!(server.text_of(&name).unwrap() == *text, "{name} differs");
        // What is there already is in the way, until it may be dropped.
        let _refused = sandbox
            .run(["restore", id, "--to", &to, "--database", "shop"])
            .assert_code(1)
            .assert_says(["already exists"]);
        let again =
            ["restore", id, "--to", &to, "--database", "shop", "--drop-existing", "--single-transaction"];
        let _again = sandbox.run(again).assert_code(0);
        assert!(server.text_of(&name).unwrap() == *text, "{name} differs after it was dropped");
    }
    let into = [
        "restore",
        &days[0].0,
        "--to",
        &server.url("postgres"),
        "--database",
        "a b'c",
        "--into",
        "restored_1",
        "--schema-only",
    ];
    let _other = sandbox.run(into).assert_code(0);
    assert_eq!(server.psql_in("restored_1", "SELECT count(*) FROM one").unwrap().trim(), "0");
    sandbox.assert_clean();
}

#[test]
fn a_table_comes_back_alone_with_what_belongs_to_it() {
    for server in &mut Postgres::start_each().unwrap() {
        a_table_comes_back_alone_with_what_belongs_to_it_on(server);
    }
}

fn a_table_comes_back_alone_with_what_belongs_to_it_on(server: &Postgres) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_PG_BIN", server.binaries());
    server.psql("CREATE DATABASE shop").unwrap();
    server.psql_in("shop", SHOP).unwrap();
    let id = id_of(&sandbox.backup(["postgres", "--dbname", &server.url("shop"), "--database", "shop"]));
    server.psql("CREATE DATABASE part").unwrap();
    let needed = "CREATE SCHEMA sales; CREATE TYPE sales.state AS ENUM ('open', 'paid');
        CREATE FUNCTION sales.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;";
    server.psql_in("part", needed).unwrap();
    let to = server.url("part");
    let restore = |tables: &[&str]| {
        let mut arguments = vec!["restore", &*id, "--json", "--to", &*to];
        tables.iter().for_each(|table| arguments.extend(["--table", table]));
        sandbox.run(arguments)
    };
    let count = |what: &str| {
        server.psql_in("part", &format!("SELECT count(*) FROM {what}")).unwrap().trim().to_owned()
    };
    let _typo = restore(&["sales.typo"]).assert_code(1).assert_says(["no table or schema `sales.typo`"]);

    let partitioned = restore(&["sales.events"]).assert_code(0);
    assert_eq!(
        (count("sales.events"), count("sales.events_2025")),
        ("3000".into(), count("sales.events WHERE at >= '2025-01-01'"))
    );
    let all = shown_bytes(&sandbox, &id);
    assert!(partitioned.one("restore")["bytes"].as_u64().unwrap() < all / 4, "{partitioned}");

    let alone = restore(&["sales.orders"]).assert_code(0);
    let _said = alone.assert_says(["orders_customer_fkey is left out"]);
    assert_eq!(count("sales.orders"), "20000");
    let of_orders = "WHERE tablename = 'orders'";
    assert_eq!(
        (count(&format!("pg_indexes {of_orders}")), count(&format!("pg_policies {of_orders}"))),
        ("2".into(), "1".into())
    );
    assert_eq!(count("pg_trigger WHERE tgname = 'noted'"), "1");
    server.psql_in("part", "INSERT INTO sales.orders (customer) VALUES (1)").unwrap();
    assert_eq!(count("sales.orders WHERE id = 20001"), "1", "its sequence goes on");
    server.psql_in("part", "DROP TABLE sales.orders").unwrap();

    let _both = restore(&["customers", "orders"]).assert_code(0);
    assert_eq!(
        (count("sales.customers"), count("pg_constraint WHERE contype = 'f'")),
        ("2000".into(), "2".into())
    );
    server.psql_in("part", "INSERT INTO sales.customers (name) VALUES ('new')").unwrap();
    assert_eq!(count("sales.customers WHERE id = 2001"), "1", "its identity goes on");
}

/// Of all that a snapshot holds.
fn shown_bytes(sandbox: &Sandbox, id: &str) -> u64 {
    sandbox.run(["show", id, "--json"]).assert_code(0).one("snapshot")["bytes"].as_u64().unwrap()
}

#[test]
fn what_goes_wrong_is_said_and_makes_no_snapshot() {
    for server in &mut Postgres::start_each().unwrap() {
        what_goes_wrong_is_said_and_makes_no_snapshot_on(server);
    }
}

fn what_goes_wrong_is_said_and_makes_no_snapshot_on(server: &Postgres) {
    let sandbox = Sandbox::new();
    server.psql("CREATE ROLE guest LOGIN").unwrap();
    server.psql("CREATE TABLE secret (n int); REVOKE ALL ON secret FROM PUBLIC").unwrap();
    let backup = |url: &str, more: &[&str]| {
        let mut command = sandbox.command(["backup", "postgres", "--dbname", url]);
        with_programs(&mut command, server);
        run(command.args(more)).assert_code(1)
    };
    let _gone = backup("postgres://postgres@127.0.0.1:1/postgres", &[])
        .assert_says(["psql failed", "onnection refused"]);
    let _typo = backup(&server.url("postgres"), &["--database", "shpo"])
        .assert_says(["no database `shpo`", "postgres"]);
    let guest = server.url("postgres").replace("postgres@", "guest@");
    let _denied = backup(&guest, &["--database", "postgres"]).assert_says([
        "pg_dump of postgres failed",
        "permission denied",
        "secret",
    ]);
    let nothing = sandbox.path("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let mut command =
        sandbox.command(["backup", "postgres", "--dbname", &server.url("postgres"), "--pg-bin"]);
    let _programs = run(command.arg(&nothing)).assert_code(1).assert_says(["psql", "--pg-bin"]);
    assert!(sandbox.snapshots().is_empty());
    // A snapshot of something else.
    let id = sandbox.backup_stream("x", b"data");
    let _other = sandbox
        .run(["restore", &id, "--to", &server.url("postgres")])
        .assert_code(2)
        .assert_says(["a snapshot of stdin is restored into a folder"]);
    sandbox.assert_clean();
}

#[test]
fn a_restore_is_proven_and_a_wrong_row_is_told() {
    for server in &mut Postgres::start_each().unwrap() {
        a_restore_is_proven_and_a_wrong_row_is_told_on(server);
    }
}

fn a_restore_is_proven_and_a_wrong_row_is_told_on(server: &Postgres) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_PG_BIN", server.binaries());
    server.psql("CREATE DATABASE shop").unwrap();
    server.psql("CREATE ROLE reader").unwrap();
    server.psql_in("shop", SHOP).unwrap();
    server.psql_in("shop", "GRANT SELECT ON sales.orders TO reader").unwrap();
    let arguments = ["postgres", "--dbname", &server.url("postgres"), "--fingerprints", "--dumps", "2"];
    let id = id_of(&sandbox.backup(arguments));
    let good = ["verify", &id, "--json", "--assert", "SELECT true"];
    let report = sandbox.run(good).assert_code(0).one("verify");
    assert_eq!(report["result"], "good", "{report}");
    let databases = report["databases"].as_array().unwrap();
    assert_eq!(databases.iter().map(|one| one["rows"].as_u64().unwrap()).sum::<u64>(), 25_004, "{report}");

    // In databases of a server that runs, which are gone afterwards.
    let there = || server.psql("SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database").unwrap();
    let before = there();
    let url = server.url("postgres");
    let report = sandbox.run(["verify", &id, "--json", "--scratch-url", &url]).assert_code(0).one("verify");
    assert_eq!(report["result"], "good", "{report}");
    assert_eq!(there(), before);

    let asserted =
        ["verify", &id, "--database", "shop", "--assert", "SELECT count(*) > 20000 FROM sales.orders"];
    let _told = sandbox.run(asserted).assert_code(4).assert_prints(["gave f", "does NOT restore as it was"]);

    // A restore that leaves a row as nobody wrote it, and one that loses what belongs to a table.
    for (sql, told) in [
        ("UPDATE sales.orders SET amount = amount + 1 WHERE id = 77", "table sales.orders has other rows"),
        (
            "DELETE FROM sales.events WHERE what LIKE $$%break 5$$",
            "table sales.events_2024 has 1663 rows, 1664 were backed up",
        ),
        ("DROP INDEX sales.orders_customer_at_idx", "index sales.orders_customer_at_idx is missing"),
        ("SELECT lo_unlink(oid) FROM pg_largeobject_metadata LIMIT 1", "large objects"),
    ] {
        let programs = server.programs_that_then(&sandbox.path("programs"), sql).unwrap();
        let mut command = sandbox.command(["verify", &id, "--database", "shop"]);
        let failed = run(command.env("STRONGROOM_PG_BIN", &programs)).assert_code(4);
        let _told = failed.assert_prints([told, "NOT as it was"]);
    }
    let log = sandbox.run(["journal", "export"]).assert_code(0);
    let _noted = log.assert_prints(["verify", "differs", "restore_seconds", "age_seconds"]);
    sandbox.assert_clean();
}

#[test]
fn parts_come_back_and_archives_for_pg_restore() {
    for server in &mut Postgres::start_each().unwrap() {
        parts_come_back_and_archives_for_pg_restore_on(server);
    }
}

fn parts_come_back_and_archives_for_pg_restore_on(server: &Postgres) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_PG_BIN", server.binaries());
    for database in ["shop", "whole", "part", "schema"] {
        server.psql(&format!("CREATE DATABASE {database}")).unwrap();
    }
    server.psql_in("shop", SHOP).unwrap();
    let id = id_of(&sandbox.backup(["postgres", "--dbname", &server.url("shop"), "--database", "shop"]));

    let archive = sandbox.path("shop.dump");
    let to_archive = ["restore", &id, "--to-archive", archive.to_str().unwrap()];
    let _written = sandbox.run(to_archive).assert_code(0).assert_prints(["wrote database shop"]);
    let _there = sandbox.run(to_archive).assert_code(2).assert_says(["is there already"]);
    let restored = server.client("pg_restore").args(["--dbname", "whole"]).arg(&archive).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    assert!(server.text_of("whole").unwrap() == server.text_of("shop").unwrap());

    // With two connections, without a table and the foreign keys that refer to it.
    let to = server.url("part");
    let without = ["restore", &id, "--to", &to, "--exclude-table", "sales.customers", "--jobs", "2"];
    let told = sandbox.run(without).assert_code(0);
    let _told = told.assert_says(["orders orders_customer_fkey is left out"]);
    assert_eq!(server.psql_in("part", "SELECT count(*) FROM sales.orders").unwrap(), "20000");
    assert_eq!(server.psql_in("part", "SELECT to_regclass('sales.customers') IS NULL").unwrap(), "t");

    let only = ["restore", &id, "--to", &server.url("schema"), "--schema", "sales"];
    let _restored = sandbox.run(only).assert_code(0);
    assert_eq!(server.psql_in("schema", "SELECT count(*) FROM sales.events").unwrap(), "3000");
    assert_eq!(
        server.psql_in("schema", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").unwrap(),
        "0"
    );

    // Limits of the dump itself.
    let limits = ["--schema", "sales", "--exclude-table-data", "sales.events*", "--fingerprints"];
    let url = server.url("shop");
    let limited = id_of(&sandbox.backup([&["postgres", "--dbname", url.as_str()][..], &limits[..]].concat()));
    let listed = sandbox.run(["ls", &limited]).assert_code(0);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(
        text.contains("sales.orders") && !text.contains("events") && !text.contains("globals.sql"),
        "{text}"
    );
    let _good = sandbox.run(["verify", &limited]).assert_code(0).assert_prints(["restores as it was"]);
}
