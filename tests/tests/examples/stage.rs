//! What every example stands on.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use strongroom_tests::proxy::clock::ClockProxy;
use strongroom_tests::sandbox::{Ran, Sandbox, text};
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::Moto;
use strongroom_tests::sinks::{HttpSink, MailSink};

/// Of the mail server.
pub(crate) const MAIL_PASSWORD: &str = "m4il-secret";

/// A host with an example's configuration; whom it tells, and what time it is.
pub(crate) struct Stage {
    /// Runs commands, as the README has them.
    pub(crate) sandbox: Sandbox,
    /// What is mailed.
    pub(crate) mail: MailSink,
    /// What is posted.
    pub(crate) hook: HttpSink,
    /// The repository's bucket.
    pub(crate) bucket: String,
    store: ClockProxy,
}

/// What those who are told are told.
pub(crate) struct Alert {
    /// What the webhook was posted.
    pub(crate) posted: Value,
    /// The mail's text.
    pub(crate) mailed: String,
}

impl Stage {
    /// Of an example, on a Monday at midnight. Its configuration is its own, but for where things are: `places` says what stands for
    /// which text of it, where `{mail}` and `{hook}` are those who are told. Its bucket is made, and a KMS key with the alias
    /// `alias/NAME-backup`. `None` where MinIO or moto is not to be had.
    pub(crate) fn new(example: &str, places: &[(&str, &str)]) -> Option<Self> {
        let minio = Minio::shared().unwrap()?;
        let moto = Moto::shared().unwrap()?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
        let mut configuration = std::fs::read_to_string(path.join("strongroom.toml")).unwrap();
        let (mail, hook) = (MailSink::start(), HttpSink::start());
        for (there, here) in places {
            assert!(configuration.contains(there), "{example} has no {there}");
            let here = here.replace("{mail}", &mail.address().to_string()).replace("{hook}", &hook.url());
            configuration = configuration.replace(there, &here);
        }
        let parsed: toml::Table = configuration.parse().unwrap();
        let url = parsed["repository"]["url"].as_str().unwrap();
        let bucket = url.strip_prefix("s3://").unwrap().split('/').next().unwrap().to_owned();
        minio.client().create_bucket(&bucket).unwrap();
        let key = moto.client().create_key(example).unwrap();
        moto.client().create_alias(&format!("alias/{example}-backup"), &key).unwrap();

        let monday: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
        let store = ClockProxy::start(minio.address(), monday).unwrap();
        let mut sandbox = Sandbox::on_aws("", minio.root(), &store.endpoint(), &moto.endpoint());
        sandbox.write("strongroom.toml", configuration);
        for (name, value) in [
            ("STRONGROOM_CONFIG", sandbox.path("strongroom.toml").display().to_string()),
            ("STRONGROOM_TEST_CLOCK", sandbox.path("clock").display().to_string()),
            ("ALERT_WEBHOOK_URL", format!("{}/alerts", hook.url())),
            ("ALERT_SMTP_URL", mail.url_of("backup")),
            ("ALERT_SMTP_PASSWORD", MAIL_PASSWORD.to_owned()),
        ] {
            sandbox.set(name, value);
        }
        let stage = Self { sandbox, mail, hook, bucket, store };
        stage.set_clock(monday);
        Some(stage)
    }

    /// Sets the time, of schedules and of the store.
    #[track_caller]
    pub(crate) fn at(&self, time: &str) {
        self.set_clock(time.parse().unwrap());
    }

    fn set_clock(&self, time: Timestamp) {
        self.store.set(time);
        let new = self.sandbox.write("clock.new", time.to_string());
        // At once: whoever reads sees one time or the other.
        std::fs::rename(new, self.sandbox.path("clock")).unwrap();
    }

    /// Runs a command that does what it should.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> Ran {
        self.sandbox.run(words).assert_code(0)
    }

    /// Does what is due, and gives what that was: `backup redis done`.
    #[track_caller]
    pub(crate) fn due(&self, only: &str) -> Vec<String> {
        told(&self.done(&["run", "--due", "--only", only, "--json"]))
    }

    /// The newest snapshot of a source.
    #[track_caller]
    pub(crate) fn latest(&self, source: &str) -> String {
        text(&self.done(&["show", &format!("latest:{source}"), "--json"]).one("snapshot")["id"])
    }

    /// Looks, and gives what everybody is told now.
    #[track_caller]
    pub(crate) fn alert(&self) -> Alert {
        let _told = self.done(&["monitor", "--alerts"]);
        let letter = self.mail.next();
        assert_eq!(letter.login.map(|(_, password)| password).as_deref(), Some(MAIL_PASSWORD));
        Alert { posted: self.hook.next().json(), mailed: letter.text }
    }

    /// That nobody was told anything more.
    #[track_caller]
    pub(crate) fn assert_quiet(&self) {
        assert_eq!(self.mail.another(), None);
        assert!(self.hook.another().is_none());
    }

    /// That the retention keeps these now, and that this is why.
    #[track_caller]
    pub(crate) fn assert_kept(&self, snapshots: &[String], reason: &str) {
        let judged = self.done(&["forget", "--dry-run", "--json"]).json_lines();
        for id in snapshots {
            let one = judged.iter().find(|one| one["snapshot"] == id.as_str()).unwrap();
            let reasons = one["reasons"].to_string();
            assert!(one["type"] == "keep" && reasons.contains(reason), "{id}: {one}");
        }
    }

    /// The report, as programs read it: of the 30 days up to now.
    #[track_caller]
    pub(crate) fn report(&self) -> Report {
        let report = self.done(&["report", "--format", "json"]);
        Report(serde_json::from_slice(&report.stdout).unwrap())
    }

    /// The audit trail of a kind: what was done to what, and how it ended.
    #[track_caller]
    pub(crate) fn trail(&self, kind: &str) -> Vec<String> {
        let lines = self.done(&["audit", "--kind", kind, "--json"]).all("audit");
        let line = |line: &Value| format!("{} {}", text(&line["what"]), text(&line["result"]));
        lines.iter().map(line).collect()
    }
}

impl Alert {
    /// That everybody was told of a finding.
    #[track_caller]
    pub(crate) fn assert_tells(&self, source: &str, kind: &str) -> &Self {
        let findings = self.posted["findings"].as_array().unwrap();
        let finding = findings.iter().find(|one| one["source"] == source && one["kind"] == kind);
        let Some(finding) = finding else { panic!("{source} {kind} is not in {}", self.posted) };
        assert!(self.mailed.contains(finding["what"].as_str().unwrap()), "{}", self.mailed);
        self
    }

    /// That these are all: of what is backed up, and what.
    #[track_caller]
    pub(crate) fn assert_tells_only(&self, wanted: &[(&str, &str)]) -> &Self {
        let findings = self.posted["findings"].as_array().unwrap().iter();
        let mut told: Vec<_> = findings
            .map(|one| (one["source"].as_str().unwrap_or("-"), one["kind"].as_str().unwrap()))
            .collect();
        told.sort_unstable();
        assert_eq!(told, wanted, "{}", self.posted);
        self
    }

    /// That everybody was told that a finding is over.
    #[track_caller]
    pub(crate) fn assert_is_over(&self, source: &str, kind: &str) -> &Self {
        let over = format!("{source} {kind}");
        assert!(self.posted["resolved"].to_string().contains(&over), "{}", self.posted);
        assert!(self.mailed.contains(&over), "{}", self.mailed);
        self
    }
}

/// What was agreed, and what was reached.
pub(crate) struct Report(pub(crate) Value);

impl Report {
    /// Of a source.
    #[track_caller]
    pub(crate) fn source(&self, name: &str) -> &Value {
        let sources = self.0["sources"].as_array().unwrap();
        sources.iter().find(|source| source["name"] == name).unwrap()
    }

    /// How many of its backups were tried, and how many of them failed.
    #[track_caller]
    pub(crate) fn backups(&self, name: &str) -> (u64, u64) {
        let backups = &self.source(name)["backups"];
        (backups["tried"].as_u64().unwrap(), backups["failed"].as_u64().unwrap())
    }

    /// Whether its RPO and its RTO were reached.
    #[track_caller]
    pub(crate) fn objectives(&self, name: &str) -> (&Value, &Value) {
        let source = self.source(name);
        (&source["rpo"]["met"], &source["rto"]["met"])
    }
}

/// What was done, of what, and how it ended.
pub(crate) fn told(ran: &Ran) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let of =
        |run: &Value| format!("{} {} {}", text(&run["work"]), text(&run["source"]), text(&run["result"]));
    ran.all("run").iter().map(of).collect()
}
