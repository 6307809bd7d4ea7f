//! `examples/save-it`: a PostgreSQL, every hour and to any moment, opened by a passphrase or by a key of KMS.

use rustix::process::Signal;
use serde_json::{Value, json};
use strongroom_tests::archiving::{moment, service_of_server, wait_until_promoted};
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::Running;
use strongroom_tests::served::Served;
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::postgres::Postgres;

use crate::stage::{Report, Stage, told};

const REPOSITORY: &str = "s3://saveit-backups/strongroom";
/// Of another region; here another bucket of the same service.
const COPY: &str = "s3://saveit-backups-copy/strongroom";
const TABLES: [&str; 4] = ["organizations", "users", "sites", "meters"];

/// The platform's database, and what receives its log.
struct SaveIt {
    stage: Stage,
    postgres: Postgres,
    log: Log,
    /// `strongroom`, as a server's service runs it.
    service: String,
}

/// `kubernetes/log.yaml`; a test that fails leaves none behind.
struct Log(Option<Running>);

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.kill();
        }
    }
}

#[test]
fn save_it_is_backed_up_watched_and_brought_back() {
    let Some(save_it) = SaveIt::start() else { return };
    let hours = save_it.hours();
    save_it.served(&hours);
    save_it.to_a_moment();
    save_it.parts();
    save_it.restore_test();
    save_it.disaster();
    save_it.report();
    save_it.stage.sandbox.assert_clean();
    save_it.log.stop();
}

impl Log {
    fn stop(mut self) {
        let Some(running) = self.0.take() else { return };
        running.signal(Signal::TERM);
        let _stopped = running.wait().assert_code(143);
    }
}

impl SaveIt {
    /// The chapter "Once".
    fn start() -> Option<Self> {
        let postgres = Postgres::start().unwrap()?;
        let here = format!("host=127.0.0.1 port={} ", postgres.port());
        let copy = ("gs://saveit-backups-copy/strongroom", COPY);
        let mut stage = Stage::new("save-it", &[("host=postgres ", &here), copy])?;
        Minio::shared().unwrap()?.client().create_bucket("saveit-backups-copy").unwrap();
        let passphrase = stage.sandbox.write("passphrase", "correct horse battery staple\n");
        for (name, value) in [
            ("STRONGROOM_PG_BIN", postgres.binaries().display().to_string()),
            ("STRONGROOM_PASSPHRASE_FILE", passphrase.display().to_string()),
            ("PGPASSWORD", "trusted".into()),
            ("REPLICATION_PASSWORD", "trusted".into()),
        ] {
            stage.sandbox.set(name, value);
        }
        let key = ["--recipient", "aws-kms:alias/save-it-backup"];
        let init = [&["init", "--recipient", "passphrase"][..], &key].concat();
        let _made = stage.done(&init);
        let _made = stage.done(&[&["--repo", COPY], &init[..]].concat());
        // From here on the role is what opens it.
        stage.sandbox.set("STRONGROOM_PASSPHRASE_FILE", "");
        let _in_order = stage.done(&["config", "check"]).assert_prints(["is in order"]);

        postgres
            .psql(
                "CREATE ROLE saveit LOGIN CREATEDB; CREATE DATABASE saveit OWNER saveit;
                CREATE ROLE backup LOGIN REPLICATION; GRANT pg_monitor TO backup",
            )
            .unwrap();
        let tables = "SET ROLE saveit;
            CREATE TABLE organizations (id int PRIMARY KEY, name text);
            CREATE TABLE users (id int PRIMARY KEY, email text, organization int REFERENCES organizations);
            CREATE TABLE sites (id int PRIMARY KEY, organization int REFERENCES organizations);
            CREATE TABLE meters (id int PRIMARY KEY, site int REFERENCES sites, reading int);
            CREATE VIEW readings AS SELECT site, sum(reading) AS reading FROM meters GROUP BY site;
            INSERT INTO organizations SELECT n, 'organization ' || n FROM generate_series(1, 10) n;
            INSERT INTO users SELECT n, n || '@example.com', n % 10 + 1 FROM generate_series(1, 200) n;
            INSERT INTO sites SELECT n, n % 10 + 1 FROM generate_series(1, 20) n;
            INSERT INTO meters SELECT n, n % 20 + 1, n * 7 % 100 FROM generate_series(1, 1000) n";
        postgres.psql_in("saveit", tables).unwrap();
        let service = service_of_server(&stage.sandbox).display().to_string();
        let server = format!("{here}user=backup");
        let slot = ["wal", "receive", "--slot", "strongroom", "--create-slot"];
        let words = [&slot[..], &["--source", "cluster", "--dbname", &server]].concat();
        let log = Log(Some(stage.sandbox.start(words)));
        Some(Self { stage, postgres, log, service })
    }

    /// A connection string, as the README has it.
    fn server(&self, rest: &str) -> String {
        format!("host=localhost port={} {rest}", self.postgres.port())
    }

    fn of_database(&self, sql: &str) -> String {
        self.postgres.psql_in("saveit", sql).unwrap()
    }

    fn text(&self) -> String {
        self.postgres.text_of("saveit").unwrap()
    }

    /// Four hours of a morning, by the CronJob's own words; gives their snapshots.
    fn hours(&self) -> [String; 4] {
        let stage = &self.stage;
        let due = || told(&stage.done(&["run", "database", "--due", "--only", "backup", "--json"]));
        for hour in 8..12 {
            stage.at(&format!("2026-03-02T{hour:02}:00:00Z"));
            assert_eq!(due(), ["backup database done"], "{hour}");
            self.of_database(&format!("UPDATE meters SET reading = reading + 1 WHERE id % 20 = {hour}"));
        }
        stage.at("2026-03-02T11:59:00Z");
        assert_eq!(due(), [""; 0]);
        let hours: [String; 4] = stage.sandbox.snapshots().try_into().unwrap();
        let _tagged = stage.done(&["tag", &hours[0], "--add", "compliance"]);
        let hold = ["hold", "add", &hours[1], "--name", "audit", "--reason", "for the audit of 2026"];
        let _held = stage.done(&hold);
        hours
    }

    /// One process that does all of it when it is due: weeks later, an hour that fails, and the retention.
    fn served(&self, hours: &[String; 4]) {
        let stage = &self.stage;
        stage.at("2026-03-20T02:00:00Z");
        // It would tell by itself; what is told here, and when, this test says.
        let served = Served::start(&stage.sandbox, &["--no-alerts"]);
        let run = |work: &str, source: Value, result: &str, before: &Value| {
            served.wait_for(|line| {
                line["type"] == "run"
                    && line["work"] == work
                    && line["source"] == source
                    && line["result"] == result
                    && line["run"] != before["run"]
            })
        };
        let first = run("backup", json!("database"), "done", &Value::Null);
        for (work, source) in [
            ("backup", json!("cluster")),
            ("verify", json!("database")),
            ("verify", json!("cluster")),
            ("wal-expire", Value::Null),
            ("prune", Value::Null),
            ("check", Value::Null),
        ] {
            let _done = run(work, source, "done", &Value::Null);
        }
        let forgotten = run("forget", Value::Null, "done", &Value::Null);
        let copied = run("sync", Value::Null, "done", &Value::Null);
        stage.at("2026-03-20T02:20:00Z");
        let _copied = run("sync", Value::Null, "done", &copied);

        // Nobody lets it in at three.
        self.of_database("ALTER ROLE saveit NOLOGIN");
        stage.at("2026-03-20T03:00:00Z");
        let failed = run("backup", json!("database"), "failed", &Value::Null);
        assert!(failed["error"].as_str().unwrap().contains("not permitted to log in"), "{failed}");
        // Nothing of the log came for an hour, and that is told as well; nothing else is wrong.
        let _told =
            stage.alert().assert_tells_only(&[("cluster", "wal-late"), ("database", "backup-failed")]);
        self.of_database("ALTER ROLE saveit LOGIN");
        stage.at("2026-03-20T03:30:00Z");
        let _forgotten = run("forget", Value::Null, "done", &forgotten);
        stage.at("2026-03-20T04:00:00Z");
        let _done = run("backup", json!("database"), "done", &first);
        let _told = stage.alert().assert_is_over("database", "backup-failed");
        stage.assert_quiet();
        let jobs = |status: &str| format!("backup_jobs_total{{component=\"database\",status=\"{status}\"}}");
        let metrics = served.until("/metrics", |metrics| metrics.metric(&jobs("success")) == Some(6.0));
        assert_eq!(metrics.metric(&jobs("failure")), Some(1.0));
        assert_eq!(metrics.metric("backup_success{component=\"database\"}"), Some(1.0));
        let _stopped = served.stop().assert_code(0);

        // Seven days of hours, thirty days of days, seven years of what is tagged, and what is held.
        let left = stage.sandbox.snapshots();
        let is_left = hours.each_ref().map(|id| left.contains(id));
        assert_eq!(is_left, [true, true, false, true]);
    }

    /// "A moment": a mistake is undone in a cluster beside.
    fn to_a_moment(&self) {
        let Self { stage, postgres, service, .. } = self;
        stage.at("2026-03-20T04:30:00Z");
        let lag = ["wal", "list", "--max-lag", "15m"];
        let _late =
            stage.sandbox.run(lag).assert_code(3).assert_says(["nothing was archived for 2 h 30 min"]);
        self.of_database("INSERT INTO meters VALUES (1001, 1, 5)");
        let before = self.text();
        let wanted = moment(postgres);
        self.of_database("DELETE FROM meters WHERE id > 500");
        let last = postgres.psql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
        wait_for("a segment is waited for", || {
            let lines = stage.done(&["wal", "list", "--json"]).all("wal");
            lines.iter().any(|line| line["last"].as_str().is_some_and(|known| known >= &*last))
        });
        let _in_time = stage.done(&lag);
        let snapshot = format!("latest:cluster@{wanted}");
        let get = format!("\"{service}\" wal-get %f %p --source cluster");
        let beside = postgres.start_restored(|data| {
            let target = ["--target", data.to_str().unwrap(), "--wal-source", "cluster"];
            let until = ["--target-time", &wanted, "--restore-command", &get];
            let words = [&["restore", &snapshot][..], &target, &until].concat();
            let _restored = stage.done(&words).assert_prints(["start PostgreSQL"]);
        });
        let beside = beside.unwrap();
        wait_until_promoted(&beside);
        assert_eq!(beside.text_of("saveit").unwrap(), before);
        self.of_database("INSERT INTO meters VALUES (501, 2, 7)");
        let _expired = stage.done(&["run", "--only", "wal-expire"]);
    }

    /// "Restore" and "Parts".
    fn parts(&self) {
        let Self { stage, postgres, .. } = self;
        let restore = |rest: &str, more: &[&str]| {
            let to = self.server(rest);
            let words = ["restore", "latest:database", "--to", &to];
            let _done = stage.done(&[&words[..], more].concat());
        };
        // As it is now, before anything is changed.
        let _now = stage.done(&["run", "database", "--only", "backup"]);
        let before = self.text();
        self.of_database("UPDATE users SET email = 'gone'; DELETE FROM meters WHERE id < 100");
        let of = |table: &'static str| ["--database", "saveit", "--table", table];
        restore("user=saveit dbname=saveit", &[&of("users")[..], &["--drop-existing"]].concat());
        assert_eq!(self.of_database("SELECT count(*) FROM users WHERE email LIKE '%@example.com'"), "200");
        assert_eq!(self.of_database("SELECT min(id) FROM meters"), "100", "nothing else is touched");
        // Sites refer to it as well: that is said before anything of it is dropped.
        let broken = self.text();
        let to = self.server("user=saveit dbname=saveit");
        let both = ["--table", "users", "--table", "organizations", "--drop-existing"];
        let words =
            [&["restore", "latest:database", "--to", &to, "--database", "saveit"][..], &both].concat();
        let refused = stage.sandbox.run(words).assert_code(1);
        let _refused = refused.assert_says([
            "public.organizations cannot be dropped: foreign key sites_organization_fkey of public.sites needs it",
            "nothing was changed",
            "--into",
        ]);
        let to = ["--database", "saveit", "--table", "meters", "--drop-existing", "--to", &to];
        let refused = stage.sandbox.run([&["restore", "latest:database"][..], &to].concat()).assert_code(1);
        let _refused = refused.assert_says(["public.meters cannot be dropped: public.readings needs it"]);
        assert_eq!(self.text(), broken);

        for database in ["saveit_parts", "saveit_restore"] {
            postgres.psql(&format!("CREATE DATABASE {database} OWNER saveit")).unwrap();
        }
        let parts = [&of("users")[..], &["--table", "organizations", "--into", "saveit_parts"]].concat();
        restore("user=saveit dbname=postgres", &parts);
        let count = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM organizations)";
        assert_eq!(postgres.psql_in("saveit_parts", count).unwrap(), "200|10");
        restore("user=saveit dbname=postgres", &["--database", "saveit", "--into", "saveit_restore"]);
        assert_eq!(postgres.text_of("saveit_restore").unwrap(), before);
        let archive = stage.sandbox.path("partial.dump").display().to_string();
        let _written =
            stage.done(&["restore", "latest:database", "--to-archive", &archive, "--database", "saveit"]);
        let listed = postgres.client("pg_restore").args(["--list", &archive]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(
            TABLES.iter().all(|table| listed.contains(&format!("TABLE DATA public {table} "))),
            "{listed}"
        );

        self.of_database("DROP TABLE meters CASCADE; DELETE FROM users");
        restore("user=saveit dbname=saveit", &["--database", "saveit", "--drop-existing"]);
        assert_eq!(self.text(), before);
    }

    /// A user without an address is backed up as well as any other, and no restore loses it: the assertion tells.
    fn restore_test(&self) {
        let stage = &self.stage;
        self.of_database("INSERT INTO users VALUES (201, NULL, 1)");
        stage.at("2026-03-20T05:00:00Z");
        let _backed_up = stage.done(&["run", "database", "--only", "backup"]);
        let found = stage.sandbox.run(["run", "database", "--only", "verify", "--json"]).assert_code(4);
        assert_eq!(told(&found), ["verify database failed"]);
        let _told = stage.alert().assert_tells("database", "restore-test-failed");
        self.of_database("DELETE FROM users WHERE id = 201");
        stage.at("2026-03-20T05:30:00Z");
        let _backed_up = stage.done(&["run", "database", "--only", "backup"]);
        let (scratch, sql) = (self.server("user=saveit dbname=postgres"), "SELECT count(*) > 0 FROM users");
        let verify = ["verify", "--source", "database", "--assert", sql, "--scratch-url", &scratch];
        let _good = stage.done(&verify).assert_prints(["restores as it was"]);
        let _told = stage.alert().assert_is_over("database", "restore-test-failed");
    }

    /// What is left is the bucket and the passphrase; then not even that bucket, but the copy.
    fn disaster(&self) {
        assert_eq!(told(&self.stage.done(&["run", "--only", "sync", "--json"])), ["sync - done"]);
        let mut host = self.stage.sandbox.other_host();
        for (name, value) in [
            ("STRONGROOM_CONFIG", String::new()),
            ("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1".into()),
            ("STRONGROOM_PASSPHRASE_FILE", self.stage.sandbox.path("passphrase").display().to_string()),
        ] {
            host.set(name, value);
        }
        let before = self.text();
        for database in ["saveit_parts", "saveit_restore"] {
            self.postgres.psql(&format!("DROP DATABASE {database}")).unwrap();
        }
        for repository in [REPOSITORY, COPY] {
            // Roles are the server's, and not the database's.
            self.postgres.psql("DROP DATABASE saveit").unwrap();
            self.postgres.psql("DROP ROLE saveit; CREATE ROLE saveit LOGIN").unwrap();
            let of_repository =
                |words: &[&str]| host.run([&["--repo", repository], words].concat()).assert_code(0);
            let _listed = of_repository(&["snapshots", "--latest"]).assert_prints(["database", "cluster"]);
            let to = self.server("user=postgres dbname=postgres");
            let restore = ["restore", "latest:database", "--to", &to, "--database", "saveit", "--create"];
            let _restored = of_repository(&restore);
            assert_eq!(self.text(), before, "{repository}");
        }
    }

    fn report(&self) {
        let stage = &self.stage;
        stage.at("2026-03-20T06:00:00Z");
        let month = ["report", "--month", "2026-03"];
        let json = stage.done(&[&month[..], &["--format", "json"]].concat());
        let report = Report(serde_json::from_slice(&json.stdout).unwrap());
        assert_eq!(report.backups("database"), (10, 1));
        // Nobody ran it from eleven on the 2nd to two on the 20th.
        assert_eq!(report.source("database")["rpo"]["seconds"], f64::from((17 * 24 + 15) * 3600));
        assert_eq!(report.objectives("database"), (&json!(false), &json!(true)));
        let tests = &report.source("database")["restore_tests"];
        assert_eq!((&tests["tried"], &tests["failed"]), (&json!(3), &json!(1)));
        assert_eq!(report.source("database")["retention"]["held_snapshots"], 1);
        assert_eq!(report.source("database")["retention"]["compliance_snapshots"], 1);
        let audit = &report.0["audit"];
        assert!(audit["holds"].to_string().contains("audit (for the audit of 2026)"), "{}", audit["holds"]);
        assert!(audit["keys"].to_string().contains("AWS KMS key"), "{}", audit["keys"]);
        let page = stage.sandbox.path("2026-03.html").display().to_string();
        let _written = stage.done(&[&month[..], &["--format", "html", "--output", &page]].concat());
        assert!(std::fs::read_to_string(page).unwrap().contains("for the audit of 2026"));

        let trail = stage.trail("restore");
        // A recovery, two parts, all of it beside, as an archive, in place, and after the disaster.
        assert_eq!(trail.iter().filter(|line| *line == "restore done").count(), 7, "{trail:?}");
        assert_eq!(trail.iter().filter(|line| *line == "restore failed").count(), 2, "{trail:?}");
        let _people = stage.done(&["audit", "--since", "2026-03-20"]).assert_prints(["run backup", "failed"]);
        let _now = stage.done(&["monitor", "--report"]).assert_prints(["database", "cluster", "good in"]);
    }
}
