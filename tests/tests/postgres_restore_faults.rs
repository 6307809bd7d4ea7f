//! `restore --to` and `verify` when the server, its programs, a disk or the target's owner are against it: it says why, does not
//! say that it succeeded, and nothing that was there is harmed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;

use rustix::process::Signal;
use strongroom_tests::mount::SmallDisk;
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Ran, Sandbox, id_of, run};
use strongroom_tests::services::postgres::{Postgres, installations};

const SHOP: &str = "CREATE SCHEMA sales; CREATE TYPE sales.state AS ENUM ('open', 'paid');
    CREATE TABLE sales.orders (id int PRIMARY KEY, state sales.state, note text);
    CREATE FUNCTION public.noted() RETURNS int LANGUAGE sql AS 'SELECT 1';
    INSERT INTO sales.orders SELECT n, 'open', md5(n::text) FROM generate_series(1, 50000) n";

const OURS: &str = "application_name = 'strongroom'";

/// A server with a snapshot of one of its databases, and another database, in production.
struct Scene<'s> {
    server: &'s Postgres,
    sandbox: Sandbox,
    id: String,
}

impl<'s> Scene<'s> {
    fn new(server: &'s Postgres) -> Self {
        let mut sandbox = Sandbox::new();
        sandbox.set("STRONGROOM_PG_BIN", server.binaries());
        server.psql("CREATE DATABASE shop").unwrap();
        server.psql("CREATE DATABASE production").unwrap();
        server.psql_in("shop", SHOP).unwrap();
        let id = id_of(&sandbox.backup(["postgres", "--dbname", &server.url("shop"), "--database", "shop"]));
        Self { server, sandbox, id }
    }

    fn arguments<'a>(&'a self, to: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["restore", &*self.id, "--to", to], more].concat()
    }

    /// Into production.
    #[track_caller]
    fn fails(&self, more: &[&str]) -> Ran {
        let to = self.server.url("production");
        self.failed(self.sandbox.run(self.arguments(&to, more)).assert_code(1))
    }

    #[track_caller]
    fn failed(&self, ran: Ran) -> Ran {
        assert!(ran.stdout.is_empty(), "{ran}");
        self.server.wait_for_sessions(OURS, 0).unwrap();
        ran
    }

    /// All of production, as text.
    fn production(&self) -> String {
        self.server.text_of("production").unwrap()
    }

    fn databases(&self) -> String {
        self.server.psql("SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database").unwrap()
    }
}

#[test]
fn a_server_that_cannot_be_restored_into_is_said() {
    for server in &mut Postgres::start_each().unwrap() {
        server.add_role_with_password("locked", "right").unwrap();
        let scene = Scene::new(server);
        let locked = server.url("production").replace("postgres@", "locked:geheim@");
        for (to, said, hint) in [
            ("postgres://postgres@127.0.0.1:1/x", "onnection refused", "is the server up"),
            (&locked, "password authentication failed", "give the right password"),
        ] {
            let restored = scene.sandbox.run(scene.arguments(to, &[])).assert_code(1);
            let verified = scene.sandbox.run(["verify", &scene.id, "--scratch-url", to]).assert_code(1);
            for ran in [restored, verified] {
                let ran = scene.failed(ran).assert_says([said, hint]);
                assert!(!ran.stderr.contains("geheim"), "{ran}");
            }
        }
        let nowhere = server.url("nowhere");
        let _none = scene.sandbox.run(scene.arguments(&nowhere, &[])).assert_code(1).assert_says(["nowhere"]);
        assert_eq!(scene.databases(), "postgres,production,shop,template0,template1");
    }
}

#[test]
fn programs_that_are_older_than_the_server_are_refused() {
    let installations = installations().unwrap();
    let [older, newer, ..] = installations.as_slice() else { return };
    let server = Postgres::start_of(newer, &[]).unwrap();
    let scene = Scene::new(&server);
    let older = older.to_str().unwrap();
    let _refused = scene.fails(&["--pg-bin", older]).assert_says(["there is no pg_restore", "--pg-bin"]);
    let _refused = scene
        .sandbox
        .run(["verify", &scene.id, "--pg-bin", older])
        .assert_code(1)
        .assert_says(["there is no initdb", "--pg-bin"]);
}

#[test]
fn what_is_there_is_not_touched_unless_it_may_be_dropped() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        let precious = "CREATE SCHEMA sales; CREATE TABLE sales.orders AS SELECT 'precious' AS what;
            CREATE TABLE other AS SELECT 1 AS n";
        server.psql_in("production", precious).unwrap();
        let before = scene.production();
        let hint = "hint: --drop-existing drops it first; --into";
        for more in [&[][..], &["--jobs", "2"], &["--single-transaction"], &["--schema-only"]] {
            let _there = scene.fails(more).assert_says([
                "schema sales (and 1 more of what is to be restored) already exists in database production",
                "nothing was changed",
                hint,
            ]);
            assert_eq!(scene.production(), before);
        }
        let _there =
            scene.fails(&["--table", "orders"]).assert_says(["table sales.orders already exists", hint]);
        assert_eq!(scene.production(), before);
        // A database of the same name.
        let to = server.url("postgres");
        let _there = scene
            .failed(scene.sandbox.run(scene.arguments(&to, &["--create"])).assert_code(1))
            .assert_says(["database \"shop\" already exists", "hint: "]);

        // What only the server knows to be in the way is undone where that was asked for.
        server.psql_in("production", "DROP SCHEMA sales CASCADE").unwrap();
        server
            .psql_in("production", "CREATE FUNCTION noted() RETURNS int LANGUAGE sql AS 'SELECT 2'")
            .unwrap();
        let before = scene.production();
        let _undone =
            scene.fails(&["--single-transaction"]).assert_says(["pg_restore of shop failed", "noted"]);
        assert_eq!(scene.production(), before);
    }
}

#[test]
fn a_target_that_others_use_is_not_dropped_under_them() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        let restored = scene.sandbox.run(scene.arguments(&server.url("production"), &[])).assert_code(0);
        assert!(restored.text().contains("restored database shop"), "{restored}");
        let before = scene.production();
        let mut other = server.open_session("shop").unwrap();
        other.say("SELECT 1").unwrap();
        server.wait_for_sessions("application_name = 'other' AND state = 'idle'", 1).unwrap();
        let to = server.url("postgres");
        let refused =
            scene.sandbox.run(scene.arguments(&to, &["--create", "--drop-existing"])).assert_code(1);
        let _used = scene.failed(refused).assert_says([
            "database \"shop\" is being accessed by other users",
            "hint: end their sessions first",
        ]);
        assert_eq!(server.psql_in("shop", "SELECT count(*) FROM sales.orders").unwrap(), "50000");
        drop(other);

        // Somebody holds what is to be dropped: it is waited for, and not dropped later, when nobody waits any more.
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let mut other = server.hold("production", "SELECT count(*) FROM sales.orders").unwrap();
            let to = server.url("production");
            let running = scene.sandbox.start(scene.arguments(&to, &["--drop-existing"]));
            server.wait_for_sessions(&format!("{OURS} AND wait_event_type = 'Lock'"), 1).unwrap();
            running.signal(signal);
            let _ended = scene.failed(running.wait().assert_code(code)).assert_says(["interrupted"]);
            other.say("COMMIT").unwrap();
            drop(other);
            assert_eq!(scene.production(), before);
        }

        // And whose connection is cut meanwhile is told.
        let other = server.hold("production", "SELECT count(*) FROM sales.orders").unwrap();
        let to = server.url("production");
        let running = scene.sandbox.start(scene.arguments(&to, &["--drop-existing", "--single-transaction"]));
        server.wait_for_sessions(&format!("{OURS} AND wait_event_type = 'Lock'"), 1).unwrap();
        server.end_sessions(&format!("{OURS} AND wait_event_type = 'Lock'")).unwrap();
        let _cut = scene.failed(running.wait().assert_code(1)).assert_says([
            "pg_restore of shop failed",
            "terminating connection",
            "run it again",
        ]);
        drop(other);
        assert_eq!(scene.production(), before);
        let _done = scene.sandbox.run(scene.arguments(&to, &["--drop-existing"])).assert_code(0);
        assert_eq!(scene.production(), before);
    }
}

#[test]
fn a_pg_restore_that_ends_in_the_middle_is_told() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        let folder = scene.sandbox.path("programs");
        for (script, said) in [
            ("head -c 100000 >/dev/null; kill -KILL $$", "signal: 9"),
            ("head -c 100000 >/dev/null; echo no such luck >&2; exit 3", "no such luck"),
        ] {
            let programs = server.programs_but(&folder, "pg_restore", script).unwrap();
            let programs = programs.to_str().unwrap();
            let _told = scene.fails(&["--pg-bin", programs]).assert_says(["pg_restore of shop failed", said]);
            let verify = ["verify", &scene.id, "--pg-bin", programs];
            let verified = scene.sandbox.run(verify).assert_code(4);
            let _told = verified.assert_prints([said, "does NOT restore as it was"]);
        }
    }
}

/// Folders of scratch servers, and their processes.
fn leftovers(scratch: &Path) -> Vec<String> {
    let folders = scratch.read_dir().unwrap().map(|entry| entry.unwrap().path().display().to_string());
    let command = |pid: &Path| std::fs::read_to_string(pid.join("cmdline")).unwrap_or_default();
    let processes = Path::new("/proc").read_dir().unwrap().flatten().map(|entry| command(&entry.path()));
    let scratch = scratch.to_str().unwrap();
    folders.chain(processes.filter(|command| command.contains(scratch))).collect()
}

#[test]
fn a_full_disk_is_no_fault_of_the_snapshot() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        server.psql_in("shop", "INSERT INTO sales.orders SELECT n, 'paid', repeat(md5(n::text), 10) FROM generate_series(60000, 160000) n").unwrap();
        let url = server.url("shop");
        let id = id_of(&scene.sandbox.backup(["postgres", "--dbname", &url, "--database", "shop"]));
        // There is no room for a server, and none for all the rows.
        for megabytes in [16, 64] {
            let place = scene.sandbox.path(format!("disk-{megabytes}"));
            let Some(disk) = SmallDisk::mount(&place, megabytes << 20).unwrap() else { return };
            // Where the server's user may go.
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&place, open).unwrap();
            let mut verify = scene.sandbox.command(["verify", &id, "--scratch-dir"]);
            let verified = run(verify.arg(&place)).assert_code(1);
            let _full =
                verified.assert_says(["No space left on device", "hint: free some space", "--scratch-dir"]);
            assert!(leftovers(&place).is_empty(), "{:?}", leftovers(&place));
            drop(disk);
        }
        let place = scene.sandbox.path("temporary");
        let Some(disk) = SmallDisk::mount(&place, 4 << 20).unwrap() else { return };
        let to = server.url("production");
        let mut restore = scene.sandbox.command(["restore", &id, "--to", &to, "--jobs", "2"]);
        let before = scene.production();
        let _full = run(restore.env("TMPDIR", &place)).assert_code(1).assert_says([
            "cannot be written to a temporary file in",
            "temporary: ",
            "hint: free some space",
            "TMPDIR",
        ]);
        assert_eq!(scene.production(), before);
        assert!(leftovers(&place).is_empty());
        drop(disk);
        scene.sandbox.assert_clean();
    }
}

#[test]
fn an_interrupted_test_of_a_restore_leaves_neither_server_nor_database() {
    for server in &Postgres::start_each().unwrap() {
        let scene = Scene::new(server);
        let scratch = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(scratch.path(), open).unwrap();
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let mut verify = scene.sandbox.command(["verify", &scene.id, "--assert", "SELECT pg_sleep(600)"]);
            verify.arg("--scratch-dir").arg(scratch.path());
            let running = strongroom_tests::sandbox::start(&mut verify);
            wait_for("the query of the test is waited for", || is_asleep(server, scratch.path()));
            running.signal(signal);
            let ran = running.wait().assert_code(code).assert_says(["interrupted"]);
            assert!(ran.stdout.is_empty() && leftovers(scratch.path()).is_empty(), "{ran}");

            let before = scene.databases();
            let url = server.url("postgres");
            let more = ["--scratch-url", &url, "--assert", "SELECT pg_sleep(600)"];
            let running = scene.sandbox.start([&["verify", &*scene.id], &more[..]].concat());
            server.wait_for_sessions(&format!("{OURS} AND wait_event = 'PgSleep'"), 1).unwrap();
            running.signal(signal);
            let _ended = scene.failed(running.wait().assert_code(code)).assert_says(["interrupted"]);
            assert_eq!(scene.databases(), before);
        }
        let log = scene.sandbox.run(["journal", "export"]).assert_code(0);
        assert!(!log.text().contains("restore_seconds"), "{log}");
    }
}

/// Whether the scratch server in there has come to the assertion.
fn is_asleep(server: &Postgres, scratch: &Path) -> bool {
    let Some(Ok(folder)) = scratch.read_dir().unwrap().next() else { return false };
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let mut psql = server.client("psql");
    psql.env("PGHOST", folder.path()).env("PGPORT", "5432").env("PGUSER", "strongroom_scratch");
    let asked = psql.args(["-XAtq", "-d", "template1", "-c", sql]).output().unwrap();
    asked.stdout == b"1\n"
}
