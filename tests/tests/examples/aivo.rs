//! `examples/aivo`: PostgreSQL with its log, MinIO and OpenSearch, under a key of KMS, in a bucket that locks its objects.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use strongroom_tests::archiving::{archive_all, moment, service_of_server, wait_until_promoted};
use strongroom_tests::noise::noise;
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::text;
use strongroom_tests::services::aws::{AwsClient, accepted};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::{self, Moto};
use strongroom_tests::services::opensearch::{OLDER, Opensearch};
use strongroom_tests::services::postgres::Postgres;

use crate::stage::{Report, Stage, told};

const KEY: &str = "aws-kms:alias/aivo-backup";
/// Of learners, and of the repository.
const BUCKET: &str = "user-data";
const REPOSITORY: &str = "s3://aivo-backup/strongroom";

/// The platform, and another service of buckets that it is restored to.
struct Aivo {
    stage: Stage,
    postgres: Postgres,
    opensearch: Opensearch,
    minio: AwsClient,
    other: AwsClient,
    /// The endpoint of that.
    elsewhere: String,
    /// `strongroom`, as the service of PostgreSQL runs it.
    service: String,
}

#[test]
fn aivo_is_backed_up_watched_and_brought_back() {
    let Some(mut aivo) = Aivo::start() else { return };
    let [snapshots, of_march] = aivo.backups();
    aivo.failure();
    aivo.restore_tests();
    aivo.retention(&snapshots);
    aivo.minio();
    aivo.opensearch();
    aivo.postgres_to_a_moment();
    aivo.postgres_whole();
    aivo.disaster();
    aivo.report();
    aivo.stage.sandbox.assert_clean();
    // Two years on: of seven years the newest of each month.
    aivo.stage.at("2028-04-14T07:30:00Z");
    aivo.stage.assert_kept(&of_march, "monthly");
}

impl Aivo {
    /// The chapter "Once".
    fn start() -> Option<Self> {
        let minio = Minio::shared().unwrap()?;
        let moto = Moto::shared().unwrap()?;
        let opensearch = Opensearch::start(OLDER).unwrap()?;
        let postgres = Postgres::start_with(&[("archive_mode", "on")]).unwrap()?;
        postgres.psql("CREATE ROLE backup LOGIN REPLICATION; GRANT pg_monitor TO backup").unwrap();
        let here = format!("host=127.0.0.1 port={}", postgres.port());
        let mut stage = Stage::new("aivo", &[("host=postgres.aivo.svc.cluster.local", &here)])?;
        let own = minio.root();
        for (name, value) in [
            // MinIO has no other.
            ("STRONGROOM_STORAGE_CLASS", "STANDARD".into()),
            ("STRONGROOM_PG_BIN", postgres.binaries().display().to_string()),
            ("PGPASSWORD", "trusted".into()),
            ("MINIO_SOURCE_ENDPOINT", minio.endpoint()),
            ("MINIO_SOURCE_ACCESS_KEY", own.access_key.clone()),
            ("MINIO_SOURCE_SECRET_KEY", own.secret_key.clone()),
            ("OPENSEARCH_ENDPOINT", opensearch.url()),
            ("OPENSEARCH_RESTORE_ENDPOINT", opensearch.url()),
            ("OPENSEARCH_USERNAME", "backup".into()),
            ("OPENSEARCH_PASSWORD", "s3cret".into()),
        ] {
            stage.sandbox.set(name, value);
        }
        let (minio, other) = (minio.client(), AwsClient::new(moto.address(), moto::credentials("restore")));
        for client in [&minio, &other] {
            client.create_bucket(BUCKET).unwrap();
        }
        // A bucket that locks is made as one.
        accepted(minio.s3("DELETE", &format!("/{}", stage.bucket), &[], b"").unwrap()).unwrap();
        minio.create_locking_bucket(&stage.bucket).unwrap();
        let made = stage.done(&["--json", "key", "generate-recovery", "recovery.key"]);
        let public = text(&made.one("recovery_key")["public"]);
        let lock = ["--object-lock", "compliance:30d,keys:2555d"];
        let _made = stage.done(&[&["init", "--recipient", KEY, "--recipient", &public][..], &lock].concat());
        // Hosts are no administrators.
        let roles = ["--role", "write", "--role", "maintain", "--role", "verify", "--source", "*"];
        let _added = stage.done(&[&["key", "add-writer", "aivo", "--recipient", KEY][..], &roles].concat());
        stage.sandbox.set("STRONGROOM_WRITER", "aivo");
        let _in_order = stage.done(&["config", "check"]).assert_prints(["is in order"]);

        let service = service_of_server(&stage.sandbox).display().to_string();
        let archive = format!("archive_command = '\"{service}\" wal-push %p --source postgres'");
        configure(&postgres.data_directory(), &archive);
        postgres.psql("SELECT pg_reload_conf()").unwrap();
        let aivo = Self { stage, postgres, opensearch, minio, other, elsewhere: moto.endpoint(), service };
        aivo.fill();
        Some(aivo)
    }

    fn fill(&self) {
        let of = |table: &str, rows: u32| {
            format!(
                "CREATE TABLE {table} AS SELECT n, md5(n::text) AS text FROM generate_series(1, {rows}) AS n;"
            )
        };
        self.postgres.psql(&(of("learners", 2000) + &of("grades", 1000))).unwrap();
        for (seed, key) in (0..).zip(["file.pdf", "file-2.pdf", "lessons/1", "lessons/2"]) {
            self.minio.put(BUCKET, key, &noise(5000, seed)).unwrap();
        }
        self.index("lessons", 0..200);
        self.index("logs-2026", 0..100);
    }

    fn index(&self, index: &str, numbers: std::ops::Range<u32>) {
        let line = |n| format!("{{\"index\":{{\"_id\":\"{n}\"}}}}\n{}\n", json!({ "n": n, "grade": n % 6 }));
        let lines: String = numbers.map(line).collect();
        let said = self.opensearch.ask("POST", &format!("/{index}/_bulk?refresh=true"), &lines).unwrap();
        assert_eq!(said["errors"], false, "{said}");
    }

    /// What tables hold.
    fn tables(server: &Postgres) -> String {
        let of = |table: &str| format!("(SELECT md5(string_agg(n || text, ',' ORDER BY n)) FROM {table})");
        server.psql(&format!("SELECT {}, {}", of("learners"), of("grades"))).unwrap()
    }

    /// Backups that are due; gives those of the first day, and of the second.
    fn backups(&self) -> [[String; 3]; 2] {
        let stage = &self.stage;
        let all = ["backup postgres done", "backup minio-user-data done", "backup opensearch done"];
        let newest = || ["postgres", "minio-user-data", "opensearch"].map(|source| stage.latest(source));
        stage.at("2026-03-02T05:00:00Z");
        assert_eq!(stage.due("backup"), all);
        let first = newest();
        let _tagged = stage.done(&["tag", "latest:postgres", "--add", "compliance"]);
        let hold = ["hold", "add", "latest:minio-user-data", "--name", "case-7"];
        let _held = stage.done(&[&hold[..], &["--reason", "audit of 2026"]].concat());
        stage.at("2026-03-03T05:00:00Z");
        assert_eq!(stage.due("backup"), all);
        let of_march = newest();

        // After weeks in which nothing ran, each is due once.
        self.postgres.psql("UPDATE grades SET text = 'better' WHERE n < 100").unwrap();
        self.minio.put(BUCKET, "file-2.pdf", &noise(5000, 20)).unwrap();
        self.index("lessons", 200..220);
        stage.at("2026-04-13T05:00:00Z");
        assert_eq!(stage.due("backup"), all);
        let drill = ["drill", "record", "--kind", "monthly", "--result", "passed", "--took", "70m"];
        let _noted = stage.done(&[&drill[..], &["--note", "all components into aivo-restore"]].concat());
        // Then PostgreSQL at its hour, its log has the rest; the others every half hour.
        for (time, due) in [("01:59", &all[1..]), ("02:00", &all[..]), ("02:29", &all[..0])] {
            stage.at(&format!("2026-04-14T{time}:00Z"));
            assert_eq!(stage.due("backup"), due, "{time}");
        }
        [first, of_march]
    }

    /// OpenSearch is away at its hour: everybody is told, and told when it is over.
    fn failure(&mut self) {
        let stage = &mut self.stage;
        stage.sandbox.set("OPENSEARCH_ENDPOINT", "http://127.0.0.1:1");
        stage.at("2026-04-14T04:00:00Z");
        let failed = stage.sandbox.run(["run", "--due", "--only", "backup", "--json"]).assert_code(1);
        assert_eq!(told(&failed), ["backup minio-user-data done", "backup opensearch failed"]);
        let _told = stage.alert().assert_tells("opensearch", "backup-failed");
        stage.sandbox.set("OPENSEARCH_ENDPOINT", self.opensearch.url());
        stage.at("2026-04-14T04:15:00Z");
        let _well = stage.done(&["run", "opensearch", "--only", "backup"]);
        let _told = stage.alert().assert_is_over("opensearch", "backup-failed");
        stage.assert_quiet();
    }

    /// The tests of every day. Of one of them what comes back is not what was backed up, and nothing but the test tells.
    fn restore_tests(&self) {
        let Self { stage, opensearch, .. } = self;
        let template = json!({ "index_patterns": ["strongroom-verify-*-lessons"], "priority": 1000,
            "template": { "mappings": { "_source": { "excludes": ["grade"] } } } });
        opensearch.ask("PUT", "/_index_template/wrong", &template.to_string()).unwrap();
        stage.at("2026-04-14T06:00:00Z");
        let tested = stage.sandbox.run(["run", "--due", "--only", "verify", "--json"]).assert_code(4);
        let results = ["verify postgres done", "verify minio-user-data done", "verify opensearch failed"];
        assert_eq!(told(&tested), results, "{tested}");
        let _told = stage.alert().assert_tells("opensearch", "restore-test-failed");
        opensearch.ask("DELETE", "/_index_template/wrong", "").unwrap();
        stage.at("2026-04-14T06:30:00Z");
        let _good = stage.done(&["run", "opensearch", "--only", "verify"]);
        let _told = stage.alert().assert_is_over("opensearch", "restore-test-failed");
    }

    /// Operational for 30 days; what is tagged for seven years, and what is held until it is let go.
    fn retention(&self, [postgres, minio, opensearch]: &[String; 3]) {
        let stage = &self.stage;
        stage.at("2026-04-14T07:30:00Z");
        let judged = stage.done(&["forget", "--dry-run", "--json"]).json_lines();
        let of = |id: &String| {
            let one = judged.iter().find(|one| one["snapshot"] == id.as_str()).unwrap();
            (text(&one["type"]), one["reasons"].clone())
        };
        assert_eq!(of(postgres), ("keep".into(), json!(["tag compliance"])));
        assert_eq!(of(minio), ("keep".into(), json!(["held: case-7"])));
        assert_eq!(of(opensearch), ("forget".into(), json!([])));
        assert_eq!(stage.due("forget"), ["forget - done"]);
        assert_eq!(stage.due("prune"), ["prune - done"]);
        let left = stage.sandbox.snapshots();
        assert!(left.contains(postgres) && left.contains(minio) && !left.contains(opensearch), "{left:?}");
        let _refused = stage.sandbox.run(["forget", minio]).assert_code(1).assert_says(["the hold `case-7`"]);
        assert_eq!(stage.due("wal-expire"), ["wal-expire - done"]);
        let _renewed = stage.done(&["object-lock", "extend"]);
        stage.at("2026-04-14T09:00:00Z");
    }

    /// Objects, into another service: one, then all; as files.
    fn minio(&mut self) {
        let credentials = moto::credentials("restore");
        let stage = &mut self.stage;
        stage.sandbox.set("STRONGROOM_S3_ACCESS_KEY_ID", &credentials.access_key);
        stage.sandbox.set("STRONGROOM_S3_SECRET_ACCESS_KEY", &credentials.secret_key);
        let to = ["--to", "s3://user-data", "--s3-endpoint", &self.elsewhere];
        let restore = |of: &str, more: &[&str]| {
            let _done = stage.done(&[&["restore", of][..], &to, more].concat());
        };
        restore("latest:minio-user-data", &["--include", "file.pdf"]);
        assert_eq!(self.other.list(BUCKET, "").unwrap(), ["file.pdf"]);
        restore("latest:minio-user-data", &["--drop-existing"]);
        let objects = |client: &AwsClient| {
            let keys = client.list(BUCKET, "").unwrap().into_iter();
            keys.map(|key| (client.get(BUCKET, &key).unwrap(), key)).collect::<Vec<_>>()
        };
        assert!(objects(&self.other) == objects(&self.minio), "it is not the same");
        // One alone, over what became of it, and beside what is there.
        self.other.put(BUCKET, "file.pdf", b"broken").unwrap();
        self.other.put(BUCKET, "newer", b"stays").unwrap();
        restore("latest:minio-user-data", &["--include", "file.pdf", "--drop-existing"]);
        assert!(self.other.get(BUCKET, "file.pdf").unwrap() == noise(5000, 0));
        assert_eq!(self.other.list(BUCKET, "").unwrap().len(), 5);
        // As of before it was changed.
        restore("latest:minio-user-data@2026-04-12T12:00:00Z", &["--drop-existing"]);
        assert!(self.other.get(BUCKET, "file-2.pdf").unwrap() == noise(5000, 1));
        let file = stage.done(&["cat", "latest:minio-user-data", "file.pdf"]).stdout;
        assert!(file == noise(5000, 0));
        let _listed = stage.done(&["find", "file*.pdf"]).assert_prints(["file.pdf", "file-2.pdf"]);
        let before = "latest:minio-user-data@2026-04-12T12:00:00Z";
        let _changed =
            stage.done(&["diff", before, "latest:minio-user-data"]).assert_prints(["M /objects/file-2.pdf"]);
        for name in ["STRONGROOM_S3_ACCESS_KEY_ID", "STRONGROOM_S3_SECRET_ACCESS_KEY"] {
            stage.sandbox.set(name, "");
        }
    }

    /// Indices: one over what became of it, some beside what there is.
    fn opensearch(&self) {
        let Self { stage, opensearch, .. } = self;
        let lessons = opensearch.documents("lessons").unwrap();
        assert_eq!(lessons.len(), 220);
        let query = r#"{"query":{"range":{"n":{"gte":100}}}}"#;
        opensearch.ask("POST", "/lessons/_delete_by_query?refresh=true", query).unwrap();
        let restore = |more: &[&str]| {
            let to = opensearch.url();
            let words = ["restore", "latest:opensearch", "--to", &to];
            let _done = stage.done(&[&words[..], more].concat());
        };
        restore(&["--include", "lessons", "--drop-existing"]);
        assert!(opensearch.documents("lessons").unwrap() == lessons);
        restore(&["--include", "logs-*", "--rename", "logs-(.+)=restored-logs-$1"]);
        assert!(
            opensearch.documents("restored-logs-2026").unwrap() == opensearch.documents("logs-2026").unwrap()
        );
    }

    /// A table that is lost comes back by way of staging, as of the moment before.
    fn postgres_to_a_moment(&self) {
        let Self { stage, postgres, service, .. } = self;
        postgres.psql("INSERT INTO grades VALUES (1001, 'the last one')").unwrap();
        let before = Self::tables(postgres);
        let wanted = moment(postgres);
        postgres.psql("DROP TABLE grades").unwrap();
        archive_all(postgres);
        let snapshot = format!("latest:postgres@{wanted}");
        let staging = postgres.start_restored(|data| {
            recover(stage, service, data, &[&snapshot, "--target-time", &wanted]);
            // Else it would write to the archive of the other.
            configure(data, "archive_mode = off");
        });
        let staging = staging.unwrap();
        wait_until_promoted(&staging);
        assert_eq!(Self::tables(&staging), before);
        let lost = staging.pg_dump(&["--table", "grades", "postgres"]).output().unwrap();
        postgres.psql(&String::from_utf8(lost.stdout).unwrap()).unwrap();
        assert_eq!(Self::tables(postgres), before);
    }

    /// The newest there is, over what became of the cluster; and it goes on from there.
    fn postgres_whole(&mut self) {
        let Self { stage, postgres, service, .. } = self;
        let before = Self::tables(postgres);
        let recovered = postgres.restart(|data| {
            std::fs::remove_dir_all(data.join("base")).unwrap();
            recover(stage, service, data, &["latest:postgres", "--delta", "--target-latest"]);
        });
        recovered.unwrap();
        wait_until_promoted(&self.postgres);
        assert_eq!(Self::tables(&self.postgres), before);
        self.postgres.psql("INSERT INTO grades VALUES (1002, 'after it')").unwrap();
        archive_all(&self.postgres);
        wait_for("the new timeline is waited for", || {
            let lines = self.stage.done(&["wal", "list", "--json"]).all("wal");
            lines.iter().any(|line| line["timeline"] == 2 && line["segments"] != 0)
        });
    }

    /// What is left is the bucket and the recovery key.
    fn disaster(&self) {
        let mut host = self.stage.sandbox.other_host();
        for (name, value) in [
            ("STRONGROOM_CONFIG", String::new()),
            ("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1".into()),
            ("STRONGROOM_KEY_FILE", self.stage.sandbox.path("recovery.key").display().to_string()),
        ] {
            host.set(name, value);
        }
        let of_repository =
            |words: &[&str]| host.run([&["--repo", REPOSITORY], words].concat()).assert_code(0);
        let listed = of_repository(&["snapshots", "--latest"]);
        let _listed = listed.assert_prints(["postgres", "minio-user-data", "opensearch"]);
        let _whole = of_repository(&["check"]).assert_prints(["no damage found"]);
        let to = self.opensearch.url();
        self.opensearch.ask("DELETE", "/lessons", "").unwrap();
        let _restored = of_repository(&["restore", "latest:opensearch", "--to", &to, "--include", "lessons"]);
        assert_eq!(self.opensearch.documents("lessons").unwrap().len(), 220);
    }

    fn report(&self) {
        let stage = &self.stage;
        stage.at("2026-04-14T12:00:00Z");
        let period = ["report", "--since", "2026-03-02T00:00:00Z", "--until", "2026-04-14T12:00:00Z"];
        let json = stage.done(&[&period[..], &["--format", "json"]].concat());
        let report = Report(serde_json::from_slice(&json.stdout).unwrap());
        for (source, backups) in [("postgres", (4, 0)), ("minio-user-data", (6, 0)), ("opensearch", (7, 1))] {
            assert_eq!(report.backups(source), backups, "{source}");
            // Six weeks without a backup, and tests that took seconds.
            assert_eq!(report.objectives(source), (&json!(false), &json!(true)), "{source}");
            let weeks = 41.0 * 24.0 * 3600.0;
            assert_eq!(report.source(source)["rpo"]["seconds"], weeks, "{source}");
        }
        let tests = |source: &str| report.source(source)["restore_tests"].clone();
        assert_eq!((&tests("postgres")["tried"], &tests("opensearch")["failed"]), (&json!(1), &json!(1)));
        let missed = report.0["missed"].to_string();
        assert!(missed.contains("opensearch: 85.71% of backups succeeded, agreed are 99.5%"), "{missed}");
        assert_eq!(report.source("minio-user-data")["retention"]["held_snapshots"], 1);
        let kept = &report.source("postgres")["retention"];
        assert_eq!((&kept["compliance_days"], &kept["compliance_snapshots"]), (&json!(2555), &json!(1)));
        let audit = &report.0["audit"];
        assert!(audit["holds"].to_string().contains("case-7"), "{}", audit["holds"]);
        assert!(audit["verify_findings"] == 0 && audit["unbroken_since"].is_string(), "{audit}");
        let monthly = report.0["drills"].as_array().unwrap().iter().find(|drill| drill["name"] == "monthly");
        assert_eq!(monthly.unwrap()["held"][0]["seconds"], 70.0 * 60.0);
        let page = stage.sandbox.path("report.html").display().to_string();
        let _written = stage.done(&[&period[..], &["--format", "html", "--output", &page]].concat());
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("case-7") && page.contains("all components into aivo-restore"));

        // Who did what.
        let trail = stage.done(&["audit", "--json"]).all("audit");
        let is_there = |kind: &str, result: &str| {
            trail.iter().any(|line: &Value| line["kind"] == kind && line["result"] == result)
        };
        for (kind, result) in [
            ("restore", "done"),
            ("verify", "damage"),
            ("backup", "failed"),
            ("hold", "done"),
            ("tag", "done"),
            ("forget", "done"),
            ("alert", "done"),
        ] {
            assert!(is_there(kind, result), "{kind} {result}");
        }
        let head = text(&audit["head"]);
        let _goes_on = stage.done(&["journal", "verify", "--expect-head", &head]);
    }
}

/// Adds a line to `postgresql.conf`.
fn configure(data: &Path, line: &str) {
    let mut file = OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Restores a cluster that recovers by its log; the rest is what the README says of it.
fn recover(stage: &Stage, service: &str, data: &Path, words: &[&str]) {
    let get = format!("\"{service}\" wal-get %f %p --source postgres");
    let into = ["--target", data.to_str().unwrap(), "--wal-source", "postgres", "--restore-command", &get];
    let _restored =
        stage.done(&[&["restore"][..], words, &into].concat()).assert_prints(["start PostgreSQL"]);
}
