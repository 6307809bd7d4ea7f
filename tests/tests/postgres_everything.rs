//! A database with everything that `pg_dump` knows how to dump comes back as it was.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::Value;
use strongroom_tests::sandbox::{Sandbox, id_of};
use strongroom_tests::services::postgres::Postgres;

/// A percent of it changes.
const NEXT_DAY: &str = "
    UPDATE app.types SET t = t || ' changed', bytes = bytes || '\\xff00'::bytea WHERE id % 100 = 7;
    INSERT INTO app.by_day SELECT '2024-03-01'::date + i, 10000 + i, 'eu' FROM generate_series(1, 30) i;
    DELETE FROM app.by_day WHERE n % 100 = 3;
    UPDATE app.b SET a = 77 WHERE id % 100 = 1;
    REFRESH MATERIALIZED VIEW app.totals;
    REFRESH MATERIALIZED VIEW app.totals_of_totals;
    REFRESH MATERIALIZED VIEW app.not_yet;
    SELECT nextval('app.alone');
    SELECT lo_put(5000001, 3, 'changed'), lo_unlink(5000002), lo_from_bytea(5000009, 'new');
    INSERT INTO app.no_columns DEFAULT VALUES;
    ALTER TABLE x.\"y.z\" ADD COLUMN more int DEFAULT 5;";

/// Of the only database of a snapshot: what is the same however often it is restored.
fn facts_of(sandbox: &Sandbox, id: &str) -> Value {
    let mut shown = sandbox.run(["show", id, "--json"]).assert_code(0).one("snapshot");
    let mut database = shown["facts"]["databases"][0].take();
    for changing in ["name", "size"] {
        database[changing].take();
    }
    for block in database["archive"]["blocks"].as_array_mut().unwrap() {
        block["id"].take();
        block["path"].take();
    }
    // Two blocks of large objects would come in any order.
    let blocks = database["archive"]["blocks"].as_array_mut().unwrap();
    blocks.sort_by_key(|block| {
        (block["schema"].to_string(), block["name"].to_string(), block["fingerprint"].to_string())
    });
    database
}

#[test]
fn everything_comes_back_by_id_as_it_was() {
    for server in &Postgres::start_each().unwrap() {
        everything_comes_back_by_id_as_it_was_on(server);
    }
}

fn everything_comes_back_by_id_as_it_was_on(server: &Postgres) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_PG_BIN", server.binaries());
    server.generate_everything("everything").unwrap();
    let backup = |database: &str| {
        let url = server.url(database);
        sandbox.backup(["postgres", "--dbname", &url, "--database", database, "--fingerprints"])
    };
    let mut days = Vec::new();
    for day in 0..2 {
        if day > 0 {
            server.psql_in("everything", NEXT_DAY).unwrap();
        }
        let report = backup("everything");
        days.push((id_of(&report), server.text_of("everything").unwrap(), report));
    }
    let new_bytes = |day: usize| days[day].2["new_bytes"].as_u64().unwrap();
    assert!(days[0].1 != days[1].1 && new_bytes(1) < new_bytes(0), "{} {}", new_bytes(0), new_bytes(1));

    for (number, (id, text, _)) in days.iter().enumerate() {
        for (how, more) in
            [("piped", &[][..]), ("in_one", &["--single-transaction"]), ("side_by_side", &["--jobs", "2"])]
        {
            let name = format!("{how}_{number}");
            server.psql(&format!("CREATE DATABASE {name}")).unwrap();
            let to = server.url(&name);
            let _done = sandbox.run([&["restore", id, "--to", &to], more].concat()).assert_code(0);
            assert_same(&server.text_of(&name).unwrap(), text);
            let again = id_of(&backup(&name));
            assert_eq!(facts_of(&sandbox, &again), facts_of(&sandbox, id), "{name}");
        }
        // In place of what is there.
        let name = format!("piped_{number}");
        server
            .psql_in(
                &name,
                "DELETE FROM app.types; DROP TABLE app.by_day_2024_rest_1; DROP TYPE app.span CASCADE",
            )
            .unwrap();
        let to = server.url(&name);
        let _done = sandbox.run(["restore", id, "--to", &to, "--drop-existing"]).assert_code(0);
        assert_same(&server.text_of(&name).unwrap(), text);
        let verified = sandbox.run(["verify", id, "--json"]).assert_code(0).one("verify");
        assert_eq!(verified["result"], "good", "{verified}");
    }
    sandbox.assert_clean();
}

#[track_caller]
fn assert_same(text: &str, expected: &str) {
    if text != expected {
        let (mut one, mut other) = (text.lines(), expected.lines());
        let differing = (&mut one).zip(&mut other).find(|(one, other)| one != other);
        panic!("it differs: {differing:?}");
    }
}

#[test]
fn a_wrong_row_of_anything_is_told() {
    for server in &Postgres::start_each().unwrap() {
        a_wrong_row_of_anything_is_told_on(server);
    }
}

fn a_wrong_row_of_anything_is_told_on(server: &Postgres) {
    let mut sandbox = Sandbox::new();
    sandbox.set("STRONGROOM_PG_BIN", server.binaries());
    server.generate_everything("everything").unwrap();
    let url = server.url("everything");
    let id = id_of(&sandbox.backup(["postgres", "--dbname", &url, "--database", "everything"]));
    for (sql, told) in [
        (
            "UPDATE app.types SET bytes = set_byte(bytes, 99, 98) WHERE id = 121",
            "table app.types has other rows",
        ),
        ("UPDATE app.types SET t = NULL WHERE id = 121", "table app.types has other rows"),
        (
            "DELETE FROM app.by_day_2024_rest_1 WHERE n = 214 OR n = 217 OR n % 10 = 1",
            "app.by_day_2024_rest_1 has ",
        ),
        ("UPDATE \"Odd \"\"Schema\"\" of ünïcode\".\".\" SET n = 5", ".. has other rows"),
        ("DELETE FROM app.no_columns", "table app.no_columns has 0 rows, 2 were backed up"),
        ("SELECT lo_put(5000001, 7, $$x$$)", "large objects have other bytes"),
        ("SELECT setval($$app.alone$$, 1)", "sequence set app.alone"),
        ("DROP POLICY mine ON app.b", "policy app.b mine is missing"),
        ("DROP STATISTICS app.together", "statistics app.together is missing"),
        ("DROP EXTENSION unaccent", "extension unaccent is missing"),
        ("DROP EVENT TRIGGER watched", "event trigger watched is missing"),
        ("DROP PUBLICATION \"some\"", "publication some is missing"),
        ("REVOKE ALL ON SCHEMA app FROM \"everything reader\"", "acl SCHEMA app (GRANT"),
    ] {
        let programs = server.programs_that_then(&sandbox.path("programs"), sql).unwrap();
        let verify = ["verify", &id, "--pg-bin", programs.to_str().unwrap()];
        let _told = sandbox.run(verify).assert_code(4).assert_prints([told, "does NOT restore as it was"]);
    }
}
