//! `backup postgres --jobs N`: one database over several connections is what one connection gives.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::Value;
use strongroom_tests::sandbox::{Sandbox, id_of, run};
use strongroom_tests::services::postgres::{PLATFORM_DATABASE, Postgres};

fn backup(sandbox: &Sandbox, server: &Postgres, database: &str, jobs: &str) -> Value {
    let url = server.url(database);
    sandbox.backup(["postgres", "--dbname", &url, "--database", database, "--fingerprints", "--jobs", jobs])
}

/// With the order, paths and numbers of its blocks.
fn facts_of(sandbox: &Sandbox, id: &str) -> Value {
    let mut shown = sandbox.run(["show", id, "--json"]).assert_code(0).one("snapshot");
    shown["facts"]["databases"].take()
}

#[test]
fn several_connections_give_what_one_gives() {
    for server in &Postgres::start_each().unwrap() {
        several_connections_give_what_one_gives_on(server);
    }
}

fn several_connections_give_what_one_gives_on(server: &Postgres) {
    server.generate_everything("everything").unwrap();
    let text = server.text_of("everything").unwrap();
    for order in [["1", "3"], ["4", "1"]] {
        let mut sandbox = Sandbox::new();
        sandbox.set("STRONGROOM_PG_BIN", server.binaries());
        let reports = order.map(|jobs| backup(&sandbox, server, "everything", jobs));
        let [first, second] = reports.map(|report| {
            let id = id_of(&report);
            (facts_of(&sandbox, &id), report, id)
        });
        assert_eq!(first.0, second.0);
        let added = |report: &Value| report["new_bytes"].as_u64().unwrap();
        assert!(added(&second.1) * 20 < added(&first.1), "{} {}", first.1, second.1);

        let id = if order[0] == "1" { second.2 } else { first.2 };
        for (name, more) in [("piped", &[][..]), ("side_by_side", &["--jobs", "3"])] {
            let name = format!("{name}_{}", order[0]);
            server.psql(&format!("CREATE DATABASE {name}")).unwrap();
            let to = server.url(&name);
            let _done = sandbox.run([&["restore", &*id, "--to", &to], more].concat()).assert_code(0);
            assert!(server.text_of(&name).unwrap() == text, "{name} differs");
        }
        let archive = sandbox.path("everything.dump");
        let to_archive = ["restore", &id, "--to-archive", archive.to_str().unwrap()];
        let _written = sandbox.run(to_archive).assert_code(0);
        let name = format!("by_pg_restore_{}", order[0]);
        server.psql(&format!("CREATE DATABASE {name}")).unwrap();
        let mut pg_restore = server.client("pg_restore");
        let restored =
            pg_restore.args(["--exit-on-error", "--dbname", &name]).arg(&archive).output().unwrap();
        assert!(restored.status.success(), "{restored:?}");
        assert!(server.text_of(&name).unwrap() == text, "{name} differs");

        let part = format!("part_{}", order[0]);
        server.psql(&format!("CREATE DATABASE {part}")).unwrap();
        server.psql_in(&part, "CREATE SCHEMA app").unwrap();
        let to = server.url(&part);
        let only = ["restore", &id, "--to", &to, "--table", "app.by_day", "--table", "app.toasted"];
        let _done = sandbox.run(only).assert_code(0);
        for table in ["app.by_day", "app.toasted"] {
            let sql = format!("SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t");
            assert_eq!(server.psql_in(&part, &sql).unwrap(), server.psql_in("everything", &sql).unwrap());
        }
        let verified = sandbox.run(["verify", &id, "--json"]).assert_code(0).one("verify");
        assert_eq!(verified["result"], "good", "{verified}");
        sandbox.assert_clean();
    }
}

#[test]
fn limits_hold_over_several_connections() {
    for server in &Postgres::start_each().unwrap() {
        let mut sandbox = Sandbox::new();
        sandbox.set("STRONGROOM_PG_BIN", server.binaries());
        server.generate_platform_database(2).unwrap();
        let url = server.url(PLATFORM_DATABASE);
        let limits = ["--exclude-table-data", "events", "--exclude-table", "payments"];
        let both = ["1", "2"].map(|jobs| {
            let arguments = ["postgres", "--dbname", &url, "--database", PLATFORM_DATABASE, "--jobs", jobs];
            facts_of(&sandbox, &id_of(&sandbox.backup([&arguments[..], &limits[..]].concat())))
        });
        assert_eq!(both[0], both[1]);
        let blocks = both[0][0]["archive"]["blocks"].as_array().unwrap();
        let names: Vec<_> = blocks.iter().map(|block| block["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["jobs", "users"]);
        // What is written meanwhile is of no snapshot: all of them read as of one moment.
        sandbox.assert_clean();
    }
}

#[test]
fn a_connection_that_fails_or_forgets_makes_no_snapshot() {
    for server in &Postgres::start_each().unwrap() {
        let mut sandbox = Sandbox::new();
        sandbox.set("STRONGROOM_PG_BIN", server.binaries());
        server.generate_platform_database(2).unwrap();
        let url = server.url(PLATFORM_DATABASE);
        let of_part =
            |script: &str| format!("case \" $* \" in *--data-only*) {script};; esac\nexec \"$REAL\" \"$@\"");
        for (script, said) in [
            ("\"$REAL\" \"$@\" | head -c 100000; kill -KILL $$", "signal: 9"),
            ("echo no such luck >&2; exit 1", "no such luck"),
            ("\"$REAL\" \"$@\" | head -c 100000; exit 0", "ends early"),
            // All is well, but for what it left out.
            (
                "exec \"$REAL\" \"$@\" --exclude-table=jobs --exclude-table=events",
                "what has data is read once",
            ),
        ] {
            let programs =
                server.programs_but(&sandbox.path("programs"), "pg_dump", &of_part(script)).unwrap();
            let mut command =
                sandbox.command(["backup", "postgres", "--dbname", &url, "--database", PLATFORM_DATABASE]);
            let failed =
                run(command.args(["--jobs", "2"]).env("STRONGROOM_PG_BIN", &programs)).assert_code(1);
            let _said = failed.assert_says(["no snapshot was made", said]);
            assert!(sandbox.snapshots().is_empty());
            server.wait_for_sessions("application_name = 'strongroom'", 0).unwrap();
        }
        let _good = backup(&sandbox, server, PLATFORM_DATABASE, "2");
        sandbox.assert_clean();
    }
}
