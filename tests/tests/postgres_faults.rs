//! `backup postgres` when the server, its programs or the way to it fail: it says why, there is no snapshot, and nothing of it
//! goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use rustix::process::Signal;
use strongroom_tests::sandbox::{Ran, Running, Sandbox};
use strongroom_tests::services::postgres::{Postgres, installations};

/// More than a pipe and the archive's head.
const ROWS: &str = "CREATE TABLE rows AS SELECT n, md5(n::text) FROM generate_series(1, 50000) n";

const OURS: &str = "application_name = 'strongroom'";

/// A server with something to back up, and a place to do it.
struct Scene<'s> {
    server: &'s Postgres,
    sandbox: Sandbox,
}

impl<'s> Scene<'s> {
    fn new(server: &'s Postgres) -> Self {
        let mut sandbox = Sandbox::new();
        sandbox.set("STRONGROOM_PG_BIN", server.binaries());
        server.psql(ROWS).unwrap();
        Self { server, sandbox }
    }

    fn arguments<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["backup", "postgres", "--database", "postgres", "--dbname", url], more].concat()
    }

    #[track_caller]
    fn fails(&self, url: &str, more: &[&str]) -> Ran {
        self.failed(self.sandbox.run(Self::arguments(url, more)).assert_code(1))
    }

    #[track_caller]
    fn failed(&self, ran: Ran) -> Ran {
        assert!(ran.stdout.is_empty(), "{ran}");
        assert!(self.sandbox.snapshots().is_empty(), "{ran}");
        self.server.wait_for_sessions(OURS, 0).unwrap();
        ran
    }

    fn start(&self) -> Running {
        self.sandbox.start(Self::arguments(&self.server.url("postgres"), &[]))
    }

    /// Starts one that waits for the lock on a table that somebody else holds.
    fn start_waiting(&self) -> Running {
        let running = self.start();
        self.server.wait_for_sessions(&format!("{OURS} AND wait_event_type = 'Lock'"), 1).unwrap();
        running
    }

    /// With another program in the place of pg_dump.
    #[track_caller]
    fn fails_with(&self, script: &str) -> Ran {
        let programs = self.server.programs_but(&self.sandbox.path("programs"), "pg_dump", script).unwrap();
        let url = self.server.url("postgres");
        let mut command = self.sandbox.command(Self::arguments(&url, &[]));
        let ran = strongroom_tests::sandbox::run(command.env("STRONGROOM_PG_BIN", &programs));
        self.failed(ran.assert_code(1))
    }

    /// All is as if nothing had happened.
    fn goes_on(&self) {
        let url = self.server.url("postgres");
        let _good = self.sandbox.run(Self::arguments(&url, &[])).assert_code(0);
        self.sandbox.assert_clean();
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_said_with_what_to_do() {
    for server in &mut Postgres::start_each().unwrap() {
        server.add_role_with_password("locked", "right").unwrap();
        let scene = Scene::new(server);
        let _down = scene.fails("postgres://postgres@127.0.0.1:1/postgres", &[]).assert_says([
            "no snapshot was made",
            "onnection refused",
            "hint: is the server up",
        ]);
        let locked =
            |password: &str| server.url("postgres").replace("postgres@", &format!("locked{password}@"));
        let wrong = scene.fails(&locked(":geheim"), &[]).assert_says([
            "password authentication failed",
            "\"locked\"",
            "hint: give the right password",
        ]);
        assert!(!wrong.stderr.contains("geheim"), "{wrong}");
        let _none = scene.fails(&locked(""), &[]).assert_says(["no password supplied", "PGPASSWORD"]);
        let _nowhere = scene.fails(&server.url("nowhere"), &[]).assert_says(["\"nowhere\" does not exist"]);
        scene.goes_on();
    }
}

#[test]
fn programs_that_are_older_than_the_server_are_refused() {
    let installations = installations().unwrap();
    let [older, newer, ..] = installations.as_slice() else { return };
    let server = Postgres::start_of(newer, &[]).unwrap();
    let scene = Scene::new(&server);
    let older = older.to_str().unwrap();
    let _refused = scene.fails(&server.url("postgres"), &["--pg-bin", older]).assert_says([
        "there is no pg_dump for a server of version",
        "there is one of",
        "--pg-bin",
    ]);
    scene.goes_on();
}

#[test]
fn what_may_not_be_read_is_named() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        let sql = "CREATE ROLE guest LOGIN; GRANT SELECT ON rows TO guest; CREATE TABLE secret (n int);
            CREATE TABLE own (n int); GRANT SELECT ON own TO guest; ALTER TABLE own ENABLE ROW LEVEL SECURITY";
        server.psql(sql).unwrap();
        let guest = server.url("postgres").replace("postgres@", "guest@");
        let _denied = scene.fails(&guest, &[]).assert_says([
            "no snapshot was made",
            "permission denied for table secret",
            "hint: ",
            "--exclude-table",
        ]);
        // Never only the rows that a policy shows.
        let _policy = scene
            .fails(&guest, &["--exclude-table", "secret"])
            .assert_says(["affected by row-level security policy for table \"own\""]);
        scene.goes_on();
    }
}

#[test]
fn a_table_that_is_dropped_meanwhile_fails_the_dump() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        server.psql("CREATE TABLE going (n int)").unwrap();
        let mut other = server.hold("postgres", "LOCK TABLE going").unwrap();
        let running = scene.start_waiting();
        other.say("DROP TABLE going; COMMIT").unwrap();
        let _said = scene.failed(running.wait().assert_code(1)).assert_says([
            "no snapshot was made",
            "pg_dump of postgres failed",
            "going",
            "run it again",
        ]);
        scene.goes_on();
    }
}

#[test]
fn a_dump_that_ends_in_the_middle_is_none() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        let ends = |script: &str, said: &str| {
            let _said = scene.fails_with(script).assert_says(["no snapshot was made", said]);
        };
        for bytes in [0, 100, 3000, 300_000] {
            ends(&format!("\"$REAL\" \"$@\" | head -c {bytes}; kill -KILL $$"), "signal: 9");
            ends(
                &format!("\"$REAL\" \"$@\" | head -c {bytes}; echo no such luck >&2; exit 3"),
                "no such luck",
            );
            // It says that all is well.
            let said = if bytes == 0 { "no archive" } else { "ends early" };
            ends(&format!("\"$REAL\" \"$@\" | head -c {bytes}"), said);
        }
        ends("\"$REAL\" \"$@\"; kill -KILL $$", "signal: 9");
        ends("echo what is this", "no archive");
        scene.goes_on();
    }
}

#[test]
fn a_connection_that_is_cut_fails_the_backup() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        server.psql("CREATE TABLE taken (n int)").unwrap();
        let other = server.hold("postgres", "LOCK TABLE taken").unwrap();
        let running = scene.start_waiting();
        server.end_sessions(&format!("{OURS} AND wait_event_type = 'Lock'")).unwrap();
        let _cut = scene.failed(running.wait().assert_code(1)).assert_says([
            "no snapshot was made",
            "pg_dump of postgres failed",
            "terminating connection",
            "hint: nothing was committed; run it again",
        ]);
        drop(other);

        // The session that the facts are taken in, before pg_dump reads what it exported.
        let psql = server.binaries().join("psql");
        let (psql, url) = (psql.display(), server.url("postgres"));
        let held = format!("FROM pg_stat_activity WHERE {OURS} AND state = 'idle in transaction'");
        let _cut = scene
            .fails_with(&format!(
                "sql() {{ PGAPPNAME=x '{psql}' -XAtq -d '{url}' -c \"$1\"; }}\n\
                 sql \"SELECT pg_terminate_backend(pid) {held}\" >/dev/null\n\
                 while [ \"$(sql \"SELECT count(*) {held}\")\" != 0 ]; do :; done\nexec \"$REAL\" \"$@\""
            ))
            .assert_says([
                "no snapshot was made",
                "pg_dump of postgres failed",
                "the session that held the snapshot was ended",
            ]);
        scene.goes_on();
    }
}

/// From then on pg_dump holds what it reads itself.
#[test]
fn a_dump_that_has_begun_does_not_need_the_session_of_the_facts() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        server.psql("CREATE TABLE taken (n int)").unwrap();
        let other = server.hold("postgres", "LOCK TABLE taken").unwrap();
        let running = scene.start_waiting();
        server.end_sessions(&format!("{OURS} AND state = 'idle in transaction'")).unwrap();
        server.psql("INSERT INTO rows VALUES (-1, 'after the snapshot')").unwrap();
        drop(other);
        let _good = running.wait().assert_code(0);
        let verified = scene.sandbox.run(["verify", "--json"]).assert_code(0).one("verify");
        assert_eq!(verified["databases"][0]["rows"], 50_000, "{verified}");
    }
}

#[test]
fn an_interrupted_backup_leaves_nothing_on_the_server() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        server.psql("CREATE TABLE taken (n int)").unwrap();
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let other = server.hold("postgres", "LOCK TABLE taken").unwrap();
            let running = scene.start_waiting();
            running.signal(signal);
            // The lock is still held: whoever waited for it is gone all the same.
            let _said = scene.failed(running.wait().assert_code(code)).assert_says(["interrupted"]);
            drop(other);
        }
        scene.goes_on();
    }
}
